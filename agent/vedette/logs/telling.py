"""Put what was logged into what is sent: records with counts, and signals in words; all redacted.

A record per template and source that had lines in the window, the gravest and most frequent first;
what is more than ``RECORDS_MAX`` of one window is in the window's own record as a number, so that
the sum of all counts can be proved to be the events that were read. Values of slots are told only
where they are few and nothing in their line is to be hidden; numbers as a distribution, and those
of so many digits that they may be somebody's (a card, a telephone) not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vedette.api import Event, Record
from vedette.logs.digest import Digest
from vedette.logs.entry import Severity
from vedette.logs.ledger import Row
from vedette.logs.miner_template import Template
from vedette.logs.novelty import is_danger
from vedette.logs.signals import Kind, LogSignal
from vedette.logs.slots import SlotSummary
from vedette.logs.topics import topic_of
from vedette.redact.redactor import Redactor
from vedette.redact.tally import Tally

TEMPLATE, WINDOW = "vedette.log.template", "vedette.log.window"
#: Records of one window.
RECORDS_MAX = 1_000
#: Bytes of a template's text, and of a line, that are sent.
TEXT_MAX = 1_000
#: Slots of a template that are told, values of one, and how many a slot may have to be told.
SLOTS_MAX, VALUES_MAX, FEW = 4, 5, 12
#: Values are usual ones when each was there so often, on average.
REPEATED = 4
#: Numbers of more digits are not told.
NUMBER_MAX = 1e9
#: Templates whose redacted text is remembered.
TEXTS_MAX = 4_000

#: What a source did, by the kind of signal.
_DID: Mapping[Kind, str] = {
    "new_template": "logged a line",
    "burst": "logged unusually much:",
    "silence": "fell silent:",
    "missing": "did not log what always follows:",
    "order": "logged out of order:",
    "session": "had unusual sessions:",
    "mix": "logged more trouble than usual:",
    "slot": "logged an unusual value:",
}
#: How grave a signal is by its lines; of silences and values that is nobody's word.
_WORDS = ((Severity.ERROR, "error"), (Severity.WARN, "warning"))


class Teller:
    """Words for what is sent. One thread."""

    def __init__(
        self,
        digest: Digest,
        redactor: Redactor,
        *,
        exemplars: bool = True,
        least: Severity = Severity.UNKNOWN,
    ) -> None:
        self._digest = digest
        self._redactor = redactor
        self._exemplars = exemplars
        self._least = least
        #: What went through the redaction since the start.
        self.tally = Tally()
        self._texts: dict[int, tuple[int, str]] = {}

    # ------------------------------------------------------------ counts

    def window(self, start_ns: int, end_ns: int, facts: Mapping[str, Any]) -> list[Record]:
        """Return the records of the window that ends now; ``facts`` go into its own record."""
        rows = sorted(
            self._digest.ledger.window(),
            key=lambda one: (-one[2].severity, -one[2].count, one[0], one[1]),
        )
        told: list[Record] = []
        events = untold = 0
        for source, template, row in rows:
            events += row.count
            if len(told) < RECORDS_MAX and row.severity >= self._least:
                told.append(self._record(source, template, row, start_ns, end_ns))
            else:
                untold += row.count
        if not rows and not facts.get("lost"):
            return []
        return [*told, self._own(start_ns, end_ns, events, untold, len(rows), facts)]

    def _own(
        self,
        start_ns: int,
        end_ns: int,
        events: int,
        untold: int,
        templates: int,
        facts: Mapping[str, Any],
    ) -> Record:
        sources = {
            source: {
                "events": book.events,
                "lines": book.lines,
                "bytes": book.bytes,
                "warnings": book.warnings,
                "errors": book.errors,
            }
            for source, book in self._digest.ledger.sources.items()
            if book.last_ns >= start_ns
        }
        counts = self.tally.counts()
        merged = {uid: self._digest.uid(into) for uid, into in self._digest.merges.items()}
        attributes = {
            "vedette.window.start": start_ns,
            "vedette.window.end": end_ns,
            "vedette.log.events": events,
            "vedette.log.events.untold": untold,
            "vedette.log.templates": templates,
            "vedette.log.sources": sources,
            **({"vedette.log.merged": merged} if merged else {}),
            "vedette.log.redacted": {
                "texts": counts.pieces,
                "touched": counts.touched,
                "hits": dict(counts.hits),
            },
            **{f"vedette.log.{key}": value for key, value in facts.items()},
        }
        body = f"{events} events of {templates} templates from {len(sources)} sources"
        return Record(WINDOW, end_ns, body, attributes, uid=f"logs/{self._digest.birth}/{end_ns}")

    def _record(self, source: str, number: int, row: Row, start_ns: int, end_ns: int) -> Record:
        template = self._digest.miner.template(number)
        attributes: dict[str, Any] = {
            "vedette.log.source": source,
            "vedette.log.template": template.uid,
            "vedette.log.count": row.count,
            "vedette.log.total": row.total,
            "vedette.log.since": row.since_ns,
            "vedette.log.first": row.first_ns,
            "vedette.log.last": row.last_ns,
            "vedette.window.start": start_ns,
            "vedette.window.end": end_ns,
        }
        if self._exemplars and row.example:
            attributes["vedette.log.exemplar"] = self.redact_line(row.example)
        slots = self._slots(template, number)
        if slots:
            attributes["vedette.log.slots"] = slots
        return Record(
            TEMPLATE,
            end_ns,
            self.text(template),
            attributes,
            severity=row.severity or int(Severity.INFO),
            uid=f"log/{self._digest.birth}/{source}/{template.uid}/{end_ns}",
        )

    def text(self, template: Template) -> str:
        """Return a template's text without what is to be hidden."""
        known = self._texts.get(template.id)
        if known is not None and known[0] == template.version:
            return known[1]
        if len(self._texts) >= TEXTS_MAX:
            self._texts.clear()
        text = self.redact(template.text[:TEXT_MAX])
        self._texts[template.id] = template.version, text
        return text

    # ------------------------------------------------------------ slots

    def _slots(self, template: Template, number: int) -> list[dict[str, Any]]:
        found = []
        for place, slot in enumerate(self._digest.slots.summary(number, template.slots)):
            told = _numbers(slot) or self._values(template, place, slot)
            if told:
                found.append({"slot": place, "form": slot.form, "looked": slot.looked, **told})
            if len(found) >= SLOTS_MAX:
                break
        return found

    def _values(self, template: Template, place: int, slot: SlotSummary) -> dict[str, Any]:
        """Return how many different values there are, and the usual ones where they may be told."""
        told: dict[str, Any] = {"different": round(slot.different, 1)}
        if slot.different > min(FEW, slot.looked / REPEATED):
            return told
        values = []
        for top in slot.top[:VALUES_MAX]:
            value = top.value.decode("utf-8", "replace")
            line = _filled(template.text, place, value)
            # Beside the words around it a value shows what it is: a password, a name.
            if line is None or self.redact(line) != line or self.redact(value) != value:
                return told
            values.append({"value": value, "count": top.count})
        return {**told, "top": values} if values else told

    # ------------------------------------------------------------ signals

    def event(self, signal: LogSignal) -> Event:
        """Return a signal as what may have been the cause of an incident, or is one."""
        text = f"{signal.source} {_DID[signal.kind]} {signal.text}"
        kind = "silence" if signal.kind in ("silence", "missing") else "log"
        return Event(signal.since_ns, kind, signal.source, self.redact(text))

    # ------------------------------------------------------------ redaction

    def redact(self, text: str) -> str:
        """Return a text without what is to be hidden."""
        return self.redact_line(text.encode("utf-8", "surrogatepass"))

    def redact_line(self, line: bytes) -> str:
        """Return a line as text without what is to be hidden, and count what was."""
        redacted = self._redactor.redact(line)
        self.tally.add(len(line), len(redacted.data), redacted.hits)
        return redacted.data.decode("utf-8", "backslashreplace")[:TEXT_MAX]


