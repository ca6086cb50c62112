"""Collector bonding: lines of a bond that are there and that work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.bonding import Bonding, lines, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Bonding]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Bonding, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Bonding)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Bonding, "two", ["proc/self/net/bonding/bond0"])


def test_the_state_of_the_bond_itself_counts_as_no_line() -> None:
    text = b"Bonding Mode: x\nMII Status: up\n\nSlave Interface: eth0\nMII Status: down\n"
    assert lines(text) == (1, 0)


def test_a_line_that_is_coming_or_going_does_not_work_yet_or_any_more() -> None:
    row = b"Slave Interface: eth0\nMII Status: %s\n"
    assert lines(row % b"going back" + row % b"going down" + row % b"up") == (3, 1)


def test_a_bond_that_goes_ends(stage: Callable[..., Any]) -> None:
    here = stage(Bonding)
    here.write("proc/self/net/bonding/bond0", b"")
    here.write("proc/self/net/bonding/bond1", b"")
    assert {one.series.values[0] for one in here.read()} == {"bond0", "bond1"}
    (here.folder / "proc/self/net/bonding/bond0").unlink()
    assert {one.series.values[0] for one in here.read()} == {"bond1"}


def test_a_host_without_bonds_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Bonding)
    with pytest.raises(Unavailable, match="no bond"):
        here.collector.probe()
    here.write("proc/self/net/bonding/bond0", b"")
    here.collector.probe()
