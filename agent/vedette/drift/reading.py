"""Read lines of JSON as inferences, of whatever format they are; count what is none.

Each line is looked at by itself, so files with requests of several sorts are read as well; the
fields of lines of one's own are learned, from the first ``LEARN`` of each new form. A line that
cannot be read is counted under one of a few reasons and costs nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from vedette.drift.chat import chat_row, is_chat
from vedette.drift.generic import FieldsConfig, Generic, learned
from vedette.drift.payloads import PayloadError, event_rows, is_event, is_payload, payload_rows
from vedette.drift.rows import Row

__all__ = ["FORMATS", "REASONS", "Format", "Reader"]

Format = Literal["auto", "generic", "kserve", "openai"]
FORMATS: tuple[Format, ...] = ("auto", "generic", "kserve", "openai")
REASONS = ("no JSON", "no object", "no payload", "no inference")
LEARN = 50
#: Members of lines that are known; a log with more names its members by what is in them.
SEEN_MAX = 2_000


class Reader:
    """Lines of one source of logs; one thread."""

    def __init__(self, format: Format = "auto", fields: FieldsConfig | None = None) -> None:
        self.format = format
        #: Lines that are no inference, by one of ``REASONS``; and the last of them, how.
        self.malformed: Counter[str] = Counter()
        self.last_reason = ""
        self.lines = 0
        given = fields is not None and fields.given
        self._generic = Generic(fields) if fields is not None and given else None
        self._is_given = given
        self._seen: set[str] = set()
        self._decode = msgspec.json.Decoder().decode

    @property
    def fields(self) -> FieldsConfig:
        """Where things are in a line of one's own, as given or learned."""
        return self._generic.fields if self._generic is not None else FieldsConfig()

    def learn(self, fields: FieldsConfig) -> None:
        """Take what an earlier run has learned."""
        if self._generic is None and fields.given:
            self._generic = Generic(fields)

    def read(self, lines: Sequence[bytes]) -> list[Row]:
        """Return the inferences in these lines, in order."""
        self.lines += len(lines)
        objects = [one for one in map(self._object, lines) if one is not None]
        if self.format in ("auto", "generic") and not self._is_given:
            self._look(objects)
        rows: list[Row] = []
        for one in objects:
            try:
                found = self._rows(one)
            except PayloadError as error:
                self._bad("no payload", str(error))
                continue
            except (RecursionError, TypeError, ValueError, OverflowError) as error:
                self._bad("no inference", type(error).__name__)
                continue
            if not found:
                self._bad("no inference", "nothing of it is called like one")
            rows += found
        return rows

    def _look(self, objects: Sequence[dict[str, Any]]) -> None:
        """Learn where things are by lines that have a member that none had before.

        What was found stays; labels, for one, may come in lines of their own much later.
        """
        seen = self._seen
        fresh = [one for one in objects if one.keys() - seen]
        fresh = [one for one in fresh[:LEARN] if self.format == "generic" or not _known(one)]
        if not fresh or len(seen) >= SEEN_MAX:
            return
        seen.update(*fresh)
        found, before = learned(fresh), self.fields
        if self._generic is not None:
            kept = {name: getattr(before, name) for name in before.__struct_fields__}
            found = msgspec.structs.replace(found, **{k: v for k, v in kept.items() if v})
        if self._generic is None or found != before:
            self._generic = Generic(found)

    def _object(self, line: bytes) -> dict[str, Any] | None:
        try:
            found = self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = _lenient(line)
            if found is None:
                if line.strip():
                    self._bad("no JSON", "not JSON")
                return None
        if not isinstance(found, dict):
            self._bad("no object", f"a {type(found).__name__}, not an object")
            return None
        return found

    def _rows(self, line: dict[str, Any]) -> Iterable[Row]:
        form = self.format
        if form != "generic" and _known(line):
            if form != "openai" and is_event(line):
                return event_rows(line)
            if form != "kserve" and is_chat(line):
                row = chat_row(line)
                return [row] if row is not None else []
            if form != "openai":
                return _payloads(line)
        if form in ("auto", "generic") and self._generic is not None:
            row = self._generic.row(line)
            return [row] if row is not None else []
        return []

    def _bad(self, reason: str, how: str) -> None:
        self.malformed[reason] += 1
        self.last_reason = f"{reason}: {how}"


def _known(line: dict[str, Any]) -> bool:
    return (
        is_event(line)
        or is_chat(line)
        or is_payload(line)
        or is_payload(line.get("request"))
        or is_payload(line.get("response"))
    )


def _payloads(line: dict[str, Any]) -> list[Row]:
    """Return the rows of a payload without an event, or of a request with its response."""
    model = str(line.get("model_name") or line.get("model") or "")
    id_ = str(line.get("id") or line.get("request_id") or "")
    request, response = line.get("request"), line.get("response")
    if not is_payload(request) and not is_payload(response):
        asks = "instances" in line or "inputs" in line or "names" in (line.get("data") or ())
        part = ("request" if asks else "response") if id_ else ""
        return payload_rows(line, model, id_, part)
    asked = payload_rows(request, model, id_, "") if is_payload(request) else []
    answered = payload_rows(response, model, id_, "response") if is_payload(response) else []
    if len(asked) != len(answered):
        return asked or [msgspec.structs.replace(one, part="") for one in answered]
    for one, other in zip(asked, answered, strict=True):
        one.prediction, one.score = other.prediction, other.score
        one.model = one.model or other.model
    return asked


def _lenient(line: bytes) -> Any:
    """Read JSON with the ``NaN`` and ``Infinity`` that Python writes; None: it is none."""
    if b"NaN" not in line and b"Infinity" not in line:
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
