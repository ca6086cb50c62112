"""What a running agent costs its host: starts one, follows it in /proc, prints JSON.

    python tests/bench/agent_bench.py [--seconds 120] [--warm-up 30]

The agent runs with the default collectors and detectors at 1 s, without a destination: RSS, USS
(pages only it has), CPU as a share of one core, wake-ups per second, threads, KiB written to disk a
minute, and how long the first reading took. Budgets: RSS under 56 MiB (never over 64), CPU under
0.5 % of a core (never over 1). Anything else that runs on the host at the time is in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vedette.control import ControlError, call


def fields(pid: int, name: str) -> dict[str, int]:
    """Return the numbers of a /proc file of ``Key: number`` lines."""
    found = {}
    for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[key] = int(words[0])
    return found


def cpu_s(pid: int) -> float:
    after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after[11]) + int(after[12])) / os.sysconf("SC_CLK_TCK")


def wakeups(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += fields(pid, f"task/{task.name}/status").get("voluntary_ctxt_switches", 0)
    return total


def measure(pid: int, seconds: float) -> dict[str, float]:
    began, cpu, woken = time.monotonic(), cpu_s(pid), wakeups(pid)
    written = fields(pid, "io").get("write_bytes", 0)
    time.sleep(seconds)
    passed = time.monotonic() - began
    memory = fields(pid, "smaps_rollup")
    return {
        "rss_mib": round(memory["Rss"] / 1024, 1),
        "uss_mib": round((memory["Private_Clean"] + memory["Private_Dirty"]) / 1024, 1),
        "cpu_percent_of_a_core": round((cpu_s(pid) - cpu) / passed * 100, 3),
        "wakeups_per_s": round((wakeups(pid) - woken) / passed, 1),
        "threads": fields(pid, "status")["Threads"],
        "written_kib_per_min": round(
            (fields(pid, "io").get("write_bytes", 0) - written) / 1024 / passed * 60, 1
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--warm-up", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        state, config = Path(directory, "state"), Path(directory, "agent.toml")
        config.write_text(f'[agent]\nplugins_dir = "{directory}/none"\n')
        began = time.monotonic()
        agent = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vedette",
                "run",
                "--config",
                str(config),
                "--state-dir",
                str(state),
            ],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        try:
            first = None
            while first is None and time.monotonic() - began < 30:
                time.sleep(0.02)
                try:
                    if call(state, "status")["series"] > 0:
                        first = time.monotonic() - began
                except ControlError:
                    continue
            time.sleep(options.warm_up)
            result = measure(agent.pid, options.seconds)
            result["series"] = call(state, "status")["series"]
            result["first_reading_s"] = round(first or float("nan"), 2)
        finally:
            stopping = time.monotonic()
            agent.terminate()
            agent.wait(10)
            result["stop_s"] = round(time.monotonic() - stopping, 2)
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
