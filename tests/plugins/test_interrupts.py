"""Collector interrupts: sums over CPUs, and the few rows that are wanted of very many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins import _rows
from vedette_plugins.interrupts import DEVICES_MAX, Interrupts, device_of, register_collectors

HEADER = b"           CPU0       CPU1\n"


def kind(name: str) -> str:
    return f"vedette.interrupts.architecture{{vedette.interrupt.kind={name}}}"


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Interrupts]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Interrupts, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Interrupts)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Interrupts, "devices", ["proc/interrupts", "proc/softirqs"])


def test_errors_are_there_from_the_start_and_other_kinds_when_they_happen(
    stage: Callable[..., Any],
) -> None:
    here = stage(Interrupts)
    here.write("proc/interrupts", HEADER + b"MCE: 0 0 Machine check\nTRM: 0 0 Thermal\nERR: 0\n")
    assert here.values() == {kind("MCE"): 0, kind("ERR"): 0}
    here.write("proc/interrupts", HEADER + b"MCE: 1 2 Machine check\nTRM: 3 4 Thermal\nERR: 5\n")
    assert here.values() == {kind("MCE"): 3, kind("TRM"): 7, kind("ERR"): 5}


def test_only_errors_bother_a_person(stage: Callable[..., Any]) -> None:
    here = stage(Interrupts, devices=("*",))
    rows = b"  1: 1 1 chip  eth0\nMCE: 1 1 x\nLOC: 1 1 x\nERR: 1\nMIS: 1\n"
    here.write("proc/interrupts", HEADER + rows)
    here.write("proc/softirqs", HEADER + b" RCU: 1 1\n")
    alarms = {one.series.values[0]: one.series.instrument.alarm for one in here.read()}
    assert alarms == {
        "RCU": "never",
        "MCE": "high",
        "LOC": "never",
        "ERR": "high",
        "MIS": "never",
        "eth0": "never",
    }


@pytest.mark.parametrize(
    ("row", "device"),
    [
        (b" 24:   1   0  IO-APIC   5-edge      ACPI:Ged\n", "ACPI:Ged"),
        (b" 36:   0   9 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n", "virtio1-req.0"),
        (b" 16:   3   3  IR-IO-APIC-fasteoi   ehci_hcd:usb1, mmc0\n", "ehci_hcd:usb1, mmc0"),
        (b" 10:   3   3     GICv3  27 Level     arch_timer\n", "arch_timer"),
        (b"  4:   3   3\n", ""),
    ],
)
def test_a_device_is_what_ends_its_row(row: bytes, device: str) -> None:
    assert device_of(row) == device


def test_rows_of_one_device_are_added_up_and_devices_bounded(stage: Callable[..., Any]) -> None:
    here = stage(Interrupts, devices=("nic*",))
    same = b"  1: 1 2 chip  nic\n  2: 3 4 chip  nic\n  3: 9 9 chip  disk\n"
    many = b"".join(b"%d: 1 1 chip  nic-%d\n" % (at, at) for at in range(2 * DEVICES_MAX))
    here.write("proc/interrupts", HEADER + same + many)
    read = here.values()
    assert read["vedette.interrupts.device{system.device=nic}"] == 10
    assert len(read) == DEVICES_MAX


def test_a_table_of_megabytes_is_read_and_never_held(stage: Callable[..., Any]) -> None:
    here = stage(Interrupts)
    width = 256
    counts = b" %10d" * width % tuple(range(width))
    header = b" ".join(b"CPU%d" % at for at in range(width)) + b"\n"
    table = header + b"".join(b"%d:%s chip  dev\n" % (at, counts) for at in range(1000))
    here.write("proc/interrupts", table + b"LOC:" + counts + b" Local timer interrupts\n")
    assert here.values() == {kind("LOC"): sum(range(width))}
    here.write("proc/interrupts", header + b"x" * (_rows.ROW_MAX + 1))
    with pytest.raises(OSError, match="larger than"):
        here.values()


def test_a_table_without_end_is_refused(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rows, "TABLE_MAX", 1000)
    here = stage(Interrupts)
    here.write("proc/interrupts", HEADER + b"  1: 1 2 chip  nic\n" * 100)
    with pytest.raises(OSError, match="larger than"):
        here.values()


def test_a_host_without_the_table_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Interrupts)
    with pytest.raises(Unavailable, match="interrupts: No such file"):
        here.collector.probe()
    here.write("proc/interrupts", b"")
    with pytest.raises(Unavailable, match="does not begin with the CPUs"):
        here.collector.probe()


def test_this_host_reads_between_two_looks_of_its_own(
    read_here: Callable[..., dict[str, float]],
) -> None:
    def look() -> dict[str, int]:
        found = {}
        for name in ("interrupts", "softirqs"):
            first, *rows = Path("/proc", name).read_text().splitlines()
            width = len(first.split())
            for row in rows:
                key, _, counts = row.partition(":")
                words = counts.split()[:width]
                if key.strip().isalpha() or name == "softirqs":
                    found[key.strip()] = sum(int(one) for one in words if one.isdigit())
        return found

    before, mine, after = look(), read_here(Interrupts), look()
    for key, value in mine.items():
        name = key.rpartition("=")[2].rstrip("}")
        assert before[name] <= value <= after[name]
    assert {"TIMER", "SCHED", "RCU"} <= {key.rpartition("=")[2].rstrip("}") for key in mine}


def test_a_row_that_stays_as_it_was_counts_as_before_and_anew_with_another_cpu(
    stage: Callable[..., Any],
) -> None:
    here = stage(Interrupts)
    seen = []
    for header, moving in ((HEADER, 1), (HEADER, 2), (b"CPU0\n", 3), (HEADER, 4)):
        here.write("proc/interrupts", header + b"RES: 2 3 calls\nLOC: %d 0 timer\n" % moving)
        read = here.values()
        seen.append((read[kind("RES")], read[kind("LOC")]))
    assert seen == [(5, 1), (5, 2), (2, 3), (5, 4)]
