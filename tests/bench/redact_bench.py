"""How well the redaction finds what it should, what it touches that it should not, what it costs.

    python tests/bench/redact_bench.py [--logs DIR] [--show RULE] [--addresses POLICY] [--json]

The corpus is that of the tests (invented lines, seeded): share of the secrets that do not come out
and of ordinary lines touched, by kind where not all or not none. With ``--logs``, a folder whose
sub-folders hold ``*_2k.log`` (Loghub-2k): lines touched per system, hits by rule, µs per line; all
lines touched are printed with ``--show all`` or the name of a rule, to be judged by eye. Times are
of this process's CPU, the best of five passes: per ordinary line, per line that hides something,
per line of a megabyte of hostile text (the redaction reads the first 128 KiB of it). Budgets: 95 %
of the secrets, 5 % of the ordinary lines, 3 µs for a line without a candidate, 60 µs for one that
is masked, 50 ms for a line of a megabyte.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent / "redact"))
from corpus import negatives, positives

from vedette.redact.redactor import Redactor, Settings

PASSES = 5
MEGABYTE = 1_000_000
HOSTILE = (
    *("a", "@", "0", "-", "=", '"', "\\", "<", "a@", "@a.b", "a@b.c ", "password=", 'password="'),
    *("token: ", "key=[[[", "code=", "session_id=", "://a:b@", "sk-", "A-", "AA00AA00", "eyJ"),
    *("4111 1111 1111 1111 ", "curl -u ", "phone 1 2 3 ", "-----BEGIN PRIVATE KEY-----", "a b "),
)


def best_us(work: Callable[[], object], count: int) -> float:
    """Return the CPU time of one of ``count`` units of work, in µs."""
    best = float("inf")
    for _ in range(PASSES):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def cost(redactor: Redactor, lines: Sequence[bytes]) -> float:
    def work() -> None:
        for line in lines:
            redactor.redact(line)

    return round(best_us(work, len(lines)), 2)


def recall(redactor: Redactor) -> dict[str, object]:
    total: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    lines = positives()
    for one in lines:
        out = redactor.redact(one.line.encode()).data.decode()
        total[one.kind] += 1
        missed[one.kind] += any(secret in out for secret in one.secrets)
    gone = sum(missed.values())
    return {
        "lines": len(lines),
        "kinds": len(total),
        "masked_percent": round(100 - 100 * gone / len(lines), 2),
        "missed": {kind: f"{n} of {total[kind]}" for kind, n in missed.items() if n},
        "us_per_line": cost(redactor, [one.line.encode() for one in lines]),
    }


def ordinary(redactor: Redactor) -> dict[str, object]:
    lines = negatives()
    touched = Counter(k for k, line in lines if redactor.redact(line.encode()).hits)
    return {
        "lines": len(lines),
        "kinds": len({kind for kind, _ in lines}),
        "touched_percent": round(100 * sum(touched.values()) / len(lines), 2),
        "touched": dict(touched),
        "us_per_line": cost(redactor, [line.encode() for _, line in lines]),
    }


def logs(redactor: Redactor, folder: Path, show: str) -> dict[str, object]:
    hits: Counter[str] = Counter()
    systems: dict[str, object] = {}
    every: list[float] = []
    count = touched = 0
    for path in sorted(folder.glob("*/*_2k.log")):
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        here = 0
        for line in lines:
            result = redactor.redact(line)
            here += bool(result.hits)
            hits.update(result.hits)
            if result.hits and (show == "all" or show in result.hits):
                print(f"{path.stem}\n  {line.decode('latin-1')}\n  {result.data.decode('latin-1')}")
        spent = cost(redactor, lines)
        every.append(spent)
        systems[path.stem.removesuffix("_2k")] = {"touched": here, "us_per_line": spent}
        count, touched = count + len(lines), touched + here
    return {
        "lines": count,
        "touched_percent": round(100 * touched / max(count, 1), 3),
        "hits": dict(hits),
        "us_per_line_median_of_systems": round(median(every), 2) if every else None,
        "systems": systems,
    }


def hostile(redactor: Redactor) -> dict[str, float]:
    """Return ms per line of a megabyte, the worst first."""
    rng = random.Random(3)
    texts = {unit: (unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE].encode() for unit in HOSTILE}
    texts["base 64"] = base64.b64encode(rng.randbytes(MEGABYTE))[:MEGABYTE]
    texts["digits"] = "".join(rng.choices("0123456789", k=MEGABYTE)).encode()
    texts["any bytes"] = rng.randbytes(MEGABYTE)
    times: dict[str, float] = defaultdict(float)
    for name, text in texts.items():
        times[name] = round(best_us(lambda text=text: redactor.redact(text), 1) / 1000, 1)  # type: ignore[misc]
    return dict(sorted(times.items(), key=lambda one: -one[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--show", default="", help="print the lines that this rule touches, or all")
    parser.add_argument("--addresses", default="clients")
    parser.add_argument("--json", action="store_true", help="on one line")
    options = parser.parse_args()
    redactor = Redactor(Settings(addresses=options.addresses))
    plain = (
        b"Jan 12 06:49:42 node7 kernel: eth0: link is up at 1000 Mbps, full duplex, flow control rx"
    )
    found: dict[str, object] = {
        "secrets": recall(redactor),
        "ordinary": ordinary(redactor),
        "no_candidate_us": cost(redactor, [plain] * 5000),
        "hostile_ms_per_line_of_1_mb": hostile(redactor),
    }
    if options.logs:
        found["logs"] = logs(redactor, options.logs, options.show)
    print(json.dumps(found, indent=None if options.json else 2, ensure_ascii=False))


if __name__ == "__main__":
    main()
