"""Plugins come from three places; a broken one is refused with its reason and harms no other."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vedette.api import hookimpl
from vedette.registry import PluginInfo, Registry, discover

COLLECTOR = """\
from vedette.api import Collector, gauge, hookimpl

class {title}(Collector):
    name = "{name}"
    value = gauge("{name}.value", "1", "A value.")

    def collect(self):
        yield self.value(1.0)

@hookimpl
def register_collectors():
    return [{title}]
"""


def collector(name: str) -> str:
    return COLLECTOR.format(name=name, title=name.title().replace("_", ""))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def drop_in(folder: Path) -> Callable[..., PluginInfo]:
    """Drop a plugin in beside a good one and return what became of it."""

    def drop_in(text: str, name: str = "mine") -> PluginInfo:
        (folder / "good.py").write_text(collector("good"))
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        registry = discover(plugins_dir=folder, package=None)
        by_name = {plugin.name: plugin for plugin in registry.plugins}
        assert by_name["good"].status == "active"
        assert "good" in registry.collectors
        return by_name[name]

    return drop_in


@pytest.fixture
def import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python imports from and finds distributions in."""
    path = tmp_path / "site"
    path.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(path))
    yield path
    for name in set(sys.modules) - before:
        if str(path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def distribution(path: Path, name: str, entry_points: str) -> None:
    info = path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_a_module_in_the_package_is_a_plugin_without_a_line_of_registration(
    import_path: Path,
) -> None:
    package = import_path / "shipped_for_test"
    (package / "whole").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "alpha.py").write_text(collector("alpha"))
    (package / "_shared.py").write_text("raise RuntimeError")
    (package / "whole" / "__init__.py").write_text(collector("whole"))
    (package / "whole" / "part.py").write_text("raise RuntimeError")
    registry = discover(plugins_dir=None, package="shipped_for_test")
    shipped = [plugin for plugin in registry.plugins if plugin.origin == "shipped"]
    assert shipped == [
        PluginInfo("alpha", "shipped", "shipped_for_test.alpha", "active", collectors=("alpha",)),
        PluginInfo("whole", "shipped", "shipped_for_test.whole", "active", collectors=("whole",)),
    ]
    assert list(registry.collectors) == ["alpha", "whole"]


def test_an_entry_point_of_the_group_is_a_plugin(import_path: Path) -> None:
    (import_path / "acme_module.py").write_text(collector("acme"))
    distribution(import_path, "acme", "[vedette]\nacme_plugin = acme_module\n[other]\nx = y\n")
    registry = discover(plugins_dir=None, package=None)
    assert registry.plugins == (
        PluginInfo(
            "acme_plugin",
            "installed",
            "acme_module of acme",
            "active",
            collectors=("acme",),
        ),
    )


def test_one_broken_distribution_does_not_stop_the_others(import_path: Path) -> None:
    (import_path / "acme_module.py").write_text(collector("acme"))
    distribution(import_path, "acme", "[vedette]\nacme = acme_module\n")
    distribution(import_path, "broken", "[vedette]\nno equals sign\n")
    distribution(import_path, "absent", "[vedette]\nabsent = module_that_is_not_there\n")
    distribution(import_path, "foreign", "[console_scripts]\nno equals sign\n")
    registry = discover(plugins_dir=None, package=None)
    statuses = {plugin.name: (plugin.status, plugin.reason) for plugin in registry.plugins}
    assert statuses["acme"] == ("active", "")
    assert statuses["broken"][0] == "refused"
    assert "entry points of distribution broken cannot be read" in statuses["broken"][1]
    assert "No module named 'module_that_is_not_there'" in statuses["absent"][1]
    assert "foreign" not in statuses


def test_a_file_dropped_in_is_a_plugin(folder: Path) -> None:
    (folder / "my-lab.py").write_text(collector("lab"))
    (folder / "_helper.py").write_text("raise RuntimeError")
    (folder / ".#my-lab.py").write_text("raise RuntimeError")
    (folder / "notes.txt").write_text("no Python")
    registry = discover(plugins_dir=folder, package=None)
    (info,) = registry.plugins
    assert (info.name, info.origin, info.status) == ("my-lab", "drop-in", "active")
    assert info.source == str(folder / "my-lab.py")
    assert registry.collectors["lab"](None).config is None
    assert not (folder / "__pycache__").exists()


