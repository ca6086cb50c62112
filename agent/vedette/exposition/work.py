"""Gather what comes up while one page is read: faults, counted and the first few named."""

from __future__ import annotations

from vedette.exposition.layout import Layout
from vedette.exposition.model import Caps, Fault
from vedette.exposition.page import Page, Sizes

_TEXT_SHOWN = 120
_BOM = b"\xef\xbb\xbf"
_EOF = b"# EOF"


class Work:
    """The lines of one page, its faults, its timestamps, and what was left out."""

    def __init__(self, body: bytes, caps: Caps) -> None:
        self.bad = 0
        self.strays = 0  # lines read although there is no room, being of an unusual form
        self.new = 0
        self.exemplars = 0
        self.times: dict[int, float] = {}
        self._caps = caps
        self._bytes = len(body)
        self._counts: dict[str, int] = {}
        self._faults: list[Fault] = []
        self._over: dict[str, int] = {}
        self._at = 0
        if len(body) > caps.bytes:
            cut = body.rfind(b"\n", 0, caps.bytes) + 1
            self._over["bytes"] = len(body) - cut
            body = body[:cut]
        self.lines = body.removeprefix(_BOM).split(b"\n")
        if not self.lines[-1]:
            self.lines.pop()
        if len(self.lines) > caps.lines:
            self._over["lines"] = len(self.lines) - caps.lines
            del self.lines[caps.lines :]

    @property
    def names(self) -> bool:
        """Whether a fault is one of the first, whose line is named."""
        return len(self._faults) < self._caps.faults_named

    def fault(self, kind: str, line: bytes, reason: str, number: int = -1) -> None:
        """Count a fault; name it when it is one of the first."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self.bad += kind == "line"
        if not self.names:
            return
        if number < 0:
            number = self._number(line)
        text = line[:_TEXT_SHOWN].decode("utf-8", "backslashreplace")
        self._faults.append(Fault(number, text, reason))

    def again(self) -> None:
        """Begin anew with the lines."""
        self.bad = self.strays = self.exemplars = 0
        self.times.clear()
        self._counts.clear()
        self._faults.clear()
        self._over = {cap: self._over[cap] for cap in ("bytes", "lines") if cap in self._over}

    def rewind(self) -> None:
        """Look for the numbers of lines from the start of the page again."""
        self._at = 0

    def _number(self, line: bytes) -> int:
        """Return a line's number; lines are asked for in the order of the page."""
        try:
            self._at = self.lines.index(line, self._at) + 1
        except ValueError:
            try:
                return self.lines.index(line) + 1
            except ValueError:
                return 0
        return self._at

    def leave_out(self, cap: str) -> None:
        """Count a line left out because of a cap."""
        self._over[cap] = self._over.get(cap, 0) + 1

    def end(self, comments: list[bytes], openmetrics: bool) -> None:
        """See whether the page has its end, and has it at the end."""
        ends = comments.count(_EOF)
        last = bool(self.lines) and self.lines[-1] == _EOF
        if openmetrics and not ends and not self._over:
            self.fault("end", b"", "no # EOF: the page was cut off", 0)
        elif ends > last:
            self.fault("end", b"", "lines after # EOF", 0)

    def page(self, layout: Layout, values: list[float | None]) -> Page:
        """Make the page."""
        return Page(
            layout.kept,
            values,
            self.times,
            faults=tuple(self._faults),
            fault_counts=self._counts,
            over=self._over,
            sizes=Sizes(
                self._bytes,
                len(self.lines),
                len(values) - values.count(None),
                self.new,
                self.exemplars,
            ),
        )
