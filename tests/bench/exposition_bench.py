"""Compare and time the reading of metrics pages, beside prometheus_client in the same run, as JSON.

    python tests/bench/exposition_bench.py DIRECTORY [--rounds 30]

DIRECTORY is searched for ``*.prom``. Every page is read by both, and ``differences`` has those
whose lines are not the same. Of the largest page of each server: ``cold_ms`` (all series new),
``warm_ms`` (all known), ``points_ms`` (making all points after that), ``changes_ms`` (comparing
them with the page before), ``client_ms`` (prometheus_client), and lines per second of the first two
and the last. ``fetch`` has the CPU of this thread for a page of about 1,000 lines over loopback by
``scrape`` and by httpx, ``cycle_ms`` that of ten such pages fetched, read, and turned into points
and changes. ``memory_kib`` is what a page's reader and its changes keep, ``ten_pages_kib`` what
those of ten such pages do.
"""

from __future__ import annotations

import argparse
import gc
import http.server
import json
import multiprocessing
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from vedette.exposition.follow import Changes
from vedette.exposition.reading import Reader
from vedette.exposition.scrape import Scraper, Target
from vedette_plugins.otlp import import_httpx

sys.path.insert(0, str(Path(__file__).parent))
from exposition_oracle import by_prometheus_client, by_vedette, differences


def best_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the quickest of several runs."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - began)
    return min(times) / 1e6


def timed(body: bytes, rounds: int) -> dict[str, Any]:
    """Time one page in every way."""
    text = body.decode()
    lines = text.count("\n")
    reader, changes = Reader(), Changes()
    for second in (1.0, 2.0):
        changes.advance(reader.read(body), second)
    pages = [reader.read(body) for _ in range(rounds)]
    waiting = iter(pages)
    cold = best_ms(lambda: Reader().read(body), 3)
    warm = best_ms(lambda: reader.read(body), rounds)
    points = best_ms(lambda: list(next(waiting)), rounds)
    seconds = iter(range(3, rounds + 3))
    ready = iter(pages)
    change = best_ms(lambda: changes.advance(next(ready), next(seconds)), rounds)
    client = best_ms(lambda: list(text_string_to_metric_families(text)), 3)
    return {
        "lines": lines,
        "bytes": len(body),
        "cold_ms": round(cold, 2),
        "warm_ms": round(warm, 3),
        "points_ms": round(points, 3),
        "changes_ms": round(change, 3),
        "client_ms": round(client, 2),
        "cold_lines_per_s": round(lines / cold * 1e3),
        "warm_lines_per_s": round(lines / warm * 1e3),
        "client_lines_per_s": round(lines / client * 1e3),
        "memory_kib": kept_kib(body, 1),
    }


def kept_kib(body: bytes, readers: int) -> int:
    """Return what readers of a page keep, in KiB."""
    gc.collect()
    tracemalloc.start()
    kept = [(Reader(), Changes()) for _ in range(readers)]
    for second in (1.0, 2.0):
        for reader, changes in kept:
            changes.advance(reader.read(body), second)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size // 1024


def serve(body: bytes, ports: Any) -> None:
    """Answer with one page for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ports.put(server.server_port)
    server.serve_forever()


def fetched(body: bytes, rounds: int) -> dict[str, Any]:
    """Measure a fetch by both, and a cycle of ten."""
    ports: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(body, ports), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{ports.get(timeout=10)}/metrics"
    httpx = import_httpx()
    client = httpx.Client(verify=False, trust_env=False, headers={"Accept-Encoding": "identity"})
    servers = [(Scraper(Target(url)), Reader(), Changes()) for _ in range(10)]

    def by_httpx() -> None:
        with client.stream("GET", url) as response:
            b"".join(response.iter_raw())

    def cycle() -> None:
        for scraper, reader, changes in servers:
            page = reader.read(scraper.fetch().body)
            list(page)
            changes.advance(page, time.monotonic())

    def cpu_ms(work: Callable[[], object]) -> float:
        work()
        began = time.thread_time_ns()
        for _ in range(rounds):
            work()
        return round((time.thread_time_ns() - began) / rounds / 1e6, 3)

    found = {
        "scrape_ms": cpu_ms(servers[0][0].fetch),
        "httpx_ms": cpu_ms(by_httpx),
        "cycle_ms": cpu_ms(cycle),
    }
    process.terminate()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    wrong: dict[str, list[str]] = {}
    largest: dict[str, Path] = {}
    pages = sorted(options.directory.rglob("*.prom"))
    for path in pages:
        body = path.read_bytes()
        reader = Reader()
        page = reader.read(body)
        found = differences(by_vedette(page), by_prometheus_client(body))
        found += differences(by_vedette(reader.read(body)), by_vedette(page))
        found += [str(fault) for fault in page.faults]
        if found:
            wrong[str(path.relative_to(options.directory))] = found[:5]
        server = path.parent.name if path.parent != options.directory else path.stem
        if server not in largest or len(body) > largest[server].stat().st_size:
            largest[server] = path
    sizes = sorted(largest.items(), key=lambda item: -item[1].stat().st_size)
    thousand = min(
        (path.read_bytes() for path in largest.values()),
        key=lambda body: abs(body.count(b"\n") - 1000),
    )
    result = {
        "pages": len(pages),
        "differences": wrong,
        "largest": {server: timed(path.read_bytes(), options.rounds) for server, path in sizes},
        "fetch": fetched(thousand, options.rounds),
        "ten_pages_kib": kept_kib(thousand, 10),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
