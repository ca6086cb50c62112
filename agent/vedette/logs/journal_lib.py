"""Read the systemd journal through the host's own ``libsystemd.so.0``, without headers or bindings.

The library knows every version of the files, their compression and how they interleave. What is
asked of it is little: entries in order, a few fields of each. Every field is looked for among all
of an entry's, which takes 1 to 2 µs, so those that a way into the journal cannot carry are not
asked for: 5 to 7 questions and about 10 µs an entry; to be given all fields would take twice that.

Everything is copied before the library is called again. The library does not survive a fork and
must not be used by two threads at once, which the caller sees to.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from vedette.logs import journal_entry as told
from vedette.logs.entry import Entry
from vedette.logs.journal_guard import FaultGuard, supported
from vedette.logs.journal_places import Places

LIBRARY = "libsystemd.so.0"
_LOCAL_ONLY, _OS_ROOT = 1 << 0, 1 << 4
#: No answer of the library is longer; a length beyond it is nonsense.
_LENGTH_MAX = 1 << 30
#: An entry that cannot be read is passed over, these are not its fault.
_HOPELESS = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ECHILD)

_HANDLE = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[object, ...]] = {
    "open": (ctypes.POINTER(_HANDLE), ctypes.c_int),
    "open_files": (ctypes.POINTER(_HANDLE), ctypes.POINTER(ctypes.c_char_p), ctypes.c_int),
    "open_directory": (ctypes.POINTER(_HANDLE), ctypes.c_char_p, ctypes.c_int),
    "seek_head": (_HANDLE,),
    "seek_tail": (_HANDLE,),
    "seek_realtime_usec": (_HANDLE, ctypes.c_uint64),
    "seek_cursor": (_HANDLE, ctypes.c_char_p),
    "next": (_HANDLE,),
    "previous": (_HANDLE,),
    "get_data": (
        _HANDLE,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_size_t),
    ),
    "get_cursor": (_HANDLE, ctypes.POINTER(ctypes.c_void_p)),
    "get_realtime_usec": (_HANDLE, ctypes.POINTER(ctypes.c_uint64)),
    "get_monotonic_usec": (_HANDLE, ctypes.POINTER(ctypes.c_uint64), ctypes.c_char_p),
    "set_data_threshold": (_HANDLE, ctypes.c_size_t),
}


class JournalError(Exception):
    """The journal, or the way to it, does not work; the text says what and why."""


class Read(msgspec.Struct, frozen=True):
    """What one look at the journal brought.

    ``seen`` counts the entries passed, with those that have no text and the ``damaged`` ones;
    ``cursor`` is the last one's, or where reading began. ``ended``: there is nothing more now.
    """

    entries: list[Entry]
    cursor: str
    seen: int = 0
    damaged: int = 0
    ended: bool = True


class Library:
    """The functions of ``libsystemd.so.0`` that are needed; raises JournalError without them."""

    def __init__(self, name: str = LIBRARY) -> None:
        if not supported():
            raise JournalError(f"{name} is not used on this kind of machine")
        try:
            library = ctypes.CDLL(name)
            self._functions = {
                short: getattr(library, f"sd_journal_{short}") for short in _SIGNATURES
            }
            self.close = library.sd_journal_close
            self.free = ctypes.CDLL(None).free
        except (OSError, AttributeError) as error:
            raise JournalError(f"cannot use {name}: {error}") from error
        for short, function in self._functions.items():
            function.argtypes = _SIGNATURES[short]
            function.restype = ctypes.c_int
        self.close.argtypes, self.close.restype = [_HANDLE], None
        self.free.argtypes, self.free.restype = [ctypes.c_void_p], None

    def __getitem__(self, short: str) -> Callable[..., int]:
        function: Callable[..., int] = self._functions[short]
        return function

    def call(self, short: str, *arguments: object) -> int:
        """Call ``sd_journal_<short>``; raise JournalError with the system's words if it fails."""
        answer = self[short](*arguments)
        if answer < 0:
            raise JournalError(f"sd_journal_{short}: {os.strerror(-answer)}")
        return answer


