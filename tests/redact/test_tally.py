"""Counting what was masked."""

from __future__ import annotations

from vedette.redact.redactor import Redactor
from vedette.redact.tally import Counts, Tally


def test_texts_bytes_and_hits_are_added_up() -> None:
    redactor, tally = Redactor(), Tally()
    lines = [b"nothing here", b"mail bob@corp.example", b"eve@corp.example password=hunter2"]
    out = 0
    for line in lines:
        result = redactor.redact(line)
        tally.add(len(line), len(result.data), result.hits)
        out += len(result.data)
    assert tally.counts() == Counts(3, 2, sum(map(len, lines)), out, {"email": 2, "password": 1})


def test_counts_of_two_tallies_merge_in_either_order() -> None:
    one = Counts(2, 1, 100, 90, {"email": 1, "card": 2})
    two = Counts(3, 2, 10, 5, {"email": 4, "ssn": 1})
    assert one + two == two + one == Counts(5, 3, 110, 95, {"card": 2, "email": 5, "ssn": 1})
    assert one + Counts() == Counts(2, 1, 100, 90, {"card": 2, "email": 1})


def test_what_was_taken_is_not_changed_by_what_follows() -> None:
    tally = Tally()
    tally.add(10, 8, {"email": 1})
    before = tally.counts()
    tally.add(10, 8, {"email": 1})
    assert before.hits == {"email": 1}
