"""One rule for how grave an incident is: a warning means that a person should look today."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from vedette.api import Finding, Series, Severity, gauge
from vedette.severity import grade

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import S, series

NOW = 1_795_183_200 * S
MINUTE = 60 * S


def found(
    one: Series,
    observed: float,
    lasted_s: float = 30,
    *,
    p: float = 1e-9,
    severity: Severity = "info",
) -> Finding:
    since = NOW - int(lasted_s * S)
    low = 1.0 if observed == 0 else math.nan
    return Finding(one, "robust", since, NOW, severity, p, observed, low, 0.1)


ROOT = ("/dev/vda1", "/", "ext4")
BUSY = series("vedette.cpu.busy")
LATENCY = gauge("vedette.model.latency", "s", "L.", ("server.address",), resource="model")
ALIVE = gauge("vedette.model.up", "1", "Up.", ("server.address",), resource="model", alarm="low")


@pytest.mark.parametrize(
    "findings",
    [
        [found(BUSY, 1.0, 600)],
        [
            found(BUSY, 1.0, 1500),
            found(series("vedette.pressure.time", "cpu", "some", resource="cpu"), 0.9, 1500),
            found(series("vedette.disk.utilization", "vda"), 1.0, 900),
            found(series("system.disk.io", "vda", "write"), 5e8, 900),
            found(series("system.memory.utilization", "used"), 0.9, 900),
            found(series("system.process.count", "defunct"), 12, 900),
            found(series("vedette.process.blocked"), 6, 60),
            found(series("system.filesystem.utilization", *ROOT), 0.85, 900),
            found(series("system.network.io", "eth0", "receive"), 1e8, 900),
        ],
        [found(series("hw.gpu.memory.utilization", "0", "H200"), 0.98, 5000)],
        [found(series("vedette.tcp.retransmits"), 90, 5000)],
        [found(series("vedette.hw.temperature.utilization", "cpu", "x"), 0.93, 5000)],
        [found(series("system.filesystem.utilization", *ROOT), 0.95, 10)],
    ],
)
def test_ordinary_use_of_a_host_is_info(findings: list[Finding]) -> None:
    assert grade(findings, NOW) == "info"


@pytest.mark.parametrize(
    ("finding", "severity"),
    [
        (found(series("system.memory.utilization", "used"), 0.96), "warning"),
        (found(series("system.memory.utilization", "used"), 0.995), "critical"),
        (found(series("system.filesystem.utilization", *ROOT), 0.93), "warning"),
        (found(series("system.filesystem.utilization", *ROOT), 1.0), "critical"),
        (found(series("vedette.filesystem.inodes.utilization", *ROOT), 0.95), "warning"),
        (found(series("vedette.container.memory.utilization", "web"), 0.97), "warning"),
        (found(series("vedette.filesystem.responding", *ROOT), 0.0, 5), "critical"),
        (found(series("vedette.filesystem.read_only", *ROOT), 1.0, 5), "critical"),
        (found(series("vedette.memory.oom_kills"), 1.0, 5), "warning"),
        (found(series("vedette.kernel.events", "io_error"), 3.0, 5), "warning"),
        (found(series("vedette.kernel.events", "panic"), 1.0, 5), "critical"),
        (found(series("vedette.kernel.hung_tasks"), 1.0, 5), "warning"),
        (found(series("vedette.kernel.oopses"), 1.0, 5), "critical"),
        (found(series("vedette.watch.process.count", "nginx"), 0.0, 5), "critical"),
        (found(series("system.process.count", "stopped"), 1.0, 15), "warning"),
        (found(series("vedette.process.blocked"), 4.0, 150), "warning"),
        (found(series("vedette.systemd.unit.failed", "web.service"), 1.0, 5), "warning"),
        (found(series("vedette.systemd.units", "failed"), 2.0, 5), "warning"),
        (found(series("vedette.smart.healthy", "sda"), 0.0, 5), "critical"),
        (found(series("vedette.raid.degraded", "md0"), 1.0, 5), "warning"),
        (found(series("vedette.network.link.up", "eth0"), 0.0, 5), "warning"),
        (found(ALIVE.series("localhost:8000"), 0.0, 5), "critical"),
        (found(BUSY, 0.99, 1900), "warning"),
        (found(BUSY, 0.9, 60, p=0.0, severity="critical"), "critical"),
        (found(series("vedette.tcp.retransmits"), 9, 60, p=0.0, severity="warning"), "warning"),
    ],
)
def test_what_a_person_should_look_at_is_a_warning_at_least(
    finding: Finding, severity: Severity
) -> None:
    assert grade([finding], NOW) == severity
    assert grade([found(BUSY, 0.5), finding], NOW) == severity


def test_a_load_that_disturbs_somebodys_work_is_a_warning_after_five_minutes() -> None:
    latency = LATENCY.series("localhost:8000")
    for lasted, severity in ((290, "info"), (310, "warning")):
        assert grade([found(BUSY, 1.0, lasted), found(latency, 9.0, lasted)], NOW) == severity
    assert grade([found(latency, 9.0, 310)], NOW) == "info"


def test_three_series_far_out_for_ten_minutes_are_a_warning_and_twins_count_once() -> None:
    orders = [gauge(f"shop.{name}", "1", "N.").series() for name in ("in", "out", "open")]
    findings = [found(one, 5.0, 700) for one in orders]
    assert grade(findings, NOW) == "warning"
    assert grade(findings, NOW, twin=lambda key: key.replace("out", "in")) == "info"
    assert grade([found(one, 5.0, 700, p=1e-5) for one in orders], NOW) == "info"
