"""Faults of mapped files: ours are survived, nobody else's are touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from vedette.logs.journal_guard import FaultGuard, supported

pytestmark = pytest.mark.skipif(not supported(), reason="the guard does not know this machine")

#: Map a file of three pages, cut it to one, and read the last one by the C library, as libsystemd
#: does: outside of the interpreter's lock.
TOUCH = """
import ctypes, mmap, os, sys, threading
from vedette.logs.journal_guard import FaultGuard
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.truncate(descriptor, 3 * mmap.PAGESIZE)
mapped = mmap.mmap(descriptor, 3 * mmap.PAGESIZE)
os.truncate(descriptor, mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
libc = ctypes.CDLL(None)
def touch(page):
    here = ctypes.create_string_buffer(16)
    libc.memcpy(here, ctypes.c_void_p(start + page * mmap.PAGESIZE + 5), 16)
    return here.raw
"""


def run(path: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TOUCH + program, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_guard_the_process_ends(tmp_path: Path) -> None:
    assert run(tmp_path / "file", "touch(2)").returncode == -signal.SIGBUS


def test_pages_that_are_gone_read_as_empty_and_are_counted(tmp_path: Path) -> None:
    done = run(
        tmp_path / "file",
        "with FaultGuard() as guard:\n    print(touch(1) == touch(2) == bytes(16), guard.faults)",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 2\n", "")


def test_after_the_guard_a_fault_ends_the_process_again(tmp_path: Path) -> None:
    done = run(tmp_path / "file", "with FaultGuard():\n    touch(1)\ntouch(2)")
    assert done.returncode == -signal.SIGBUS


def test_a_fault_of_another_thread_is_not_hidden(tmp_path: Path) -> None:
    program = (
        "with FaultGuard():\n"
        "    other = threading.Thread(target=touch, args=(2,))\n"
        "    other.start(); other.join()\n"
    )
    assert run(tmp_path / "file", program).returncode == -signal.SIGBUS


def test_who_handled_the_signal_before_handles_it_again(tmp_path: Path) -> None:
    program = (
        "import faulthandler; faulthandler.enable()\nwith FaultGuard():\n    touch(1)\ntouch(2)"
    )
    done = run(tmp_path / "file", program)
    assert done.returncode == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in done.stderr


def test_a_thread_that_reads_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vedette.logs.journal_guard.WAIT_S", 0.01)
    with FaultGuard(), pytest.raises(TimeoutError, match="another thread"):
        FaultGuard().__enter__()
    with FaultGuard():
        pass


def test_guards_of_two_threads_take_turns() -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(50):
            with FaultGuard():
                inside += 1
                most = max(most, inside)
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1
