"""Take the operator's word at the control socket and carry it to the pipeline's thread.

One verb, ``feedback``, with an ``action``. The control thread only hands the wish over and waits;
what it does, it does between two ticks, on the thread that owns everything.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from vedette import errand
from vedette.api import Incident, Series, VerdictWord
from vedette.control import ControlError
from vedette.correlate import Correlator
from vedette.feedback import (
    AnyMark,
    FeedbackError,
    Marks,
    Mute,
    Ruling,
    chosen,
    is_pattern,
)
from vedette.feedback_effects import Effects
from vedette.operator_word import OperatorWord
from vedette.table import SeriesTable

log = logging.getLogger(__name__)


class Judge(msgspec.Struct, frozen=True, tag_field="action", tag="judge"):
    """Say of an incident that it was real, or rang for nothing."""

    word: VerdictWord
    id: str
    by: str
    note: str = ""


class Silence(msgspec.Struct, frozen=True, tag_field="action", tag="mute"):
    """Mute an incident's series, a pattern or a family; ``seconds`` None: for ever."""

    by: str
    target: str = ""
    series: str = ""
    resource: str = ""
    seconds: float | None = None
    note: str = ""


class Unmute(msgspec.Struct, frozen=True, tag_field="action", tag="unmute"):
    """End mutes: by number, incident, pattern or resource."""

    target: str
    by: str


class Undo(msgspec.Struct, frozen=True, tag_field="action", tag="undo"):
    """Take a mark back."""

    number: int
    by: str


class List(msgspec.Struct, frozen=True, tag_field="action", tag="list"):
    """Tell all marks."""


class Import(msgspec.Struct, frozen=True, tag_field="action", tag="import"):
    """Take over marks of another host."""

    marks: tuple[AnyMark, ...]
    by: str


Wish = Judge | Silence | Unmute | Undo | List | Import


class Owner(Protocol):
    """What the pipeline offers; but for ``submit`` all of it is for its own thread."""

    @property
    def correlator(self) -> Correlator:
        """Who knows the incidents."""

    @property
    def table(self) -> SeriesTable:
        """Who knows the series."""

    @property
    def word(self) -> OperatorWord:
        """Who knows what was said."""

    def hear(self, marks: Marks, now_ns: int) -> None:
        """Put other marks in force; raises ``OSError`` when they cannot be kept."""

    def submit(self, command: Callable[[], None]) -> None:
        """Run a function on the pipeline's thread, between ticks. From any thread."""


class FeedbackDesk:
    """Answer the verb ``feedback``."""

    def __init__(self, owner: Owner, wall_ns: Callable[[], int], host: str = "") -> None:
        self._owner = owner
        self._wall_ns = wall_ns
        self._host = host or socket.gethostname()

    def handle(self, request: dict[str, Any]) -> Mapping[str, Any]:
        """Do what a request asks for; on the control thread. Raises ``ControlError``."""
        try:
            wish = msgspec.convert(request, Wish)
        except msgspec.ValidationError as error:
            raise ControlError(f"not understood: {error}") from None
        try:
            return errand.run(self._owner.submit, lambda: self.answer(wish))
        except FeedbackError as error:
            raise ControlError(str(error)) from None
        except OSError as error:
            raise ControlError(f"it cannot be kept, nothing was done: {error.strerror}") from None

    def answer(self, wish: Wish) -> Mapping[str, Any]:
        """Do what is wished; on the pipeline's thread. Raises ``FeedbackError``, ``OSError``."""
        now_ns = self._wall_ns()
        marks = self._owner.word.marks
        if isinstance(wish, List):
            return self._told(marks.marks, now_ns)
        if isinstance(wish, Judge):
            incident = chosen(self._owner.correlator.incidents, wish.id)
            changed, judged = marks.judge(wish.word, incident, wish.by, now_ns, wish.note)
            return self._put(changed, [judged], now_ns)
        if isinstance(wish, Silence):
            return self._mute(wish, now_ns)
        if isinstance(wish, Import):
            own = [self._at_home(mark) for mark in wish.marks]
            changed, added = marks.merge(own, now_ns)
            return self._put(changed, added, now_ns) | {"known": len(own) - len(added)}
        if isinstance(wish, Undo):
            changed, gone = marks.undo(wish.number)
            return self._take_back(changed, [gone], wish.by, now_ns)
        changed, muted = marks.unmute(wish.target, now_ns)
        return self._take_back(changed, muted, wish.by, now_ns)

    def _take_back(
        self, marks: Marks, gone: Sequence[AnyMark], by: str, now_ns: int
    ) -> Mapping[str, Any]:
        self._owner.hear(marks, now_ns)
        again = []
        for mark in gone:
            word, about = _what(mark)
            log.info("feedback taken_back=%d by=%r word=%s about=%r", mark.number, by, word, about)
            if isinstance(mark, Ruling):
                before = marks.of_incident(mark.incident, mark.host)
                again += [before] if before is not None else []
        told = [msgspec.to_builtins(mark) for mark in gone]
        return {"host": self._host, "marks": told, "again": self._told(again, now_ns)["marks"]}

    def _mute(self, wish: Silence, now_ns: int) -> Mapping[str, Any]:
        incident = None
        pattern = wish.series
        if is_pattern(wish.target):
            if wish.series:
                raise FeedbackError("give the pattern once: as the argument or with --series")
            pattern = wish.target
        elif wish.target:
            incident = self._incident(wish.target)
        changed, mark = self._owner.word.marks.mute(
            wish.by,
            now_ns,
            None if wish.seconds is None else round(wish.seconds * 1e9),
            incident=incident,
            pattern=pattern,
            resource=wish.resource,
            note=wish.note,
        )
        return self._put(changed, [mark], now_ns)

    def _incident(self, wanted: str) -> Incident:
        try:
            return chosen(self._owner.correlator.incidents, wanted)
        except FeedbackError as error:
            raise FeedbackError(
                f"{error}. A pattern of series has a * or a . in it; a family is --resource NAME"
            ) from None

    def _at_home(self, mark: AnyMark) -> AnyMark:
        """Return a mark that came back to where it was said as this host's own."""
        return msgspec.structs.replace(mark, host="") if mark.host == self._host else mark

    def _put(self, marks: Marks, added: Sequence[AnyMark], now_ns: int) -> dict[str, Any]:
        if added:
            self._owner.hear(marks, now_ns)
        for mark in added:
            log.info(
                "feedback mark=%d by=%r word=%s about=%r host=%r note=%r",
                mark.number,
                mark.by,
                *_what(mark),
                mark.host,
                mark.note,
            )
        return self._told(added, now_ns)

    def _told(self, marks: Sequence[AnyMark], now_ns: int) -> dict[str, Any]:
        """Return marks, each with what it does now."""
        series: list[tuple[Series, str]] = []
        if any(isinstance(mark, Mute) for mark in marks):
            series = [(one, one.key) for one in self._owner.table.series if one is not None]
        effects = Effects(self._owner.word.marks, now_ns)
        told = []
        for mark in marks:
            meant = None
            if isinstance(mark, Mute):
                meant = sum(mark.matches(one, key) for one, key in series)
            told.append(msgspec.to_builtins(mark) | {"effect": effects.of(mark, meant)})
        return {"host": self._host, "marks": told}


def _what(mark: AnyMark) -> tuple[str, str]:
    """Return the word that was said, and about what."""
    if isinstance(mark, Ruling):
        return mark.word, mark.incident
    return "mute", mark.meant
