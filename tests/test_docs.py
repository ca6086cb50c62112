"""What the documentation is generated from is complete."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from vedette.api import Collector
from vedette.registry import discover

PEERS = Path(__file__).parent.parent / "docs" / "peers"
COLLECTORS = discover(plugins_dir=None).collectors


@pytest.mark.parametrize("kind", COLLECTORS.values(), ids=list(COLLECTORS))
def test_what_peers_call_each_metric_is_known(kind: type[Collector]) -> None:
    told = tomli.loads((PEERS / f"{kind.name}.toml").read_text("utf-8"))
    assert set(told) == {one.name for one in kind.instruments()}
    for names in told.values():
        assert names.keys() <= {"node_exporter", "telegraf", "netdata", "otel"}
        assert all(isinstance(text, str) and text for text in names.values())


@pytest.mark.parametrize("kind", COLLECTORS.values(), ids=list(COLLECTORS))
def test_every_metric_says_what_it_is_read_from(kind: type[Collector]) -> None:
    assert not [one.name for one in kind.instruments() if not (one.source or kind.source)]


def test_no_peers_file_is_left_of_a_collector_that_is_gone() -> None:
    assert {path.stem for path in PEERS.glob("*.toml")} <= set(COLLECTORS)
