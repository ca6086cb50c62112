"""One model over time: learns, closes windows, keeps hours, goes on after a restart."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from vedette.drift.quality import Outcome
from vedette.drift.rows import Row
from vedette.drift.verdict import Thresholds
from vedette.drift.watching import HOUR_NS, HOURS, Lengths, ModelWatch, Reached

sys.path.insert(0, str(Path(__file__).parent))
from sketch_cases import records

S = 1_000_000_000
LENGTHS = Lengths(window_s=60.0, least=200, most=5_000, learn=800)


class Run:
    """A watch on a clock of its own, that gets rows of a stream."""

    def __init__(self, lengths: Lengths = LENGTHS) -> None:
        self.rng = np.random.default_rng(1)
        self.watch = ModelWatch("m", lengths, Thresholds())
        self.now_ns = 1_700_000_000 * S // HOUR_NS * HOUR_NS

    def step(self, count: int, seconds: float = 10.0, **shape: float) -> list[Reached]:
        self.now_ns += round(seconds * S)
        rows = [Row("m", "", one) for one in records(self.rng, count, **shape)]
        return self.watch.take(rows, [], self.now_ns)

    def restart(self) -> None:
        before = self.watch
        self.watch = ModelWatch("m", before._lengths, Thresholds())
        self.watch.restore(before.state(), before.hours)


def test_a_baseline_is_learned_of_the_first_records_and_that_is_said() -> None:
    run = Run()
    assert run.step(700) == []
    assert run.watch.learning == 700
    (reached,) = run.step(150)
    assert (reached.verdict, reached.learned) == (None, 800)
    assert run.watch.base is not None
    assert run.watch.base.records == 800
    assert run.watch.usual.get("x1", 0.0) < 0.1


def test_a_window_ends_by_the_clock_once_it_has_enough() -> None:
    run = Run()
    run.step(800)
    assert [len(run.step(20)) for _ in range(9)] == [0] * 9  # 60 s old, and 180 records
    (reached,) = run.step(20)
    assert reached.verdict is not None
    assert reached.verdict.records == 200
    assert run.step(300) == []  # enough, and not old enough


def test_a_flood_ends_a_window_at_once() -> None:
    run = Run()
    run.step(800)
    (reached,) = run.step(5_000)
    assert reached.verdict is not None
    assert reached.verdict.records == 5_000


def test_drift_is_seen_in_the_first_window_that_has_it_and_is_over_after() -> None:
    run = Run()
    run.step(800)
    said = []
    for window in range(6):
        moved = 1.0 if window in (2, 3) else 0.0
        for _ in range(7):
            said += run.step(50, shift=moved)
    assert [one.verdict.bad for one in said if one.verdict] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("before", [300, 850, 1000])
def test_a_restart_at_any_moment_changes_nothing(before: int) -> None:
    through, broken = Run(), Run()
    for run in (through, broken):
        for _ in range(before // 50):
            run.step(50)
    broken.restart()
    ends = []
    for run in (through, broken):
        found = [one for _ in range(30) for one in run.step(50)]
        ends.append([(one.learned, one.verdict) for one in found])
    assert repr(ends[0]) == repr(ends[1])
    assert through.watch.total == broken.watch.total


def test_hours_are_kept_as_pieces_that_fit_together_even_of_new_fields() -> None:
    run = Run()
    run.step(800)
    for _ in range(4):
        for _ in range(6):
            rows = [
                Row("m", "", {**one, "late": 300 + at})
                for at, one in enumerate(records(run.rng, 250))
            ]
            run.now_ns += HOUR_NS // 6
            run.watch.take(rows, [], run.now_ns)
    run.restart()
    pieces = run.watch.pieces(0)
    assert 3 <= len(pieces) <= 5
    whole = pieces[0].like()
    for piece in pieces:
        whole.merge(piece)
    assert whole.records == sum(piece.records for piece in pieces)
    assert whole.features["late"].present == whole.records
    assert len(run.watch.pieces(run.now_ns - HOUR_NS)) < len(pieces)


def test_no_more_hours_are_kept_than_there_is_room_for() -> None:
    run = Run(Lengths(window_s=60.0, least=50, most=5_000, learn=200))
    run.step(200)
    for _ in range(HOURS + 10):
        run.step(60, seconds=1.0)
        run.step(1, seconds=3_600.0)
    assert len(run.watch.hours) == HOURS
    assert max(len(data) for _, data in run.watch.hours) < 4_000


def test_labels_that_come_late_are_judged_over_as_many_windows_as_they_need() -> None:
    run = Run()
    rng = np.random.default_rng(2)

    def outcomes(count: int, right: float) -> list[Outcome]:
        return [Outcome("a", None, "a" if rng.random() < right else "b") for _ in range(count)]

    run.step(800)
    strengths = []
    for window in range(40):
        run.now_ns += 61 * S
        rows = [Row("m", "", one) for one in records(run.rng, 200)]
        for reached in run.watch.take(rows, outcomes(50, 0.9 if window < 20 else 0.7), run.now_ns):
            assert reached.verdict is not None
            strengths.append(max((one.strength for one in reached.verdict.quality), default=0.0))
    assert max(strengths[:10]) < 1
    assert max(strengths[10:]) >= 1
    assert run.watch.labels == 2_000


def test_a_baseline_that_is_given_is_not_learned_over() -> None:
    run = Run()
    run.step(800)
    base = run.watch.base
    given = ModelWatch("m", LENGTHS, Thresholds(), base, {})
    given.restore(run.watch.state())
    assert given.base is base
    assert given.learning == 0


def test_an_answer_is_a_field_and_takes_nothing_from_one_of_its_name() -> None:
    run = Run()
    rows = [Row("m", "", {"score": 7}, "yes", 0.5, "no") for _ in range(10)]
    run.watch.take(rows, [], run.now_ns)
    assert set(run.watch._learning[0].features) == {
        "score",
        "features.score",
        "prediction",
        "label",
    }
