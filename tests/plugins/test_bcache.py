"""Collector bcache: amounts the kernel rounds, ratios worth telling, names of disks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.bcache import Bcache, amount, register_collectors

SET = "deaddd54-c735-46d5-868e-f331c5fd7c74"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Bcache]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Bcache, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Bcache)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    stats = ("cache_hits", "cache_misses", "cache_bypass_hits", "bypassed")
    names = ["cache_available_percent", "cache0/io_errors", "cache0/written", "bdev0/dirty_data"]
    names += [f"bdev0/stats_total/{name}" for name in stats]
    assert_survives(data, Bcache, "busy", [f"sys/fs/bcache/{SET}/{name}" for name in names])


def test_a_host_without_bcache_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Bcache)
    with pytest.raises(Unavailable, match="no bcache"):
        here.collector.probe()
    # The module is loaded, nothing is cached.
    here.write("sys/fs/bcache/register", b"")
    with pytest.raises(Unavailable, match="no bcache"):
        here.collector.probe()


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (b"0", 0),
        (b"512", 512),
        (b"0.5k", 512),
        (b"1.5K", 1536),
        (b"20.4G", 20.4 * 2**30),
        (b"999.9T", 999.9 * 2**40),
        (b"-1.5k", None),
        (b"k", None),
        (b".5G", None),
        (b"1.2.3k", None),
        (b"1e5", None),
        (b"1 k", None),
        (b"nan", None),
        (b"9" * 400 + b"Y", None),
        (b"", None),
        (None, None),
    ],
)
def test_an_amount_for_people_is_bytes(text: bytes | None, octets: float | None) -> None:
    assert amount(text) == (octets if octets is None else pytest.approx(octets))


def test_a_disk_is_called_by_its_name_where_the_kernel_links_to_it(
    stage: Callable[..., Any],
) -> None:
    here = stage(Bcache)
    folder = f"sys/fs/bcache/{SET}"
    for disk, file in (("nvme0n1/nvme0n1p2", "io_errors"), ("sdb", "dirty_data")):
        here.write(f"sys/devices/block/{disk}/bcache/{file}", b"4\n")
    here.write(f"{folder}/cache_available_percent", b"50\n")
    blocks = here.folder / "sys" / "devices" / "block"
    (here.folder / folder / "bdev0").symlink_to(blocks / "sdb" / "bcache")
    (here.folder / folder / "cache0").symlink_to(blocks / "nvme0n1" / "nvme0n1p2" / "bcache")
    where = f"vedette.bcache.set={SET},system.device"
    assert here.values() == {
        f"vedette.bcache.available{{vedette.bcache.set={SET}}}": 0.5,
        f"vedette.bcache.cache.errors{{{where}=nvme0n1p2}}": 4,
        f"vedette.bcache.dirty{{{where}=sdb}}": 4,
    }


def test_what_would_make_the_kernel_walk_the_cache_is_not_read(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stage(Bcache)
    costly = ("average_key_size", "root_usage_percent", "cache0/priority_stats")
    for name in ("cache_available_percent", "cache0/io_errors", *costly):
        here.write(f"sys/fs/bcache/{SET}/{name}", b"7\n")
    opened = []
    open_ = os.open

    def spy(path: str, *rest: int) -> int:
        opened.append(path.partition(f"{SET}/")[2])
        return open_(path, *rest)

    monkeypatch.setattr("vedette_plugins._procfs.os.open", spy)
    assert len(here.values()) == 2
    assert {"cache_available_percent", "cache0/io_errors"} <= set(opened)
    assert not set(opened) & set(costly)
