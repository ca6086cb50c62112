"""Detector log_signal: what rings in a log becomes a finding, and an incident in its words."""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

import numpy as np

from vedette.api import Event, Frame, Incident, Series, gauge
from vedette.logs.collector import Logs
from vedette.testing import check_detector, new_state, window
from vedette_plugins.level import Level
from vedette_plugins.log_signal import METRIC, RINGS_NATS, LogSignal, register_detectors

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import SimulatedHost
from incident_scenarios import series

S = 1_000_000_000
NGINX = "nginx.service"
DISK = ("/dev/vda1", "/", "ext4")


def ringing(topic: str = "", severity: str = "error", source: str = NGINX) -> Series:
    return Logs.strangeness.series(source, "new_template", severity, topic)


def test_it_keeps_the_contract() -> None:
    check_detector(LogSignal)
    assert register_detectors() == [LogSignal]


def test_only_the_strangeness_of_logs_is_scored_and_as_it_is() -> None:
    detector = LogSignal(LogSignal.Config())
    other = gauge("other.metric", "1", "Other.").series()
    newest = window([[0.0, 20.0], [99.0, 99.0]], [ringing(), other])
    scores = detector.score(newest, new_state(detector, 2))
    assert scores[0] == 20
    assert np.isnan(scores[1])
    assert Logs.strangeness.name == METRIC
    assert LogSignal.threshold == RINGS_NATS


class Told:
    """A host whose log rings, with the words of it."""

    def __init__(self, folder: Path) -> None:
        self.host = SimulatedHost(folder, [LogSignal(LogSignal.Config()), Level(Level.Config())])

    def says(self, text: str, source: str = NGINX) -> None:
        now = self.host.now_s * S
        event = Event(now, "log", source, f"{source} logged a line never seen before: {text}")
        self.host.pipeline.take((Frame("logs", now, now, (), array("d"), events=(event,)),))

    def incidents(self) -> tuple[Incident, ...]:
        return tuple(one for one in self.host.incidents if one.state == "open")


def test_an_error_never_seen_is_one_incident_in_the_words_of_the_log(tmp_path: Path) -> None:
    told = Told(tmp_path)
    line = ringing()
    for _ in range(30):
        told.host.tick({line: 0.0})
    told.says("connect() failed (111: Connection refused)")
    for _ in range(6):
        told.host.tick({line: 17.0})
    (incident,) = told.incidents()
    assert incident.severity == "warning"
    assert incident.title.startswith(
        "nginx.service logged a line never seen before: connect() failed (111: Connection refused) "
        "since 14:00:3"
    )
    assert incident.entities == ("log nginx.service",)
    for _ in range(120):
        told.host.tick({line: 0.0})
    assert told.incidents() == ()


def test_a_new_line_of_information_is_no_warning(tmp_path: Path) -> None:
    told = Told(tmp_path)
    line = ringing(severity="info")
    for value in [0.0] * 30 + [17.0] * 6:
        told.host.tick({line: value})
    (incident,) = told.incidents()
    assert incident.severity == "info"
    assert incident.title.startswith("The log of nginx.service is unusual (new_template, info)")


def test_a_full_disk_and_the_logs_that_say_so_are_one_incident(tmp_path: Path) -> None:
    told = Told(tmp_path)
    full = series("system.filesystem.utilization", *DISK)
    line = ringing("space", source="postgresql.service")
    for _ in range(90):
        told.host.tick({full: 0.5, line: 0.0})
    for at in range(90):
        if at == 70:
            told.says("could not write block: No space left on device", "postgresql.service")
        told.host.tick({full: 0.99, line: 18.0 if at >= 70 else 0.0})
    (incident,) = told.incidents()
    assert incident.resource == "filesystem"
    assert incident.title.startswith("Filesystem / is 99 % full")
    assert "log postgresql.service" in incident.entities
    said = [one for one in incident.suspects if one.kind == "event"]
    assert any("No space left on device" in one.text for one in said)


def test_a_full_disk_and_a_log_of_something_else_are_two(tmp_path: Path) -> None:
    told = Told(tmp_path)
    full, line = series("system.filesystem.utilization", *DISK), ringing("gpu")
    for _ in range(90):
        told.host.tick({full: 0.5, line: 0.0})
    for at in range(90):
        told.host.tick({full: 0.99, line: 18.0 if at >= 70 else 0.0})
    assert {one.resource for one in told.incidents()} == {"filesystem", "log"}
