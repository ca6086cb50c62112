"""agent.toml becomes typed settings, or all its problems with their lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
from vedette.config import Component, Config, bootstrap, effective_json, effective_toml, load
from vedette.registry import Registry

Write = Callable[..., Path]


class UptimeConfig(msgspec.Struct, frozen=True):
    per_core: Annotated[bool, Meta(description="One series per core.")] = False
    mode: Literal["fast", "exact"] = "fast"
    top: Annotated[int, Meta(ge=1, le=50)] = 5
    only: tuple[str, ...] = ()


class Uptime(Collector):
    name = "uptime"
    Config = UptimeConfig
    interval_s = 5.0

    def collect(self) -> Iterable[Sample]:
        return ()


class ScraperConfig(msgspec.Struct, frozen=True):
    url: str = ""
    token: Secret | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError("url must be set")


class Scraper(Collector):
    name = "scraper"
    Config = ScraperConfig
    default = False

    def collect(self) -> Iterable[Sample]:
        return ()


class Rule(msgspec.Struct, frozen=True):
    series: str
    above: float
    hold: Duration = Duration(30)
    where: dict[str, str] = {}


class LevelConfig(msgspec.Struct, frozen=True):
    rules: tuple[Rule, ...] = (Rule("shipped", 1.0),)


class Level(Detector):
    name = "level"
    Config = LevelConfig

    def score(self, window: Any, state: Any) -> Any:
        return None


class WireConfig(msgspec.Struct, frozen=True):
    endpoint: str = "http://127.0.0.1:4319"
    timeout: Duration = Duration(10)
    buffer: Size = Size(1024)
    token: Secret | None = None


class Wire(Output):
    name = "wire"
    Config = WireConfig

    def send(self, shipment: Shipment) -> SendResult:
        return SendResult("delivered")


@pytest.fixture
def registry() -> Registry:
    plugin = SimpleNamespace(
        register_collectors=hookimpl(lambda: [Uptime, Scraper]),
        register_detectors=hookimpl(lambda: [Level]),
        register_outputs=hookimpl(lambda: [Wire]),
    )
    registry = Registry()
    assert registry.add(plugin, name="test").status == "active"
    return registry


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "agent.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    write("")
    return write


@pytest.fixture
def problems(write: Write, registry: Registry, tmp_path: Path) -> Callable[..., list[str]]:
    """Load ``text`` and return what was found, as ``line: text``; errors must prevent a start."""

    def problems(text: str | bytes, severity: str = "error") -> list[str]:
        config, found = load(write(text), registry)
        assert (config is None) == any(p.severity == "error" for p in found)
        assert {p.severity for p in found} <= {severity}
        name = Path(found[0].file).name if found else ""
        assert all(Path(p.file).name == name for p in found)
        return [f"{p.line}: {p.text}" for p in found]

    return problems


@pytest.fixture
def loaded(write: Write, registry: Registry) -> Callable[[str], Config]:
    def loaded(text: str) -> Config:
        config, found = load(write(text), registry)
        assert found == []
        assert config is not None
        return config

    return loaded


def by_id(components: tuple[Component, ...]) -> dict[str, Component]:
    return {component.id: component for component in components}


def test_no_file_is_a_complete_configuration(registry: Registry, tmp_path: Path) -> None:
    config, found = load(None, registry, places=[tmp_path / "absent.toml"])
    assert found == []
    assert config is not None
    assert config.agent.interval == 1.0
    assert config.path == ""
    assert [c.id for c in config.collectors] == ["uptime"]  # on by default; scraper is not
    assert [c.id for c in config.detectors] == ["level"]
    assert config.outputs == ()


def test_a_file_that_was_named_must_exist(registry: Registry, tmp_path: Path) -> None:
    config, found = load(tmp_path / "absent.toml", registry)
    assert config is None
    assert found[0].text == "cannot be read: No such file or directory"
    assert found[0].file == str(tmp_path / "absent.toml")


def test_the_first_place_that_exists_is_read(registry: Registry, write: Write) -> None:
    path = write('[agent]\ninterval = "2s"\n')
    config, _ = load(None, registry, places=[path.with_name("absent.toml"), path])
    assert config is not None
    assert config.agent.interval == 2.0
    assert config.path == str(path)


def test_values_have_the_types_of_the_structs(loaded: Callable[[str], Config]) -> None:
    config = loaded(
        """
        [agent]
        interval = "500ms"
        window = "30s"
        disable = ["noisy"]
        labels = { site = "rack 7" }
        [spool]
        cap = "64MiB"
        [collectors.uptime]
        per_core = true
        only = ["a", "b"]
        interval = "2s"
        timeout = "1500ms"
        isolation = "process"
        [outputs.wire]
        buffer = 4096
        token = { env = "TOKEN" }
        """.replace('disable = ["noisy"]', "")
    )
    assert config.agent.interval == 0.5
    assert isinstance(config.agent.interval, Duration)
    assert config.agent.labels == {"site": "rack 7"}
    assert config.spool.cap == 64 << 20
    (uptime,) = config.collectors
    assert uptime.options == UptimeConfig(per_core=True, only=("a", "b"))
    assert (uptime.interval_s, uptime.timeout_s, uptime.isolation) == (2.0, 1.5, "process")
    (wire,) = config.outputs
    assert wire.enabled
    assert wire.options.buffer == 4096
    assert wire.options.token.env == "TOKEN"


@pytest.mark.parametrize(
    ("given", "share", "shown"),
    [
        ("'2%'", 0.02, "2%"),
        ("0.005", 0.005, "0.5%"),
        ("1", 1.0, "100%"),
        ("'off'", 0.0, "off"),
        ("0", 0.0, "off"),
    ],
)
def test_the_cpu_budget_is_a_percentage_a_share_or_off(
    loaded: Callable[[str], Config], given: str, share: float, shown: str
) -> None:
    config = loaded(f"[agent]\ncpu_budget = {given}")
    assert config.agent.cpu_budget == share
    assert f'cpu_budget = "{shown}"' in effective_toml(config)


def test_enabled_overrides_the_default_of_a_class(loaded: Callable[[str], Config]) -> None:
    config = loaded("[collectors.uptime]\nenabled = false\n[collectors.scraper]\nurl = 'u'\n")
    assert {c.id: c.enabled for c in config.collectors} == {"uptime": False, "scraper": True}


def test_an_array_of_tables_makes_several_instances(loaded: Callable[[str], Config]) -> None:
    config = loaded(
        """
        [[collectors.scraper]]
        id = "one"
        url = "http://1"
        [[collectors.scraper]]
        id = "two"
        url = "http://2"
        interval = "3s"
        """
    )
    components = by_id(config.collectors)
    assert components["scraper.one"].options.url == "http://1"
    assert components["scraper.two"].interval_s == 3.0
    assert components["scraper.two"].name == "scraper"


def test_instances_need_ids_of_their_own(problems: Callable[..., list[str]]) -> None:
    found = problems(
        '[[collectors.scraper]]\nurl = "u"\n'
        '[[collectors.scraper]]\nid = "a"\nurl = "u"\n'
        '[[collectors.scraper]]\nid = "a"\nurl = "u"\n'
        '[[collectors.scraper]]\nid = "a b"\nurl = "u"\n'
    )
    assert len(found) == 3
    assert found[0].startswith("1: [[collectors.scraper]] number 1 has no 'id'")
    assert found[1].startswith("7: [[collectors.scraper]] number 3 'id': 'a' is used already at")
    assert found[1].endswith("agent.toml:4")
    assert found[2].startswith(
        "10: [[collectors.scraper]] number 4 'id': expected a text of letters"
    )


def test_an_id_in_a_single_table_is_explained(problems: Callable[..., list[str]]) -> None:
    (found,) = problems('[collectors.uptime]\nid = "x"\n')
    assert found == (
        "2: [collectors.uptime] 'id' tells several apart; write [[collectors.uptime]] for that"
    )


def test_a_list_that_was_given_replaces_the_default_list(loaded: Callable[[str], Config]) -> None:
    config = loaded(
        """
        [[detectors.level.rules]]
        series = "a"
        above = 2
        hold = "5s"
        [[detectors.level.rules]]
        series = "b"
        above = 3.5
        where = { "k.x" = "v" }
        """
    )
    (level,) = config.detectors
    assert level.options.rules == (Rule("a", 2.0, Duration(5)), Rule("b", 3.5, where={"k.x": "v"}))


def test_all_problems_are_told_in_one_run_with_their_lines(
    problems: Callable[..., list[str]],
) -> None:
    text = """\
