"""Collector ``model_servers``: every model server on this host, found by itself, in one vocabulary.

Each 30 s it is looked who listens (``roster``), each 10 s every server found is read. Servers are
read one after the other, those that answer first; one that hangs costs its time limit, and is then
asked at each third tick only. What they serve is asked each 30 s (``inventory_watch``).

What reads, maps and judges pages is loaded with the first server (``teller``): a host without one
pays for the look alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vedette.api import Collector, Instrument, Observation, Unavailable, gauge
from vedette.drift.series import OF_PAGES
from vedette.serving.derived import DERIVED
from vedette.serving.gpu_series import MEMORY, STALE_S, TOKENS_PER_JOULE
from vedette.serving.health_series import HEALTH
from vedette.serving.listening import Listening
from vedette.serving.roster import Roster
from vedette.serving.settings import ModelServersConfig
from vedette.serving.vocabulary import ENDPOINT, INSTRUMENTS, SERVER

if TYPE_CHECKING:
    from vedette.serving.teller import Teller

#: Time of one tick after which the servers left are read at the next one.
TICK_S = 8.0


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
        self._listening: Listening | None = None
        self._roster: Roster | None = None
        self._teller: Teller | None = None

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
        roster = self.roster
        if roster.is_due(now_s):
            roster.look(now_s)
        if self._teller is not None:
            yield from self._told(roster, self._teller, now_s)

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if question != "list":
            raise LookupError(f"collector {self.name} answers 'list', nothing else")
        roster, teller = self._roster, self._teller
        servers = roster.servers if roster is not None else []
        return {
            "discover": self.config.discover,
            "servers": [teller.shown(one) for one in servers] if teller is not None else [],
            "digests_left": teller.desk.left_bytes if teller is not None else 0,
            "proposed": dict(roster.proposed) if roster is not None else {},
            "refused": roster.refused if roster is not None else {},
        }

    def close(self) -> None:
        if self._roster is not None:
            self._roster.close()
        if self._teller is not None:
            self._teller.close()
        if self._listening is not None:
            self._listening.close()
        self._roster = self._teller = self._listening = None

    def whose(self, cgroup: str) -> tuple[str, str]:
        """Return the unit and the container of a control group; empty where there is none."""
        from vedette.serving.inventory_holder import whose

        return whose(cgroup)

    @property
    def listening(self) -> Listening:
        """Who listens on this host."""
        if self._listening is None:
            self._listening = Listening(self.host.proc)
        return self._listening

    @property
    def roster(self) -> Roster:
        """Which servers there are."""
        if self._roster is None:
            self._roster = Roster(self.config, self.listening, lambda: self.teller, self.monotonic)
        return self._roster

    @property
    def teller(self) -> Teller:
        """What the servers say; loaded with the first one."""
        if self._teller is None:
            from vedette.serving.health import Health
            from vedette.serving.inventory_desk import Desk
            from vedette.serving.teller import Teller

            desk = Desk(
                self.config,
                self.host.proc,
                self.state_dir,
                whose=self.whose,
                is_ignored=self.roster.is_ignored,
                clock=self.monotonic,
            )
            health = Health(self.config.slo, self.state_dir)
            self._teller = Teller(health, desk, self.monotonic, self.wall_ns)
        return self._teller

    def _told(self, roster: Roster, teller: Teller, now_s: float) -> Iterator[Observation]:
        """Read all servers once; yield what they told and what changed."""
        told: list[Observation] = []
        risen: dict[str, str] = {}
        fell = False
        for one in sorted(roster.servers, key=lambda one: not one.up):
            if self._is_late(now_s):
                break
            was_up = one.up
            told += teller.read(one, risen)
            # One that was found and never answered since may have ended as soon.
            fell = fell or (not one.up and (was_up or not one.since_ns))
        if risen or fell:
            roster.look(now_s)
            told += [x for one in roster.servers if one.is_new for x in teller.read(one, {})]
        servers = roster.servers
        teller.note_starts(servers, risen)
        for one in servers:
            if one.up and not self._is_late(now_s):
                teller.refresh(one)
        teller.desk.step()
        for one in roster.missed:
            place = one.endpoint, one.server
            yield self.up(float(one.up), *place)
            yield self.silence(0.0 if one.up else now_s - one.page_s, *place)
            yield self.missing(len(one.missing), *place)
        yield from told
        uses = self.gpu_uses.known(now_s - STALE_S)
        alone = self.config.discover == "off" and not self.config.inventory
        yield from teller.on_gpus(servers, uses, self.listening, alone=alone)
        yield from teller.news(servers, now_s)

    def _is_late(self, began_s: float) -> bool:
        return self.monotonic() - began_s > TICK_S
