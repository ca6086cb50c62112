"""Score detectors on the Numenta Anomaly Benchmark (NAB) as NAB itself does, with numpy alone.

The idea: each labelled window is worth as much as its earliest detection is early, by a sigmoid
from 1 at the left edge to almost 0 at the right; each detection outside costs more the farther it
is behind the window before it. One threshold serves the whole corpus: the one with the best sum.
The sum is scaled so that a detector that never rings has 0 and one that rings just once, on the
first row of every window, has 100.

Source: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015, and
numenta/NAB at ea702d75, whose published scores come out to the digits printed
(``nab_reference.py``). Where we deviate: a window that lies wholly in the probation counts neither
for the worst nor for the best possible sum (NAB's corpus has none); after a window of one row
distances are counted in rows (NAB divides by zero); NaN is "no opinion" and never a detection.

A sweep sorts the rows once: with every row in order of falling score, what it adds to the sum when
the threshold reaches it is known, and a running sum is the score at every threshold. That is some
50 ms for the 365,558 rows of NAB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: The share and the most rows of a file that are not scored: detectors may learn from them.
PROBATION_SHARE, PROBATION_ROWS = 0.15, 750

Scores = Mapping[str, NDArray[np.float64]]


class Profile(NamedTuple):
    """What a user cares about: the weight of a found window, a false row and a missed window."""

    name: str
    found: float
    false: float
    missed: float


#: The three of ``config/profiles.json``.
PROFILES = (
    Profile("standard", 1.0, 0.11, 1.0),
    Profile("reward_low_FP_rate", 1.0, 0.22, 1.0),
    Profile("reward_low_FN_rate", 1.0, 0.11, 2.0),
)


class LabelledFile(NamedTuple):
    """Times of the rows, Unix seconds ``(rows,)``, and the windows by first and last row."""

    name: str
    times: NDArray[np.int64]
    windows: tuple[tuple[int, int], ...]


class Best(NamedTuple):
    """The best score of a sweep, at most 100, and the threshold it needs; ``inf`` rings never."""

    score: float
    threshold: float


class Counts(NamedTuple):
    """What a threshold finds: windows of all windows, and rows that ring outside of them."""

    found: int
    windows: int
    false_rows: int


class SplitHalf(NamedTuple):
    """Scores of halves of the files with a threshold from the other half."""

    mean: float
    lower_quartile: float
    median: float
    upper_quartile: float


class Corpus:
    """Files with windows, and what a detection at each of their scored rows is worth.

    ``file``, ``place``, ``window`` and ``worth`` are ``(scored rows,)``: the number of the file,
    the row in it, the number of the window or -1, and NAB's sigmoid without a profile's weight:
    0 to 1 in a window, 0 to -1 outside.
    """

    def __init__(self, files: Sequence[LabelledFile]) -> None:
        """Lay out ``files``; windows must follow each other within their file, else ValueError."""
        if not files:
            raise ValueError("a corpus needs a file")
        self.files = tuple(files)
        self._begin = [probation(len(file.times)) for file in files]
        scored = [
            tuple(part[begin:] for part in _rows(file))
            for file, begin in zip(files, self._begin, strict=True)
        ]
        self.place, window, self.worth = map(np.concatenate, zip(*scored, strict=True))
        self.file = np.repeat(np.arange(len(files)), [len(part[0]) for part in scored])
        # Windows are numbered through the corpus, those without a scored row left out.
        most = max(len(file.windows) for file in files)
        inside = np.flatnonzero(window >= 0)
        known, number = np.unique(self.file[inside] * most + window[inside], return_inverse=True)
        self.window = np.full(len(window), -1)
        self.window[inside] = number
        self.window_file = known // max(most, 1)

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """Read the files named in ``folder/labels/combined_windows.json``, from ``data_of`` it.

        Raises ValueError, naming the place, for a window limit that is no timestamp of its file.
        """
        labels, data = folder / "labels" / "combined_windows.json", data_of(folder)
        files = []
        for name, limits in sorted(json.loads(labels.read_text()).items()):
            lines = (data / name).read_text().splitlines()[1:]
            times = _seconds([line.partition(",")[0] for line in lines])
            windows = []
            for pair in limits:
                rows = [np.flatnonzero(times == limit)[:1] for limit in _seconds(pair)]
                for text, found in zip(pair, rows, strict=True):
                    if not len(found):
                        raise ValueError(f"{labels}: {text} is no timestamp of {name}")
                windows.append((int(rows[0][0]), int(rows[1][0])))
            files.append(LabelledFile(name, times, tuple(windows)))
        return cls(files)

    def flat(self, scores: Scores) -> NDArray[np.float64]:
        """Return the scores of the scored rows, ``(scored rows,)``; ValueError names a bad file."""
        parts = []
        for file, begin in zip(self.files, self._begin, strict=True):
            if file.name not in scores:
                raise ValueError(f"no scores for {file.name}")
            part = np.asarray(scores[file.name], dtype=np.float64)
            if part.shape != file.times.shape:
                raise ValueError(
                    f"{file.name} has {len(file.times)} rows, its scores are {part.shape}"
                )
            if np.isinf(part).any():
                raise ValueError(f"{file.name}: infinite score in row {np.isinf(part).argmax()}")
            parts.append(part[begin:])
        return np.concatenate(parts)


def data_of(folder: Path) -> Path:
    """Return where the files are: ``data`` as in a checkout of numenta/NAB, or the folder."""
    data = folder / "data"
    return data if data.is_dir() else folder


def probation(rows: int) -> int:
    """Return how many rows at the beginning of a file of ``rows`` rows are not scored."""
    return min(math.floor(PROBATION_SHARE * rows), PROBATION_ROWS)


def sweep(corpus: Corpus, scores: Scores, profile: Profile) -> Best:
    """Return the best score over every threshold that makes a difference, and the highest such.

    ``scores`` has an array ``(rows,)`` per file name, larger = stranger, NaN = no opinion. A row is
    a detection if its score is at least the threshold.
    """
    steps = _steps(corpus, corpus.flat(scores), profile)
    everywhere = np.ones(len(corpus.files), dtype=np.bool_)
    raw = steps.raw(everywhere)
    best = int(np.argmax(raw))
    return Best(steps.scale(raw[best], everywhere), float(steps.threshold[best]))


def score_at(corpus: Corpus, scores: Scores, threshold: float, profile: Profile) -> float:
    """Return the score at a given threshold; ValueError for a corpus without windows."""
    rings = corpus.flat(scores) >= threshold
    outside = corpus.window < 0
    windows = np.full(len(corpus.window_file), -profile.missed)
    found = rings & ~outside
    np.maximum.at(windows, corpus.window[found], profile.found * corpus.worth[found])
    raw = windows.sum() + profile.false * corpus.worth[rings & outside].sum()
    return _scaled(raw, len(windows), profile)


def counts_at(corpus: Corpus, scores: Scores, threshold: float) -> Counts:
    """Return what rings at a given threshold."""
    rings = corpus.flat(scores) >= threshold
    found = np.unique(corpus.window[rings & (corpus.window >= 0)])
    false_rows = int(np.count_nonzero(rings & (corpus.window < 0)))
    return Counts(len(found), len(corpus.window_file), false_rows)


def split_half(
    corpus: Corpus, scores: Scores, profile: Profile, splits: int = 200, seed: int = 1
) -> SplitHalf:
    """Find the threshold on a random half of the files, score the rest with it, ``splits`` times.

    Halves without a window are drawn again; ValueError if fewer than two files have windows.
    """
    owners = np.unique(corpus.window_file)
    if len(owners) < 2:
        raise ValueError(f"{len(owners)} files with windows: a split needs two")
    steps = _steps(corpus, corpus.flat(scores), profile)
    everywhere = steps.raw(np.ones(len(corpus.files), dtype=np.bool_))
    random = np.random.default_rng(seed)
    told: list[float] = []
    while len(told) < splits:
        half = np.zeros(len(corpus.files), dtype=np.bool_)
        half[random.permutation(len(half))[: len(half) // 2]] = True
        if half[owners].all() or not half[owners].any():
            continue
        raw = steps.raw(half)
        best = int(np.argmax(raw))
        told.append(steps.scale(everywhere[best] - raw[best], ~half))
    low, middle, high = np.quantile(told, (0.25, 0.5, 0.75)).tolist()
    return SplitHalf(float(np.mean(told)), low, middle, high)


class _Steps(NamedTuple):
    """What every row adds to the sum, in order of falling score, and where a threshold can be.

    ``file`` and ``gain`` are ``(rows,)``; ``threshold`` is ``(thresholds,)``, falling from ``inf``;
    ``end`` counts the rows that reach it.
    """

    file: NDArray[np.int64]
    gain: NDArray[np.float64]
    threshold: NDArray[np.float64]
    end: NDArray[np.int64]
    window_file: NDArray[np.int64]
    profile: Profile

    def raw(self, files: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the sum over some files at every threshold, ``(thresholds,)``."""
        gains = np.where(files[self.file], self.gain, 0.0)
        sums = np.concatenate(([0.0], np.cumsum(gains)))
        windows = np.count_nonzero(files[self.window_file])
        return sums[self.end] - self.profile.missed * windows

    def scale(self, raw: float, files: NDArray[np.bool_]) -> float:
        """Return the score of a sum over some files."""
        return _scaled(raw, int(np.count_nonzero(files[self.window_file])), self.profile)


