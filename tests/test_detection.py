"""Detection end to end on simulated hosts: the real pipeline, one second at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from vedette.api import Detector, Series, Usage, counter, gauge, updown
from vedette_plugins.level import Level, LevelConfig
from vedette_plugins.robust import Robust, RobustConfig
from vedette_plugins.stuck import Stuck, StuckConfig
from vedette_plugins.surge import Surge, SurgeConfig

S = 1_000_000_000
BUSY = gauge("vedette.cpu.busy", "1", "Busy.", resource="cpu", alarm="high", limit=1.0)
CORE = gauge("vedette.cpu.core.busy", "1", "Core.", ("cpu",), resource="cpu", alarm="never")
MEMORY = gauge(
    "system.memory.utilization",
    "1",
    "Memory.",
    ("system.memory.state",),
    resource="memory",
    alarm="high",
    limit=1.0,
)
DISK = counter("system.disk.io", "By", "Disk.", ("device",), resource="disk", alarm="high")
FULL = gauge(
    "system.filesystem.utilization",
    "1",
    "Filesystem.",
    ("mountpoint",),
    resource="filesystem",
    alarm="high",
    limit=1.0,
)


def detectors() -> list[Detector]:
    return [Robust(RobustConfig()), Level(LevelConfig()), Surge(SurgeConfig())]


STOPPED = updown("vedette.process.stopped", "{process}", "T.", resource="process", alarm="high")
FILES = updown(
    "vedette.kernel.file_handles.usage", "{file}", "Files.", resource="kernel", alarm="high"
)
OPEN = updown("vedette.tcp.established", "{connection}", "Open.", resource="network", alarm="high")


class Host:
    """Readings of an ordinary host, with noise of a seeded generator."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        self.written = 0.0
        self.load = 0.0
        self.held = 0.0

    def readings(self) -> dict[Series, float]:
        noise = self.random.normal
        self.written += max(0.0, self.random.exponential(2e5) * (self.random.random() < 0.2))
        busy = min(1.0, max(0.0, 0.04 + noise(0, 0.015) + self.load))
        return {
            BUSY.series(): busy,
            CORE.series("0"): busy,
            CORE.series("1"): busy,
            MEMORY.series("used"): 0.3 + noise(0, 0.001) + self.held,
            DISK.series("vda"): self.written,
            FULL.series("/"): 0.5,
        }


def usages(load: float, held: float = 0.0) -> list[Usage]:
    made = [Usage("cpu", "process", "database", "100", 0.02, "2 % of 2 cores")]
    if load:
        made += [
            Usage("cpu", "process", "stress", pid, load / 2, f"{load / 2:.0%} of 2 cores")
            for pid in ("4711", "4712")
        ]
    if held:
        made.append(Usage("memory", "process", "stress", "4711", held, f"{held:.0%} of memory"))
    return made


@pytest.fixture
def host(tmp_path: Path, simulated_host: type) -> Iterator[object]:
    return simulated_host(tmp_path, detectors())


def learn(host, source: Host, seconds: int = 300) -> None:
    for second in range(seconds):
        assert host.tick(source.readings(), usages(0) if second % 10 == 0 else ()) == []


def test_a_series_is_learning_until_one_detector_has_an_opinion(
    tmp_path: Path, simulated_host: type
) -> None:
    host = simulated_host(tmp_path, [*detectors(), Stuck(StuckConfig())])
    source = Host()
    learn(host, source, 30)
    assert host.pipeline.view.learning > 0.5
    learn(host, source, 270)  # to call one stuck takes a day
    assert host.pipeline.view.learning == 0


def test_a_cpu_hog_is_one_incident_that_names_the_process(host) -> None:
    source = Host()
    learn(host, source)
    source.load = 0.95
    told = []
    began = host.now_s
    for second in range(40):
        # The agent asks for a scan while the incident gathers; scans come every 10 s otherwise.
        asked = bool(host.asked) and host.asked[-1][0] == host.now_s
        told += host.tick(source.readings(), usages(0.97) if asked or second % 10 == 9 else ())
    opened = [one for one in told if one.change == "opened"]
    assert len(opened) == 1
    incident = opened[0].incident
    assert incident.opened_ns / S - began <= 12
    assert abs(incident.onset_ns / S - began) <= 3
    assert incident.resource == "cpu"
    assert incident.suspects[0].name == "stress"
    assert "process `stress` (pid 4711) uses 97 %" in incident.title
    assert "usual range 0." in incident.title
    assert incident.evidence[0].series == "vedette.cpu.busy"
    assert len(incident.evidence[0].values) > 100
    assert host.incidents[0].severity == "info"  # a machine that works is no trouble
    source.load = 0.0
    for _ in range(90):
        told += host.tick(source.readings())
    assert [one.change for one in told] == ["opened", "resolved"]
    over = told[-1].incident
    assert over.state == "resolved"
    assert "was" in over.title
    assert over.resolved_ns is not None
    assert abs(over.resolved_ns / S - (began + 40)) < 20