def strangest(signals: Sequence[LogSignal]) -> Mapping[tuple[str, str, str, str], float]:
    """Return the scores of what rings by source, kind, severity and topic."""
    found: dict[tuple[str, str, str, str], float] = {}
    for one in signals:
        grave = is_danger(one.text) and one.kind in ("new_template", "burst")
        word = "error" if grave else _word(one)
        key = one.source, one.kind, word, topic_of(one.text)
        found[key] = max(found.get(key, 0.0), one.score)
    return found


def _word(signal: LogSignal) -> str:
    return next((word for least, word in _WORDS if signal.severity >= least), "info")


def _numbers(slot: SlotSummary) -> dict[str, Any]:
    """Return the distribution of a slot's numbers; nothing when it has none, or only ids."""
    found = slot.numbers
    if found is None or found.min is None or found.max is None:
        return {}
    if max(abs(found.min), abs(found.max)) > NUMBER_MAX:
        return {"different": round(slot.different, 1)}
    told: dict[str, Any] = {"count": found.count, "min": found.min, "max": found.max}
    if found.sum is not None:
        told["sum"] = found.sum
    for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        told[name] = found.quantile(quantile)
    return told


def _filled(text: str, place: int, value: str) -> str | None:
    """Return a template's text with a value in one of its slots; None if there is no such slot."""
    for at, (start, end) in enumerate(_placeholders(text)):
        if at == place:
            return text[:start] + value + text[end:]
    return None


def _placeholders(text: str) -> Iterator[tuple[int, int]]:
    start = text.find("<")
    while start >= 0:
        end = text.find(">", start)
        if end < 0:
            return
        inside = text[start + 1 : end]
        if inside == "*" or (inside.isalpha() and inside.islower()):
            yield start, end + 1
        start = text.find("<", start + 1)
