"""Measure what reading this host costs: µs per ``collect()`` of each host collector, as JSON.

    python tests/bench/collect_bench.py [--rounds 100] [--processes 300]

``wall_us`` is the median of the rounds, ``cpu_us`` the thread's CPU time per round, ``samples``
what one tick yields; the processor is kept awake between rounds, for more than a clock tick of the
kernel so that shares of time are computed. ``shared_tick`` is the CPU time of one real tick of the
collectors that share a thread, after a pause in which caches went cold. ``share`` is that of one
core. The process table is topped up with sleeping children until it holds ``--processes``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from vedette.api import Collector, Sample
from vedette_plugins._process_table import scan

PLUGINS = ("cpu", "load", "memory", "paging", "disk", "filesystem", "network", "processes")
CHILDREN_MAX = 2000
AWAKE_S, PAUSE_S = 0.021, 0.25


def measure(kind: type[Collector], rounds: int) -> dict[str, Any]:
    collector = kind(kind.Config())
    collector.probe()
    list(collector.collect())
    walls = []
    samples, cpu_ns = 0, 0
    for _ in range(rounds):
        awake = time.monotonic() + AWAKE_S
        while time.monotonic() < awake:
            pass
        cpu, begin = time.thread_time_ns(), time.perf_counter_ns()
        read = list(collector.collect())
        walls.append(time.perf_counter_ns() - begin)
        cpu_ns += time.thread_time_ns() - cpu
        samples = max(samples, sum(isinstance(one, Sample) for one in read))
    cpu_us = cpu_ns / rounds / 1e3
    collector.close()
    return {
        "wall_us": round(median(walls) / 1e3, 1),
        "cpu_us": round(cpu_us, 1),
        "samples": samples,
        "interval_s": kind.interval_s,
        "share": round(cpu_us / 1e6 / kind.interval_s, 6),
    }


def measure_shared_tick(kinds: list[type[Collector]], rounds: int) -> dict[str, Any]:
    collectors = [kind(kind.Config()) for kind in kinds if not kind.may_block]
    cpus = []
    for _ in range(rounds):
        time.sleep(PAUSE_S)
        cpu = time.thread_time_ns()
        for collector in collectors:
            list(collector.collect())
        cpus.append((time.thread_time_ns() - cpu) / 1e3)
    for collector in collectors:
        collector.close()
    return {"cpu_us": round(median(cpus), 1), "share": round(median(cpus) / 1e6, 6)}


def measure_scan(rounds: int) -> dict[str, Any]:
    walls = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        found = len(scan("/proc"))
        walls.append((time.perf_counter_ns() - begin) / 1e3)
    return {
        "processes": found,
        "wall_us": round(median(walls), 1),
        "us_per_process": round(median(walls) / found, 2),
        "least_us_per_process": round(min(walls) / found, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=300)
    options = parser.parse_args()
    missing = min(CHILDREN_MAX, max(0, options.processes - len(scan("/proc"))))
    children = [subprocess.Popen(["sleep", "600"]) for _ in range(missing)]
    try:
        kinds = [
            kind
            for name in PLUGINS
            for kind in importlib.import_module(f"vedette_plugins.{name}").register_collectors()
        ]
        few = max(1, options.rounds // 5)
        collectors = {
            kind.name: measure(kind, few if kind.may_block else options.rounds) for kind in kinds
        }
        result = {
            "python": sys.version.split()[0],
            "kernel": os.uname().release,
            "cpus": os.cpu_count(),
            "collectors": collectors,
            "shared_tick": measure_shared_tick(kinds, few),
            "scan": measure_scan(few),
            "total": {
                "samples": sum(one["samples"] for one in collectors.values()),
                "share": round(sum(one["share"] for one in collectors.values()), 6),
            },
        }
    finally:
        for child in children:
            child.kill()
            child.wait()
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
