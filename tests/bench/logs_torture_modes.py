"""What is done to log files in the torture: each mode writes numbered lines into a directory."""

from __future__ import annotations

import gzip
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

PAD = b" web-3 GET /api/v1/items/4711 200 17ms user=alice session=8f3c2d upstream=10.0.3.17:8080\n"


class Stage:
    """Where a mode plays: a directory, the next line number, and the readers to torment."""

    def __init__(self, directory: Path, readers: Readers) -> None:
        self.directory = directory
        self.readers = readers
        self.written = 0
        self.cut = 0

    def path(self, name: str = "app.log") -> Path:
        """Return a file's path."""
        return self.directory / name

    def block(self, lines: int, pad: bytes = PAD) -> bytes:
        """Return so many new lines."""
        first = self.written
        self.written += lines
        return b"".join(b"T%08d%s" % (i, pad) for i in range(first, first + lines))

    def write(self, lines: int, name: str = "app.log") -> None:
        """Append so many new lines."""
        with self.path(name).open("ab") as file:
            file.write(self.block(lines))


class Readers:
    """What can be done to all readers at once; the bench overrides it."""

    def pause(self, seconds: float) -> None:
        """Stop them for a time."""

    def kill(self) -> None:
        """Kill them and start them again at once."""

    def fill_disk(self) -> None:
        """Leave no room where they keep their state."""

    def free_disk(self) -> None:
        """Give the room back."""


def steady(stage: Stage) -> None:
    for _ in range(100):
        stage.write(200)
        time.sleep(0.02)


def burst(stage: Stage) -> None:
    for _ in range(3):
        stage.write(60_000)
        time.sleep(0.7)


def rename(stage: Stage) -> None:
    for _ in range(20):
        for _ in range(5):
            stage.write(300)
            time.sleep(0.02)
        shift(stage.path())


def rename_and_compress(stage: Stage) -> None:
    for generation in range(6):
        for _ in range(10):
            stage.write(200)
            time.sleep(0.05)
        old = stage.path(f"app.log-{20260801 + generation}")
        stage.path().rename(old)
        stage.write(10)
        time.sleep(0.6)  # a writer that reopens, then the old file is compressed
        with gzip.open(f"{old}.gz", "wb") as packed:
            packed.write(old.read_bytes())
        old.unlink()


def copytruncate(stage: Stage) -> None:
    for _ in range(12):
        for _ in range(5):
            stage.write(300)
            time.sleep(0.04)
        copy_and_truncate(stage.path())


def storm(stage: Stage) -> None:
    for _ in range(5):
        for _ in range(20):
            stage.write(50)
            shift(stage.path(), 120)
            time.sleep(0.005)  # a tick: two files of one tick cannot be told apart by their times
        time.sleep(0.5)


def many_files(stage: Stage) -> None:
    for turn in range(10):
        for i in range(500):
            stage.write(4, f"app{i:03d}.log")
        time.sleep(0.2)
        if turn == 5:
            for i in range(0, 500, 5):
                stage.path(f"app{i:03d}.log").rename(stage.path(f"app{i:03d}.log.1"))


def huge_lines(stage: Stage) -> None:
    with stage.path().open("ab") as file:
        for _ in range(10):
            file.write(stage.block(100))
            file.write(stage.block(1, b" " + b"x" * (1 << 20) + b"\n"))
            file.flush()
            time.sleep(0.1)
        file.write(stage.block(1, b" "))
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\n")
        file.write(stage.block(100))


def partial_writes(stage: Stage) -> None:
    with stage.path().open("ab", buffering=0) as file:
        for _ in range(400):
            data = stage.block(5)
            for at in range(0, len(data), 61):
                file.write(data[at : at + 61])
                time.sleep(0.0005)


def truncate_in_place(stage: Stage) -> None:
    for _ in range(5):
        stage.write(500)
        time.sleep(1.6)  # long enough for each reader to have read it
        os.truncate(stage.path(), 0)
        stage.write(700)  # beyond the old place
        time.sleep(1.6)
        os.truncate(stage.path(), 0)
        time.sleep(1.1)


def inode_reuse(stage: Stage) -> None:
    for _ in range(8):
        stage.write(500)
        time.sleep(1.6)
        stage.path().unlink()
        stage.write(500)
        time.sleep(0.4)


def deleted_while_written(stage: Stage) -> None:
    for _ in range(3):
        with stage.path().open("ab", buffering=0) as file:
            file.write(stage.block(500))
            time.sleep(1.6)
            stage.path().unlink()
            for _ in range(5):
                file.write(stage.block(200))
                time.sleep(0.2)


def paused_reader(stage: Stage) -> None:
    stage.write(1_000)
    time.sleep(1.5)
    for _ in range(3):
        stage.write(500)
        stage.readers.pause(1.0)
        for _ in range(3):
            stage.write(500)
            shift(stage.path())
            time.sleep(0.05)
        stage.write(500)
        time.sleep(1.5)


def paused_and_truncated(stage: Stage) -> None:
    stage.write(1_000)
    time.sleep(1.6)
    for _ in range(3):
        stage.readers.pause(1.0)
        stage.write(500)
        copy_and_truncate(stage.path())
        stage.write(2_000)
        time.sleep(1.6)


def kill_and_restart(stage: Stage) -> None:
    for turn in range(12):
        for _ in range(8):
            stage.write(200)
            time.sleep(0.1)
        stage.readers.kill()
        if turn % 3 == 2:
            shift(stage.path())


def link_switch(stage: Stage) -> None:
    for day in range(15):
        name = f"day-{day:02d}.txt"
        stage.write(400, name)
        stage.path("new").symlink_to(name)
        stage.path("new").replace(stage.path())
        stage.write(400, name)
        time.sleep(0.3 if day % 4 else 0.0)


def full_state_disk(stage: Stage) -> None:
    for turn in range(8):
        if turn == 2:
            stage.readers.fill_disk()
        if turn == 5:
            stage.readers.kill()
        if turn == 6:
            stage.readers.free_disk()
        for _ in range(5):
            stage.write(200)
            time.sleep(0.15)
    stage.readers.kill()
    stage.write(200)


MODES: dict[str, Callable[[Stage], None]] = {
    "steady": steady,
    "burst": burst,
    "rename": rename,
    "rename, gzip, delete": rename_and_compress,
    "copytruncate": copytruncate,
    "rotation storm": storm,
    "500 files": many_files,
    "huge lines": huge_lines,
    "partial writes": partial_writes,
    "truncate in place": truncate_in_place,
    "inode reuse": inode_reuse,
    "deleted, still written": deleted_while_written,
    "reader paused, renames": paused_reader,
    "reader paused, copytruncate": paused_and_truncated,
    "kill -9 and restart": kill_and_restart,
    "link switched": link_switch,
    "state disk full, kill -9": full_state_disk,
}


def shift(log: Path, last: int = 40) -> None:
    """Rotate by renaming, as logrotate does; a new file is made."""
    ages = [age for age in range(1, last + 1) if log.with_name(f"{log.name}.{age}").exists()]
    for age in reversed(ages):
        log.with_name(f"{log.name}.{age}").rename(log.with_name(f"{log.name}.{age + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))
    log.touch()


def copy_and_truncate(log: Path) -> None:
    """Rotate by copying, for a writer that cannot be told."""
    for age in range(20, 0, -1):
        old = log.with_name(f"{log.name}.{age}")
        if old.exists():
            old.rename(log.with_name(f"{log.name}.{age + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
