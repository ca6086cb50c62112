"""Read the systemd journal through a child, ``journalctl --output=export --follow``.

The way for hosts where the library cannot be used: a machine of another kind, a container whose
library is older than the host's journal. The child follows rotations by itself and waits while its
pipe is full. It is started with an argument list, never a shell; it ends with its reader, and by
itself when the agent is gone: its output has no other end then.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from vedette.logs import journal_entry as told
from vedette.logs.entry import Entry
from vedette.logs.journal_format import Exported, ExportParser
from vedette.logs.journal_lib import JournalError, Read
from vedette.logs.journal_places import Places

PROGRAM = "journalctl"
#: For the answer to a question, for the end of a child that was asked to end.
ANSWER_TIMEOUT_S, END_TIMEOUT_S = 10.0, 1.0
#: While entries come, more are waited for so long.
MORE_WITHIN_MS = 20
#: And no longer in all.
READ_WITHIN_S = 0.25
_CHUNK = 65_536
#: As much as the kernel allows everybody: fewer wake-ups of two processes.
_PIPE_SIZE = 1 << 20
_WORDS_MAX = 500
_CURSOR_LINE = re.compile(rb"^-- cursor: (\S+)$", re.MULTILINE)
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}


def program() -> str:
    """Return the path of journalctl; raises JournalError where there is none."""
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=_ENVIRONMENT["PATH"])
    if found is None:
        raise JournalError(f"{PROGRAM} is not installed")
    return found


class ExportReader:
    """Entries from a place on; the same as ``LibraryReader`` to its caller.

    New files are followed by the child. ``found`` tells, after the first entry, whether that of the
    cursor is still there.
    """

    def __init__(self, path: str, places: Places, cursor: str, *, heads: bool = False) -> None:
        self._heads = heads
        self.cursor = cursor
        self.found = True
        self._place = _place(places)
        self._path = path
        if not cursor:
            self.cursor = self._end_of_journal()
        self._before = told.parse_cursor(self.cursor)
        self._parser = ExportParser()
        self._damaged = 0
        self._words = b""
        self._ready: deque[Exported] = deque()
        self._child = self._start()
        self._output, self._errors = _pipe(self._child.stdout), _pipe(self._child.stderr)
        with suppress(OSError):  # a matter of speed only
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._wait = select.poll()
        self._wait.register(self._output, select.POLLIN)

    def read(self, entries_max: int, size_max: int) -> Read:
        """Return the next entries: at most so many, and no more once so many bytes are reached."""
        entries: list[Entry] = []
        seen = size = 0
        ended = False
        until = time.monotonic() + READ_WITHIN_S
        while seen < entries_max and size < size_max:
            if not self._ready:
                if not self._fill(wait=seen > 0 and time.monotonic() < until):
                    ended = True
                    break
                continue
            exported = self._ready.popleft()
            cursor = exported.fields.get(b"__CURSOR", b"").decode("ascii", "replace")
            if self._before is not None and self._was_read(cursor):
                continue
            seen += 1
            self.cursor = cursor or self.cursor
            entry = told.entry_of(exported.fields, exported.size, heads=self._heads)
            if entry is not None:
                entries.append(entry)
                size += entry.size
        damaged, self._damaged = self._parser.damaged - self._damaged, self._parser.damaged
        if ended and not seen and self._child.poll() is not None:
            raise JournalError(self._obituary())
        return Read(entries, self.cursor, seen + damaged, damaged, ended)

    def close(self) -> None:
        """End the child, by force if need be, and collect it."""
        child = self._child
        child.terminate()
        try:
            child.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()

    def _fill(self, *, wait: bool) -> bool:
        """Read what the child has written; false when there is nothing now, or never again."""
        self._listen()
        if wait and not self._wait.poll(MORE_WITHIN_MS):
            return False
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return False
        self._ready.extend(self._parser.feed(data))
        return bool(data)

    def _was_read(self, cursor: str) -> bool:
        """Tell, once, whether the first entry is the one that the cursor names."""
        before, self._before = self._before, None
        here = told.parse_cursor(cursor)
        self.found = here is not None and before is not None and here.same_entry(before)
        return self.found

    def _start(self) -> subprocess.Popen[bytes]:
        realtime = told.realtime_of(self.cursor)
        if self._before is not None:
            begin = f"--cursor={self.cursor}"
        else:
            seconds, micros = divmod(realtime or 0, 1_000_000)
            begin = f"--since=@{seconds}.{micros:06d}"
        wanted = b",".join(told.WANTED).decode("ascii")
        try:
            return subprocess.Popen(  # noqa: S603 - a list of our own, see _place
                [
                    *(self._path, "--quiet", "--no-pager", "--output=export", "--follow"),
                    *("--no-tail", f"--output-fields={wanted}", begin, *self._place),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise JournalError(f"cannot start {self._path}: {error.strerror}") from error

    def _end_of_journal(self) -> str:
        """Return the cursor of the last entry; the beginning of time for an empty journal."""
        try:
            answer = subprocess.run(  # noqa: S603 - as above
                [self._path, "--no-pager", "--lines=0", "--show-cursor", *self._place],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=_ENVIRONMENT,
                timeout=ANSWER_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise JournalError(f"{self._path} gave no answer in {ANSWER_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise JournalError(f"cannot start {self._path}: {error.strerror}") from error
        if answer.returncode:
            raise JournalError(f"{self._path}: {_said(answer.stderr)}")
        line = _CURSOR_LINE.search(answer.stdout)
        return line[1].decode("ascii", "replace") if line else told.at_time(0)

    def _listen(self) -> None:
        """Take the child's complaints, which else it would wait for, and keep the last."""
        with suppress(BlockingIOError):
            self._words = (self._words + os.read(self._errors, _CHUNK))[-_WORDS_MAX:]

    def _obituary(self) -> str:
        self._listen()
        return f"{self._path} ended with status {self._child.returncode}: {_said(self._words)}"


def _place(places: Places) -> Sequence[str]:
    """Return the options that name the journal; paths are the configuration's, joined by ``=``."""
    if places.directory:
        return (f"--directory={places.directory}",)
    return () if places.root == "/" else (f"--root={places.root}",)


def _pipe(end: IO[bytes] | None) -> int:
    assert end is not None  # noqa: S101 - for the type checker; both were asked for
    os.set_blocking(end.fileno(), False)
    return end.fileno()


def _said(words: bytes) -> str:
    text = words[-_WORDS_MAX:].decode("utf-8", "backslashreplace").strip()
    return " ".join(text.split()) or "it said nothing"
