"""Check a plugin the way the agent will use it: a test kit for plugin authors.

``check_collector`` and ``check_detector`` run a component through everything its contract asks and
raise ``AssertionError`` naming what is wrong. ``window`` builds a detector's input from plain
lists, ``fake_proc`` a host's /proc and /sys from a dictionary. With pytest they are fixtures too.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vedette.api import (
    Collector,
    Detector,
    Event,
    HistogramSample,
    Host,
    Instrument,
    Observation,
    Record,
    Sample,
    Series,
    StateArray,
    Usage,
    Window,
    gauge,
)
from vedette.lanes.reading import is_distribution

__all__ = [
    "check_collector",
    "check_config",
    "check_detector",
    "check_instruments",
    "fake_proc",
    "new_state",
    "readings",
    "window",
]

KINDS = ("gauge", "counter", "updown", "histogram")
State = dict[str, NDArray[np.float32]]

S = 1_000_000_000
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_METRIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")

#: What the detectors' trial run looks like.
_TRIAL_ROWS = 12
_GAP = slice(100, 130)
_AFTER_TICKS = 110


# ---------------------------------------------------------------- collectors


def check_collector(
    kind: type[Collector],
    config: msgspec.Struct | None = None,
    host: Host | None = None,
    ticks: int = 2,
    may_omit: Collection[str] = (),
) -> list[list[Observation]]:
    """Run a collector for some ticks and check its contract; returns what each tick yielded.

    Every declared metric must be emitted at one of the ticks at least, unless ``may_omit`` names
    it, and nothing else. Raises what the collector raises, ``Unavailable`` for one.
    """
    check_config(kind)
    check_instruments(kind)
    collector = kind(kind.Config() if config is None else config)
    if host is not None:
        collector.host = host
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        collector.close()  # must be safe before probe()
        collector.probe()
        try:
            seen = [list(collector.collect()) for _ in range(ticks)]
        finally:
            collector.close()
        collector.close()
    _require(not printed.getvalue(), f"{kind.name} printed {printed.getvalue()!r}")
    for items in seen:
        _check_tick(kind, items)
    _check_counters(seen)
    declared = {instrument.name for instrument in kind.instruments()}
    emitted = {
        item.series.instrument.name
        for items in seen
        for item in items
        if isinstance(item, Sample | HistogramSample)
    }
    unknown = set(may_omit) - declared
    _require(not unknown, f"{kind.name}: may_omit names undeclared metrics: {sorted(unknown)}")
    missing = declared - emitted - set(may_omit)
    _require(not missing, f"{kind.name} declares but never emitted: {sorted(missing)}")
    return seen


def check_config(kind: type[Collector | Detector]) -> None:
    """Check a component's name, and that every option has a default and a description."""
    _require(_NAME.fullmatch(kind.name), f"{kind.name!r} is no lower-case noun")
    config: Any = kind.Config
    _require(issubclass(config, msgspec.Struct), f"{kind.name}: Config is no msgspec struct")
    _require(config.__struct_config__.frozen, f"{kind.name}: Config is not frozen")
    info = msgspec.inspect.type_info(config)
    for field in info.fields if isinstance(info, msgspec.inspect.StructType) else ():
        where = f"{kind.name}: option {field.name}"
        _require(not field.required, f"{where} has no default")
        extra = getattr(field.type, "extra_json_schema", None) or {}
        _require(extra.get("description"), f"{where} has no Meta(description=...)")
    config()


def check_instruments(kind: type[Collector]) -> None:
    """Check that declared metrics are well-formed.

    A name may be declared again to mean something else to detection (another ``alarm``, say), but
    not as another metric.
    """
    declared: dict[str, Instrument] = {}
    for instrument in kind.instruments():
        where = f"{kind.name}: metric {instrument.name!r}"
        _require(_METRIC.fullmatch(instrument.name), f"{where}: no dotted lower-case name")
        twin = declared.setdefault(instrument.name, instrument)
        _require(twin == instrument, f"{where}: declared twice, differently")
        _require(instrument.kind in KINDS, f"{where}: kind")
        _require(instrument.alarm in ("high", "low", "both", "never"), f"{where}: alarm")
        _require(re.fullmatch("[!-~]+", instrument.unit), f"{where}: no UCUM unit")
        _require(instrument.help.endswith("."), f"{where}: its help is no sentence")
        unique = len(set(instrument.attributes)) == len(instrument.attributes)
        _require(unique, f"{where}: an attribute twice")
        for attribute in instrument.attributes:
            _require(_ATTRIBUTE.fullmatch(attribute), f"{where}: attribute {attribute!r}")
    _require(declared or kind.open_ended, f"{kind.name} declares no metric")


