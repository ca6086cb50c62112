"""Put together what is told of one inference in several lines: request, response, later its label.

Two tables, each with a bound and a time after which an entry is let go; what leaves unjoined is
counted. A request without its response still tells what was asked, and is given out when it has
waited long enough. An answer is remembered without what was asked, until its label comes. Ids, and
answers that are long texts, are kept as 64 bits of their hash. The tables do not outlive the agent:
what waits when it ends is counted by nobody, and a label of before then finds nothing.

Cost: about 1 µs for a row with an id; 0.3 KiB for an answer that waits.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple

from vedette.drift.distinct import hashed
from vedette.drift.quality import Outcome
from vedette.drift.rows import Row

__all__ = ["Joined", "Joiner"]

#: Halves of inferences that wait for the other one, and for how long.
HALVES_MAX, HALF_S = 2_000, 300.0
#: A class has no longer name.
CLASS_MAX = 64


class Joined(NamedTuple):
    """Whole rows, and outcomes whose label is known, with their models."""

    rows: list[Row]
    outcomes: list[tuple[str, Outcome]]


class _Answer(NamedTuple):
    since_s: float
    model: str
    prediction: Any
    score: float | None


class Joiner:
    """What waits for the rest of it; one thread."""

    def __init__(self, most: int, label_s: float) -> None:
        self._most = most
        self._label_s = label_s
        self._halves: OrderedDict[tuple[str, int], tuple[float, Row]] = OrderedDict()
        self._answers: OrderedDict[int, _Answer] = OrderedDict()
        self._labels: OrderedDict[int, tuple[float, Any]] = OrderedDict()
        #: What left unjoined: ``half``, ``answer`` (its label never came), ``label`` (its answer).
        self.expired: Counter[str] = Counter()
        self.joined = 0

    @property
    def waiting(self) -> int:
        """Entries in all tables."""
        return len(self._halves) + len(self._answers) + len(self._labels)

    def take(self, rows: Iterable[Row], now_s: float) -> Joined:
        """Take rows in order; return what is whole now."""
        whole: list[Row] = []
        outcomes: list[tuple[str, Outcome]] = []
        for row in rows:
            if row.part == "label":
                self._label(row, now_s, outcomes)
            elif row.part and row.id:
                found = self._half(row, now_s)
                if found is not None:
                    whole.append(found)
                    self._answer(found, now_s, outcomes)
            else:
                whole.append(row)
                self._answer(row, now_s, outcomes)
        for row in self._let_go(now_s):
            whole.append(row)
            self._answer(row, now_s, outcomes)
        return Joined(whole, outcomes)

    def flush(self) -> list[Row]:
        """Give out the halves that wait: what was asked counts without its answer."""
        rows = [row for _, row in self._halves.values()]
        self._halves.clear()
        return rows

    def _half(self, row: Row, now_s: float) -> Row | None:
        """Return the whole row when its other half is here."""
        number = hashed(row.id)
        other = "response" if row.part == "request" else "request"
        found = self._halves.pop((other, number), None)
        if found is None:
            self._halves[(row.part, number)] = now_s, row
            return None
        asked, answered = (row, found[1]) if row.part == "request" else (found[1], row)
        return Row(
            asked.model or answered.model,
            row.id,
            asked.fields,
            answered.prediction,
            answered.score,
            answered.label,
        )

    def _answer(self, row: Row, now_s: float, outcomes: list[tuple[str, Outcome]]) -> None:
        """Judge an answer whose label is there, or remember it until it is."""
        if row.prediction is None and row.score is None:
            return
        if row.label is not None:
            outcomes.append((row.model, Outcome(row.prediction, row.score, row.label)))
            return
        if not row.id or not self._most:
            return
        number = hashed(row.id)
        early = self._labels.pop(number, None)
        if early is not None:
            self.joined += 1
            outcomes.append((row.model, Outcome(_short(row.prediction), row.score, early[1])))
            return
        self._answers[number] = _Answer(now_s, row.model, _short(row.prediction), row.score)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
            self.expired["answer"] += 1

    def _label(self, row: Row, now_s: float, outcomes: list[tuple[str, Outcome]]) -> None:
        number = hashed(row.id)
        answer = self._answers.pop(number, None)
        if answer is not None:
            self.joined += 1
            model = answer.model or row.model
            outcomes.append((model, Outcome(answer.prediction, answer.score, _short(row.label))))
            return
        self._labels[number] = now_s, _short(row.label)
        if len(self._labels) > self._most:
            self._labels.popitem(last=False)
            self.expired["label"] += 1

    def _let_go(self, now_s: float) -> Iterable[Row]:
        """Give out halves that have waited long enough, and let go of what waits for labels."""
        while self._halves:
            key, (since_s, row) = next(iter(self._halves.items()))
            if len(self._halves) <= HALVES_MAX and now_s - since_s < HALF_S:
                break
            del self._halves[key]
            self.expired["half"] += 1
            row.part = ""
            yield row
        while self._answers and now_s - next(iter(self._answers.values())).since_s > self._label_s:
            self._answers.popitem(last=False)
            self.expired["answer"] += 1
        while self._labels and now_s - next(iter(self._labels.values()))[0] > self._label_s:
            self._labels.popitem(last=False)
            self.expired["label"] += 1


def _short(value: Any) -> Any:
    """Return what a prediction is compared by: of a long text its hash."""
    if isinstance(value, str) and len(value) > CLASS_MAX:
        return f"#{hashed(value):016x}"
    return value
