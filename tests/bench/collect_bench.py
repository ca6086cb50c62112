"""Measure what reading this host costs: µs per ``collect()`` of each collector, as JSON.

    python tests/bench/collect_bench.py [--rounds 100] [--processes 300]

``cold_us`` is the median CPU time of the thread for a reading after a pause in which caches went
cold, ``hot_us`` that of one right after another, ``samples`` what one tick yields, ``share`` that
of one core at the collector's own interval. Collectors that find nothing to read here are named in
``resting``. ``shared_tick`` is the CPU time of one real tick of all the 1 s collectors that share a
thread, cold. The process table is topped up with sleeping children until it holds ``--processes``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from vedette.api import Collector, Sample, Unavailable
from vedette.registry import discover

CHILDREN_MAX = 2000
PAUSE_S = 0.1


def start() -> tuple[dict[str, Collector], dict[str, str]]:
    """Return the collectors that find something here, read once, and why the others do not."""
    running, resting = {}, {}
    for name, kind in sorted(discover(plugins_dir=None).collectors.items()):
        collector = kind(kind.Config())
        try:
            collector.probe()
            list(collector.collect())
        except Unavailable as reason:
            resting[name] = str(reason)
            collector.close()
        else:
            running[name] = collector
    return running, resting


def read(collector: Collector) -> tuple[float, int]:
    """Return the µs of CPU that one reading took, and how many samples it gave."""
    began = time.thread_time_ns()
    items = list(collector.collect())
    used = (time.thread_time_ns() - began) / 1e3
    return used, sum(isinstance(one, Sample) for one in items)


def measure(collector: Collector, rounds: int) -> dict[str, Any]:
    cold, hot, samples = [], [], 0
    for _ in range(rounds):
        time.sleep(PAUSE_S)
        cold.append(read(collector)[0])
        used, count = read(collector)
        hot.append(used)
        samples = max(samples, count)
    return {
        "cold_us": round(median(cold), 1),
        "hot_us": round(median(hot), 1),
        "samples": samples,
        "interval_s": collector.interval_s,
        "share": round(median(cold) / 1e6 / collector.interval_s, 6),
    }


def measure_shared_tick(collectors: list[Collector], rounds: int) -> dict[str, Any]:
    every = [one for one in collectors if not one.may_block and one.interval_s == 1.0]
    cpus = []
    for _ in range(rounds):
        time.sleep(1.0)
        cpus.append(sum(read(one)[0] for one in every))
    return {
        "cpu_us": round(median(cpus), 1),
        "share": round(median(cpus) / 1e6, 6),
        "collectors": [one.name for one in every],
        "samples": sum(read(one)[1] for one in every),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=300)
    options = parser.parse_args()
    here = sum(path.name.isdecimal() for path in Path("/proc").iterdir())
    missing = min(CHILDREN_MAX, max(0, options.processes - here))
    children = [subprocess.Popen(["sleep", "600"]) for _ in range(missing)]
    try:
        running, resting = start()
        collectors = {name: measure(one, options.rounds) for name, one in running.items()}
        result = {
            "python": sys.version.split()[0],
            "kernel": os.uname().release,
            "cpus": os.cpu_count(),
            "processes": here + missing,
            "collectors": collectors,
            "resting": resting,
            "shared_tick": measure_shared_tick(list(running.values()), options.rounds),
            "total": {
                "samples": sum(one["samples"] for one in collectors.values()),
                "share": round(sum(one["share"] for one in collectors.values()), 6),
            },
        }
        for collector in running.values():
            collector.close()
    finally:
        for child in children:
            child.kill()
            child.wait()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
