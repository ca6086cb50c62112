"""How fast drift is seen, how often nothing rings, and what it costs, beside Evidently.

    python tests/bench/drift_bench.py quality [--windows 150] [--shifted 10] [--peer 10]
    python tests/bench/drift_bench.py cost

``quality`` needs scikit-learn and, for the comparison, evidently (0.7): in an environment of its
own, with this repository's ``agent`` in PYTHONPATH. Data: breast_cancer (30 fields), wine (13),
digits (64, with many constant ones) and diabetes (10) of scikit-learn, and 30 normal fields. Half
of the rows train a logistic regression (of diabetes a ridge), the other half is drawn from with
replacement, which is what the model is asked: 2,000 records as baseline, then windows. So two
windows without drift differ by chance alone. The bundled sets have a few hundred rows, so a field
that moves has values that were never there; the normal fields have not that help. Seed 1.

Shifts, each at three sizes: *one* field, or a *third* of all, moved by a part of its standard
deviation (covariate); the share of a *class* (prior); *labels* that are another class than they
were (concept: nothing that is asked or answered changes, only labels tell). A window has rung when
anything drifted or became worse. Evidently judges the same windows column by column with the tests
and thresholds that it chooses itself (``get_stattest``): ``any`` is any column (with correction for
none), ``half`` its own verdict on the data set, half of the columns. It sees prediction, and label,
as columns too.

``cost`` needs nothing: microseconds a record from a line of JSON to a closed window, bytes a field.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np

from vedette.drift.compare import compared, usual_of
from vedette.drift.feature import FeatureSketch, FeatureState
from vedette.drift.joining import Joiner
from vedette.drift.quality import Outcome
from vedette.drift.reading import Reader
from vedette.drift.rows import Row
from vedette.drift.sketch import ModelSketch
from vedette.drift.verdict import Thresholds
from vedette.drift.watching import Lengths, ModelWatch, record_of

BASELINE, PIECES = 2_000, 8
WINDOWS = (200, 500, 1000)
DATA = ("digits", "normal", "breast_cancer", "wine", "diabetes")
#: Told by themselves: most fields of digits are 0, and normal ones have no values in common.
APART = ("digits", "normal")
Array = np.ndarray[Any, Any]
#: Row of a table, length, whether it rang here, and at Evidently's: any column, half of them.
Judged = tuple[str, int, bool, tuple[bool, bool] | None]


class Data(NamedTuple):
    """What a model is asked: fields, labels, and what answers."""

    name: str
    fields: Array
    labels: Array
    answer: Callable[[Array], tuple[Array, Array | None]]


class Window(NamedTuple):
    """Rows with what was answered and what proved true."""

    fields: Array
    predictions: Array
    scores: Array | None
    labels: Array


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("quality", "cost"))
    parser.add_argument("--windows", type=int, default=150, help="without drift, of each length")
    parser.add_argument("--shifted", type=int, default=10, help="windows of each shift")
    parser.add_argument("--peer", type=int, default=10, help="windows that Evidently judges, too")
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    return cost() if options.what == "cost" else quality(options)


# ---------------------------------------------------------------- quality


def quality(options: argparse.Namespace) -> int:
    peer = Peer.found()
    print(f"beside: {peer.version if peer else 'nothing, evidently is not installed'}")
    nothing, shifted = Table(), Table()
    with ProcessPoolExecutor(max_workers=2) as pool:
        for found in pool.map(_of_data, options.data, repeat(options)):
            for row, length, rang, theirs in found:
                table = nothing if row in DATA else shifted
                table.add(row, length, rang, theirs)
    print("\nwindows without drift that rang, per cent: of N; Evidently any column, half of them")
    nothing.show()
    print("\nshifted windows that rang, per cent")
    shifted.show()
    return 0


def _of_data(name: str, options: argparse.Namespace) -> list[Judged]:
    """Judge windows of one data set; each with its row in the tables."""
    warnings.filterwarnings("ignore")
    data, rng, peer = dataset(name), np.random.default_rng(1), Peer.found()
    base = window(data, rng, BASELINE)
    ours, frame = Ours(base), peer.frame(base) if peer else None
    found: list[Judged] = []

    def judge(row: str, now: Window, beside: bool) -> None:
        theirs = peer.judge(frame, peer.frame(now)) if peer and beside else None
        found.append((row, len(now.labels), ours.judge(now), theirs))

    for length in WINDOWS:
        for at in range(options.windows):
            judge(name, window(data, rng, length), at < options.peer)
        for shape, size in SHIFTS:
            row = f"{shape} {size:g}" + (f" ({name})" if name in APART else "")
            for at in range(options.shifted):
                judge(row, SHAPES[shape](data, rng, length, size), at < options.peer // 2)
    print(f"done: {name}", file=sys.stderr, flush=True)
    return found


SHIFTS = (
    ("one", 0.25),
    ("one", 0.5),
    ("one", 1.0),
    ("third", 0.25),
    ("third", 0.5),
    ("third", 1.0),
    ("class", 0.1),
    ("class", 0.2),
    ("class", 0.3),
    ("labels", 0.05),
    ("labels", 0.1),
    ("labels", 0.2),
)


def moved(data: Data, rng: Any, length: int, size: float, share: float) -> Window:
    rows = rng.integers(0, len(data.fields), length)
    fields = data.fields[rows].copy()
    spread = data.fields.std(axis=0)
    lively = np.flatnonzero(spread > 0)
    count = max(1, round(share * len(lively)))
    chosen = rng.choice(lively, count, replace=False)
    fields[:, chosen] += size * spread[chosen]
    return Window(fields, *data.answer(fields), data.labels[rows])


def classes(data: Data, rng: Any, length: int, size: float) -> Window:
    """Draw more of one class (of diabetes: of what is above the median) than there are."""
    upper = data.labels > np.median(data.labels) if data.name == "diabetes" else data.labels == 1
    weight = np.where(upper, (upper.mean() + size) / upper.mean(), 1.0)
    weight = np.where(upper, weight, (1 - upper.mean() - size) / (1 - upper.mean()))
    rows = rng.choice(len(data.fields), length, p=weight / weight.sum())
    return Window(data.fields[rows], *data.answer(data.fields[rows]), data.labels[rows])


def relabelled(data: Data, rng: Any, length: int, size: float) -> Window:
    found = window(data, rng, length)
    wrong = rng.random(length) < size
    if data.name == "diabetes":  # a measurement is off by a deviation, one way or the other
        off = rng.choice([-1, 1], length) * data.labels.std()
        return found._replace(labels=np.where(wrong, found.labels + 3 * off, found.labels))
    others = (found.labels + rng.integers(1, data.labels.max() + 1, length)) % (
        data.labels.max() + 1
    )
    return found._replace(labels=np.where(wrong, others, found.labels))


SHAPES: dict[str, Callable[[Data, Any, int, float], Window]] = {
    "one": lambda data, rng, length, size: moved(data, rng, length, size, 0.0),
    "third": lambda data, rng, length, size: moved(data, rng, length, size, 1 / 3),
    "class": classes,
    "labels": relabelled,
}


def window(data: Data, rng: Any, length: int) -> Window:
    rows = rng.integers(0, len(data.fields), length)
    return Window(data.fields[rows], *data.answer(data.fields[rows]), data.labels[rows])


def dataset(name: str) -> Data:
    """Return one half of a bundled data set, with a model that the other half taught."""
    from sklearn import datasets as bundled
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "normal":
        fields = np.random.default_rng(0).normal(size=(40_000, 30))
        labels = (fields[:, :5].sum(axis=1) > 0).astype(np.int64)
    else:
        fields, labels = getattr(bundled, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(fields))
    half = len(order) // 2
    kind = Ridge() if name == "diabetes" else LogisticRegression(max_iter=2000)
    model = make_pipeline(StandardScaler(), kind).fit(fields[order[:half]], labels[order[:half]])
    return Data(name, fields[order[half:]], labels[order[half:]], _answering(model, name))


def _answering(model: Any, name: str) -> Callable[[Array], tuple[Array, Array | None]]:
    if name == "diabetes":
        return lambda fields: (model.predict(fields), None)

    def answer(fields: Array) -> tuple[Array, Array]:
        probable = model.predict_proba(fields)
        score = probable[:, 1] if probable.shape[1] == 2 else probable.max(axis=1)
        return probable.argmax(axis=1), score

    return answer


class Ours:
    """A baseline in pieces, as the agent learns one, and windows made like it."""

    def __init__(self, base: Window) -> None:
        pieces: list[ModelSketch] = []
        for part in np.array_split(np.arange(len(base.fields)), PIECES):
            made = pieces[0].like() if pieces else ModelSketch()
            _count(made, Window(*(None if one is None else one[part] for one in base)))
            pieces.append(made)
        self.base = pieces[0].like()
        for piece in pieces:
            self.base.merge(piece)
        self.usual = usual_of(pieces, self.base)

    def judge(self, now: Window) -> bool:
        made = self.base.like()
        _count(made, now)
        return compared("m", self.base, made, Thresholds(), self.usual).bad


def _count(made: ModelSketch, now: Window) -> None:
    rows, outcomes = [], []
    scores = now.scores.tolist() if now.scores is not None else [None] * len(now.labels)
    pairs = zip(now.predictions.tolist(), scores, now.labels.tolist(), strict=True)
    for fields, (prediction, score, label) in zip(now.fields.tolist(), pairs, strict=True):
        named = {f"x{at}": value for at, value in enumerate(fields)}
        rows.append(record_of(Row("m", "", named, prediction, score, label)))
        outcomes.append(Outcome(prediction, score, label))
    made.add(rows, 1)
    made.quality.add(outcomes)


class Peer:
    """Evidently's tests, chosen and judged by itself."""

    def __init__(self, version: str, choose: Any, numeric: Any, named: Any, frames: Any) -> None:
        self.version = f"evidently {version}"
        self._choose, self._numeric, self._named, self._frames = choose, numeric, named, frames

    @classmethod
    def found(cls) -> Peer | None:
        try:
            import evidently
            import pandas
            from evidently.legacy.calculations.stattests import get_stattest
            from evidently.legacy.core import ColumnType
        except ImportError:
            return None
        numeric, named = ColumnType.Numerical, ColumnType.Categorical
        return cls(evidently.__version__, get_stattest, numeric, named, pandas)

    def frame(self, now: Window) -> Any:
        frame = self._frames.DataFrame(
            now.fields, columns=[f"x{at}" for at in range(now.fields.shape[1])]
        )
        frame["prediction"], frame["label"] = now.predictions, now.labels
        if now.scores is not None:
            frame["score"] = now.scores
        return frame

    def judge(self, base: Any, now: Any) -> tuple[bool, bool]:
        """Return whether any column, and whether half of the columns drifted."""
        drifted = [self._drifted(base[name], now[name]) for name in base.columns]
        return any(drifted), sum(drifted) >= len(drifted) / 2

    def _drifted(self, base: Any, now: Any) -> bool:
        # Evidently takes numbers of five values at most for categories.
        kind = self._named if base.nunique() <= 5 else self._numeric
        test = self._choose(base, now, kind, None)
        return bool(test(base, now, kind, threshold=None).drifted)


