"""The daemon: builds all parts, runs them, and ends them in the right order.

The main thread only waits: for signals, and for the moment the service manager's watchdog wants a
sign of life, which it gets only while the pipeline makes progress.
"""

from __future__ import annotations

import gc
import logging
import os
import platform
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from vedette import announcements, assembly, frugal, identity, own_log
from vedette._version import __version__
from vedette.api import GpuUses, Host, Problem
from vedette.config import Config, bootstrap, load
from vedette.control import ControlError, ControlServer
from vedette.correlate import Correlator, IncidentChange
from vedette.feedback_desk import FeedbackDesk
from vedette.inventory import Inventory, InventoryTask
from vedette.lanes import Assignment, Lanes
from vedette.model_desk import ModelDesk
from vedette.models import Lifecycle, ModelMetrics, Word
from vedette.paths import Places, places
from vedette.pipeline import Pipeline, View
from vedette.registry import Registry, discover
from vedette.service import ServiceManager
from vedette.settings import Settings
from vedette.ship import Shipper
from vedette.spool import Spool, SpoolError
from vedette.status_desk import Now, StatusDesk
from vedette.table import SeriesTable

log = logging.getLogger(__name__)

#: Within 5 s everything is flushed and ended: what each part may take of it.
LANES_STOP_S, PIPELINE_STOP_S, DRAIN_S = 1.0, 1.5, 1.5
#: Ticks kept in the ring: evidence reaches from 2 minutes before an onset to 8 after it, and the
#: level rules look back 10 minutes.
RING_TICKS = 720
#: The parts whose CPU time is told apart, and what the names of their threads begin with.
THREADS = {"pipeline": "pipeline", "shipping": "ship-", "training": "training"}
#: Pages that only the start needed are given back after so long, and what was needed once in a
#: while since then each hour.
PAGES_FIRST_S, PAGES_EVERY_S = 20.0, 3600.0
#: A series not read for this long is given up.
EXPIRE_S = 600.0


def run(config_path: Path | None, state_dir: Path | None) -> int:
    """Run until SIGTERM or SIGINT; return the exit code (2: it could not start)."""
    frugal.use_one_heap()
    default = places()
    config, registry, problems = read(config_path, default)
    own_log.set_up(config.agent.log_level if config else "info")
    frugal.give_way()
    for problem in problems:
        sys.stderr.write(f"vedette: {describe(problem)}\n")
    if config is None:
        return 2
    directory = state_dir or Path(config.agent.state_dir or default.state_dir)
    try:
        identity.prepare(directory)
        lock = identity.lock(directory)
        agent = Agent(config, registry, directory, config_path)
        agent.start()
    except (identity.StateDirError, SpoolError, ControlError) as error:
        sys.stderr.write(f"vedette: {error}\n")
        return 2
    try:
        agent.wait()
    finally:
        agent.stop()
        os.close(lock)
    return 0


def read(path: Path | None, default: Places) -> tuple[Config | None, Registry, tuple[Problem, ...]]:
    """Discover plugins and read the configuration; None when it has errors."""
    section, _ = bootstrap(path, places=[default.config])
    registry = discover(
        plugins_dir=Path(section.plugins_dir or default.plugins_dir), disable=section.disable
    )
    config, problems = load(path, registry, places=[default.config])
    return config, registry, tuple(problems)


def describe(problem: Problem) -> str:
    """Return a problem as one line: place, severity, text."""
    place = (
        f"{problem.file}:{problem.line}: "
        if problem.line
        else (f"{problem.file}: " if problem.file else "")
    )
    return f"{place}{problem.severity}: {problem.text}"


