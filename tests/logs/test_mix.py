"""Shares of warnings and errors."""

from __future__ import annotations

import numpy as np

from vedette.logs.entry import Severity
from vedette.logs.mix import Mix, Shifted
from vedette.logs.surprise import RINGS

#: Forty templates at information, five at warning, five at error.
GRADES = np.array([9] * 40 + [13] * 5 + [17] * 5, dtype=np.uint8)


def graded(lines, severities):
    """Return lines, those of them that are errors, and warnings or graver."""
    return lines, np.where(severities >= 17, lines, 0), np.where(severities >= 13, lines, 0)


def fed(mix: Mix, begin: int, seconds: int, rates: np.ndarray, seed: int = 1) -> list[Shifted]:
    rng, found = np.random.default_rng(seed), []
    for second in range(begin, begin + seconds):
        lines = rng.poisson(rates)
        some = lines > 0
        shifted = mix.observe(float(second), *graded(lines[some], GRADES[some]))
        if shifted is not None and shifted.score >= RINGS:
            found.append(shifted)
    return found


USUAL = np.array([0.5] * 40 + [0.02] * 5 + [0.01] * 5)


def learned() -> Mix:
    mix = Mix()
    assert fed(mix, 0, 3600, USUAL) == []
    return mix


def test_all_errors_a_little_oftener_ring_though_none_is_a_burst() -> None:
    found = fed(learned(), 3600, 120, USUAL * np.array([1] * 45 + [40] * 5))
    assert found
    assert found[0].severity == Severity.ERROR
    assert found[0].usual < 0.01 < found[-1].share


def test_warnings_ring_too() -> None:
    found = fed(learned(), 3600, 120, USUAL * np.array([1] * 40 + [40] * 5 + [1] * 5))
    assert {one.severity for one in found} == {Severity.WARN}


def test_more_of_everything_is_no_shift() -> None:
    assert fed(learned(), 3600, 600, USUAL * 5) == []


def test_fewer_errors_are_no_shift() -> None:
    assert fed(learned(), 3600, 600, USUAL * np.array([1] * 45 + [0] * 5)) == []


def test_the_flood_of_one_template_is_not_the_mix() -> None:
    mix = learned()
    lines, grades = np.array([20, 5000]), np.array([9, 17], dtype=np.uint8)
    shifted = mix.observe(3600.0, *graded(lines, grades))
    assert shifted is None or shifted.score < RINGS


def test_errors_in_bunches_are_no_shift() -> None:
    rng, mix, told = np.random.default_rng(2), Mix(), 0
    for second in range(6 * 3600):
        errors = 3 if second % 900 < rng.integers(5, 40) else 0
        lines = np.array([10, errors])
        shifted = mix.observe(float(second), *graded(lines, np.array([9, 17], dtype=np.uint8)))
        told += shifted is not None and shifted.score >= RINGS
    assert told == 0


def test_lines_of_one_template_count_by_how_grave_each_is():
    rng, mix, told = np.random.default_rng(3), Mix(), 0
    for second in range(4 * 3600):
        lines = np.array([rng.poisson(5) + 1])
        failed = np.array([0 if second < 3 * 3600 else int(lines[0] * 0.6)])
        shifted = mix.observe(float(second), lines, failed, failed)
        if shifted is not None and shifted.score >= RINGS:
            assert second >= 3 * 3600
            told += 1
    assert told
