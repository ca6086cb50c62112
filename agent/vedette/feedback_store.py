"""Keep what the operator said in one JSON file, and carry it to another host in another one."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from vedette import whole_file
from vedette.feedback import AnyMark, Marks

log = logging.getLogger(__name__)

FILE_NAME = "feedback.json"
#: Raised when the meaning of the file changes.
VERSION = 1
#: A thousand marks of the longest kind take less; anything larger is not such a file.
LARGEST = 64 << 20


class _File(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    host: str = ""
    next_number: int = 1
    marks: tuple[AnyMark, ...] = ()


class _Head(msgspec.Struct, frozen=True):
    version: int


def save(directory: Path, marks: Marks) -> None:
    """Write the marks atomically; raises ``OSError``, the old file stays then."""
    path = directory / FILE_NAME
    file_ = _File(version=VERSION, next_number=marks.next_number, marks=marks.marks)
    whole_file.put(path, msgspec.json.encode(file_))


def load(directory: Path) -> Marks:
    """Read the marks of earlier runs; a damaged file is set aside and said, never fatal."""
    path = directory / FILE_NAME
    try:
        return read(path)
    except FileNotFoundError:
        return Marks()
    except OSError as error:
        log.error("feedback cannot be read path=%s reason=%s", path, error.strerror)
        return Marks()
    except ValueError as error:
        aside = path.with_name(path.name + ".broken")
        log.error("feedback is not understood, set aside as=%s reason=%s", aside, error)
        try:
            path.replace(aside)
        except OSError as failed:
            log.error("feedback cannot be set aside path=%s reason=%s", path, failed.strerror)
        return Marks()


def read(path: Path) -> Marks:
    """Read a file of marks; raises ``OSError``, or ``ValueError`` saying what is wrong with it."""
    with open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
    version = msgspec.json.decode(data, type=_Head).version
    if version != VERSION:
        raise ValueError(f"it is of version {version}, this program knows version {VERSION}")
    kept = msgspec.json.decode(data, type=_File)
    numbers = [mark.number for mark in kept.marks]
    if len(set(numbers)) != len(numbers):
        raise ValueError("two marks have the same number")
    following = max([kept.next_number, *(number + 1 for number in numbers)])
    return Marks(following, kept.marks)


def export(path: Path, marks: Marks, host: str) -> None:
    """Write marks for another host; those said here bear this host's name. Raises ``OSError``."""
    told = tuple(
        mark if mark.host else msgspec.structs.replace(mark, host=host) for mark in marks.marks
    )
    file_ = _File(version=VERSION, host=host, next_number=marks.next_number, marks=told)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(file_), indent=1) + b"\n")
