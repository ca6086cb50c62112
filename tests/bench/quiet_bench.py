"""Count what rings on hosts on which nothing is wrong.

    python tests/bench/quiet_bench.py [--series 1 20] [--days 28] [--every 300] [--draws 2]

Eight kinds of noise that swell and shrink with the day (tests/quiet_scores.py), each as a lone
series and as a host of several, go through ``vedette backtest`` with the shipped configuration: all
of it, detectors, Decider and Correlator. Printed are the incidents a week of each kind, in the
first week and later, by which heads, and over all kinds with the 95 % interval of the rate of a
Poisson process. What is wanted is one a week, as ``[incidents] false_alarms`` says. Each draw has
its own noise; ``--seed`` says which is the first.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from vedette import cli

sys.path.insert(0, str(Path(__file__).parent.parent))
from quiet_scores import quiet

KINDS = (
    "normal",
    "student",
    "lognormal",
    "autocorrelated",
    "heteroscedastic",
    "bursts",
    "integers",
    "zeros",
)
DAY_S = 86_400
WEEK_S = 7 * DAY_S
#: A Monday at midnight, Unix s.
START = 1_735_516_800
LEVEL, SWELL = 50.0, 0.5
#: Of the normal distribution, for an interval of 95 %.
Z = 1.959964


class Host(NamedTuple):
    """One made-up host: what its noise is like, how many series, how long and how often read."""

    kind: str
    series: int
    days: float
    every_s: int
    seed: int


class Rang(NamedTuple):
    """What a host was told: incidents in the first week and later, and by which heads."""

    host: Host
    first: int
    later: int
    heads: tuple[str, ...]


def run(host: Host) -> Rang:
    """Make a host and let ``vedette backtest`` judge it; ``RuntimeError`` when that fails."""
    with tempfile.TemporaryDirectory() as directory:
        made, told = Path(directory, "host.csv"), Path(directory, "told.json")
        write(made, host)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = cli.main(["backtest", str(made), "--incidents", str(told)])
        if code not in (0, 1):
            raise RuntimeError(f"vedette backtest of {host} ended with {code}: {said.getvalue()}")
        incidents = json.loads(told.read_text())["incidents"]
    ages = [one["opened_ns"] / 1e9 - START for one in incidents]
    heads = [head for one in incidents for head in one["detectors"]]
    early = sum(age < WEEK_S for age in ages)
    return Rang(host, early, len(ages) - early, tuple(heads))


def write(path: Path, host: Host) -> None:
    """Write the host's readings as a CSV."""
    ticks = round(host.days * DAY_S / host.every_s)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["timestamp", *(f"value{place}" for place in range(host.series))])
        for tick, noise in enumerate(quiet(host.kind, host.series, ticks, host.seed)):
            now = START + tick * host.every_s
            swell = 1 + SWELL * math.sin(2 * math.pi * now / DAY_S)
            out.writerow([now, *(f"{LEVEL + swell * one:.5g}" for one in noise.tolist())])


def interval(count: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a Poisson number, by Byar's approximation."""
    high = (count + 1) * (1 - 1 / (9 * (count + 1)) + Z / (3 * math.sqrt(count + 1))) ** 3
    if not count:
        return 0.0, high
    return count * (1 - 1 / (9 * count) - Z / (3 * math.sqrt(count))) ** 3, high


def told(rang: Sequence[Rang]) -> Iterable[str]:
    """Say per kind, and over all, how often it rang a week."""
    for kind in dict.fromkeys(one.host.kind for one in rang):
        yield _line(kind, [one for one in rang if one.host.kind == kind])
    yield _line("all", rang)


def _line(name: str, rang: Sequence[Rang]) -> str:
    weeks = sum(one.host.days / 7 for one in rang)
    first_weeks = sum(min(one.host.days / 7, 1.0) for one in rang)
    first, later = sum(one.first for one in rang), sum(one.later for one in rang)
    low, high = (bound / weeks for bound in interval(first + later))
    rates = f"{(first + later) / weeks:6.2f}  ({low:5.2f} to {high:5.2f})"
    rates += f"  {first / first_weeks:6.2f}"
    rates += f"  {later / (weeks - first_weeks):6.2f}" if weeks > first_weeks else "       -"
    heads = Counter(head for one in rang for head in one.heads).most_common()
    return f"{name:<18}{rates}  {', '.join(f'{head} {many}' for head, many in heads)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--series", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--days", type=float, default=28)
    parser.add_argument("--every", type=int, default=300, help="seconds between two readings")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.draws)
    with ProcessPoolExecutor(args.jobs) as pool:
        for series in args.series:
            hosts = [
                Host(kind, series, args.days, args.every, seed)
                for kind in args.kinds
                for seed in seeds
            ]
            print(f"{series} series, every {args.every} s, {args.days:g} days, {args.draws} draws")
            print(f"{'':<18}a week  (95 %)            first   later  heads")
            for line in told(list(pool.map(run, hosts))):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
