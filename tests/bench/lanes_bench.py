"""What the lanes cost: 10 collectors in the shared lane and 5 lanes of their own, every second.

Prints JSON: the share of a core the process used, thread wake-ups per second (voluntary context
switches), scheduled ticks delivered, and memory. Run on an idle host:

    python tests/bench/lanes_bench.py [seconds]
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vedette.api import Collector, Frame, NoConfig, Sample, gauge
from vedette.lanes import Assignment, Lanes

SHARED, OWN, SERIES = 10, 5, 20


class Cheap(Collector):
    """Twenty readings without any work behind them, so that only the lanes are measured."""

    name = "cheap"
    interval_s = 1.0
    may_block = False
    value = gauge("bench.value", "1", "A number.", ["row"])

    def collect(self) -> Iterator[Sample]:
        """Yield twenty readings."""
        for row in ROWS:
            yield self.value(1.0, row)


class CheapOwn(Cheap):
    """The same in a lane of its own."""

    may_block = True


ROWS = tuple(str(row) for row in range(SERIES))


def switches() -> Counter[str]:
    """Return the voluntary context switches per thread so far."""
    counts: Counter[str] = Counter()
    for task in Path("/proc/self/task").iterdir():
        text = (task / "status").read_text()
        counts[task.name] = int(text.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return counts


def resident() -> float:
    """Return resident memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def measure(seconds: float) -> dict[str, object]:
    """Run the lanes for some seconds and return what that took."""
    delivered: Counter[str] = Counter()

    def deliver(frames: tuple[Frame, ...]) -> None:
        delivered.update(frame.collector for frame in frames)

    kinds = [(Cheap, f"shared{n}") for n in range(SHARED)] + [
        (CheapOwn, f"own{n}") for n in range(OWN)
    ]
    before_mib = resident()
    lanes = Lanes(
        [Assignment(kind(NoConfig()), 1.0, name=name) for kind, name in kinds],
        deliver,
        base_interval_s=1.0,
        max_series=2000,
    )
    lanes.start()
    time.sleep(2.5)  # the first tick probes
    delivered.clear()
    cpu_s, start, woken = time.process_time(), time.monotonic(), switches()
    time.sleep(seconds)
    cpu_s, took = time.process_time() - cpu_s, time.monotonic() - start
    threads = threading.active_count()
    woken = switches() - woken
    delivered.pop("vedette", None)
    lanes.stop(2.0)
    return {
        "seconds": round(took, 2),
        "cpu_percent_of_a_core": round(100 * cpu_s / took, 3),
        "wakeups_per_second": round(sum(woken.values()) / took, 2),
        "threads": threads,
        "fewest_ticks": min(delivered[name] for _, name in kinds),
        "most_ticks": max(delivered.values()),
        "rss_mib_added": round(resident() - before_mib, 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0), indent=1))
