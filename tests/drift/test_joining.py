"""What is told in several lines comes together by id, in bounds, and what does not is counted."""

from __future__ import annotations

from vedette.drift.joining import HALF_S, HALVES_MAX, Joiner
from vedette.drift.rows import Row


def asked(id_: str) -> Row:
    return Row("m", id_, {"x": 1}, part="request")


def answered(id_: str, prediction: object = 1) -> Row:
    return Row("m", id_, prediction=prediction, score=0.9, part="response")


def label(id_: str, value: object = 1) -> Row:
    return Row(id=id_, label=value, part="label")


def test_a_request_and_its_response_are_one_row_in_either_order() -> None:
    for rows in ([asked("a"), answered("a")], [answered("a"), asked("a")]):
        found = Joiner(10, 60.0).take(rows, 0.0)
        assert found.rows == [Row("m", "a", {"x": 1}, 1, 0.9)]


def test_a_label_finds_its_answer_however_late_and_before_it_too() -> None:
    joiner = Joiner(10, 100.0)
    joiner.take([asked("a"), answered("a")], 0.0)
    ((model, outcome),) = joiner.take([label("a", 0)], 99.0).outcomes
    assert (model, outcome.prediction, outcome.score, outcome.label) == ("m", 1, 0.9, 0)
    joiner.take([label("b")], 0.0)
    assert len(joiner.take([Row("m", "b", {"x": 1}, 1)], 1.0).outcomes) == 1
    assert joiner.joined == 2
    assert joiner.waiting == 0


def test_a_row_with_its_label_is_judged_at_once() -> None:
    joiner = Joiner(10, 60.0)
    assert len(joiner.take([Row("m", "a", {}, 1, None, 0)], 0.0).outcomes) == 1
    assert joiner.waiting == 0


def test_what_waits_too_long_is_let_go_and_counted() -> None:
    joiner = Joiner(10, 100.0)
    joiner.take([asked("a"), Row("m", "b", {"x": 1}, 1), label("c")], 0.0)
    found = joiner.take([], HALF_S + 1)
    assert [row.id for row in found.rows] == ["a"]  # what was asked counts without its answer
    assert joiner.expired == {"half": 1, "answer": 1, "label": 1}
    assert joiner.take([label("b")], HALF_S + 2).outcomes == []


def test_the_tables_are_bounded() -> None:
    joiner = Joiner(5, 1e9)
    joiner.take([Row("m", f"a{at}", {}, 1) for at in range(20)], 0.0)
    joiner.take([label(f"b{at}") for at in range(20)], 0.0)
    given = joiner.take([asked(f"c{at}") for at in range(HALVES_MAX + 30)], 0.0)
    assert joiner.expired == {"answer": 15, "label": 15, "half": 30}
    assert joiner.waiting == 5 + 5 + HALVES_MAX
    assert len(given.rows) == 30


def test_without_room_for_labels_none_is_waited_for() -> None:
    joiner = Joiner(0, 60.0)
    joiner.take([Row("m", "a", {}, 1)], 0.0)
    assert joiner.waiting == 0


def test_at_the_end_halves_are_given_out() -> None:
    joiner = Joiner(5, 60.0)
    joiner.take([asked("a")], 0.0)
    assert [row.id for row in joiner.flush()] == ["a"]
    assert joiner.waiting == 0


def test_rows_without_an_id_are_whole() -> None:
    found = Joiner(5, 60.0).take([Row("m", "", {"x": 1}, part="request")], 0.0)
    assert len(found.rows) == 1
