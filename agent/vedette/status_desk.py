"""Tell how the agent is and which incidents it knows, at the control socket and in heartbeats.

Each answer is made of what the parts publish: nothing here waits for one of them or changes any.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from vedette._version import __version__
from vedette.config import Config
from vedette.control import ControlError, Handler
from vedette.lanes import Lanes
from vedette.pipeline import Pipeline, View
from vedette.ship import Shipper
from vedette.spool import Spool

#: The pipeline counts as stuck when it showed no progress for so long; its tick is a second.
STUCK_AFTER_S = 30.0
#: The share of a core is one over at least so long.
COST_OVER_S = 5.0


class Now(msgspec.Struct, frozen=True):
    """The parts that a reload replaces, as they are now."""

    config: Config
    lanes: Lanes
    shipper: Shipper
    is_stopping: bool


class StatusDesk:
    """What others are told of one agent; from any thread."""

    def __init__(
        self,
        agent: str,
        directory: Path,
        pipeline: Pipeline,
        spool: Spool,
        now: Callable[[], Now],
    ) -> None:
        """``agent`` is its id."""
        self._agent = agent
        self._directory = directory
        self._pipeline = pipeline
        self._spool = spool
        self._now = now
        self._started_s = time.monotonic()
        self._cpu = (time.monotonic(), time.process_time())
        self._cpu_share = 0.0

    def verbs(self) -> Mapping[str, Handler]:
        """Return what is answered at the control socket."""
        return {
            "status": self._status,
            "incidents": self._incidents,
            "incident": self._incident,
            "collector": self._ask_collector,
        }

    @property
    def is_stuck(self) -> bool:
        """Whether the pipeline makes no progress."""
        return time.monotonic() - self._pipeline.beat > STUCK_AFTER_S

    @property
    def headline(self) -> str:
        """The agent in a few words."""
        view = self._pipeline.view
        return f"{view.series} series, {_open_incidents(view)} open incidents"

    def heartbeat(self, view: View) -> Mapping[str, Any]:
        """Return the attributes of a heartbeat."""
        now = self._now()
        reasons = self._reasons(now, view)
        cpu_share, rss = self._cost()
        outputs = [one.id for one in now.config.outputs if one.enabled]
        backlogs = [self._spool.backlog(name) for name in outputs]
        return {
            "vedette.version": __version__,
            "vedette.health": "degraded" if reasons else "ok",
            "vedette.health.reasons": list(reasons),
            "vedette.uptime": self._uptime_s(),
            "vedette.stopping": now.is_stopping,
            "vedette.interval": float(now.config.agent.interval),
            "vedette.series": view.series,
            "vedette.learning": round(view.learning, 3),
            "vedette.collectors": {one.name: one.state for one in now.lanes.status()},
            "vedette.spool.batches": sum(one.batches for one in backlogs),
            "vedette.spool.bytes": sum(one.bytes for one in backlogs),
            "vedette.dropped": view.dropped + self._spool.counters().dropped,
            "vedette.incidents.open": _open_incidents(view),
            "vedette.config.digest": now.config.digest,
            "vedette.cpu": round(cpu_share, 5),
            "vedette.rss": rss,
            "os.description": _os_description(),
            "host.cpu.count": os.cpu_count() or 0,
            "host.memory.total": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        }

    # ------------------------------------------------------------ the verbs

    def _status(self, request: dict[str, Any]) -> Mapping[str, Any]:
        now, view = self._now(), self._pipeline.view
        reasons = self._reasons(now, view)
        cpu_share, rss = self._cost()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "agent": self._agent,
            "epoch": self._spool.epoch,
            "uptime_s": self._uptime_s(),
            "health": "degraded" if reasons else "ok",
            "reasons": reasons,
            "config": now.config.path,
            "config_digest": now.config.digest,
            "state_dir": str(self._directory),
            "series": view.series,
            "learning": view.learning,
            "findings": view.findings,
            "tick_cost_s": view.tick_cost_s,
            "dropped": {
                "frames": view.frames_dropped,
                "samples": view.samples_refused,
                "findings": view.findings_dropped,
                "reports": view.reports_dropped,
            },
            "errors": view.errors,
            "collectors": msgspec.to_builtins(now.lanes.status()),
            "destinations": msgspec.to_builtins(now.shipper.status()),
            "spool": msgspec.to_builtins(self._spool.counters()),
            "incidents_open": _open_incidents(view),
            "cpu_share": cpu_share,
            "cost": msgspec.to_builtins(now.lanes.cost()),
            "rss_bytes": rss,
        }

    def _incidents(self, request: dict[str, Any]) -> Mapping[str, Any]:
        everything = bool(request.get("all", False))
        return {
            "mutes": len(self._pipeline.word.marks.mutes(time.time_ns())),
            "incidents": [
                msgspec.to_builtins(one)
                for one in self._pipeline.view.incidents
                if everything or one.state == "open"
            ],
        }

    def _incident(self, request: dict[str, Any]) -> Mapping[str, Any]:
        wanted = str(request.get("id", ""))
        for incident in self._pipeline.view.incidents:
            if incident.id == wanted:
                return {"incident": msgspec.to_builtins(incident)}
        raise ControlError(
            f"no incident has the id {wanted!r}", "List them with `vedette incidents list --all`."
        )

    def _ask_collector(self, request: dict[str, Any]) -> Mapping[str, Any]:
        name, question = str(request.get("collector", "")), str(request.get("question", ""))
        try:
            return self._now().lanes.answer(name, question, request)
        except LookupError as error:
            raise ControlError(str(error.args[0] if error.args else error)) from None

    # ------------------------------------------------------------ how the agent is

    def _reasons(self, now: Now, view: View) -> tuple[str, ...]:
        """Return what is wrong with the agent itself, in words; empty when nothing is."""
        reasons = [
            f"collector {one.name} is {one.state}: {one.reason}"
            for one in now.lanes.status()
            if one.state in ("failing", "stuck")
        ]
        reasons += [
            f"destination {one.name} is failing: {one.reason}"
            for one in now.shipper.status()
            if one.state == "failing"
        ]
        if view.unsaved:
            reasons.append("the spool cannot be written")
        if self.is_stuck:
            reasons.append("the pipeline makes no progress")
        return tuple(reasons)

    def _cost(self) -> tuple[float, int]:
        """Return the share of one core used since the last look, and RSS in bytes."""
        now, used = time.monotonic(), time.process_time()
        since, before = self._cpu
        if now - since >= COST_OVER_S:
            self._cpu_share = (used - before) / (now - since)
            self._cpu = (now, used)
        try:
            with open("/proc/self/statm", "rb") as file:
                pages = int(file.read().split()[1])
        except OSError:
            pages = 0
        return self._cpu_share, pages * os.sysconf("SC_PAGE_SIZE")

    def _uptime_s(self) -> float:
        return round(time.monotonic() - self._started_s, 1)


def _open_incidents(view: View) -> int:
    return sum(1 for incident in view.incidents if incident.state == "open")


def _os_description() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.platform())
    except OSError:
        return platform.platform()
