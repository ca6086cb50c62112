"""Collector ipvs: sums over all services of the load balancer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.ipvs import Ipvs, balanced, register_collectors, totals


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Ipvs]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Ipvs, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Ipvs)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Ipvs, "recorded", ["proc/self/net/ip_vs", "proc/self/net/ip_vs_stats"])


HEAD = b"IP Virtual Server\nProt LocalAddress:Port\n  -> RemoteAddress:Port Forward Weight A I\n"


def test_the_connections_of_all_backends_are_added_up() -> None:
    rows = b"TCP  0A:50 rr\n  -> 0B:50 Route 1 7 3\n  -> 0C:50 Route 1 10 20\nUDP  0A:35 rr\n"
    assert balanced(HEAD + rows) == (2, 2, 17, 23)


def test_totals_are_hexadecimal() -> None:
    assert totals(b"a\nb\n  A FF 0 10 1\n") == [10, 255, 0, 16, 1]


def test_totals_that_are_garbled_are_none() -> None:
    for row in (b"", b"A FF 0 10", b"A FF 0 10 x", b"A FF 0 10 -1", b"A FF 0 10 " + b"F" * 17):
        assert totals(b"a\nb\n" + row) is None


def test_a_host_that_balances_nothing_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Ipvs)
    with pytest.raises(Unavailable, match="not loaded"):
        here.collector.probe()
    here.write("proc/self/net/ip_vs", HEAD)
    with pytest.raises(Unavailable, match="no service is balanced"):
        here.collector.probe()


def test_one_service_with_a_backend_is_enough(stage: Callable[..., Any]) -> None:
    here = stage(Ipvs)
    here.write("proc/self/net/ip_vs", HEAD + b"TCP  0A:50 rr\n  -> 0B:50 Route 1 7 3\n")
    here.collector.probe()
    assert here.values()["vedette.ipvs.active_connections"] == 7