def _steps(corpus: Corpus, flat: NDArray[np.float64], profile: Profile) -> _Steps:
    """Sort the rows that have a score and say what each adds."""
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(-flat[known], kind="stable")]
    gain = profile.false * corpus.worth[order]
    inside = np.flatnonzero(corpus.window[order] >= 0)
    gain[inside] = _window_gains(corpus, order[inside], profile)
    falling = flat[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: len(falling)])
    return _Steps(
        file=corpus.file[order],
        gain=gain,
        threshold=np.concatenate(([np.inf], falling[last])),
        end=np.concatenate(([0], last + 1)),
        window_file=corpus.window_file,
        profile=profile,
    )


def _window_gains(corpus: Corpus, rows: NDArray[np.int64], profile: Profile) -> NDArray[np.float64]:
    """Return what each row in a window adds: something if it is the window's earliest so far."""
    by_window = np.argsort(corpus.window[rows], kind="stable")
    grouped = rows[by_window]
    window, place = corpus.window[grouped], corpus.place[grouped]
    # Whole numbers that grow with the window and, in a window, with earliness: exact.
    key = window * (1 + int(place.max(initial=0))) - place
    earliest = np.flatnonzero(key == np.maximum.accumulate(key))
    now = profile.found * corpus.worth[grouped[earliest]]
    before = np.concatenate(([0.0], now))[:-1]
    before[np.diff(window[earliest], prepend=-1) > 0] = -profile.missed
    gains = np.zeros(len(rows))
    gains[by_window[earliest]] = now - before
    return gains


