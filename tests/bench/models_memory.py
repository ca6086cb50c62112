"""What a page of a model server costs: memory that is kept, CPU once it is known, and RSS.

    PYTHONPATH=agent python -OO tests/bench/models_memory.py PAGE [--servers 0,8] [--warm-up 50]

PAGE is a recorded page. First it is read in this process by ten servers at once, its numbers
growing: told are the KiB that are kept for each (page, mapping, health, drift), the KiB that a
reading takes for a moment, and the milliseconds of CPU of a reading. Then an agent runs that reads
so many copies of it over loopback, by configuration: its RSS, and what of that is its own memory
and what are files (programs).
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from agent_bench import fields
from openmetrics_bench import later, serve

from vedette.drift.pages import Pages
from vedette.exposition.scrape import Answer
from vedette.serving.health import Health
from vedette.serving.served import Served

TEN, ROUNDS, INTERVAL_S = 10, 12, 10.0
START_NS = 1_795_183_200_000_000_000


class Reading:
    """Some servers that tell the same page, and all that is kept of them."""

    def __init__(self, bodies: list[bytes], servers: int) -> None:
        self._bodies = bodies
        self._round = 0
        self._health, self._pages = Health(()), Pages()
        self._served = [
            Served(f"127.0.0.1:{8000 + at}", self._answer, lambda _: [], began_s=0.0)
            for at in range(servers)
        ]

    def _answer(self) -> Answer:
        body = self._bodies[self._round]
        return Answer(body, False, "text/plain", len(body), 0.0)

    def step(self) -> float:
        """Read all once; return the CPU seconds."""
        now_s = INTERVAL_S * self._round
        wall_ns = START_NS + round(now_s * 1e9)
        began = time.thread_time()
        for one in self._served:
            said = one.read(now_s, wall_ns)
            for _ in self._health.step(one, said, now_s, wall_ns):
                pass
            for _ in self._pages.take(one.endpoint, said.samples, wall_ns):
                pass
        self._round += 1
        return time.thread_time() - began


def inside(body: bytes) -> dict[str, float]:
    """Return what ten servers keep and cost in this process, of each."""
    bodies = [later(body, step) for step in range(ROUNDS)]
    Reading(bodies, 1).step()  # what is loaded and read once
    gc.collect()
    tracemalloc.start()
    ten = Reading(bodies, TEN)
    for _ in range(3):
        ten.step()
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    ten.step()
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    times = [ten.step() for _ in range(ROUNDS - 4)]
    cycle_s = statistics.median(times)
    return {
        "kept_kib_per_page": round(after / TEN / 1024),
        "grown_kib_per_reading": round((after - kept) / TEN / 1024, 1),
        "momentary_kib": round((peak - after) / 1024),
        "reading_ms": round(1e3 * cycle_s / TEN, 2),
        "percent_of_a_core_for_ten": round(100 * cycle_s / INTERVAL_S, 3),
    }


def agent(ports: list[int], warm_up_s: float) -> dict[str, float]:
    """Return the memory of an agent that reads the servers at these ports."""
    pages = json.dumps([f"http://127.0.0.1:{port}/metrics" for port in ports])
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "agent.toml")
        config.write_text(
            f'[agent]\nplugins_dir = "{directory}/none"\n'
            f"[collectors.model_servers]\npages = {pages}\n"
            + ('discover = "off"\n' if ports else "")
        )
        command = [sys.executable, "-m", "vedette", "run", "--config", str(config)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        child = subprocess.Popen(
            [*command, "--state-dir", str(Path(directory, "state"))],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(warm_up_s)
            status = fields(child.pid, "status")
        finally:
            child.terminate()
            child.wait(20)
    names = {"rss_mib": "VmRSS", "own_mib": "RssAnon", "files_mib": "RssFile", "peak_mib": "VmHWM"}
    return {key: round(status[name] / 1024, 1) for key, name in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--servers", default="0,8")
    parser.add_argument("--warm-up", type=float, default=50)
    options = parser.parse_args()
    body = options.page.read_bytes()
    result: dict[str, Any] = {"lines": body.count(b"\n"), "bytes": len(body), **inside(body)}
    counts = [int(one) for one in options.servers.split(",") if one]
    queue: Any = multiprocessing.Queue()
    most = max(counts, default=0)
    process = multiprocessing.Process(target=serve, args=(body, queue, most), daemon=True)
    process.start()
    ports = [queue.get(timeout=30) for _ in range(most)]
    for servers in counts:
        result[f"agent_{servers}"] = agent(ports[:servers], options.warm_up)
    process.terminate()
    process.join()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
