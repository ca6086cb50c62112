"""Collector smart: a real program asked about disks, that answers, lies, hangs or is not there."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Sample, Unavailable
from vedette_plugins._smart_answer import amount, raw
from vedette_plugins._smartctl import ANSWER_MAX, Asker, find_program, parse
from vedette_plugins.smart import REST, Smart, register_collectors

WELL = json.dumps({"smart_status": {"passed": True}, "temperature": {"current": 30}})
HEALTHY = "vedette.smart.healthy{system.device=%s}"


def script(path: Path, body: str) -> str:
    """Write an executable that does this; returns its path. The disk's name is ``$disk``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nfor last; do :; done\ndisk="${{last##*/}}"\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


class Replayed(Smart):
    """Asks a program that prints the file ``smartctl/DISK`` of the tree."""

    def collect(self) -> Iterator[Sample]:
        folder = Path(self.host.sys).parent
        program = script(folder / "program", f'cat "{folder}/smartctl/$disk"')
        self.config = msgspec.structs.replace(self.config, program=program)
        return super().collect()


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Smart]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Replayed, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Replayed)


def test_no_sample_names_a_serial_number(case: Path) -> None:
    assert "serial" not in case.joinpath("expected.json").read_text()
    for path in case.glob("*/smartctl/*"):
        assert b"serial_number" not in path.read_bytes()


