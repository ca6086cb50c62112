"""Watches of collector processes: who belongs to one, what a restart is, how near a limit is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_plugins import _process_details, _watched
from vedette_plugins._process_details import OpenFiles, command_line, file_limit
from vedette_plugins._process_table import Process
from vedette_plugins._watched import WATCHES_MAX, Pattern
from vedette_plugins.processes import Processes, ProcessesConfig


class DamagedConfig(ProcessesConfig, frozen=True):
    """Watches by name and by command line, as what is on by default."""

    watch: dict[str, str] = msgspec.field(
        default_factory=lambda: {"web": "nginx", "job": "cmdline:*worker*", "all": "*"}
    )


class Damaged(Processes):
    """The collector with these watches."""

    Config = DamagedConfig


def line(pid: int, name: str, *, state: str = "S", start: int = 500, cpu: int = 0) -> bytes:
    head = f"{pid} ({name}) {state} 1 1 1 0 -1 0 0 0 0 0 {cpu} 0 0 0 20 0 1 0 {start} 0 1"
    return head.encode() + b" 0" * 28 + b"\n"


def lay(here: Any, *told: tuple[int, str, dict[str, Any]], uptime: float = 1000.0) -> None:
    """Make these the processes: pid, name, facts; ``command`` is the command line."""
    for old in (here.folder / "proc").iterdir():
        if old.name.isdecimal():
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
    here.write("proc/stat", b"cpu  1 1 1 1\ncpu0 1 1 1 1\n")
    here.write("proc/meminfo", b"MemTotal: 100000 kB\n")
    here.write("proc/uptime", b"%.2f 1.00\n" % uptime)
    for pid, name, facts in told:
        command = facts.pop("command", "")
        here.write(f"proc/{pid}/stat", line(pid, name, **facts))
        here.write(f"proc/{pid}/cmdline", command.replace(" ", "\0").encode() + b"\0")


def read(here: Any, what: str) -> float | None:
    return here.values(10.0).get(f"vedette.watch.{what}{{vedette.watch.name=it}}")


def count(here: Any) -> float | None:
    return read(here, "process.count")


def restarts(here: Any, *scans: list[tuple[int, str, int]]) -> list[float | None]:
    """Return the restarts after each scan, in which processes have pid, name and start."""
    seen = []
    for processes in scans:
        lay(here, *((pid, name, {"start": start}) for pid, name, start in processes))
        seen.append(read(here, "restarts"))
    return seen


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = ["proc/uptime", "proc/sys/kernel/pid_max"]
    names += [f"proc/{p}/{f}" for p in (200, 300) for f in ("stat", "cmdline", "io", "limits")]
    assert_survives(data, Damaged, "watched", names)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("nginx", "nginx", True),
        ("nginx", "nginx-debug", False),
        ("nginx*", "nginx-debug", True),
        ("php-fpm?.?", "php-fpm8.2", True),
        # The kernel keeps 15 characters of a name.
        ("prometheus-node-exporter", "prometheus-node", True),
        ("nginx: master", "nginx: master process /usr/sbin/nginx", True),
        ("nginx: master", "vi nginx: master.txt", False),
        ("cmdline:*java*-jar shop.jar", "/usr/bin/java -Xmx1g -jar shop.jar --port 80", True),
        ("cmdline:/usr/sbin/sshd", "/usr/sbin/sshd -D", True),
        ("cmdline:a\nb", "a\nb c\nd", True),
    ],
)
def test_a_name_matches_whole_and_a_command_line_from_its_beginning(
    pattern: str, text: str, *, matches: bool
) -> None:
    assert Pattern(pattern).matches(text) is matches


@pytest.mark.parametrize(
    ("watch", "reason"),
    [
        ({"": "nginx"}, "no name"),
        ({"a\nb": "nginx"}, "no name"),
        ({"a" * 65: "nginx"}, "no name"),
        ({"web": " "}, "no pattern"),
        ({"web": "cmdline: "}, "no pattern"),
        ({str(number): "nginx" for number in range(WATCHES_MAX + 1)}, "at most 32"),
    ],
)
def test_a_watch_that_makes_no_sense_is_refused(watch: dict[str, str], reason: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert({"watch": watch}, ProcessesConfig)


# ---------------------------------------------------------------- who belongs to a watch


def test_a_process_that_is_gone_leaves_a_count_of_none(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv"})
    seen = []
    for names in (["srv", "srv", "other"], ["other"], ["srv", "other"]):
        lay(here, *((pid, name, {"start": pid}) for pid, name in enumerate(names, 5)))
        seen.append(count(here))
    assert seen == [2, 0, 1]


def test_a_defunct_process_is_not_up(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv"})
    lay(here, (5, "srv", {}))
    assert count(here) == 1
    lay(here, (5, "srv", {"state": "Z"}))
    assert count(here) == 0


def test_a_process_that_executes_another_program_changes_its_watch(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes, watch={"it": "srv"})
    seen = []
    for name in ("sh", "srv", "other"):
        lay(here, (5, name, {}))
        seen.append(count(here))
    assert seen == [0, 1, 0]


def test_a_command_line_set_soon_after_the_start_is_seen(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv: main"})
    lay(here, (5, "srv", {"start": 99_000, "command": "/usr/sbin/srv -D"}), uptime=1000)
    assert count(here) == 0
    lay(here, (5, "srv", {"start": 99_000, "command": "srv: main process"}), uptime=1010)
    assert count(here) == 1


def test_the_command_line_of_a_process_no_longer_young_is_not_read_again(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stage(Processes, watch={"it": "srv: main"})
    asked = []

    def asking(proc: str, pid: int) -> str:
        asked.append(pid)
        return command_line(proc, pid)

    monkeypatch.setattr(_watched, "command_line", asking)
    old, young = (5, {"start": 500, "command": "srv: main"}), (6, {"start": 99_000})
    for uptime in (1000, 1010, 1020, 1030, 1040):
        lay(here, *((pid, "srv", dict(facts)) for pid, facts in (old, young)), uptime=uptime)
        assert count(here) == 1
    assert asked == [5, 6, 6, 6]


def test_only_so_many_command_lines_are_read_in_one_scan(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watched, "COMMANDS_MAX", 4)
    here = stage(Processes, watch={"it": "srv: main"})
    lay(here, *((pid, "srv", {"command": "srv: main"}) for pid in range(1, 11)))
    assert [count(here) for _ in range(4)] == [4, 8, 10, 10]


def test_without_a_pattern_for_it_no_command_line_is_read(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_watched, "command_line", None)
    here = stage(Processes, watch={"it": "srv"})
    lay(here, (5, "srv", {}))
    assert count(here) == 1


def test_a_table_that_was_empty_for_a_scan_does_not_confuse_it(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv: main"})
    lay(here, (5, "srv", {"start": 99_000, "command": "srv: main"}))
    assert count(here) == 1
    lay(here)
    with pytest.raises(Exception, match="no process can be seen"):
        here.read(10.0)
    lay(here, (6, "srv", {"start": 99_500, "command": "srv: main"}))
    assert count(here) == 1


# ---------------------------------------------------------------- restarts


def test_a_server_that_is_another_process_was_restarted(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv"})
    one, two = [(5, "srv", 100)], [(9, "srv", 700)]
    assert restarts(here, one, one, two, two) == [0, 0, 1, 1]


def test_a_server_that_comes_back_later_was_restarted_once(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv"})
    other = (2, "other", 1)
    up, down, again = [other, (5, "srv", 100)], [other], [other, (9, "srv", 700)]
    assert restarts(here, down, up, down, down, again, again) == [0, 0, 0, 0, 1, 1]


def test_workers_that_come_and_go_are_no_restart(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv"})
    main = (5, "srv", 100)
    scans = [[main, (number, "srv", 100 * number)] for number in range(6, 12)]
    assert restarts(here, *scans) == [0] * 6


def test_sessions_that_outlive_their_server_do_not_hide_its_restart(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes, watch={"it": "sshd"})
    session, new = (7, "sshd", 400), (9, "sshd", 700)
    scans = [
        [(5, "sshd", 100), session],
        [session, new],
        [session, new],
        [session, (11, "sshd", 9)],
    ]
    assert restarts(here, *scans) == [0, 1, 1, 2]


def test_a_server_that_hands_over_to_a_successor_was_not_restarted(
    stage: Callable[..., Any],
) -> None:
    here = stage(Processes, watch={"it": "srv"})
    old, new, worker = (5, "srv", 100), (9, "srv", 700), (11, "srv", 900)
    assert restarts(here, [old], [old, new], [new], [new, worker], [new]) == [0] * 5


def test_a_number_used_again_by_the_same_program_is_a_restart(stage: Callable[..., Any]) -> None:
    here = stage(Processes, watch={"it": "srv"})
    assert restarts(here, [(5, "srv", 100)], [(5, "srv", 700)]) == [0, 1]


# ---------------------------------------------------------------- open files


def test_the_kernel_s_own_count_of_descriptors_is_that_of_a_listing() -> None:
    files = OpenFiles()
    files.begin("/proc", [])
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    try:
        listed = len(list(Path("/proc/self/fd").iterdir())) - 1
        assert files.count("/proc", os.getpid()) in (listed, listed + 1)
    finally:
        for one in held:
            os.close(one)


def test_descriptors_are_counted_one_by_one_where_the_kernel_does_not_tell(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, files = stage(Processes), OpenFiles()
    for number in range(5):
        here.write(f"proc/5/fd/{number}", b"")
    files.begin(here.collector.host.proc, [])
    assert files.count(here.collector.host.proc, 5) == 5
    monkeypatch.setattr(_process_details, "COUNTED", 4)
    assert files.count(here.collector.host.proc, 5) is None


def test_a_process_that_ended_holds_no_descriptors() -> None:
    files = OpenFiles()
    files.begin("/proc", [])
    child = subprocess.Popen(["true"])
    child.wait()
    assert files.count("/proc", child.pid) == 0


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (b"Limit  Soft Limit\nMax open files            1024   4096   files     \n", 1024),
        (b"Max open files            unlimited            unlimited            files     \n", None),
        (b"Max open files            0                    0                    files     \n", None),
        (b"Max open files", None),
        (b"", None),
    ],
)
def test_the_soft_limit_counts(stage: Callable[..., Any], text: bytes, limit: int | None) -> None:
    here = stage(Processes)
    here.write("proc/5/limits", text)
    assert file_limit(here.collector.host.proc, 5) == limit


def test_a_limit_is_read_again_when_it_is_near(stage: Callable[..., Any]) -> None:
    here, files = stage(Processes), OpenFiles()
    proc, text = here.collector.host.proc, b"Max open files %d 4096 files\n"
    here.write("proc/5/limits", text % 100)
    files.begin(proc, [])
    assert files.limit(proc, 5, 10) == 100
    here.write("proc/5/limits", text % 1000)
    assert files.limit(proc, 5, 10) == 100
    assert files.limit(proc, 5, 60) == 1000
    here.write("proc/5/limits", text % 2000)
    for _ in range(_process_details.LIMIT_SCANS):
        files.begin(proc, [])
        seen = files.limit(proc, 5, 10)
    assert seen == 2000


def test_a_limit_is_forgotten_with_its_process(stage: Callable[..., Any]) -> None:
    here, files = stage(Processes), OpenFiles()
    proc = here.collector.host.proc
    here.write("proc/5/limits", b"Max open files 100 4096 files\n")
    files.begin(proc, [])
    files.limit(proc, 5, 10)
    gone = Process(5, "any", "S", 1, False, 0, 0, 1, 1, 1)
    here.write("proc/5/limits", b"Max open files 200 4096 files\n")
    files.begin(proc, [gone])
    assert files.limit(proc, 5, 10) == 200


# ---------------------------------------------------------------- a real process


def test_a_process_of_this_host_reads_as_psutil_reads_it() -> None:
    code = "import time\nopen_ = [open('/dev/null') for _ in range(30)]\nprint(flush=True)\n"
    mark = f"watched-{os.getpid()}"
    child = subprocess.Popen(
        [sys.executable, "-c", code + "time.sleep(60)", mark], stdout=subprocess.PIPE
    )
    collector = Processes(ProcessesConfig(watch={"it": f"cmdline:*{mark}"}))
    try:
        assert child.stdout is not None
        child.stdout.readline()
        told = psutil.Process(child.pid)
        list(collector.collect())
        read = {one.series.key: one.value for one in collector.collect() if hasattr(one, "series")}
        mine = {
            what: read[f"vedette.watch.{what}{{vedette.watch.name=it}}"]
            for what in (
                "process.count",
                "uptime",
                "memory.usage",
                "thread.count",
                "unix.file_descriptor.count",
                "unix.file_descriptor.utilization",
            )
        }
        held = told.num_fds()
        assert mine["process.count"] == 1
        assert mine["uptime"] == pytest.approx(time.time() - told.create_time(), abs=2.0)
        assert mine["memory.usage"] == pytest.approx(told.memory_info().rss, rel=0.1)
        assert mine["thread.count"] == told.num_threads()
        assert mine["unix.file_descriptor.count"] == held
        limit = told.rlimit(psutil.RLIMIT_NOFILE)[0]
        assert mine["unix.file_descriptor.utilization"] == pytest.approx(held / limit)
    finally:
        collector.close()
        child.kill()
        child.communicate()
