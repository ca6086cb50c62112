"""Faults as the shipped collectors show them: which series turn strange, when, how far.

Each symptom is a real, declared series with the delay of its collector and the reading at its
worst; the amounts are those that the drills cause on a host with two cores and one disk.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

import vedette_plugins
from vedette.api import Collector, Finding, Instrument, Series, Severity, Usage, gauge
from vedette.correlate import Correlator, IncidentChange
from vedette.decide import FindingChange

S = 1_000_000_000
START = 1_795_183_200
#: Seconds from the first strange reading to the finding, and from the last to its end.
CONFIRM, RELEASE = 4, 10
LATENCY = gauge(
    "vedette.model.request.duration", "s", "Latency.", ("vedette.model.server",), resource="model"
)
QUEUE = gauge(
    "vedette.model.queue", "{request}", "Queue.", ("vedette.model.server",), resource="model"
)
LINES = gauge("vedette.log.errors_seen", "{line}", "Lines.", ("log.file.path",), resource="log")


def instruments() -> list[Instrument]:
    """Return what all shipped collectors declare."""
    found: list[Instrument] = []
    for module in pkgutil.iter_modules(vedette_plugins.__path__):
        loaded = importlib.import_module(f"vedette_plugins.{module.name}")
        for one in vars(loaded).values():
            if isinstance(one, type) and issubclass(one, Collector) and one is not Collector:
                found += one.instruments()
    return found


_DECLARED = instruments()


def series(name: str, *values: str, resource: str = "") -> Series:
    """Return a declared series; ``resource`` chooses among instruments of one name."""
    found = [
        one
        for one in _DECLARED
        if one.name == name
        and len(one.attributes) == len(values)
        and resource in ("", one.resource)
    ]
    if not found:
        raise LookupError(name)
    wanted = [one for one in found if one.alarm != "never"] or found
    return wanted[0].series(*values)


class Symptom(msgspec.Struct, frozen=True):
    """One series that turns strange ``after`` seconds, with its worst reading."""

    series: Series
    after: int
    worst: float
    lasts: int = 60
    p: float = 1e-9
    severity: Severity = "info"
    text: str = ""


class Scenario(msgspec.Struct, frozen=True):
    """A fault: where it shows, who makes it, what an incident has to say of it."""

    name: str
    symptoms: tuple[Symptom, ...]
    usages: tuple[Usage, ...]
    resource: str
    suspect: str = ""


def usage(resource: str, name: str, share: float) -> Usage:
    return Usage(resource, "process", name, "4711", share, f"{share:.0%} of it")


def _busy(share: float, after: int = 0) -> Symptom:
    return Symptom(series("vedette.cpu.busy"), after, share)


def _waits(resource: str, share: float, after: int = 1) -> Symptom:
    word = {"disk": "io"}.get(resource, resource)
    one = series("vedette.pressure.time", word, "some", resource=resource)
    return Symptom(one, after, share)


def _disk(share: float, rate: float, after: int = 1) -> tuple[Symptom, ...]:
    return (
        Symptom(series("system.disk.io", "vda", "write"), after, rate),
        Symptom(series("vedette.disk.utilization", "vda"), after, share),
        _waits("disk", share / 2, after + 1),
        Symptom(series("system.cpu.utilization", "iowait", resource="disk"), after, share / 3),
    )


MOUNT = ("/dev/vda1", "/data", "ext4")
FAULTS: dict[str, Scenario] = {
    one.name: one
    for one in (
        Scenario(
            "cpu",
            (
                _busy(0.99),
                _waits("cpu", 0.6),
                Symptom(series("system.cpu.load_average.1m"), 15, 4.0),
                Symptom(series("vedette.cpu.interrupts"), 2, 9e3),
                Symptom(series("vedette.cpu.run_queue.time", "waiting"), 1, 2.0),
                Symptom(series("system.process.count", "running"), 10, 4.0),
                Symptom(series("system.process.count", "sleeping"), 40, 130.0),
            ),
            (usage("cpu", "drill-cpu", 0.97),),
            "cpu",
            "drill-cpu",
        ),
        Scenario(
            "memory",
            (
                Symptom(series("system.memory.utilization", "used"), 3, 0.55),
                _busy(0.3, 1),
            ),
            (usage("memory", "drill-memory", 0.25), usage("cpu", "drill-memory", 0.2)),
            "memory",
            "drill-memory",
        ),
        Scenario(
            "disk",
            (*_disk(1.0, 2e8), _busy(0.35), Symptom(series("vedette.process.blocked"), 2, 3.0)),
            (usage("disk", "drill-disk", 0.95), usage("cpu", "drill-disk", 0.1)),
            "disk",
            "drill-disk",
        ),
        Scenario(
            "disk-fill",
            (
                Symptom(series("system.filesystem.utilization", *MOUNT), 9, 0.7),
                *_disk(0.8, 4e8),
                _busy(0.2, 1),
            ),
            (usage("disk", "drill-disk-fill", 0.95),),
            "filesystem",
            "drill-disk-fill",
        ),
        Scenario(
            "inodes",
            (
                _busy(0.5),
                *_disk(0.6, 2e7),
                Symptom(series("vedette.filesystem.inodes.utilization", *MOUNT), 9, 0.3),
            ),
            (usage("disk", "drill-inodes", 0.8), usage("cpu", "drill-inodes", 0.4)),
            "filesystem",
            "drill-inodes",
        ),
        Scenario(
            "forks",
            (
                _busy(0.7),
                _waits("cpu", 0.3),
                Symptom(series("system.process.created"), 0, 75.0),
                Symptom(series("system.process.count", "defunct"), 10, 20.0),
                Symptom(series("vedette.process.threads.utilization"), 10, 0.05),
            ),
            (usage("cpu", "drill-forks", 0.4), usage("forks", "drill-forks", 0.9)),
            "cpu",
            "drill-forks",
        ),
        Scenario(
            "files",
            (
                Symptom(series("vedette.kernel.file_handles.usage"), 5, 3e3),
                Symptom(series("vedette.kernel.file_handles.utilization"), 20, 0.01),
            ),
            (usage("files", "drill-files", 0.8),),
            "kernel",
            "drill-files",
        ),
        Scenario(
            "sockets",
            (
                Symptom(series("vedette.tcp.established"), 2, 1e3),
                Symptom(series("vedette.kernel.file_handles.usage"), 12, 2e3),
            ),
            (usage("files", "drill-sockets", 0.6),),
            "network",
            "drill-sockets",
        ),
        Scenario(
            "network",
            (
                Symptom(series("system.network.io", "lo", "receive"), 0, 2.5e8),
                Symptom(series("system.network.io", "lo", "transmit"), 0, 2.5e8),
                _busy(0.6),
                _waits("cpu", 0.2),
                Symptom(series("vedette.softnet.dropped"), 3, 50.0),
            ),
            (usage("cpu", "drill-network", 0.5),),
            "network",
            "drill-network",
        ),
        Scenario(
            "net-delay",
            (
                Symptom(series("vedette.tcp.retransmits"), 6, 30.0),
                Symptom(series("system.network.connection.count", "tcp", "syn_sent"), 12, 20.0),
            ),
            (),
            "network",
        ),
        Scenario(
            "log",
            (Symptom(LINES.series("/var/log/app.log"), 1, 40.0),),
            (),
            "log",
        ),
        Scenario(
            "stuck",
            (Symptom(series("vedette.process.stopped"), 5, 1.0, p=0.0, severity="warning"),),
            (usage("stopped", "drill-stuck", 1.0),),
            "process",
            "drill-stuck",
        ),
        Scenario(
            "model",
            (
                Symptom(LATENCY.series("vllm"), 2, 8.0),
                Symptom(QUEUE.series("vllm"), 4, 60.0),
            ),
            (),
            "model",
        ),
    )
}


class Drive:
    """The correlator, one second after the other, with the scans it asks for."""

    def __init__(self, correlator: Correlator | None = None) -> None:
        self.correlator = correlator or Correlator()
        self.second = START
        self.told: list[IncidentChange] = []
        #: Who uses what besides the scenarios, by seconds since the beginning.
        self.users: Callable[[int], Sequence[Usage]] = lambda second: ()
        self.idle = (usage("cpu", "database", 0.02), usage("memory", "database", 0.2))
        for _ in range(30):
            self.correlator.observe(self.idle)

    def run(
        self,
        *scenarios: Scenario,
        apart: int = 0,
        seconds: int = 180,
        each: Callable[[int], None] = lambda second: None,
    ) -> list[IncidentChange]:
        """Make faults, the next one ``apart`` seconds after the one before; return the openings."""
        began = self.second
        of_series: dict[str, list[tuple[int, Symptom]]] = {}
        for place, scenario in enumerate(scenarios):
            for one in scenario.symptoms:
                at = began + apart * place + one.after
                of_series.setdefault(one.series.key, []).append((at, one))
        told: list[IncidentChange] = []
        for _ in range(seconds):
            self.second += 1
            each(self.second)
            self._observe(scenarios, began, apart)
            found = [_change(shown, self.second) for shown in of_series.values()]
            changes = [one for one in found if one is not None]
            told += self.correlator.step(self.second * S, changes)
        self.told += told
        return [one for one in told if one.change == "opened"]

    def _observe(self, scenarios: Sequence[Scenario], began: int, apart: int) -> None:
        asked = self.correlator.wanted()
        if not asked and self.second % 10:
            return
        active = [
            one
            for place, scenario in enumerate(scenarios)
            for one in scenario.usages
            if 2 <= self.second - began - apart * place <= 60
        ]
        self.correlator.observe([*self.idle, *active, *self.users(self.second - began)])


def _change(shown: Sequence[tuple[int, Symptom]], second: int) -> FindingChange | None:
    """Return what becomes in a second of the finding of one series, in which faults show."""
    onset = min(at for at, _ in shown)
    end = max(at + one.lasts for at, one in shown)
    if not onset + CONFIRM <= second <= end + RELEASE:
        return None
    so_far = [one for at, one in shown if at <= second]
    one = max(so_far, key=lambda symptom: symptom.worst)
    words: Literal["opened", "continued", "closed"] = "continued"
    if second in (onset + CONFIRM, end + RELEASE):
        words = "opened" if second == onset + CONFIRM else "closed"
    return FindingChange(
        words,
        0,
        Finding(
            series=one.series,
            detector="robust",
            since_ns=onset * S,
            last_ns=min(second, end) * S,
            severity=one.severity,
            p=one.p,
            observed=one.worst,
            low=math.nan if one.worst > 0 else 1.0,
            high=one.worst / 10 if one.worst > 0 else math.nan,
            text=one.text,
        ),
    )
