"""The verbs that need no running agent: check, plugins, config, collect."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vedette.api import Collector, Sample, Unavailable, Usage, counter, gauge
from vedette.cli import main
from vedette.commands import collect as module
from vedette.commands.check import check_state_dir
from vedette.commands.loading import destination
from vedette.config import Config, SpoolSection
from vedette.terminal import CommandError

DROP_IN = """
from vedette.api import Collector, Unavailable, gauge, hookimpl

class Tide(Collector):
    name = "tide"
    level = gauge("tide.level", "m", "Water.")
    def probe(self):
        raise Unavailable("no sea here")
    def collect(self):
        yield self.level(1.0)

class Broken(Collector):
    name = "broken"
    level = gauge("broken.level", "m", "Water.")
    def probe(self):
        raise RuntimeError("cable\\x1b[2J cut")
    def collect(self):
        yield self.level(1.0)

@hookimpl
def register_collectors():
    return [Tide, Broken]
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wrap, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def setup(tmp_path: Path) -> Path:
    """Return an agent.toml with its own state and plugin directories."""
    plugins = tmp_path / "plugins.d"
    plugins.mkdir(mode=0o755)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    path = tmp_path / "agent.toml"
    path.write_text(f'[agent]\nstate_dir = "{state}"\nplugins_dir = "{plugins}"\n')
    path.chmod(0o640)
    return path


def drop_in(setup: Path, name: str, text: str) -> None:
    path = setup.parent / "plugins.d" / name
    path.write_text(text)
    path.chmod(0o644)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


# ---------------------------------------------------------------- check


