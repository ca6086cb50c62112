"""What tests of the journal share: export text of invented entries, and journals made of it.

``systemd-journal-remote`` makes real journal files where it is installed. Where it is not, there is
one such file in ``tests/fixtures/logs/journal``, so that the library is tested everywhere.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from vedette.logs.journal_lib import JournalError, Library

FIXTURE = Path(__file__).parent.parent / "fixtures" / "logs" / "journal" / "entries.journal.gz"
REMOTE = Path("/lib/systemd/systemd-journal-remote")
BOOT = "0123456789abcdef0123456789abcdef"
OTHER_BOOT = "fedcba9876543210fedcba9876543210"
#: The first entry's time, Unix µs.
START_US = 1_795_183_200_000_000
#: A kind of file that libraries before systemd 252 can read as well.
MAKE_ENV = {**os.environ, "SYSTEMD_JOURNAL_COMPACT": "0"}

Fields = Mapping[str, object]


def library_works() -> bool:
    try:
        Library()
    except JournalError:
        return False
    return True


needs_library = pytest.mark.skipif(not library_works(), reason="libsystemd.so.0 is not installed")
needs_remote = pytest.mark.skipif(
    not REMOTE.exists() or not library_works(),
    reason="systemd-journal-remote, which makes journal files, is not installed",
)
needs_journalctl = pytest.mark.skipif(
    shutil.which("journalctl") is None, reason="journalctl is not installed"
)


def exported(fields: Fields) -> bytes:
    """Return one entry in the export format: values of bytes as binary ones, others as text."""
    parts = []
    for name, value in fields.items():
        if isinstance(value, bytes):
            parts += [name.encode(), b"\n", struct.pack("<Q", len(value)), value, b"\n"]
        else:
            parts.append(f"{name}={value}\n".encode())
    return b"".join(parts) + b"\n"


def service_entry(number: int, *, boot: str = BOOT, **more: object) -> Fields:
    """Return what journald knows of the ``number``-th message of a service, 1 ms after the last."""
    at = START_US + number * 1000
    return {
        "__REALTIME_TIMESTAMP": at,
        "__MONOTONIC_TIMESTAMP": 1_000_000 + number * 1000,
        "_BOOT_ID": boot,
        "PRIORITY": 3 + number % 5,
        "_TRANSPORT": "syslog",
        "SYSLOG_IDENTIFIER": "nginx",
        "_PID": 100,
        "_COMM": "nginx",
        "_SYSTEMD_UNIT": "nginx.service",
        "_SOURCE_REALTIME_TIMESTAMP": at - 50,
        "MESSAGE": f"request {number}",
        **more,
    }


def services(first: int, count: int, **more: object) -> bytes:
    return b"".join(exported(service_entry(n, **more)) for n in range(first, first + count))


def bodies(first: int, count: int) -> list[bytes]:
    return [b"request %d" % number for number in range(first, first + count)]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def append(path: Path, text: bytes) -> Path:
    """Write entries to a journal file, a new one if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(REMOTE), "--output", str(path), "-"],
        input=text,
        capture_output=True,
        env=MAKE_ENV,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return path


def unpack_fixture(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "entries.journal"
    with gzip.open(FIXTURE) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return path


#: Places in the file's header and in an entry, as systemd's journal-def.h has them.
LINE_AT, TAIL_NUMBER_AT, HEAD_NUMBER_AT = 72, 160, 168


def continue_line(old: Path, new: Path, first: int, text_of_first: Fields) -> Path:
    """Make ``new`` the file that journald would write after ``old``: numbers go on at ``first``.

    It has one entry; what is appended to it gets the numbers after it. It appears when it is done.
    """
    made = append(new.parent.with_name("made") / new.name, exported(text_of_first))
    data = bytearray(made.read_bytes())
    realtime = int(str(text_of_first["__REALTIME_TIMESTAMP"]))
    entry_at = data.index(struct.pack("<QQ", 1, realtime))
    data[LINE_AT : LINE_AT + 16] = old.read_bytes()[LINE_AT : LINE_AT + 16]
    for at in (TAIL_NUMBER_AT, HEAD_NUMBER_AT, entry_at):
        data[at : at + 8] = struct.pack("<Q", first)
    made.write_bytes(data)
    return made.rename(new)


def fixture_entries() -> Iterable[Fields]:
    """Return the invented entries that the fixture was made of."""
    for number in range(200):
        yield service_entry(number)
    last: dict[str, object] = dict(service_entry(200))
    yield {**last, "MESSAGE": b"two lines\nof \xff bytes", "PRIORITY": 0}
    yield {**service_entry(201), "_SOURCE_REALTIME_TIMESTAMP": 12, "MESSAGE": "clock was set"}
    kernel = {**service_entry(202), "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel"}
    for name in ("_SYSTEMD_UNIT", "_COMM", "_PID", "_SOURCE_REALTIME_TIMESTAMP"):
        del kernel[name]
    yield {**kernel, "_SOURCE_MONOTONIC_TIMESTAMP": 1_000_000, "MESSAGE": "Out of memory: Kill"}
    native = {**service_entry(203), "_TRANSPORT": "journal", "MESSAGE_ID": "a" * 32}
    yield {**native, "CONTAINER_NAME": "web-1", "_SYSTEMD_UNIT": "docker.service"}
    about = {**service_entry(204), "_TRANSPORT": "journal", "_SYSTEMD_UNIT": "init.scope"}
    yield {**about, "UNIT": "nginx.service", "SYSLOG_IDENTIFIER": "systemd", "PRIORITY": "x"}
    silent = dict(service_entry(205))
    del silent["MESSAGE"]
    yield silent
    yield {**service_entry(206), "MESSAGE": "x" * 100_000}
    yield {**service_entry(207), "_TRANSPORT": "stdout", "MESSAGE": "the last one"}


if __name__ == "__main__":  # make the fixture anew
    made = append(Path("entries.journal"), b"".join(map(exported, fixture_entries())))
    FIXTURE.write_bytes(gzip.compress(made.read_bytes(), mtime=0))
    made.unlink()