def test_a_config_with_postponed_annotations_works_in_a_drop_in(
    drop_in: Callable[..., PluginInfo],
) -> None:
    info = drop_in(
        """
        from __future__ import annotations
        import msgspec
        from vedette.api import Collector, Duration, hookimpl

        class Mine(Collector):
            name = "mine"
            class Config(msgspec.Struct, frozen=True):
                every: Duration = Duration(1)
            def collect(self):
                return ()

        @hookimpl
        def register_collectors():
            return [Mine]
        """
    )
    assert info.reason == ""


def test_no_folder_is_no_plugin(tmp_path: Path) -> None:
    assert discover(plugins_dir=tmp_path / "absent", package=None).plugins == ()


def test_a_plugin_that_is_disabled_is_not_imported(folder: Path) -> None:
    (folder / "mine.py").write_text("raise RuntimeError('imported')")
    registry = discover(plugins_dir=folder, package=None, disable=["mine"])
    assert [(p.name, p.status, p.reason) for p in registry.plugins] == [("mine", "disabled", "")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import absent_module", "ModuleNotFoundError: No module named 'absent_module' ({file}:1)"),
        ("\nraise SystemExit(3)", "SystemExit: 3 ({file}:2)"),
        ("x = (", "SyntaxError: '(' was never closed ({file}:1)"),
        ("def f():\n    raise KeyError('k')\nf()", "KeyError: 'k' ({file}:2)"),
        ("import json\njson.loads('{')", "({file}:2)"),
        ("x = 1", "no function is marked @hookimpl"),
        (
            "@hookimpl\ndef register_colectors(): ...",
            "unknown hook 'register_colectors', did you mean 'register_collectors'?",
        ),
        (
            "@hookimpl\ndef incident_changed(incidnt): ...",
            "hook 'incident_changed' has no argument 'incidnt', did you mean 'incident'?",
        ),
        (
            "@hookimpl\ndef register_outputs(config): ...",
            "hook 'register_outputs' has no argument 'config', it has none",
        ),
        (
            "@hookimpl(wrapper=True)\ndef incident_changed():\n  yield",
            "hook 'incident_changed': wrappers are not supported",
        ),
        (
            "@hookimpl\ndef register_outputs():\n  raise SystemExit",
            "SystemExit ({file}:4)",
        ),
        (
            "@hookimpl\ndef register_outputs():\n  return 7",
            "register_outputs() returned 7, not a list of classes",
        ),
    ],
)  # fmt: skip
def test_a_broken_module_is_refused_with_its_reason_and_line(
    drop_in: Callable[..., PluginInfo], folder: Path, text: str, reason: str
) -> None:
    if "@hookimpl" in text:
        text = f"from vedette.api import hookimpl\n{text}"
    info = drop_in(text)
    assert info.status == "refused"
    assert reason.format(file=folder / "mine.py") in info.reason


CLASSES = [
    ("class X: pass", "returned <class '_vedette_drop_in.mine.X'>, which is no Collector class"),
    ("X = 3", "returned 3, which is no Collector class"),
    ("class X(Collector):\n    def collect(self): ...", "class X has no name"),
    ("class X(Good):\n    name = 'Camel'", "class X: name 'Camel' must be lower_snake_case"),
    ("class X(Collector):\n    name = 'x'", "class X does not define collect()"),
    ("class X(Good):\n    Config = dict", "class X: Config must be a msgspec.Struct"),
    ("class Config(Struct):\n    a: int", "Config field 'a' needs a default"),
    (
        "class Config(Struct):\n    timeout: int = 1",
        "Config field 'timeout' is a key that Vedette keeps for itself",
    ),
    (
        "class Config(Struct):\n    where: Path = Path('/')",
        "Config field 'where' has type Path, which agent.toml cannot express",
    ),
    (
        "class Config(Struct):\n    deep: list[tuple[Path, ...]] = []",
        "Config field 'deep' has type Path, which agent.toml cannot express",
    ),
    (
        "class Config(Struct):\n    table: dict[int, str] = {}",
        "Config field 'table': the keys of a table are text",
    ),
    (
        "class Config(Struct):\n    a: 'Absent' = 1",
        "Config: name 'Absent' is not defined",
    ),
    (
        "class Config(Struct):\n    def __post_init__(self): raise ValueError('no')",
        "is on by default, but Config() fails: ValueError: no",
    ),
    ("class X(Good):\n    interval_s = 0", "interval_s 0 must be more than 0"),
    ("class X(Good):\n    interval_s = float('nan')", "interval_s nan must be more than 0"),
    ("class X(Good):\n    timeout_s = -1", "timeout_s -1 must be more than 0, or None"),
    ("class X(Good):\n    isolation = 'jail'", "isolation 'jail' must be one of lane, process"),
    ("class X(Good):\n    stability = 'alpha'", "stability 'alpha' must be one of"),
    ("class X(Good):\n    name = 'good'", "'good' is registered by plugin 'good' already"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), CLASSES)
