"""Collector nvidia: asked through the real pynvml, of a library built here that stands for NVML."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Event, GpuUses, Host, Sample, Unavailable, Usage
from vedette_plugins.nvidia import Nvidia, register_collectors

sys.path.insert(0, str(Path(__file__).parents[1]))
from nvml_stub import LIBRARY, Staged, build, put_in_place

pytest.importorskip("pynvml")
HERE = Path(__file__).parent.parent / "fixtures" / "nvidia"
STUB = "proc/driver/nvidia/stub"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub of NVML, compiled."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(autouse=True)
def nvml(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stub in the place where pynvml keeps the library; it must be shut down at the end."""
    library = put_in_place(built, monkeypatch)
    held = library.stub_inits(), library.stub_sets()
    yield library
    assert (library.stub_inits(), library.stub_sets()) == held


@pytest.fixture
def here(stage: Callable[..., Any]) -> Iterator[Any]:
    """A collector with a driver, whose answers are to be written."""
    one = stage(Staged)
    one.write("proc/driver/nvidia/version", b"NVRM version: stub\n")
    yield one
    one.collector.close()


def answers(case: str, tick: int = 0) -> bytes:
    return (HERE / case / str(tick) / STUB).read_bytes()


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Nvidia]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Staged, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Staged)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_driver_that_answers_nonsense_does_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    assert_survives(data, Staged, "h100_and_t4", [STUB, "proc/4711/comm"])


def test_a_process_of_its_own_finds_the_library_as_the_linker_does(
    built: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from vedette.api import Host\n"
        "from vedette_plugins.nvidia import Nvidia\n"
        "one = Nvidia(Nvidia.Config())\n"
        "assert 'pynvml' not in sys.modules\n"
        "one.host = Host(proc=sys.argv[1], sys=sys.argv[1])\n"
        "import ctypes\n"
        f"library = ctypes.CDLL({LIBRARY!r})\n"
        "library.stub_use((sys.argv[1] + '/driver/nvidia/stub').encode())\n"
        "one.probe()\n"
        "print(library.stub_inits(), len(list(one.collect())))\n"
        "one.close()\n"
        "print(library.stub_inits())\n"
    )
    proc = str(HERE / "workstation" / "0" / "proc")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(built.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code, proc],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    (inits, count), (left,) = (line.split() for line in done.stdout.splitlines())
    assert (inits, left) == ("1", "0")
    assert int(count) > 20


def test_without_a_driver_the_library_is_not_even_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nvml: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    collector = Nvidia(Nvidia.Config())
    collector.host = Host(proc=str(tmp_path), sys=str(tmp_path), root=str(tmp_path))
    with pytest.raises(Unavailable, match="no NVIDIA driver is loaded"):
        collector.probe()
    (tmp_path / "driver" / "nvidia").mkdir(parents=True)
    (tmp_path / "driver" / "nvidia" / "version").touch()
    with pytest.raises(Unavailable, match="nvidia-ml-py is not installed"):
        collector.probe()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"init 9\n", "no NVIDIA driver is loaded"),
        (b"init 12\n", "libnvidia-ml.so.1 is not installed"),
        (b"init 18\n", "upgraded"),
        (b"init 999\n", "NVML: Unknown Error"),
        (b"count 0\n", "no NVIDIA GPU"),
        (b"count 1\n0.lost 15\n", "no NVIDIA GPU"),
    ],
)
def test_why_there_is_nothing_to_read_is_told(here: Any, text: bytes, reason: str) -> None:
    here.write(STUB, text)
    with pytest.raises(Unavailable, match=reason):
        here.collector.probe()


def test_gpus_that_sleep_are_not_woken_up(here: Any, nvml: Any) -> None:
    here.write(STUB, answers("workstation"))
    here.write("proc/driver/nvidia/gpus/0000:01:00.0/information", b"")
    status = "sys/bus/pci/devices/0000:01:00.0/power/runtime_status"
    here.write(status, b"suspended\n")
    with pytest.raises(Unavailable, match="sleep"):
        here.collector.probe()
    assert nvml.stub_calls(b"0.bus") == 0
    here.write(status, b"active\n")
    assert here.values()["vedette.gpu.count{hw.vendor=NVIDIA}"] == 1


