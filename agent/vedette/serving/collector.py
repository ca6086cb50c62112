"""Collector ``model_servers``: every model server on this host, found by itself, in one vocabulary.

Each 30 s it is looked who listens (``discovery``), each 10 s every server found is read. Servers
are read one after the other, those that answer first; one that hangs costs its time limit, and is
then asked at each third tick only. What is told of a server whose process is gone is that it is
down, for ``MISSED_S``, unless another takes its place: a server that was killed has to be seen.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vedette.api import Collector, Event, Instrument, Observation, Record, Unavailable, gauge
from vedette.drift.pages import Pages
from vedette.drift.series import OF_PAGES
from vedette.exposition.reading import Reader
from vedette.exposition.scrape import Answer, Scraper, Target
from vedette.serving.asking import ask
from vedette.serving.candidates import HINTS, Candidate
from vedette.serving.discovery import BYTES_MAX, TIMEOUT_S, Discovery, Found
from vedette.serving.listening import Listening
from vedette.serving.recognise import Info, declared, recognise
from vedette.serving.served import DERIVED, Served
from vedette.serving.vocabulary import ENDPOINT, INSTRUMENTS, SERVER

log = logging.getLogger(__name__)

LOOK_S = 30.0
SERVERS_MAX = 32
MISSED_S = 1_800.0
#: Time of one tick after which the servers left are read at the next one.
TICK_S = 8.0
#: A server is told of again so often, for receivers that were not there the first time.
TOLD_S = 3_600.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_INFO = {hint.server: hint.info for hint in HINTS}


class ModelServersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model servers are read."""

    discover: Annotated[
        Literal["on", "propose", "off"],
        Meta(
            description="`on`: servers found on this host are read. `propose`: they are only told "
            "of, in the log and by `vedette models list`. `off`: nothing is looked for."
        ),
    ] = "on"
    pages: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses of pages of metrics of model servers that are read in any case, "
            "such as http://127.0.0.1:8000/metrics."
        ),
    ] = ()
    ignore: Annotated[
        tuple[str, ...],
        Meta(description="Servers that are not asked for anything, by globs of address:port."),
    ] = ()

    def __post_init__(self) -> None:
        for url in self.pages:
            problems = Target(url).problems()
            if problems:
                raise ValueError(f"pages: {problems[0]}")