def test_an_unusable_class_is_refused_in_words(
    drop_in: Callable[..., PluginInfo], text: str, reason: str
) -> None:
    head = (
        "from pathlib import Path\nfrom msgspec import Struct\n"
        "from vedette.api import Collector, hookimpl\n"
        "class Good(Collector):\n    name = 'x'\n    def collect(self): ...\n"
    )
    tail = "\n@hookimpl\ndef register_collectors():\n    return [X]\n"
    if text.startswith("class Config"):
        text += "\nclass X(Good):\n    Config = Config\n"
    info = drop_in(head + text + tail)
    assert info.status == "refused"
    assert reason in info.reason


def test_a_hook_of_a_newer_version_may_be_optional(drop_in: Callable[..., PluginInfo]) -> None:
    info = drop_in(
        """
        from vedette.api import hookimpl

        @hookimpl(optionalhook=True)
        def weather_changed(weather): ...

        @hookimpl(specname="incident_changed")
        def hear(incident): ...
        """
    )
    assert (info.status, info.reason) == ("active", "")


def test_a_module_that_failed_to_import_is_not_kept(drop_in: Callable[..., PluginInfo]) -> None:
    drop_in("raise RuntimeError", "failing")
    assert "_vedette_drop_in.failing" not in sys.modules
    assert "_vedette_drop_in.good" in sys.modules


def test_the_same_name_twice_in_one_plugin_is_refused(drop_in: Callable[..., PluginInfo]) -> None:
    info = drop_in(collector("twice").replace("[Twice]", "[Twice, Twice]"))
    assert info.reason == "collector 'twice' is registered by this plugin already"


def test_a_refused_plugin_leaves_nothing_behind(folder: Path) -> None:
    text = collector("mine").replace("[Mine]", "[Mine, 3]")
    heard = "\n@hookimpl\ndef incident_changed(incident):\n    raise AssertionError\n"
    (folder / "mine.py").write_text(text + heard)
    registry = discover(plugins_dir=folder, package=None)
    (info,) = registry.plugins
    assert (info.status, info.collectors) == ("refused", ("mine",))
    assert registry.collectors == {}
    registry.notify("incident_changed", incident=None, previous=None)


def test_the_second_plugin_of_a_name_is_refused(folder: Path) -> None:
    registry = Registry()
    plugin = SimpleNamespace(incident_changed=hookimpl(lambda incident: None))
    registry.add(plugin, name="mine", source="first place")
    info = registry.add(SimpleNamespace(), name="mine")
    assert info.reason == "plugin first place is called 'mine' already"


def test_a_plugin_from_two_entry_points_is_refused_once(import_path: Path) -> None:
    (import_path / "acme_module.py").write_text(collector("acme"))
    distribution(import_path, "acme", "[vedette]\none = acme_module\ntwo = acme_module\n")
    first, second = discover(plugins_dir=None, package=None).plugins
    assert (first.status, second.status) == ("active", "refused")
    assert second.reason == "collector 'acme' is registered by plugin 'one' already"


def test_an_event_reaches_every_plugin_whatever_another_one_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Any] = []
    is_broken = True

    def breaks(incident: object) -> None:
        if is_broken:
            raise SystemExit("no")
        heard.append("mended")

    registry = Registry()
    functions: dict[str, Callable[..., object]] = {
        "first": lambda incident, previous: heard.append((incident, previous)),
        "broken": breaks,
        "last": lambda previous: heard.append(previous),
    }
    for name, function in functions.items():
        registry.add(SimpleNamespace(incident_changed=hookimpl(function)), name=name)
    with caplog.at_level(logging.INFO, "vedette.registry"):
        for _ in range(3):
            registry.notify("incident_changed", incident=1, previous=2)
        assert heard == [2, (1, 2)] * 3  # pluggy's order: the last registered hears first
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "plugin=broken hook=incident_changed error='SystemExit: no" in caplog.text
        is_broken = False
        registry.notify("incident_changed", incident=1, previous=2)
        assert heard[-3:] == [2, "mended", (1, 2)]
        is_broken = True
        registry.notify("incident_changed", incident=1, previous=2)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]


def test_ctrl_c_during_an_import_is_not_swallowed(folder: Path) -> None:
    (folder / "mine.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover(plugins_dir=folder, package=None)


def test_a_refusal_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "mine.py").write_text("x = 1")
    discover(plugins_dir=folder, package=None)
    assert "plugin refused plugin=mine reason='no function is marked @hookimpl'" in caplog.text