def test_what_a_card_cannot_tell_is_asked_once(here: Any, nvml: Any) -> None:
    here.write(STUB, answers("workstation"))
    for _ in range(5):
        here.read()
    for name in (b"0.field.3", b"0.field.38", b"0.mig_mode", b"0.memory_max", b"0.link.0"):
        assert nvml.stub_calls(name) <= 1, name
    assert nvml.stub_calls(b"0.field.3") == 1
    assert nvml.stub_calls(b"0.power") == 5


def test_what_changes_seldom_is_asked_once_a_minute_and_told_at_each_tick(
    here: Any, nvml: Any
) -> None:
    here.write(STUB, answers("h100_and_t4"))
    limit = "vedette.gpu.power.limit{hw.id=0000:65:00.0,hw.name=Tesla T4}"
    seen = [here.values()[limit]]
    here.write(STUB, answers("h100_and_t4").replace(b"1.power_limit 7", b"1.power_limit 5"))
    seen += [here.values()[limit] for _ in range(12)]
    assert seen == [70.0] * 12 + [50.0]
    assert nvml.stub_calls(b"1.power_limit") == 2


def test_a_power_limit_that_was_lowered_is_an_event_when_it_begins_to_hold_the_gpu(
    here: Any,
) -> None:
    text = answers("h100_and_t4")
    here.collector.wall_ns = lambda: 7

    def told(limit: int, reasons: int) -> list[Event]:
        said = text.replace(b"0.power_limit 700000", b"0.power_limit %d" % limit)
        here.write(STUB, said.replace(b"0.reasons 0", b"0.reasons %d" % reasons))
        return [one for one in here.collector.collect() if isinstance(one, Event)]

    assert told(700_000, 0) == []
    assert told(700_000, 4) == []
    assert told(300_000, 0) == []
    words = "the power limit of GPU 0000:17:00.0 was lowered from 700 to 300 W"
    assert told(300_000, 4) == [Event(7, "gpu", "0000:17:00.0", words)]
    assert told(290_000, 0) + told(290_000, 4) == [], "it moved a little"
    assert told(700_000, 0) + told(700_000, 4) == [], "it was raised"


def test_what_failed_for_a_moment_is_asked_again(here: Any) -> None:
    text = answers("workstation")
    here.write(STUB, text.replace(b"0.power 31500", b"0.power !999"))
    power = "hw.power{hw.id=0000:01:00.0,hw.name=NVIDIA GeForce RTX 4090,hw.type=gpu}"
    assert power not in here.values()
    here.write(STUB, text)
    assert here.values()[power] == pytest.approx(31.5)


def test_a_lost_gpu_ends_only_its_own_series_but_what_it_reported(here: Any) -> None:
    here.write(STUB, answers("lost", 0))
    before = here.values()
    here.write(STUB, answers("lost", 1))
    after = here.values()
    mine = {key for key in before if "hw.id=0000:3d:00.0" in key}
    other = {key for key in before if "hw.id=0000:17:00.0" in key}
    xid = "hw.errors{hw.id=0000:3d:00.0,hw.name=NVIDIA H100 80GB HBM3,hw.type=gpu,error.type=xid}"
    assert other <= set(after)
    assert mine & set(after) == {xid}
    assert (before[xid], after[xid]) == (0, 2)
    count = "vedette.gpu.count{hw.vendor=NVIDIA}"
    assert (before[count], after[count]) == (2, 1)


def test_a_gpu_that_comes_back_is_told_again(here: Any) -> None:
    text = answers("lost", 0)
    here.write(STUB, text)
    here.read()
    here.write(STUB, text + b"1.lost 15\n")
    counts = [here.values()["vedette.gpu.count{hw.vendor=NVIDIA}"]]
    here.write(STUB, text)
    counts += [here.values()["vedette.gpu.count{hw.vendor=NVIDIA}"] for _ in range(11)]
    assert counts == [1] * 11 + [2]


