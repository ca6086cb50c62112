"""Counts by source and template: exact whatever merges, within bounds."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs import ledger
from vedette.logs.columns import Columns, Reading
from vedette.logs.entry import Severity
from vedette.logs.ledger import OTHERS, Ledger, LedgerState

NOW = 1_000


def columns(*bodies: bytes, severity: Severity = Severity.INFO, first_ns: int = 10) -> Columns:
    found = Columns()
    for at, body in enumerate(bodies):
        found.add(Reading(body, severity, first_ns + at), len(body) + 1)
    return found


def test_a_row_has_the_window_and_the_total() -> None:
    book = Ledger(0)
    book.take("a", columns(b"x", b"y", b"x"), [1, 2, 1], NOW)
    book.turn(50)
    book.take("a", columns(b"x2", first_ns=60), [1], NOW)
    rows = {number: row for _, number, row in book.window()}
    assert set(rows) == {1}
    row = rows[1]
    assert (row.count, row.total, row.first_ns, row.last_ns, row.example) == (1, 3, 60, 60, b"x2")
    assert book.begun_ns == 50


def test_sources_are_counted_by_events_lines_bytes_and_trouble() -> None:
    book = Ledger(0)
    mixed = columns(b"one", severity=Severity.WARN)
    mixed.add(Reading(b"two\nthree", Severity.ERROR), 10, lines=2)
    book.take("a", mixed, [1, 2], NOW)
    one = book.sources["a"]
    assert (one.events, one.lines, one.bytes, one.warnings, one.errors) == (2, 3, 14, 1, 1)


def test_a_line_without_a_time_is_of_when_it_was_read() -> None:
    book = Ledger(0)
    bare = Columns()
    bare.add(Reading(b"x"), 2)
    book.take("a", bare, [1], NOW)
    ((_, _, row),) = book.window()
    assert (row.first_ns, row.last_ns) == (NOW, NOW)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("ab"), st.lists(st.integers(1, 6), min_size=1, max_size=5)),
            st.tuples(st.integers(1, 6), st.integers(1, 6)),
            st.none(),
        ),
        max_size=30,
    )
)
def test_no_line_is_lost_or_doubled_by_merges_and_windows(steps: list[object]) -> None:
    book, told, fed = Ledger(0), Counter[str](), Counter[str]()
    for at, step in enumerate(steps):
        match step:
            case (str(source), list(ids)):
                book.take(source, columns(*(b"x" for _ in ids)), ids, at)
                fed[source] += len(ids)
            case (int(old), int(into)) if old != into:
                book.merge(old, into)
            case None:
                for source, _, row in book.window():
                    told[source] += row.count
                book.turn(at)
    for source, _, row in book.window():
        told[source] += row.count
    assert +told == +fed
    totals = {
        source: sum(row.total for row in one.rows.values()) for source, one in book.sources.items()
    }
    assert totals == dict(fed)


def test_rows_and_sources_are_bounded_and_the_open_window_stays(monkeypatch) -> None:
    monkeypatch.setattr(ledger, "ROWS_MAX", 100)
    monkeypatch.setattr(ledger, "SOURCES_MAX", 3)
    book = Ledger(0)
    for at in range(90):
        book.take("a", columns(b"x", first_ns=at), [at], at)
    book.turn(1)
    for at in range(90, 130):
        book.take("a", columns(b"x", first_ns=at), [at], at)
    kept = book.sources["a"].rows
    assert set(range(90, 130)) <= set(kept)
    assert 0 not in kept
    assert len(kept) <= 101
    for name in "bcdefg":
        book.take(name, columns(b"x"), [1], 0)
    assert set(book.sources) == {"a", "b", "c", OTHERS}
    assert book.sources[OTHERS].events == 4


def test_what_is_kept_goes_on_where_it_was() -> None:
    book = Ledger(7)
    book.take("a", columns(b"x", b"y"), [1, 2], NOW)
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(book.state()), type=LedgerState)
    other = Ledger(0)
    other.restore(saved, lambda number: number != 2)
    assert other.begun_ns == 7
    assert [(source, number, row.count) for source, number, row in other.window()] == [("a", 1, 1)]
    assert other.sources["a"].events == 2
