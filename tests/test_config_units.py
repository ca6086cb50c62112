"""Durations, sizes and shares are read as people write them, and written back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Duration, Size
from vedette.config.units import (
    Share,
    format_duration,
    format_share,
    format_size,
    parse_duration,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1.5 h", 5400),
     ("0s", 0), ("0.1s", 0.1), ("1.1h", 3960)],
)  # fmt: skip
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert isinstance(parse_duration(text), Duration)


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "1 sec", "1s ", "1h30m", "1e3s", "٣s", "inf s"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration: a number and one of"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("512KiB", 512 << 10), ("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("2TiB", 2 << 40),
     ("1kB", 1000), ("3MB", 3_000_000)],
)  # fmt: skip
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert isinstance(parse_size(text), Size)


@pytest.mark.parametrize("text", ["", "64", "64M", "64mib", "-1B", "MiB", "1 000B"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size: a number and one of"):
        parse_size(text)


def test_a_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole number of bytes"):
        parse_size("0.3B")


@pytest.mark.parametrize(
    ("text", "share"),
    [("2%", 0.02), ("0.5%", 0.005), ("100%", 1.0), ("12.25 %", 0.1225), ("0%", 0), ("off", 0)],
)
def test_a_share_is_a_number_in_percent_or_off(text: str, share: float) -> None:
    assert parse_share(text) == share
    assert isinstance(parse_share(text), Share)


@pytest.mark.parametrize("text", ["", "2", "%", "-2%", "2s%", "2%%", "1e1%", "Off", "none", "nan%"])
def test_anything_else_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="is no share: a number with %"):
        parse_share(text)


@given(st.integers(0, 10**9))
def test_a_share_survives_being_written(millionths: int) -> None:
    share = millionths / 1e6
    assert parse_share(format_share(share)) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("share", "text"), [(0.02, "2%"), (0.0, "off"), (0.005, "0.5%")])
def test_a_share_is_written_in_percent(share: float, text: str) -> None:
    assert format_share(share) == text


@given(st.integers(0, 10**18))
def test_a_duration_survives_being_written(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    assert parse_duration(format_duration(seconds)) == round(seconds * 1e9) / 1e9


@given(st.integers(0, 1 << 49))
def test_a_size_survives_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0001, "0.1ms"), (0.25, "250ms"), (90, "90s"), (300, "5m"), (1.5, "1500ms")],
)
def test_a_duration_is_written_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
