"""Collector ksm: on only where pages are merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.ksm import Ksm, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Ksm]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Ksm, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Ksm)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Ksm,
        "running",
        [f"sys/kernel/mm/ksm/{name}" for name in ("run", "pages_shared", "full_scans")],
    )


KSM = "sys/kernel/mm/ksm"


def test_a_host_that_merges_nothing_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Ksm)
    for name in ("run", "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile"):
        here.write(f"{KSM}/{name}", b"0\n")
    with pytest.raises(Unavailable, match="is not running"):
        here.collector.probe()


def test_a_kernel_without_it_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="ksm/run: No such file"):
        stage(Ksm).collector.probe()


def test_what_was_merged_before_it_stopped_is_still_told(stage: Callable[..., Any]) -> None:
    here = stage(Ksm)
    for name, value in (("run", 0), ("full_scans", 5), ("pages_shared", 3)):
        here.write(f"{KSM}/{name}", b"%d\n" % value)
    for name in ("pages_sharing", "pages_unshared", "pages_volatile"):
        here.write(f"{KSM}/{name}", b"0\n")
    assert here.values()["vedette.memory.ksm.pages{vedette.memory.ksm.state=shared}"] == 3


def test_this_hosts_merging_reads_as_its_files_say(
    read_here: Callable[..., dict[str, float]],
) -> None:
    try:
        mine = read_here(Ksm)
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert mine["vedette.memory.ksm.scans"] <= int(
        Path("/sys/kernel/mm/ksm/full_scans").read_text()
    )
