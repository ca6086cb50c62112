"""A FUSE filesystem without libfuse, whose daemon can be told to stop answering.

It is empty and serves only what statvfs and a look at its root need. Mounting it takes root.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from pathlib import Path

#: Operations of the kernel's FUSE protocol that are answered, and those that want no answer.
GETATTR, STATFS, INIT = 3, 17, 26
SILENT = {2, 36, 42}  # FORGET, INTERRUPT, BATCH_FORGET
MS_NOSUID, MS_NODEV, MNT_DETACH = 2, 4, 2
ENOSYS = 38


class Daemon:
    """Serve an empty FUSE filesystem over /dev/fuse; ``silent`` holds back what statvfs asks."""

    def __init__(self, point: Path) -> None:
        self.point = str(point)
        self.silent = False
        self.asked = threading.Event()
        self._held: list[bytes] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        done = self._libc.mount(
            b"test", os.fsencode(self.point), b"fuse.test", MS_NOSUID | MS_NODEV, options.encode()
        )
        if done:
            os.close(self._device)
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def speak(self) -> None:
        """Answer again, and what was asked in the meantime too."""
        self.silent = False
        held, self._held = self._held, []
        for request in held:
            self._answer(request)

    def end(self) -> None:
        """Let go of the device, which aborts the connection: whoever waits gets an error."""
        os.write(self._waker, b".")
        self._thread.join(10)
        for descriptor in (self._device, self._wake, self._waker):
            os.close(descriptor)
        self._libc.umount2(os.fsencode(self.point), MNT_DETACH)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._wake in ready:
                return
            try:
                request = os.read(self._device, 1 << 18)
            except BlockingIOError:
                continue
            except OSError:
                return
            if struct.unpack_from("=I", request, 4)[0] == STATFS:
                self.asked.set()
                if self.silent:
                    self._held.append(request)
                    continue
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        _, operation, unique = struct.unpack_from("=IIQ", request)
        if operation in SILENT:
            return
        error, body = 0, b""
        if operation == INIT:
            body = struct.pack("=IIIIHHII36x", 7, 31, 65536, 0, 8, 6, 65536, 1)
        elif operation == GETATTR:
            body = struct.pack(
                "=QII6Q10I", 1, 0, 0, *(1, 0, 0, 0, 0, 0), *(0, 0, 0), 0o40755, 2, *[0] * 5
            )
        elif operation == STATFS:
            body = struct.pack("=5Q4I24x", 1000, 400, 300, 50, 20, 4096, 255, 4096, 0)
        else:
            error = -ENOSYS
        os.write(self._device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)
