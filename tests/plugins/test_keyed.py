"""Numbers by key: the remembered places give what a reading line by line gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_plugins._keyed import KeyedNumbers

KEYS = [b"a", b"b", b"c", b"d"]


def by_hand(text: bytes, keys: list[bytes], column: int = 0) -> dict[bytes, int]:
    """Return the first sound number of each key, in a plain way."""
    found: dict[bytes, int] = {}
    for line in text.split(b"\n"):
        words = line.split()[column : column + 2]
        if len(words) == 2 and words[0] in keys and words[0] not in found and words[1].isdigit():
            found[words[0]] = int(words[1])
    return found


def test_what_is_not_wanted_is_not_returned() -> None:
    assert KeyedNumbers([b"a", b"c"]).read(b"a 1\nb 2\nc 3\n") == {b"a": 1, b"c": 3}


def test_words_before_the_key_are_passed_over() -> None:
    numbers = KeyedNumbers([b"MemFree:", b"Dirty:"], column=2)
    for free in (4, 5):
        text = b"\nNode 0 MemTotal: 9 kB\nNode 0 MemFree: %d kB\nNode 0 Dirty: 1 kB\n" % free
        assert numbers.read(text) == {b"MemFree:": free, b"Dirty:": 1}


@pytest.mark.parametrize("value", [b"-1", b"x", b"", b"1.5", b"%d" % (1 << 64)])
def test_a_value_that_is_no_number_is_left_out_until_it_is_one(value: bytes) -> None:
    numbers = KeyedNumbers(KEYS)
    assert numbers.read(b"a 1 kB\nb 2 kB\nc 3 kB\n") == {b"a": 1, b"b": 2, b"c": 3}
    assert numbers.read(b"a 1 kB\nb %b kB\nc 3 kB\n" % value) == {b"a": 1, b"c": 3}
    assert numbers.read(b"a 1 kB\nb 7 kB\nc 3 kB\n") == {b"a": 1, b"b": 7, b"c": 3}


def test_a_value_at_the_bound_is_left_out_however_it_is_read() -> None:
    numbers = KeyedNumbers(KEYS, below=10)
    assert numbers.read(b"a 9\nb 9\n") == {b"a": 9, b"b": 9}
    assert numbers.read(b"a 9\nb 10\n") == {b"a": 9}


def test_a_line_added_at_the_end_is_found() -> None:
    numbers = KeyedNumbers(KEYS)
    assert len(numbers.read(b"a 1\nb 2\n")) == 2
    assert numbers.read(b"a 1\nb 2\nc 3\n")[b"c"] == 3


def test_one_key_alone_is_read_every_time() -> None:
    numbers = KeyedNumbers([b"a"])
    assert [numbers.read(b"a %d\n" % value) for value in (1, 2)] == [{b"a": 1}, {b"a": 2}]


LINES = st.lists(
    st.tuples(
        st.sampled_from([*KEYS, b"e"]),
        st.sampled_from([b"0", b"7", b"123456789", b"x", b"", b"-3", b"5 kB"]),
    ),
    max_size=6,
    unique_by=lambda line: line[0],
)


@given(st.lists(LINES, min_size=1, max_size=6))
def test_no_text_read_before_changes_what_a_text_says(
    texts: list[list[tuple[bytes, bytes]]],
) -> None:
    numbers = KeyedNumbers(KEYS)
    for lines in texts:
        text = b"".join(b"%b %b\n" % line for line in lines)
        assert numbers.read(text) == by_hand(text, KEYS)
