"""Measure how well labelled series are judged: what rings, what is found, how soon, how surely.

    python tests/bench/quality.py --data FOLDER [--jobs 2] [--detector NAME] [--peers]

Every labelled CSV of the folder (``timestamp,<value columns...>,label``) goes through ``vedette
backtest`` with the shipped configuration, and with ``--peers`` through what others use
(quality_peers.py). Settings and thresholds are the same for all series of the folder. Printed are

- per method the areas VUS-PR and AUC-PR (mean over the series with labels), the best F1 of events
  over all thresholds with the delay there in rows, the recall at one false alarm per series-week
  and at half a one per series-day, and precision, recall, F1 and false alarms per series-day where
  the method rings of itself: for the daemon where a finding is open (quality_metrics.py says what
  an alarm is and when an event is found);
- false alarms per series-day by the age of the series, where the method rings of itself, otherwise
  at its threshold of the best F1; the unscored part is included, labelled or not;
- the share of the daemon's p below 0.01, 0.001 and 0.0001 away from events: the level at best.

A file of several value columns is one host: its score is the mean over the strangest fifth of its
series, and it rings when an incident opens, for that is what a person is told; one series rings
where a finding is open. The first part of each file is not scored:
``--unscored`` of the rows, or as many rows as a ``meta.json`` in the folder has under the file's
name. A folder ``interpretation`` with ``NAME.txt`` (lines ``FIRST-LAST:COLUMN,...``, columns from
1, rows from the first scored one) says which metrics an event was about: printed is how often the
one ranked first inside the event is among them, and how many of the first three. The daemon ranks
by the smallest p, as its incidents do, and then by the largest score, the others by that alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from quality_files import Labelled, labelled_files
from quality_metrics import (
    Floats,
    Outcome,
    Scored,
    SeriesSet,
    auc_pr,
    best,
    carried,
    recall_within,
    rules_for,
    tail_shares,
    vus_pr,
)
from quality_peers import Peer, peers
from quality_replay import backtest, opened, read_scores

from vedette.csv_series import CsvError

DAEMON = "vedette"
#: False alarms per series-day at which recall is told.
PER_WEEK, HALF_A_DAY = 1 / 7, 0.5
AGES = {"first hour": 3_600.0, "to 6 h": 21_600.0, "to 24 h": 86_400.0, "later": np.inf}
LEVELS = (0.01, 0.001, 0.0001)
STRANGEST = 0.2


class Said(NamedTuple):
    """What one method says of a file: one score per row, and where it rings of itself."""

    name: str
    scores: Floats
    #: 1 where it rings, NaN without an opinion; None for what has no threshold of its own.
    rings: Floats | None
    #: Tail probabilities away from events, of the daemon only.
    p: Floats | None
    #: Of each segment: whether the first-ranked column is right, and the share of three.
    ranked: list[tuple[float, float]]
    seconds: float


# ---------------------------------------------------------------- scoring


class Work(NamedTuple):
    """What is to be done with each file."""

    detector: str | None
    with_peers: bool
    #: Where the backtest wrote before, and where it is to write: None to run it, and to forget.
    scores: Path | None
    keep: Path | None


def score_file(file: Labelled, work: Work) -> list[Said]:
    """Return what the daemon and, when wanted, its peers say of one file."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as directory:
        out = (work.scores or work.keep or Path(directory)) / file.name
        told = out.with_suffix(".incidents.json")
        if work.scores is None:
            out.parent.mkdir(parents=True, exist_ok=True)
            backtest(file.path, out, told, work.detector)
        scores, p, finding = read_scores(out, file)
        rings = finding[:, 0] if finding.shape[1] == 1 else opened(told, file)
    daemon = Said(
        DAEMON,
        of_host(scores, "fifth"),
        rings,
        p[_quiet(file)].ravel(),
        ranked(file, scores, p),
        time.process_time() - began,
    )
    return [daemon, *(_said_by(peer, file) for peer in peers() if work.with_peers)]


def _said_by(peer: Peer, file: Labelled) -> Said:
    began = time.process_time()
    scores = peer.score(file.values, file.step_s)
    seconds = time.process_time() - began
    rings = None
    if peer.threshold is not None:
        rings = _any(np.where(np.isnan(scores), np.nan, scores > peer.threshold))
    host = of_host(scores, peer.host)
    return Said(peer.name, host, rings, None, ranked(file, scores), seconds)


