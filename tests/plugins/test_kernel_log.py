"""Collector kernel_log: messages sorted into kinds, read from a device of records."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette.testing import check_collector, readings
from vedette_plugins.kernel_log import (
    HARMLESS,
    SERIOUS,
    KernelLog,
    kind_of,
    parse_record,
    register_collectors,
)

#: Messages as kernels print them, and the kind each is of.
MESSAGES = {
    "Out of memory: Killed process 4711 (stress) total-vm:4194304kB, anon-rss:1kB": "oom_kill",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0": "oom_kill",
    "mce: [Hardware Error]: Machine check events logged": "machine_check",
    "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0": "memory_error",
    "INFO: task jbd2/sda1-8:345 blocked for more than 120 seconds.": "hung_task",
    "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [python3:99]": "lockup",
    "Kernel panic - not syncing: Fatal exception": "panic",
    "BUG: unable to handle page fault for address: ffffffffc0": "panic",
    "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2": "filesystem_error",
    "EXT4-fs (sda1): Remounting filesystem read-only": "filesystem_error",
    "I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2": "io_error",
    "ata1.00: failed command: READ FPDMA QUEUED": "io_error",
    "nvme nvme0: I/O 22 QID 3 timeout, aborting": "io_error",
    "md/raid1:md0: Disk failure on sdb1, disabling device.": "raid",
    "NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus.": "gpu",
    "nfs: server files not responding, still trying": "nfs",
    "CPU2: Core temperature above threshold, cpu clock throttled": "thermal",
    "e1000e 0000:00:19.0 eth0: NIC Link is Down": "link_down",
    "nf_conntrack: nf_conntrack: table full, dropping packet": "conntrack_full",
    "mlx5_core 0000:03:00.0 eth2: Link up": "link_up",
    "python3[812]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6": "segfault",
    "EXT4-fs (vda): mounted filesystem r/w with ordered data mode": "",
    "random: crng init done": "",
}


class Log:
    """A device that gives one record per read, as /dev/kmsg does: a pipe in packet mode."""

    def __init__(self) -> None:
        reader, self.writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        self.collector = KernelLog(KernelLog.Config())
        self.collector._descriptor = reader

    def write(self, *records: str) -> None:
        for record in records:
            os.write(self.writer, record.encode())

    def values(self) -> dict[str, float]:
        return readings(self.collector.collect())


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.collector.close()
    os.close(made.writer)


def events(kind: str) -> str:
    return f"vedette.kernel.events{{vedette.kernel.event.kind={kind}}}"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [KernelLog]


@pytest.mark.parametrize(("message", "kind"), MESSAGES.items())
def test_a_message_is_of_its_kind(message: str, kind: str) -> None:
    assert kind_of(message.encode()) == kind


def test_every_kind_has_its_series_from_the_start_so_that_the_first_event_counts(log: Log) -> None:
    read = log.values()
    for kind, _ in (*SERIOUS, *HARMLESS):
        assert read[events(kind)] == 0
    log.write("3,10,5000,-;I/O error, dev sda, sector 1\n SUBSYSTEM=block\n")
    assert log.values()[events("io_error")] == 1


def test_messages_are_counted_by_severity(log: Log) -> None:
    log.write("3,1,1,-;one\n", "4,2,1,-;two\n", "4,3,1,c;three\n", "6,4,1,-;four\n")
    read = log.values()
    severity = "vedette.kernel.messages{vedette.kernel.message.severity=%s}"
    assert read[severity % "error"] == 1
    assert read[severity % "warning"] == 2
    assert severity % "info" not in read


def test_what_users_write_into_the_log_does_not_count(log: Log) -> None:
    log.write("11,1,1,-;I/O error, dev sda\n", "30,2,1,-;Out of memory: Killed process 1\n")
    read = log.values()
    assert read[events("io_error")] == read[events("oom_kill")] == 0


def test_a_property_line_is_no_message() -> None:
    assert parse_record(b"6,1,1,-;usb 1-1: new device\n DEVICE=+usb:1-1: I/O error\n") == (
        6,
        b"usb 1-1: new device",
    )


@given(st.binary(max_size=200))
def test_garbage_is_no_record_or_one_of_a_severity(raw: bytes) -> None:
    found = parse_record(raw)
    assert found is None or 0 <= found[0] <= 7


def test_a_log_that_may_not_be_read_is_unavailable(tmp_path: Path) -> None:
    collector = KernelLog(KernelLog.Config())
    collector.host = Host(root=str(tmp_path))
    with pytest.raises(Unavailable, match="cannot read"):
        collector.probe()


def test_a_log_that_ended_is_opened_anew(log: Log) -> None:
    log.values()
    os.close(log.collector._descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        log.values()
    assert log.collector._descriptor == -1


def test_a_program_that_crashes_here_is_counted() -> None:
    """The kernel really says so, unless it was told not to."""
    if not os.access("/dev/kmsg", os.R_OK) or ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("the kernel's log may not be read here")
    told = Path("/proc/sys/debug/exception-trace")
    if not told.exists() or told.read_text().strip() == "0":
        pytest.skip("this kernel says nothing of programs that crash")
    collector = KernelLog(KernelLog.Config())
    try:
        collector.probe()
    except Unavailable as reason:
        pytest.skip(str(reason))
    before = readings(collector.collect())[events("segfault")]
    subprocess.run([sys.executable, "-c", "import ctypes; ctypes.string_at(0)"], check=False)
    after = readings(collector.collect())[events("segfault")]
    collector.close()
    if after == before:
        pytest.skip("the kernel held its tongue (rate limit)")
    assert after == before + 1


def test_it_keeps_the_contract_here() -> None:
    try:
        check_collector(KernelLog)
    except Unavailable as reason:
        pytest.skip(str(reason))