def test_a_sound_setup_checks_out(setup: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = asked(capsys, "check", "--config", str(setup))
    assert (code, shown.splitlines()[-1]) == (0, "ok")
    assert str(setup) in shown
    assert "cpu" in shown


def test_every_error_is_told_at_once_with_its_line(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.write_text(setup.read_text() + '[collectors.cpu]\nintervall = "1s"\n[spool]\ncap = "x"\n')
    code, shown, _ = asked(capsys, "check", "--config", str(setup))
    assert code == 2
    assert f"{setup}:5: " in shown
    assert f"{setup}:7: " in shown
    assert shown.splitlines()[-1] == "2 errors, 0 warnings"


def test_a_refused_plugin_and_a_failing_collector_are_warnings(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop_in(setup, "tide.py", DROP_IN)
    drop_in(setup, "bad.py", "import nothing_of_that_name\n")
    code, shown, _ = asked(capsys, "check", "--config", str(setup), "--json")
    answer = json.loads(shown)
    assert (code, answer["result"]) == (1, "warnings")
    texts = [problem["text"] for problem in answer["problems"]]
    assert any("plugin bad is refused" in text for text in texts)
    assert any("broken fails at its first look: RuntimeError" in text for text in texts)
    resting = [part for part in answer["parts"] if part["state"] == "resting"]
    assert {
        "kind": "collector",
        "name": "tide",
        "state": "resting",
        "note": "no sea here",
    } in resting


def test_what_a_plugin_says_is_escaped(setup: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drop_in(setup, "tide.py", DROP_IN)
    for verb in ("check", "plugins"):
        _, shown, _ = asked(capsys, verb, "--config", str(setup))
        assert "\x1b" not in shown
        assert "cable\\x1b[2J cut" in shown


@pytest.mark.parametrize(
    ("mode", "severity", "word"), [(0o777, "error", "may write"), (0o755, "warning", "may read")]
)
def test_a_state_directory_open_to_others_is_a_problem(
    tmp_path: Path, mode: int, severity: str, word: str
) -> None:
    tmp_path.chmod(mode)
    (problem,) = check_state_dir(tmp_path, None)
    assert problem.severity == severity
    assert word in problem.text
    assert "chmod 0700" in problem.text


def test_a_state_directory_to_be_made_is_fine_and_a_file_in_its_place_is_not(
    tmp_path: Path,
) -> None:
    assert check_state_dir(tmp_path / "new" / "one", None) == []
    (tmp_path / "file").touch()
    assert "no directory" in check_state_dir(tmp_path / "file", None)[0].text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "may not make it" in check_state_dir(tmp_path / "new", None)[0].text


def test_a_disk_with_less_room_than_the_spool_may_take_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    huge = Config(spool=SpoolSection(cap=1 << 60))  # type: ignore[arg-type]
    (problem,) = check_state_dir(tmp_path, huge)
    assert problem.severity == "warning"
    assert "lower cap" in problem.text


class Options(msgspec.Struct):
    text: str = "no url"
    url: str = ""


def test_the_destination_is_read_from_the_url_among_the_options() -> None:
    assert destination(Options()) == ""
    assert destination(Options(url="http://127.0.0.1:4319/v1")) == "127.0.0.1:4319"
    assert destination(Options(url="https://[::1]/x")) == "[::1]:443"
    for wrong in ("http://", "http://host:99999/", "http://[::1/"):
        with pytest.raises(ValueError, match=r"."):
            destination(Options(url=wrong))


# ---------------------------------------------------------------- plugins, config


def test_the_plugins_are_listed_with_what_became_of_them(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop_in(setup, "tide.py", DROP_IN)
    drop_in(setup, "bad.py", "import nothing_of_that_name\n")
    setup.write_text(setup.read_text() + 'disable = ["load"]\n[collectors.cpu]\nenabled = false\n')
    code, shown, _ = asked(capsys, "plugins", "--config", str(setup))
    assert code == 0
    rows = {tuple(line.split()[:3]) for line in shown.splitlines()}
    assert {
        ("collector", "cpu", "off"),
        ("collector", "tide", "resting"),
        ("collector", "memory", "ok"),
        ("detector", "robust", "ok"),
        ("tide", "drop-in", "active"),
        ("bad", "drop-in", "refused"),
    } <= rows
    assert "disabled" in shown
    assert "nothing_of_that_name" in shown


def test_the_plugins_as_json_carry_parts_and_origins(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown, _ = asked(capsys, "plugins", "--config", str(setup), "--json")
    answer = json.loads(shown)
    assert {"kind": "detector", "name": "level", "state": "ok", "note": ""} in answer["parts"]
    assert any(one["origin"] == "shipped" for one in answer["plugins"])


def test_the_default_configuration_is_a_configuration_without_problems(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, default, _ = asked(capsys, "config", "default")
    assert code == 0
    setup.write_text(default)
    assert asked(capsys, "config", "show", "--config", str(setup))[0] == 0


def test_the_configuration_in_effect_is_shown_as_toml_and_json(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown, _ = asked(capsys, "config", "show", "--config", str(setup))
    assert shown.startswith(f"# in effect with {setup}\n")
    code, shown, _ = asked(capsys, "config", "show", "--config", str(setup), "--json")
    assert code == 0
    assert json.loads(shown)["agent"]["state_dir"] == str(setup.parent / "state")


def test_a_wrong_configuration_is_not_shown_but_explained(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.write_text("[agent]\nintervall = 1\n")
    for verb in (["config", "show"], ["collect", "cpu"]):
        code, shown, told = asked(capsys, *verb, "--config", str(setup))
        assert (code, shown) == (2, "")
        assert f"{setup}:2: " in told
        assert "vedette check" in told


# ---------------------------------------------------------------- collect


def test_a_collector_prints_key_value_and_unit(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, _ = asked(capsys, "collect", "load", "--config", str(setup))
    assert code == 0
    rows = [line.split() for line in shown.splitlines()]
    assert "system.cpu.load_average.1m" in [row[0] for row in rows]
    assert all(len(row) == 3 and float(row[1]) >= 0 for row in rows)


def test_a_collector_without_its_source_says_what_is_missing(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop_in(setup, "tide.py", DROP_IN)
    code, _, told = asked(capsys, "collect", "tide", "--config", str(setup))
    assert (code, told) == (2, "vedette: tide has nothing to read here: no sea here\n")
    code, _, told = asked(capsys, "collect", "broken", "--config", str(setup))
    assert code == 2
    assert "probe() failed with RuntimeError: cable\\x1b[2J cut" in told


def test_an_unknown_collector_gets_the_nearest_name(
    setup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = asked(capsys, "collect", "memry", "--config", str(setup))
    assert code == 2
    assert "did you mean 'memory'?" in told


class Traffic(Collector):
    name = "traffic"
    octets = counter("traffic.octets", "By", "Bytes.", ["direction"])
    level = gauge("traffic.level", "1", "Level.")

    def __init__(self, totals: list[dict[str, float]]) -> None:
        self.totals: Iterator[dict[str, float]] = iter(totals)
        self.closed = 0

    def collect(self) -> Iterator[Sample | Usage]:
        for direction, total in next(self.totals).items():
            yield self.octets(total, direction)
        yield self.level(0.5)
        yield Usage("network", "process", "curl", "7", 0.25, "a quarter")


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass at each sleep, and none otherwise."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))


@pytest.mark.usefixtures("stepped")
def test_a_counter_is_shown_as_its_rate_and_a_reset_as_no_rate() -> None:
    collector = Traffic([{"in": 100}, {"in": 160, "out": 5}, {"in": 10, "out": 8}])
    first, second = module.readings(collector, 2)
    found: list[dict[str, Any]] = [
        {value.series: (value.value, value.unit) for value in one.values} for one in (first, second)
    ]
    assert found[0]["traffic.octets{direction=in}"] == (60, "By/s")
    assert str(found[0]["traffic.octets{direction=out}"][0]) == "nan"
    assert found[0]["traffic.level"] == (0.5, "1")
    assert str(found[1]["traffic.octets{direction=in}"][0]) == "nan"
    assert found[1]["traffic.octets{direction=out}"] == (3, "By/s")
    assert first.usages[0].name == "curl"


@pytest.mark.usefixtures("stepped")
def test_a_source_that_goes_away_ends_the_readings_with_the_reason() -> None:
    class Gone(Traffic):
        def collect(self) -> Iterator[Sample | Usage]:
            raise Unavailable("unplugged")

    with pytest.raises(CommandError, match="nothing to read here: unplugged"):
        list(module.readings(Gone([]), 1))
