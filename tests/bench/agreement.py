"""Compare what Vedette's collectors read on this host with what other programs read.

    python tests/bench/agreement.py [--seconds 20] [--only hand,psutil] [--json]

Prints a line per quantity and source and exits with 1 when anything disagrees. ``agreement.txt``
says what is compared with what; a source that is not installed is left out, and said so.

Nothing here depends on two readings being taken at the same moment. A source is read, then Vedette,
then the source again: a counter of ours must lie between its two, to the unit it is counted in, a
momentary value to 1 %. A value that went up and down between the readings is no bracket, so who
disagrees is asked again, a few times; what is really wrong stays wrong. Programs that measure an
interval of their own (``iostat``) begin and end theirs between two readings of Vedette's each, so
what they counted lies between the least and the most that can have happened, to 1 % or to the last
digit they print; a share of the time counts as that many seconds. A worker process writes, reads,
sends, forks and computes well inside the interval.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from agreement_programs import METERS, SOURCES, NodeExporter, Source
from agreement_readings import MODES, PAGE, Reading, by_psutil, disks, hand, of_process
from agreement_table import Quantity, increases, totals, value
from agreement_work import Worker

import vedette_plugins
from vedette.api import Collector, Sample, Unavailable

#: Times a source is asked again about what disagrees.
ATTEMPTS = 10
PAUSE_S = 0.05
#: By how much a program's own interval begins and ends inside of Vedette's.
MARGIN_S = 0.7
ONE_PERCENT = 0.01
#: Floating point, not tolerance: milliseconds become seconds here and there.
ROUNDING = 1e-9
CONFIG = {"processes": {"top": 50}}
NODE = "prometheus-node-exporter"


class Row(NamedTuple):
    """What came of one quantity and one source; ``ours`` and ``other`` are least and most."""

    quantity: str
    source: str
    ours: tuple[float, float] | None
    other: tuple[float, float] | None
    difference: float
    verdict: str


# ---------------------------------------------------------------- Vedette's side


class Vedette:
    """The collectors that declare the wanted instruments, with their default configuration."""

    def __init__(self, instruments: set[str]) -> None:
        self.reasons: dict[str, str] = {}
        self._collectors: dict[str, Collector] = {}
        broken = []
        for module in pkgutil.iter_modules(vedette_plugins.__path__):
            if module.name.startswith("_"):
                continue
            try:
                plugin = importlib.import_module(f"vedette_plugins.{module.name}")
                kinds = getattr(plugin, "register_collectors", list)()
            except Exception as error:
                broken.append(f"{module.name} cannot be imported: {error!r}")
                continue
            for kind in kinds:
                declared = {one.name for one in kind.instruments()} & instruments
                if declared:
                    self._start(kind, declared)
        unknown = instruments - set(self._collectors) - set(self.reasons)
        self.reasons |= dict.fromkeys(unknown, "; ".join(["no collector declares it", *broken]))

    def why_not(self, names: set[str]) -> str:
        """Return why none of these instruments can be read."""
        return "; ".join({self.reasons[name] for name in names if name in self.reasons})

    def read(self, instruments: set[str]) -> Reading:
        """Return what the collectors of these instruments say now, by series key."""
        found: Reading = {}
        collectors = {self._collectors[one] for one in instruments if one in self._collectors}
        for collector in sorted(collectors, key=lambda one: one.name):
            try:
                samples = [one for one in collector.collect() if isinstance(one, Sample)]
            except (Unavailable, OSError):
                continue
            found |= {one.series.key: one.value for one in samples}
        return found

    def close(self) -> None:
        for collector in self._collectors.values():
            collector.close()

    def _start(self, kind: type[Collector], declared: set[str]) -> None:
        try:
            collector = kind(kind.Config(**CONFIG.get(kind.name, {})))
            collector.probe()
        except (Unavailable, OSError) as error:
            self.reasons |= dict.fromkeys(declared, f"{kind.name}: {error}")
            return
        self._collectors |= dict.fromkeys(declared, collector)


# ---------------------------------------------------------------- comparing


def compare(
    quantity: Quantity, source: str, ours: Sequence[float | None], other: Sequence[float | None]
) -> Row:
    """Return the verdict on readings of ours and of the other's, each with its least and most."""
    theirs = [one for one in other if one is not None]
    mine = [one for one in ours if one is not None]
    if not theirs:
        return Row(quantity.name, source, None, None, 0.0, "not told")
    high = (min(theirs), max(theirs))
    if not mine:
        # Series of what a host does not use begin when it does.
        verdict = "disagrees" if any(theirs) else "absent at 0"
        return Row(quantity.name, source, None, high, 0.0, verdict)
    own = (min(mine), max(mine))
    difference = max(0.0, own[0] - high[1]) - max(0.0, high[0] - own[1])
    relative = ROUNDING if quantity.kind == "counter" else ONE_PERCENT
    tolerance = max(quantity.step * (1 + ROUNDING), relative * max(map(abs, high)))
    verdict = "agrees" if abs(difference) <= tolerance else "disagrees"
    return Row(quantity.name, source, own, high, difference, verdict)