class Agent:
    """All parts of one running daemon."""

    def __init__(
        self, config: Config, registry: Registry, directory: Path, config_path: Path | None
    ) -> None:
        self.config = config
        self.registry = registry
        self.directory = directory
        self.config_path = config_path
        self.host = Host()
        self.machine = identity.machine_id()
        self.identity = identity.identify(directory, self.machine)
        self.manager = ServiceManager()
        self.gpu_uses = GpuUses()
        self.stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._reload = False
        self.spool = Spool(
            directory / "spool",
            agent_id=self.identity.id,
            segment_bytes=config.spool.segment,
            cap_bytes=config.spool.cap,
        )
        self.shipper = self._make_shipper()
        self.models = Lifecycle(
            directory,
            assembly.models_plan(config, self.machine),
            assembly.maker(registry),
            utilization=self._budget_in_use,
            words=self._words,
        )
        self.pipeline = Pipeline(
            self._settings(),
            assembly.detectors(config, registry),
            table=SeriesTable(
                ticks=RING_TICKS,
                max_series=config.agent.max_series,
                max_per_collector=config.agent.max_series_per_collector,
                expire_ticks=int(EXPIRE_S / config.agent.interval),
            ),
            correlator=Correlator(
                gather_ns=int(config.incidents.gather * 1e9),
                resolve_after_ns=int(config.incidents.resolve_after * 1e9),
                keep=config.incidents.keep,
            ),
            spool=self.spool,
            shipped=self._shipped,
            request=self._request,
            notify=self._incident_changed,
            heartbeat=self._heartbeat,
            look_after=self._look_after,
            lifecycle=self.models,
        )
        self.lanes = self._make_lanes()
        self.status = StatusDesk(self.identity.id, directory, self.pipeline, self.spool, self._now)
        self.control = ControlServer(
            directory,
            {
                "feedback": FeedbackDesk(self.pipeline, time.time_ns).handle,
                "model": ModelDesk(self.models, self.pipeline.submit).handle,
                **self.status.verbs(),
            },
        )

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start every part; signals are handled from here on."""
        # The handler only sets a flag: a lock taken there could be one the main thread holds. What
        # ends the wait is the byte that the interpreter itself writes for each signal.
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self.control.start()
        self.pipeline.start()
        self.shipper.start()
        self.lanes.start()
        # What was made so far lives as long as the process: no collection need look at it again.
        gc.collect()
        gc.freeze()
        log.info(
            "agent state=started version=%s pid=%d agent=%s state_dir=%s config=%s",
            __version__,
            os.getpid(),
            self.identity.id,
            self.directory,
            self.config.path or "defaults",
        )
        self.manager.notify("READY=1", f"STATUS={len(self.config.collectors)} collectors")

    def wait(self) -> None:
        """Return when the agent is asked to stop; reload and feed the watchdog meanwhile."""
        patience_s = self.manager.watchdog_s / 2 if self.manager.watchdog_s else PAGES_EVERY_S
        pages_s = time.monotonic() + PAGES_FIRST_S
        while not self.stopping:
            left_s = max(pages_s - time.monotonic(), 0.0)
            ready, _, _ = select.select([self._wake_read], [], [], min(patience_s, left_s))
            if time.monotonic() >= pages_s:
                frugal.give_back_pages()
                frugal.give_back_heap()
                pages_s = time.monotonic() + PAGES_EVERY_S
            if ready:
                os.read(self._wake_read, 4096)
            if self._reload:
                self._reload = False
                self.reload()
            if not self.status.is_stuck:
                self.manager.notify("WATCHDOG=1", f"STATUS={self.status.headline}")

    def stop(self) -> None:
        """End every part: sources first, then what flushes, then what sends."""
        self.stopping = True
        self.manager.notify("STOPPING=1")
        self.lanes.stop(LANES_STOP_S)
        if not self.pipeline.stop(PIPELINE_STOP_S):
            log.error("pipeline state=stuck, the open window is lost")
        self.shipper.stop(DRAIN_S)
        self.spool.close()
        self.control.stop()
        log.info("agent state=stopped")

    def reload(self) -> None:
        """Take over a changed configuration; with an error in it everything stays as it is."""
        self.manager.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        config, registry, problems = read(self.config_path, places())
        for problem in problems:
            log.warning("configuration %s", describe(problem))
        if config is None:
            log.error("reload state=refused, the old configuration stays")
            self.manager.notify("READY=1")
            return
        if (config.agent.interval, config.spool) != (self.config.agent.interval, self.config.spool):
            log.warning("agent.interval and [spool] take effect at the next start only")
            kept = msgspec.structs.replace(config.agent, interval=self.config.agent.interval)
            config = msgspec.structs.replace(config, agent=kept, spool=self.config.spool)
        self.lanes.stop(LANES_STOP_S)
        self.shipper.stop(0.0)
        self.config, self.registry = config, registry
        logging.getLogger().setLevel(config.agent.log_level.upper())
        self.shipper = self._make_shipper()
        self.lanes = self._make_lanes()
        detectors, settings = assembly.detectors(config, registry), self._settings()
        plan, make = assembly.models_plan(config, self.machine), assembly.maker(registry)
        correlator = self.pipeline.correlator

        def adopt() -> None:
            correlator.gather_ns = int(config.incidents.gather * 1e9)
            correlator.resolve_after_ns = int(config.incidents.resolve_after * 1e9)
            self.pipeline.adopt(detectors, settings, plan, make)

        self.pipeline.submit(adopt)
        self.shipper.start()
        self.lanes.start()
        log.info("reload state=done config=%s", config.path or "defaults")
        self.manager.notify("READY=1")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        else:
            self.stopping = True

    # ------------------------------------------------------------ parts

    def _settings(self) -> Settings:
        config = self.config
        resource = {
            "service.name": "vedette",
            "service.instance.id": self.identity.id,
            "host.name": socket.gethostname(),
            "host.id": self.machine,
            "host.arch": platform.machine(),
            "os.type": "linux",
        }
        return Settings(
            interval_ns=int(config.agent.interval * 1e9),
            window_ns=int(config.agent.window * 1e9),
            settle_ns=int(config.agent.settle * 1e9),
            resource={**config.agent.labels, **resource},
            state_dir=self.directory,
            digests=assembly.digests(config.detectors),
            false_alarms=config.incidents.false_alarms,
        )

    def _make_lanes(self) -> Lanes:
        base_s = float(self.config.agent.interval)
        inventory = InventoryTask(self._describe, self._inventory_changed, self.directory)
        metrics = ModelMetrics(lambda: self.models.view)
        return Lanes(
            [
                *assembly.assignments(
                    self.config, self.registry, self.host, self.gpu_uses, self.directory
                ),
                Assignment(inventory, max(inventory.interval_s // base_s, 1) * base_s),
                Assignment(metrics, max(metrics.interval_s // base_s, 1) * base_s),
            ],
            self.pipeline.deliver,
            base_interval_s=base_s,
            max_series=self.config.agent.max_series_per_collector,
            budget=assembly.budget(self.config),
            parts=THREADS,
        )

    def _make_shipper(self) -> Shipper:
        outputs = assembly.outputs(self.config, self.registry)
        self.spool.attach(outputs.keys())
        # Only spreads retries over the fleet: nothing secret depends on it.
        return Shipper(self.spool, outputs, random=random.Random())  # noqa: S311

    # A reload replaces shipper and lanes: all others must always reach those of now.

    def _now(self) -> Now:
        return Now(self.config, self.lanes, self.shipper, self.stopping)

    def _shipped(self) -> None:
        self.shipper.wake()

    def _heartbeat(self, view: View) -> Mapping[str, Any]:
        return self.status.heartbeat(view)

    def _look_after(self) -> None:
        self.lanes.look_after()  # others after a reload

    def _request(self, resource: str) -> None:
        self.lanes.request(resource)

    def _budget_in_use(self) -> float | None:
        return self.lanes.cost().utilization

    def _words(self) -> list[Word]:
        """Return what the operator said of the incidents that are remembered."""
        return [
            Word(
                "false alarm" if one.verdict.word == "false-alarm" else "acknowledged",
                one.series,
                one.detectors,
                one.onset_ns,
                one.updated_ns if one.resolved_ns is None else one.resolved_ns,
            )
            for one in self.pipeline.correlator.incidents
            if one.verdict is not None
        ]

    def _incident_changed(self, change: IncidentChange) -> None:
        self.registry.notify("incident_changed", incident=change.incident, previous=change.previous)

    def _describe(self) -> Iterator[tuple[str, Any]]:
        return self.registry.ask("describe_host", host=self.host)

    def _inventory_changed(self, inventory: Inventory, changes: tuple[str, ...]) -> None:
        for change in changes:
            log.info("inventory change=%r", change)
        event = announcements.inventory_event(
            time.time_ns(), inventory.items, inventory.digest, changes
        )
        self.pipeline.submit(lambda: self.pipeline.reporter.say([event]))
