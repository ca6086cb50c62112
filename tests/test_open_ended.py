"""A collector whose source decides which metrics there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vedette.api import Collector, Instrument, NoConfig, Observation, gauge
from vedette.config import load
from vedette.lanes.reading import Reader
from vedette.registry import discover
from vedette.testing import check_collector

PLUGIN = """
from vedette.api import Collector, gauge, hookimpl

class Open(Collector):
    name = "open"
    open_ended = True

    def collect(self):
        yield gauge("any.metric", "1", "Any.")(1.0)

@hookimpl
def register_collectors():
    return [Open]
"""


class Page(Collector):
    """Whatever a page has."""

    name = "page"
    open_ended = True

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self.known: dict[str, Instrument] = {}

    def collect(self) -> Iterable[Observation]:
        for name in ("page.a", "page.b"):
            if name not in self.known:
                self.known[name] = gauge(name, "1", "As the page has it.", ("page.key",))
            yield self.known[name](1.0, "x")


def test_what_it_was_not_known_to_have_is_taken() -> None:
    check_collector(Page)
    page = Page(NoConfig())
    reader = Reader(page, page.instruments(), name="page", max_series=9, monotonic_ns=lambda: 0)
    reading = reader.read(1, 1, 10**18)
    assert [one.key for one in reading.frame.series] == [
        "page.a{page.key=x}",
        "page.b{page.key=x}",
    ]
    assert reading.invalid == 0
    assert reader.read(2, 2, 10**18).frame.series is reading.frame.series


def test_it_cannot_be_isolated(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "open.py").write_text(PLUGIN)
    path = tmp_path / "agent.toml"
    path.write_text('[collectors.open]\nisolation = "process"\n')
    _, problems = load(path, discover(plugins_dir=plugins))
    assert any("runs in a lane" in one.text for one in problems)