def compare_now(
    name: str, read: Source, quantities: Sequence[Quantity], vedette: Vedette
) -> dict[str, Row]:
    """Compare one source's totals with Vedette's; what disagrees is asked about again."""
    rows: dict[str, Row] = {}
    asked = [one for one in quantities if name in one.others]
    for _ in range(ATTEMPTS):
        wanted = set().union(*(one.instruments for one in asked))
        try:
            before, ours, after = read.read(), vedette.read(wanted), read.read()
        except Exception as error:
            why = f"skipped: {name} cannot be read: {error!r}"
            return {one.name: Row(one.name, name, None, None, 0.0, why) for one in asked}
        for one in asked:
            others = [value(one.others[name], reading) for reading in (before, after)]
            mine = value(one.ours, ours)
            if mine is not None and read.wraps:
                mine %= read.wraps
            rows[one.name] = compare(one, name, [mine], others)
            why = vedette.why_not(one.instruments)
            if rows[one.name].ours is None and why:
                rows[one.name] = Row(one.name, name, None, None, 0.0, f"skipped: {why}")
        asked = [one for one in asked if rows[one.name].verdict == "disagrees"]
        if not asked:
            break
        time.sleep(PAUSE_S)
    return rows


# ---------------------------------------------------------------- over the interval


class Interval:
    """One interval, measured by Vedette and by the others between two of its readings each.

    ``outer`` is what the collectors say from before the others began until after they ended,
    ``inner`` what they say from after they began until before they ended.
    """

    def __init__(self, quantities: Sequence[Quantity], worker: int, names: set[str]) -> None:
        self.instruments = set().union(*(one.instruments for one in quantities))
        self.quantities = quantities
        self._outer, self._inner = Vedette(self.instruments), Vedette(self.instruments)
        self._readers = {"hand": partial(read_hand, worker), "psutil": partial(read_psutil, worker)}
        self._readers = {name: self._readers[name] for name in self._readers if name in names}
        self._programs = [name for name in METERS if name in names]

    def run(self, seconds: int, work: Callable[[float], None]) -> list[Row]:
        """Let the work be done for some seconds and return what was compared."""
        margin = MARGIN_S if self._programs else 0.0
        outer = [timed(self._outer.read, self.instruments)]
        began = time.monotonic()
        meters = {name: METERS[name](seconds) for name in self._programs}
        try:
            time.sleep(margin)
            before = {name: timed(read) for name, read in self._readers.items()}
            inner = [timed(self._inner.read, self.instruments)]
            work(began + seconds - margin)
            is_inside = time.monotonic() <= began + seconds - margin / 2
            inner.append(timed(self._inner.read, self.instruments))
            after = {name: timed(read) for name, read in self._readers.items()}
            for meter in meters.values():
                meter.end()
            outer.append(timed(self._outer.read, self.instruments))
            others = {name: spent(before[name], after[name]) for name in before}
            for name, meter in meters.items():
                # Had the work outlasted them, they would not have measured all of it.
                others[name] = meter.result() | {"at": float(seconds)} if is_inside else {}
        finally:
            for meter in meters.values():
                meter.close()
            self._outer.close()
            self._inner.close()
        return [
            self._row(one, name, (inner, outer), others[name])
            for one in self.quantities
            for name in one.others
            if name in others
        ]

    def _row(self, one: Quantity, name: str, ours: Sequence[list[Reading]], other: Reading) -> Row:
        (least, count), (most, whole) = (self._passed(one, *pair) for pair in ours)
        theirs = value(one.others[name], other)
        why = self._outer.why_not(one.instruments)
        if most is None and why:
            return Row(one.name, name, None, None, 0.0, f"skipped: {why}")
        if one.kind == "share" and theirs is not None:
            theirs *= other["at"] / whole
        if least is not None and count and whole:
            # A share of the shorter interval is a smaller one of the longer.
            least *= count / whole
        if one.kind == "mean":
            if least is None or most is None:
                return Row(one.name, name, None, None, 0.0, "not told")  # of too few operations
            most *= whole / count
        return compare(one, name, (least, most), [theirs])

    def _passed(self, one: Quantity, before: Reading, after: Reading) -> tuple[float | None, float]:
        """Return the value over an interval, and what it is a mean of: seconds, or operations."""
        now, then = value(one.ours, after), value(one.ours, before)
        if one.kind == "amount":
            return (None if now is None else now - (then or 0.0)), 0.0
        if one.kind == "share":
            return now, after["at"] - before["at"]
        counts = value(one.per, before), value(one.per, after)
        return now, (counts[1] or 0.0) - (counts[0] or 0.0)


def timed(read: Callable[..., Reading], *arguments: object) -> Reading:
    """Return a reading with the time at which it was begun."""
    return {"at": time.monotonic()} | read(*arguments)


def read_hand(worker: int) -> Reading:
    """Return what is read by hand, of the worker too."""
    with open(f"/proc/{worker}/stat") as file:
        resident = int(file.read().rpartition(")")[2].split()[21]) * PAGE
    return hand() | {"worker resident": resident}


