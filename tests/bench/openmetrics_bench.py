"""Time the collector ``openmetrics`` through the lanes' reader, as JSON.

    python tests/bench/openmetrics_bench.py PATH [--rounds 30] [--targets 10]

PATH is a page. It is served over loopback by another process, its numbers moving. Told are the
milliseconds of CPU of one tick of one target: ``fetch_ms``, ``book_ms`` (read, followed and told,
from the page's bytes) and ``tick_ms`` (all of it, through the reader of the lanes); the median of
the rounds. ``targets`` has the same of that many targets, what they cost as a share of a core at
one tick in 10 s, and the KiB that they keep.
"""

from __future__ import annotations

import argparse
import gc
import http.server
import json
import multiprocessing
import re
import statistics
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vedette.api import Duration, Sample
from vedette.exposition.collector import OpenMetrics
from vedette.exposition.options import OpenMetricsConfig
from vedette.lanes.reading import Reader

INTERVAL_S = 10.0


_NUMBER = re.compile(rb"^([^#\n].*) (\d+(?:\.\d*)?(?:[eE]\+?\d+)?)$", re.MULTILINE)


def later(body: bytes, step: int) -> bytes:
    """Return a page whose numbers grew; timestamps of processes stay."""

    def grown(found: re.Match[bytes]) -> bytes:
        value = float(found[2])
        return found[0] if value > 1e9 else b"%s %r" % (found[1], value * (10 + step))

    return _NUMBER.sub(grown, body)


def serve(body: bytes, ports: Any, count: int = 1) -> None:
    """Answer with a later page each time, path by path, on so many ports."""
    asked: Counter[str] = Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked[self.path] += 1
            page = later(body, asked[self.path])
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(count)]
    for server in servers:
        ports.put(server.server_port)
        threading.Thread(target=server.serve_forever).start()


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the median CPU time of this thread, in ms."""
    times = []
    for _ in range(rounds):
        began = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - began)
    return round(statistics.median(times) / 1e6, 3)


def made(url: str) -> tuple[OpenMetrics, Reader]:
    """Return a target and what reads it in a lane."""
    config = OpenMetricsConfig(url=url, fetch_timeout=Duration(10))
    collector = OpenMetrics(config)
    reader = Reader(
        collector,
        collector.instruments(),
        name="openmetrics",
        max_series=2000,
        monotonic_ns=time.monotonic_ns,
    )
    return collector, reader


def tick(reader: Reader) -> Any:
    """Read once."""
    now_ns = time.monotonic_ns()
    return reader.read(now_ns, now_ns, now_ns + 60_000_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--targets", type=int, default=10)
    options = parser.parse_args()
    body = options.path.read_bytes()
    ports: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(body, ports), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{ports.get(timeout=30)}"
    collector, reader = made(url)
    for _ in range(3):
        reading = tick(reader)
    items = list(collector.collect())
    scraper = collector._scraper
    answers = iter([scraper.fetch() for _ in range(options.rounds)])
    result: dict[str, Any] = {
        "lines": body.count(b"\n"),
        "bytes": len(body),
        "samples": sum(isinstance(one, Sample) for one in items),
        "distributions": len(reading.frame.histograms),
        "fetch_ms": median_ms(scraper.fetch, options.rounds),
        "book_ms": median_ms(lambda: collector._read(next(answers)), options.rounds),
        "tick_ms": median_ms(lambda: tick(reader), options.rounds),
    }
    gc.collect()
    tracemalloc.start()
    several = [made(f"{url}/{one}") for one in range(options.targets)]
    for _ in range(3):
        frames = [tick(one).frame.tick_ns for _, one in several]
    del frames
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    cycle_ms = median_ms(lambda: [tick(one) for _, one in several], options.rounds // 2)
    result["targets"] = {
        "count": options.targets,
        "cycle_ms": cycle_ms,
        "percent_of_a_core": round(cycle_ms / INTERVAL_S / 10, 3),
        "kept_kib": kept // 1024,
    }
    process.terminate()
    process.join()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
