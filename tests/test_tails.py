"""The tails of scores: held to their word on quiet data, not dragged along by a fault."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vedette.tails import (
    LASTING,
    LEARN_EVERY,
    LEAST_LOG_P,
    OLDEST,
    PRIOR_LENGTH,
    PRIOR_QUANTILE,
    Tails,
)

sys.path.insert(0, str(Path(__file__).parent))
from quiet_scores import KINDS, quiet

#: Ticks between looks at the p of all rows.
LOOK_EVERY = 4

Scores = NDArray[np.float32]


def closed(rows: int) -> NDArray[np.bool_]:
    return np.zeros(rows, dtype=bool)


def shares(kind: str, rows: int, ticks: int) -> tuple[list[float], Tails]:
    """Return the shares of p below 0.01, 0.001 and 0.0001, in parts of what they should be."""
    tails, none = Tails(rows), closed(rows)
    every, third, fourth = 0, 0, 0
    for tick, scores in enumerate(quiet(kind, rows, ticks)):
        found, log_p = tails.step(scores, none)
        third += len(found)
        fourth += np.count_nonzero(log_p < -4)
        if tick % LOOK_EVERY == 0:
            every += LOOK_EVERY * np.count_nonzero(tails.log_p(scores) < -2)
    seen = rows * ticks
    return [every / seen / 1e-2, third / seen / 1e-3, fourth / seen / 1e-4], tails


def settled(kind: str = "normal", rows: int = 4, ticks: int = 2_000) -> Tails:
    """Return tails that have learned, with no run going on."""
    tails = shares(kind, rows, ticks)[1]
    feed(tails, 1.0, times=2 * LEARN_EVERY + 1)
    return tails


def feed(tails: Tails, *scores: float, times: int = 1, found: bool = False) -> list[float]:
    """Give all rows the same scores; return log10 p of the first row for each."""
    rows = np.full(len(tails), found)
    result = []
    for _ in range(times):
        for score in scores:
            tails.step(np.full(len(tails), score, dtype=np.float32), rows)
            result.append(float(tails.log_p(np.full(len(tails), score, dtype=np.float32))[0]))
    return result


def learned(tails: Tails) -> list[list[float]]:
    return [array.tolist() for array in tails.arrays().values()]


@pytest.mark.parametrize(("rows", "ticks"), [(1, 30_000), (19, 10_000), (400, 3_000)])
@pytest.mark.parametrize("kind", KINDS)
def test_on_quiet_data_p_is_what_it_says(kind: str, rows: int, ticks: int) -> None:
    """Within a factor of 2, wherever at least 30 scores should be below a p."""
    found, _ = shares(kind, rows, ticks)
    for share, level in zip(found, (1e-2, 1e-3, 1e-4), strict=True):
        if level * rows * ticks >= 30:
            assert 0.5 < share < 2, found


@pytest.mark.parametrize("kind", ["normal", "exponential", "student", "lognormal"])
def test_the_levels_lie_where_the_quantiles_of_all_scores_lie(kind: str) -> None:
    """Two oracles over the same scores: numpy's quantiles, and a generalised Pareto tail fitted by
    moments to what is above the 0.99 quantile (Hosking and Wallis, 1987)."""
    rows, ticks = 50, 8_000
    tails, none = Tails(rows), closed(rows)
    seen = []
    for scores in quiet(kind, rows, ticks):
        tails.step(scores, none)
        seen.append(scores)
    size = np.log1p(np.concatenate(seen[ticks // 2 :]))
    start = np.quantile(size, 0.99)
    beyond = size[size > start] - start
    ratio = beyond.mean() ** 2 / beyond.var()
    shape, scale = 0.5 * (1 - ratio), 0.5 * beyond.mean() * (ratio + 1)
    for level in (1e-2, 1e-3, 1e-4):
        empirical = float(np.quantile(size, 1 - level))
        pareto = start + scale / shape * ((level / 0.01) ** -shape - 1)
        log_p = tails.log_p(np.full(rows, np.expm1(empirical), dtype=np.float32))
        assert float(np.median(log_p)) == pytest.approx(np.log10(level), abs=0.3)
        log_p = tails.log_p(np.full(rows, np.expm1(pareto), dtype=np.float32))
        assert float(np.median(log_p)) == pytest.approx(np.log10(level), abs=0.4)


def test_a_rising_score_does_not_drag_its_threshold_along() -> None:
    tails = settled()
    quantile, excess, stretch = tails.quantile.copy(), tails.excess.copy(), list(tails.stretch)
    rising = feed(tails, *np.linspace(8, 80, 200))
    assert (tails.quantile <= quantile).all()
    assert (tails.excess == excess).all()
    assert rising == sorted(rising, reverse=True)
    assert all(now <= then for now, then in zip(tails.stretch, stretch, strict=True))


def test_a_run_teaches_once_it_is_over_and_that_of_a_finding_a_tenth() -> None:
    kept, taught = {}, {}
    for found in (False, True):
        tails = settled()
        feed(tails, 60.0, times=20, found=found)
        kept[found] = float(tails.quantile[0])
        feed(tails, 1.0, times=2 * LEARN_EVERY, found=found)
        taught[found] = float(tails.quantile[0]) - kept[found]
    assert taught[False] > 0.1
    assert taught[True] < 0.15 * taught[False]


def test_a_run_whose_finding_closed_before_it_was_learned_from_teaches_a_tenth() -> None:
    tails = settled()
    before = float(tails.quantile[0])
    feed(tails, 60.0, times=5)
    for row in range(len(tails)):
        tails.mark(row)
    feed(tails, 1.0, times=2 * LEARN_EVERY)
    assert float(tails.quantile[0]) - before < 0.05
    # Only that run: the next one is of no finding.
    feed(tails, 60.0, times=5)
    before = float(tails.quantile[0])
    feed(tails, 1.0, times=2 * LEARN_EVERY)
    assert float(tails.quantile[0]) - before > 0.05


@pytest.mark.parametrize("rows", [1, 400])
def test_the_second_occurrence_of_a_fault_is_as_strange_as_the_first(rows: int) -> None:
    tails, none = Tails(rows), closed(rows)
    for tick, scores in enumerate(quiet("normal", rows, 9_000)):
        if tick in (5_000, 8_000):
            strange = [min(feed(tails, 60.0, times=50, found=True))]
            assert strange[0] < -6
        tails.step(scores, none)
    assert max(tails.stretch) < 1.5


def test_findings_that_go_on_for_ever_are_counted_in_the_end() -> None:
    """Every exceedance is of a finding, and the levels hold nevertheless."""
    tails = Tails(40)
    beyond = 0
    for tick, scores in enumerate(quiet("autocorrelated", 40, 15_000)):
        found, log_p = tails.step(scores, scores > tails.quantile)
        tails.step(np.full(40, np.nan, dtype=np.float32), np.isin(np.arange(40), found))
        beyond += np.count_nonzero(log_p < -4) if tick >= 5_000 else 0
    assert 0.5 < beyond / (40 * 10_000 * 1e-4) < 2


def test_what_lasts_is_ordinary_in_the_end() -> None:
    tails = settled()
    assert feed(tails, 30.0, times=LASTING[1])[-1] < -4
    assert feed(tails, 30.0, times=1_000)[-1] > -2.5


def test_a_score_in_another_unit_is_no_opinion_until_it_was_calm_once() -> None:
    random = np.random.default_rng(4)
    tails, none = Tails(20), closed(20)
    scores = np.abs(random.normal(0, 1_000, (4_000, 20))).astype(np.float32)
    first = [len(tails.step(row, none)[0]) for row in scores[:200]]
    assert sum(first[:30]) == 0
    assert sum(first) <= 20
    assert np.isnan(Tails(1).log_p(np.float32([60.0])))
    beyond = sum(len(tails.step(row, none)[0]) for row in scores[200:])
    assert 0.5 < beyond / (3_800 * 20 * 1e-3) < 2


def test_a_series_that_is_read_seldom_has_a_tail_of_its_own() -> None:
    random = np.random.default_rng(5)
    tails, none = Tails(10), closed(10)
    beyond = 0
    for tick in range(20_000):
        scores = np.full(10, np.nan, dtype=np.float32)
        scores[tick % 10] = random.exponential(1)
        tails.step(scores, none)
        beyond += float(tails.log_p(scores, np.array([tick % 10]))[0]) < -2
    assert tails.seen.tolist() == pytest.approx([2_000] * 10, abs=LEARN_EVERY)
    assert 0.5 < beyond / (20_000 * 1e-2) < 2


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = 61
    order = np.random.default_rng(6).permutation(rows)
    one, other = Tails(rows), Tails(rows)
    for tick, scores in enumerate(quiet("student", rows, 3_000)):
        is_open = np.arange(rows) == tick // 100 % rows
        _, first = one.step(scores, is_open)
        _, second = other.step(scores[order], is_open[order])
        assert sorted(first.tolist()) == sorted(second.tolist())
    for name, array in one.arrays().items():
        assert array[order].tolist() == other.arrays()[name].tolist()
    assert one.common() == other.common()


def test_step_and_log_p_say_the_same() -> None:
    tails, none = Tails(50), closed(50)
    for scores in quiet("student", 50, 2_000):
        rows, log_p = tails.step(scores, none)
        every = tails.log_p(scores)
        assert every[rows].tolist() == pytest.approx(log_p.tolist(), abs=1e-3)
        assert np.count_nonzero(every < -3.001) <= len(rows)
    assert tails.log_p(scores, np.array([3])).tolist() == [every[3]]


def test_log_p_falls_as_scores_rise() -> None:
    tails = settled("student", rows=1)
    scores = np.concatenate((np.linspace(0, 30, 3_000), np.logspace(1.5, 38, 500)))
    log_p = [float(tails.log_p(np.float32([score]))[0]) for score in scores]
    assert log_p == sorted(log_p, reverse=True)
    assert log_p[0] == 0
    assert log_p[-1] == LEAST_LOG_P


def test_odd_scores_poison_nothing() -> None:
    tails = settled(rows=3)
    quantile = tails.quantile.copy()
    odd = np.array([np.nan, np.inf, -5.0], dtype=np.float32)
    for _ in range(100):
        tails.step(odd, closed(3))
    log_p = tails.log_p(odd).tolist()
    assert np.isnan(log_p[0])
    assert log_p[1:] == [LEAST_LOG_P, 0]
    assert tails.quantile[:2].tolist() == pytest.approx(quantile[:2].tolist(), abs=0.02)
    feed(tails, 1.0, times=100)
    for values in learned(tails):
        assert np.isfinite(values).all()


def test_no_run_is_so_long_that_it_is_lost_count_of() -> None:
    """A score that jumps to infinity, so that no quantile ever comes to lie above it."""
    tails = settled(rows=1)
    for _ in range(40_000):
        tails.step(np.float32([np.inf]), closed(1))
    feed(tails, 1.0, times=50)
    assert np.isfinite(learned(tails)).all()
    tails.seen[:] = OLDEST
    feed(tails, 1.0, times=50)
    assert tails.seen[0] == OLDEST


def test_how_long_strange_scores_last_is_learned() -> None:
    lengths = {kind: settled(kind, ticks=20_000).length for kind in ("normal", "autocorrelated")}
    assert (lengths["normal"] < 1.5).all()
    assert (lengths["autocorrelated"] > 2).all()
    # A single fault, however long, says little.
    tails = settled()
    before = tails.length.copy()
    feed(tails, 60.0, times=300)
    feed(tails, 1.0, times=2 * LEARN_EVERY)
    assert (tails.length - before < 0.2).all()


def test_what_an_earlier_version_kept_without_lengths_is_taken_up() -> None:
    tails, other = settled(), Tails(4)
    kept = {name: values[0] for name, values in tails.arrays().items() if name != "length"}
    other.restore(2, kept)
    assert other.quantile[2] == tails.quantile[0]
    assert other.seen[2] > 0
    assert other.length[2] == pytest.approx(PRIOR_LENGTH)


def test_growing_keeps_the_rest_and_forgetting_starts_anew() -> None:
    tails = settled("exponential", rows=3)
    before = learned(tails)
    tails.grow(5)
    assert len(tails) == 5
    assert [values[:3] for values in learned(tails)] == before
    assert tails.quantile[3:].tolist() == pytest.approx([PRIOR_QUANTILE] * 2)
    tails.forget(np.array([1]))
    assert tails.quantile[1] == pytest.approx(PRIOR_QUANTILE)
    seen = tails.arrays()["seen"].tolist()
    assert seen == [before[-1][0], 0, before[-1][2], 0, 0]
    tails.step(np.full(5, 60, dtype=np.float32), closed(5))
    assert np.isnan(tails.log_p(np.full(5, 60, dtype=np.float32))).tolist() == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_what_was_kept_is_taken_up_and_nonsense_is_not() -> None:
    tails = settled("student", rows=2)
    after = Tails(3)
    after.take_up(*tails.common())
    after.restore(2, {name: array[1] for name, array in tails.arrays().items()})
    scores = np.full(3, 12.0, dtype=np.float32)
    assert after.log_p(scores)[2] == tails.log_p(scores[:2])[1]
    for values in (
        {},
        {"quantile": np.nan, "excess": 1, "seen": 5},
        dict.fromkeys(after.arrays(), 0),
    ):
        after.restore(0, {name: np.float32(value) for name, value in values.items()})
        assert after.quantile[0] == pytest.approx(PRIOR_QUANTILE)
    for levels in ((0.0, 1.0, 5.0), (1.0, float("nan"), 5.0), (1.0, 1.0, -1.0)):
        with pytest.raises(ValueError, match="of a tail are"):
            after.take_up(*levels)


def test_a_series_takes_no_more_than_40_bytes() -> None:
    arrays = [one for one in vars(Tails(100)).values() if isinstance(one, np.ndarray)]
    assert sum(one.nbytes for one in arrays) <= 40 * 100