def read_psutil(worker: int) -> Reading:
    """Return what psutil says of the host, of the worker and of this process."""
    found = by_psutil()
    for name, pid in (("worker", worker), ("own", os.getpid())):
        found |= {f"{name} {key}": number for key, number in of_process(pid).items()}
    return found


def spent(before: Reading, after: Reading) -> Reading:
    """Return what a reading grew by, and the shares of time that follow from it."""
    found = {name: after[name] - before[name] for name in after if name in before}
    cpus = os.cpu_count() or 1
    for cpu in ("cpu", *map(str, range(cpus))):
        ticks = {mode: found[f"{cpu} {mode}"] for mode in MODES if f"{cpu} {mode}" in found}
        whole = sum(ticks.values())
        if whole > 0:
            idle = ticks["idle"] + ticks["iowait"]
            found[f"share {cpu}"] = found["share busy"] = 1 - idle / whole
            found |= {f"share {cpu} {mode}": part / whole for mode, part in ticks.items()}
    for disk in disks():
        if f"{disk} busy_s" in found:
            found[f"{disk} busy share"] = found[f"{disk} busy_s"] / found["at"]
    if "worker cpu" in found:
        found["worker share"] = found["worker cpu"] / found["at"] / cpus
        found["own share"] = found["own cpu"] / found["at"]
    return found


# ---------------------------------------------------------------- the whole


def choose(only: str, worker: int) -> tuple[dict[str, Source], set[str], dict[str, str]]:
    """Return the sources to ask, the names of all there are, and why others are not."""
    own = {"hand": partial(read_hand, worker), "psutil": partial(read_psutil, worker)}
    sources = {**{name: Source("", read) for name, read in own.items()}, **SOURCES}
    programs = {name: one.program for name, one in sources.items()}
    programs |= {"node": NODE, **{name: name for name in METERS}}
    wanted = set(only.split(",")) if only else set(programs)
    if wanted - set(programs):
        raise SystemExit(f"--only: no such source; there are {', '.join(programs)}")
    absent = {
        name: f"{program} is not installed"
        for name, program in programs.items()
        if name in wanted and program and not shutil.which(program)
    }
    names = wanted - set(absent)
    return {name: one for name, one in sources.items() if name in names}, names, absent


def run(seconds: int, only: str) -> tuple[list[Row], dict[str, str]]:
    """Compare everything; return the rows, and why some sources were not asked."""
    cpus, rows = os.cpu_count() or 1, []
    node, worker = None, Worker()
    try:
        sources, names, absent = choose(only, worker.pid)
        if "node" in names:
            node = NodeExporter()
            sources["node"] = Source(NODE, node.read)
        quantities = totals(cpus)
        vedette = Vedette(set().union(*(one.instruments for one in quantities)))
        first = {name: compare_now(name, one, quantities, vedette) for name, one in sources.items()}
        interval = Interval(increases(cpus, seconds), worker.pid, names)
        measured = interval.run(seconds, worker.work)
        for name, source in sources.items():
            second = compare_now(name, source, quantities, vedette)
            for quantity, row in second.items():
                was = first[name][quantity]
                rows.append(was if was.verdict == "disagrees" else row)
        vedette.close()
    finally:
        worker.close()
        if node:
            node.close()
    order = {one.name: at for at, one in enumerate(quantities)}
    rows.sort(key=lambda row: order[row.quantity])
    return [*rows, *measured], absent


def summary(rows: Sequence[Row], absent: dict[str, str]) -> dict[str, object]:
    """Return how much was compared, and what came of it."""
    verdicts = Counter(row.verdict.partition(":")[0] for row in rows)
    compared = [row for row in rows if row.ours]
    return {
        "quantities": len({row.quantity for row in compared}),
        "sources": sorted({row.source for row in compared}),
        "comparisons": len(compared),
        **{verdict.replace(" ", "_"): count for verdict, count in sorted(verdicts.items())},
        "left_out": absent,
    }


def show(rows: Sequence[Row]) -> None:
    width = max(len(row.quantity) for row in rows)
    print(f"{'quantity':{width}} {'Vedette':>30} {'other':>30} source    difference verdict")
    for row in rows:
        if row.verdict == "not told":
            continue
        difference = f"{row.difference:.6g}" if row.ours else ""
        print(
            f"{row.quantity:{width}} {span(row.ours):>30} {span(row.other):>30} {row.source:9} "
            f"{difference:>10} {row.verdict}"
        )


def span(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return ""
    low, high = (f"{end:.10g}" for end in ends)
    return low if low == high else f"{low} .. {high}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="length of the interval")
    parser.add_argument("--only", default="", help="sources to ask, by name, with commas")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows, absent = run(max(1, options.seconds), options.only)
    totalled = summary(rows, absent)
    if options.json:
        print(json.dumps({"summary": totalled, "rows": [row._asdict() for row in rows]}, indent=1))
    else:
        show(rows)
        print("\n" + "\n".join(f"{name}: {what}" for name, what in totalled.items()))
    return int(any(row.verdict == "disagrees" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
