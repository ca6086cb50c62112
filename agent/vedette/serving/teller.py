"""Read the model servers of a host, and say what they told: samples, events and records.

All that changed at one server at one tick is one event: a restart that brought another model is one
thing that was done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vedette.api import Event, GpuUse, HistogramSample, Record, Sample
from vedette.drift.pages import Pages
from vedette.exposition.scrape import Answer, Scraper, Target
from vedette.serving.asking import alive
from vedette.serving.discovery import BYTES_MAX, TIMEOUT_S
from vedette.serving.health import Health
from vedette.serving.inventory_desk import Desk
from vedette.serving.listening import Listener, Listening, Process
from vedette.serving.served import MODELS_MAX, Served

if TYPE_CHECKING:
    from vedette.serving.gpus import Gpus

log = logging.getLogger(__name__)

#: A server is told of again so often, for receivers that were not there the first time.
TOLD_S = 3_600.0


class Teller:
    """What all servers say; one thread, but ``shown`` may be asked by another.

    ``clock`` is monotonic.
    """

    def __init__(
        self,
        health: Health,
        desk: Desk,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
    ) -> None:
        self.desk = desk
        self._health = health
        self._pages = Pages()
        self._gpus: Gpus | None = None
        self._clock = clock
        self._wall_ns = wall_ns
        self._told_s: dict[str, float] = {}
        #: What changed at this tick, by endpoint, in words that can follow a server's name.
        self._changed: dict[str, list[str]] = {}

    # ------------------------------------------------------------ who they are

    def take(self, url: str, server: str, now_s: float, *, has_page: bool = True) -> Served:
        """Return a server, ready to be read; ``url`` is its page, or where it says it is there."""
        parts = urlsplit(url)
        watch = self.desk.watch(parts.netloc)
        fetch: Callable[[], Answer] = partial(alive, f"{parts.scheme}://{parts.netloc}", parts.path)
        close: Callable[[], None] | None = None
        if has_page:
            scraper = Scraper(Target(url, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX))
            fetch, close = scraper.fetch, scraper.close
        served = Served(
            parts.netloc,
            fetch,
            lambda known: watch.questions.infos(known or server, self._clock()),
            began_s=now_s,
            close=close,
        )
        served.version = watch.inventory.version
        return served

    def know_processes(self, listeners: Sequence[Listener]) -> None:
        """Learn who listens."""
        self.desk.know_processes(listeners, self._wall_ns())

    def note_found(
        self, endpoint: str, process: Process | None, looking_s: float, *, again: bool
    ) -> None:
        """Note that a server was found; that it was started is news where it was looked before."""
        watch = self.desk.watch(endpoint)
        if process is not None and watch.process == process:
            return  # that it was started is told already
        watch.take(process, self._wall_ns())
        if again or self.desk.is_younger(process, looking_s):
            self._note(endpoint, "was started again" if again else "was started")

    def forget(self, endpoint: str) -> None:
        """Let go of a server that is no longer read."""
        self._told_s.pop(endpoint, None)
        self.desk.forget(endpoint)
        self._health.forget(endpoint)

    def close(self) -> None:
        """Keep what is known."""
        self.desk.close()
        self._health.save()

    # ------------------------------------------------------------ what they say

    def read(
        self, one: Served, risen: dict[str, str]
    ) -> Iterator[Sample | HistogramSample | Event]:
        """Read a server once; what rose again goes into ``risen``, with how that is said."""
        now_s, wall_ns = self._clock(), self._wall_ns()
        said = one.read(now_s, wall_ns)
        if one.trouble == "timeout" and self.desk.is_stopped(one.endpoint):
            one.trouble = "stopped"
        yield from said.samples
        yield from self._pages.take(one.endpoint, said.samples, wall_ns)
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

    def note_starts(self, servers: Iterable[Served], risen: Mapping[str, str]) -> None:
        """Say of servers that answer whether they were started again, once.

        That its counters begin anew, or that it answers again, is seen at once, another process
        only at a look: so it was looked after such a thing. Of one that does not answer yet it is
        said when it does.
        """
        for one in servers:
            place = one.endpoint
            words = risen.get(place, "")
            watch, process = self.desk.watch(place), self.desk.process_at(place)
            if one.up and watch.process is not None and process not in (None, watch.process):
                words = "was started again"
                watch.take(process, self._wall_ns())
            if words:
                watch.hasten()
            if words and not any("started" in text for text in self._changed.get(place, ())):
                self._changed.setdefault(place, []).insert(0, words)

    def refresh(self, one: Served) -> None:
        """Look what a server serves."""
        self._note(one.endpoint, *self.desk.refresh(one, self._clock(), self._wall_ns()))

    def on_gpus(
        self,
        servers: Sequence[Served],
        uses: Sequence[GpuUse],
        listening: Listening,
        *,
        alone: bool,
    ) -> Iterator[Sample]:
        """Yield who of the servers uses which GPU, where a collector of GPUs tells of any.

        ``alone``: nobody else looks who is ``listening``.
        """
        if not uses and self._gpus is None:
            return
        from vedette.serving.gpus import Gpus, Server

        if self._gpus is None:
            self._gpus = Gpus(listening, looks=alone)
        here = [Server(one.endpoint, one.server, one.models) for one in servers]
        yield from self._gpus.told(here, uses, self._clock())

    def news(self, servers: Iterable[Served], now_s: float) -> Iterator[Event | Record]:
        """Yield one event of all that changed at each server, and what it is when that is due."""
        for one in servers:
            wall_ns = self._wall_ns()
            changes = self._changed.get(one.endpoint, [])
            if changes:
                text = f"{one.title} on {one.endpoint} {'; '.join(dict.fromkeys(changes))}"
                log.info("model server change=%r", text)
                yield Event(wall_ns, "deploy" if one.up else "outage", one.endpoint, text)
            due = now_s - self._told_s.get(one.endpoint, float("-inf")) >= TOLD_S
            if one.up and (changes or due):
                self._told_s[one.endpoint] = now_s
                yield self._record(one, wall_ns, changes)
        self._changed.clear()

    def shown(self, one: Served) -> dict[str, Any]:
        """Return all that is known of a server, for JSON."""
        return {**self.desk.shown(one), "gpus": self._gpus_of(one)}

    def _note(self, endpoint: str, *texts: str) -> None:
        if texts:
            self._changed.setdefault(endpoint, []).extend(texts)

    def _gpus_of(self, one: Served) -> list[str]:
        return list(self._gpus.of(one.endpoint)) if self._gpus is not None else []

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
            "vedette.model.gpus": self._gpus_of(one),
            "vedette.model.changes": changes[:MODELS_MAX],
            "vedette.model.inventory": self.desk.as_record(one.endpoint),
        }
        models = ", ".join(names[:5]) or "no model that it tells of"
        body = f"{one.title} on {one.endpoint}: {models}"
        return Record("vedette.model.server", wall_ns, body, attributes)
