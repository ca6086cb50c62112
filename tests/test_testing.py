"""The test kit finds each breach of the contract, and nothing in what keeps it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
import pytest
from msgspec import Meta

from vedette.api import (
    Collector,
    Detector,
    Duration,
    Event,
    Evidence,
    Host,
    NoConfig,
    Record,
    StateArray,
    Unavailable,
    Usage,
    Window,
    counter,
    gauge,
)
from vedette.testing import (
    check_collector,
    check_config,
    check_detector,
    check_instruments,
    fake_proc,
    new_state,
    readings,
    window,
)


class Good(Collector):
    """Reads two numbers."""

    name = "good"
    explains = ("cpu",)
    load = gauge("test.load", "1", "A load.", ["cpu"])
    total = counter("test.total", "{thing}", "A total.")

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.things = 0

    def collect(self) -> Iterator[Any]:
        self.things += 1
        yield self.load(0.5, "0")
        yield self.load(float("nan"), "1")
        yield self.total(float(self.things))
        yield Usage("cpu", "process", "x", "1", 0.5, "half")
        yield Event(7, "deploy", "x", "came")
        yield Record("test.told", 7, "It came.")


def test_a_collector_that_keeps_the_contract_passes() -> None:
    ticks = check_collector(Good, ticks=3)
    assert [readings(items)["test.total"] for items in ticks] == [1.0, 2.0, 3.0]


def breach(collect: Any = None, **names: Any) -> type[Collector]:
    if collect is not None:
        names["collect"] = lambda self: collect(self)
    return type("Breach", (Good,), names)


def usual(self: Any, *more: Any) -> Iterator[Any]:
    yield from Good.collect(self)
    yield from more


STRAY = gauge("test.stray", "1", "Never declared.")


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (breach(lambda self: [self.load(1.0, "0")]), "never emitted: \\['test.total'\\]"),
        (breach(lambda self: usual(self, STRAY(1.0))), "test.stray was not declared"),
        (breach(lambda self: usual(self, self.load(1.0, "0"))), "came twice in one tick"),
        (breach(lambda self: usual(self, self.load(float("inf"), "2"))), "is infinite"),
        (breach(lambda self: usual(self, ("test.load", 1.0))), "yielded \\('test.load', 1.0\\)"),
        (breach(lambda self: usual(self, self.load("x", "2"))), "'x'"),
        (breach(lambda self: usual(self, print("hello"))), "printed 'hello"),  # type: ignore[func-returns-value]
        (breach(explains=()), "is not in `explains`"),
        (
            breach(lambda self: usual(self, Usage("cpu", "process", "x", "1", 1.5, ""))),
            "not within 0 to 1",
        ),
        (breach(lambda self: usual(self, Event(0, "deploy", "x", "came"))), "no time"),
        (breach(lambda self: usual(self, Record("Told", 7, "It."))), "no dotted name"),
        (breach(lambda self: usual(self, Record("a.b", 7, "It.", {}, 25))), "severity"),
        (
            breach(lambda self: [*usual(self), setattr(self, "things", self.things - 2)][:-1]),
            "the counter test.total fell",
        ),
        (breach(name="Not A Noun"), "no lower-case noun"),
        (breach(bad=gauge("NoDots", "1", "Bad.")), "no dotted lower-case name"),
        (breach(bad=gauge("test.load", "s", "Again.")), "declared twice, differently"),
        (breach(bad=gauge("test.bad", "", "Bad.")), "no UCUM unit"),
        (breach(bad=gauge("test.bad", "1", "Bad")), "no sentence"),
        (breach(bad=gauge("test.bad", "1", "Bad.", ["a", "a"])), "an attribute twice"),
        (breach(bad=gauge("test.bad", "1", "Bad.", ["Big"])), "attribute 'Big'"),
    ],
)
def test_each_breach_of_a_collectors_contract_is_found(kind: type[Collector], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_collector(kind, ticks=3)


def test_what_may_be_omitted_must_have_been_declared() -> None:
    half = breach(lambda self: [self.load(1.0, "0")])
    check_collector(half, may_omit=["test.total"])
    with pytest.raises(AssertionError, match=r"undeclared metrics: \['test.typo'\]"):
        check_collector(half, may_omit=["test.total", "test.typo"])


def test_a_close_that_is_not_safe_twice_is_found() -> None:
    class Once(Good):
        def close(self) -> None:
            del self.things

    with pytest.raises(AttributeError, match="things"):
        check_collector(Once)


def test_an_absent_source_is_told_as_it_is() -> None:
    class Absent(Good):
        def probe(self) -> None:
            raise Unavailable("not here")

    with pytest.raises(Unavailable, match="not here"):
        check_collector(Absent)


def _config(**fields: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        "Config", [(name, *field) for name, field in fields.items()], frozen=True
    )


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (_config(wait=(int,)), "option wait has no default"),
        (_config(wait=(int, 3)), "option wait has no Meta"),
        (_config(wait=(Annotated[int, Meta(ge=1)], 3)), "option wait has no Meta"),
        (msgspec.defstruct("Config", []), "not frozen"),
        (int, "no msgspec struct"),
    ],
)
def test_options_need_a_default_and_a_description(config: Any, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_config(breach(Config=config))


def test_a_described_option_of_a_type_of_ours_passes() -> None:
    described = Annotated[Duration, Meta(description="How long.")]
    check_config(breach(Config=_config(wait=(described, Duration(1.0)))))


def test_the_metrics_of_a_class_are_checked_without_running_it() -> None:
    check_instruments(Good)
    silent = gauge("test.load", "1", "A load nobody is woken for.", ["cpu"], alarm="never")
    check_instruments(breach(silent=silent))
    with pytest.raises(AssertionError, match="declares no metric"):
        check_instruments(type("Empty", (Collector,), {"name": "empty"}))


def test_a_tree_of_files_becomes_a_host(tmp_path: Path) -> None:
    host = fake_proc(tmp_path, {"proc/stat": "cpu 1\n", "sys/block/sda/size": b"8\n"})
    assert host == Host(str(tmp_path / "proc"), str(tmp_path / "sys"), str(tmp_path / "root"))
    assert Path(host.proc, "stat").read_text() == "cpu 1\n"
    assert Path(host.sys, "block/sda/size").read_bytes() == b"8\n"
    with pytest.raises(ValueError, match="outside"):
        fake_proc(tmp_path, {"../evil": ""})


def test_a_window_has_aligned_times_float32_values_and_is_read_only() -> None:
    made = window([[1, 2, 3], [4, np.nan, 6]], step_s=10.0)
    assert made.values.dtype == np.float32
    assert made.values.shape == (2, 3)
    assert made.time.dtype == np.int64
    assert list(np.diff(made.time)) == [10_000_000_000] * 2
    assert [one.key for one in made.series if one] == ["test.value{row=0}", "test.value{row=1}"]
    with pytest.raises(ValueError, match="read-only"):
        made.values[0, 0] = 1
    with pytest.raises(ValueError, match="not \\(rows, ticks\\)"):
        window([1, 2, 3])
    with pytest.raises(ValueError, match="1 series for 2 rows"):
        window([[1], [2]], [None])


# ---------------------------------------------------------------- detectors

State = Mapping[str, np.ndarray]


class Mean(Detector):
    """Distance from the running mean in running deviations."""

    name = "mean"
    state: ClassVar[Mapping[str, StateArray]] = {
        "count": StateArray(),
        "moments": StateArray(width=2),
    }

    def score(self, window: Window, state: State) -> np.ndarray:
        now, count = window.values[:, -1], state["count"]
        safe = np.maximum(count, 1)
        mean = state["moments"][:, 0] / safe
        variance = np.maximum(state["moments"][:, 1] / safe - mean**2, 0)
        strange = np.abs(now - mean) / (np.sqrt(variance) + 1e-3)
        return np.where(count >= 10, strange, np.float32(np.nan)).astype(np.float32)

    def learn(self, window: Window, state: State) -> None:
        now = window.values[:, -1]
        read = ~np.isnan(now)
        state["count"][read] += 1
        state["moments"][read, 0] += now[read]
        state["moments"][read, 1] += now[read] ** 2

    def explain(self, window: Window, state: State, row: int) -> Evidence:
        return Evidence(0.0, 1.0)


def test_a_detector_that_keeps_the_contract_passes() -> None:
    check_detector(Mean)
    check_detector(Mean(NoConfig()), instrument=gauge("test.other", "By", "Other.", ["disk"]))


def test_a_new_state_has_the_declared_shapes() -> None:
    state = new_state(Mean(NoConfig()), 5)
    assert {name: array.shape for name, array in state.items()} == {
        "count": (5,),
        "moments": (5, 2),
    }
    assert all(array.dtype == np.float32 for array in state.values())


class Doubles(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        return super().score(window, state).astype(np.float64)


class Short(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        return super().score(window, state)[:-1]


class Listed(Mean):
    def score(self, window: Window, state: State) -> Any:
        return [0.0]


class Infinite(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        scores = super().score(window, state)
        scores[scores > 1] = np.inf
        return scores


class LearnsInScore(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        state["count"][:] += 1
        return super().score(window, state)


class Poisoned(Mean):
    def learn(self, window: Window, state: State) -> None:
        state["count"][:] += 1
        state["moments"][:, 0] += window.values[:, -1]
        state["moments"][:, 1] += window.values[:, -1] ** 2


class Random(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        return super().score(window, state) + np.float32(np.random.default_rng().random())


class LooksAtOthers(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        scores = super().score(window, state)
        return scores - np.float32(np.nanmean(np.append(scores, 0)))


class LooksAtPlace(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        return super().score(window, state) + np.arange(len(window.series), dtype=np.float32)


class Opinionated(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        return np.nan_to_num(super().score(window, state))


class ScaredOfCalm(Mean):
    def score(self, window: Window, state: State) -> np.ndarray:
        deviation = np.abs(window.values[:, -1] - state["moments"][:, 0] / 50)
        scores = np.where(np.isnan(deviation), np.nan, 1 / (0.01 + deviation**0)).astype(np.float32)
        calm = np.abs(window.values[:, -1] - 0.25) < 1e-6
        return np.where(calm, np.float32(99), scores).astype(np.float32)


class Reshapes(Mean):
    def learn(self, window: Window, state: Any) -> None:
        state["count"] = state["count"].astype(np.float64)


class UpsideDown(Mean):
    def explain(self, window: Window, state: State, row: int) -> Evidence:
        return Evidence(2.0, 1.0)


class WritesWindow(Mean):
    def learn(self, window: Window, state: State) -> None:
        window.values[:] = 0


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Doubles, "scores are float64"),
        (Short, "scores have shape"),
        (Listed, "score returned list"),
        (Infinite, "a score is infinite"),
        (LearnsInScore, "score changed the state 'count'"),
        (Poisoned, "a gap silenced a series for good"),
        (Random, "is not deterministic"),
        (LooksAtOthers, "missing readings of one series change another's"),
        (LooksAtPlace, "a row's place changes its scores"),
        (Opinionated, "has an opinion of a series that was never read"),
        (ScaredOfCalm, "finds a constant series strange"),
        (Reshapes, "learn changed the state's arrays"),
        (UpsideDown, "is upside down"),
    ],
)
def test_each_breach_of_a_detectors_contract_is_found(kind: type[Detector], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_detector(kind)


def test_a_detector_that_writes_to_the_window_is_stopped() -> None:
    with pytest.raises(ValueError, match="read-only"):
        check_detector(WritesWindow)


def test_a_multivariate_detector_may_look_at_other_rows() -> None:
    check_detector(LooksAtOthers, multivariate=True)


def test_the_kit_comes_as_pytest_fixtures_and_costs_nothing_until_used(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import sys\n"
        "def test_nothing_was_imported():\n"
        "    assert 'vedette.testing' not in sys.modules\n"
        "    assert 'vedette.api' not in sys.modules\n"
        "def test_fixtures(check_collector, check_detector, make_window, fake_proc):\n"
        "    assert make_window([[1.0]]).values.shape == (1, 1)\n"
        "    assert fake_proc({'proc/stat': 'x'}).proc.endswith('proc')\n"
        "    assert callable(check_collector) and callable(check_detector)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
