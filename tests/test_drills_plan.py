"""How large a drill may be on this host, and when it is refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

import psutil
import pytest

from vedette.api import Unavailable
from vedette.drills import links
from vedette.drills.faults import FAULTS
from vedette.drills.plan import (
    GIB,
    MB,
    Place,
    Refused,
    available_memory,
    disk_amount,
    filesystem,
    fill_amount,
    free_files,
    leak,
    memory_amount,
    plan,
    ports,
    share_of,
)
from vedette.drills.task import MIB


def test_a_memory_drill_takes_a_quarter_up_to_four_gib() -> None:
    assert memory_amount(2 * GIB) == GIB // 2
    assert memory_amount(100 * GIB) == 4 * GIB


def test_a_memory_drill_is_refused_when_less_than_a_gib_is_available() -> None:
    with pytest.raises(Refused, match="only 1000 MiB"):
        memory_amount(1000 * MIB)


def test_memory_leaks_by_twenty_to_fifty_megabytes_a_second() -> None:
    assert leak(4 * GIB, 50) == (2500 * MB, 50 * MB)
    assert leak(300 * MB, 50) == (300 * MB, 20 * MB)
    amount, rate = leak(1500 * MB, 50)
    assert (amount, rate) == (1500 * MB, 30 * MB)


def test_a_disk_drill_takes_a_twentieth_of_the_free_space_up_to_a_gib() -> None:
    assert disk_amount(10 * GIB, 20 * GIB) == GIB // 2
    assert disk_amount(500 * GIB, 1000 * GIB) == GIB


@pytest.mark.parametrize(("free", "total"), [(1.9 * GIB, 4 * GIB), (14 * GIB, 100 * GIB)])
def test_a_disk_drill_is_refused_on_a_full_disk(free: float, total: float) -> None:
    with pytest.raises(Refused, match="a disk drill needs 2 GiB and 15 %"):
        disk_amount(int(free), int(total))
    with pytest.raises(Refused, match="a disk-fill drill needs"):
        fill_amount(int(free), int(total))


def test_a_filled_disk_keeps_two_gib_and_fifteen_percent_free() -> None:
    assert fill_amount(20 * GIB, 25 * GIB) == 4 * GIB
    assert fill_amount(100 * GIB, 200 * GIB) == 8 * GIB
    assert fill_amount(16 * GIB, 100 * GIB) == GIB
    assert fill_amount(3 * GIB, 5 * GIB) == int(0.2 * 3 * GIB)
    with pytest.raises(Refused, match="must stay free"):
        fill_amount(int(2.1 * GIB), 5 * GIB)


def test_a_share_has_a_most_and_a_least() -> None:
    assert share_of(1000, 0.1, 5000, 500, "things") == 100
    assert share_of(100_000, 0.1, 5000, 500, "things") == 5000
    with pytest.raises(Refused, match="only 499 things are left; this drill needs 500"):
        share_of(499, 0.1, 5000, 500, "things")


@pytest.mark.parametrize("name", ["disk", "disk-fill", "inodes"])
def test_a_drill_in_memory_or_nowhere_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="cannot write"):
        plan(name, 5, Place(tmp_path / "missing"))
    monkeypatch.setattr("vedette.drills.plan.filesystem", lambda *_: "tmpfs")
    with pytest.raises(Refused, match="lies in memory"):
        plan(name, 5, Place(tmp_path))


def test_the_filesystem_of_a_directory_is_found_in_the_mount_table(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    line = f"22 1 {os.major(device)}:{os.minor(device)} / /x rw shared:1 - tmpfs tmpfs rw\n"
    assert filesystem(tmp_path, "21 1 0:3 / /proc rw - proc proc rw\n" + line) == "tmpfs"
    assert filesystem(tmp_path, "") == ""


def test_the_cpu_drill_has_a_process_for_every_core_it_may_use() -> None:
    assert plan("cpu", 5, Place(Path())).amount == len(os.sched_getaffinity(0))
    assert plan("cpu-one", 5, Place(Path())).amount == 1


def test_available_memory_is_within_what_the_host_has() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


def test_files_and_ports_are_bounded_by_what_this_process_may_have() -> None:
    assert 0 < free_files() < 1 << 31
    assert 0 < ports() < 65536


def test_a_log_drill_says_whether_its_lines_stay(tmp_path: Path) -> None:
    new = plan("log", 10, Place(tmp_path, tmp_path / "new.log"))
    assert "removed afterwards" in new.text
    old = tmp_path / "old.log"
    old.write_text("a line\n")
    kept = plan("log", 10, Place(tmp_path, old))
    assert "which stay there" in kept.text
    assert kept.amount == new.amount + 7
    with pytest.raises(Refused, match="is not a file"):
        plan("log", 10, Place(tmp_path, tmp_path))
    with pytest.raises(Refused, match="no such directory"):
        plan("log", 10, Place(tmp_path, tmp_path / "missing" / "x.log"))


def test_a_model_drill_on_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=f"port {port} of 127.0.0.1 is taken"):
            plan("model", 5, Place(tmp_path, port=port))
    assert f"127.0.0.1:{port}" in plan("model", 5, Place(tmp_path, port=port)).text


def test_a_network_drill_says_what_the_kernel_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no program ip"):
        plan("net-loss", 5, Place(tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(links, "CLONE_NEWNET", -1)
    if shutil.which("ip") and shutil.which("tc"):
        with pytest.raises(Unavailable, match="may not make a network namespace"):
            plan("net-loss", 5, Place(tmp_path))


def test_whether_links_can_be_spoiled_is_found_out_without_a_trace(tmp_path: Path) -> None:
    before = sorted(Path("/sys/class/net").iterdir())
    reason = links.unavailable()
    assert sorted(Path("/sys/class/net").iterdir()) == before
    if reason:
        with pytest.raises(Unavailable) as told:
            plan("net-delay", 5, Place(tmp_path))
        assert str(told.value) == reason


def test_every_drill_has_a_plan_and_an_unknown_one_none(tmp_path: Path) -> None:
    for name in FAULTS:
        with contextlib.suppress(Refused, Unavailable):
            planned = plan(name, 7, Place(tmp_path, tmp_path / "x.log"))
            assert (planned.name, planned.seconds) == (name, 7)
            assert planned.text
    with pytest.raises(ValueError, match="no drill 'gpu'; there are cpu,"):
        plan("gpu", 7, Place(tmp_path))
