"""Collector ``kernel``: what the kernel has handed out and what went wrong in it, from small files.

File handles, inodes and directory entries in use, entropy, uptime; hung tasks, oopses and warnings
since boot. What this kernel does not tell has no series. Limits, the boot time and whether an
update waits for a restart, which hardly ever change, are looked at once a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from math import isfinite

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._procfs import KernelFile, number_after, numbers

#: What hardly ever changes is read this often.
SLOW_S = 60.0
#: From here on a limit of file handles means that there is none.
UNLIMITED = 1 << 62
PROC = (
    "uptime",
    "sys/fs/file-nr",
    "sys/fs/inode-nr",
    "sys/fs/dentry-state",
    "sys/kernel/random/entropy_avail",
    "sys/kernel/random/poolsize",
    "sys/kernel/hung_task_detect_count",
    "sys/kernel/tainted",
    "sys/kernel/pid_max",
    "sys/kernel/threads-max",
    "stat",
)
SYS = ("kernel/oops_count", "kernel/warn_count")
#: What tells a host of Debian's kin, and the file that its packages leave in /run, on old ones
#: elsewhere, when the host should be restarted.
DPKG, REBOOT, OLD_RUN = "/var/lib/dpkg", "reboot-required", "/var/run"
_STATE = ["vedette.kernel.cache.state"]

_detail = partial(updown, resource="kernel", alarm="never")


class Kernel(Collector):
    """File handles, inodes, entropy, uptime, and faults of the kernel itself."""

    name = "kernel"
    source = "/proc/sys"
    interval_s = 1.0
    may_block = False

    uptime = gauge(
        "system.uptime",
        "s",
        "Time since the host was started.",
        resource="host",
        alarm="never",
        source="/proc/uptime",
    )
    boot_time = gauge(
        "vedette.host.boot_time",
        "s",
        "When the host was started, in seconds since 1970.",
        resource="host",
        alarm="never",
        source="/proc/stat",
    )
    reboot_required = gauge(
        "vedette.host.reboot_required",
        "1",
        "1 when an update waits for a restart of the host, else 0; only where dpkg installs.",
        resource="host",
        alarm="never",
        source="/run/reboot-required",
    )
    handles = updown(
        "vedette.kernel.file_handles.usage",
        "{file}",
        "Open files of the whole host.",
        resource="kernel",
        alarm="high",
    )
    handles_limit = _detail(
        "vedette.kernel.file_handles.limit",
        "{file}",
        "Files the whole host may have open; absent where there is no limit.",
    )
    handles_share = gauge(
        "vedette.kernel.file_handles.utilization",
        "1",
        "Share of the files that may be open, 0 to 1; absent where there is no limit.",
        resource="kernel",
        alarm="high",
        limit=1.0,
    )
    inodes = _detail(
        "vedette.kernel.inodes.usage", "{inode}", "Inodes in the kernel's cache.", _STATE
    )
    dentries = _detail(
        "vedette.kernel.dentries.usage",
        "{dentry}",
        "Directory entries in the kernel's cache.",
        _STATE,
    )
    negative_dentries = _detail(
        "vedette.kernel.dentries.negative",
        "{dentry}",
        "Unused directory entries that remember that a file does not exist.",
    )
    process_limit = _detail(
        "system.process.limit",
        "{thread}",
        "Threads of all processes there may be: the lower of pid_max and threads-max.",
    )
    entropy = _detail(
        "vedette.kernel.entropy.available", "bit", "Entropy the random generator has gathered."
    )
    entropy_limit = _detail(
        "vedette.kernel.entropy.limit", "bit", "Entropy the random generator can hold."
    )
    hung = counter(
        "vedette.kernel.hung_tasks",
        "{task}",
        "Times a task was found stuck in the kernel for minutes.",
        resource="kernel",
        alarm="high",
    )
    oopses = counter(
        "vedette.kernel.oopses",
        "{oops}",
        "Faults the kernel survived by killing what it was doing.",
        resource="kernel",
        alarm="high",
        source="/sys/kernel/oops_count",
    )
    warnings = counter(
        "vedette.kernel.warnings",
        "{warning}",
        "Times the kernel met something it did not expect.",
        resource="kernel",
        alarm="never",
        source="/sys/kernel/warn_count",
    )
    tainted = gauge(
        "vedette.kernel.tainted",
        "1",
        "1 once something, a foreign module or a fault, may have spoiled the kernel, else 0.",
        resource="kernel",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self.monotonic: Callable[[], float] = time.monotonic
        self._files = {name: KernelFile(name, one_record=True) for name in (*PROC, *SYS)}
        #: What each file held last, and the numbers in that.
        self._known: dict[str, tuple[bytes, list[int]]] = {}
        self._slow_at = float("-inf")
        self._slow: list[Sample] = []
        self._has_dpkg: bool | None = None
        self._single = (
            ("sys/kernel/random/entropy_avail", self.entropy),
            ("sys/kernel/hung_task_detect_count", self.hung),
            ("kernel/oops_count", self.oopses),
            ("kernel/warn_count", self.warnings),
        )

    def probe(self) -> None:
        self._files["uptime"].read(self.host.proc)

    def collect(self) -> list[Sample]:
        samples = []
        uptime = seconds(self._files["uptime"].read(self.host.proc))
        if uptime is not None:
            samples.append(self.uptime(uptime))
        samples += self._caches()
        for name, instrument in self._single:
            for value in self._numbers(name)[:1]:
                samples.append(instrument(value))
        for value in self._numbers("sys/kernel/tainted")[:1]:
            samples.append(self.tainted(int(value > 0)))
        now = self.monotonic()
        if now - self._slow_at >= SLOW_S:
            self._slow_at, self._slow = now, list(self._limits())
        return samples + self._slow

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _caches(self) -> list[Sample]:
        samples = []
        handles = self._numbers("sys/fs/file-nr")
        if len(handles) >= 3 and handles[0] >= handles[1]:
            in_use, most = handles[0] - handles[1], handles[2]
            samples.append(self.handles(in_use))
            if 0 < most < UNLIMITED:
                samples.append(self.handles_limit(most))
                samples.append(self.handles_share(min(1.0, in_use / most)))
        inodes, dentries = self._numbers("sys/fs/inode-nr"), self._numbers("sys/fs/dentry-state")
        for instrument, counts in ((self.inodes, inodes), (self.dentries, dentries)):
            if len(counts) >= 2 and counts[0] >= counts[1]:
                samples.append(instrument(counts[0] - counts[1], "used"))
                samples.append(instrument(counts[1], "unused"))
        if len(dentries) >= 5:
            samples.append(self.negative_dentries(dentries[4]))
        return samples

    def _limits(self) -> Iterator[Sample]:
        limits = (self._numbers("sys/kernel/pid_max"), self._numbers("sys/kernel/threads-max"))
        known = [limit[0] for limit in limits if limit]
        if known:
            yield self.process_limit(min(known))
        for value in self._numbers("sys/kernel/random/poolsize")[:1]:
            yield self.entropy_limit(value)
        booted = number_after(b"\n" + self._text("stat"), b"\nbtime ")
        if booted is not None:
            yield self.boot_time(booted)
        if self._has_dpkg is None:
            self._has_dpkg = os.path.exists(self.below_root(DPKG))
        if self._has_dpkg:
            yield self.reboot_required(int(self._waits_for_restart()))

    def below_root(self, path: str) -> str:
        """Return where a path of the host is found."""
        return self.host.root.rstrip("/") + path

    def _waits_for_restart(self) -> bool:
        if os.path.exists(self.below_root(f"/run/{REBOOT}")):
            return True
        # A link to /run would lead from the root of the host into that of the agent's container.
        is_link = os.path.islink(self.below_root(OLD_RUN))  # noqa: PTH114 - of a text
        return not is_link and os.path.exists(self.below_root(f"{OLD_RUN}/{REBOOT}"))

    def _text(self, name: str) -> bytes:
        """Return what the file holds; empty when it cannot be read."""
        try:
            return self._files[name].read(self.host.sys if name in SYS else self.host.proc)
        except (Unavailable, OSError):
            return b""

    def _numbers(self, name: str) -> list[int]:
        """Return the numbers the file holds; empty when it holds anything else."""
        text = self._text(name)
        known = self._known.get(name)
        if known is None or known[0] != text:
            known = self._known[name] = text, numbers(text.split(None, 16)[:16]) or []
        return known[1]


def seconds(text: bytes) -> float | None:
    """Return the first number of a text, with its fraction."""
    try:
        value = float(text.split(None, 1)[0])
    except (ValueError, IndexError):
        return None
    return value if isfinite(value) and value >= 0 else None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Kernel]
