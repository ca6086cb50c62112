"""Collector ``inference_log``: what served models are asked and answer, beside their baselines.

Every few seconds new lines are read (by the tail of ``logs``), taken for inferences, joined by id
and counted, model by model. At the end of a window it is compared; the verdict stands, as series,
until the next one. Rules of the detector ``level`` make findings of it, one incident a model.
No record, no id and no text leaves this host, nor is any kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from vedette.api import Collector, Instrument, Observation, Record, Unavailable, counter, updown
from vedette.drift import series
from vedette.drift.answering import answer
from vedette.drift.baseline import Baseline, BaselineError, read
from vedette.drift.joining import Joiner
from vedette.drift.keeping import Keeper, Kept
from vedette.drift.options import InferenceLogConfig
from vedette.drift.quality import Outcome
from vedette.drift.reading import REASONS, Reader
from vedette.drift.rows import Row
from vedette.drift.verdict import ModelVerdict
from vedette.drift.watching import ModelWatch, Reached
from vedette.logs.tail import Tail
from vedette.logs.tail_settings import TailSettings

log = logging.getLogger(__name__)

#: Seconds of a tick in which lines are read; what is left waits, and is told as backlog.
READ_FOR_S = 1.0
BLOCK_BYTES = 1 << 20
SAVE_S = 60.0
NAME_MAX = 100
#: A model of which nothing came for so long has no series any more.
SILENT_NS = 6 * 3_600_000_000_000
_ID = "vedette.target"


class InferenceLog(Collector):
    """Logs of what models were asked and answered: drift, schema, quality."""

    name = "inference_log"
    Config = InferenceLogConfig
    default = False
    stability = "beta"
    source = "logs of inferences in lines of JSON"
    interval_s = 5.0
    timeout_s = 20.0
    may_block = "seldom"

    inferences = counter(
        "vedette.model.inferences",
        "{inference}",
        "Inferences of the model that its log has told of.",
        [series.MODEL],
        resource="model",
        alarm="never",
    )
    labels = counter(
        "vedette.model.quality.labels",
        "{label}",
        "Labels that were joined with what the model had answered.",
        [series.MODEL],
        resource="model",
        alarm="never",
    )
    malformed = counter(
        "vedette.inference_log.malformed",
        "{line}",
        "Lines that could not be taken for an inference, by reason.",
        [_ID, "error.type"],
        resource="log",
        alarm="never",
    )
    lines = counter(
        "vedette.inference_log.lines",
        "{line}",
        "Lines that were read.",
        [_ID],
        resource="log",
        alarm="never",
    )
    behind = updown(
        "vedette.inference_log.backlog",
        "By",
        "Bytes that are known and not read yet.",
        [_ID],
        resource="log",
        alarm="never",
    )
    lost = counter(
        "vedette.inference_log.lost",
        "By",
        "Bytes that vanished before they could be read, as far as is known.",
        [_ID],
        resource="log",
        alarm="never",
    )
    expired = counter(
        "vedette.inference_log.expired",
        "1",
        "What waited by its id for the rest of it and was let go: `half` (a request without its "
        "response, or the other way), `answer` (whose label never came), `label` (of no answer).",
        [_ID, "vedette.inference_log.part"],
        resource="log",
        alarm="never",
    )
    dropped = counter(
        "vedette.inference_log.dropped",
        "1",
        "What there was no room for: inferences of too many models (`model`), fields (`field`).",
        [_ID, "vedette.inference_log.limit"],
        resource="log",
        alarm="never",
    )

    def __init__(self, config: InferenceLogConfig) -> None:
        super().__init__(config)
        self.config: InferenceLogConfig = config
        self.wall_ns = time.time_ns
        self.monotonic = time.monotonic
        self._lock = threading.Lock()
        self._tail: Tail | None = None
        self._id = ""
        self._reader = Reader(config.format, config.fields)
        self._joiner = self._make_joiner()
        self._baseline: Baseline | None = None
        self._watches: dict[str, ModelWatch] = {}
        self._last_ns: dict[str, int] = {}
        self._dropped: Counter[str] = Counter()
        self._keeper = Keeper("")
        self._saved_s = 0.0
        self._changed = False
        self._hours = 0

    @classmethod
    def instruments(cls) -> Iterator[Instrument]:
        yield from super().instruments()
        yield from series.INSTRUMENTS

    def probe(self) -> None:
        if not self.config.paths:
            raise Unavailable("no paths are named")
        if self.config.baseline:
            self._baseline = self._read_baseline()

    def collect(self) -> Iterator[Observation]:
        with self._lock:
            tail = self._tail or self._begin()
            now_ns = self.wall_ns()
            records = self._read(tail, now_ns)
            if self._changed and self.monotonic() - self._saved_s >= SAVE_S:
                self._save(tail)
            samples = list(self._samples(tail, now_ns))
        yield from samples
        yield from records

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            tail = self._tail
            what = {
                "target": self._id,
                "files": sorted(tail.paths) if tail is not None else [],
                "troubles": dict(tail.troubles) if tail is not None else {},
                "lines": self._reader.lines,
                "malformed": dict(self._reader.malformed),
                "last_malformed": self._reader.last_reason,
                "fields": self._reader.fields,
                "waiting": self._joiner.waiting,
                "joined": self._joiner.joined,
            }
            return answer(self._watches, question, arguments, what, self.wall_ns())

    def close(self) -> None:
        with self._lock:
            tail, self._tail = self._tail, None
            if tail is None:
                return
            self._take(self._joiner.flush(), [], self.wall_ns())
            self._save(tail)
            tail.close()

    # ------------------------------------------------------------ reading

    def _make_joiner(self) -> Joiner:
        return Joiner(self.config.joins, float(self.config.label_wait))

    def _read_baseline(self) -> Baseline:
        try:
            return read(Path(self.config.baseline))
        except BaselineError as error:
            raise Unavailable(str(error)) from None

    def _begin(self) -> Tail:
        """Take up what an earlier run left, and open everything."""
        config = self.config
        _, _, id_ = PurePath(self.state_dir).name.partition(f"{self.name}.")
        self._id = id_ or "default"
        if config.baseline and self._baseline is None:
            self._baseline = self._read_baseline()
        self._keeper = Keeper(self.state_dir)
        kept, hours = self._keeper.load()
        root = "" if self.host.root == "/" else self.host.root.rstrip("/")
        patterns = tuple(f"{root}{one}" for one in config.paths)
        tail = Tail(TailSettings(patterns, exclude=(), begin=config.begin, budget=BLOCK_BYTES))
        tail.restore(kept.positions, self.monotonic())
        self._reader = Reader(config.format, config.fields)
        self._reader.learn(kept.fields)
        self._joiner = self._make_joiner()
        self._watches = {}
        for model, state in kept.watches.items():
            watch = self._watch(model)
            try:
                if watch is not None:
                    watch.restore(state, hours.get(model, ()))
            except ValueError as error:
                log.warning("inference log: what was kept of model=%s is lost: %s", model, error)
                del self._watches[model]
        self._saved_s, self._tail = self.monotonic(), tail
        return tail

    def _read(self, tail: Tail, now_ns: int) -> list[Record]:
        records: list[Record] = []
        began_s = self.monotonic()
        while True:
            chunks = tail.poll(self.monotonic())
            rows = [row for chunk in chunks for row in self._reader.read(chunk.lines)]
            joined = self._joiner.take(rows, self.monotonic())
            self._changed = self._changed or bool(chunks)
            records += self._take(joined.rows, joined.outcomes, now_ns)
            if not tail.backlog or self.monotonic() - began_s >= READ_FOR_S:
                return records

    def _take(
        self, rows: list[Row], outcomes: list[tuple[str, Outcome]], now_ns: int
    ) -> list[Record]:
        of_model: dict[str, tuple[list[Row], list[Outcome]]] = {}
        for row in rows:
            of_model.setdefault(self._named(row.model), ([], []))[0].append(row)
        for model, outcome in outcomes:
            of_model.setdefault(self._named(model), ([], []))[1].append(outcome)
        told: list[Record] = []
        for model, (asked, judged) in of_model.items():
            watch = self._watch(model)
            if watch is None:
                self._dropped["model"] += len(asked)
                continue
            self._last_ns[model] = now_ns
            told += self._reach(watch, asked, judged, now_ns)
        for model, watch in self._watches.items():
            if model not in of_model:
                told += self._reach(watch, [], [], now_ns)
        return told

    def _reach(
        self, watch: ModelWatch, rows: list[Row], outcomes: list[Outcome], now_ns: int
    ) -> Iterator[Record]:
        before = watch.verdict
        for reached in watch.take(rows, outcomes, now_ns):
            self._saved_s = float("-inf")  # what a window came to is kept at once
            yield from self._tell(watch, before, reached, now_ns)
            before = watch.verdict

    def _tell(
        self, watch: ModelWatch, before: ModelVerdict | None, reached: Reached, now_ns: int
    ) -> Iterator[Record]:
        verdict, model = reached.verdict, watch.model
        if verdict is None:
            log.info("model=%s baseline=learned records=%d", model, reached.learned)
            body = f"model {model}: a baseline was learned of its first {reached.learned} records"
            yield Record("vedette.model.baseline", now_ns, body, {series.MODEL: model})
            return
        was_bad = before is not None and before.bad
        if verdict.bad and not was_bad:
            fields = ",".join(one.field for one in verdict.drifted[:8])
            log.warning("model=%s state=drifted fields=%r", model, fields)
        elif was_bad and not verdict.bad:
            log.info("model=%s state=as its baseline", model)
        if verdict.bad or was_bad:
            yield series.record(verdict, now_ns)

    def _named(self, model: str) -> str:
        return model[:NAME_MAX] or self.config.model or self._id

    def _watch(self, model: str) -> ModelWatch | None:
        found = self._watches.get(model)
        if found is None and len(self._watches) < self.config.models:
            base = usual = None
            if self._baseline is not None:
                base = self._baseline.models.get(model)
                usual = self._baseline.usual.get(model)
            config = self.config
            found = ModelWatch(model, config.lengths(), config.thresholds(), base, usual)
            self._watches[model] = found
            if base is None:
                log.info("model=%s baseline=none learning=%d records", model, config.learn)
        return found

    def _save(self, tail: Tail) -> None:
        hours = {model: one.hours for model, one in self._watches.items()}
        newest = sum(of_model[-1][0] for of_model in hours.values() if of_model)
        if newest != self._hours and self._keeper.save_hours(hours):
            self._hours = newest
        self._saved_s, self._changed = self.monotonic(), False
        self._keeper.save(
            Kept(
                positions=tail.positions(self.monotonic()),
                fields=self._reader.fields,
                watches={model: one.state() for model, one in self._watches.items()},
            )
        )

    # ------------------------------------------------------------ series

    def _samples(self, tail: Tail, now_ns: int) -> Iterator[Observation]:
        yield self.lines(self._reader.lines, self._id)
        yield self.behind(tail.backlog, self._id)
        yield self.lost(tail.counters.lost_bytes, self._id)
        for reason in REASONS:
            yield self.malformed(self._reader.malformed[reason], self._id, reason)
        for part in ("half", "answer", "label"):
            yield self.expired(self._joiner.expired[part], self._id, part)
        fields = sum(one.turned_away for one in self._watches.values())
        yield self.dropped(self._dropped["model"], self._id, "model")
        yield self.dropped(fields, self._id, "field")
        for model, watch in self._watches.items():
            yield self.inferences(watch.total, model)
            yield self.labels(watch.labels, model)
            if watch.verdict is not None and now_ns - self._last_ns.get(model, 0) < SILENT_NS:
                yield from series.samples(watch.verdict)
