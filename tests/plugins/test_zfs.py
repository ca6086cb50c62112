"""Collector zfs: states of pools, sums over datasets, ratios of the ARC worth telling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.zfs import Zfs, kstat, register_collectors

KSTAT = "proc/spl/kstat/zfs"
ARC = b"size 4 1\n"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Zfs]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Zfs, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Zfs)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = ("arcstats", "zil", "tank/state", "tank/objset-36", "tank/objset-8a")
    assert_survives(data, Zfs, "life", [f"{KSTAT}/{name}" for name in names])


def test_a_host_without_zfs_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="no ZFS module"):
        stage(Zfs).collector.probe()


def test_a_module_without_a_pool_still_has_an_arc(stage: Callable[..., Any]) -> None:
    here = stage(Zfs)
    here.write(f"{KSTAT}/arcstats", ARC)
    here.collector.probe()
    assert here.values() == {"vedette.zfs.arc.size": 1}


@pytest.mark.parametrize(
    ("state", "degraded", "shown"),
    [
        (b"ONLINE\n", 0, "online"),
        (b"DEGRADED\n", 1, "degraded"),
        (b"SUSPENDED\n", 1, "suspended"),
        (b"FAULTED\n", 1, "faulted"),
        (b"UNAVAIL\n", 1, "unavail"),
        (b"SOMETHING\n", 1, "other"),
    ],
)
def test_a_pool_in_any_state_but_online_is_degraded(
    stage: Callable[..., Any], state: bytes, degraded: int, shown: str
) -> None:
    here = stage(Zfs)
    here.write(f"{KSTAT}/arcstats", ARC)
    here.write(f"{KSTAT}/tank/state", state)
    read = here.values()
    assert read["vedette.zfs.pool.degraded{vedette.zfs.pool=tank}"] == degraded
    states = [key for key in read if key.startswith("vedette.zfs.pool.state")]
    assert states == [
        f"vedette.zfs.pool.state{{vedette.zfs.pool=tank,vedette.zfs.pool.state={shown}}}"
    ]


def test_a_dataset_that_cannot_be_read_gives_no_sum_rather_than_one_that_leaps(
    stage: Callable[..., Any],
) -> None:
    here = stage(Zfs)
    here.write(f"{KSTAT}/arcstats", ARC)
    row = b"nread 4 %d\nnwritten 4 0\nreads 4 0\nwrites 4 0\n"
    key = "vedette.zfs.pool.io{vedette.zfs.pool=tank,disk.io.direction=read}"
    here.write(f"{KSTAT}/tank/objset-1", row % 5)
    seen = []
    for text in (row % 10**12, b"", row % 10**12):
        here.write(f"{KSTAT}/tank/objset-2", text)
        seen.append(here.values().get(key))
    assert seen == [10**12 + 5, None, 10**12 + 5]


@pytest.mark.parametrize(
    ("hits", "misses", "ratio"),
    [(80, 20, 0.8), (79, 20, None), (0, 100, 0.0), (-5, 200, None)],
)
def test_the_hit_ratio_is_that_of_the_tick(
    stage: Callable[..., Any], hits: int, misses: int, ratio: float | None
) -> None:
    here = stage(Zfs)
    text = (
        b"size 4 1\ndemand_data_hits 4 %d\ndemand_metadata_misses 4 %d\nprefetch_data_hits 4 %d\n"
    )
    here.write(f"{KSTAT}/arcstats", text % (1000, 1000, 0))
    assert "vedette.zfs.arc.hit_ratio" not in here.values()
    here.write(f"{KSTAT}/arcstats", text % (1000 + hits, 1000 + misses, 5000))
    assert here.values().get("vedette.zfs.arc.hit_ratio") == ratio


def test_a_kstat_is_a_name_a_type_and_a_number() -> None:
    text = (
        b"23 1 0x01 7 2160 221578688875 6665999035587\n"
        b"name                            type data\n"
        b"dataset_name                    7    pool3\n"
        b"writes                          4    4\n"
        b"below_zero                      4    18446744073709537686\n"
    )
    assert kstat(text) == {b"writes": 4}
