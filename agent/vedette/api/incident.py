"""What is found: findings, and incidents that a person can act on."""

from __future__ import annotations

from typing import Literal

import msgspec

from vedette.api.readings import Series

Severity = Literal["info", "warning", "critical"]
IncidentState = Literal["open", "resolved"]
VerdictWord = Literal["ack", "false-alarm"]


class Finding(msgspec.Struct, frozen=True):
    """A series is abnormal since ``since_ns`` (Unix ns, the first strange reading).

    ``p`` is the calibrated tail probability of the strangest reading so far (0 for a violated
    level rule), ``observed`` the reading furthest out so far, ``low`` and ``high`` the band that
    was expected before it began (NaN: no such side).
    """

    series: Series
    detector: str
    since_ns: int
    last_ns: int
    severity: Severity
    p: float
    observed: float
    low: float
    high: float
    text: str = ""


class Suspect(msgspec.Struct, frozen=True):
    """Who or what may have caused an incident: a process, an event, or a series that moved first.

    ``kind`` is ``process`` (or another sort of entity), ``event`` or ``series``. ``text`` is what
    it does or did, ``reason`` why it is suspected. ``time_ns`` is when it happened or turned
    strange, Unix ns; 0 of what has no such time.
    """

    kind: str
    name: str
    id: str
    share: float
    text: str
    reason: str = ""
    time_ns: int = 0

    @property
    def label(self) -> str:
        """Who it is, for a person: ``process stress (4711)``."""
        which = f" ({self.id})" if self.id not in ("", self.name) else ""
        return f"{self.kind} {self.name}{which}"


class Track(msgspec.Struct, frozen=True):
    """Raw values of one series around an incident, evenly spaced; None = not read."""

    series: str
    unit: str
    start_ns: int
    step_ns: int
    values: tuple[float | None, ...]
    low: float | None = None
    high: float | None = None


class Strength(msgspec.Struct, frozen=True):
    """How strong the finding of one series by one head was at its strongest.

    ``ratio`` is in multiples of the threshold; 0: a rule of the operator's own, which is violated
    or not.
    """

    series: str
    head: str
    ratio: float


class Verdict(msgspec.Struct, frozen=True):
    """What the operator said of an incident: seen and real (``ack``), or rung for nothing.

    ``by`` is a user's name, ``time_ns`` when it was said (Unix ns), ``note`` why.
    """

    word: VerdictWord
    by: str
    time_ns: int
    note: str = ""


class Incident(msgspec.Struct, frozen=True):
    """Findings that belong together, as one thing a person can act on.

    Times are Unix ns: ``onset_ns`` when the first series turned strange, ``opened_ns`` when the
    agent was sure. ``title`` is the plain sentence. ``resource`` is the family that is about,
    ``entities`` are the things it is about, the first the one that the sentence names
    (``mount /var``, ``disk sda``, ``memory``). ``strengths`` say how strong its findings were,
    ``verdict`` what the operator said of it.
    """

    id: str
    state: IncidentState
    severity: Severity
    resource: str
    title: str
    onset_ns: int
    opened_ns: int
    updated_ns: int
    resolved_ns: int | None
    series: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    evidence: tuple[Track, ...] = ()
    detectors: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    strengths: tuple[Strength, ...] = ()
    verdict: Verdict | None = None
