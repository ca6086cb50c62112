"""Collector ``model_servers``: every model server on this host, found by itself, in one vocabulary.

Each 30 s it is looked who listens (``discovery``; at the next tick where a look ended before all
were asked), each 10 s every server found is read. Servers
are read one after the other, those that answer first; one that hangs costs its time limit, and is
then asked at each third tick only. What they serve is asked each 30 s (``inventory_watch``). All
that changed at one server at one tick is one event: a restart that brought another model is one
thing that was done. What is told of a server whose process is gone is that it is
down, for ``MISSED_S``, unless another takes its place: a server that was killed has to be seen. One
that answered for less than ``SETTLED_S`` is not missed, a trial or a test, unless it was started
again before.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vedette.api import Collector, Event, Instrument, Observation, Record, Unavailable, gauge
from vedette.drift.pages import Pages
from vedette.drift.series import OF_PAGES
from vedette.exposition.reading import Reader
from vedette.exposition.scrape import Answer, Scraper, Target
from vedette.serving.asking import alive
from vedette.serving.candidates import Candidate
from vedette.serving.discovery import BYTES_MAX, TIMEOUT_S, Discovery, Found, confirmed
from vedette.serving.gpus import MEMORY, STALE_S, TOKENS_PER_JOULE, Gpus, Server
from vedette.serving.health import Health
from vedette.serving.health_series import HEALTH
from vedette.serving.listening import Listener, Listening
from vedette.serving.recognise import declared, recognise
from vedette.serving.served import DERIVED, MODELS_MAX, Served
from vedette.serving.settings import ModelServersConfig
from vedette.serving.vocabulary import ENDPOINT, INSTRUMENTS, SERVER

if TYPE_CHECKING:
    from vedette.serving.inventory_desk import Desk

log = logging.getLogger(__name__)

LOOK_S = 30.0
SERVERS_MAX = 32
MISSED_S = 1_800.0
SETTLED_S = 120.0
#: Time of one tick after which the servers left are read at the next one.
TICK_S = 8.0
#: A server is told of again so often, for receivers that were not there the first time.
TOLD_S = 3_600.0


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

    gpu_memory = MEMORY
    tokens_per_joule = TOKENS_PER_JOULE

    def __init__(self, config: ModelServersConfig) -> None:
        super().__init__(config)
        self.config: ModelServersConfig = config
        self.wall_ns = time.time_ns
        self.monotonic = time.monotonic
        self._ignored = [re.compile(fnmatch.translate(one)) for one in config.ignore]
        self._listening: Listening | None = None
        self._gpus: Gpus | None = None
        self._discovery: Discovery | None = None
        self._look_s = float("-inf")
        self._began_s = float("inf")
        self._served: dict[str, Served] = {}
        self._closing: dict[str, Scraper] = {}
        self._desk: Desk | None = None
        self._health: Health | None = None
        self._gone_s: dict[str, float] = {}
        #: Servers that are gone and not missed, and those that came again.
        self._brief: set[str] = set()
        self._again: set[str] = set()
        self._told_s: dict[str, float] = {}
        self._proposed: dict[str, str] = {}
        #: What changed at this tick, by endpoint, in words that can follow a server's name.
        self._changed: dict[str, list[str]] = {}
        self._pages = Pages()

    @classmethod
    def instruments(cls) -> Iterator[Instrument]:
        yield from super().instruments()
        yield from INSTRUMENTS
        yield from OF_PAGES
        for derived in DERIVED.values():
            yield from derived.values()
        yield from HEALTH

    def probe(self) -> None:
        if self.config.discover == "off" and not self.config.pages:
            raise Unavailable("no pages are named, and nothing is looked for")

    def collect(self) -> Iterator[Observation]:
        now_s = self.monotonic()
        self._began_s = min(self._began_s, now_s)
        self._changed = {}
        unfinished = self._discovery is not None and self._discovery.is_unfinished
        if unfinished or now_s - self._look_s >= LOOK_S:
            self._look(now_s)
        told: list[Observation] = []
        risen: dict[str, str] = {}
        fell = False
        for one in sorted(self._served.values(), key=lambda one: not one.up):
            if self._is_late(now_s):
                break
            was_up = one.up
            told += self._read(one, risen)
            fell = fell or (was_up and not one.up)
        if risen or fell:
            self._look(now_s)
            told += [x for one in self._fresh() for x in self._read(one, {})]
        self._note_starts(risen)
        for one in list(self._served.values()):
            if one.up and not self._is_late(now_s):
                self._refresh(one)
        if self._desk is not None:
            self._desk.step()
        for url, one in self._served.items():
            if url not in self._brief:
                yield from self._state(one, now_s)
        yield from told
        yield from self._on_gpus(now_s)
        for one in self._served.values():
            yield from self._news(one, now_s)

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if question != "list":
            raise LookupError(f"collector {self.name} answers 'list', nothing else")
        discovery = self._discovery
        return {
            "discover": self.config.discover,
            "servers": [
                {**self.desk.shown(one), "gpus": list(self._gpus_of(one))}
                for one in list(self._served.values())
            ],
            "digests_left": self._desk.left_bytes if self._desk is not None else 0,
            "proposed": dict(self._proposed),
            "refused": dict(discovery.refused) if discovery is not None else {},
        }

    def close(self) -> None:
        for scraper in self._closing.values():
            scraper.close()
        self._closing.clear()
        self._served.clear()
        if self._desk is not None:
            self._desk.close()
        self._desk = None
        if self._health is not None:
            self._health.save()
        self._discovery = self._listening = self._gpus = None
        self._look_s = float("-inf")

    def whose(self, cgroup: str) -> tuple[str, str]:
        """Return the unit and the container of a control group; empty where there is none."""
        from vedette.serving.inventory_holder import whose

        return whose(cgroup)

    @property
    def desk(self) -> Desk:
        """What the servers serve; loaded with the first one."""
        if self._desk is None:
            from vedette.serving.inventory_desk import Desk

            self._desk = Desk(
                self.config,
                self.host.proc,
                self.state_dir,
                whose=self.whose,
                is_ignored=self._is_ignored,
                clock=self.monotonic,
            )
        return self._desk

    # ------------------------------------------------------------ which there are

    def _look(self, now_s: float) -> None:
        self._look_s = now_s
        for url in self.config.pages:
            if url not in self._served:
                self._take(url, "", now_s)
        if self.config.discover != "off":
            self._discover(now_s)
        for url, gone_s in list(self._gone_s.items()):
            if now_s - gone_s > MISSED_S:
                self._forget(url)
        if self._served:
            self.desk.know_processes(self._listeners(), self.wall_ns())

    def _discover(self, now_s: float) -> None:
        if self._discovery is None:
            self._discovery = Discovery(
                self._sockets(),
                self._is_wanted,
                is_ignored=self._is_ignored,
                confirm=confirmed,
            )
        came, gone = self._discovery.look(now_s)
        for found in gone:
            served = self._served.get(found.url)
            if served is not None:
                self._gone_s[found.url] = now_s
                if self._was_brief(served, found):
                    self._brief.add(found.url)
        for found in came:
            if self.config.discover == "propose":
                self._proposed[found.url] = found.candidate.why
                log.info("model server found url=%s why=%r", found.url, found.candidate.why)
            else:
                self._add(found, now_s)

    def _was_brief(self, served: Served, found: Found) -> bool:
        """Say whether a server that ended had just been started, for the first time."""
        process = found.listener.process
        if found.url in self._again:
            return False
        young = process is None or self.desk.is_younger(process, SETTLED_S)
        return young and served.answered_s < SETTLED_S

    def _add(self, found: Found, now_s: float) -> None:
        """Take up a server; one that is new where another was is a restart."""
        url = found.url
        again = self._gone_s.pop(url, None) is not None
        self._brief.discard(url)
        if again:
            self._again.add(url)
        before = self._served.get(url)
        if before is not None:
            self._drop(url)
        if len(self._served) >= SERVERS_MAX:
            log.warning("model server left out, there are too many url=%s", url)
            return
        served = self._take(url, found.candidate.server, now_s, has_page=found.has_page)
        if before is not None and found.candidate.server in ("", before.server):
            served.who = before.who  # until its page says who it is now
        log.info("model server found url=%s why=%r", url, found.candidate.why)
        process = found.listener.process
        watch = self.desk.watch(served.endpoint)
        if process is not None and watch.process == process:
            return  # that it was started is told already
        watch.take(process, self.wall_ns())
        looking_s = self.monotonic() - self._began_s
        if again or self.desk.is_younger(process, looking_s):
            self._note(served.endpoint, "was started again" if again else "was started")

    def _listeners(self) -> list[Listener]:
        """Return who listens, which discovery has just looked at, where it does."""
        if self._discovery is not None:
            return self._discovery.listeners
        return self._sockets().look() if self.config.inventory else []

    def _sockets(self) -> Listening:
        if self._listening is None:
            self._listening = Listening(self.host.proc)
        return self._listening

    def _take(self, url: str, server: str, now_s: float, *, has_page: bool = True) -> Served:
        parts = urlsplit(url)
        endpoint = parts.netloc
        watch = self.desk.watch(endpoint)
        fetch: Callable[[], Answer] = partial(alive, f"{parts.scheme}://{endpoint}", parts.path)
        if has_page:
            target = Target(url, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX)
            scraper = self._closing[url] = Scraper(target)
            fetch = scraper.fetch
        served = self._served[url] = Served(
            endpoint,
            fetch,
            lambda known: watch.questions.infos(known or server, self.monotonic()),
            began_s=now_s,
        )
        served.version = watch.inventory.version
        return served

    def _drop(self, url: str) -> None:
        self._served.pop(url, None)
        self._gone_s.pop(url, None)
        scraper = self._closing.pop(url, None)
        if scraper is not None:
            scraper.close()

    def _forget(self, url: str) -> None:
        served = self._served.get(url)
        self._drop(url)
        self._brief.discard(url)
        self._again.discard(url)
        if served is not None:
            self._told_s.pop(served.endpoint, None)
            self.desk.forget(served.endpoint)
            if self._health is not None:
                self._health.forget(served.endpoint)

    def _is_wanted(self, answer: Answer, candidate: Candidate) -> bool:
        page = Reader().read(answer.body, openmetrics=answer.openmetrics)
        who = recognise(page, declared(answer.body))
        # A page may be empty before the first request; who has it says what it is.
        return who.adapter is not None or (bool(candidate.server) and not page.sizes.series)

    def _is_ignored(self, place: str) -> bool:
        return any(one.match(place) for one in self._ignored)

    # ------------------------------------------------------------ what they say

    def _read(self, one: Served, risen: dict[str, str]) -> Iterator[Observation]:
        now_s, wall_ns = self.monotonic(), self.wall_ns()
        said = one.read(now_s, wall_ns)
        yield from said.samples
        yield from self._pages.take(one.endpoint, said.samples, wall_ns)
        if self._health is None:
            self._health = Health(self.config.slo, self.state_dir)
        yield from self._health.step(one, said, now_s, wall_ns)
        if self._gpus is not None:
            self._gpus.note(one.endpoint, said.samples)
        self._note(one.endpoint, *said.changes)
        watch = self.desk.watch(one.endpoint)
        if said.models:
            watch.hasten()
            if not watch.inventory.complete:
                self._note(one.endpoint, *said.models)
        if said.restarted or said.returned:
            risen[one.endpoint] = "was restarted" if said.restarted else "answers again"

    def _note_starts(self, risen: Mapping[str, str]) -> None:
        """Say of servers that answer whether they were started again, once.

        That its counters begin anew, or that it answers again, is seen at once, another process
        only at a look: so it was looked after such a thing. Of one that does not answer yet it is
        said when it does.
        """
        for one in self._served.values():
            place = one.endpoint
            words = risen.get(place, "")
            watch, process = self.desk.watch(place), self.desk.process_at(place)
            if one.up and watch.process is not None and process not in (None, watch.process):
                words = "was started again"
                watch.take(process, self.wall_ns())
            if words:
                watch.hasten()
            if words and not any("started" in text for text in self._changed.get(place, ())):
                self._changed.setdefault(place, []).insert(0, words)

    def _fresh(self) -> list[Served]:
        """Return the servers that were not read yet."""
        return [one for one in self._served.values() if one.is_new]

    def _refresh(self, one: Served) -> None:
        """Look what it serves."""
        changes = self.desk.refresh(one, self.monotonic(), self.wall_ns())
        self._note(one.endpoint, *changes)

    def _note(self, endpoint: str, *texts: str) -> None:
        if texts:
            self._changed.setdefault(endpoint, []).extend(texts)

    def _is_late(self, began_s: float) -> bool:
        return self.monotonic() - began_s > TICK_S

    def _news(self, one: Served, now_s: float) -> Iterator[Observation]:
        """Yield one event of all that changed at a server, and what it is when that is due."""
        wall_ns = self.wall_ns()
        changes = self._changed.get(one.endpoint, [])
        if changes:
            text = f"{one.title} on {one.endpoint} {'; '.join(dict.fromkeys(changes))}"
            log.info("model server change=%r", text)
            yield Event(wall_ns, "deploy", one.endpoint, text)
        due = now_s - self._told_s.get(one.endpoint, float("-inf")) >= TOLD_S
        if one.up and (changes or due):
            self._told_s[one.endpoint] = now_s
            yield self._record(one, wall_ns, changes)

    def _on_gpus(self, now_s: float) -> Iterator[Observation]:
        """Yield who of the servers uses which GPU, where a collector of GPUs tells of any."""
        uses = self.gpu_uses.known(now_s - STALE_S)
        if uses and self._gpus is None:
            alone = self.config.discover == "off" and not self.config.inventory
            self._gpus = Gpus(self._sockets(), looks=alone)
        if self._gpus is not None:
            here = [Server(one.endpoint, one.server, one.models) for one in self._served.values()]
            yield from self._gpus.told(here, uses, now_s)

    def _gpus_of(self, one: Served) -> tuple[str, ...]:
        return self._gpus.of(one.endpoint) if self._gpus is not None else ()

    def _record(self, one: Served, wall_ns: int, changes: list[str]) -> Record:
        names = self.desk.names(one)
        attributes = {
            "vedette.model.endpoint": one.endpoint,
            "vedette.model.server": one.server,
            "vedette.model.release": one.who.release.name if one.who.release else "",
            "vedette.model.version": one.version or one.who.version,
            "vedette.model.names": names[:MODELS_MAX],
            "vedette.model.since": one.since_ns,
            "vedette.model.evidence": list(one.who.evidence),
            "vedette.model.missing": list(one.missing),
            "vedette.model.gpus": list(self._gpus_of(one)),
            "vedette.model.changes": changes[:MODELS_MAX],
            "vedette.model.inventory": self.desk.as_record(one.endpoint),
        }
        models = ", ".join(names[:5]) or "no model that it tells of"
        body = f"{one.title} on {one.endpoint}: {models}"
        return Record("vedette.model.server", wall_ns, body, attributes)

    def _state(self, one: Served, now_s: float) -> Iterator[Observation]:
        place = one.endpoint, one.server
        yield self.up(float(one.up), *place)
        yield self.silence(0.0 if one.up else now_s - one.page_s, *place)
        yield self.missing(len(one.missing), *place)
