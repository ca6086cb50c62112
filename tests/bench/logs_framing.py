"""Measure framing and joining: the share of bodies found exactly, and CPU per line.

    python tests/bench/logs_framing.py --loghub DIR     header stripper on Loghub's 2k raw lines
    python tests/bench/logs_framing.py                  CPU per line of each format, made here

The bodies are compared with the ``Content`` column of the structured files, blanks at the end aside
(the column has none). One setting for all, no knowledge of the systems; both ways of feeding: whole
batches, from which the framer learns before it frames, and one line at a time.
Times are CPU time of the best of five passes; the first row is a calibration, one ``re.sub`` of
digits per line, to compare machines by.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from vedette.logs.framing import Framer
from vedette.logs.joining import Joiner

NOW = 1_750_000_000 * 10**9
PASSES = 5
LINES = 4000


def per_line_us(work: Callable[[], object], lines: int) -> float:
    """Return CPU microseconds per line, best of several passes."""
    best = float("inf")
    for _ in range(PASSES):
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best / lines * 1e6


def bodies_of(root: Path) -> None:
    """Print, per system, the share of lines whose body is exactly the one marked."""
    print(
        f"{'system':12} {'batch':>6} {'single':>6} {'frame us':>9} {'+join us':>9} {'no time':>8}"
    )
    sums = [0.0] * 4
    systems = sorted(path.parent.name for path in root.glob("*/*_2k.log"))
    for system in systems:
        raw = (root / system / f"{system}_2k.log").read_bytes().splitlines()
        table = root / system / f"{system}_2k.log_structured.csv"
        with table.open(encoding="utf-8", newline="") as file:
            marked = [row["Content"].strip().encode() for row in csv.DictReader(file)]
        raw = raw[: len(marked)]
        framer, single = Framer(), Framer()
        columns = framer.columns(raw, NOW)
        found = columns.bodies
        alone = [body for line in raw for body in single.columns([line], NOW).bodies]
        shares = [sum(map(bytes.__eq__, bodies, marked)) / len(marked) for bodies in (found, alone)]
        frame = per_line_us(lambda f=framer, r=raw: f.columns(r, NOW), len(raw))  # type: ignore[misc]
        joiner = Joiner()
        join = per_line_us(lambda j=joiner, c=columns: j.join(c, NOW), len(raw))  # type: ignore[misc]
        timeless = sum(time_ns is None for time_ns in columns.times)
        print(
            f"{system:12} {shares[0]:6.3f} {shares[1]:6.3f} {frame:9.2f} {frame + join:9.2f}"
            f" {timeless:8}"
        )
        for index, value in enumerate((*shares, frame, frame + join)):
            sums[index] += value / len(systems)
    print(f"{'mean':12} {sums[0]:6.3f} {sums[1]:6.3f} {sums[2]:9.2f} {sums[3]:9.2f}")


def samples() -> dict[str, list[bytes]]:
    """Return lines of each format, and of what is no format at all."""
    random.seed(5)
    text = [
        b"request %d from 10.0.%d.%d took %d ms" % (n, n % 9, n % 251, random.randrange(900))
        for n in range(LINES)
    ]
    stamp = [b"2024-01-02T03:%02d:%02d.%06dZ" % (n // 60 % 60, n % 60, n) for n in range(LINES)]
    both = list(zip(stamp, text, strict=True))
    docker = [
        json.dumps(
            {"log": body.decode() + "\n", "stream": "stderr", "time": at.decode()},
            separators=(",", ":"),
        ).encode()
        for at, body in both
    ]
    return {
        "syslog": [b"Jan  2 03:04:05 web1 app[77]: " + body for body in text],
        "syslog, rfc3339": [at + b" web1 app[77]: " + body for at, body in both],
        "rfc 5424": [b"<14>1 " + at + b" web1 app 77 - - " + body for at, body in both],
        "logback": [b"2024-01-02 03:04:05,678 INFO  [main] o.f.Bar - " + body for body in text],
        "access log": [
            b'10.0.0.5 - - [02/Jan/2024:03:04:05 +0000] "GET /%d HTTP/1.1" 200 23' % n
            for n in range(LINES)
        ],
        "cri": [at + b" stdout F " + body for at, body in both],
        "cri, logback": [
            at + b" stdout F 2024-01-02 03:04:05 INFO a.b: " + body for at, body in both
        ],
        "docker json-file": docker,
        "json lines": [
            b'{"level":"info","ts":"%s","msg":"%s","n":%d}' % (at, body, n)
            for n, (at, body) in enumerate(both)
        ],
        "logfmt": [b'time=%s level=info msg="%s" n=1' % pair for pair in both],
        "no header": text,
        "traces": [
            line
            for n in range(LINES // 8)
            for line in (
                b"2024-01-02 03:04:05 ERROR app: failed %d" % n,
                b"java.lang.IllegalStateException: x",
                *(b"\tat com.foo.Bar.baz(Bar.java:%d)" % m for m in range(6)),
            )
        ],
        "random bytes": [random.randbytes(100).replace(b"\n", b"") for _ in range(LINES)],
        "all different": [
            b"2024-01-02 03:04:05 "
            + b" ".join(
                random.choice((b"[a b]", b"x:", b"12", b"|", b"INFO", b"-", b"(q)"))
                for _ in range(12)
            )
            for _ in range(LINES)
        ],
        "brackets": [b"2024-01-02 03:04:05 " + b"[" * 200 for _ in range(LINES)],
        "1 MB lines": [b"2024-01-02 03:04:05 INFO a: " + b"x y" * 350_000 for _ in range(4)],
        "1 MB no header": [b"x=" * 500_000 for _ in range(4)],
    }


def cost() -> None:
    """Print the CPU per line of each format, framed, and framed and joined."""
    digits = re.compile(rb"\d+")
    print(f"{'lines':18} {'frame us':>9} {'+join us':>9}")
    for name, lines in samples().items():
        if name == "syslog":
            plain = per_line_us(lambda r=lines: [digits.sub(b"0", x) for x in r], len(lines))  # type: ignore[misc]
            print(f"{'(calibration)':18} {plain:9.2f}")
        framer, joiner = Framer(), Joiner()
        columns = framer.columns(lines, NOW)
        frame = per_line_us(lambda f=framer, r=lines: f.columns(r, NOW), len(lines))  # type: ignore[misc]
        join = per_line_us(lambda j=joiner, c=columns: j.join(c, NOW), len(lines))  # type: ignore[misc]
        print(f"{name:18} {frame:9.2f} {frame + join:9.2f}")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--loghub", type=Path, help="a directory with Loghub's 2k samples")
    root = parser.parse_args().loghub
    if root is None:
        cost()
    else:
        bodies_of(root)


if __name__ == "__main__":
    main()