@pytest.mark.parametrize(("code", "reason"), [(1, "unloaded"), (18, "upgraded")])
def test_a_driver_that_goes_away_is_let_go_and_its_successor_found(
    here: Any, nvml: Any, code: int, reason: str
) -> None:
    text = answers("h100_and_t4", 1)
    here.write(STUB, text)
    first = here.values()
    here.write(STUB, b"gone %d\n" % code + text)
    with pytest.raises(Unavailable, match=reason):
        here.read()
    assert (nvml.stub_inits(), nvml.stub_sets()) == (0, 0)
    here.write("proc/driver/nvidia/version", b"NVRM version: another\n")
    here.write(STUB, text.replace(b"xid.", b"none."))
    again = here.values()
    assert set(again) == set(first)
    # What the GPUs reported since the agent began outlives the driver.
    own = "hw.id=0000:65:00.0,hw.name=Tesla T4"
    assert again[f"vedette.gpu.xids{{{own},vedette.gpu.xid=62}}"] == 2


def test_a_gpu_added_later_is_found_within_a_minute(here: Any) -> None:
    text = answers("lost", 0)
    here.write(STUB, text.replace(b"count 2", b"count 1"))
    counts = [here.values()["vedette.gpu.count{hw.vendor=NVIDIA}"]]
    here.write(STUB, text)
    counts += [here.values()["vedette.gpu.count{hw.vendor=NVIDIA}"] for _ in range(12)]
    assert counts == [1] * 12 + [2]


def test_an_error_a_program_caused_is_told_but_is_none_of_the_gpu(here: Any) -> None:
    here.write(STUB, answers("h100_and_t4", 0))
    here.read()
    here.write(STUB, answers("h100_and_t4", 0) + b"xid.0 0:31\nxid.1 0:13\nxid.2 0:48\n")
    read = here.values()
    own = "hw.id=0000:17:00.0,hw.name=NVIDIA H100 80GB HBM3"
    assert read[f"hw.errors{{{own},hw.type=gpu,error.type=xid}}"] == 1
    told = {key: value for key, value in read.items() if "vedette.gpu.xids" in key}
    assert told == {f"vedette.gpu.xids{{{own},vedette.gpu.xid={code}}}": 1 for code in (31, 13, 48)}


def test_codes_of_errors_are_bounded(here: Any) -> None:
    text = answers("workstation")
    here.write(STUB, text + b"".join(b"xid.%d 0:%d\n" % (n, n + 100) for n in range(100)))
    told = {key: value for key, value in here.values().items() if "vedette.gpu.xids" in key}
    assert len(told) == 33
    assert sum(told.values()) == 100


def test_the_codes_queued_are_taken_in_one_reading_up_to_a_bound(here: Any) -> None:
    text = answers("workstation")
    here.write(STUB, text + b"".join(b"xid.%d 0:79\n" % n for n in range(300)))
    key = "hw.errors{hw.id=0000:01:00.0,hw.name=NVIDIA GeForce RTX 4090,hw.type=gpu,error.type=xid}"
    assert [here.values()[key] for _ in range(3)] == [256, 300, 300]


def test_only_faults_of_the_hardware_raise_an_alarm(here: Any) -> None:
    here.write(STUB, answers("h100_and_t4"))
    grave = set()
    for one in here.read():
        if isinstance(one, Sample) and one.series.instrument.alarm == "high":
            grave.add((one.series.instrument.name, one.series.values[-1]))
    reasons = {value for name, value in grave if name == "vedette.gpu.throttled"}
    errors = {value for name, value in grave if name == "hw.errors"}
    assert reasons == {"hardware", "thermal", "hardware_thermal", "power_brake"}
    assert errors == {"uncorrected", "xid"}


def test_the_suspects_are_those_that_hold_the_memory(here: Any) -> None:
    for pid, name in ((4711, b"python3\n"), (4712, b"evil\x1b[2J\n")):
        here.write(f"proc/{pid}/comm", name)
    here.write(STUB, answers("h100_and_t4"))
    usages = [one for one in here.read() if isinstance(one, Usage)]
    assert [(one.name, one.id, one.resource) for one in usages] == [
        ("python3", "4711", "gpu"),
        ("evil\ufffd[2J", "4712", "gpu"),
    ]
    # 56 GiB of 79.6 and 15.0 GiB on two cards.
    assert usages[0].share == pytest.approx(60129542144 / (85520809984 + 16106127360))
    assert usages[0].text == "56.0 GiB of 94.6 GiB of GPU memory"


