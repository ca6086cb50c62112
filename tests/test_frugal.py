"""Pages that are given back come again as they were."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from vedette import frugal

PAGE = mmap.PAGESIZE
PROT_READ = 1

SHRINKS = """
import ssl, sys
import numpy as np
from vedette import frugal

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

before = resident()
given = frugal.give_back_pages()
after = resident()
assert given > 500, given
assert after < before - 500, (before, after)
# What is needed comes back, and what the linker wrote into the libraries is still there.
assert np.linalg.inv(np.eye(3) * 2)[0, 0] == 0.5
assert ssl.create_default_context().check_hostname
assert frugal.give_back_pages() > 0
"""


def test_a_process_shrinks_and_works_as_before() -> None:
    done = subprocess.run([sys.executable, "-c", SHRINKS], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


HOLED = """
import ctypes
from vedette import frugal

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

frugal.use_one_heap()
kept = [bytes(60_000) for _ in range(400)]
last = bytes(60_000)
before = resident()
del kept
held = resident()
frugal.give_back_heap()
assert held > before - 1_000, (before, held)
assert resident() < before - 4_000, (before, resident())
"""


def test_what_is_free_amid_the_heap_goes_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("not glibc")
    done = subprocess.run([sys.executable, "-c", HOLED], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_a_page_that_was_written_to_stays(tmp_path: Path) -> None:
    path = tmp_path / "library"
    path.write_bytes(b"a" * (3 * PAGE))
    with path.open("r+b") as file:
        mapping = mmap.mmap(
            file.fileno(), 3 * PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
    mapping[PAGE] = ord("b")
    assert (mapping[0], mapping[2 * PAGE]) == (ord("a"), ord("a"))
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    assert libc.mprotect(start, 3 * PAGE, PROT_READ) == 0
    assert (start, start + 3 * PAGE) in set(frugal._programs())
    descriptor = frugal.os.open("/proc/self/pagemap", frugal.os.O_RDONLY)
    try:
        runs = list(frugal._unchanged(descriptor, start, start + 3 * PAGE))
    finally:
        frugal.os.close(descriptor)
    assert runs == [(start, start + PAGE), (start + 2 * PAGE, start + 3 * PAGE)]
    frugal.give_back_pages()
    assert mapping[: 3 * PAGE] == b"a" * PAGE + b"b" + b"a" * (2 * PAGE - 1)


def test_where_the_kernel_does_not_tell_everything_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str, flags: int) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(frugal.os, "open", forbidden)
    assert frugal.give_back_pages() == 0
