"""Measure the template miner: quality on labelled logs, speed beside drain3, hostile input.

    python tests/bench/logs_miner.py quality DIR [--raw] [--shuffles 5] [--drain3] [--errors NAME]
    python tests/bench/logs_miner.py speed DIR [--drain3]
    python tests/bench/logs_miner.py hostile

``DIR`` is a checkout of Loghub with its 2k samples (``DIR/HDFS/HDFS_2k.log_structured.csv``). One
setting for all systems. ``--raw`` gives the miner what the framer leaves of the raw lines instead
of the labelled message. drain3 runs in the same process where it is installed, with and without
masks; its ids are read at the end, as ours are.

Speed is in lines per second of CPU, and beside it what ``re.sub`` needs to replace the digits of
the same lines, because no two machines, and no two moments of a shared one, are alike.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "agent"), str(ROOT / "tests" / "bench")]

from logs_miner_metrics import even, grouping, new_after, plain, texts  # noqa: E402

from vedette.logs.miner import Miner  # noqa: E402

BATCH = 500
#: drain3's own example masks (its examples/drain3.ini).
MASKS = (
    (r"((?<=[^A-Za-z0-9])|^)(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))((?=[^A-Za-z0-9])|$)", "ID"),
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9A-F]{4} ?){4,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
    (r"(?<=executed cmd )(\".+?\")", "CMD"),
)


class System(NamedTuple):
    """The lines of one system and their labels."""

    name: str
    lines: list[bytes]
    labels: list[str]
    templates: list[str]


class Answer(NamedTuple):
    """What a miner made of lines: a group and a text for each, and how many were new late."""

    groups: Sequence[object]
    written: Sequence[str]
    new: int


def load(folder: Path, *, raw: bool) -> Iterator[System]:
    """Yield the systems of a checkout."""
    for path in sorted(folder.glob("*/*_2k.log_structured.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        bodies = [row["Content"].encode() for row in rows]
        if raw:
            bodies = _bodies(raw_lines(path), len(rows))
        labels = [row["EventId"] for row in rows]
        yield System(path.parent.name, bodies, labels, [row["EventTemplate"] for row in rows])


def raw_lines(path: Path) -> list[bytes]:
    """Return the raw lines behind a labelled file."""
    log = Path(str(path).removesuffix("_structured.csv"))
    return [line.rstrip(b"\r") for line in log.read_bytes().split(b"\n") if line.strip()]


def _bodies(lines: Sequence[bytes], expected: int) -> list[bytes]:
    from vedette.logs.framing import Framer

    if len(lines) != expected:
        raise SystemExit(f"{len(lines)} raw lines, {expected} labels")
    framer = Framer()
    found: list[bytes] = []
    for start in range(0, len(lines), BATCH):
        found += [entry.body for entry in framer.frame(lines[start : start + BATCH], 0)]
    if len(found) != expected:
        raise SystemExit(f"{expected} lines became {len(found)} entries")
    return found


# ---------------------------------------------------------------- miners


def ours(lines: Sequence[bytes]) -> Answer:
    """Mine lines with Vedette."""
    miner = Miner()
    ids: list[int] = []
    new = 0
    half = len(lines) // 2
    for start, end in ((0, half), (half, len(lines))):
        new = 0
        for at in range(start, end, BATCH):
            ids += miner.learn(lines[at : min(at + BATCH, end)])
            new += len(miner.fresh())
    groups = [miner.resolve(number) for number in ids]
    text = {one.id: one.text for one in miner.templates()}
    return Answer(groups, [text[number] for number in groups], new)


def _drain(*, masks: bool) -> object:
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.profiling_enabled = False
    if masks:
        from drain3 import masking

        one = getattr(masking, "RegexMaskingInstruction", None) or masking.MaskingInstruction
        config.masking_instructions = [one(pattern, name) for pattern, name in MASKS]
        config.mask_prefix, config.mask_suffix = "<", ">"
    return TemplateMiner(config=config)


def drain3(lines: Sequence[bytes], *, masks: bool) -> Answer:
    """Mine lines with drain3."""
    miner = _drain(masks=masks)
    ids = []
    new = 0
    for at, line in enumerate(lines):
        made = miner.add_log_message(line.decode("utf-8", "replace"))  # type: ignore[attr-defined]
        ids.append(made["cluster_id"])
        new += at >= len(lines) // 2 and made["change_type"] == "cluster_created"
    clusters = {one.cluster_id: one.get_template() for one in miner.drain.clusters}  # type: ignore[attr-defined]
    return Answer(ids, [clusters[number] for number in ids], new)


# ---------------------------------------------------------------- quality


def quality(folder: Path, *, raw: bool, shuffles: int, peer: bool, errors: str) -> None:
    """Print the measures of each system, their means, and those over shuffled lines."""
    systems = list(load(folder, raw=raw))
    _quality("vedette", systems, ours, errors)
    if peer:
        _quality("drain3", systems, lambda lines: drain3(lines, masks=False))
        _quality("drain3 with masks", systems, lambda lines: drain3(lines, masks=True))
    means = []
    for seed in range(shuffles):
        rows = []
        for system in systems:
            order = list(range(len(system.lines)))
            random.Random(seed).shuffle(order)
            labels = [system.labels[at] for at in order]
            answer = ours([system.lines[at] for at in order])
            true = new_after(labels, len(labels) // 2)
            rows.append((*grouping(answer.groups, labels), answer.new, true))
        ga, fga = (statistics.fmean(row[at] for row in rows) for at in (0, 1))
        new, true = (sum(row[at] for row in rows) for at in (2, 3))
        means.append((ga, fga))
        print(f"shuffle {seed}: GA {ga:.3f}  FGA {fga:.3f}  new {new} / {true} = {new / true:.2f}")
    if means:
        ga, fga = (statistics.fmean(column) for column in zip(*means, strict=True))
        print(f"mean of shuffles: GA {ga:.3f}  FGA {fga:.3f}")


def _quality(
    name: str,
    systems: Sequence[System],
    mine: Callable[[Sequence[bytes]], Answer],
    errors: str = "",
) -> None:
    print(f"\n{name}\n{'system':12}   GA    FGA   PA    FTA   PA'   FTA'   new / true")
    rows = []
    for system in systems:
        answer = mine(system.lines)
        row = [*grouping(answer.groups, system.labels)]
        for form in (plain, even):
            cache = {text: form(text) for text in {*answer.written, *system.templates}}
            written = [cache[text] for text in answer.written]
            row += texts(answer.groups, written, [cache[text] for text in system.templates])
        true = new_after(system.labels, len(system.labels) // 2)
        rows.append((*row, answer.new, true))
        print(f"{system.name:12} {' '.join(f'{one:5.3f}' for one in row)}  {answer.new:4} / {true}")
        if errors == system.name:
            _explain(system, answer)
    means = [statistics.fmean(row[at] for row in rows) for at in range(6)]
    new, true = (sum(row[at] for row in rows) for at in (6, 7))
    shown = " ".join(f"{one:5.3f}" for one in means)
    print(f"{'mean':12} {shown}  {new:4} / {true} = {new / true:.2f}")


def _explain(system: System, answer: Answer) -> None:
    pairs: dict[object, dict[str, int]] = {}
    for group, label in zip(answer.groups, system.labels, strict=True):
        pairs.setdefault(group, {}).setdefault(label, 0)
        pairs[group][label] += 1
    text = dict(zip(answer.groups, answer.written, strict=True))
    true = dict(zip(system.labels, system.templates, strict=True))
    owners: dict[str, list[object]] = {}
    for group, labels in pairs.items():
        for label in labels:
            owners.setdefault(label, []).append(group)
        if len(labels) > 1:
            print(f"  one of {len(labels)}: {text[group][:140]}")
            for label, count in labels.items():
                print(f"     {count:5} {true[label][:140]}")
    for label, groups in owners.items():
        if len(groups) > 1:
            print(f"  {len(groups)} of one: {true[label][:140]}")
            for group in groups[:6]:
                print(f"     {pairs[group][label]:5} {text[group][:140]}")


# ---------------------------------------------------------------- speed


def speed(folder: Path, *, peer: bool) -> None:
    """Print lines per CPU second on the mixed stream of all systems, cold and warm."""
    systems = list(load(folder, raw=False))
    lines = [line for system in systems for line in system.lines]
    random.Random(0).shuffle(lines)
    print(f"{len(lines)} bodies of {len(systems)} systems, mixed, lines per CPU second")
    print(f"  re.sub of digits        {_rate(lines, _digits):9.0f}")
    miner = Miner()
    print(f"  vedette, first time     {_rate(lines, miner.learn, times=1):9.0f}")
    warm = _rate(lines, miner.learn)
    print(f"  vedette, warm           {warm:9.0f}")
    ids = miner.learn(lines)
    start = time.process_time()
    state = miner.to_bytes()
    saved = time.process_time()
    Miner.from_bytes(state)
    print(f"  state {len(state) / 1024:.0f} KiB, saved in {1e3 * (saved - start):.1f} ms, "
          f"read in {1e3 * (time.process_time() - saved):.1f} ms")  # fmt: skip
    print(f"  vedette, slot values    {_rate_values(miner, lines, ids):9.0f}")
    if peer:
        for masks in (False, True):
            other = _drain(masks=masks)
            add = other.add_log_message  # type: ignore[attr-defined]

            def feed(batch: Sequence[bytes], add: Callable[[str], object] = add) -> None:
                for line in batch:
                    add(line.decode("utf-8", "replace"))

            name = "drain3 with masks" if masks else "drain3"
            first = _rate(lines, feed, times=1)
            rate = _rate(lines, feed)
            print(f"  {name + ', first time':23} {first:9.0f}")
            print(f"  {name + ', warm':23} {rate:9.0f}   vedette is {warm / rate:.1f} times that")
    _speed_raw(folder)


def _speed_raw(folder: Path) -> None:
    if importlib.util.find_spec("vedette.logs.framing") is None:
        return
    from vedette.logs.framing import Framer

    total = bare = 0.0
    count = 0
    for path in sorted(folder.glob("*/*_2k.log_structured.csv")):
        lines = raw_lines(path)
        framer, miner = Framer(), Miner()

        def whole(batch: Sequence[bytes], framer: Framer = framer, miner: Miner = miner) -> None:
            miner.learn(framer.columns(batch, 0).bodies)

        whole(lines)
        total += len(lines) / _rate(lines, whole)
        framed = framer.columns(lines, 0).bodies
        bare += len(framed) / _rate(framed, miner.learn)
        count += len(lines)
    print(f"  raw lines, system by system, warm: framed and mined {count / total:9.0f}")
    print(f"                                     mined alone      {count / bare:9.0f}")


def _digits(batch: Sequence[bytes]) -> None:
    for line in batch:
        _DIGITS(b"0", line)


_DIGITS = re.compile(rb"\d+").sub


def _rate(lines: Sequence[bytes], work: Callable[[list[bytes]], object], times: int = 3) -> float:
    best = float("inf")
    batches = [list(lines[at : at + BATCH]) for at in range(0, len(lines), BATCH)]
    for _ in range(times):
        start = time.process_time()
        for batch in batches:
            work(batch)
        best = min(best, time.process_time() - start)
    return len(lines) / best


def _rate_values(miner: Miner, lines: Sequence[bytes], ids: Sequence[int]) -> float:
    start = time.process_time()
    for line, number in zip(lines, ids, strict=True):
        miner.values(line, number)
    return len(lines) / (time.process_time() - start)


# ---------------------------------------------------------------- hostile input


def hostile_inputs() -> dict[str, Callable[[], Iterator[bytes]]]:
    """Return what tries to make a miner slow or large, by name."""
    rng = random.Random(1)
    letters = b"abcdefghijklmnopqrstuvwxyz"

    def word() -> bytes:
        return bytes(rng.choices(letters, k=rng.randint(3, 9)))

    def lines(count: int, make: Callable[[int], bytes]) -> Callable[[], Iterator[bytes]]:
        return lambda: (make(at) for at in range(count))

    return {
        "random bytes": lines(20_000, lambda _: rng.randbytes(100)),
        "printable bytes": lines(20_000, lambda _: bytes(rng.choices(range(32, 127), k=100))),
        "random words": lines(20_000, lambda _: b" ".join(word() for _ in range(12))),
        "one random word": lines(20_000, lambda _: word()),
        "one word of six varies": lines(20_000, lambda _: b"the job named " + word() + b" is due"),
        "half the words vary": lines(
            20_000, lambda _: b"task of kind " + b" and then ".join(word() for _ in range(5))
        ),
        "key=value": lines(20_000, lambda _: b" ".join(word() + b"=" + word() for _ in range(6))),
        "hex": lines(20_000, lambda _: b"at " + rng.randbytes(24).hex().encode() + b" freed"),
        "json": lines(
            20_000, lambda _: b'{"a":{"b":["%s",{"c":"%s"}]},"n":%d}' % (word(), word(), 7)
        ),
        "brackets": lines(2_000, lambda at: b"([{<" * 500 + b"%d" % at + b">}])" * 500),
        "long words": lines(4_000, lambda _: b" ".join(word() * 10 for _ in range(100))),
        "growing lists": lines(2_000, lambda at: b"ids " + b"x%d, " * 0 + b"7, " * at),
    }


def long_lines() -> dict[str, bytes]:
    """Return lines of a megabyte, by name."""
    rng = random.Random(2)
    size = 1 << 20
    units = (
        b"a", b"word ", b"a.", b"/", b" /a", b"a@", b"1 ", b"1", b"a:", b"ab:", b"a-", b"a=",
        b'"a ', b"0.", b"a://", b"(", b"a0-", b"_", b"0x0", b"x=1,", b"a@a.", b"\n",
    )  # fmt: skip
    found = {repr(unit)[1:]: (unit * (size // len(unit) + 1))[:size] for unit in units}
    return found | {"random": rng.randbytes(size)}


def hostile() -> None:
    """Print speed and memory for each hostile input, each in a process of its own."""
    print(f"{'input':24} lines/CPU-s   MiB above base   templates   given up")
    for name in hostile_inputs():
        run = [sys.executable, __file__, "one", name]
        print(subprocess.run(run, check=True, capture_output=True, text=True).stdout, end="")
    miner = Miner()
    worst = 0.0
    for name, line in long_lines().items():
        start = time.process_time()
        miner.learn_one(line)
        miner.learn_one(line)
        took = (time.process_time() - start) * 500
        worst = max(worst, took)
        print(f"1 MiB of {name:12} {took:6.2f} ms")
    print(f"slowest line of a megabyte: {worst:.2f} ms")


def one(name: str) -> None:
    """Print the row of one hostile input."""
    lines = hostile_inputs()[name]()
    miner = Miner()
    miner.learn([b"a first line to have all code in memory %d" % at for at in range(10)])
    miner.to_bytes()
    base = _resident()
    took, count, most = 0.0, 0, base
    while batch := [line for _, line in zip(range(BATCH), lines, strict=False)]:
        start = time.process_time()
        miner.learn(batch)
        took += time.process_time() - start
        count += len(batch)
        most = max(most, _resident())
    above = (most - base) / 2**20
    print(f"{name:24} {count / took:11.0f} {above:16.1f} {len(miner):11} {miner.overflowed:10}")


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("part", choices=("quality", "speed", "hostile", "one"))
    parser.add_argument("where", nargs="?", default="")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--shuffles", type=int, default=5)
    parser.add_argument("--drain3", action="store_true")
    parser.add_argument("--errors", default="")
    args = parser.parse_args()
    if args.part == "quality":
        quality(Path(args.where), raw=args.raw, shuffles=args.shuffles, peer=args.drain3,
                errors=args.errors)  # fmt: skip
    elif args.part == "speed":
        speed(Path(args.where), peer=args.drain3)
    elif args.part == "hostile":
        hostile()
    else:
        one(args.where)


if __name__ == "__main__":
    main()
