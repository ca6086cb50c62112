"""The commented default configuration says what the code does, and every line of it loads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from vedette.api import (
    Collector,
    Detector,
    Duration,
    Output,
    Sample,
    Secret,
    SendResult,
    Shipment,
    Size,
    hookimpl,
)
from vedette.config import default_toml, load
from vedette.registry import Registry


class UptimeConfig(msgspec.Struct, frozen=True):
    per_core: Annotated[bool, Meta(description="One series per core.")] = False
    exclude: Annotated[list[str], Meta(description="Globs.")] = msgspec.field(
        default_factory=lambda: [f"/a/quite/long/path/{n}/*" for n in range(9)]
    )
    limit: Annotated[float | None, Meta(description="A limit.", examples=[0.5])] = None
    other: Annotated[int, Meta(description="Another limit.", ge=1)] | None = None


class Uptime(Collector):
    """How long the host is up.

    What follows is for developers.
    """

    name = "uptime"
    Config = UptimeConfig
    interval_s = 5.0

    def collect(self) -> Iterable[Sample]:
        return ()


class Optional(Uptime):
    name = "optional"
    default = False
    stability = "beta"


class Rule(msgspec.Struct, frozen=True):
    series: Annotated[str, Meta(description="Which one.")]
    hold: Annotated[Duration, Meta(description="How long.")] = Duration(30)
    where: dict[str, str] = {}


class LevelConfig(msgspec.Struct, frozen=True):
    rules: Annotated[tuple[Rule, ...], Meta(description="The rules.")] = (
        Rule("a", Duration(60)),
        Rule("b", where={"k.x": 'quoted "v"'}),
    )


class Level(Detector):
    name = "level"
    Config = LevelConfig

    def score(self, window: Any, state: Any) -> Any:
        return None


class OtlpConfig(msgspec.Struct, frozen=True):
    endpoint: Annotated[str, Meta(description="Where to.")] = "http://else"
    token: Annotated[Secret | None, Meta(description="Who.")] = None
    buffer: Annotated[Size, Meta(description="How much.")] = Size(1 << 20)


class Otlp(Output):
    name = "otlp"
    Config = OtlpConfig

    def send(self, shipment: Shipment) -> SendResult:
        return SendResult("delivered")


class Other(Otlp):
    name = "other"


def registered(*names: str) -> Registry:
    classes = {class_.name: class_ for class_ in (Uptime, Optional)}
    plugin = SimpleNamespace(
        register_collectors=hookimpl(lambda: [classes[name] for name in names]),
        register_detectors=hookimpl(lambda: [Level]),
        register_outputs=hookimpl(lambda: [Other, Otlp]),
    )
    registry = Registry()
    assert registry.add(plugin, name="test").status == "active"
    return registry


@pytest.fixture
def registry() -> Registry:
    return registered("uptime", "optional")


def test_the_default_configuration_loads_without_a_problem(
    registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(default_toml(registry))
    config, problems = load(path, registry)
    assert problems == []
    assert config is not None
    (otlp,) = config.outputs
    assert otlp.options == OtlpConfig(endpoint="http://127.0.0.1:4319")
    bare, _ = load(None, registry)
    assert bare is not None
    assert config.agent == bare.agent
    assert [c.id for c in config.collectors] == [c.id for c in bare.collectors] == ["uptime"]


def test_every_commented_setting_loads_once_it_is_not_commented(
    registry: Registry, tmp_path: Path
) -> None:
    text = default_toml(registry)
    path = tmp_path / "agent.toml"
    variants = list(uncommented(text.splitlines()))
    assert len(variants) > 30
    for lines in variants:
        path.write_text("\n".join(lines))
        config, problems = load(path, registry)
        assert problems == []
        assert config is not None


def test_a_commented_setting_is_the_default(registry: Registry, tmp_path: Path) -> None:
    text = default_toml(registry)
    path = tmp_path / "agent.toml"
    path.write_text(text)
    default, _ = load(path, registry)
    assert default is not None
    explicit = [line.removeprefix("# ") for line in text.splitlines() if not line.startswith("##")]
    path.write_text("\n".join(line for line in explicit if not line.startswith(("token", "limit"))))
    config, problems = load(path, registry)
    assert problems == []
    assert config is not None
    assert (config.agent, config.spool) == (default.agent, default.spool)
    assert config.collectors[0].options == default.collectors[0].options
    assert config.detectors[0].options == default.detectors[0].options


def test_the_order_is_not_that_of_registration() -> None:
    assert default_toml(registered("uptime", "optional")) == default_toml(
        registered("optional", "uptime")
    )


def test_comments_come_from_the_code(registry: Registry) -> None:
    text = default_toml(registry)
    section = text[text.index("## How long the host is up.") :].partition("\n\n")[0]
    assert section == (
        "## How long the host is up.\n"
        "[collectors.uptime]\n"
        "# enabled = true\n"
        '# interval = "5s"\n'
        '# timeout = "2500ms"\n'
        '# isolation = "lane"\n'
        "## One series per core.\n"
        "# per_core = false\n"
        "## Globs.\n"
        "# exclude = [\n"
        '#     "/a/quite/long/path/0/*", "/a/quite/long/path/1/*", "/a/quite/long/path/2/*",\n'
        '#     "/a/quite/long/path/3/*", "/a/quite/long/path/4/*", "/a/quite/long/path/5/*",\n'
        '#     "/a/quite/long/path/6/*", "/a/quite/long/path/7/*", "/a/quite/long/path/8/*",\n'
        "# ]\n"
        "## A limit. Not set by default; an example:\n"
        "# limit = 0.5\n"
        "## other, a whole number of at least 1: Another limit. Not set by default."
    )
    assert "for developers" not in text


def test_what_is_off_has_its_header_commented_out(registry: Registry) -> None:
    lines = default_toml(registry).splitlines()
    assert "# [collectors.optional]" in lines
    assert "## Its stability is beta." in lines
    assert "# [outputs.other]" in lines
    assert lines[lines.index("[outputs.otlp]") + 3] == 'endpoint = "http://127.0.0.1:4319"'


def test_a_list_of_tables_explains_its_keys_and_leaves_out_defaults(registry: Registry) -> None:
    text = default_toml(registry)
    assert (
        "## The rules.\n"
        "##   series: Which one. Must be set.\n"
        "##   hold: How long.\n"
        "##   where: a table.\n"
        "# rules = [\n"
        '#     { series = "a", hold = "1m" },\n'
        '#     { series = "b", where = { "k.x" = "quoted \\"v\\"" } },\n'
        "# ]\n"
    ) in text


def uncommented(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines with one setting, or one section that is off, not commented."""
    header = -1
    for number, line in enumerate(lines):
        if line.startswith(("[", "# [")):
            header = number
        elif not line.startswith("# ") or line.startswith(("#     ", "# ]")):
            continue
        variant = list(lines)
        variant[header] = variant[header].removeprefix("# ")
        variant[number] = line.removeprefix("# ")
        following = number + 1
        while line.endswith("[") and variant[following - 1] != "]":
            variant[following] = variant[following].removeprefix("# ")
            following += 1
        yield variant
