"""The export format: entries come out whole however the bytes come in, and garbage costs little."""

from __future__ import annotations

import struct
import sys
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from journal_files import exported, service_entry, services

from vedette.logs.journal_entry import FIELD_MAX
from vedette.logs.journal_format import FIELDS_MAX, Exported, ExportParser

NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)
TEXTS = st.text(st.characters(blacklist_characters="\n", codec="utf-8"), max_size=40)
VALUES = TEXTS | st.binary(max_size=60) | st.sampled_from([b"a\n\nB=1\n\n", b"\n" * 9, b"x" * 1500])
ENTRIES = st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=6), max_size=6)
ANCHOR = {"MESSAGE": "the anchor", "PRIORITY": "6"}


def parsed(data: bytes, cuts: list[int]) -> tuple[list[Exported], ExportParser]:
    parser, found = ExportParser(), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(edges):
        found += parser.feed(data[begin:end])
    return found, parser


def expected(entry: dict[str, str | bytes]) -> dict[bytes, bytes]:
    found = {}
    for name, value in entry.items():
        data = value if isinstance(value, bytes) else value.encode()
        found[name.encode()] = data[: 65_536 if name == "MESSAGE" else FIELD_MAX]
    return found


@given(ENTRIES, st.lists(st.integers(0, 10_000), max_size=8))
def test_entries_come_out_as_they_went_in_whatever_the_pieces(
    entries: list[dict[str, str | bytes]], cuts: list[int]
) -> None:
    data = b"".join(map(exported, entries))
    found, parser = parsed(data, cuts)
    assert [dict(one.fields) for one in found] == list(map(expected, entries))
    assert parser.damaged == 0


def test_byte_by_byte_is_as_good_as_at_once() -> None:
    data = exported({"MESSAGE": b"a\n\nb", "X": "1"}) + services(0, 2)
    at_once, _ = parsed(data, [])
    bytewise, _ = parsed(data, list(range(len(data))))
    assert at_once == bytewise
    assert len(at_once) == 3


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_garbage_does_not_raise_and_what_follows_is_read(garbage: bytes, cuts: list[int]) -> None:
    # No capital alone on a line, which could announce 768 MiB of a value.
    garbage = bytes(byte | 0x20 for byte in garbage)
    found, _ = parsed(garbage + b"\n\n\n" + exported(ANCHOR), cuts)
    assert dict(found[-1].fields) == expected(dict(ANCHOR))


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=4))
def test_no_bytes_make_it_raise(garbage: bytes, cuts: list[int]) -> None:
    parsed(garbage, cuts)


def test_an_impossible_length_costs_one_entry() -> None:
    bad = b"A=1\nMESSAGE\n" + struct.pack("<Q", 1 << 62) + b"x\n\n"
    found, parser = parsed(services(0, 1) + bad + services(1, 1), [])
    assert [one.fields[b"MESSAGE"] for one in found] == [b"request 0", b"request 1"]
    assert parser.damaged == 1


def test_a_length_that_does_not_fit_costs_one_entry() -> None:
    bad = b"MESSAGE\n" + struct.pack("<Q", 3) + b"four\n\n"
    found, parser = parsed(bad + services(1, 1), [5, 12])
    assert [one.fields[b"MESSAGE"] for one in found] == [b"request 1"]
    assert parser.damaged == 1


def test_of_a_huge_value_the_beginning_is_kept_and_the_size_known() -> None:
    for value in (b"\xff" * 3_000_000, "y" * 3_000_000):
        parser = ExportParser()
        data = exported({"MESSAGE": value, "PRIORITY": "3"}) + services(1, 1)
        found, most = [], 0
        for at in range(0, len(data), 10_000):
            found += parser.feed(data[at : at + 10_000])
            most = max(most, len(parser._rest))
        assert [one.size for one in found] == [3_000_000, 9]
        assert len(found[0].fields[b"MESSAGE"]) == 65_536
        assert found[0].fields[b"PRIORITY"] == b"3"
        assert most < 80_000


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    parser = ExportParser()
    for _ in range(100):
        assert parser.feed(b"z" * 10_000) == []
        assert len(parser._rest) < 80_000
    found = parser.feed(b"\n\n" + exported(ANCHOR))
    assert [one.fields[b"MESSAGE"] for one in found] == [b"the anchor"]
    assert parser.damaged == 1


def test_endless_fields_do_not_fill_the_memory() -> None:
    parser = ExportParser()
    for number in range(5000):
        parser.feed(b"F%d=x\n" % number)
    assert len(parser._fields) <= FIELDS_MAX
    assert len(parser.feed(b"\n")) == 1


def test_of_a_field_said_twice_the_first_counts() -> None:
    found, _ = parsed(b"A=1\nMESSAGE=one\nMESSAGE=two\n\n", [])
    assert found[0].fields[b"MESSAGE"] == b"one"


def test_an_entry_without_its_end_is_not_given_out() -> None:
    text = exported(service_entry(1))
    assert ExportParser().feed(text[:-1]) == []
