"""Collector kernel: limits that are none, and what is only read now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Unavailable
from vedette_plugins.kernel import Kernel, register_collectors


@pytest.fixture(scope="module", autouse=True)
def root_beside_proc() -> Iterator[None]:
    """Let a collector on a tree of files find the host's root there too."""
    inherited = Kernel.below_root

    def below_root(self: Kernel, path: str) -> str:
        if self.host.proc == "/proc":
            return inherited(self, path)
        return f"{Path(self.host.proc).parent}/root{path}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "below_root", below_root)
        yield


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Kernel]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Kernel, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Kernel)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(
        data,
        Kernel,
        "short-of-handles",
        ["proc/uptime", "proc/sys/fs/file-nr", "proc/sys/fs/dentry-state", "proc/stat"],
    )


def test_a_kernel_without_uptime_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="uptime: No such file"):
        stage(Kernel).collector.probe()


def test_file_handles_without_a_limit_have_no_share(stage: Callable[..., Any]) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"5.5 1\n")
    here.write("proc/sys/fs/file-nr", b"593\t3\t9223372036854775807\n")
    assert here.values() == {"system.uptime": 5.5, "vedette.kernel.file_handles.usage": 590}


def test_limits_are_read_once_a_minute(stage: Callable[..., Any]) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"1 1\n")
    seen = []
    for limit in (100, 200, 300):
        here.write("proc/sys/kernel/pid_max", b"%d\n" % limit)
        seen.append(here.values(after_s=30.0)["system.process.limit"])
    assert seen == [100, 100, 300]


def test_the_lower_limit_of_processes_and_threads_counts(stage: Callable[..., Any]) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"1 1\n")
    here.write("proc/sys/kernel/pid_max", b"4194304\n")
    here.write("proc/sys/kernel/threads-max", b"5000\n")
    assert here.values()["system.process.limit"] == 5000


def test_a_taint_is_told_as_one_whatever_its_flags(stage: Callable[..., Any]) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"1 1\n")
    seen = []
    for flags in (0, 1, 4096 + 8192):
        here.write("proc/sys/kernel/tainted", b"%d\n" % flags)
        seen.append(here.values()["vedette.kernel.tainted"])
    assert seen == [0, 1, 1]


REBOOT = "vedette.host.reboot_required"


@pytest.mark.parametrize("folder", ["run", "var/run"])
def test_an_update_that_waits_for_a_restart_is_told_within_a_minute(
    stage: Callable[..., Any], folder: str
) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"1 1\n")
    here.write("root/var/lib/dpkg/status", b"")
    seen = [here.values()[REBOOT]]
    here.write(f"root/{folder}/reboot-required", b"*** System restart required ***\n")
    seen += [here.values(after_s=30.0)[REBOOT] for _ in range(2)]
    (here.folder / "root" / folder / "reboot-required").unlink()
    seen.append(here.values(after_s=60.0)[REBOOT])
    assert seen == [0, 0, 1, 0]


def test_a_host_without_dpkg_never_waits_for_a_restart(stage: Callable[..., Any]) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"1 1\n")
    here.write("root/run/reboot-required", b"")
    assert REBOOT not in here.values()


def test_a_link_out_of_the_hosts_root_is_not_followed(stage: Callable[..., Any]) -> None:
    here = stage(Kernel)
    here.write("proc/uptime", b"1 1\n")
    here.write("root/var/lib/dpkg/status", b"")
    here.write("container/run/reboot-required", b"")
    (here.folder / "root/var/run").symlink_to(here.folder / "container/run")
    assert here.values()[REBOOT] == 0


def test_only_faults_and_open_files_can_raise_a_finding() -> None:
    assert {one.name for one in Kernel.instruments() if one.alarm != "never"} == {
        "vedette.kernel.file_handles.usage",
        "vedette.kernel.file_handles.utilization",
        "vedette.kernel.hung_tasks",
        "vedette.kernel.oopses",
    }


def test_this_host_was_started_when_psutil_says(read_here: Callable[..., dict[str, float]]) -> None:
    mine = read_here(Kernel)
    assert mine["vedette.host.boot_time"] == pytest.approx(psutil.boot_time(), abs=2)
    assert mine["system.uptime"] == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=2)


def test_this_hosts_numbers_are_those_of_its_files(
    read_here: Callable[..., dict[str, float]],
) -> None:
    mine = read_here(Kernel)
    files = Path("/proc/sys")
    limits = [int((files / "kernel" / name).read_text()) for name in ("pid_max", "threads-max")]
    assert mine["system.process.limit"] == min(limits)
    cached = sum(
        value for key, value in mine.items() if key.startswith("vedette.kernel.dentries.u")
    )
    by_hand = int((files / "fs" / "dentry-state").read_text().split()[0])
    assert cached == pytest.approx(by_hand, rel=0.2)


def test_this_host_waits_for_a_restart_if_its_packages_say_so(
    read_here: Callable[..., dict[str, float]],
) -> None:
    if not Path("/var/lib/dpkg").exists():
        pytest.skip("no dpkg here")
    assert read_here(Kernel)[REBOOT] == Path("/run/reboot-required").exists()