class Table:
    """Shares of windows that rang, by row and length."""

    def __init__(self) -> None:
        self._ours: dict[tuple[str, int], list[bool]] = {}
        self._any: dict[tuple[str, int], list[bool]] = {}
        self._half: dict[tuple[str, int], list[bool]] = {}

    def add(self, row: str, length: int, rang: bool, theirs: tuple[bool, bool] | None) -> None:
        self._ours.setdefault((row, length), []).append(rang)
        if theirs is not None:
            self._any.setdefault((row, length), []).append(theirs[0])
            self._half.setdefault((row, length), []).append(theirs[1])

    def show(self) -> None:
        print("| | " + " | ".join(f"{length}" for length in WINDOWS) + " |")
        print("| --- |" + " --- |" * len(WINDOWS))
        for row in dict.fromkeys(row for row, _ in self._ours):
            print(f"| {row} | " + " | ".join(self._cell(row, length) for length in WINDOWS) + " |")

    def _cell(self, row: str, length: int) -> str:
        key = row, length
        rang = self._ours[key]
        text = f"{100 * sum(rang) / len(rang):.3g} of {len(rang)}"
        if key in self._any:
            shares = (100 * sum(some[key]) / len(some[key]) for some in (self._any, self._half))
            text += "; " + ", ".join(f"{share:.3g}" for share in shares)
        return text


