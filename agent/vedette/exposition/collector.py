"""Collector ``openmetrics``: any page of metrics in the formats of Prometheus and OpenMetrics.

A target that cannot be had is a reading, not an absence: ``vedette.target.up`` is 0, and it is
asked again at the next tick. As ``Unavailable`` it would rest for a minute, later for an hour, and
there would be no series that says so; a server that restarts has to be seen when it is back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from vedette.api import Collector, Event, Observation, Sample, gauge
from vedette.exposition.book import Book, Meaning, Told
from vedette.exposition.meaning import TARGET
from vedette.exposition.model import Fault
from vedette.exposition.options import OpenMetricsConfig, names_of
from vedette.exposition.page import Page
from vedette.exposition.reading import Reader
from vedette.exposition.scrape import Answer, Scraper
from vedette.exposition.wire import NoPage

log = logging.getLogger(__name__)

_KEYS = [TARGET]
#: The agent's own series of a target, which have room in any case.
OWN_SERIES = 10


class _View(msgspec.Struct, frozen=True):
    """How a target is doing, for somebody at the control socket."""

    up: bool = False
    reason: str = "not asked yet"
    since_ns: int = 0
    series: int = 0
    cut: int = 0
    faults: tuple[str, ...] = ()
    mixed: bool = False


class OpenMetrics(Collector):
    """Pages of metrics in the formats of Prometheus and OpenMetrics, one table for each target."""

    name = "openmetrics"
    Config = OpenMetricsConfig
    default = False
    stability = "beta"
    source = "the target's page of metrics"
    interval_s = 10.0
    timeout_s = 10.0
    open_ended = True

    up = gauge(
        "vedette.target.up",
        "1",
        "1 when the page could be had and is one of metrics, else 0.",
        _KEYS,
        resource="service",
        alarm="low",
    )
    silence = gauge(
        "vedette.target.silence",
        "s",
        "Time since the page could be had last, or since the agent began to ask; 0 while it can.",
        _KEYS,
        resource="service",
        alarm="high",
    )
    duration = gauge(
        "vedette.target.duration",
        "s",
        "Time until the whole page was there, or until it was clear that there is none.",
        _KEYS,
        resource="service",
        alarm="never",
    )
    series = gauge(
        "vedette.target.series",
        "{series}",
        "Series that are told of the target.",
        _KEYS,
        resource="service",
        alarm="never",
    )
    faults = gauge(
        "vedette.target.faults",
        "{line}",
        "Lines of the newest page that could not be read; all others were.",
        _KEYS,
        resource="service",
        alarm="never",
    )
    cut = gauge(
        "vedette.target.cut",
        "1",
        "What of the newest page was left out for want of room: bytes or lines of it, lines of new "
        "series (`texts`), bad lines that were not looked at, or series (`series`).",
        [*_KEYS, "vedette.target.limit"],
        resource="service",
        alarm="never",
    )

    def __init__(self, config: OpenMetricsConfig) -> None:
        super().__init__(config)
        self.config: OpenMetricsConfig = config
        self.wall_ns = time.time_ns
        self.monotonic = time.monotonic
        self._scraper: Scraper | None = None
        self._reader: Reader | None = None
        self._book: Book | None = None
        self._target = ""
        self._page_at_s = 0.0
        self._cuts: dict[str, int] = {"series": 0}
        self._view = _View()

    def collect(self) -> list[Observation]:
        scraper = self._scraper or self._begin()
        began_s = self.monotonic()
        try:
            answer = scraper.fetch()
            page, told = self._read(answer)
        except NoPage as error:
            self._note_down(str(error))
            return [*self._own(False, self.monotonic() - began_s)]
        found: list[Observation] = [*self._own(True, answer.seconds), *self._of_page(page, told)]
        found += told.samples
        found += told.histograms
        if told.restarted:
            text = f"{self._target} restarted"
            found.append(Event(self.wall_ns(), "restart", self._target, text))
        return found

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if question != "target":
            raise LookupError(f"collector {self.name} answers 'target', nothing else")
        return {"target": self._target, "url": self.config.url, **msgspec.to_builtins(self._view)}

    def close(self) -> None:
        scraper, self._scraper = self._scraper, None
        if scraper is not None:
            scraper.close()

    # ------------------------------------------------------------ reading

    def _begin(self) -> Scraper:
        config = self.config
        if self._book is None:
            self._target = self._called()
            self._page_at_s = self.monotonic()
            self._reader = Reader(config.choice(), config.caps())
            self._book = Book(
                Meaning(
                    self._target,
                    max(config.series - OWN_SERIES, 0),
                    names_of(config.counters),
                    names_of(config.watch),
                    config.info,
                    config.resource,
                )
            )
        self._scraper = Scraper(config.target())
        return self._scraper

    def _called(self) -> str:
        """Return the id of this instance, which the agent has in the name of its directory.

        Where there is none, it is host and port of the address.
        """
        _, _, id_ = PurePath(self.state_dir).name.partition(f"{self.name}.")
        if id_:
            return id_
        parts = urlsplit(self.config.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def _read(self, answer: Answer) -> tuple[Page, Told]:
        """Read a page; raises ``NoPage`` for one in which nothing is a metric."""
        assert self._reader is not None  # noqa: S101 - of _begin
        assert self._book is not None  # noqa: S101
        page = self._reader.read(answer.body, openmetrics=answer.openmetrics)
        if page.fault_counts.get("line") and not page.sizes.series:
            raise NoPage("not metrics", f"no line is a metric: {_why(page.faults)}")
        now_s = self.monotonic()
        told = self._book.take(page, now_s, self.wall_ns() / 1e9)
        self._page_at_s = now_s
        self._note_up(page, told)
        return page, told

    def _own(self, up: bool, seconds: float) -> Iterator[Sample]:
        target = self._target
        yield self.up(float(up), target)
        yield self.silence(0.0 if up else self.monotonic() - self._page_at_s, target)
        yield self.duration(seconds, target)

    def _of_page(self, page: Page, told: Told) -> Iterator[Sample]:
        target = self._target
        yield self.series(told.series, target)
        yield self.faults(sum(page.fault_counts.values()), target)
        cuts = dict.fromkeys(self._cuts, 0)  # what was cut once is told from then on
        for name, count in page.over.items():
            cuts["texts" if name == "series" else name] = count
        cuts["series"] = told.cut
        self._cuts = cuts
        for name, count in cuts.items():
            yield self.cut(count, target, name)

    # ------------------------------------------------------------ how it is doing

    def _note_up(self, page: Page, told: Told) -> None:
        before = self._view
        mixed = self._book is not None and self._book.mixed
        if not before.up:
            log.info("target=%s state=up series=%d", self._target, told.series)
        if mixed and not before.mixed:
            log.warning("target=%s several workers answer in turn: no counters", self._target)
        if told.cut and not before.cut:
            log.warning("target=%s has too many series: %d left out", self._target, told.cut)
        self._view = _View(
            up=True,
            reason="",
            since_ns=before.since_ns if before.up else self.wall_ns(),
            series=told.series,
            cut=told.cut,
            faults=tuple(str(fault) for fault in page.faults),
            mixed=mixed,
        )

    def _note_down(self, reason: str) -> None:
        before = self._view
        if before.up or not before.since_ns:
            log.warning("target=%s state=down reason=%r", self._target, reason)
        since_ns = self.wall_ns() if before.up or not before.since_ns else before.since_ns
        self._view = _View(up=False, reason=reason, since_ns=since_ns)


def _why(faults: tuple[Fault, ...]) -> str:
    return faults[0].reason if faults else "unreadable"
