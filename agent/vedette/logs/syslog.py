"""Read what syslog puts before a message: the priority of RFC 3164, the header of RFC 5424.

The rest of an RFC 3164 line (stamp, host, tag) is no standard but a habit with many spellings, and
is left to ``headers``, which knows it among others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

#: Parameters of structured data that are kept, and how much of each value.
FIELDS_MAX, FIELD_MAX = 32, 256

_PRIORITY = re.compile(rb"<(\d{1,3})>")
_5424 = re.compile(
    rb"<(\d{1,3})>[1-9]\d{0,2} (-|\d{4}-\d\d-\d\dT\S{8,30}) (\S{1,255}) (\S{1,48}) (\S{1,128})"
    rb" (\S{1,32}) (?=-|\[)"
)
_ELEMENT = re.compile(rb'\[([^ =\]"]{1,64})((?: [^ =\]"]{1,64}="(?:[^"\\]|\\.)*")*)\]', re.DOTALL)
_PARAMETER = re.compile(rb' ([^ =\]"]{1,64})="((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(rb'\\(["\\\]])')
_BOM = b"\xef\xbb\xbf"


class Rfc5424(msgspec.Struct, frozen=True):
    """The header of a line of RFC 5424; what it leaves out (``-``) is empty."""

    priority: int
    stamp: bytes
    host: bytes
    program: bytes
    process: bytes
    message_id: bytes
    fields: Mapping[str, bytes]
    body: bytes


def priority_of(line: bytes) -> tuple[int, int] | None:
    """Return the priority at the start of a line and where the rest begins, None without one.

    RFC 3164 allows 0 to 191: facility times 8 plus severity.
    """
    found = _PRIORITY.match(line)
    if found is None or int(found[1]) > 191:
        return None
    return int(found[1]), found.end()


def parse_5424(line: bytes) -> Rfc5424 | None:
    """Return a line of RFC 5424 taken apart, None when it is none.

    A byte order mark before the message is dropped. Structured data that breaks the rules ends
    where it does: the rest is message, so nothing is lost.
    """
    found = _5424.match(line)
    if found is None or int(found[1]) > 191:
        return None
    stamp, host, program, process, message_id = (
        b"" if found[group] == b"-" else found[group] for group in range(2, 7)
    )
    fields: dict[str, bytes] = {}
    at = found.end()
    if line[at : at + 1] == b"-":
        at += 1
    else:
        at = _structured_data(line, at, fields)
    body = line[at:].removeprefix(b" ").removeprefix(_BOM)
    return Rfc5424(int(found[1]), stamp, host, program, process, message_id, fields, body)


def _structured_data(line: bytes, at: int, fields: dict[str, bytes]) -> int:
    for _ in range(FIELDS_MAX):
        element = _ELEMENT.match(line, at)
        if element is None:
            break
        name = text_of(element[1])
        for key, value in _PARAMETER.findall(element[2]):
            if len(fields) < FIELDS_MAX:
                fields[f"{name}.{text_of(key)}"] = _ESCAPED.sub(rb"\1", value)[:FIELD_MAX]
        at = element.end()
    return at


def text_of(name: bytes) -> str:
    """Return a name as text, whatever bytes it is made of."""
    return name.decode("utf-8", "backslashreplace")