# ---------------------------------------------------------------- cost


def cost() -> int:
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(20_000, 30)).round(4)
    for batch in (100, 1000, 4000):
        lines = [
            json.dumps(
                {
                    "model": "m",
                    "id": f"id-{at}",
                    "features": {f"f{n}": value for n, value in enumerate(row)},
                    "prediction": int(row[0] > 0),
                    "score": 0.5,
                }
            ).encode()
            for at, row in enumerate(numbers.tolist())
        ]
        reader, joiner = Reader(), Joiner(20_000, 86_400.0)
        watch = ModelWatch("m", Lengths(), Thresholds())
        began = time.process_time()
        for start in range(0, len(lines), batch):
            joined = joiner.take(reader.read(lines[start : start + batch]), 0.0)
            watch.take(joined.rows, [], 1 + start * 10**8)
        took = time.process_time() - began
        print(
            f"batches of {batch}: {1e6 * took / len(lines):.1f} us a record of 30 fields, "
            f"{len(lines) / took:,.0f} records/s"
        )
    base = watch.base
    assert base is not None
    made = base.like()
    some = [
        record_of(Row("m", "", dict(zip(base.features, row, strict=False))))
        for row in numbers.tolist()
    ]
    made.add(some, 1)
    began = time.process_time()
    for _ in range(100):
        compared("m", base, made)
    print(f"a window of 30 fields compared: {10 * (time.process_time() - began):.2f} ms")
    for name, values in (
        ("normal numbers", rng.normal(size=20_000).tolist()),
        ("lognormal numbers", rng.lognormal(3, 2, 20_000).tolist()),
        ("categories, 30 of them", [f"category {at % 30}" for at in range(20_000)]),
        ("ids", [f"id-{at}" for at in range(20_000)]),
    ):
        print(f"bytes of a field of {name}: {_bytes(values)}")
    return 0


def _bytes(values: list[Any]) -> int:
    """Return what a field takes with everything it holds, as it comes from the disk."""
    made = FeatureSketch()
    for start in range(0, len(values), 1000):
        made.add(values[start : start + 1000])
    data = msgspec.msgpack.encode(made.state())
    kept = [_loaded(data) for _ in range(2)]  # what is cached is no part of it
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept += [_loaded(data) for _ in range(20)]
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) // 20


def _loaded(data: bytes) -> FeatureSketch:
    return FeatureSketch.of_state(msgspec.msgpack.decode(data, type=FeatureState))


if __name__ == "__main__":
    sys.exit(main())