[agent]
intervall = "1s"
window = "1 minute"
max_series = 0

[collectors.uptime]
per_core = "yes"
mode = "fsat"
"to\\u0070" = 99
only = ["a", 7]

[collectors.uptim]

[[detectors.level.rules]]
series = "x"
above = 1

[[detectors.level.rules]]
serie = "y"
above = "high"

[outputs.wire]
token = "hunter2"
timeout = 5

[spol]
"""
    assert problems(text) == [
        "2: [agent] unknown key 'intervall', did you mean 'interval'?",
        (
            "3: [agent] 'window': '1 minute' is no duration: a number and one of ms, s, m, h, d, "
            "such as '10s'"
        ),
        ("4: [agent] 'max_series': expected a whole number from 1 to 10000000, found the number 0"),
        "7: [collectors.uptime] 'per_core': expected true or false, found the text 'yes'",
        (
            "8: [collectors.uptime] 'mode': expected one of 'exact', 'fast', "
            "found the text 'fsat', did you mean 'fast'?"
        ),
        ("9: [collectors.uptime] 'top': expected a whole number from 1 to 50, found the number 99"),
        "10: [collectors.uptime] 'only' number 2: expected a text, found the number 7",
        "12: [collectors.uptim]: no collector is called 'uptim', did you mean 'uptime'?",
        "18: [[detectors.level.rules]] number 2 has no 'series', which must be set",
        "19: [[detectors.level.rules]] number 2 unknown key 'serie', did you mean 'series'?",
        "20: [[detectors.level.rules]] number 2 'above': expected a number, found the text 'high'",
        (
            "23: [outputs.wire] 'token': a secret is not written here: put it in a file only the "
            'agent can read and name it, { file = "/absolute/path" }, or name a variable of the '
            'environment, { env = "NAME" }'
        ),
        "24: [outputs.wire] 'timeout': expected a duration such as '10s', found the number 5",
        "26: unknown section [spol], did you mean 'spool'?",
    ]


def test_a_check_of_the_plugin_is_told_at_the_line_of_its_table(
    problems: Callable[..., list[str]],
) -> None:
    assert problems("\n[collectors.scraper]\ninterval = '1s'\n") == [
        "2: [collectors.scraper]: url must be set"
    ]


def test_an_unknown_key_without_a_near_one_lists_what_is_known(
    problems: Callable[..., list[str]],
) -> None:
    (found,) = problems("[spool]\nzzz = 1\n")
    assert found == "2: [spool] unknown key 'zzz'; known: cap, segment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "1: 'x' stands in no section; put it below one, such as [agent]"),
        ("agent = 1", "1: 'agent': expected a table, found the number 1"),
        ("collectors = 1", "1: 'collectors': expected a table, found the number 1"),
        (
            "[collectors]\nuptime = 1",
            "2: [collectors] 'uptime': expected a table, found the number 1",
        ),
        ("[agent]\ninterval = true", "expected a duration such as '10s', found true"),
        ("[agent]\ncpu_budget = true", "expected a share such as '2%' or 'off', found true"),
        (
            "[agent]\ncpu_budget = nan",
            "expected a share such as '2%' or 'off', found the number nan",
        ),
        ("[agent]\ncpu_budget = 'much'", "2: [agent] 'cpu_budget': 'much' is no share: a number"),
        ("[agent]\nlabels = []", "2: [agent] 'labels': expected a table, found a list"),
        ("[agent.labels]\na = 1", "2: [agent.labels] 'a': expected a text, found the number 1"),
        ("[outputs.wire]\nbuffer = -1", "expected a size such as '64MiB', found the number -1"),
        ("[outputs.wire]\nbuffer = inf", "expected a size such as '64MiB', found the number inf"),
        (
            "[collectors.uptime]\ntop = 2026-01-01",
            "expected a whole number from 1 to 50, found a date",
        ),
        (
            "[[detectors.level.rules]]\nseries='a'\nabove = nan",
            "expected a number, found the number nan",
        ),
        (
            "[detectors.level]\nrules = ['x']",
            "2: [detectors.level] 'rules' number 1: expected a table",
        ),
        (
            "[detectors.level]\nrules = 'x'",
            "2: [detectors.level] 'rules': expected a list, each entry a table",
        ),
    ],
)
def test_a_wrong_type_names_what_was_expected_and_what_was_found(
    problems: Callable[..., list[str]], text: str, expected: str
) -> None:
    (found,) = problems(text)
    assert expected in found


def test_a_nested_table_in_a_multi_line_value_has_its_own_line(
    problems: Callable[..., list[str]],
) -> None:
    text = """\