def _check_tick(kind: type[Collector], items: Sequence[Observation]) -> None:
    declared = set(kind.instruments())
    seen: set[Series] = set()
    for item in items:
        if isinstance(item, Event | Record):
            _require(item.time_ns > 0, f"{kind.name}: {item}: no time")
            if isinstance(item, Record):
                _require(_METRIC.fullmatch(item.name), f"{kind.name}: {item}: no dotted name")
                _require(1 <= item.severity <= 24, f"{kind.name}: {item}: severity")
            continue
        if isinstance(item, Usage):
            _require(item.resource in kind.explains, f"{kind.name}: {item} is not in `explains`")
            _require(0 <= item.share <= 1, f"{kind.name}: {item}: the share is not within 0 to 1")
            continue
        _require(isinstance(item, Sample | HistogramSample), f"{kind.name} yielded {item!r}")
        key = item.series.key
        is_histogram = isinstance(item, HistogramSample)
        of_kind = is_histogram == (item.series.instrument.kind == "histogram")
        _require(of_kind, f"{kind.name}: {key} is a {item.series.instrument.kind}")
        known = kind.open_ended or item.series.instrument in declared
        _require(known, f"{kind.name}: {key} was not declared")
        _require(item.series not in seen, f"{kind.name}: {key} came twice in one tick")
        seen.add(item.series)
        if isinstance(item, HistogramSample):
            _require(is_distribution(item), f"{kind.name}: {key}: {item} is no distribution")
            continue
        _require(isinstance(item.value, float | int), f"{kind.name}: {key} = {item.value!r}")
        _require(not math.isinf(item.value), f"{kind.name}: {key} is infinite")


def _check_counters(seen: Sequence[Iterable[Observation]]) -> None:
    totals: dict[Series, float] = {}
    for items in seen:
        for item in items:
            if isinstance(item, Sample) and item.series.instrument.kind == "counter":
                before = totals.get(item.series, -math.inf)
                fell = f"the counter {item.series.key} fell from {before} to {item.value}"
                _require(not item.value < before, fell)
                totals[item.series] = item.value


def readings(items: Iterable[Observation]) -> dict[str, float]:
    """Return the samples of a tick as ``{series key: value}``."""
    return {item.series.key: item.value for item in items if isinstance(item, Sample)}


