"""How far files were read, as bytes and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.positions import Position, Positions, decode_positions

positions = st.builds(
    Position,
    path=st.binary(max_size=20),
    device=st.integers(0, 2**64 - 1),
    inode=st.integers(0, 2**64 - 1),
    offset=st.integers(0, 2**63),
    size=st.integers(0, 2**63),
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
    head_length=st.integers(0, 256),
    head=st.integers(0, 2**64 - 1),
    tail=st.integers(-1, 2**32 - 1),
    marks=st.binary(max_size=100),
)


@given(st.lists(positions, max_size=5), st.lists(st.text("abc*/", max_size=5), max_size=3))
def test_positions_come_back(files: list[Position], patterns: list[str]) -> None:
    kept = Positions(tuple(patterns), tuple(files))
    assert decode_positions(kept.encode()) == kept


@given(st.binary(max_size=200))
def test_any_bytes_are_positions_or_none(data: bytes) -> None:
    decoded = decode_positions(data)
    assert decoded is None or isinstance(decoded, Positions)
