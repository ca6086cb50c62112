"""Survive a journal file that cannot be read to its end: a failing disk, or somebody cut it off.

libsystemd maps the files into memory. A page that is not there any more, or that the disk does not
give, is no error to it but the signal SIGBUS, which ends the process; and an agent that is started
again at the same place would end again. journalctl has a handler for this, the library has none.

So while the library reads, and only then, a handler of ours puts an empty page where the fault was.
The library finds nonsense there, leaves the file alone, and the reader counts the damage. The
handler is Python, which is sound here: SIGBUS comes to the thread that touched the page, inside of
libsystemd, where it holds no lock and not the interpreter's either. A fault of any other thread is
not ours: the process ends by it as it would have.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import signal
import sys
import threading
from types import TracebackType
from typing import Self

#: Machines whose C library (glibc or musl) lays ``struct sigaction`` out as below.
MACHINES = ("x86_64", "aarch64", "riscv64")
#: How long one thread waits for another one that reads.
WAIT_S = 10.0
_SA_SIGINFO = 4
#: Where ``siginfo_t`` has the address of a fault on 64-bit machines.
_ADDRESS_AT = 16
_MAP_FIXED = 0x10


class _Action(ctypes.Structure):
    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def supported() -> bool:
    """Tell whether the guard knows this machine."""
    return sys.platform == "linux" and platform.machine() in MACHINES and sys.maxsize > 2**32


class FaultGuard:
    """A context in which this thread may touch mapped files that are shorter than they were.

    ``faults`` counts the pages that were not there. Not to be nested; one per process at a time,
    which the lock sees to.
    """

    _alone = threading.Lock()

    def __init__(self) -> None:
        self.faults = 0
        self._thread = 0
        libc = ctypes.CDLL(None, use_errno=True)
        self._sigaction = libc.sigaction
        self._sigaction.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._sigaction.restype = ctypes.c_int
        self._mmap = libc.mmap
        self._mmap.argtypes = [
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_long,
        ]
        self._mmap.restype = ctypes.c_void_p
        # Kept for as long as the kernel may call it.
        signature = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._callback = signature(self._on_fault)
        # On the thread's own stack: one that is set apart for signals would be small for Python.
        self._ours = _Action(ctypes.cast(self._callback, ctypes.c_void_p), flags=_SA_SIGINFO)
        self._before = _Action()

    def __enter__(self) -> Self:
        if not self._alone.acquire(timeout=WAIT_S):
            raise TimeoutError(f"another thread reads a journal for more than {WAIT_S:g} s")
        self._thread = threading.get_ident()
        if self._sigaction(
            signal.SIGBUS, ctypes.byref(self._ours), ctypes.byref(self._before)
        ):  # pragma: no cover - only for a signal that does not exist
            self._alone.release()
            raise OSError(ctypes.get_errno(), "cannot watch for SIGBUS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sigaction(signal.SIGBUS, ctypes.byref(self._before), None)
        self._alone.release()

    def _on_fault(self, number: int, info: int, context: int) -> None:
        """Put an empty page where the fault was, or leave the fault to who handled it before.

        Returning means that the instruction is tried again.
        """
        try:
            if threading.get_ident() == self._thread:
                address = ctypes.c_size_t.from_address(info + _ADDRESS_AT).value
                page = address & ~(mmap.PAGESIZE - 1)
                how = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
                if (
                    self._mmap(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE, how, -1, 0)
                    == page
                ):
                    self.faults += 1
                    return
        except BaseException:  # noqa: BLE001, S110 - nothing may pass through C; the fault stays one
            pass
        self._sigaction(signal.SIGBUS, ctypes.byref(self._before), None)