def test_the_second_hog_is_noticed_like_the_first(host) -> None:
    source = Host()
    learn(host, source)
    for _ in range(3):
        source.load = 0.95
        for _ in range(30):
            host.tick(source.readings(), usages(0.97))
        source.load = 0.0
        for _ in range(180):
            host.tick(source.readings(), usages(0))
    assert len(host.incidents) == 3


def test_a_quiet_host_gives_no_incident_in_six_hours(host) -> None:
    source = Host(seed=7)
    for _ in range(6 * 3600):
        host.tick(source.readings())
    assert host.told == []


def test_a_short_spike_is_no_incident(host) -> None:
    source = Host()
    learn(host, source)
    source.load = 0.95
    for _ in range(2):
        host.tick(source.readings())
    source.load = 0.0
    for _ in range(60):
        host.tick(source.readings())
    assert host.told == []


def test_a_constant_series_that_never_moved_has_no_opinion(host) -> None:
    readings = {BUSY.series(): 0.5}
    for _ in range(200):
        host.tick(readings)
    host.tick({BUSY.series(): 0.9})
    for _ in range(5):
        host.tick(readings)
    assert host.told == []


def test_nothing_is_said_during_warm_up(host) -> None:
    source = Host()
    for _ in range(40):
        host.tick(source.readings())
    source.load = 0.9
    for _ in range(15):
        host.tick(source.readings())
    assert host.told == []


def test_a_level_rule_needs_its_time_and_is_over_below_its_release(host) -> None:
    full = FULL.series("/var")
    for _ in range(100):
        host.tick({full: 0.5})
    told = []
    for _ in range(59):
        told += host.tick({full: 0.93})
    assert told == []
    for _ in range(10):
        told += host.tick({full: 0.93})
    assert [one.change for one in told] == ["opened"]
    assert told[0].incident.severity == "warning"
    assert told[0].incident.title.startswith("Filesystem /var is 93 % full since ")
    for _ in range(200):
        told += host.tick({full: 0.895})  # just below the threshold: not yet over
    assert [one.change for one in told] == ["opened"]
    for _ in range(75):
        told += host.tick({full: 0.5})
    assert [one.change for one in told] == ["opened", "resolved"]


def test_one_reading_of_a_series_read_seldom_violates_no_rule_and_two_do(host) -> None:
    full, other = FULL.series("/var"), FULL.series("/")
    told = []
    for share in (0.5, 0.5, 0.93, 0.5, 0.93, 0.93):
        for second in range(120):  # half as often as the time to hold
            told += host.tick({other: 0.5} | ({full: share} if second == 0 else {}))
        if share == 0.5:
            assert told == []
    assert [one.change for one in told] == ["opened"]


def test_a_level_rule_turns_critical(host) -> None:
    full = FULL.series("/var")
    for _ in range(70):
        host.tick({full: 0.93})
    for _ in range(70):
        host.tick({full: 0.99})
    assert host.incidents[0].severity == "critical"
    assert len(host.incidents) == 1


def test_findings_of_one_fault_are_one_incident_and_of_another_time_another(host) -> None:
    source = Host()
    learn(host, source)
    source.load, source.held = 0.95, 0.3
    for _ in range(30):
        host.tick(source.readings(), usages(0.97, held=0.3))
    assert len(host.incidents) == 1
    assert {"vedette.cpu.busy", "system.memory.utilization{system.memory.state=used}"} <= set(
        host.incidents[0].series
    )


def test_incidents_survive_a_restart_and_resolve_after_it(
    tmp_path: Path, simulated_host: type
) -> None:
    source = Host()
    first = simulated_host(tmp_path, detectors())
    learn(first, source)
    source.load = 0.95
    for _ in range(30):
        first.tick(source.readings(), usages(0.97))
    first.pipeline.finish()
    second = simulated_host(tmp_path, detectors(), start_s=first.now_s + 5)
    assert [one.state for one in second.incidents] == ["open"]
    identity = second.incidents[0].id
    for _ in range(20):
        second.tick(source.readings(), usages(0.97))
    assert [(one.id, one.state) for one in second.incidents] == [(identity, "open")]
    source.load = 0.0
    for _ in range(100):
        second.tick(source.readings())
    assert [(one.id, one.state) for one in second.incidents] == [(identity, "resolved")]


def test_what_was_learned_survives_a_restart(tmp_path: Path, simulated_host: type) -> None:
    source = Host()
    first = simulated_host(tmp_path, detectors())
    learn(first, source)
    first.pipeline.finish()
    second = simulated_host(tmp_path, detectors(), start_s=first.now_s + 5)
    for _ in range(5):
        second.tick(source.readings())
    source.load = 0.95
    for _ in range(15):
        second.tick(source.readings())
    assert len(second.incidents) == 1


