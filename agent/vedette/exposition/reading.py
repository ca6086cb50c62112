"""Read pages of Prometheus text format 0.0.4 or OpenMetrics 1.0 from one server, again and again.

What stands left of a value is the same from page to page, so it is looked up as it is, and the
value after it is all that is read: 1 to 3 million lines a second. A line whose left side is not
known is read by ``strict``, once. Timestamps and exemplars after a known series are
read on the way.

A left side is only remembered when it was found to be a whole series, so a line that begins with
one is that series and nothing else. Of a series that is left out whatever its labels the hash alone
is remembered (64 bits, keyed by the process), not the text: of a model server's page those are two
thirds.

A bad line never costs the others: it is left out, counted, and the first few are named with number
and text. Of two lines for one series the first counts. Everything has a bound (``Caps``); what goes
over is counted. ``verify`` is for those who want to know whether a page keeps to the letter.
"""

from __future__ import annotations

from vedette.exposition.layout import Choice, Layout
from vedette.exposition.model import Caps, Family, FamilyType, Malformed
from vedette.exposition.page import Page
from vedette.exposition.strict import (
    CommentLine,
    is_number,
    metric_name,
    read_comment,
    read_sample,
    time_of,
)
from vedette.exposition.work import Work

_TYPES: dict[str, FamilyType] = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "gaugehistogram": "gaugehistogram",
    "summary": "summary",
    "info": "info",
    "stateset": "stateset",
    "unknown": "unknown",
    "untyped": "unknown",
}
#: Different texts remembered for one series (a server that shuffles its labels has many).
_ALIASES_MAX = 8
_BLANKS = b" \t\r"


#: What stands left of a value, or its hash.
_Text = bytes | int


