"""Collector processes: the table, who used what, and who may be to blame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Sample, Unavailable, Usage
from vedette_plugins._process_table import Process
from vedette_plugins._suspects import IO_MOST, amount, io_candidates
from vedette_plugins.processes import (
    FILES_MOST,
    HOLD,
    Processes,
    register_collectors,
)


def process(pid: int, **facts: Any) -> Process:
    told: dict[str, Any] = {
        "name": f"name{pid}",
        "state": "S",
        "parent": 1,
        "is_kernel": False,
        "cpu": 0,
        "children": 0,
        "threads": 1,
        "start": pid,
        "resident": 10,
    }
    return Process(pid=pid, **(told | facts))


def table(*processes: Process) -> dict[int, Process]:
    return {one.pid: one for one in processes}


def line(
    pid: int, name: bytes, *, cpu: int = 0, pages: int = 1, start: int = 5, faults: int = 0
) -> bytes:
    head = b"%d (%s) S 1 1 1 0 -1 0 %d 0 0 0 %d 0 0 0 20 0 1 0 %d 0 %d"
    return head % (pid, name, faults, cpu, start, pages) + b" 0" * 28 + b"\n"


def children(pid: int, faults: int) -> bytes:
    """A process whose reaped children had so many page faults."""
    return line(pid, b"sh%d" % pid).replace(b" 0 0 0 0 0 0 0 20 ", b" %d 0 0 0 0 0 0 20 " % faults)


def lay(here: Any, *lines: bytes) -> None:
    here.write("proc/stat", b"cpu  1 1 1 1\ncpu0 1 1 1 1\ncpu1 1 1 1 1\n")
    here.write("proc/meminfo", b"MemTotal: 100000 kB\n")
    for one in lines:
        here.write(f"proc/{one.split()[0].decode()}/stat", one)


def names(reading: list[Any]) -> set[str]:
    return {
        one.series.values[0]
        for one in reading
        if isinstance(one, Sample) and one.series.instrument.name == "process.memory.usage"
    }


def usages(reading: list[Any], resource: str) -> list[Usage]:
    return [one for one in reading if isinstance(one, Usage) and one.resource == resource]


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Processes]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Processes, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Processes)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    damaged = [f"proc/{pid}/{name}" for pid in (100, 120, 150) for name in ("stat", "io")]
    assert_survives(data, Processes, "made", ["proc/stat", "proc/meminfo", *damaged])


def test_the_pid_is_never_an_attribute() -> None:
    keys = {key for one in Processes.instruments() for key in one.attributes}
    assert keys == {
        "process.state",
        "process.executable.name",
        "disk.io.direction",
        "vedette.watch.name",
    }


def test_an_extra_scan_soon_after_measures_its_own_time(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    key = "process.cpu.utilization{process.executable.name=busy}"
    seen = []
    for cpu, after_s in ((1000, 10.0), (2000, 10.0), (2040, 0.5), (2040, 9.5)):
        lay(here, line(5, b"busy", cpu=cpu))
        seen.append(here.values(after_s).get(key))
    # 10 s, then 0.4 s of 0.5 s, then none; of 2 CPUs.
    assert seen == [None, pytest.approx(0.5), pytest.approx(0.4), 0.0]


def test_the_heaviest_process_is_named_with_its_share(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    lay(here, line(5, b"stress", cpu=0), line(6, b"calm", cpu=0, pages=2500))
    here.read(10.0)
    lay(here, line(5, b"stress", cpu=1940), line(6, b"calm", cpu=1, pages=2500))
    reading = here.read(10.0)
    assert usages(reading, "cpu") == [
        Usage("cpu", "process", "stress", "5", pytest.approx(0.97), "97 % of 2 cores")
    ]
    assert usages(reading, "memory") == [
        Usage("memory", "process", "calm", "6", pytest.approx(0.1), "9.8 MiB")
    ]


def test_an_executable_stays_for_a_while_after_it_left_the_top(stage: Callable[..., Any]) -> None:
    here = stage(Processes, top=1)
    lay(here, line(5, b"was", pages=9), line(6, b"is", pages=5))
    assert names(here.read()) == {"was"}
    lay(here, line(5, b"was", pages=2), line(6, b"is", pages=5))
    for _ in range(HOLD - 1):
        assert names(here.read()) == {"was", "is"}
    assert names(here.read()) == {"is"}


def test_memory_of_the_few_that_are_shown_is_exact_not_what_stat_says(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes)
    lay(here, line(7, b"web", pages=100), line(8, b"web", pages=50), line(9, b"db", pages=9))
    here.write("proc/7/statm", b"900 130 20 1 0 60 0\n")
    values = here.values()
    usage = "process.memory.usage{process.executable.name=%s}"
    assert values[usage % "web"] == (130 + 50) * 4096
    assert values[usage % "db"] == 9 * 4096


def test_executables_that_take_turns_are_bounded(stage: Callable[..., Any]) -> None:
    here = stage(Processes, top=2)
    for turn in range(12):
        lay(here, *(line(pid, b"p%d" % pid, pages=99 if pid == turn else 1) for pid in range(12)))
        found = names(here.read())
        assert len(found) <= 6
        assert f"p{turn}" in found


def test_nothing_is_on_top_when_none_is_wanted(stage: Callable[..., Any]) -> None:
    here = stage(Processes, top=0)
    lay(here, line(5, b"any"))
    assert names(here.read()) == set()


def test_a_writer_is_a_suspect_only_for_what_it_wrote_since(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    mib = 2**20
    io = b"read_bytes: 0\nwrite_bytes: %d\n"
    # At rest for two scans with 500 MiB behind it, then 100 MiB in 10 s.
    for cpu, written in ((50, 500), (50, 500), (50, 500), (90, 600)):
        lay(here, line(5, b"dd", cpu=cpu), line(6, b"log", cpu=cpu))
        here.write("proc/5/io", io % (written * mib))
        here.write("proc/6/io", io % 4096)
        found = usages(here.read(10.0), "disk")
        assert bool(found) == (written == 600)
    assert [(one.name, one.text) for one in found] == [("dd", "10.0 MiB/s")]


def test_who_writes_a_little_after_a_flood_has_not_all_of_it(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    mib = 2**20
    flood, little, shares = 0, 0, []
    # 100 MiB a second for 10 s, then half a MiB a second.
    for turn in range(20):
        flood += 1000 * mib if turn in (1, 2) else 0
        little += 5 * mib if turn > 2 else 0
        lay(here, line(5, b"dd", cpu=turn), line(6, b"sh", cpu=turn))
        here.write("proc/5/io", b"read_bytes: 0\nwrite_bytes: %d\n" % flood)
        here.write("proc/6/io", b"read_bytes: 0\nwrite_bytes: %d\n" % little)
        shares.append({one.name: one.share for one in usages(here.read(10.0), "disk")})
    assert [shares[1], shares[2]] == [{"dd": 1.0}, {"dd": 1.0}]
    assert shares[3].keys() == {"sh"}
    assert shares[3]["sh"] < 0.01
    # What is usual for long is all there is.
    assert shares[-1]["sh"] == 1.0


def test_a_flood_is_forgotten_while_nobody_writes(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    io, written, cpu, share = b"read_bytes: 0\nwrite_bytes: %d\n", 0, 50, 0.0
    for mib in (0, 0, 1000, *[0] * 15, 5):
        written += mib * 2**20
        cpu += 40 if mib else 0
        lay(here, line(5, b"dd", cpu=cpu))
        here.write("proc/5/io", io % written)
        found = usages(here.read(10.0), "disk")
        share = found[0].share if found else 0.0
    assert share == 1.0


def test_what_a_child_wrote_is_not_blamed_on_the_parent_that_reaps_it(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes)
    gib = 2**30
    io = b"read_bytes: %d\nwrite_bytes: 0\n"
    lay(here, line(5, b"sh", cpu=1), line(6, b"dd", cpu=50).replace(b" S 1 ", b" S 5 "))
    here.write("proc/5/io", io % 0)
    here.write("proc/6/io", io % gib)
    here.read(10.0)
    (here.folder / "proc/6/stat").unlink()
    (here.folder / "proc/6/io").unlink()
    lay(here, line(5, b"sh", cpu=2))
    here.write("proc/5/io", io % (gib + 1000))
    assert usages(here.read(10.0), "disk") == []


def test_only_so_many_processes_have_their_io_read() -> None:
    many = table(*(process(pid, state="D" if pid == 7 else "R") for pid in range(1, 500)))
    found = io_candidates(many, {pid: pid for pid in many})
    assert len(found) == IO_MOST
    assert found[0].pid == 7
    assert found[1].pid == 499


def test_a_crowd_of_one_name_is_a_suspect_for_the_number_of_processes(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes)
    lay(here, *(line(pid, b"fork" if pid > 2 else b"one") for pid in range(2, 12)))
    assert usages(here.read(), "process") == [
        Usage("process", "process", "fork", "", 0.9, "9 processes")
    ]


def test_who_holds_most_open_files_is_a_suspect_for_them(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    lay(here, line(5, b"leak", cpu=1), line(6, b"calm"))
    here.write("proc/6/fd/0", b"")
    for opened in range(3):
        here.write(f"proc/5/fd/{opened}", b"")
    assert usages(here.read(), "files") == [
        Usage("files", "process", "leak", "5", 0.75, "3 open files"),
        Usage("files", "process", "calm", "6", 0.25, "1 open files"),
    ]
    # Who did nothing holds what it held, and is not looked at again.
    lay(here, line(5, b"leak", cpu=2), line(6, b"calm"))
    for opened in range(3, 9):
        here.write(f"proc/5/fd/{opened}", b"")
        here.write(f"proc/6/fd/{opened}", b"")
    assert [one.text for one in usages(here.read(), "files")] == ["9 open files", "1 open files"]


def test_who_starts_many_processes_is_a_suspect_though_none_of_them_is_ever_seen(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes)
    seen = []
    for scan in range(2):
        lay(here, *(children(pid, faults * scan) for pid, faults in ((5, 36000), (6, 4000))))
        here.write("proc/stat", b"cpu  1 1 1 1\ncpu0 1 1 1 1\nprocesses %d\n" % (7 + 800 * scan))
        seen.append(usages(here.read(10.0), "forks"))
    assert seen == [
        [],
        [
            Usage("forks", "process", "sh5", "5", 0.9, "about 72 processes a second"),
            Usage("forks", "process", "sh6", "6", 0.1, "about 8 processes a second"),
        ],
    ]


def test_whoever_reaps_one_that_started_many_is_not_told_for_what_it_did_last(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes)
    child = b" S 5 "
    for scan in range(2):
        lay(here, children(5, 0), children(6, 36_000 * (scan + 1)).replace(b" S 1 ", child))
        here.write("proc/stat", b"cpu  1 1 1 1\ncpu0 1 1 1 1\nprocesses %d\n" % (7 + 800 * scan))
        read = usages(here.read(10.0), "forks")
    assert [one.name for one in read] == ["sh6"]
    (here.folder / "proc/6/stat").unlink()
    lay(here, children(5, 90_000))
    here.write("proc/stat", b"cpu  1 1 1 1\ncpu0 1 1 1 1\nprocesses 1200\n")
    assert usages(here.read(10.0), "forks") == []


def test_a_child_that_was_seen_alive_is_no_short_lived_one(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    lay(here, children(5, 0), line(6, b"cc", faults=90_000).replace(b" S 1 ", b" S 5 "))
    here.read(10.0)
    (here.folder / "proc/6/stat").unlink()
    lay(here, children(5, 90_100))
    assert usages(here.read(10.0), "forks") == []


def test_who_is_stopped_is_told_unless_it_has_a_terminal(stage: Callable[..., Any]) -> None:
    here, key = stage(Processes), "vedette.process.stopped"
    lay(here, line(5, b"web"), line(6, b"vim"))
    assert here.values()[key] == 0
    web = line(5, b"web", cpu=3).replace(b" S ", b" T ")
    vim = line(6, b"vim").replace(b" S 1 1 1 0 ", b" T 1 1 1 34816 ")
    lay(here, web, vim, line(7, b"traced").replace(b" S ", b" t "))
    reading = here.read()
    (count,) = [
        one.value
        for one in reading
        if isinstance(one, Sample) and one.series.instrument.name == key
    ]
    assert count == 1
    assert usages(reading, "stopped") == [Usage("stopped", "process", "web", "5", 1.0, "stopped")]


def test_an_empty_process_table_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    lay(here)
    with pytest.raises(Unavailable, match="no process can be seen"):
        here.read()


def test_disk_traffic_adds_up_by_executable_while_it_is_on_top(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    mib, key = 2**20, "process.disk.io{process.executable.name=dd,disk.io.direction=write}"
    seen = []
    for scan, written in enumerate((100, 100, 110, 110, 130)):
        lay(here, line(5, b"dd", cpu=scan), line(6, b"dd", cpu=scan), line(7, b"calm"))
        for pid in (5, 6, 7):
            here.write(f"proc/{pid}/io", b"read_bytes: 0\nwrite_bytes: %d\n" % (written * mib))
        seen.append(here.values(10.0).get(key))
    assert seen == [None, None, 20 * mib, 20 * mib, 60 * mib]


def test_an_executable_leaves_the_top_by_disk_traffic_after_a_while(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes, top=1)
    for scan in range(2):
        lay(here, line(5, b"dd", cpu=scan))
        here.write("proc/5/io", b"read_bytes: 0\nwrite_bytes: %d\n" % (scan * 2**30))
        here.values(10.0)
    seen = [sum("disk.io" in key for key in here.values(10.0)) for _ in range(HOLD)]
    assert seen == [2] * (HOLD - 1) + [0]


def test_open_files_of_an_executable_with_many_processes_are_not_counted(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes)
    for many in (FILES_MOST, FILES_MOST + 1):
        lay(here, *(line(pid, b"many") for pid in range(1, many + 1)))
        here.write("proc/1/fd/0", b"")
        key = "process.unix.file_descriptor.count{process.executable.name=many}"
        assert here.values().get(key) == (1 if many == FILES_MOST else None)


def test_threads_are_a_share_of_the_lower_limit(stage: Callable[..., Any]) -> None:
    here, key = stage(Processes), "vedette.process.threads.utilization"
    seen = []
    for threads_max, pid_max in (
        (b"", b""),
        (b"10", b"4"),
        (b"8", b"40"),
        (b"1", b"1"),
        (b"0", b"0"),
    ):
        lay(here, line(5, b"a"), line(6, b"b"))
        here.write("proc/sys/kernel/threads-max", threads_max + b"\n")
        here.write("proc/sys/kernel/pid_max", pid_max + b"\n")
        seen.append(here.values().get(key))
    assert seen == [None, 0.5, 0.25, 1.0, None]


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0.0 B"), (1536, "1.5 KiB"), (1.25 * 2**30, "1.2 GiB"), (2.0**60, "1048576 TiB")],
)
def test_amounts_read_as_a_person_writes_them(octets: float, text: str) -> None:
    assert amount(octets) == text


def test_who_makes_a_file_larger_is_a_suspect_for_the_space(stage: Callable[..., Any]) -> None:
    here = stage(Processes)
    mounts = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n28 1 0:44 / /mnt rw - nfs4 server:/ rw\n"
    here.write("proc/self/mountinfo", mounts)
    for pid, mount, flags in ((5, 27, "0100001"), (6, 28, "0100001"), (7, 27, "0100000")):
        here.write(
            f"proc/{pid}/fdinfo/3", b"pos:\t0\nflags:\t%s\nmnt_id:\t%d\n" % (flags.encode(), mount)
        )
        here.write(f"proc/{pid}/fd/3", b"")
    seen = []
    # At rest from the third scan on: looked at when somebody asks, which is off schedule.
    for scan, after_s in enumerate((5.0, 5.0, 5.0, 1.0, 2.0)):
        lay(here, *(line(pid, b"p%d" % pid, cpu=min(scan, 1)) for pid in (5, 6, 7)))
        for pid in (5, 6, 7):
            here.write(f"proc/{pid}/fd/3", b"x" * 2**19 * scan)
        seen.append([(one.name, one.text) for one in usages(here.read(after_s), "space")])
    assert seen == [
        [],
        [("p5", "102 KiB/s into open files")],
        [],
        [],
        [("p5", "256 KiB/s into open files")],
    ]