[detectors.level]
rules = [  # comment with ] and "
    { series = '''
]''', above = 1 },
    { series = "b", abvoe = 1, above = 2 },
]
"""
    assert problems(text) == [
        "5: [[detectors.level.rules]] number 2 unknown key 'abvoe', did you mean 'above'?"
    ]


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ('{ file = "/run/token" }', True),
        ('{ env = "TOKEN" }', True),
        ('"hunter2"', False),
        ("{ file = 'hunter2' }", False),
        ("{ env = 'hunter2 ' }", False),
        ("{ value = 'hunter2' }", False),
        ("{ file = '/a', env = 'hunter2' }", False),
        ("['hunter2']", False),
    ],
)
def test_a_secret_is_a_reference_and_never_repeated(
    problems: Callable[..., list[str]], value: str, is_good: bool
) -> None:
    found = problems(f"[outputs.wire]\ntoken = {value}\n")
    assert bool(found) != is_good
    assert "hunter2" not in "".join(found)


def test_a_text_under_a_sensitive_key_is_not_repeated(problems: Callable[..., list[str]]) -> None:
    (found,) = problems("[outputs.wire]\ntoken.password = 'hunter2'\n")
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[agent]\ninterval='7s'", "2: [agent] window = 1m is no multiple of interval = 7s"),
        (
            "[agent]\nwindow='90500ms'",
            "2: [agent] window = 90500ms is no multiple of interval = 1s",
        ),
        ("[agent]\ninterval='1ms'", "2: [agent] 'interval': 1ms is not between 10ms and 1h"),
        ("[agent]\nwindow='2h'", "2: [agent] 'window': 2h is not between 1s and 1h"),
        (
            "[agent]\ncpu_budget='0.01%'",
            "2: [agent] 'cpu_budget': 0.01% is not between 0.1% and 100%, nor 'off'",
        ),
        (
            "[agent]\ncpu_budget=2",
            "2: [agent] 'cpu_budget': 200% is not between 0.1% and 100%, nor 'off'",
        ),
        (
            "[agent]\ncpu_budget=-0.1",
            "2: [agent] 'cpu_budget': -10% is not between 0.1% and 100%, nor 'off'",
        ),
        ("[agent]\nstate_dir='here'", "expected an absolute path, found 'here'"),
        (
            "[agent]\nlabels={'host.name'='x'}",
            "[agent.labels] 'host.name': the agent sets this itself",
        ),
        ("[agent]\nlabels={'a b'='x'}", "[agent.labels] 'a b': the name of a label"),
        (
            "[spool]\nsegment='200MiB'",
            "2: [spool] segment = 200MiB is more than half of cap = 256MiB",
        ),
        (
            "[receiver]\nlisten='4319'",
            "expected address:port such as \"127.0.0.1:4319\", found '4319'",
        ),
        (
            "[collectors.uptime]\ninterval='1500ms'",
            "2: [collectors.uptime] 'interval': 1500ms is no multiple of [agent] interval, which",
        ),
        ("[collectors.uptime]\ninterval='0s'", "0s is no multiple of [agent] interval"),
        (
            "[collectors.uptime]\ntimeout='0s'",
            "2: [collectors.uptime] 'timeout': expected more than 0s",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_told(
    problems: Callable[..., list[str]], text: str, expected: str
) -> None:
    (found,) = problems(text)
    assert expected in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[agent]\ndisable=['tset']", "no plugin is called 'tset', did you mean 'test'?"),
        ("[receiver]\nlisten='0.0.0.0:1'", "0.0.0.0 is open to other hosts"),
        ("[agent]\nplugins_dir='/does/not/exist'", "there is no folder '/does/not/exist'"),
        ("[collectors.uptime]\ntimeout='9s'", "9s is more than the interval"),
    ],
)
def test_what_is_only_doubtful_is_a_warning(
    problems: Callable[..., list[str]], text: str, expected: str
) -> None:
    (found,) = problems(text, "warning")
    assert expected in found


def test_the_default_interval_of_a_class_follows_a_coarser_base(
    loaded: Callable[[str], Config],
) -> None:
    (uptime,) = loaded('[agent]\ninterval = "3s"\n').collectors
    assert uptime.interval_s == 6.0  # 5 s is no multiple of 3 s, and nobody asked for 5 s


def test_settings_of_a_refused_plugin_do_not_stop_the_agent(
    write: Write, registry: Registry
) -> None:
    registry.add(SimpleNamespace(), name="gpu", source="gpu.py")
    config, found = load(write("[collectors.gpu]\n[collectors.mine]\n"), registry)
    assert config is not None
    assert [(p.severity, p.line, p.text) for p in found] == [
        ("warning", 1, "[collectors.gpu] is ignored: belongs to 'gpu' (refused)"),
        ("warning", 2, "[collectors.mine] is ignored: may belong to 'gpu' (refused)"),
    ]


def test_a_misspelt_component_is_an_error_even_beside_a_refused_plugin(
    write: Write, registry: Registry
) -> None:
    registry.add(SimpleNamespace(), name="gpu", source="gpu.py")
    config, found = load(write("[collectors.uptme]\n"), registry)
    assert config is None
    assert found[0].text.endswith("did you mean 'uptime'?")


def test_bootstrap_reads_the_agent_section_alone(write: Write) -> None:
    section, found = bootstrap(write('[agent]\nplugins_dir = "/p"\nwindow = 3\n[nonsense]\n'))
    assert section.plugins_dir == "/p"
    assert section.window == 60.0  # wrong, so at its default
    assert [p.line for p in found] == [3]


def test_effective_settings_load_again_and_have_the_same_digest(
    loaded: Callable[[str], Config],
) -> None:
    config = loaded(
        """
        [agent]
        window = "30s"
        labels = { "a.b" = "tab\\t\\"quoted\\" \\u007f" }
        [[collectors.scraper]]
        id = "x"
        url = "u"
        [[detectors.level.rules]]
        series = "s"
        above = 1
        """
    )
    again = loaded(effective_toml(config))
    assert again.digest == config.digest
    assert effective_json(again) == effective_json(config)
    assert by_id(again.collectors)["scraper.x"].options == ScraperConfig(url="u")


def test_a_digest_changes_with_a_setting_and_not_with_a_secret(
    loaded: Callable[[str], Config],
) -> None:
    one = loaded("[outputs.wire]\ntoken = { file = '/one' }\n")
    two = loaded("# moved\n\n[outputs.wire]\ntoken = { env = 'TWO' }\n")
    three = loaded("[outputs.wire]\ntoken = { env = 'TWO' }\nbuffer = 1\n")
    assert one.digest == two.digest != three.digest
    assert 'token = "***"' in effective_toml(one)
    assert '"token": "***"' in effective_json(one)


TEXT = st.text(alphabet="[]{}=\"'.,#\\ \n\rag1é", max_size=60)
KEYS = st.sampled_from(["agent", "collectors", "uptime", "level", "rules", "interval", "id", "a b"])
VALUES = st.recursive(
    st.sampled_from(["1", "-1", "1e400", "nan", "true", "'x'", '"10s"', "2026-01-01", "07:32:00"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(KEYS, inner), max_size=2, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"'{key}' = {value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=6,
)
LINES = (
    st.lists(KEYS, min_size=1, max_size=3).map(lambda p: "['" + "'.'".join(p) + "']")
    | st.lists(KEYS, min_size=1, max_size=3).map(lambda p: "[['" + "'.'".join(p) + "']]")
    | st.tuples(KEYS, VALUES).map(lambda pair: f"'{pair[0]}' = {pair[1]}")
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(LINES, max_size=8).map("\n".join))
def test_any_toml_is_a_configuration_or_has_problems(
    text: str, write: Write, registry: Registry
) -> None:
    config, found = load(write(text), registry)
    assert (config is None) == any(problem.severity == "error" for problem in found)
    assert all(0 < problem.line <= text.count("\n") + 1 for problem in found)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.binary(max_size=200) | TEXT.map(str.encode))
def test_garbage_is_never_an_exception(raw: bytes, write: Write, registry: Registry) -> None:
    config, found = load(write(raw), registry)
    assert (config is None) == any(problem.severity == "error" for problem in found)
