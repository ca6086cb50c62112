"""Score ``vedette backtest`` on the Numenta Anomaly Benchmark, as NAB scores detectors.

Every file of the corpus is replayed through the daemon's pipeline by a process of its own; the
scores are swept (``nab_scorer.py``: one threshold for the whole corpus). Beside them stands what
the daemon itself would have told: findings as they open, at its own thresholds.

    python tests/bench/nab.py --data NAB                    # all detectors together
    python tests/bench/nab.py --data NAB --detector NAME    # one; may be given again
    python tests/bench/nab.py --data NAB --truncate 6       # and look for a look-ahead
    python tests/bench/nab.py --data NAB --scores FOLDER    # score what --keep FOLDER kept
    python tests/bench/nab.py --data NAB --reference        # the scorer against published scores

NAB is a checkout of numenta/NAB, or a folder with ``labels/combined_windows.json`` and the files
named there. Split-half: threshold found on a random half of the files, score on the other half,
mean and quartiles. False rows: rows outside all windows that ring. Seconds are CPU time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nab_reference import REFERENCES, Reference, read_values
from nab_scorer import PROFILES, Corpus, Profile, counts_at, data_of, score_at, split_half, sweep
from numpy.typing import NDArray

#: The share of a file that stays when its tail is cut off.
KEPT = 0.6
#: The most seconds that one file may take.
PATIENCE_S = 1_800.0


class Replayed(NamedTuple):
    """What a backtest said of a file: scores, NaN = no opinion, and findings, both ``(rows,)``."""

    scores: NDArray[np.float64]
    finding: NDArray[np.bool_]


class Options(NamedTuple):
    """How to split: how often, and the seed."""

    splits: int
    seed: int


def main() -> int:
    """Print the tables; 1 if a detector looks ahead, 2 if something cannot be read or run."""
    chosen = _arguments()
    try:
        return _run(chosen)
    except (OSError, ValueError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"nab.py: {error}", file=sys.stderr)
        return 2


def replay_all(corpus: Corpus, data: Path, folder: Path, detector: str | None, jobs: int) -> float:
    """Replay every file into ``folder``, under its own name; return the seconds of CPU spent."""
    names = [file.name for file in corpus.files]
    before = os.times()
    with ThreadPoolExecutor(jobs) as pool:
        work = partial(_replay_named, data=data, folder=folder, detector=detector)
        list(pool.map(work, names))
    after = os.times()
    spent = (after.children_user, after.children_system)
    return sum(spent) - before.children_user - before.children_system


def replay(source: Path, target: Path, detector: str | None) -> None:
    """Run ``vedette backtest`` on one file; RuntimeError tells what it said when it failed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "vedette", "backtest", str(source), "--out", str(target)]
    command += ["--detector", detector] if detector else []
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"backtest of {source}: {done.stderr.strip() or done.returncode}")


def read_replayed(path: Path, rows: int) -> Replayed:
    """Read ``timestamp,series,score,p,finding`` of a file with one series and ``rows`` rows."""
    lines = path.read_text().splitlines()[1:]
    if len(lines) != rows:
        raise ValueError(f"{path} has {len(lines)} rows of scores, {rows} are wanted")
    cells = [line.rsplit(",", 3)[1:] for line in lines]
    try:
        scores = [float(score or "nan") for score, _, _ in cells]
        finding = [bool(int(told or "0")) for _, _, told in cells]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Replayed(np.array(scores), np.array(finding))


def table(
    corpus: Corpus, folder: Path, name: str, options: Options, seconds: float | None
) -> Iterator[str]:
    """Yield the lines for the replayed files in ``folder``."""
    told = {file.name: read_replayed(folder / file.name, len(file.times)) for file in corpus.files}
    scores = {one: replayed.scores for one, replayed in told.items()}
    opened = {
        one: np.diff(replayed.finding.astype(np.int8), prepend=0) > 0
        for one, replayed in told.items()
    }
    onsets = {one: begins.astype(np.float64) for one, begins in opened.items()}
    for profile in PROFILES:
        yield _swept(corpus, scores, name, profile, options) + _seconds(seconds)
    for profile in PROFILES:
        score = score_at(corpus, onsets, 1.0, profile)
        counts = counts_at(corpus, onsets, 1.0)
        yield _line(f"{name}: findings", profile, score, "its own", "", counts)


def reference_table(corpus: Corpus, data: Path, options: Options) -> Iterator[str]:
    """Yield the lines for the detectors with published scores, and the difference."""
    values = {file.name: read_values(data / file.name) for file in corpus.files}
    for one in REFERENCES:
        begin = time.process_time()
        scores = {name: one.detect(column) for name, column in values.items()}
        seconds = time.process_time() - begin
        for profile, published in zip(PROFILES, one.published, strict=True):
            best = sweep(corpus, scores, profile).score
            line = _swept(corpus, scores, one.name, profile, options) + _seconds(seconds)
            yield f"{line}  published {published:.2f}, off by {best - published:+.3f}"
        yield from _committed(corpus, scores, one)


