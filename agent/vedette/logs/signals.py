"""What the detectors of logs are told, and what they say."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from vedette.logs.entry import Severity

Kind = Literal["new_template", "burst", "silence", "missing", "order", "session", "mix", "slot"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Template of a signal that is about none.
NO_TEMPLATE = -1


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """A template that was seen for the first time."""

    template_id: int
    text: str
    severity: Severity = Severity.UNKNOWN


class Grave(msgspec.Struct, frozen=True, gc=False):
    """How many lines of a template were errors in one tick, and how many warnings or graver."""

    errors: int
    warnings: int


NOT_GRAVE = Grave(0, 0)


class Step(msgspec.Struct, frozen=True, gc=False):
    """One line of a session: the session's key and the line's template, in the order read."""

    key: bytes
    template_id: int


class SlotSeen(msgspec.Struct, frozen=True, gc=False):
    """What one variable part of a template held in one tick: numbers, or short texts."""

    template_id: int
    slot: int
    numbers: tuple[float, ...] = ()
    values: tuple[bytes, ...] = ()


class LogSignal(msgspec.Struct, frozen=True):
    """Something strange in the lines of a source.

    ``score`` is in nats (``surprise``), ``text`` says it to a person, ``template_id`` is the
    template it is about (``NO_TEMPLATE``: none), ``since_ns`` Unix ns when it began, ``count`` the
    lines, sessions or values that make it up so far.
    """

    kind: Kind
    template_id: int
    score: float
    text: str
    severity: Severity
    source: str
    since_ns: int
    count: int = 0
