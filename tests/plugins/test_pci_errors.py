"""Collector pci_errors: sums from the start, devices once they fail, what is replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.pci_errors import LOOK_EVERY, PciErrors, register_collectors


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [PciErrors]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(PciErrors, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(PciErrors)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    files = ("aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal")
    devices = ("0000:00:01.0", "0000:01:00.0")
    names = [f"sys/bus/pci/devices/{device}/{file}" for device in devices for file in files]
    assert_survives(data, PciErrors, "server", names)


CORRECTABLE, NONFATAL, FATAL = (
    f"vedette.pci.errors.{kind}" for kind in ("correctable", "nonfatal", "fatal")
)


def device(here: Any, name: str, correctable: int = 0, nonfatal: int = 0, fatal: int = 0) -> None:
    for file, key, count in (
        ("correctable", b"COR", correctable),
        ("nonfatal", b"NONFATAL", nonfatal),
        ("fatal", b"FATAL", fatal),
    ):
        text = b"DLP 0\nTOTAL_ERR_%s %d\n" % (key, count)
        here.write(f"sys/bus/pci/devices/{name}/aer_dev_{file}", text)


def own(name: str, kind: str) -> str:
    return f"vedette.pci.device.errors{{vedette.pci.device={name},error.type={kind}}}"


def test_a_host_whose_devices_report_nothing_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(PciErrors)
    with pytest.raises(Unavailable, match="no PCI device that reports"):
        here.collector.probe()
    here.write("sys/bus/pci/devices/0000:00:00.0/class", b"0x060000\n")
    with pytest.raises(Unavailable, match="no PCI device that reports"):
        here.collector.probe()


def test_the_first_error_is_a_rise_of_a_sum_that_was_there(stage: Callable[..., Any]) -> None:
    here = stage(PciErrors)
    device(here, "0000:01:00.0")
    assert here.values() == {CORRECTABLE: 0, NONFATAL: 0, FATAL: 0}
    device(here, "0000:01:00.0", fatal=1)
    assert here.values() == {
        CORRECTABLE: 0,
        NONFATAL: 0,
        FATAL: 1,
        own("0000:01:00.0", "fatal"): 1,
    }


def test_a_sum_never_falls(stage: Callable[..., Any]) -> None:
    here = stage(PciErrors)
    device(here, "a", nonfatal=5)
    device(here, "b", nonfatal=2)
    seen = [here.values()[NONFATAL]]
    device(here, "a", nonfatal=1)  # another device in the slot, that failed once
    seen.append(here.values()[NONFATAL])
    for path in (here.folder / "sys/bus/pci/devices/b").iterdir():
        path.unlink()
    seen += [here.values()[NONFATAL] for _ in range(LOOK_EVERY)]
    assert seen == [7, 8] + [8] * LOOK_EVERY


def test_a_file_that_once_cannot_be_read_is_no_error(stage: Callable[..., Any]) -> None:
    here = stage(PciErrors)
    seen = []
    for text in (b"TOTAL_ERR_FATAL 3\n", b"", b"TOTAL_ERR_FATAL 4\n"):
        here.write("sys/bus/pci/devices/a/aer_dev_fatal", text)
        seen.append(here.values()[FATAL])
    assert seen == [3, 3, 4]


def test_a_device_put_in_later_counts_from_nothing(stage: Callable[..., Any]) -> None:
    here = stage(PciErrors)
    device(here, "a", fatal=1)
    here.read()
    device(here, "b", fatal=2)
    seen = [here.values()[FATAL] for _ in range(LOOK_EVERY)]
    assert seen == [1] * (LOOK_EVERY - 1) + [3]


def test_devices_with_series_of_their_own_are_capped_and_all_are_summed(
    stage: Callable[..., Any],
) -> None:
    here = stage(PciErrors, max_devices=2)
    for n in range(5):
        device(here, f"0000:{n:02x}:00.0", correctable=n)
    read = here.values()
    assert read[CORRECTABLE] == 10
    assert set(read) - {CORRECTABLE, NONFATAL, FATAL} == {
        own("0000:01:00.0", "correctable"),
        own("0000:02:00.0", "correctable"),
    }


def test_only_what_was_not_corrected_can_raise_a_finding() -> None:
    assert {one.name for one in PciErrors.instruments() if one.alarm != "never"} == {
        NONFATAL,
        FATAL,
    }


def test_this_hosts_sums_are_those_of_its_files(
    read_here: Callable[..., dict[str, float]],
) -> None:
    files = list(Path("/sys/bus/pci/devices").glob("*/aer_dev_fatal"))
    if not files:
        pytest.skip("no device here reports errors")
    total = sum(int(path.read_text().split()[-1]) for path in files)
    assert read_here(PciErrors)[FATAL] == total