def truncation_test(
    corpus: Corpus, data: Path, folder: Path, detector: str | None, count: int
) -> Iterator[str]:
    """Yield a line for each of ``count`` files whose rows change when its tail is cut off.

    The files are spread evenly over the corpus; ``folder`` has what was said of them whole.
    """
    places = np.unique(np.linspace(0, len(corpus.files) - 1, count).round().astype(int))
    for file in [corpus.files[place] for place in places.tolist()]:
        kept = int(KEPT * len(file.times))
        with tempfile.TemporaryDirectory() as made:
            source, target = Path(made, "cut.csv"), Path(made, "scores.csv")
            lines = (data / file.name).read_bytes().splitlines(keepends=True)
            source.write_bytes(b"".join(lines[: 1 + kept]))
            replay(source, target, detector)
            cut = target.read_bytes().splitlines()
        whole = (folder / file.name).read_bytes().splitlines()[: 1 + kept]
        if cut != whole:
            pairs = enumerate(zip(whole, cut, strict=False), start=1)
            first = next((line for line, (one, other) in pairs if one != other), len(cut))
            yield f"{file.name}: line {first} differs when {len(file.times) - kept} rows are cut"


def _run(chosen: argparse.Namespace) -> int:
    corpus, data = Corpus.read(chosen.data), data_of(chosen.data)
    options = Options(chosen.splits, chosen.seed)
    print(_heading(corpus, options))
    if chosen.reference:
        for line in reference_table(corpus, data, options):
            print(line, flush=True)
        return 0
    ahead = 0
    for detector in chosen.detector or [None]:
        name = detector or "all detectors"
        with tempfile.TemporaryDirectory() as made:
            folder = chosen.scores or Path(chosen.keep or made, detector or "")
            seconds = None
            if not chosen.scores:
                seconds = replay_all(corpus, data, folder, detector, chosen.jobs)
            for line in table(corpus, folder, name, options, seconds):
                print(line, flush=True)
            if chosen.truncate:
                found = [*truncation_test(corpus, data, folder, detector, chosen.truncate)]
                print(*found, sep="\n", end="\n" if found else "")
                print(f"{name}: {len(found)} files change when their tail is cut off")
                ahead += len(found)
    return 1 if ahead else 0


def _replay_named(name: str, *, data: Path, folder: Path, detector: str | None) -> None:
    replay(data / name, folder / name, detector)


def _heading(corpus: Corpus, options: Options) -> str:
    rows = sum(len(file.times) for file in corpus.files)
    return (
        f"{len(corpus.files)} files, {rows:,} rows, {len(corpus.window_file)} windows; "
        f"{options.splits} splits, seed {options.seed}\n\n"
        f"{'detector':36} {'profile':18} {'score':>6} {'threshold':>10} "
        f"{'split-half (quartiles)':>24} {'windows':>8} {'false rows':>10} {'seconds':>8}"
    )


def _swept(
    corpus: Corpus,
    scores: dict[str, NDArray[np.float64]],
    name: str,
    profile: Profile,
    options: Options,
) -> str:
    best = sweep(corpus, scores, profile)
    half = split_half(corpus, scores, profile, options.splits, options.seed)
    split = f"{half.mean:.2f} ({half.lower_quartile:.1f} to {half.upper_quartile:.1f})"
    counts = counts_at(corpus, scores, best.threshold)
    return _line(name, profile, best.score, f"{best.threshold:.6g}", split, counts)


def _committed(
    corpus: Corpus, scores: dict[str, NDArray[np.float64]], one: Reference
) -> Iterator[str]:
    for profile, (threshold, published) in zip(PROFILES, one.committed, strict=False):
        score = score_at(corpus, scores, threshold, profile)
        counts = counts_at(corpus, scores, threshold)
        line = _line(f"{one.name}, as committed", profile, score, f"{threshold:.6g}", "", counts)
        yield f"{line}{'':9}  published {published:.2f}, off by {score - published:+.3f}"


def _line(
    name: str,
    profile: Profile,
    score: float,
    threshold: str,
    split: str,
    counts: Sequence[int],
) -> str:
    found, windows, false_rows = counts
    return (
        f"{name:36} {profile.name:18} {score:6.2f} {threshold:>10} {split:>24} "
        f"{f'{found}/{windows}':>8} {false_rows:10}"
    )


def _seconds(seconds: float | None) -> str:
    return f" {'' if seconds is None else f'{seconds:.1f}':>8}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the benchmark")
    parser.add_argument("--detector", action="append", help="one detector instead of all")
    parser.add_argument("--jobs", type=int, default=2, help="files replayed at a time")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the scores of each file")
    parser.add_argument("--scores", type=Path, help="score the files of a folder, run nothing")
    parser.add_argument("--truncate", type=int, default=0, help="files to cut the tail off")
    parser.add_argument("--reference", action="store_true", help="detectors with published scores")
    parser.add_argument("--splits", type=int, default=200, help="random halves")
    parser.add_argument("--seed", type=int, default=1, help="of the halves")
    chosen = parser.parse_args()
    if chosen.scores and len(chosen.detector or ()) > 1:
        parser.error("--scores has the scores of one detector")
    if chosen.scores and chosen.truncate:
        parser.error("--truncate compares with scores of the same run, not with those of --scores")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