def _rows(
    file: LabelledFile,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return each row's number, its window (-1 outside) and the worth of a detection there."""
    row = np.arange(len(file.times))
    window = np.full(len(row), -1)
    worth = np.full(len(row), -1.0)
    end = -1
    for number, (first, last) in enumerate(file.windows):
        if not end < first <= last < len(row):
            raise ValueError(f"{file.name}: window of the rows {first} to {last} is out of order")
        end, width = last, last - first + 1
        worth[end + 1 :] = _sigmoid((row[end + 1 :] - end) / max(width - 1, 1))
        inside = (row[first : end + 1] - end - 1) / width
        worth[first : end + 1] = _sigmoid(inside) / _sigmoid(np.array(-1.0))
        window[first : end + 1] = number
    return row, window, worth


def _sigmoid(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 far before a window's end, 0 at it, -1 behind: NAB's scaled sigmoid."""
    return np.where(position > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1)


def _scaled(raw: float, windows: int, profile: Profile) -> float:
    if not windows:
        raise ValueError("no windows to find: there is no scale for a score")
    none, perfect = -profile.missed * windows, profile.found * windows
    return float(100 * (raw - none) / (perfect - none))


def _seconds(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return ISO date-times as Unix seconds."""
    return np.array(texts, dtype="datetime64[us]").astype("datetime64[s]").astype(np.int64)
