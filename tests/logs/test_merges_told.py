"""Templates that turn out to be one: what the window's record tells of it (logs/telling.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from host_logs import HostLogs

LINE = "session of the service for user {} was opened again"


@pytest.fixture
def host(tmp_path: Path) -> HostLogs:
    return HostLogs(tmp_path, window=60.0)


def told(host: HostLogs) -> list[dict[str, str]]:
    """Return the merges of each window that told of some."""
    windows = (one.attributes for one in host.records("vedette.log.window"))
    return [one["vedette.log.merged"] for one in windows if "vedette.log.merged" in one]


def test_a_window_tells_which_templates_are_part_of_which_once(host: HostLogs) -> None:
    host.write("app.log", LINE.format("alice"), LINE.format("bob"))
    host.tick(61)
    first = {one.attributes["vedette.log.template"]: one.body for one in host.records()}
    assert len(first) == 2
    assert told(host) == []
    host.write("app.log", LINE.format("carol"), LINE.format("dave"), LINE.format("eve"))
    host.tick(120)
    (merged,) = told(host)
    (into,) = set(merged.values())
    assert set(merged) | {into} == set(first)
    last = host.records()[-1]
    assert last.attributes["vedette.log.template"] == into
    assert last.attributes["vedette.log.total"] == 5  # those of the other are in it
    assert host.logs._digest.merges == {}


def test_templates_that_nobody_was_told_of_are_merged_without_a_word(host: HostLogs) -> None:
    host.write("app.log", *(LINE.format(name) for name in ("alice", "bob", "carol", "dave")))
    host.tick(120)
    assert len({one.attributes["vedette.log.template"] for one in host.records()}) == 1
    assert told(host) == []