def test_a_process_that_computes_and_draws_is_counted_once(here: Any) -> None:
    here.write(STUB, answers("workstation"))
    own = "hw.id=0000:01:00.0,hw.name=NVIDIA GeForce RTX 4090"
    assert here.values()[f"vedette.gpu.process.count{{{own}}}"] == 2


def test_whose_memory_it_is_is_told_to_other_collectors_until_the_driver_goes(here: Any) -> None:
    here.collector.gpu_uses = uses = GpuUses()
    here.write(STUB, answers("h100_and_t4"))
    here.read()
    first, second = uses.known()
    assert (first.gpu, dict(first.memory)) == (
        "0000:17:00.0",
        {4711: 60129542144, 4712: 6442450944},
    )
    assert first.energy_j == pytest.approx(183512345.678)
    assert second.gpu == "0000:65:00.0"
    assert uses.known(since_s=first.read_s + 1) == ()
    here.write(STUB, b"gone 18\n" + answers("h100_and_t4"))
    with pytest.raises(Unavailable):
        here.read()
    assert uses.known() == ()


def test_who_may_not_ask_a_divided_gpu_asks_its_instances(here: Any) -> None:
    text = answers("divided").split(b"\n")
    parts = [one for one in text if b".compute" not in one]
    parts += [b"0.compute !4", b"0.mig.0.compute 4711:1000", b"0.mig.2.compute 4712:500"]
    here.write(STUB, b"\n".join(parts) + b"\n")
    own = "hw.id=0000:17:00.0,hw.name=NVIDIA H100 80GB HBM3"
    read = here.values()
    assert read[f"vedette.gpu.process.count{{{own}}}"] == 2
    memory = [value for key, value in read.items() if "vedette.gpu.process.memory" in key]
    assert memory == [1500]


def test_compute_instances_that_share_memory_are_one_instance(here: Any) -> None:
    here.write(STUB, answers("divided"))
    own = "hw.id=0000:17:00.0,hw.name=NVIDIA H100 80GB HBM3"
    read = here.values()
    assert read[f"vedette.gpu.mig.count{{{own}}}"] == 2
    share = "vedette.gpu.mig.memory.utilization{%s,vedette.gpu.mig.instance=%d}"
    assert read[share % (own, 1)] == pytest.approx(0.5)
    assert read[share % (own, 5)] == pytest.approx(13565952 / 20937965568)


def test_a_gpu_that_is_divided_is_asked_anew_what_it_could_not_tell(here: Any) -> None:
    here.write(STUB, answers("divided"))
    busy = (
        "hw.gpu.utilization{hw.id=0000:17:00.0,hw.name=NVIDIA H100 80GB HBM3,hw.gpu.task=general}"
    )
    assert busy not in here.values()
    undivided = answers("divided").replace(b"0.mig_mode 1", b"0.mig_mode 0")
    here.write(STUB, undivided + b"0.busy 50\n0.memory_busy 5\n")
    for _ in range(12):
        read = here.values()
    assert read[busy] == pytest.approx(0.5)
    assert not [key for key in read if "vedette.gpu.mig" in key]


def test_a_gpu_that_is_excluded_is_not_told(stage: Callable[..., Any]) -> None:
    one = stage(Staged, exclude=("0000:65:*",))
    one.write("proc/driver/nvidia/version", b"NVRM version: stub\n")
    one.write(STUB, answers("h100_and_t4"))
    read = one.values()
    one.collector.close()
    assert not [key for key in read if "T4" in key]
    assert read["vedette.gpu.count{hw.vendor=NVIDIA}"] == 1


def test_closing_twice_and_without_a_probe_is_safe(here: Any) -> None:
    here.collector.close()
    here.write(STUB, answers("workstation"))
    here.read()
    here.collector.close()
    here.collector.close()
