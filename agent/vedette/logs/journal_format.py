"""Parse the journal's export format as it comes through a pipe, in pieces of any size.

An entry is lines ``FIELD=text``, ended by an empty line. A value with bytes that are no text is
written as a line with the field's name alone, eight bytes of little-endian length, the value, and a
newline (systemd, "Journal Export Formats"). Entries of text alone, nearly all, are cut out and
split in one go; the others are walked through.

Memory is bounded: a value is kept up to its limit, the rest of it is thrown away as it comes. What
breaks the rules costs the entry it is in: parsing goes on after the next empty line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vedette.logs.journal_entry import FIELD_MAX, MESSAGE, MESSAGE_MAX

#: The journal takes no longer values (768 MiB) nor more fields in one entry.
LENGTH_MAX, FIELDS_MAX = 768 << 20, 1024
_NAME_MAX = 64
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_LINE_MAX = _NAME_MAX + 1 + MESSAGE_MAX


class Exported(NamedTuple):
    """One entry: its fields, and the size of the message before it was cut off."""

    fields: Mapping[bytes, bytes]
    size: int


class ExportParser:
    """Make entries of bytes. ``damaged`` counts those that broke the rules.

    Of a field that an entry has twice the first value counts, as it does for the library.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}
        self._fields_seen = 0
        self._size = 0
        #: Bytes of a value to be thrown away, with the newline after it.
        self._excess = 0
        #: Throw away the rest of the line, a message's if so; everything up to an empty line.
        self._in_long_line = self._in_message = self._lost = False

    def feed(self, data: bytes) -> list[Exported]:
        """Return the entries that are complete with these bytes."""
        found: list[Exported] = []
        if self._rest:
            data = self._rest + data
        at, length = 0, len(data)
        while at < length:
            at = self._whole_entries(data, at, found)
            after = self._step(data, at, found) if at < length else at
            if after == at:
                break
            at = after
        self._rest = data[at:]
        return found

    def _whole_entries(self, data: bytes, at: int, found: list[Exported]) -> int:
        """Take the entries of text that are there from ``at`` on; return where they end."""
        if self._fields_seen or self._excess or self._in_long_line or self._lost:
            return at
        while (end := data.find(b"\n\n", at)) >= 0:
            lines = data[at:end].split(b"\n")
            try:
                fields = dict([line.split(b"=", 1) for line in lines])
            except ValueError:  # a name alone: a binary value, which may hold what ended the search
                break
            if len(fields) != len(lines) or len(lines) > FIELDS_MAX:
                break
            size = len(fields.get(MESSAGE, b""))
            if end - at > FIELD_MAX:
                fields = {name: value[: _limit(name)] for name, value in fields.items()}
            found.append(Exported(fields, size))
            at = end + 2
        return at

    def _step(self, data: bytes, at: int, found: list[Exported]) -> int:
        """Go one field further; return where to go on, ``at`` if more bytes are needed for it."""
        if self._lost:
            return self._find_entry(data, at)
        if self._excess:
            return self._throw_away(data, at)
        end = data.find(b"\n", at)
        if self._in_long_line:
            self._in_long_line = end < 0
            self._size += ((len(data) if end < 0 else end) - at) * self._in_message
            return len(data) if end < 0 else end + 1
        if end < 0:
            if len(data) - at <= _LINE_MAX:
                return at
            self._in_long_line, end = True, len(data)
        name, equals, value = data[at:end].partition(b"=")
        if equals:
            self._in_message = name == MESSAGE
            self._keep(name, value, len(value))
            return end + (not self._in_long_line)
        if name:
            return self._binary(data, at, name)
        if self._fields_seen:
            found.append(Exported(self._fields, self._size))
            self._begin()
        return end + 1

    def _binary(self, data: bytes, at: int, name: bytes) -> int:
        begin = at + len(name) + 9
        if len(name) > _NAME_MAX or name.strip(_LETTERS) or name[:1].isdigit():
            return self._lose(at + len(name))
        if len(data) < begin:
            return at
        length = int.from_bytes(data[begin - 8 : begin], "little")
        if length > LENGTH_MAX:
            return self._lose(begin - 8)
        kept = begin + min(length, _limit(name))
        if len(data) < kept:
            return at
        self._keep(name, data[begin:kept], length)
        self._excess = length - (kept - begin) + 1
        return kept

    def _throw_away(self, data: bytes, at: int) -> int:
        after = min(at + self._excess, len(data))
        self._excess -= after - at
        if not self._excess and data[after - 1] != 10:
            return self._lose(after)
        return after

    def _find_entry(self, data: bytes, at: int) -> int:
        end = data.find(b"\n\n", at)
        if end >= 0:
            self._lost = False
            return end + 2
        return max(at, len(data) - 1)

    def _lose(self, at: int) -> int:
        self.damaged += 1
        self._begin()
        self._lost = True
        return at

    def _begin(self) -> None:
        self._fields, self._fields_seen, self._size, self._excess = {}, 0, 0, 0
        self._in_long_line = False

    def _keep(self, name: bytes, value: bytes, length: int) -> None:
        self._fields_seen += 1
        if name not in self._fields and self._fields_seen <= FIELDS_MAX:
            self._fields[name[:_NAME_MAX]] = value[: _limit(name)]
            if name == MESSAGE:
                self._size = length


def _limit(name: bytes) -> int:
    return MESSAGE_MAX if name == MESSAGE else FIELD_MAX