class Reader:
    """Read the pages of one server. Not for several threads at once."""

    def __init__(self, choice: Choice | None = None, caps: Caps | None = None) -> None:
        self._caps = caps or Caps()
        self._pages = 0
        self._layout = Layout(choice)
        self._slots: dict[_Text, int] = {}
        #: The text of each slot, None for a slot that is free; other texts of the same series.
        self._texts: list[_Text | None] = []
        self._aliases: dict[int, list[_Text]] = {}
        self._free: list[int] = []
        #: Slots whose series left, with the number of the first page without it.
        self._absent: dict[int, int] = {}
        self._said = hash(b"")  # of the comments
        #: What is wrong with them: line, reason.
        self._trouble: list[tuple[bytes, str]] = []
        self._openmetrics = False
        #: Series forgotten since the start.
        self.forgotten = 0

    @property
    def remembered(self) -> int:
        """How many texts are remembered now."""
        return len(self._slots)

    @property
    def names(self) -> frozenset[str]:
        """The names of all families on the pages read lately, those left out included."""
        return self._layout.names

    def read(self, body: bytes, *, openmetrics: bool = False) -> Page:
        """Read a page; ``openmetrics`` as the server's Content-Type says, not as was asked for."""
        self._pages += 1
        self._openmetrics = openmetrics
        work = Work(body, self._caps)
        found, unknown = self._look_up(work.lines)
        comments = [line for line in unknown if line.lstrip(_BLANKS)[:1] == b"#"]
        said = hash(b"\n".join(comments))
        if said != self._said:
            self._said = said
            self._trouble.clear()
            moved = self._layout.declare(self._declared(comments))
            if moved:
                for slot in moved:
                    self._forget(slot)
                found, unknown = self._look_up(work.lines)
        careful = len(work.lines) - len(unknown) > len(found) - found.count(None)
        if not careful:
            careful = not self._rest(unknown, comments, found, work)
        if careful:  # several lines for one series: see which is the first
            work.again()
            found = [None] * len(self._texts)
            self._rest(work.lines, comments, found, work)
        self._layout.settle()
        values = self._numbers(found, work)
        self._leave(values)
        return work.page(self._layout, values)

    # ------------------------------------------------------------ known lines

    def _look_up(self, lines: list[bytes]) -> tuple[list[bytes | None], list[bytes]]:
        """Return the text of the value by slot, and the lines that are not known."""
        found: list[bytes | None] = [None] * len(self._texts)
        unknown = []
        get = self._slots.get
        for line in lines:
            key, _, value = line.rpartition(b" ")
            slot = get(key)
            if slot is None:
                slot = get(hash(key))
            if slot is None:
                unknown.append(line)
            else:
                found[slot] = value
        return found, unknown

    def _numbers(self, found: list[bytes | None], work: Work) -> list[float | None]:
        """Turn texts into numbers; what is none is a fault and not there."""
        there = [text for text in found if text is not None]
        try:
            numbers = list(map(float, there))
        except ValueError:
            numbers = []
        if len(numbers) == len(there) and b"_" not in b" ".join(there):
            if len(there) == len(found):
                return list(numbers)
            rest = iter(numbers)
            return [None if text is None else next(rest) for text in found]
        values: list[float | None] = [None] * len(found)
        for slot, text in enumerate(found):
            if text is None:
                continue
            plain = text.strip().decode("ascii", "replace")
            if is_number(plain):
                values[slot] = float(plain)
            else:
                line = self._line(slot, text, work) if work.names else b""
                reason = f"value {plain[:40]!r} is not a number" if plain else "no value"
                work.fault("line", line, reason)
        return values

    def _line(self, slot: int, text: bytes, work: Work) -> bytes:
        """Return the line of a known series, whose value is ``text``."""
        key = self._texts[slot]
        if not isinstance(key, int):
            return (key or b"") + b" " + text
        ends = b" " + text
        alike = (line for line in work.lines if line.endswith(ends))
        return next((line for line in alike if hash(line.rpartition(b" ")[0]) == key), text)

    def _slot(self, key: bytes) -> int | None:
        """Return the slot of a known series."""
        slot = self._slots.get(key)
        return self._slots.get(hash(key)) if slot is None else slot

    # ------------------------------------------------------------ other lines

    def _rest(
        self, lines: list[bytes], comments: list[bytes], found: list[bytes | None], work: Work
    ) -> bool:
        """Read lines one by one; say whether no series was there before."""
        for line, reason in self._trouble:
            work.fault("comment", line, reason)
        work.end(comments, self._openmetrics)
        work.rewind()
        once = True
        for line in lines:
            if not line or line[:1] == b"#":
                continue
            read = self._odd(line, found, work)
            if read is None:
                continue
            slot, value = read
            if found[slot] is None:
                found[slot] = value
            else:
                once = False
                work.fault("twice", line, "a series that was there before")
        return once

    def _odd(self, line: bytes, found: list[bytes | None], work: Work) -> tuple[int, bytes] | None:
        """Return the slot and value of a line that may be new, unusual or bad."""
        if len(line) <= self._caps.line_bytes:
            known = self._known(line, work)
            if known is not None:
                return known
        if line.lstrip(_BLANKS)[:1] in (b"", b"#"):
            return None
        if work.bad >= self._caps.bad_lines:
            work.leave_out("bad_lines")
            return None
        try:
            slot, value = self._new(line, found, work)
        except Malformed as error:
            work.fault("line", line, str(error))
            return None
        return (slot, value) if slot >= 0 else None

    def _known(self, line: bytes, work: Work) -> tuple[int, bytes] | None:
        """Return the slot and value of a known series, alone or with a timestamp or exemplar."""
        key, _, value = line.rpartition(b" ")
        slot = self._slot(key)
        if slot is not None and is_number(value.decode("ascii", "replace").rstrip()):
            return slot, value
        head, exemplar, _ = line.partition(b" # {")
        key, _, last = head.rpartition(b" ")
        slot = self._slot(key)
        if slot is not None and exemplar:
            work.exemplars += 1
            return slot, last
        key, _, value = key.rpartition(b" ")
        slot = self._slot(key)
        if slot is None or not value:
            return None
        try:
            work.times[slot] = time_of(last.decode("ascii", "replace"), self._openmetrics)
        except Malformed:
            return None
        work.exemplars += bool(exemplar)
        return slot, value

    def _new(self, line: bytes, found: list[bytes | None], work: Work) -> tuple[int, bytes]:
        """Read a line anew and remember its series; the slot is negative where there is no room.

        Raises ``Malformed``.
        """
        name = metric_name(line)
        key, _, value = line.rpartition(b" ")
        whole = key[-1:] == b"}" or key == name.encode()
        if value and whole and b" # {" not in line and self._layout.unwanted(name):
            slot = self._room(found, work)
            if slot >= 0:
                self._layout.leave_out(slot, name)
                self._remember(slot, hash(key))
                work.new += 1
            return slot, value
        if len(self._slots) >= self._caps.series:
            work.strays += not whole
            if whole or work.strays > self._caps.bad_lines:
                work.leave_out("series")  # unread: there may be a great many
                return -1, b""
        sample = read_sample(line, openmetrics=self._openmetrics, caps=self._caps)
        known = self._slot(sample.key)
        if known is None:
            known = self._room(found, work)
            if known < 0:
                return known, b""
            try:
                have = self._layout.add(known, sample.name, sample.labels)
            except Malformed:
                self._free.append(known)
                raise
            if have != known:
                self._free.append(known)
                known = have
            else:
                work.new += 1
            self._remember(known, sample.key)
        if sample.time_s == sample.time_s:
            work.times[known] = sample.time_s
        work.exemplars += sample.exemplar
        return known, repr(sample.value).encode()

    def _room(self, found: list[bytes | None], work: Work) -> int:
        """Return a free slot, or -1 at the cap."""
        if len(self._slots) >= self._caps.series:
            work.leave_out("series")
            return -1
        if self._free:
            return self._free.pop()
        self._texts.append(None)
        found.append(None)
        return len(self._texts) - 1

    def _remember(self, slot: int, key: _Text) -> None:
        if self._texts[slot] is None:
            self._texts[slot] = key
        else:
            aliases = self._aliases.setdefault(slot, [])
            if len(aliases) >= _ALIASES_MAX:
                return
            aliases.append(key)
        self._slots[key] = slot

    # ------------------------------------------------------------ leaving

    def _leave(self, values: list[float | None]) -> None:
        """Forget the series that have not been on the page for long."""
        for slot in [slot for slot in self._absent if values[slot] is not None]:
            del self._absent[slot]
        if values.count(None) == len(self._free):
            return
        gone = []
        for slot, value in enumerate(values):
            if value is None and self._texts[slot] is not None:
                since = self._absent.setdefault(slot, self._pages)
                if self._pages - since >= self._caps.forget_after:
                    gone.append(slot)
        for slot in gone:
            self._forget(slot)
        if gone:
            self.forgotten += len(gone)
            self._layout.settle()

    def _forget(self, slot: int) -> None:
        key = self._texts[slot]
        if key is None:
            return
        for text in (key, *self._aliases.pop(slot, ())):
            del self._slots[text]
        self._texts[slot] = None
        self._free.append(slot)
        self._absent.pop(slot, None)
        self._layout.remove(slot)

    # ------------------------------------------------------------ declarations

    def _declared(self, comments: list[bytes]) -> dict[str, Family]:
        """Gather what the page's comments declare; of two that differ the first counts."""
        found: dict[str, dict[str, str]] = {}
        for line in comments:
            try:
                comment = read_comment(line, openmetrics=self._openmetrics, caps=self._caps)
                if comment is None or comment.word == "EOF":
                    continue
                _note(comment, found.setdefault(comment.name, {}))
            except Malformed as error:
                if len(self._trouble) < self._caps.bad_lines:
                    self._trouble.append((line, str(error)))
        return {
            name: Family(
                name,
                _TYPES.get(said.get("TYPE", ""), "unknown"),
                said.get("UNIT", ""),
                said.get("HELP", "")[: self._caps.label_chars],
            )
            for name, said in found.items()
        }


def _note(comment: CommentLine, said: dict[str, str]) -> None:
    """Note a declaration beside what was said of the name before; raises ``Malformed``."""
    word = comment.word
    if word == "TYPE" and comment.text not in _TYPES:
        raise Malformed(f"{comment.text[:40]!r} is not a type")
    before = said.setdefault(word, comment.text)
    if before != comment.text and word != "HELP":
        raise Malformed(f"{comment.name} was of {word.lower()} {before!r} before")
