"""Find the line of every key of a TOML document, to word a message about it.

No light parser keeps positions, so the text is scanned a second time, and only when there is
something to report. The text must be one that the parser accepted: the scanner checks nothing and
knows just enough of TOML 1.1 to tell keys from values. Where it loses its way it stops, and later
keys have no line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress

import tomli

__all__ = ["Path", "positions"]

#: Where a value stands: keys of tables and indexes of arrays, from the top.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_FILL = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*")
_STRING = re.compile(  # linear: pieces are possessive (of groups, early 3.11 is wrong)
    r'"""(?:[^\\"]++|\\[\s\S]|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^\\"\n]++|\\.)*"'
    r"|'[^'\n]*+'"
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")


def positions(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, at which each table, key and array element begins."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    with suppress(_LostError, tomli.TOMLDecodeError):
        scanner.document()
    return scanner.lines


class _LostError(Exception):
    """The text is not what the scanner understands."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._elements: dict[Path, int] = {}  # arrays of tables: how many so far

    def document(self) -> None:
        table: Path = ()
        self._skip(_FILL)
        while self.at < len(self.text):
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_FILL)

    def _header(self) -> Path:
        line = self._line()
        is_element = self.text.startswith("[[", self.at)
        self.at += 2 if is_element else 1
        parts = self._key()
        self._take("]]" if is_element else "]")
        path: Path = ()
        for position, part in enumerate(parts):
            path += (part,)
            self.lines.setdefault(path, line)
            if is_element and position == len(parts) - 1:
                self._elements[path] = self._elements.get(path, 0) + 1
            if path in self._elements:
                path += (self._elements[path] - 1,)
                self.lines.setdefault(path, line)
        # `[a.b]` may come before `[a]`: what a person wrote as its header is the better place.
        self.lines[path] = line
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path += (part,)
            self.lines.setdefault(path, line)
        self._take("=")
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline_table(path)
        elif self._peek('"') or self._peek("'"):
            self._match(_STRING)
        else:
            self._match(_BARE_VALUE)

    def _array(self, path: Path) -> None:
        self.at += 1
        self._skip(_FILL)
        index = 0
        while not self._peek("]"):
            self.lines.setdefault((*path, index), self._line())
            self._value((*path, index))
            self._skip(_FILL)
            if not self._peek(","):
                break
            self.at += 1
            self._skip(_FILL)
            index += 1
        self._take("]")

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        self._skip(_FILL)
        while not self._peek("}"):
            self._pair(path)
            self._skip(_FILL)
            if not self._peek(","):
                break
            self.at += 1
            self._skip(_FILL)
        self._take("}")

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_BLANK)
            if self._peek('"') or self._peek("'"):
                quoted = self._match(_STRING)
                # The parser's own unescaping; the text was accepted once, so it is again.
                parts.append(str(tomli.loads(f"key = {quoted}")["key"]))
            else:
                parts.append(self._match(_BARE_KEY))
            self._skip(_BLANK)
            if not self._peek("."):
                return parts
            self.at += 1

    def _line(self) -> int:
        return bisect_right(self._starts, self.at)

    def _peek(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def _take(self, token: str) -> None:
        self._skip(_BLANK)
        if not self._peek(token):
            raise _LostError
        self.at += len(token)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None or not match[0]:
            raise _LostError
        self.at = match.end()
        return match[0]
