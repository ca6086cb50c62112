"""A tail over real files in a directory of its own, as the tests drive it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vedette.logs.positions import Positions, decode_positions
from vedette.logs.tail import Tail
from vedette.logs.tail_settings import Chunk, TailSettings

NOBODY = 65534


class Reading:
    """A tail, a clock that only the test moves, and every line that was delivered."""

    def __init__(self, directory: Path, *patterns: str, **settings: Any) -> None:
        self.directory = directory
        self.now = 1_000.0
        settings.setdefault("begin", "beginning")
        whole = tuple(str(directory / one) for one in patterns or ("*.log",))
        self.settings = TailSettings(whole, **settings)
        self.tail = Tail(self.settings)
        self.chunks: list[Chunk] = []
        self.kept = Positions()

    @property
    def lines(self) -> list[bytes]:
        """Return all lines delivered, in order."""
        return [line for chunk in self.chunks for line in chunk.lines]

    def lines_of(self, name: str) -> list[bytes]:
        """Return the lines of one source."""
        path = str(self.directory / name)
        return [line for chunk in self.chunks for line in chunk.lines if chunk.source.path == path]

    def poll(self, after: float = 0.25) -> list[bytes]:
        """Let time pass, poll once and return the new lines."""
        self.now += after
        chunks = self.tail.poll(self.now)
        self.chunks += chunks
        return [line for chunk in chunks for line in chunk.lines]

    def commit(self) -> None:
        """Keep the positions, through the bytes they are stored as."""
        kept = decode_positions(self.tail.positions(self.now).encode())
        assert kept is not None
        self.kept = kept

    def restart(self, after: float = 1.0) -> None:
        """End as by kill -9, and begin at what was kept last; the clock is another one then."""
        self.tail.close()
        self.now = 50.0 + after
        self.tail = Tail(self.settings)
        self.tail.restore(self.kept, self.now)


def append(path: Path, data: bytes) -> None:
    """Write as a logger does."""
    with path.open("ab") as file:
        file.write(data)


def numbered(first: int, last: int, name: str = "") -> list[bytes]:
    """Return distinct lines."""
    return [b"2026-08-01T12:00:00 %s line %06d" % (name.encode(), i) for i in range(first, last)]


def text(lines: list[bytes]) -> bytes:
    """Return lines as they stand in a file."""
    return b"".join(line + b"\n" for line in lines)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user whom permissions bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
