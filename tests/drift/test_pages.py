"""Drift in what servers count in buckets of their own, on pages that real servers gave."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vedette.api import HistogramSample, Sample, histogram
from vedette.drift.pages import FIELDS_MAX, LEARN, PageField, Pages
from vedette.drift.verdict import Thresholds
from vedette.exposition.reading import Reader
from vedette.serving.mapping import Mapper
from vedette.serving.rows import samples

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from page_cases import paths, recognised

S = 1_000_000_000
BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
TOKENS = histogram(
    "vedette.model.request.tokens",
    "{token}",
    "Tokens.",
    ("vedette.model.layer", "gen_ai.request.model", "gen_ai.token.type"),
)


def counted(values: np.ndarray, bounds: Sequence[float] = BOUNDS) -> tuple[int, ...]:
    places = np.searchsorted(np.array(bounds), values)
    return tuple(np.bincount(places, minlength=len(bounds) + 1).tolist())


def sample(
    values: np.ndarray, kind: str = "input", bounds: Sequence[float] = BOUNDS
) -> HistogramSample:
    return HistogramSample(
        TOKENS.series("engine", "llama", kind), tuple(bounds), counted(values, bounds)
    )


class Run:
    """Pages of one server on a clock of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.pages = Pages()
        self.now_ns = 0

    def tick(self, mean: float = 4.0, count: int = 40, **more: object) -> dict[str, float]:
        self.now_ns += 10 * S
        one = sample(self.rng.lognormal(mean, 1.0, count), **more)  # type: ignore[arg-type]
        told = self.pages.take("127.0.0.1:8000", [one], self.now_ns)
        return {
            each.series.values[1]: each.value
            for each in told
            if each.series.instrument.name == "vedette.model.drift.strength"
        }


def test_prompts_that_become_longer_are_seen_by_the_buckets_alone() -> None:
    run = Run()
    before = [value for _ in range(400) for value in run.tick().values()]
    assert before
    assert max(before) < 1
    after = [run.tick(mean=4.6) for _ in range(70)]
    assert max(value for told in after for value in told.values()) >= 1
    assert set(after[-1]) == {"request.tokens.input.engine 127.0.0.1:8000"}


def test_other_bounds_begin_the_baseline_anew() -> None:
    run = Run()
    for _ in range(100):
        run.tick()
    assert run.tick()
    assert run.tick(bounds=BOUNDS[:5]) == {}


def test_a_baseline_is_learned_of_so_many_requests() -> None:
    field = PageField("f", BOUNDS, len(BOUNDS) + 1)
    rng = np.random.default_rng(2)
    while field.base is None:
        assert not field.take(counted(rng.lognormal(4, 1, 100)), 0)
    assert LEARN <= int(field.base.sum()) <= LEARN + 8 * 100
    with pytest.raises(ValueError, match="without a baseline"):
        PageField("f", BOUNDS, 12).close(Thresholds())


def test_the_fields_are_bounded() -> None:
    pages = Pages()
    values = np.array([3.0])
    some = [sample(values, kind=f"kind {at}") for at in range(FIELDS_MAX + 9)]
    assert list(pages.take("a", some, 0)) == []
    assert pages.turned_away == 9
    assert len(pages._fields) == FIELDS_MAX


def gains(name: str) -> list[Sample | HistogramSample]:
    """Return what the last of a server's captured pages tells after the first."""
    bodies = [path.read_bytes() for path in paths(name)]
    who = recognised(bodies[-1])
    assert who.adapter is not None
    mapper, reader = Mapper(who.adapter, who.release), Reader()
    mapped = [mapper.read(reader.read(body), 10.0 * at) for at, body in enumerate(bodies)]
    return [*samples(mapped[-2].rows), *samples(mapped[-1].rows)] if len(mapped) > 1 else []


@pytest.mark.parametrize("name", ["vllm-0.32.0", "vllm-0.8.5-v0-replay", "lmdeploy-0.18.0-replay"])
def test_captured_pages_repeated_are_their_own_baseline_and_halved_prompts_are_none(
    name: str,
) -> None:
    told = gains(name)
    real = [one for one in told if isinstance(one, HistogramSample)]
    sizes = [one for one in real if one.series.instrument.name == TOKENS.name and any(one.counts)]
    assert sizes, "the page counts lengths"
    pages, rng = Pages(), np.random.default_rng(3)

    def page(moved: bool) -> list[HistogramSample]:
        made = []
        for one in sizes:
            share = np.array(one.counts) / sum(one.counts)
            if moved:
                share = np.append(share[1:], share[:1])  # each length a bucket shorter
            counts = tuple(rng.multinomial(60, share).tolist())
            made.append(HistogramSample(one.series, one.bounds, counts))
        return made

    def strongest(moved: bool, ticks: int, start: int) -> float:
        told = [
            one
            for at in range(ticks)
            for one in pages.take("e", page(moved), (start + at) * 10 * S)
        ]
        name = "vedette.model.drift.strength"
        found = [one.value for one in told if one.series.instrument.name == name]
        return max(found)

    assert strongest(moved=False, ticks=200, start=0) < 1
    assert strongest(moved=True, ticks=70, start=200) >= 1


def test_ends_of_requests_are_a_mix_of_their_own() -> None:
    told = [one for one in gains("vllm-0.32.0") if isinstance(one, Sample)]
    ends = [one for one in told if one.series.instrument.name == "vedette.model.requests"]
    assert ends
    pages, totals, rng = Pages(), dict.fromkeys({one.series for one in ends}, 0.0), None
    rng = np.random.default_rng(4)

    def tick(at: int, failing: float) -> list[float]:
        for series in totals:
            fails = series.values[-1] != "ok" and "ok" not in series.values
            totals[series] += rng.poisson(40 * failing if fails else 40 * (1 - failing))
        some = [Sample(series, value) for series, value in totals.items()]
        return [
            one.value
            for one in pages.take("e", some, at * 10 * S)
            if one.series.instrument.name == "vedette.model.drift.strength"
        ]

    quiet = [value for at in range(200) for value in tick(at, 0.01)]
    assert quiet
    assert max(quiet) < 1
    loud = [value for at in range(200, 270) for value in tick(at, 0.3)]
    assert max(loud) >= 1