def test_incidents_are_in_the_spool_the_moment_they_open(host) -> None:
    source = Host()
    learn(host, source, 300)
    source.load = 0.95
    while not host.told:
        host.tick(source.readings())
    signal, body = host.spool.entries[-1]
    assert signal == "logs"
    request = ExportLogsServiceRequest.FromString(body)
    record = request.resource_logs[0].scope_logs[0].log_records[0]
    assert record.event_name == "vedette.incident.opened"
    assert record.body.string_value == host.told[0].incident.title


def test_nan_and_vanishing_series_poison_nothing(host) -> None:
    source = Host()
    learn(host, source)
    readings = source.readings()
    for _ in range(20):
        host.tick({series: float("nan") for series in readings})
    for _ in range(60):
        host.tick({BUSY.series(): 0.04})
    learn(host, source, 60)
    source.load = 0.95
    for _ in range(20):
        host.tick(source.readings(), usages(0.97))
    assert len(host.incidents) == 1


def test_a_burst_during_the_warm_up_does_not_hide_the_fault_after_it(host) -> None:
    source = Host()
    for second in range(100):
        source.load = 0.95 if 3 <= second < 15 or 80 <= second < 85 else 0.0
        host.tick(source.readings(), usages(0) if second % 10 == 0 else ())
    assert host.told == []
    source.load = 0.95
    for _ in range(15):
        host.tick(source.readings(), usages(0.97))
    assert len(host.incidents) == 1


def test_what_is_counted_varies_by_chance_and_a_leak_does_not(host) -> None:
    random = np.random.default_rng(3)
    connections = OPEN.series()
    # Steady for ten minutes; then some clients more, as it may be anywhere.
    for second in range(1800):
        more = 12 if second > 600 and second % 200 < 20 else 0
        host.tick({connections: 30 + (second % 7 == 0) + more})
    assert host.told == []
    for second in range(15):
        host.tick({connections: 30 + 20 * second + int(random.poisson(2))})
    assert [one.change for one in host.told] == ["opened"]


def told_within(host, readings, who: list[Usage], seconds: int = 40):
    """Make readings, one set a second, with who uses what; return the opening and its delay."""
    began = host.now_s
    for second in range(seconds):
        opened = [one for one in host.tick(readings(second), who) if one.change == "opened"]
        if opened:
            (one,) = opened
            return one.incident, host.now_s - began
    raise AssertionError("nothing was told")


def test_a_leak_of_memory_is_told_soon_with_who_leaks_however_empty_the_host_is(host) -> None:
    source = Host()
    learn(host, source)
    empty = {MEMORY.series("used"): 0.03}
    for _ in range(60):
        host.tick(empty, usages(0))
    leak = [Usage("memory", "process", "leak", "7", 0.03, "700 MiB")]
    incident, delay = told_within(
        host, lambda second: {MEMORY.series("used"): 0.03 + 0.0022 * second}, leak
    )
    assert delay <= 15
    assert incident.severity == "info"
    assert " full: full in " in incident.title
    assert "process `leak` (pid 7) holds 700 MiB" in incident.title


def test_a_process_that_was_stopped_is_told_as_a_warning_that_names_it(host) -> None:
    for _ in range(120):
        host.tick({STOPPED.series(): 0}, usages(0))
    incident, delay = told_within(
        host,
        lambda second: {STOPPED.series(): 1} if second % 5 == 3 else {BUSY.series(): 0.04},
        [Usage("stopped", "process", "web", "7", 1.0, "stopped")],
    )
    assert delay <= 15
    assert incident.severity == "warning"
    assert incident.title.startswith("A process is stopped and does nothing since")
    assert incident.title.endswith("process `web` (pid 7) is stopped")


def test_open_files_and_connections_that_leak_together_are_one_incident(host) -> None:
    usual = {OPEN.series(): 20, FILES.series(): 1800}
    for second in range(200):
        host.tick(usual | {FILES.series(): 1800 + second % 9}, usages(0))
    holder = [Usage("files", "process", "leak", "7", 0.3, "900 open files")]
    incident, delay = told_within(
        host,
        lambda second: {OPEN.series(): 20 + 40 * second, FILES.series(): 1800 + 100 * second},
        holder,
    )
    assert delay <= 15
    assert incident.resource == "network"
    assert set(incident.series) >= {OPEN.series().key}
    assert "process `leak` (pid 7) holds 900 open files" in incident.title
    for _ in range(60):
        assert [one.change for one in host.tick({OPEN.series(): 900, FILES.series(): 4e3})] in (
            [],
            ["updated"],
        )