@pytest.fixture
def asked(stage: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Stage the collector with disks and a program that does what a shell script says."""

    def put(body: str, *disks: str, **options: Any) -> Any:
        program = script(tmp_path / "bin" / "smartctl", body)
        here = stage(Smart, program=program, **options)
        for disk in disks:
            here.write(f"sys/block/{disk}/device/vendor", b"ATA     \n")
        return here

    return put


def alive(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_a_host_without_the_program_is_unavailable(stage: Callable[..., Any]) -> None:
    here = stage(Smart, program="no-such-program-here")
    here.write("sys/block/sda/device/vendor", b"ATA\n")
    for attempt in (here.collector.probe, here.read):
        with pytest.raises(Unavailable, match="no-such-program-here is not installed"):
            attempt()


def test_a_host_with_virtual_disks_only_is_unavailable_and_runs_nothing(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    here = asked(f"touch {tmp_path}/ran", "vda", "xvda", "sr0")
    here.write("sys/block/dm-0/size", b"1\n")
    with pytest.raises(Unavailable, match="no disk that could know"):
        here.collector.probe()
    assert not (tmp_path / "ran").exists()


def test_a_virtual_disk_is_asked_when_it_is_included(asked: Callable[..., Any]) -> None:
    here = asked(f"echo '{WELL}'", "vda", "sda", include=("vda",), exclude=("*",))
    here.collector.probe()
    assert here.values()[HEALTHY % "vda"] == 1
    assert HEALTHY % "sda" not in here.values()


def test_it_asks_for_little_and_never_wakes_a_disk(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    here = asked(f"""echo "$@" >> {tmp_path}/asked; echo '{WELL}'""", "sda", "sdb", "nvme0n1")
    here.write("sys/block/sdb/device/vendor", b"SEAGATE \n")
    here.write("sys/block/cciss!c0d0/device/vendor", b"HP\n")
    here.read()
    little = "--json=c -n standby,3 -H -A -d"
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"{little} auto -l error /dev/cciss/c0d0",
        f"{little} nvme /dev/nvme0n1",
        f"{little} sat /dev/sda",
        f"{little} auto -l error /dev/sdb",
    ]


def test_a_sleeping_disk_is_left_out_and_read_when_it_is_awake(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    here = asked(
        f"""[ -e {tmp_path}/awake ] || {{ echo '{{"smartctl":{{}}}}'; exit 3; }}; echo '{WELL}'""",
        "sda",
    )
    assert here.values() == {}
    (tmp_path / "awake").touch()
    assert here.values()[HEALTHY % "sda"] == 1


def test_a_disk_that_may_not_be_opened_says_that_root_is_needed(
    asked: Callable[..., Any],
) -> None:
    text = "Smartctl open device: /dev/sda failed: Permission denied"
    answer = json.dumps({"smartctl": {"messages": [{"string": text}], "exit_status": 2}})
    here = asked(f"echo '{answer}'; exit 2", "sda")
    with pytest.raises(Unavailable, match=r"sda: Smartctl open .* denied \(root is needed\)"):
        here.read()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo garbage", "not JSON"),
        ("exit 1", "not JSON"),
        ("printf '%s' '[[[[['", "not JSON"),
        ("echo '{}'", "has no SMART"),
        ("kill -9 $$", "not JSON"),
        # More than any answer: it is not read on and on.
        ("exec cat /dev/zero", "no answer"),
        # Says nothing, and a child of it holds the pipe.
        ("sleep 1000 & sleep 1000", "no answer"),
        # All is said, but it does not end.
        (f"echo '{WELL}'; exec >&-; sleep 1000", "no answer"),
    ],
)
def test_a_program_that_fails_makes_it_unavailable_and_leaves_nothing_running(
    asked: Callable[..., Any], tmp_path: Path, body: str, reason: str
) -> None:
    here = asked(f"echo $$ > {tmp_path}/pid; {body}", "sda", answer_within=1.0)
    with pytest.raises(Unavailable, match=f"sda: .*{reason}"):
        here.read()
    group = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while alive(group):
        assert time.monotonic() < deadline


def test_one_bad_disk_does_not_hide_the_others(asked: Callable[..., Any]) -> None:
    here = asked(f"""[ "$disk" = sdb ] && exit 1; echo '{WELL}'""", "sda", "sdb", "sdc")
    assert {key for key in here.values() if "healthy" in key} == {HEALTHY % "sda", HEALTHY % "sdc"}


def test_a_disk_that_never_answered_is_asked_again_once_an_hour(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    here = asked(
        f"""echo "$disk" >> {tmp_path}/asked; [ "$disk" = sdb ] && exit 1; echo '{WELL}'""",
        "sda",
        "sdb",
    )
    for _ in range(REST + 1):
        here.read()
    log = (tmp_path / "asked").read_text().split()
    assert (log.count("sda"), log.count("sdb")) == (REST + 1, 2)


def test_a_disk_that_once_answered_is_asked_at_each_round(
    asked: Callable[..., Any], tmp_path: Path
) -> None:
    here = asked(f"""[ -e {tmp_path}/broken ] && exit 1; echo '{WELL}'""", "sda")
    seen = []
    for is_broken in (False, True, False):
        (tmp_path / "broken").unlink(missing_ok=True)
        if is_broken:
            (tmp_path / "broken").touch()
        try:
            seen.append(here.values()[HEALTHY % "sda"])
        except Unavailable:
            seen.append(None)
    assert seen == [1, None, 1]


def test_a_round_that_takes_too_long_ends_and_the_next_goes_on(
    asked: Callable[..., Any],
) -> None:
    here = asked(f"echo '{WELL}'", "sda", "sdb", "sdc")
    clock = iter([0.0, 0.0, 50.0, 101.0])
    here.collector.monotonic = lambda: next(clock)
    assert {key for key in here.values() if "healthy" in key} == {HEALTHY % "sda", HEALTHY % "sdb"}


def test_a_process_that_cannot_be_killed_is_not_joined_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "asked"
    program = script(tmp_path / "smartctl", f"echo $$ >> {log}; exec sleep 1000")
    asker = Asker()
    kills: list[int] = []
    with monkeypatch.context() as patch:
        # As in the kernel, while a disk hangs.
        patch.setattr("vedette_plugins._smartctl.os.killpg", lambda pid, _: kills.append(pid))
        assert asker.ask([program, "/dev/sda"], "sda", 1.0).reason == "no answer within 1 s"
        assert "still hangs" in asker.ask([program, "/dev/sda"], "sda", 1.0).reason
    (pid,) = map(int, log.read_text().split())
    assert kills == [pid]
    os.killpg(pid, 9)
    deadline = time.monotonic() + 10
    while "still hangs" in asker.ask(["/bin/true"], "sda", 1.0).reason:
        assert time.monotonic() < deadline
    assert "not JSON" in asker.ask(["/bin/true"], "sda", 1.0).reason


def test_a_program_in_the_wrong_format_is_a_reason(tmp_path: Path) -> None:
    program = tmp_path / "smartctl"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    assert "cannot be run" in Asker().ask([str(program), "/dev/sda"], "sda", 1.0).reason


def test_an_answer_just_below_the_bound_is_read_whole() -> None:
    text = "x" * (ANSWER_MAX - 100)
    argv = [sys.executable, "-c", f"print('{{\"smart_status\":\"' + 'x' * {len(text)} + '\"}}')"]
    answer = Asker().ask(argv, "sda", 20.0)
    assert answer.data == {"smart_status": text}


def test_a_program_is_found_by_path_or_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(tmp_path / "bin" / "some-smartctl", "")
    monkeypatch.setenv("PATH", f"bin::{tmp_path}/bin")
    assert find_program("some-smartctl") == program
    assert find_program(program) == program
    assert find_program(f"{program}-not") is None
    # Not from a folder relative to where the agent happens to be.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin")
    assert find_program("some-smartctl") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = (
    "smart_status",
    "temperature",
    "power_on_time",
    "power_cycle_count",
    "ata_smart_attributes",
    "nvme_smart_health_information_log",
    "scsi_error_counter_log",
    "scsi_grown_defect_list",
    "endurance_used",
)
INNER = ("passed", "current", "hours", "minutes", "table", "media_errors", "percentage_used")
ROW = st.fixed_dictionaries(
    {}, optional={"id": JSON | st.sampled_from([5, 177, 187, 197]), "name": JSON, "raw": JSON}
)
SHAPES = st.dictionaries(
    st.sampled_from(KEYS),
    JSON
    | st.dictionaries(st.sampled_from(INNER), JSON)
    | st.fixed_dictionaries({"table": st.lists(JSON | ROW, max_size=3)}),
)


@given(data=SHAPES)
def test_no_shape_of_an_answer_crashes_it_or_makes_a_wild_value(data: dict[str, Any]) -> None:
    smart = Smart(Smart.Config())
    samples = list(smart._samples("sda", data))
    assert len({one.series.key for one in samples}) == len(samples)
    assert all(0 <= one.value < 1 << 60 for one in samples)
    assert all(one.value <= 1 for one in samples if one.series.instrument.unit == "1")


@given(output=st.binary(max_size=200) | JSON.map(lambda one: json.dumps(one).encode()))
def test_no_output_crashes_it(output: bytes) -> None:
    answer = parse(output)
    assert answer.data is None or isinstance(answer.data, dict)
    assert answer.reason.isprintable()


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ({"raw": {"value": 81604378656, "string": "32 (0 19 0 0 0)"}}, 32),
        ({"raw": {"value": 7, "string": "7"}}, 7),
        ({"raw": {"value": 7, "string": "0h+00m"}}, 7),
        ({"raw": {"value": 7}}, 7),
        ({"raw": {"value": -7, "string": ""}}, None),
        ({"raw": {"value": 1 << 48, "string": ""}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_raw_value_is_what_smartctl_makes_of_it(row: Any, value: int | None) -> None:
    assert raw(row) == value


@pytest.mark.parametrize("value", [True, "5", None, -1, float("nan"), float("inf"), 1e30, [], {}])
def test_what_is_no_sane_number_is_none(value: Any) -> None:
    assert amount(value) is None