class ModelServers(Collector):
    """vLLM, SGLang, Triton, TorchServe, Ray Serve and others on this host."""

    name = "model_servers"
    Config = ModelServersConfig
    stability = "beta"
    source = "pages of metrics of model servers on this host"
    interval_s = 10.0
    timeout_s = 10.0

    up = gauge(
        "vedette.model.server.up",
        "1",
        "1 when the server's page of metrics could be had, else 0.",
        [ENDPOINT, SERVER],
        resource="model",
        alarm="low",
    )
    silence = gauge(
        "vedette.model.server.silence",
        "s",
        "Time since the server's page could be had last; 0 while it can.",
        [ENDPOINT, SERVER],
        resource="model",
        alarm="never",
    )
    missing = gauge(
        "vedette.model.server.missing",
        "{metric}",
        "Signals that this server should tell and does not: its metrics have other names now.",
        [ENDPOINT, SERVER],
        resource="model",
        alarm="never",
    )

    def __init__(self, config: ModelServersConfig) -> None:
        super().__init__(config)
        self.config: ModelServersConfig = config
        self.wall_ns = time.time_ns
        self.monotonic = time.monotonic
        self._ignored = [re.compile(fnmatch.translate(one)) for one in config.ignore]
        self._discovery: Discovery | None = None
        self._look_s = float("-inf")
        self._began_s = float("inf")
        self._served: dict[str, Served] = {}
        self._scrapers: dict[str, Scraper] = {}
        self._gone_s: dict[str, float] = {}
        self._told_s: dict[str, float] = {}
        self._proposed: dict[str, str] = {}
        self._pages = Pages()

    @classmethod
    def instruments(cls) -> Iterator[Instrument]:
        yield from super().instruments()
        yield from INSTRUMENTS
        yield from OF_PAGES
        for derived in DERIVED.values():
            yield from derived.values()

    def probe(self) -> None:
        if self.config.discover == "off" and not self.config.pages:
            raise Unavailable("no pages are named, and nothing is looked for")

    def collect(self) -> Iterator[Observation]:
        now_s = self.monotonic()
        self._began_s = min(self._began_s, now_s)
        told: list[Observation] = []
        if now_s - self._look_s >= LOOK_S:
            self._look_s = now_s
            told += self._look(now_s)
        waiting = sorted(self._served.values(), key=lambda one: not one.up)
        for one in waiting:
            if self.monotonic() - now_s > TICK_S:
                break
            told += self._read(one)
        for one in self._served.values():
            yield from self._state(one, now_s)
        yield from told

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if question != "list":
            raise LookupError(f"collector {self.name} answers 'list', nothing else")
        discovery = self._discovery
        return {
            "discover": self.config.discover,
            "servers": [_shown(one) for one in list(self._served.values())],
            "proposed": dict(self._proposed),
            "refused": dict(discovery.refused) if discovery is not None else {},
        }

    def close(self) -> None:
        for scraper in self._scrapers.values():
            scraper.close()
        self._scrapers.clear()
        self._served.clear()
        self._discovery = None
        self._look_s = float("-inf")

    # ------------------------------------------------------------ which there are

    def _look(self, now_s: float) -> Iterator[Observation]:
        for url in self.config.pages:
            if url not in self._served:
                self._take(url, "", now_s)
        if self.config.discover != "off":
            yield from self._discover(now_s)
        for url, gone_s in list(self._gone_s.items()):
            if now_s - gone_s > MISSED_S:
                self._drop(url)

    def _discover(self, now_s: float) -> Iterator[Observation]:
        if self._discovery is None:
            listening = Listening(self.host.proc)
            self._discovery = Discovery(listening, self._is_wanted, is_ignored=self._is_ignored)
        came, gone = self._discovery.look(now_s)
        for found in gone:
            if found.url in self._served:
                self._gone_s[found.url] = now_s
        for found in came:
            if self.config.discover == "propose":
                self._proposed[found.url] = found.candidate.why
                log.info("model server found url=%s why=%r", found.url, found.candidate.why)
                continue
            yield from self._add(found, now_s)

    def _add(self, found: Found, now_s: float) -> Iterator[Observation]:
        """Take up a server; one that is new where another was is a restart."""
        url = found.url
        again = self._gone_s.pop(url, None) is not None
        if url in self._served:
            self._drop(url)
        if len(self._served) >= SERVERS_MAX:
            log.warning("model server left out, there are too many url=%s", url)
            return
        served = self._take(url, found.candidate.server, now_s)
        log.info("model server found url=%s why=%r", url, found.candidate.why)
        if again or self._is_young(found):
            what = "was started again" if again else "was started"
            text = f"the model server on {served.endpoint} {what}"
            yield Event(self.wall_ns(), "deploy", served.endpoint, text)

    def _is_young(self, found: Found) -> bool:
        """Say whether the process of a server was started after this began to look."""
        process = found.listener.process
        uptime_s = _uptime_s(self.host.proc)
        if process is None or uptime_s is None:
            return False
        age_s = uptime_s - process.started / _TICKS_PER_S
        return age_s < self.monotonic() - self._began_s

    def _take(self, url: str, server: str, now_s: float) -> Served:
        parts = urlsplit(url)
        endpoint = parts.netloc
        base = f"{parts.scheme}://{endpoint}"
        scraper = self._scrapers[url] = Scraper(
            Target(url, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX)
        )
        served = self._served[url] = Served(
            endpoint, scraper.fetch, lambda: _asked(base, server), began_s=now_s
        )
        return served

    def _drop(self, url: str) -> None:
        self._served.pop(url, None)
        self._gone_s.pop(url, None)
        scraper = self._scrapers.pop(url, None)
        if scraper is not None:
            scraper.close()

    def _is_wanted(self, answer: Answer, candidate: Candidate) -> bool:
        page = Reader().read(answer.body, openmetrics=answer.openmetrics)
        who = recognise(page, declared(answer.body))
        # A page may be empty before the first request; who has it says what it is.
        return who.adapter is not None or (bool(candidate.server) and not page.sizes.series)

    def _is_ignored(self, place: str) -> bool:
        return any(one.match(place) for one in self._ignored)

    # ------------------------------------------------------------ what they say

    def _read(self, one: Served) -> Iterator[Observation]:
        now_s, wall_ns = self.monotonic(), self.wall_ns()
        said = one.read(now_s, wall_ns)
        yield from said.samples
        yield from self._pages.take(one.endpoint, said.samples, wall_ns)
        changes = [*said.changes]
        if said.restarted:
            changes.append(f"{one.title} on {one.endpoint} was restarted")
        for text in changes:
            log.info("model server change=%r", text)
            yield Event(wall_ns, "deploy", one.endpoint, text)
        due = now_s - self._told_s.get(one.endpoint, float("-inf")) >= TOLD_S
        if one.up and (changes or due):
            self._told_s[one.endpoint] = now_s
            yield self._record(one, wall_ns)

    def _record(self, one: Served, wall_ns: int) -> Record:
        attributes = {
            "vedette.model.endpoint": one.endpoint,
            "vedette.model.server": one.server,
            "vedette.model.release": one.who.release.name if one.who.release else "",
            "vedette.model.version": one.who.version,
            "vedette.model.names": list(one.models),
            "vedette.model.since": one.since_ns,
            "vedette.model.evidence": list(one.who.evidence),
            "vedette.model.missing": list(one.missing),
        }
        models = ", ".join(one.models[:5]) or "no model that it tells of"
        body = f"{one.title} on {one.endpoint}: {models}"
        return Record("vedette.model.server", wall_ns, body, attributes)

    def _state(self, one: Served, now_s: float) -> Iterator[Observation]:
        place = one.endpoint, one.server
        yield self.up(float(one.up), *place)
        yield self.silence(0.0 if one.up else now_s - one.page_s, *place)
        yield self.missing(len(one.missing), *place)


def _uptime_s(proc: str) -> float | None:
    try:
        with open(f"{proc}/uptime", "rb") as file:
            return float(file.read(64).split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _asked(base: str, server: str) -> list[Info]:
    """Ask what confirms a server; of one that nobody named, what most of them answer."""
    paths = _INFO.get(server) or ("/v1/models", "/v2")
    found = (ask(base, path, TIMEOUT_S / 2) for path in paths[:2])
    return [one for one in found if one is not None]


def _shown(one: Served) -> Mapping[str, Any]:
    return {
        "endpoint": one.endpoint,
        "server": one.server,
        "title": one.title,
        "up": one.up,
        "reason": one.reason,
        "since": one.since_ns,
        "models": list(one.models),
        "confidence": one.who.confidence,
        "evidence": list(one.who.evidence),
        "missing": list(one.missing),
        "blind": list(one.blind),
        "cut": one.cut,
    }