def fake_proc(root: Path, files: Mapping[str, str | bytes]) -> Host:
    """Write files such as ``proc/stat`` or ``sys/block/sda/size`` under a folder; returns its Host.

    Folders ``proc``, ``sys`` and ``root`` exist in any case.
    """
    for folder in ("proc", "sys", "root"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{name} lies outside of {root}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Host(proc=str(root / "proc"), sys=str(root / "sys"), root=str(root / "root"))


# ---------------------------------------------------------------- detectors


def window(
    values: ArrayLike,
    series: Sequence[Series | None] | None = None,
    *,
    step_s: float = 1.0,
    end_ns: int = 1_700_000_000 * S,
    generation: int = 1,
) -> Window:
    """Build a Window of ``values`` ``(rows, ticks)``, newest last; NaN = not read.

    Without ``series`` the rows are a gauge ``test.value{row=N}``. The arrays are read only.
    """
    array = np.array(values, np.float32)
    if array.ndim != 2:
        raise ValueError(f"values have shape {array.shape}, not (rows, ticks)")
    rows, ticks = array.shape
    chosen = [_TRIAL.series(str(row)) for row in range(rows)] if series is None else series
    if len(chosen) != rows:
        raise ValueError(f"{len(chosen)} series for {rows} rows")
    time = end_ns - np.arange(ticks, dtype=np.int64)[::-1] * round(step_s * S)
    array.flags.writeable = time.flags.writeable = False
    return Window(time, array, tuple(chosen), generation)


#: Whatever a detector derived from the series of one trial does not hold for the next.
_GENERATIONS = itertools.count(2)
_TRIAL = gauge("test.value", "1", "A number in a test.", ["row"])


def new_state(detector: Detector, rows: int) -> State:
    """Return a detector's state as it is for series never seen before."""

    def fresh(declared: StateArray) -> NDArray[np.float32]:
        shape = (rows,) if declared.width == 1 else (rows, declared.width)
        return np.full(shape, declared.initial, np.float32, order="F")

    return {name: fresh(declared) for name, declared in detector.state.items()}


def check_detector(
    detector: Detector | type[Detector],
    *,
    instrument: Instrument | None = None,
    ticks: int | None = None,
    multivariate: bool = False,
) -> None:
    """Let a detector learn made-up series and check its contract.

    The rows are series of ``instrument`` (with one attribute; default a gauge ``test.value``): in
    row 0 nothing is ever read, row 1 is constant, row 2 has a gap, the others move at random.
    ``ticks`` must be enough for it to be warm after the gap, which ends at tick 130 (default: 110
    more and its lookback). ``multivariate`` says that rows may influence each other.
    """
    if isinstance(detector, type):
        detector = detector(detector.Config())
    check_config(type(detector))
    _require(detector.lookback >= 1, f"{detector.name}: lookback is below 1")
    if ticks is None:
        ticks = _GAP.stop + detector.lookback + _AFTER_TICKS
    _require(ticks > _GAP.stop + detector.lookback, f"{detector.name}: too few ticks to tell")
    series = [(instrument or _TRIAL).series(str(row)) for row in range(_TRIAL_ROWS)]
    values = _trial_values(ticks)
    scores = _run(detector, values, series)
    _check_opinions(detector, scores)
    again = _run(detector, values, series)
    _require(np.array_equal(scores, again, equal_nan=True), f"{detector.name} is not deterministic")
    if not multivariate:
        _check_rows_apart(detector, values, series, scores)
    _run(detector, values[:0], [])  # a host without a series yet
    _run(detector, np.full_like(values, np.nan), [None] * _TRIAL_ROWS)


def _trial_values(ticks: int) -> NDArray[np.float32]:
    random = np.random.default_rng(20260101)
    values = random.normal(0.5, 0.05, (_TRIAL_ROWS, ticks)).astype(np.float32)
    values[0] = np.nan
    values[1] = 0.25
    values[2, _GAP] = np.nan
    return values


def _run(
    detector: Detector, values: NDArray[np.float32], series: Sequence[Series | None]
) -> NDArray[np.float32]:
    """Score and learn tick by tick; returns all scores ``(rows, ticks)``."""
    rows, ticks = values.shape
    state = new_state(detector, rows)
    generation = next(_GENERATIONS)
    scores = np.full((rows, ticks), np.nan, np.float32)
    for tick in range(ticks):
        first = max(0, tick + 1 - detector.lookback)
        newest = values[:, first : tick + 1]
        end_ns = (1_700_000_000 + tick) * S
        view = window(newest, series, end_ns=end_ns, generation=generation)
        scores[:, tick] = _score(detector, view, state, rows)
        shapes = {name: (array.shape, array.dtype) for name, array in state.items()}
        detector.learn(view, state)
        kept = {name: (array.shape, array.dtype) for name, array in state.items()}
        _require(
            shapes == kept, f"{detector.name}: learn changed the state's arrays, not its values"
        )
    for row in range(rows):
        if series[row] is not None:
            evidence = detector.explain(view, state, row)
            sound = not evidence.low > evidence.high
            _require(sound, f"{detector.name}: the band of row {row} is upside down: {evidence}")
    return scores


def _score(detector: Detector, view: Window, state: State, rows: int) -> NDArray[np.float32]:
    before = {name: array.copy() for name, array in state.items()}
    scores = detector.score(view, state)
    name = detector.name
    _require(isinstance(scores, np.ndarray), f"{name}: score returned {type(scores).__name__}")
    _require(scores.dtype == np.float32, f"{name}: scores are {scores.dtype}, not float32")
    wanted = (len(detector.heads), rows) if detector.heads else (rows,)
    _require(scores.shape == wanted, f"{name}: scores have shape {scores.shape}, not {wanted}")
    _require(not np.isinf(scores).any(), f"{name}: a score is infinite")
    for key, array in state.items():
        same = np.array_equal(array, before[key], equal_nan=True)
        _require(same, f"{name}: score changed the state {key!r}")
    return np.fmax.reduce(scores, axis=0) if detector.heads else scores


def _check_opinions(detector: Detector, scores: NDArray[np.float32]) -> None:
    """Check what is thought of rows about which there is nothing to say."""
    name = detector.name
    _require(np.isnan(scores[0]).all(), f"{name} has an opinion of a series that was never read")
    _require(np.isnan(scores[2, _GAP]).all(), f"{name} has an opinion of a reading that is missing")
    usual = scores[3:]
    if detector.scale == "strangeness":  # a level may well be too high for ever
        strangest = np.nanmax(usual, initial=0.0)
        calm = np.isnan(scores[1]) | (scores[1] <= strangest)
        _require(calm.all(), f"{name} finds a constant series strange")
    after = slice(_GAP.stop + detector.lookback, None)
    silent = np.isnan(scores[2, after]).all() and not np.isnan(usual[:, after]).all()
    _require(not silent, f"{name}: a gap silenced a series for good")


def _check_rows_apart(
    detector: Detector,
    values: NDArray[np.float32],
    series: Sequence[Series],
    scores: NDArray[np.float32],
) -> None:
    """Check that a row's scores depend neither on its place nor on the other rows."""
    order = np.random.default_rng(7).permutation(len(series))
    moved = _run(detector, values[order], [series[row] for row in order])
    _require(_same(moved, scores[order]), f"{detector.name}: a row's place changes its scores")
    spoilt = values.copy()
    spoilt[3:6] = np.nan
    others = [row for row in range(len(series)) if row not in (3, 4, 5)]
    alone = _run(detector, spoilt, series)
    _require(
        _same(alone[others], scores[others]),
        f"{detector.name}: missing readings of one series change another's scores",
    )


def _same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Compare up to the order in which float32 was summed."""
    return np.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)


def _require(holds: object, otherwise: str) -> None:
    """Raise ``AssertionError`` unless something holds; also where asserts are compiled away."""
    if not holds:
        raise AssertionError(otherwise)
