"""The process table: lines parsed once, sums kept right, files kept open and given back."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vedette_plugins import _process_table
from vedette_plugins._process_table import (
    KEPT,
    Changes,
    Process,
    Table,
    cpu_spent,
    most_kept,
    parse_stat,
)

BURN = "import time\nwhile time.process_time() < 0.3: pass"
#: 500 processes a second that end at once, for as many seconds as the argument says.
CHURN = """
import os, sys, time
began, made, ended = time.monotonic(), 0, 0
while (passed := time.monotonic() - began) < float(sys.argv[1]):
    if made < 500 * passed:
        os.posix_spawn("/bin/true", ["true"], {})
        made += 1
    else:
        time.sleep(0.001)
    while made > ended and os.waitpid(-1, os.WNOHANG)[0]:
        ended += 1
"""


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


def line(pid: int, name: bytes, *, cpu: int = 0, pages: int = 1, start: int = 5) -> bytes:
    head = b"%d (%s) S 1 1 1 0 -1 0 0 0 0 0 %d 0 0 0 20 0 1 0 %d 0 %d"
    return head % (pid, name, cpu, start, pages) + b" 0" * 28 + b"\n"


def between(before: list[Process], now: list[Process]) -> Changes:
    old, new = ({one.pid: one for one in some} for some in (before, now))
    same = {pid for pid in old.keys() & new.keys() if old[pid].start == new[pid].start}
    return Changes(
        [one for one in now if one.pid not in same],
        [(old[pid], new[pid]) for pid in same if old[pid] != new[pid]],
        [one for one in before if one.pid not in same],
    )


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def here() -> Iterator[Table]:
    table = Table()
    yield table
    table.close()


def lay(proc: Path, pid: int | str, text: bytes | None) -> None:
    path = proc / str(pid) / "stat"
    path.parent.mkdir(exist_ok=True)
    if text is None:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
    else:
        path.write_bytes(text)


@given(name=st.binary(max_size=64))
@example(name=b") R 1 1 (")
@example(name=b"a\nb\0c")
def test_a_name_may_hold_anything_and_is_fit_to_be_shown(name: bytes) -> None:
    found = parse_stat(7, line(7, name, cpu=3, pages=2))
    assert found is not None
    assert (found.cpu, found.resident, found.parent) == (3, 2, 1)
    assert found.name
    assert found.name.isprintable()
    assert len(found.name) <= 64


def test_kernel_threads_of_a_kind_have_one_name() -> None:
    stat = line(9, b"kworker/u8:2+flush-8:0").replace(b"-1 0 0", b"-1 2097152 0")
    found = parse_stat(9, stat)
    assert found is not None
    assert found.is_kernel
    assert found.name == "kworker"


def test_a_scan_tells_what_appeared_changed_and_ended(proc: Path) -> None:
    table = Table()
    lay(proc, 1, line(1, b"calm"))
    lay(proc, 2, line(2, b"busy", cpu=5))
    lay(proc, 3, line(3, b"goes"))
    assert {one.pid for one in table.scan(str(proc)).appeared} == {1, 2, 3}
    lay(proc, 2, line(2, b"busy", cpu=9))
    lay(proc, 3, None)
    lay(proc, 4, line(4, b"comes"))
    appeared, changed, ended = table.scan(str(proc))
    assert [one.name for one in appeared] == ["comes"]
    assert [(old.cpu, new.cpu) for old, new in changed] == [(5, 9)]
    assert [one.name for one in ended] == ["goes"]
    assert {one.name for one in table.processes.values()} == {"calm", "busy", "comes"}


def test_a_number_used_again_is_another_process(proc: Path) -> None:
    table = Table()
    lay(proc, 5, line(5, b"was", start=10))
    table.scan(str(proc))
    lay(proc, 5, line(5, b"is", start=99))
    appeared, changed, ended = table.scan(str(proc))
    assert ([one.name for one in appeared], changed) == (["is"], [])
    assert [one.name for one in ended] == ["was"]


def test_a_line_that_is_the_same_is_not_parsed_again(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table()
    lay(proc, 5, line(5, b"calm"))
    table.scan(str(proc))
    monkeypatch.setattr(_process_table, "parse_stat", None)
    assert table.scan(str(proc)) == Changes([], [], [])


def test_only_plain_numbers_are_processes(proc: Path) -> None:
    table = Table()
    for name in ("7", "07", "٧", "7a", "-7", "self"):
        lay(proc, name, line(7, b"seven"))
    table.scan(str(proc))
    assert table.processes.keys() == {7}
    assert table.executables["seven"].processes == 1


LINES = st.dictionaries(
    st.integers(1, 6),
    st.one_of(
        st.binary(max_size=30),
        st.builds(
            lambda name, letter, kernel, threads, start, pages: (
                b"1 (%s) %s 1 1 1 0 -1 %d 0 0 0 0 1 1 1 1 20 0 %d 0 %d 0 %d 0"
                % (name, letter, kernel, threads, start, pages)
            ),
            st.sampled_from([b"a", b"b", b"kworker/1"]),
            st.sampled_from([b"R", b"S", b"D", b"Z", b"\xff"]),
            st.sampled_from([0, 0x200000]),
            st.integers(0, 9),
            st.integers(1, 3),
            st.integers(0, 1000),
        ),
    ),
)


@given(scans=st.lists(LINES, min_size=1, max_size=6))
def test_the_sums_are_those_of_the_processes_whatever_comes_and_goes(
    tmp_path_factory: pytest.TempPathFactory, scans: list[dict[int, bytes]]
) -> None:
    proc, table = tmp_path_factory.mktemp("proc"), Table()
    for lines in scans:
        for pid in range(1, 7):
            if pid in lines:
                lay(proc, pid, lines[pid])
            elif (proc / str(pid)).exists():
                lay(proc, pid, None)
        table.scan(str(proc))
        expected = [parse_stat(pid, text) for pid, text in lines.items()]
        found = [one for one in expected if one is not None]
        assert table.processes == {one.pid: one for one in found}
        assert +table.states == Counter(one.state for one in found)
        assert table.threads == sum(one.threads for one in found)
        assert {
            name: (one.processes, one.users, one.resident)
            for name, one in table.executables.items()
        } == {
            name: (len(some), sum(not one.is_kernel for one in some), sum(o.resident for o in some))
            for name in {one.name for one in found}
            if (some := [one for one in found if one.name == name])
        }


def test_a_pid_used_again_does_not_inherit_the_time_of_the_dead() -> None:
    before = [process(5, cpu=9000, start=10)]
    assert cpu_spent(between(before, [process(5, cpu=30, start=99)])) == {5: 30}


def test_a_process_that_ends_is_counted_with_its_parent_once() -> None:
    before = [process(1), process(10, children=100), process(11, parent=10, cpu=50)]
    # The child went on for 25 ticks and ended; another lived and ended between the scans (40).
    now = [process(1), process(10, children=100 + 50 + 25 + 40)]
    assert cpu_spent(between(before, now)) == {10: 65}


def test_a_whole_family_that_ends_is_counted_with_who_is_left() -> None:
    before = [process(2), process(10, parent=2, cpu=5, children=7), process(11, parent=10, cpu=50)]
    assert cpu_spent(between(before, [process(2, children=5 + 7 + 50 + 3)])) == {2: 3}


def test_the_first_process_is_not_blamed_for_the_orphans_it_reaps() -> None:
    before = [process(1, cpu=7), process(10, parent=1, cpu=5)]
    assert cpu_spent(between(before, [process(1, cpu=9, children=5 + 900)])) == {1: 2}


def test_processes_that_claim_to_be_each_other_s_parents_do_not_hang_it() -> None:
    before = [process(5, parent=6), process(6, parent=5)]
    assert cpu_spent(between(before, [process(1)])) == {}


def test_a_short_lived_child_of_this_host_is_seen_through_its_parent(here: Table) -> None:
    here.scan("/proc")
    subprocess.run([sys.executable, "-c", BURN], check=True, timeout=60)
    spent = cpu_spent(here.scan("/proc"))
    assert spent[os.getpid()] >= 0.25 * os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- files kept open


def test_a_file_is_kept_open_from_the_second_sight_on_and_let_go_at_the_end(here: Table) -> None:
    before = descriptors()
    here.scan("/proc")
    assert descriptors() == before
    here.scan("/proc")
    kept = descriptors() - before
    assert 0 < kept <= min(KEPT, len(here.processes))
    here.close()
    here.close()
    assert descriptors() == before
    assert os.getpid() in here.processes
    here.scan("/proc")
    assert os.getpid() in here.processes


def test_no_more_files_are_kept_than_it_may() -> None:
    before, table = descriptors(), Table(keep=2)
    for _ in range(3):
        table.scan("/proc")
    assert descriptors() == before + 2
    table.close()
    assert descriptors() == before


def test_what_is_kept_is_a_part_of_what_this_process_may_open() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        assert most_kept() == min(soft, 256) // 4
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_files_are_given_back_when_there_are_no_descriptors_left(here: Table) -> None:
    for _ in range(2):
        here.scan("/proc")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = descriptors()
    child = subprocess.Popen(["sleep", "60"])
    highest = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    filled = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.open("/dev/null", os.O_RDONLY))
        here.scan("/proc")
    finally:
        for one in filled:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        child.kill()
        child.wait()
    assert child.pid in here.processes
    assert descriptors() < before


def test_a_copy_of_proc_is_not_read_through_files_kept_open(proc: Path) -> None:
    table = Table()
    for cpu in (1, 2, 3, 4):
        # Another file of the same name, as a replaced tree has.
        (proc / "5" / "stat").unlink(missing_ok=True)
        lay(proc, 5, line(5, b"any", cpu=cpu))
        table.scan(str(proc))
        assert table.processes[5].cpu == cpu


def test_a_process_whose_file_is_kept_is_gone_once_it_ended(here: Table) -> None:
    child = subprocess.Popen(["sleep", "60"])
    for _ in range(3):
        here.scan("/proc")
    assert here.processes[child.pid].name == "sleep"
    child.kill()
    child.wait()
    assert child.pid in {one.pid for one in here.scan("/proc").ended}
    assert child.pid not in here.processes


@pytest.mark.slow
def test_500_processes_a_second_neither_break_it_nor_leak(here: Table) -> None:
    before = descriptors()
    churn = subprocess.Popen([sys.executable, "-c", CHURN, "3"])
    seen = 0
    while churn.poll() is None:
        changes = here.scan("/proc")
        seen += len(changes.ended)
        cpu_spent(changes)
        assert descriptors() - before <= most_kept()
        assert sum(one.processes for one in here.executables.values()) == len(here.processes)
        time.sleep(0.02)
    here.scan("/proc")
    assert churn.returncode == 0
    assert seen > 0
    assert here.processes.keys() <= set(psutil.pids()) | {churn.pid}
    here.close()
    assert descriptors() == before


def test_this_host_reads_as_psutil_reads_it(here: Table) -> None:
    before = set(psutil.pids())
    here.scan("/proc")
    assert before & set(psutil.pids()) <= here.processes.keys()
    me = psutil.Process()
    here.scan("/proc")
    mine = here.processes[os.getpid()]
    assert mine.parent == me.ppid()
    assert mine.threads == me.num_threads()
    resident = mine.resident * os.sysconf("SC_PAGE_SIZE")
    assert resident == pytest.approx(me.memory_info().rss, rel=0.1)
    times = me.cpu_times()
    spent = mine.cpu / os.sysconf("SC_CLK_TCK")
    assert spent == pytest.approx(times.user + times.system, abs=0.5)
