"""Reading kernel files: kept open, read whole, refused when absurd."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins._procfs import (
    CHOICES_MAX,
    CHUNK,
    LARGEST,
    Choice,
    KernelFile,
    number_after,
    numbers,
    picker,
    printable,
)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
@pytest.mark.parametrize("one_record", [True, False])
def test_a_file_of_any_size_is_read_whole_twice(
    tmp_path: Path, size: int, one_record: bool
) -> None:
    content = bytes(at % 251 for at in range(size))
    (tmp_path / "file").write_bytes(content)
    file = KernelFile("file", one_record=one_record)
    assert file.read(str(tmp_path)) == content
    assert file.read(str(tmp_path)) == content
    file.close()


def test_new_content_is_seen_through_the_kept_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    file = KernelFile("file")
    file.read(str(tmp_path))
    path.write_bytes(b"new and longer")
    assert file.read(str(tmp_path)) == b"new and longer"
    file.close()


def test_a_missing_file_is_unavailable_and_read_once_it_is_there(tmp_path: Path) -> None:
    file = KernelFile("file")
    with pytest.raises(Unavailable, match=r"cannot read .*/file: No such file"):
        file.read(str(tmp_path))
    (tmp_path / "file").write_bytes(b"here")
    assert file.read(str(tmp_path)) == b"here"
    file.close()


def test_an_absurdly_large_file_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as large:
        large.truncate(LARGEST + 1)
    with pytest.raises(OSError, match="larger than"):
        KernelFile("file").read(str(tmp_path))


def test_a_file_that_cannot_be_read_is_opened_anew_next_time(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    file = KernelFile("file")
    with pytest.raises(IsADirectoryError):
        file.read(str(tmp_path))
    (tmp_path / "file").rmdir()
    (tmp_path / "file").write_bytes(b"well")
    assert file.read(str(tmp_path)) == b"well"
    file.close()


def test_closing_twice_is_safe_and_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    file = KernelFile("file")
    file.read(str(tmp_path))
    file.close()
    file.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@given(st.lists(st.binary(max_size=30)))
def test_numbers_are_counters_or_none(fields: list[bytes]) -> None:
    found = numbers(fields)
    assert found is None or all(0 <= one < 2**64 for one in found)


@pytest.mark.parametrize("field", [b"", b"x", b"-1", b"1.5", b"18446744073709551616", b"9" * 5000])
def test_what_is_no_counter_is_none(field: bytes) -> None:
    assert numbers([b"1", field]) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"\nDirty: 12 kB\n", 12),
        (b"\nDirty: 12", 12),
        (b"\nDirty:", None),
        (b"\nDirty:\n12\n", None),
        (b"\nNotDirty: 12\n", None),
        (b"\nDirty: many kB\n", None),
    ],
)
def test_a_number_is_found_on_its_own_line_only(text: bytes, number: int | None) -> None:
    assert number_after(text, b"\nDirty:") == number


@given(st.binary(max_size=300))
def test_text_from_the_host_is_made_fit_to_be_shown(raw: bytes) -> None:
    text = printable(raw)
    assert text.isprintable()
    assert len(text) <= 64
    assert text.encode().decode() == text


def test_include_wins_and_an_unnamed_one_is_undecided() -> None:
    choice = Choice(["eth*"], ["*0"])
    assert [choice.verdict(name) for name in ("eth0", "lo0", "lo1")] == [True, False, None]


def test_verdicts_remembered_are_bounded() -> None:
    choice = Choice([], ["a*"])
    for at in range(3 * CHOICES_MAX):
        choice.verdict(f"b{at}")
    assert len(choice._known) <= CHOICES_MAX
    assert choice.verdict("a") is False


@given(st.lists(st.binary(max_size=3), max_size=8), st.lists(st.integers(0, 9), max_size=5))
def test_a_picker_takes_what_is_at_its_places_or_says_that_one_is_not_there(
    words: list[bytes], places: list[int]
) -> None:
    pick = picker(places)
    if all(place < len(words) for place in places):
        assert pick(words) == tuple(words[place] for place in places)
    else:
        with pytest.raises(IndexError):
            pick(words)