def of_host(scores: Floats, rule: str) -> Floats:
    """Return one score per row from those of all series: the mean over the strangest fifth.

    No opinion is a score of 0; where no series has one, the host has none. ``rule`` ``mean`` is the
    mean over all series.
    """
    if scores.shape[1] == 1:
        return scores[:, 0]
    filled = np.stack([carried(one) for one in scores.T], axis=1)
    silent = np.isneginf(filled)
    filled[silent] = 0
    if rule != "mean":
        most = max(1, round(STRANGEST * scores.shape[1]))
        filled = np.partition(filled, -most, axis=1)[:, -most:]
    return np.where(silent.all(axis=1), np.nan, filled.mean(axis=1))


def _any(rings: Floats) -> Floats:
    """Return 1 where any series rings, NaN where none has an opinion."""
    silent = np.isnan(rings)
    return np.where(silent.all(axis=1), np.nan, np.where(silent, 0, rings).max(axis=1))


def _quiet(file: Labelled) -> NDArray[np.bool_]:
    """Return which rows are scored and out of reach of any event."""
    rows = len(file.labels)
    alone = SeriesSet([Scored(np.zeros(rows), file.labels, file.step_s)])
    quiet: NDArray[np.bool_] = alone.reach[:rows] == -1
    quiet[: file.first] = False
    return quiet


def ranked(file: Labelled, scores: Floats, p: Floats | None = None) -> list[tuple[float, float]]:
    """Rank the columns by their smallest p inside each segment, of equals by their largest score.

    Without p by the score alone; of equals by the largest mean. Return per segment whether the
    first is one of those it was about, and the share of three.
    """
    found = []
    for segment in file.segments:
        rows = slice(segment.first, segment.last + 1)
        inside = np.where(np.isnan(scores[rows]), -np.inf, scores[rows])
        mean = np.where(np.isnan(scores[rows]), 0, scores[rows]).mean(axis=0)
        least = (
            np.zeros(inside.shape[1]) if p is None else np.nan_to_num(p[rows], nan=1).min(axis=0)
        )
        order = np.lexsort((-mean, -inside.max(axis=0), least))[:3].tolist()
        right = [column in segment.columns for column in order]
        found.append((float(right[0]), sum(right) / len(right)))
    return found


# ---------------------------------------------------------------- judging


class Judgement(NamedTuple):
    """One method's line of the table, and its false alarms by age."""

    name: str
    vus_pr: float
    auc_pr: float
    best: Outcome
    at_one_a_week: float
    at_half_a_day: float
    own: Outcome | None
    by_age: list[tuple[int, float]]
    seconds: float


def judge(files: Sequence[Labelled], said: Sequence[Said], held: float = 0.0) -> Judgement:
    """Judge what one method said of all files; with a decay its scores are held, and only they."""
    series = _series(files, [hold(one.scores, held) if held else one.scores for one in said])
    whole = SeriesSet(series)
    outcomes = whole.sweep()
    top = best(outcomes)
    ringing = [one.rings for one in said if one.rings is not None and not held]
    rings = SeriesSet(_series(files, ringing)) if ringing else None
    bounds = list(AGES.values())[:-1]
    areas = [_areas(one) for one in series]
    by_age = rings.false_by_age(0.5, bounds) if rings else whole.false_by_age(top.threshold, bounds)
    return Judgement(
        name=said[0].name,
        vus_pr=_mean(vus for vus, _ in areas),
        auc_pr=_mean(auc for _, auc in areas),
        best=top,
        at_one_a_week=recall_within(outcomes, PER_WEEK),
        at_half_a_day=recall_within(outcomes, HALF_A_DAY),
        own=rings.at(0.5) if rings else None,
        by_age=list(by_age),
        seconds=sum(one.seconds for one in said),
    )


def hold(scores: Floats, decay: float) -> Floats:
    """Return the scores held: never under ``decay`` times the one before."""
    kept, result = -np.inf, []
    for score in carried(scores).tolist():
        kept = max(score, decay * kept)
        result.append(kept)
    return np.array(result)


def _series(files: Sequence[Labelled], tracks: Sequence[Floats]) -> list[Scored]:
    return [
        Scored(track, file.labels, file.step_s, file.first)
        for file, track in zip(files, tracks, strict=True)
    ]


def _areas(one: Scored) -> tuple[float, float]:
    labels, scores = one.labels[one.first :], carried(one.scores)[one.first :]
    return vus_pr(labels, scores, rules_for(one.step_s).buffer), auc_pr(labels, scores)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


# ---------------------------------------------------------------- telling


def number(value: float, digits: int = 3) -> str:
    """Return a number for the table, ``-`` for none."""
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def cells(one: Judgement) -> tuple[str, ...]:
    """Return one line of the table."""
    own = ("-",) * 4
    if one.own is not None:
        shares = (one.own.precision, one.own.recall, one.own.f1, one.own.false_per_day)
        own = tuple(map(number, shares))  # type: ignore[assignment]
    delay = f"{number(one.best.delay(0.5), 0)}/{number(one.best.delay(0.9), 0)}"
    measured = (one.vus_pr, one.auc_pr, one.best.f1, one.at_one_a_week, one.at_half_a_day)
    return (one.name, *map(number, measured), delay, *own)


