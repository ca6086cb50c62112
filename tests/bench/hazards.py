"""What happens to the other collectors when something bad happens to one: really, on this host.

    python tests/bench/hazards.py [--only fuse,churn,disk,interface] [--seconds 20] [--all]

Starts an agent with the default collectors and no destination (loop devices are read as well,
filesystems every 5 s instead of 10 so that it is over in three minutes), lets a quiet time pass
for comparison, then lets four things happen, one after the other and then together:

fuse       a FUSE filesystem is mounted, its daemon stops answering statvfs, and comes back
churn      500 processes a second begin and end, one alive at a time
disk       a loop device is added, written to, and removed between two readings
interface  one end of a veth pair is renamed while it carries traffic, then the pair is deleted

After each it asks the agent's control socket, and prints what became of every collector's ticks,
what the agent cost, and what was told of the thing that was hit. The agent itself is seen through
the number of samples of a collector; what they were is read by a second instance of the collector
in this process. Ends with 1 when another collector missed a tick or failed, or when what was hit
was not told as it was; with 2 when it cannot run here. Needs root; everything is undone at the end.
Whatever else runs on the host at the time is in the figures: compare with the quiet time.

Not done: a disk pulled with requests in flight (the kernel lets no loop device go that is open).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_bench import cpu_s, fields
from hazard_events import (
    Outcome,
    churn,
    disk,
    fuse,
    interface,
    until,
)

from vedette.control import ControlError, call

S = 1_000_000_000
#: What happens, and the collectors it happens to.
HAZARDS = {
    "fuse": (fuse, {"filesystem"}),
    "churn": (churn, {"processes"}),
    "disk": (disk, {"disk"}),
    "interface": (interface, {"network", "network_link"}),
}
#: What of a collector's status counts up, and should not.
TROUBLES = ("late", "skipped", "failures")


class Moment(NamedTuple):
    """The agent at one moment: what it says of itself, and what the kernel says of it."""

    time_ns: int
    collectors: dict[str, dict[str, Any]]
    errors: int
    cpu_s: float
    rss_mib: float
    files: int
    threads: int
    children: int


class Agent:
    """A running agent, and the names and numbers of its collectors."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.state = folder / "state"
        config = folder / "agent.toml"
        text = f'[agent]\nplugins_dir = "{folder}/none"\n[collectors.disk]\ninclude = ["loop*"]\n'
        text += "[collectors.filesystem]\n"
        text += 'interval = "2s"\nremote_timeout = "500ms"\n' if quick else 'interval = "5s"\n'
        config.write_text(text)
        self.log = folder / "agent.log"
        command = ("run", "--config", str(config), "--state-dir", str(self.state))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vedette", *command],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                stderr=log,
            )

    def status(self) -> dict[str, Any]:
        return call(self.state, "status")

    def samples(self, collector: str) -> int:
        """Return how many samples the last good tick of a collector had."""
        found = {one["name"]: one["samples"] for one in self.status()["collectors"]}
        return int(found[collector])

    def is_ready(self) -> bool:
        with suppress(ControlError):
            states = [one["state"] for one in self.status()["collectors"]]
            return bool(states) and "starting" not in states
        return False

    def moment(self) -> Moment:
        """Look at it in the middle of a second, when no tick is under way."""
        while not 0.5 < time.time() % 1 < 0.8:
            time.sleep(0.02)
        pid, now = self.process.pid, time.time_ns()
        status = self.status()
        return Moment(
            now,
            {one["name"]: one for one in status["collectors"]},
            sum(status["dropped"].values()) + len(status["reasons"]),
            cpu_s(pid),
            fields(pid, "status")["VmRSS"] / 1024,
            len(list(Path(f"/proc/{pid}/fd").iterdir())),
            fields(pid, "status")["Threads"],
            sum(parent_of(one) == pid for one in Path("/proc").glob("[1-9]*")),
        )

    def stop(self) -> float:
        """End it; return how long that took."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait(5)
        return time.monotonic() - began


def parent_of(process: Path) -> int:
    try:
        text = (process / "stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


class Row(NamedTuple):
    """What became of one collector between two moments."""

    name: str
    is_hit: bool
    interval_s: float
    done: int
    due: int
    late: int
    skipped: int
    failures: int
    samples: int
    state: str
    stretched: bool

    @property
    def is_well(self) -> bool:
        missed = self.done < self.due or self.late or self.skipped or self.failures
        return not missed and self.state == "ok"

    def cells(self) -> tuple[str, ...]:
        stretched = " (stretched)" if self.stretched else ""
        return (
            self.name + (" (hit)" if self.is_hit else ""),
            f"{self.interval_s:g} s{stretched}",
            f"{self.done} of {self.due}",
            *map(str, (self.late, self.skipped, self.failures, self.samples)),
            self.state,
        )


def rows(before: Moment, after: Moment, hit: set[str]) -> list[Row]:
    """Compare two moments; a collector that rested at both has no row."""
    found = []
    for name, now in after.collectors.items():
        then = before.collectors[name]
        if then["state"] == now["state"] == "resting":
            continue
        longest = max(then["interval_s"], now["interval_s"])
        interval_ns = round(longest * S)
        found.append(
            Row(
                name,
                name in hit,
                longest,
                now["ticks"] - then["ticks"],
                after.time_ns // interval_ns - before.time_ns // interval_ns,
                now["late"] - then["late"],
                now["skipped"] - then["skipped"],
                now["failures"] - then["failures"],
                now["samples"],
                now["state"],
                longest > now["configured_s"],
            )
        )
    return found


def tell(title: str, before: Moment, after: Moment, found: list[Row], *, everything: bool) -> None:
    """Print what became of the collectors and what the agent cost."""
    others = [row for row in found if not row.is_hit]
    passed = (after.time_ns - before.time_ns) / S
    print(f"\n== {title}, {passed:.1f} s")
    heading = ("collector", "interval", "ticks", "late", "skipped", "failures", "samples", "state")
    total = (
        f"{len(others)} others",
        "",
        f"{sum(row.done for row in others)} of {sum(row.due for row in others)}",
        *(str(sum(getattr(row, key) for row in others)) for key in (*TROUBLES, "samples")),
        "ok" if all(row.is_well for row in others) else "SEE ABOVE",
    )
    shown = [row for row in found if everything or row.is_hit or row.stretched or not row.is_well]
    table = [heading, *(row.cells() for row in shown), total]
    widths = [max(len(row[place]) for row in table) for place in range(len(heading))]
    for row in table:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  " + "  ".join(cells).rstrip())
    cpu = 100 * (after.cpu_s - before.cpu_s) / passed
    print(
        f"  agent: CPU {cpu:.2f} % of a core, RSS {before.rss_mib:.1f} -> {after.rss_mib:.1f} MiB, "
        f"descriptors {before.files} -> {after.files}, threads {before.threads} -> "
        f"{after.threads}, children {before.children} -> {after.children}, "
        f"drops and reasons {before.errors} -> {after.errors}"
    )


class Bench:
    """Let hazards happen to an agent and keep the score."""

    def __init__(self, agent: Agent, folder: Path, seconds: float, *, everything: bool) -> None:
        self.agent, self.folder, self.seconds = agent, folder, seconds
        self.everything = everything
        self.bad: list[str] = []

    def happen(self, title: str, names: list[str]) -> None:
        """Let these happen at the same time, none for a quiet time, and print what came of it."""
        hit: set[str] = set().union(*(HAZARDS[name][1] for name in names))
        before = self.agent.moment()
        with ThreadPoolExecutor(len(HAZARDS)) as pool:
            running = {
                name: pool.submit(HAZARDS[name][0], self.agent.samples, self.folder, self.seconds)
                for name in names
            }
            if not names:
                time.sleep(self.seconds / 2)
        after = self.agent.moment()
        found = rows(before, after, hit)
        tell(title, before, after, found, everything=self.everything)
        for name, future in running.items():
            try:
                outcome: Outcome = future.result()
            except Exception as error:  # the other hazards are told all the same
                outcome = Outcome([f"the hazard itself failed: {error!r}"], False)
            for fact in outcome.facts:
                print(f"  {name}: {fact}")
            if not outcome.is_told:
                self.bad.append(f"{title}: {name} was not told as it was")
        for row in found:
            if not row.is_hit and not row.is_well:
                self.bad.append(
                    f"{title}: {row.name} did {row.done} of {row.due} ticks, {row.late} late, "
                    f"{row.skipped} skipped, {row.failures} failures, is {row.state}"
                )


def missing(names: list[str]) -> list[str]:
    """Return what this host lacks for these hazards."""
    found = [] if os.geteuid() == 0 else ["needs root"]
    needed = {"fuse": "/dev/fuse", "disk": "/dev/loop-control"}
    found += [f"{name}: no {path}" for name, path in needed.items() if not Path(path).exists()]
    if "interface" in names and shutil.which("ip") is None:
        found.append("interface: no program ip")
    return [one for one in found if one.partition(":")[0] in (*names, "needs root")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(HAZARDS), help="some of the four, by comma")
    parser.add_argument("--seconds", type=float, default=20, help="how long (20)")
    parser.add_argument(
        "--quick", action="store_true", help="filesystems are read every 2 s instead of 5"
    )
    parser.add_argument("--all", action="store_true", help="print every collector's row")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - HAZARDS.keys():
        parser.error(f"no such hazard: {', '.join(sorted(unknown))}")
    if lacking := missing(names):
        print(f"cannot run here: {'; '.join(lacking)}")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        agent = Agent(folder, quick=options.quick)
        bench = Bench(agent, folder, options.seconds, everything=options.all)
        try:
            if until(agent.is_ready, 30) is None:
                print(agent.log.read_text())
                return 1
            bench.happen("quiet", [])
            for name in names:
                bench.happen(name, [name])
            if len(names) > 1:
                bench.happen("together", names)
            for one in call(agent.state, "incidents", all=True)["incidents"]:
                print(f"incident ({one['severity']}, {one['state']}): {one['title']}")
        finally:
            stopped = agent.stop()
        print(f"agent ended with {agent.process.returncode} in {stopped:.2f} s; of its log:")
        lines = agent.log.read_text().splitlines()
        print("\n".join(f"  {one}" for one in lines if "level=info" not in one))
    print("\n".join(f"BAD {one}" for one in bench.bad) or "all others went on as if nothing was")
    return 1 if bench.bad else 0


if __name__ == "__main__":
    sys.exit(main())
