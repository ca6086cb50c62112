"""What a tick costs on a large host: CPU ms per ``collect()`` of each collector, as JSON.

    python tests/bench/large_bench.py [--rounds 20] [--tree FOLDER]

The host is the made tree of ``large_tree.py`` (256 CPUs, 5,000 processes, 2,000 mounts); between
two rounds its counters move by a second and the caches go cold. ``tick_ms`` adds up what one second
costs: every collector but ``processes``, each divided by its interval; ``worst_tick_ms`` is the
tick at which all of them are due at once. Budget: 25 ms for the worst tick. Collectors that find
nothing to read in the tree are named in ``resting``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from large_tree import advance, advance_processes, make  # type: ignore[import-not-found]

from vedette.api import Collector, Host, Sample, Unavailable
from vedette.registry import discover

PAUSE_S = 0.05


class Row:
    """One collector on the tree and what its rounds took."""

    def __init__(self, kind: type[Collector], host: Host) -> None:
        self.collector = kind(kind.Config())
        self.collector.host = host
        self.cpu_ms: list[float] = []
        self.samples = 0

    def read(self) -> None:
        began = time.thread_time_ns()
        self.samples = sum(isinstance(one, Sample) for one in self.collector.collect())
        self.cpu_ms.append((time.thread_time_ns() - began) / 1e6)

    def result(self) -> dict[str, Any]:
        return {
            "cpu_ms": round(median(self.cpu_ms[1:]), 3),
            "max_ms": round(max(self.cpu_ms[1:]), 3),
            "samples": self.samples,
            "interval_s": self.collector.interval_s,
        }


def start(host: Host) -> tuple[dict[str, Row], dict[str, str]]:
    """Return the collectors that find something in the tree, and why the others do not."""
    rows, resting = {}, {}
    for name, kind in sorted(discover(plugins_dir=None).collectors.items()):
        row = Row(kind, host)
        try:
            row.collector.probe()
            row.read()
        except (Unavailable, OSError) as error:
            resting[name] = str(error)
            row.collector.close()
        else:
            rows[name] = row
    return rows, resting


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--tree", type=Path, help="where the tree is made (default: a new folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tree = options.tree or Path(temporary)
        make(tree)
        host = Host(str(tree / "proc"), str(tree / "sys"), str(tree))
        rows, resting = start(host)
        for second in range(1, options.rounds + 1):
            advance(tree, second)
            advance_processes(tree, second)
            time.sleep(PAUSE_S)
            for row in rows.values():
                row.read()
        results = {name: row.result() for name, row in rows.items()}
        for row in rows.values():
            row.collector.close()
    others = [one for name, one in results.items() if name != "processes"]
    report = {
        "tick_ms": round(sum(one["cpu_ms"] / one["interval_s"] for one in others), 2),
        "worst_tick_ms": round(sum(one["cpu_ms"] for one in others), 2),
        "series": sum(one["samples"] for one in results.values()),
        "collectors": results,
        "resting": resting,
    }
    json.dump(report, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
