"""What reading the journal costs: the library against a journalctl child, in one run; prints JSON.

    python tests/bench/logs_journal.py [--entries 50000] [--files 1] [--rounds 3] [--directory DIR]

Makes a journal of invented entries by ``systemd-journal-remote`` (six of ten through syslog, the
rest from standard output, native and from the kernel, with the fields that journald adds), or takes
a given one, and reads it from its start to its end. Entries per CPU second count the processor's
time of both processes; the best of the rounds. ``rss_mib`` is the most that the reading process had
above what it had before, ``child_rss_mib`` the most the child had, mapped files included.
``idle_us`` is a poll with nothing new.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vedette.logs.journal import Journal, JournalSettings

REMOTE = "/lib/systemd/systemd-journal-remote"
START_US = 1_795_183_200_000_000
DAY_US = 86_400_000_000
BUDGET = 1 << 20
SERVICES = ("nginx", "sshd", "postgresql", "cron", "kubelet", "systemd-logind", "dockerd", "sudo")
IDLE_POLLS = 200


def entries(day: int, first: int, count: int) -> Iterator[bytes]:
    """Return entries of a day in the export format, as journald would have written them."""
    rng = random.Random(first)
    for number in range(first, first + count):
        at, name = START_US + day * DAY_US + number * 1000, rng.choice(SERVICES)
        way = rng.choices(("syslog", "stdout", "journal", "kernel"), (60, 25, 12, 3))[0]
        fields: dict[str, object] = {
            "__REALTIME_TIMESTAMP": at,
            "__MONOTONIC_TIMESTAMP": 1_000_000 + number * 1000,
            "_BOOT_ID": "0123456789abcdef" * 2,
            "PRIORITY": rng.choice((3, 4, 5, 6, 6, 6, 6, 7)),
            "_TRANSPORT": way,
            "SYSLOG_FACILITY": 3,
            "SYSLOG_IDENTIFIER": name if way != "kernel" else "kernel",
            "_HOSTNAME": "host1",
            "_MACHINE_ID": "f" * 32,
        }
        if way == "kernel":
            fields["_SOURCE_MONOTONIC_TIMESTAMP"] = 1_000_000 + number * 1000 - 90
        else:
            fields |= {
                "_PID": 100 + number % 7,
                "_UID": 0,
                "_GID": 0,
                "_COMM": name,
                "_EXE": f"/usr/sbin/{name}",
                "_CMDLINE": f"/usr/sbin/{name} -D",
                "_CAP_EFFECTIVE": "1ffffffffff",
                "_SYSTEMD_CGROUP": f"/system.slice/{name}.service",
                "_SYSTEMD_UNIT": f"{name}.service",
                "_SYSTEMD_SLICE": "system.slice",
                "_SYSTEMD_INVOCATION_ID": f"{rng.randrange(5):032x}",
            }
        if way in ("syslog", "journal"):
            fields["_SOURCE_REALTIME_TIMESTAMP"] = at - 50
        if way == "journal":
            fields |= {"CODE_FILE": "src/main.c", "CODE_LINE": 12, "CODE_FUNC": "main"}
        fields["MESSAGE"] = (
            f"request {number} from 10.0.{number % 250}.{number % 33} took {number % 977} ms "
            f"status {200 + number % 5} for user{rng.randrange(500)}"
        )
        yield "".join(f"{key}={value}\n" for key, value in fields.items()).encode() + b"\n"


def make(directory: Path, count: int, files: int) -> None:
    if not Path(REMOTE).exists():
        raise SystemExit(f"{REMOTE} is not installed: give a journal with --directory")
    each = count // files
    for number in range(files):
        name = f"@{number}" if number < files - 1 else ""
        subprocess.run(
            [REMOTE, "--output", str(directory / f"system{name}.journal"), "-"],
            input=b"".join(entries(number, number * each, each)),
            capture_output=True,
            check=True,
        )


def memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_s(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def read(directory: str, way: str, expected: int | None) -> dict[str, float]:
    """Read everything once; without a number of entries up to the first empty poll."""
    cpu, memory = cpu_s(resource.RUSAGE_SELF), memory_mib(os.getpid())
    began = time.monotonic()
    journal = Journal(JournalSettings(directory=directory, way=way, start="start"))  # type: ignore[arg-type]
    count, most, most_of_child = 0, 0.0, 0.0
    while expected is None or count < expected:
        batch = journal.poll(time.time_ns(), BUDGET)
        count += len(batch.entries)
        if not batch.entries and not batch.backlog and expected is None:
            break
        most = max(most, memory_mib(os.getpid()))
        child = getattr(getattr(journal._reader, "_child", None), "pid", None)
        most_of_child = max(most_of_child, memory_mib(child) if child else 0.0)
    journal.close()
    ours, childs = cpu_s(resource.RUSAGE_SELF) - cpu, cpu_s(resource.RUSAGE_CHILDREN)
    return {
        "entries": count,
        "entries_per_cpu_s": round(count / (ours + childs)),
        "us_per_entry_ours": round(ours / count * 1e6, 2),
        "us_per_entry_child": round(childs / count * 1e6, 2),
        "wall_s": round(time.monotonic() - began, 2),
        "rss_mib": round(most - memory, 1),
        "child_rss_mib": round(most_of_child, 1),
        **idle(directory, way, batch.cursor),
    }


def idle(directory: str, way: str, cursor: str) -> dict[str, float]:
    """Poll with nothing new, as in most seconds of most hosts."""
    memory = memory_mib(os.getpid())
    journal = Journal(JournalSettings(directory=directory, way=way, cursor=cursor))  # type: ignore[arg-type]
    journal.poll(time.time_ns(), BUDGET)
    began = cpu_s(resource.RUSAGE_SELF)
    for _ in range(IDLE_POLLS):
        journal.poll(time.time_ns(), BUDGET)
    found = {
        "idle_us": round((cpu_s(resource.RUSAGE_SELF) - began) / IDLE_POLLS * 1e6, 1),
        "idle_rss_mib": round(memory_mib(os.getpid()) - memory, 1),
        "idle_descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }
    journal.close()
    return found


def measure(directory: str, rounds: int) -> dict[str, object]:
    known = read_in_child(directory, "library", None)
    count = int(known["entries"])
    found: dict[str, object] = {"entries": count}
    for way in ("library", "journalctl"):
        if way == "journalctl" and shutil.which(way) is None:
            continue
        runs = [read_in_child(directory, way, count) for _ in range(rounds)]
        found[way] = max(runs, key=lambda run: run["entries_per_cpu_s"])
    return found


def read_in_child(directory: str, way: str, count: int | None) -> dict[str, float]:
    """Read in a process of its own, whose memory no other reading has touched."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", way, str(count or 0), "--directory", directory],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--directory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, count = options.one
        print(json.dumps(read(options.directory, way, int(count) or None)))
        return 0
    if options.directory:
        print(json.dumps(measure(options.directory, options.rounds), indent=2))
        return 0
    with tempfile.TemporaryDirectory() as made:
        make(Path(made), options.entries, options.files)
        print(json.dumps(measure(made, options.rounds), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
