"""Reckon SHA-256 of model files slowly, over many ticks, and remember them over restarts.

A weight file has gigabytes and the host other things to do: so many bytes a second are read, and no
more CPU than ``CPU_S`` a step. A digest is kept under path, size, time of change and inode; what
has the same ones is not read again. What was not in the page cache before is put out of it after it
was read (``posix_fadvise``), what was there is left: a server may want it at its next start. A
half-read file is taken up where it was as long as the agent runs, from its beginning after that,
since a SHA-256 cannot be saved half done.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from vedette import whole_file
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

FILE_NAME = "digests.json"
#: What is read at once, and the time of CPU that one step takes at most.
PIECE, CPU_S = 1 << 18, 0.025
#: Bytes of the first piece, of which a digest is made at once.
HEAD_BYTES = 1 << 20
#: Steps that were left out are not made up for.
STEP_MAX_S = 15.0
KNOWN_MAX, WANTED_MAX = 4_096, 1_024
_STATE_BYTES_MAX = 8 << 20


class Identity(msgspec.Struct, frozen=True, order=True):
    """What names a file's content without reading it; ``path`` is as its process has it."""

    path: str
    size: int
    mtime_ns: int
    inode: int


class Known(msgspec.Struct, frozen=True):
    """A digest that was reckoned."""

    identity: Identity
    sha256: str


class Digests:
    """The digests of files; one thread. ``directory`` is where they are kept, None: nowhere."""

    def __init__(
        self,
        directory: Path | None,
        bytes_per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._rate = bytes_per_s
        self._clock = clock
        self._known: OrderedDict[Identity, str] = OrderedDict()
        #: Where each wanted file is opened, those in progress first.
        self._wanted: dict[Identity, str] = {}
        self._job: _Job | None = None
        self._stepped_s = clock()
        #: What could not be read, with the reason; it is tried again when it changed.
        self.failed: dict[Identity, str] = {}
        self._is_new = False
        self._writing = Trouble(log, "digests cannot be saved", "digests are saved again")
        self._load()

    @property
    def left_bytes(self) -> int:
        """What is still to be read."""
        done = self._job.at if self._job is not None else 0
        return sum(one.size for one in self._wanted) - done

    def get(self, identity: Identity) -> str:
        """Return a digest; empty while it is not known."""
        return self._known.get(identity, "")

    def want(self, files: Iterable[tuple[Identity, str]]) -> None:
        """Say which files' digests are wanted, and where each is opened: the small ones first."""
        given = sorted(dict(files).items(), key=lambda one: (one[0].size, one[0].path))
        self.failed = {one: why for one, why in self.failed.items() if one in dict(given)}
        wanted: dict[Identity, str] = {}
        for identity, place in given[:WANTED_MAX]:
            if identity in self._known:
                self._known.move_to_end(identity)
            elif identity not in self.failed:
                wanted[identity] = place
        self._wanted = wanted
        if self._job is not None and self._job.identity not in wanted:
            self._end_job()

    def step(self) -> None:
        """Read on, as much as is due since the last step."""
        now_s = self._clock()
        allowed = self._rate * min(max(now_s - self._stepped_s, 0.0), STEP_MAX_S)
        self._stepped_s = now_s
        ends_s = time.thread_time() + CPU_S
        while allowed > 0 and time.thread_time() < ends_s:
            job = self._job = self._job or self._next()
            if job is None:
                break
            try:
                count = job.read()
            except OSError as error:
                self._fail(job.identity, error.strerror or "cannot be read")
                continue
            allowed -= max(count, 1)
            if not count:
                self._finish(job)
        if self._is_new and self._job is None:
            self.save()

    def save(self) -> None:
        """Write what is known; a failure is said and changes nothing."""
        if self._directory is None or not self._is_new:
            return
        self._is_new = False
        known = [Known(identity, sha256) for identity, sha256 in self._known.items()]
        directory = self._directory
        self._writing.attempt(lambda: _write(directory, known))

    def close(self) -> None:
        """Let go of the file that is read; save."""
        self._end_job()
        self.save()

    def _next(self) -> _Job | None:
        for identity, place in list(self._wanted.items()):
            try:
                return _Job(identity, place)
            except OSError as error:
                self._fail(identity, error.strerror or "cannot be opened")
        return None

    def _finish(self, job: _Job) -> None:
        if job.is_whole():
            self._known[job.identity] = job.digest.hexdigest()
            self._is_new = True
            while len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
            self._wanted.pop(job.identity, None)
            self._end_job()
        else:
            self._fail(job.identity, "it changed while it was read")

    def _fail(self, identity: Identity, why: str) -> None:
        self._wanted.pop(identity, None)
        self.failed[identity] = why
        if self._job is not None and self._job.identity == identity:
            self._end_job()

    def _end_job(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.close()

    def _load(self) -> None:
        if self._directory is None:
            return
        try:
            body = (self._directory / FILE_NAME).read_bytes()
            known = msgspec.json.decode(body[:_STATE_BYTES_MAX], type=list[Known])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("digests are reckoned anew, %s cannot be read: %s", FILE_NAME, error)
            return
        self._known = OrderedDict((one.identity, one.sha256) for one in known[-KNOWN_MAX:])


def _write(directory: Path, known: list[Known]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    whole_file.put(directory / FILE_NAME, msgspec.json.encode(known), mode=0o600)


class _Job:
    """A file whose digest is being reckoned."""

    def __init__(self, identity: Identity, place: str) -> None:
        self.identity = identity
        self.at = 0
        self.digest = hashlib.sha256()
        self._buffer = bytearray(PIECE)
        # What was put there instead of the file meanwhile is neither followed nor waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        self._descriptor = os.open(place, flags)
        if not self.is_whole(begun=True):
            self.close()
            raise OSError(0, "it is another file by now")
        # Without it the kernel reads on by itself, and what it read looks as if it had been there.
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self) -> int:
        """Take one piece; 0 at the end."""
        view = memoryview(self._buffer)
        cached = self._cached(view)
        count = cached
        if count < PIECE:
            count += os.preadv(self._descriptor, [view[cached:]], self.at + cached)
        if count > cached:
            os.posix_fadvise(
                self._descriptor, self.at + cached, count - cached, os.POSIX_FADV_DONTNEED
            )
        self.digest.update(view[:count])
        self.at += count
        return count

    def _cached(self, view: memoryview) -> int:
        """Read what is in the page cache already; 0 where that cannot be told."""
        try:
            return os.preadv(self._descriptor, [view], self.at, os.RWF_NOWAIT)
        except OSError:
            return 0

    def is_whole(self, *, begun: bool = False) -> bool:
        """Say whether the file is still the one that was asked for, and was read to its end."""
        now = os.fstat(self._descriptor)
        same = (now.st_size, now.st_mtime_ns, now.st_ino) == (
            self.identity.size,
            self.identity.mtime_ns,
            self.identity.inode,
        )
        return same and stat.S_ISREG(now.st_mode) and (begun or self.at == self.identity.size)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