HEADING = (
    "method", "VUS-PR", "AUC-PR", "best F1", "R@1/wk", "R@.5/d", "delay",
    "P own", "R own", "F1 own", "false/d own",
)  # fmt: skip


def tell(judgements: Sequence[Judgement]) -> None:
    """Print the two tables."""
    _table([HEADING, *(cells(one) for one in judgements)])
    print("\nfalse alarms per day of a series or host, by its age")
    rows = [("method", *AGES, "threshold")]
    for one in judgements:
        rates = [number(false / days if days else np.nan) for false, days in one.by_age]
        rows.append((one.name, *rates, "own" if one.own else f"{one.best.threshold:.3g}"))
    _table(rows)


def _tell_ranks(by_method: Sequence[Sequence[Said]]) -> None:
    """Print how well each method ranks the columns, where it is told what events were about."""
    if not any(one.ranked for one in by_method[0]):
        return
    rows = [("metrics ranked", "first right", "of three right", "segments")]
    for said in by_method:
        pairs = [pair for one in said for pair in one.ranked]
        first, three = np.mean(pairs, axis=0).tolist()
        rows.append((said[0].name, number(first), number(three), str(len(pairs))))
    print()
    _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        padded = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join([f"{row[0]:<{widths[0]}}", *padded[1:]]))


def as_json(one: Judgement) -> dict[str, Any]:
    """Return a line of the tables with all digits."""
    told = one._asdict() | {"by_age": dict(zip(AGES, one.by_age, strict=True))}
    for name in ("best", "own"):
        outcome = getattr(one, name)
        if outcome is not None:
            ratios = {key: getattr(outcome, key) for key in ("precision", "recall", "f1")}
            told[name] = outcome._asdict() | ratios | {"delays": outcome.delays.tolist()}
    return told


def measure(options: argparse.Namespace) -> None:
    """Score and judge everything, and print it."""
    files = labelled_files(options.data, options.unscored)
    work = Work(options.detector, options.peers, options.scores, options.keep)
    with ProcessPoolExecutor(options.jobs) as pool:
        by_file = list(pool.map(partial(score_file, work=work), files))
    by_method = list(zip(*by_file, strict=True))
    judgements = [judge(files, said) for said in by_method]
    if options.held:
        held = judge(files, by_method[0], options.held)
        judgements.insert(1, held._replace(name=f"{DAEMON}, held {options.held:g}"))
    days = judgements[0].best.days
    series = sum(file.values.shape[1] for file in files)
    print(
        f"{options.data.name}: {len(files)} files, {series} series, "
        f"{sum(file.values.size for file in files)} values, {judgements[0].best.events} events in "
        f"{days:.1f} scored {'host' if series > len(files) else 'series'}-days"
    )
    tell(judgements)
    known = [one.p for one in by_method[0] if one.p is not None]
    shares = tail_shares(np.concatenate(known), LEVELS)
    pairs = zip(LEVELS, shares, strict=True)
    print("\nshare of p below, away from events: " + ", ".join(f"{a:g}: {b:.6f}" for a, b in pairs))
    _tell_ranks(by_method)
    if options.json:
        text = json.dumps({"methods": [as_json(one) for one in judgements], "p": shares}, indent=1)
        options.json.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of labelled CSVs")
    parser.add_argument("--jobs", type=int, default=2, help="files at the same time (2)")
    parser.add_argument("--detector", help="score by this detector only")
    parser.add_argument("--peers", action="store_true", help="score by what others use as well")
    parser.add_argument(
        "--unscored", type=float, default=0.2, help="first part of a file that is not scored (0.2)"
    )
    parser.add_argument(
        "--scores",
        type=Path,
        help="a folder of what the backtest wrote, under the same names: not run again",
    )
    parser.add_argument("--keep", type=Path, help="keep what the backtest writes in this folder")
    parser.add_argument(
        "--held", type=float, default=0.0, help="one more line: scores held, with this decay a row"
    )
    parser.add_argument("--json", type=Path, help="write everything to this file as well")
    options = parser.parse_args()
    if not 0 <= options.unscored < 1:
        parser.error(f"--unscored is a part of a file, 0 to below 1, not {options.unscored}")
    if options.jobs < 1:
        parser.error(f"--jobs must be 1 or more, not {options.jobs}")
    try:
        measure(options)
    except (CsvError, ValueError, OSError, RuntimeError) as error:
        print(f"quality.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
