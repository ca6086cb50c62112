"""``vedette model``: what it shows and does, with a running agent and without one."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from model_cases import MinuteHost, all_series, noise
from vedette.api import Detector
from vedette.cli import main
from vedette.config import Config, load
from vedette.config.components import options_of
from vedette.control import ControlServer
from vedette.model_desk import ModelDesk
from vedette.models import ModelMetrics, Overview
from vedette.models.catalogue import DIRECTORY
from vedette.models.drift import Family
from vedette.models.history import FILE
from vedette.registry import Registry, discover
from vedette_plugins.robust import RobustConfig

SERIES = all_series(5)
ROWS = noise(2, 60 * 20, 5)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def host(tmp_path: Path) -> MinuteHost:
    """A host that has lived for some hours and is trained."""
    host = MinuteHost(tmp_path)
    host.run(ROWS[:200], SERIES)
    host.command(lambda: host.models.train("plain", {"span": 100}))
    host.run(ROWS[200:300], SERIES)
    return host


@pytest.fixture
def served(host: MinuteHost, tmp_path: Path) -> Iterator[MinuteHost]:
    """The same behind a control socket; a thread stands for the pipeline's."""
    ended = threading.Event()
    wishes: list[Any] = []

    def work() -> None:
        while not ended.is_set():
            while wishes:
                wishes.pop(0)()
            while host.later:
                host.later.pop(0)()
            ended.wait(0.002)

    thread = threading.Thread(target=work)
    thread.start()
    server = ControlServer(tmp_path, {"model": ModelDesk(host.models, wishes.append).handle})
    server.start()
    yield host
    server.stop()
    ended.set()
    thread.join()


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(["model", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def test_the_versions_are_listed_with_how_they_do(
    served: MinuteHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "list", "--state-dir", tmp_path)
    assert "plain-1  champion" in text
    assert "plain-2  shadow" in text
    assert "2 h 59 min, 5 series" in text
    assert "it was compared for 1.6 h only" in text
    assert said(capsys, "--state-dir", tmp_path) == text
    models = told(capsys, "list", "--state-dir", tmp_path)["models"]
    assert [one["id"] for one in models["versions"]] == ["plain-2", "plain-1"]
    assert models["trials"]["plain-2"]["figures"]["findings"] == 0


def test_one_version_is_shown_with_lineage_figures_and_history(
    served: MinuteHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "show", "plain-2", "--state-dir", tmp_path)
    for part in ("parent", "plain-1", "kept readings", "span = 100", "p below 0.01", "CHAMPION"):
        assert part in text
    assert "trained   plain-2" in text
    assert "champion since" in said(capsys, "show", "plain", "--state-dir", tmp_path)
    shown = told(capsys, "show", "plain-2", "--state-dir", tmp_path)
    assert shown["version"]["data"]["series"] == 5
    assert [one["event"] for one in shown["history"]] == ["training", "trained"]


def test_an_operator_promotes_rolls_back_and_tries_again(
    served: MinuteHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state-dir", tmp_path)
    text = said(capsys, "promote", "plain-2", *where, code=2)
    assert "is not better: it was compared for 1.6 h only. --force overrides." in text
    assert "plain-2 is the champion now" in said(capsys, "promote", "plain-2", "--force", *where)
    assert served.champion == "plain-2"
    assert "plain-1 is the champion again" in said(capsys, "rollback", "plain", *where)
    assert "plain-2 is tried now" in said(capsys, "shadow", "plain-2", *where)
    assert served.status("plain-2") == "shadow"
    assert "tried no more" in said(capsys, "shadow", "plain-2", "--stop", *where)
    assert served.status("plain-2") == "retired"
    assert "no earlier champion" in said(capsys, "rollback", "plain", *where, code=2)
    assert "no version 'x-1'" in said(capsys, "promote", "x-1", *where, code=2)
    assert "no detector 'x' runs" in said(capsys, "rollback", "x", *where, code=2)


def test_training_is_begun_and_waited_for(
    served: MinuteHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state-dir", tmp_path)
    text = said(capsys, "train", "plain", "--set", "span=55", "--set", "least=0.5", "--now", *where)
    assert text == "plain-3 is tried now\n"
    shown = told(capsys, "show", "plain-3", *where)["version"]
    assert shown["options"] == {"span": 55, "least": 0.5, "scream": 0}
    assert served.status("plain-2") == "retired"
    assert told(capsys, "train", *where) == {"ids": ["plain-4"]}
    text = said(capsys, "train", "plain", "--set", "span=nonsense", *where, code=2)
    assert "cannot be made with these options" in text
    assert "is not KEY=VALUE" in said(capsys, "train", "plain", "--set", "span", *where, code=2)


def test_the_history_is_proved_and_tampering_named(
    host: MinuteHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state-dir", tmp_path)
    assert "2  " in said(capsys, "history", *where)
    assert said(capsys, "history", "--verify", *where) == "entries 1 to 3: nothing was changed\n"
    assert told(capsys, "history", "plain", "--verify", *where)["proof"]["broken"] is None
    path = tmp_path / DIRECTORY / FILE
    path.write_bytes(path.read_bytes().replace(b'"training"', b'"trainings"'))
    text = said(capsys, "history", "--verify", *where, code=1)
    assert "entry 2 is not what was written" in text


def test_without_an_agent_what_it_left_is_shown_and_nothing_done(
    host: MinuteHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--state-dir", tmp_path)
    assert "plain-2  shadow" in said(capsys, "list", *where)
    assert "parent" in said(capsys, "show", "plain-2", *where)
    assert "no agent is running" in told(capsys, "list", *where)["source"]
    for wish in (("train",), ("promote", "plain-2"), ("rollback", "plain")):
        assert "no agent is running" in said(capsys, *wish, *where, code=2)
    assert "no models are kept" in said(capsys, "list", "--state-dir", tmp_path / "no", code=2)


def test_a_request_that_is_not_understood_is_told(host: MinuteHost) -> None:
    desk = ModelDesk(host.models, lambda wish: wish())
    from vedette.control import ControlError

    for request in ({}, {"action": "explode"}, {"action": "promote"}, {"action": "train"}):
        with pytest.raises(ControlError, match="not understood"):
            desk.handle({"verb": "model", **request})


def test_the_agent_s_metrics_tell_of_drift_and_of_what_shadows_cost(host: MinuteHost) -> None:
    metrics = ModelMetrics(lambda: host.models.view)
    assert [(one.series.key, one.value) for one in metrics.collect()] == [
        ("vedette.model.shadow.cpu.utilization", 0.0)
    ]
    family = Family("disk", 8, 2, 0.1)
    metrics = ModelMetrics(lambda: Overview(families=(family,)))
    assert [(one.series.key, one.value) for one in metrics.collect()] == [
        ("vedette.model.drift{vedette.resource=disk}", 0.25)
    ]


# ---------------------------------------------------------------- settings

REGISTRY = discover(plugins_dir=None)


def configured(tmp_path: Path, text: str) -> tuple[Config | None, str]:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    config, problems = load(path, REGISTRY)
    return config, "\n".join(f"{one.line}: {one.text}" for one in problems)


def test_a_shadow_has_the_detector_s_options_but_for_its_own(tmp_path: Path) -> None:
    text = "[detectors.robust]\nwarm_up = 90\nspan = 500\n[detectors.robust.shadow]\nspan = 300\n"
    config, problems = configured(tmp_path, text)
    assert config is not None, problems
    (robust,) = [one for one in config.detectors if one.name == "robust"]
    assert (robust.options.warm_up, robust.options.span) == (90, 500)
    assert (robust.shadow.warm_up, robust.shadow.span) == (90, 300)
    other, _ = configured(tmp_path, text.replace("300", "301"))
    assert other is not None
    assert other.digest != config.digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[detectors.robust.shadow]\nspam = 1\n", "2: [detectors.robust.shadow] unknown key"),
        ("[detectors.robust.shadow]\nspan = 1\n", "2: "),
        ("[detectors.robust]\nshadow = 3\n", "2: [detectors.robust] 'shadow': expected a table"),
        ("[models]\ntrain = 'sometimes'\n", "2: [models] 'train': expected five fields"),
        ("[models]\ndecide_after = '1s'\n", "2: [models] 'decide_after': 1s is not between"),
        ("[models]\nkeep = 1\n", "2: "),
    ],
)
def test_what_is_wrong_with_them_is_told_with_its_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    config, problems = configured(tmp_path, text)
    assert config is None
    assert problem in problems


def test_the_settings_of_models_are_taken(tmp_path: Path) -> None:
    config, problems = configured(tmp_path, "[models]\ntrain = '5 4 * * 1'\nreadings = '10MiB'\n")
    assert problems == ""
    assert config is not None
    assert (config.models.train, config.models.readings) == ("5 4 * * 1", 10 << 20)


def test_plain_options_are_read_as_a_file_is(tmp_path: Path) -> None:
    from vedette.assembly import maker, models_plan

    registry: Registry = REGISTRY
    config, _ = configured(tmp_path, "[detectors.forecast.shadow]\nhorizon = '3h'\n")
    assert config is not None
    plan = models_plan(config, "host")
    make = maker(registry)
    for name, base in plan.bases.items():
        made, digest = make(name, base.options)
        assert isinstance(made, Detector)
        assert digest == base.digest
    base = plan.bases["forecast"]
    assert make("forecast", base.shadow)[1] == base.shadow_digest != base.digest
    assert options_of(RobustConfig, {"span": 44}).span == 44
    with pytest.raises(ValueError, match="unknown key"):
        options_of(RobustConfig, {"spam": 44})
    with pytest.raises(ValueError, match="no detector"):
        make("nothing", {})
