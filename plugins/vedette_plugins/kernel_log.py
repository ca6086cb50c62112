"""Collector ``kernel_log``: what the kernel complains of, counted by kind, from /dev/kmsg.

Only what is logged after the start counts. Lines are sorted by the words the kernel uses for each
kind of trouble; a line of no kind counts with its severity only. Whatever user programs write into
the kernel's log is left out: it is their word, not the kernel's.
"""

from __future__ import annotations

import errno
import os
from collections import Counter

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, hookimpl

#: Longer records than this the kernel does not make.
RECORD_MAX = 8192
#: Records read at one tick; what is more is read at the next ones, or lost and counted.
RECORDS_MAX = 2000

#: Kind of trouble and the texts that tell it, lower case; the first kind that fits counts.
SERIOUS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("oom_kill", (b"out of memory: kill", b"oom-kill:", b"killed process ")),
    ("machine_check", (b"mce: [hardware error]", b"machine check", b"[hardware error]")),
    ("memory_error", (b"edac ", b"memory failure:", b"uncorrected error", b"hwpoison")),
    ("hung_task", (b" blocked for more than ",)),
    (
        "lockup",
        (
            b"soft lockup",
            b"hard lockup",
            b"rcu_sched self-detected",
            b"rcu: info:",
            b"detected stalls",
        ),
    ),
    (
        "panic",
        (
            b"kernel panic",
            b"kernel bug at",
            b"oops:",
            b"bug: unable to handle",
            b"general protection fault",
        ),
    ),
    (
        "filesystem_error",
        (
            b"-fs error",
            b"remounting filesystem read-only",
            b"xfs_error",
            b"metadata i/o error",
            b"btrfs error",
            b"btrfs critical",
            b"corruption detected",
            b"journal has aborted",
        ),
    ),
    (
        "io_error",
        (
            b"i/o error",
            b"medium error",
            b"critical target error",
            b"blk_update_request",
            b"failed command:",
            b"hard resetting link",
            b"rejecting i/o",
            b"timeout, aborting",
            b"device offlined",
        ),
    ),
    (
        "raid",
        (
            b"raid1: disk failure",
            b"raid10: disk failure",
            b"raid5: disk failure",
            b"md/raid",
            b"disk failure on ",
        ),
    ),
    ("gpu", (b"nvrm: xid", b"gpu has fallen off", b"amdgpu: gpu reset", b"gpu hang")),
    ("nfs", (b"not responding, still trying", b"not responding, timed out")),
    (
        "thermal",
        (b"temperature above threshold", b"thermal throttling", b"critical temperature reached"),
    ),
    (
        "link_down",
        (
            b"link is down",
            b"nic link is down",
            b"link down",
            b"link becomes not ready",
            b"carrier lost",
        ),
    ),
    ("conntrack_full", (b"table full, dropping packet",)),
)
HARMLESS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("link_up", (b"link is up", b"link up", b"link becomes ready")),
    ("segfault", (b"segfault at ", b"traps: ")),
    ("warning", (b"warning: cpu:", b"call trace:")),
)
SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")


class KernelLog(Collector):
    """Kernel messages by kind of trouble and by severity."""

    name = "kernel_log"
    interval_s = 1.0
    may_block = False
    source = "/dev/kmsg"

    events = counter(
        "vedette.kernel.events",
        "{event}",
        "Kernel messages of this kind since the agent's start.",
        ["vedette.kernel.event.kind"],
        resource="kernel",
        alarm="high",
    )
    # The same metric: a program that crashes or a link that comes up is no trouble of the kernel.
    harmless = counter(
        "vedette.kernel.events",
        "{event}",
        "Kernel messages of this kind since the agent's start.",
        ["vedette.kernel.event.kind"],
        resource="kernel",
        alarm="never",
    )
    messages = counter(
        "vedette.kernel.messages",
        "{message}",
        "Kernel messages of this severity since the agent's start.",
        ["vedette.kernel.message.severity"],
        resource="kernel",
        alarm="never",
    )
    lost = counter(
        "vedette.kernel.messages.lost",
        "{message}",
        "Times the kernel overwrote messages before they could be read.",
        resource="kernel",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._descriptor = -1
        self._kinds: Counter[str] = Counter()
        self._severities: Counter[str] = Counter()
        self._lost = 0
        #: What was told last; none once something is logged.
        self._samples: list[Sample] = []

    def probe(self) -> None:
        self._open()

    def collect(self) -> list[Sample]:
        self._read(self._open())
        if not self._samples:
            self._samples = [
                *(self.events(self._kinds[kind], kind) for kind, _ in SERIOUS),
                *(self.harmless(self._kinds[kind], kind) for kind, _ in HARMLESS),
                *(self.messages(self._severities[one], one) for one in SEVERITIES[:5]),
                self.lost(self._lost),
            ]
        return self._samples

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> int:
        """Open the log at its end, once; raises ``Unavailable`` when it may not be read."""
        if self._descriptor < 0:
            path = f"{self.host.root.rstrip('/')}/dev/kmsg"
            try:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                os.lseek(self._descriptor, 0, os.SEEK_END)
            except OSError as error:
                self.close()
                hint = " (needs root or CAP_SYSLOG)" if error.errno == errno.EPERM else ""
                raise Unavailable(f"cannot read {path}: {error.strerror}{hint}") from error
        return self._descriptor

    def _read(self, descriptor: int) -> None:
        for _ in range(RECORDS_MAX):
            try:
                record = os.read(descriptor, RECORD_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EPIPE:
                    self.close()
                    raise
                self._lost += 1
                self._samples = []
                continue
            if not record:
                return
            self._count(record)

    def _count(self, record: bytes) -> None:
        self._samples = []
        found = parse_record(record)
        if found is not None:
            severity, message = found
            self._severities[SEVERITIES[severity]] += 1
            kind = kind_of(message)
            if kind:
                self._kinds[kind] += 1


def parse_record(record: bytes) -> tuple[int, bytes] | None:
    """Return severity (0 to 7) and text of one record; None for a garbled or a user's one.

    The format is ``priority,sequence,time,flags[,...];text`` and lines of properties after it.
    """
    head, found, rest = record.partition(b";")
    priority = head.split(b",", 1)[0]
    if not found or not priority.isdigit() or len(priority) > 5:
        return None
    number = int(priority)
    if number >> 3:  # a facility other than the kernel's
        return None
    return number & 7, rest.partition(b"\n")[0]


def kind_of(message: bytes) -> str:
    """Return the kind of trouble a message tells of; empty for none."""
    text = message.lower()
    for kinds in (SERIOUS, HARMLESS):
        for kind, words in kinds:
            if any(word in text for word in words):
                return kind
    return ""


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [KernelLog]