class LibraryReader:
    """Entries from a place on, as long as the files of the journal stay the ones they are.

    New files are not noticed: ``Places.signature`` tells, and a new reader goes on at the cursor.
    So a reader still gives what is in files that were deleted while it had them open.

    ``cursor`` is a place as ``journal_entry`` has it; empty for the end of the journal. ``found``
    tells, after the first reading, whether the entry of the cursor is still there.
    """

    def __init__(
        self, library: Library, places: Places, cursor: str, *, heads: bool = False
    ) -> None:
        self._library, self._heads = library, heads
        # Bound once: they are called for every field of every entry.
        self._get_data, self._next = library["get_data"], library["next"]
        self._guard = FaultGuard()
        self._handle = _HANDLE()
        self.cursor = cursor
        self.found = True
        #: The entry to be passed over because it was read before.
        self._before = told.parse_cursor(cursor)
        self._data, self._length = ctypes.c_void_p(), ctypes.c_size_t()
        self._number = ctypes.c_uint64()
        with self._guard:
            self._open(places, cursor)
            try:
                self._library.call("set_data_threshold", self._handle, told.MESSAGE_MAX + 64)
                self._seek(cursor)
            except BaseException:
                self._close()
                raise

    def read(self, entries_max: int, size_max: int) -> Read:
        """Return the next entries: at most so many, and no more once so many bytes are reached."""
        if not self._handle:
            raise JournalError("the journal was closed")
        faults = self._guard.faults
        with self._guard:
            found = self._read(entries_max, size_max)
        if self._guard.faults > faults:  # pages of one file, which the library lets go of then
            return msgspec.structs.replace(found, damaged=found.damaged + 1)
        return found

    def close(self) -> None:
        if self._handle:
            with suppress(TimeoutError), self._guard:  # else the handle is left behind
                self._close()

    def _close(self) -> None:
        handle, self._handle = self._handle, _HANDLE()
        self._library.close(handle)

    def _open(self, places: Places, cursor: str) -> None:
        """Open the files that matter; if one of them cannot be, all that can."""
        target = ctypes.byref(self._handle)
        files = [os.fsencode(file) for file in places.files_from(cursor)]
        if files:
            array = (ctypes.c_char_p * (len(files) + 1))(*files, None)
            if self._library["open_files"](target, array, 0) >= 0:
                return
        if places.directory:
            path, flags = places.directory, 0
        elif places.root != "/":
            path, flags = places.root, _OS_ROOT
        else:
            self._library.call("open", target, _LOCAL_ONLY)
            return
        self._library.call("open_directory", target, os.fsencode(path), flags)

    def _seek(self, cursor: str) -> None:
        library, handle = self._library, self._handle
        if self._before is not None:
            library.call("seek_cursor", handle, cursor.encode("ascii"))
            return
        realtime = told.realtime_of(cursor)
        if realtime is not None:
            library.call("seek_realtime_usec", handle, realtime)
            return
        library.call("seek_tail", handle)
        if library.call("previous", handle):
            self.cursor = self._cursor_here()
        else:  # an empty journal: whatever comes is new
            library.call("seek_head", handle)

    def _cursor_here(self) -> str:
        text = ctypes.c_void_p()
        self._library.call("get_cursor", self._handle, ctypes.byref(text))
        try:
            return ctypes.string_at(text).decode("ascii", "replace") if text else ""
        finally:
            self._library.free(text)

    def _read(self, entries_max: int, size_max: int) -> Read:
        """Read one entry after another; a cursor costs as much as a field, so only the last's."""
        entries: list[Entry] = []
        seen = damaged = size = 0
        ended = False
        next_entry, handle = self._next, self._handle
        while seen < entries_max and size < size_max:
            answer = next_entry(handle)
            if answer < 0:
                if not seen:
                    raise JournalError(f"sd_journal_next: {os.strerror(-answer)}")
                break
            if answer == 0:
                ended = True
                break
            if self._before is not None and self._was_read():
                continue
            seen += 1
            try:
                entry = self._entry()
            except _DamagedEntry:
                damaged += 1
                continue
            if entry is not None:
                entries.append(entry)
                size += entry.size
        if seen:
            self._remember()
        return Read(entries, self.cursor, seen, damaged, ended)

    def _remember(self) -> None:
        """Keep the place of the last entry; one without a place, for damage, leaves the old one."""
        try:
            self.cursor = self._cursor_here()
        except JournalError:
            return

    def _was_read(self) -> bool:
        """Tell, once, whether the first entry is the one that the cursor names."""
        before, self._before = self._before, None
        try:
            here = told.parse_cursor(self._cursor_here())
        except JournalError:
            here = None
        self.found = here is not None and before is not None and here.same_entry(before)
        return self.found

    def _entry(self) -> Entry | None:
        """Return the entry here; None for one without a text, whose place is all there is to it."""
        field = self._field
        message = field(told.MESSAGE, told.MESSAGE_MAX)
        if not message:
            return None
        size = max(self._length.value - len(told.MESSAGE), 1)
        realtime = self._microseconds("get_realtime_usec")
        transport = field(told.TRANSPORT)
        if transport == told.KERNEL:
            return self._kernel_entry(message, size, realtime)
        container = message_id = subject = source = None
        if transport not in told.PLAIN:
            container, message_id, subject = map(field, told.NATIVE)
        if transport != told.STDOUT:
            source = field(told.SOURCE_TIME)
        return Entry(
            message,
            told.time_of(realtime, source),
            told.severity_of(field(told.PRIORITY)),
            told.unit_of(container, *self._writers()),
            told.fields_of(transport, message_id, subject),
            size,
            message.count(b"\n") + 1,
            self._head() if self._heads else b"",
        )

    def _writers(self) -> tuple[bytes | None, ...]:
        """Return who may have written the entry, no further than a service that names itself."""
        unit = self._field(told.UNIT)
        if unit and unit.endswith(b".service") and not unit.startswith(b"user@"):
            return (unit,)
        return (unit, *map(self._field, told.WRITERS[1:]))

    def _head(self) -> bytes:
        return told.head_of(*map(self._field, (told.IDENTIFIER, told.COMMAND, told.PROCESS)))

    def _kernel_entry(self, message: bytes, size: int, realtime: int) -> Entry:
        monotonic = self._microseconds("get_monotonic_usec", ctypes.create_string_buffer(16))
        return Entry(
            message,
            told.kernel_time(realtime, monotonic, self._field(told.SOURCE_MONOTONIC)),
            told.severity_of(self._field(told.PRIORITY)),
            told.kernel_unit(self._field(told.IDENTIFIER)),
            told.fields_of(told.KERNEL),
            size,
            message.count(b"\n") + 1,
        )

    def _microseconds(self, short: str, *more: object) -> int:
        answer = self._library[short](self._handle, self._number, *more)
        if answer < 0:
            raise _DamagedEntry(answer)
        return self._number.value

    def _field(self, name: bytes, longest: int = told.FIELD_MAX) -> bytes | None:
        """Return a copy of a field's value, cut off at ``longest``; None when it is not there."""
        answer = self._get_data(self._handle, name, self._data, self._length)
        if answer < 0:
            if answer == -errno.ENOENT:
                return None
            if -answer in _HOPELESS:
                raise JournalError(f"sd_journal_get_data: {os.strerror(-answer)}")
            raise _DamagedEntry(answer)
        start, length = len(name) + 1, self._length.value
        if not self._data or not start <= length <= _LENGTH_MAX:
            raise _DamagedEntry(-errno.EBADMSG)
        return ctypes.string_at(self._data, min(length, start + longest))[start:]


class _DamagedEntry(Exception):  # noqa: N818 - never leaves this module
    """An entry's data cannot be read."""
