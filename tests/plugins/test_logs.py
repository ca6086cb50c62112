"""Collector logs as a plugin: it is found, on by default, and its section is understood."""

from __future__ import annotations

from pathlib import Path

from vedette.config import load
from vedette.logs.collector import Logs
from vedette.registry import discover
from vedette_plugins.logs import register_collectors

CONFIG = """
[collectors.logs]
also = ["/srv/app/*.out"]
window = "5m"
recent = "256KiB"

[collectors.logs.formats."/srv/app/*.out"]
header = '\\[(?P<time>[^]]+)\\] '
continue = '\\s'
zone = "Europe/Berlin"

[collectors.logs.sessions]
"/srv/app/*.out" = 'job=(\\d+)'

[collectors.logs.redact]
addresses = "mask"
rules = [{ name = "customer", pattern = 'customer (?P<secret>\\d+)' }]
"""


def test_it_is_found_and_on_by_default() -> None:
    assert register_collectors() == [Logs]
    assert discover(plugins_dir=None).collectors["logs"] is Logs
    assert Logs.default


def test_all_of_its_section_can_be_said_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    config, problems = load(path, discover(plugins_dir=None))
    assert not problems
    assert config is not None
    (component,) = [one for one in config.collectors if one.name == "logs"]
    options = component.options
    assert options.window == 300
    assert options.recent == 256 << 10
    assert options.formats["/srv/app/*.out"].continues == "\\s"
    masked = options.redact.redactor().redact(b"customer 4711 paid").data
    assert masked == b"customer <customer> paid"


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG.replace("5m", "1s").replace("(\\\\d+)", "("))
    _, problems = load(path, discover(plugins_dir=None))
    assert any("window" in one.text and one.file == str(path) and one.line for one in problems)
