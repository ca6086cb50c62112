"""Collector cgroup: which groups are services and containers, and which of them get series."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Unavailable
from vedette_plugins._cgroup_files import Files, layout, moved, moved_1, pairs, stalls
from vedette_plugins._cgroup_tree import Group, Tree, recognise
from vedette_plugins.cgroup import Cgroup, register_collectors

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"


class Rooted(Cgroup):
    """Looks for the records of container runtimes in the tree of the test too."""

    @property
    def host(self) -> Host:  # type: ignore[override]
        return self._host

    @host.setter
    def host(self, host: Host) -> None:
        self._host = msgspec.structs.replace(host, root=host.sys.removesuffix("/sys"))


class Groups:
    """A tree of version 2 under a stage."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        stage.write("sys/fs/cgroup/cgroup.controllers", b"cpu io memory pids\n")

    def put(self, path: str, *, cpu_s: float, memory: int = 1 << 20, **files: str) -> None:
        files = {
            "cpu_stat": f"usage_usec {cpu_s * 1e6:.0f}\nuser_usec {cpu_s * 1e6:.0f}\nsystem_usec 0",
            "memory_current": f"{memory}",
            "memory_stat": "inactive_file 0",
            "memory_events": "oom_kill 0",
            "pids_current": "1",
        } | files
        for name, text in files.items():
            place = f"sys/fs/cgroup/{path}/{name.replace('_', '.', 1)}"
            self.stage.write(place, text.encode() + b"\n")

    def remove(self, path: str) -> None:
        shutil.rmtree(self.stage.folder / "sys/fs/cgroup" / path)

    def read(self, metric: str = "", after_s: float = 10.0) -> dict[str, float]:
        """Collect once; by name the values of one metric, of all by default CPU time."""
        read = self.stage.values(after_s)
        metrics = [metric] if metric else ["vedette.service.cpu.time", "container.cpu.time"]
        return {
            key.partition("=")[2].partition(",")[0].rstrip("}"): value
            for key, value in read.items()
            if key.partition("{")[0] in metrics and not key.endswith("=system}")
        }


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def groups(stage: Callable[..., Any]) -> Callable[..., Groups]:
    return lambda **options: Groups(stage(Rooted, **options))


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Cgroup]


def test_a_case_yields_what_is_expected(case: Path, assert_golden: Callable[..., None]) -> None:
    assert_golden(Rooted, case)


def test_every_declared_instrument_is_emitted_and_no_other(
    assert_all_declared_emitted: Callable[..., None],
) -> None:
    assert_all_declared_emitted(Rooted)


CASE = Path(__file__).parent.parent / "fixtures" / "cgroup" / "docker" / "0"
FILES = [
    str(path.relative_to(CASE))
    for path in sorted(CASE.rglob("*"))
    if path.is_file() and ("docker-" in str(path) or "postgresql" in str(path))
] + [str(path.relative_to(CASE)) for path in sorted(CASE.rglob("config.v2.json"))]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=8, unique=True))
    assert_survives(data, Rooted, "docker", names)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_of_version_1_do_not_crash_it(
    assert_survives: Callable[..., None], data: st.DataObject
) -> None:
    case = CASE.parent.parent / "version1" / "0"
    files = [str(path.relative_to(case)) for path in sorted(case.rglob("*")) if path.is_file()]
    assert_survives(data, Rooted, "version1", files)


# ---------------------------------------------------------------- what is a service or container


@pytest.mark.parametrize(
    ("path", "name", "runtime"),
    [
        (f"system.slice/docker-{ID}.scope", ID, "docker"),
        (f"docker/{ID}", ID, "docker"),
        (f"{POD}/cri-containerd-{ID}.scope", ID, "containerd"),
        (f"{POD}/crio-{ID}.scope", ID, "cri-o"),
        (f"kubepods/burstable/pod1-2/{ID}", ID, ""),
        (
            f"kubelet.slice/kubelet-kubepods.slice/x.slice/cri-containerd-{ID}.scope",
            ID,
            "containerd",
        ),
        (f"x/kubepods-pod1.slice:cri-containerd:{ID}", ID, "containerd"),
        (f"machine.slice/libpod-{ID}.scope", ID, "podman"),
        (f"libpod_parent/libpod-{ID}", ID, "podman"),
        (f"system.slice/web.service/libpod-payload-{ID}", ID, "podman"),
        ("lxc.payload.mail", "mail", "lxc"),
        ("lxc/101", "101", "lxc"),
        ("machine.slice/machine-qemu\\x2d3\\x2dweb\\x2d1.scope", "web-1", "machine"),
        ("machine.slice/machine-debian.scope", "debian", "machine"),
    ],
)
def test_a_path_is_a_container(path: str, name: str, runtime: str) -> None:
    assert recognise(path) == Group(path, "container", name, runtime, name == ID)


@pytest.mark.parametrize(
    "path",
    [
        "system.slice",
        "init.scope",
        "user.slice/user-1000.slice",
        POD,
        "docker",
        f"machine.slice/libpod-conmon-{ID}.scope",
        f"{POD}/crio-conmon-{ID}.scope",
        f"docker/{ID[:-1]}",
        f"docker/{ID.upper()}",
        "lxc.monitor.mail",
        "machine.slice/other.scope",
    ],
)
def test_a_path_is_neither_service_nor_container(path: str) -> None:
    assert recognise(path) is None


@pytest.mark.parametrize("path", ["system.slice/a.service", "system.slice/x.slice/a@1.service"])
def test_a_path_is_a_service(path: str) -> None:
    assert recognise(path) == Group(path, "service", path.rpartition("/")[2])


@given(path=st.text(max_size=200))
def test_any_path_can_be_asked_about(path: str) -> None:
    group = recognise(path)
    assert group is None or group.path == path


def test_what_is_inside_a_container_or_a_session_is_not_looked_at(
    groups: Callable[..., Groups],
) -> None:
    here = groups(min_age=0, include=["*"])
    here.put(f"docker/{ID}", cpu_s=1)
    here.put(f"docker/{ID}/system.slice/inner.service", cpu_s=1)
    here.put("user.slice", cpu_s=1)
    here.put("user.slice/user-1.slice/user@1.service", cpu_s=1)
    here.put("lxc.monitor.a/inner.service", cpu_s=1)
    here.stage.write(
        f"var/lib/docker/containers/{ID}/config.v2.json", b'{"Name": "/web", "Config": {}}'
    )
    assert set(here.read()) == {"web", "user.slice"}


def test_other_groups_are_read_when_they_are_asked_for(groups: Callable[..., Groups]) -> None:
    here = groups(groups=["slurm/*/job_*"])
    here.put("slurm/uid_1/job_7", cpu_s=3)
    here.put("slurm/uid_1/job_7/step_0", cpu_s=3)
    assert here.read() == {"slurm/uid_1/job_7": 3}


def test_a_tree_without_end_is_walked_to_an_end(tmp_path: Path) -> None:
    folder = tmp_path
    for level in range(40):
        folder /= f"s{level}"
        (folder / "deep.service").mkdir(parents=True)
    for number in range(3000):
        (tmp_path / f"n{number}.service").mkdir()
    found = Tree(str(tmp_path), lambda path: False).groups()
    assert len(found) == 2000
    assert max(one.path.count("/") for one in found) <= 9


def test_folders_that_gained_or_lost_none_are_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.slice" / "a.service").mkdir(parents=True)
    if tmp_path.stat().st_nlink < 2:
        pytest.skip("this filesystem does not count folders as links")
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    tree = Tree(str(tmp_path), lambda path: False)
    assert [one.name for one in tree.groups()] == ["a.service"]
    listed.clear()
    assert [one.name for one in tree.groups()] == ["a.service"]
    assert listed == []
    (tmp_path / "system.slice" / "b.service").mkdir()
    assert [one.name for one in tree.groups()] == ["a.service", "b.service"]
    assert listed == [f"{tmp_path}/system.slice"]


# ---------------------------------------------------------------- which get series


def test_an_idle_service_is_left_out_until_it_does_something(
    groups: Callable[..., Groups],
) -> None:
    here = groups()
    here.put("system.slice/idle.service", cpu_s=5)
    here.put("system.slice/large.service", cpu_s=5, memory=64 << 20)
    assert set(here.read()) == {"large.service"}
    assert set(here.read()) == {"large.service"}
    here.put("system.slice/idle.service", cpu_s=5.1)
    assert set(here.read()) == {"large.service", "idle.service"}
    assert set(here.read()) == {"large.service", "idle.service"}


def test_what_starts_later_is_in_after_a_minute_and_at_once_the_next_time(
    groups: Callable[..., Groups],
) -> None:
    here = groups()
    path = f"docker/{ID}"
    here.stage.write(f"var/lib/docker/containers/{ID}/config.v2.json", b'{"Name": "/web"}')
    here.stage.write(f"var/lib/docker/containers/{OTHER}/config.v2.json", b'{"Name": "/web"}')
    here.put("docker/x.service", cpu_s=1)
    here.read()
    here.put(path, cpu_s=1)
    seen = [here.read() for _ in range(7)]
    assert seen == [{}] * 6 + [{"web": 1}]
    here.remove(path)
    assert here.read() == {}
    here.put(f"docker/{OTHER}", cpu_s=2)
    assert here.read() == {"web": 2}


def test_an_included_service_is_in_at_once(groups: Callable[..., Groups]) -> None:
    here = groups(include=["a.service"])
    here.put("system.slice/a.service", cpu_s=0)
    here.put("system.slice/b.service", cpu_s=0)
    assert set(here.read()) == {"a.service"}


def test_an_excluded_service_is_never_in(groups: Callable[..., Groups]) -> None:
    here = groups(exclude=["b*"])
    for name in "ab":
        here.put(f"system.slice/{name}.service", cpu_s=0, memory=1 << 30)
    assert set(here.read()) == {"a.service"}


def test_the_largest_are_in_and_the_rest_is_counted(groups: Callable[..., Groups]) -> None:
    here = groups(max_groups=2)
    for number in range(5):
        here.put(f"system.slice/s{number}.service", cpu_s=1, memory=(100 + number) << 20)
    assert set(here.read()) == {"s3.service", "s4.service"}
    assert here.stage.values(10.0)["vedette.cgroup.omitted"] == 3


def test_two_of_about_the_same_size_do_not_take_turns(groups: Callable[..., Groups]) -> None:
    here = groups(max_groups=1)
    seen = []
    for a, b in ((100, 90), (100, 120), (100, 140), (100, 160), (120, 160), (160, 120)):
        here.put("system.slice/a.service", cpu_s=1, memory=a << 20)
        here.put("system.slice/b.service", cpu_s=1, memory=b << 20)
        seen.append("".join(name[0] for name in here.read()))
    assert seen == ["a", "a", "a", "b", "b", "b"]


def test_a_busy_service_outweighs_a_large_one(groups: Callable[..., Groups]) -> None:
    here = groups(max_groups=1)
    for cpu_s in (0, 30, 60):
        here.put("system.slice/busy.service", cpu_s=cpu_s, memory=1 << 20)
        here.put("system.slice/large.service", cpu_s=1, memory=1 << 30)
        last = here.read()
    assert set(last) == {"busy.service"}


def test_a_twin_by_name_takes_over_when_the_first_is_gone(groups: Callable[..., Groups]) -> None:
    here = groups()
    for identity in (ID, OTHER):
        record = f"var/lib/docker/containers/{identity}/config.v2.json"
        here.stage.write(record, b'{"Name": "/web"}')
    here.put(f"docker/{ID}", cpu_s=7)
    assert here.read() == {"web": 7}
    here.put(f"docker/{OTHER}", cpu_s=1)
    assert here.read() == {"web": 7}
    assert here.stage.values(10.0)["vedette.cgroup.omitted"] == 1
    here.remove(f"docker/{ID}")
    assert here.read() == {"web": 1}


def test_one_that_vanished_between_two_walks_is_noticed_at_the_next_reading(
    groups: Callable[..., Groups],
) -> None:
    here = groups(min_age=0, include=["*"])
    here.put("system.slice/a.service", cpu_s=1)
    assert set(here.read()) == {"a.service"}
    # The number of folders stays what it was, and the next walk is far.
    here.remove("system.slice/a.service")
    here.put("system.slice/b.service", cpu_s=1)
    here.stage.collector._watch._watched["system.slice/a.service"].files.close()
    assert set(here.read(after_s=1.0)) == set()
    assert set(here.read(after_s=1.0)) == {"b.service"}


def test_descriptors_are_bounded(groups: Callable[..., Groups]) -> None:
    here = groups(max_groups=200, include=["*"])
    for number in range(150):
        limits = {"cpu_max": "max 100000", "memory_max": "9999", "pids_max": "max"}
        here.put(f"system.slice/s{number}.service", cpu_s=1, **limits)
    before = open_files()
    assert len(here.read()) == 150
    assert open_files() - before <= 300
    assert len(here.read()) == 150
    here.stage.collector.close()
    assert open_files() == before


def test_a_host_without_services_and_containers_is_unavailable(
    groups: Callable[..., Groups],
) -> None:
    with pytest.raises(Unavailable, match="no service or container"):
        groups().stage.collector.probe()


def test_a_host_without_control_groups_is_unavailable(stage: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match="no control groups"):
        stage(Rooted).collector.probe()


def test_a_hybrid_host_is_read_by_version_1(stage: Callable[..., Any]) -> None:
    here = stage(Rooted)
    here.write("sys/fs/cgroup/unified/cgroup.controllers", b"\n")
    here.write("sys/fs/cgroup/pids/system.slice/a.service/pids.current", b"1\n")
    here.collector.probe()
    assert here.collector._begin()._tree.root.endswith("/pids")


# ---------------------------------------------------------------- what a reading says


def test_limits_changed_while_it_runs_are_seen_within_a_minute(
    groups: Callable[..., Groups],
) -> None:
    here = groups()
    metric = "vedette.service.memory.utilization"
    here.put("system.slice/a.service", cpu_s=1, memory=64 << 20, memory_max="max")
    assert here.read(metric) == {}
    here.put("system.slice/a.service", cpu_s=1, memory=64 << 20, memory_max=str(128 << 20))
    seen = [here.read(metric) for _ in range(6)]
    assert seen[-1] == {"a.service": 0.5}


def test_the_share_of_a_cpu_limit_is_of_the_time_that_passed(groups: Callable[..., Groups]) -> None:
    here = groups(groups=["job"])
    metric = "vedette.container.cpu.utilization"
    here.put("job", cpu_s=10, cpu_max="200000 100000")
    assert here.read(metric) == {}
    here.put("job", cpu_s=20, cpu_max="200000 100000")
    assert here.read(metric, after_s=10.0) == {"job": 0.5}
    here.put("job", cpu_s=25, cpu_max="200000 100000")
    assert here.read(metric, after_s=5.0) == {"job": 0.5}
    here.put("job", cpu_s=1, cpu_max="200000 100000")
    assert here.read(metric) == {}


def test_page_cache_not_in_use_is_no_working_set(groups: Callable[..., Groups]) -> None:
    here = groups(groups=["job"])
    here.put("job", cpu_s=1, memory=1000, memory_stat="anon 5\ninactive_file 400")
    assert here.read("container.memory.working_set") == {"job": 600}
    here.put("job", cpu_s=1, memory=1000, memory_stat="inactive_file 4000")
    assert here.read("container.memory.working_set") == {"job": 0}


def test_pressure_can_be_left_out(groups: Callable[..., Groups]) -> None:
    for wanted in (True, False):
        here = groups(groups=["job"], pressure=wanted)
        here.put("job", cpu_s=1, io_pressure="some avg10=0.00 total=5\nfull avg10=0.00 total=4")
        assert bool(here.read("vedette.container.pressure.time")) is wanted


def test_garbled_lines_are_left_out() -> None:
    assert pairs(b"a 1\nb\nc x\nd 4 5\ne 6\n") == {b"a": 1, b"e": 6}
    assert moved(b"8:0 rbytes=1 wbytes=x\n8:1 rbytes=2\n") == (3, 0)
    assert moved(b"") == (None, None)
    assert moved_1(b"8:0 Read 5\n8:0 Write 7\n8:0 Read x\nTotal 12\n") == (5, 7)
    assert moved_1(b"Total 0\n") == (None, None)
    assert stalls(b"some avg10=1 total=2000000\nfull total=x\n") == [("some", 2.0)]


def test_a_file_of_any_length_is_read_whole_up_to_a_bound(tmp_path: Path) -> None:
    files = Files(str(tmp_path), "", keep=True)
    for length in (0, 1, 4095, 4096, 4097, 10_000):
        (tmp_path / "io.stat").write_bytes(b"x" * length)
        assert len(files.text("io.stat")) == length
    (tmp_path / "io.stat").write_bytes(b"x" * 1_000_000)
    assert len(files.text("io.stat")) < 300_000
    files.close()


@pytest.fixture
def own_group() -> Iterator[str]:
    """A container's group in each tree of this host, with this process's child in it."""
    trees = [
        Path("/sys/fs/cgroup", name)
        for name in ("cpu", "cpuacct", "memory", "pids")
        if Path("/sys/fs/cgroup", name, "cgroup.procs").exists()
    ]
    path = f"vedette-test-{os.getpid()}"
    made: list[Path] = []
    try:
        for tree in trees:
            (tree / path).mkdir()
            made.append(tree / path)
    except OSError as error:
        pytest.skip(f"cannot make a control group here: {error.strerror}")
    else:
        if not made:
            pytest.skip("no control groups of version 1 here")
        yield path
    finally:
        for folder in made:
            folder.rmdir()


def test_a_group_of_this_host_reads_as_its_process_counts_itself(own_group: str) -> None:
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        for tree in ("cpu", "cpuacct", "memory", "pids"):
            place = Path("/sys/fs/cgroup", tree, own_group, "cgroup.procs")
            if place.exists():
                place.write_text("0")
        began = time.process_time()
        while time.process_time() - began < 0.3:
            sum(range(1000))
        os.write(ready[1], f"{time.process_time() - began:.6f}\n".encode())
        os.read(go[0], 1)
        os._exit(0)
    try:
        spent = float(os.read(ready[0], 64))
        collector = Cgroup(Cgroup.Config(groups=[own_group]))
        read = {one.series.key: one.value for one in collector.collect()}
        collector.close()
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        for descriptor in (*ready, *go):
            os.close(descriptor)
    name = f"container.name={own_group}"
    user = read[f"container.cpu.time{{{name},cpu.mode=user}}"]
    system = read[f"container.cpu.time{{{name},cpu.mode=system}}"]
    assert user + system == pytest.approx(spent, abs=0.05)
    assert read[f"vedette.container.pids.count{{{name}}}"] == 1
    assert read["vedette.container.count"] == 1


@pytest.mark.parametrize("is_seen_gone", [True, False])
def test_a_group_that_came_anew_at_the_same_path_is_read_again(
    own_group: str, is_seen_gone: bool
) -> None:
    made = [
        place
        for tree in ("cpu", "cpuacct", "memory", "pids")
        if (place := Path("/sys/fs/cgroup", tree, own_group)).exists()
    ]
    collector = Cgroup(Cgroup.Config(groups=[own_group]))
    before = len(list(collector.collect()))
    assert before > 2
    for place in made:
        place.rmdir()
    if is_seen_gone:
        assert len(list(collector.collect())) == 2
    for place in made:
        place.mkdir()
    # It is back at the second reading at the latest.
    after = [len(list(collector.collect())) for _ in range(2)]
    assert after[1] == before
    collector.close()


def test_this_host_has_as_many_services_as_folders_say() -> None:
    tree = Tree(layout("/sys/fs/cgroup").tree, lambda path: False)
    names = [one.name for one in tree.groups() if one.path.startswith("system.slice/")]
    folders = Path(tree.root, "system.slice").rglob("*.service")
    if not names:
        pytest.skip("no services have control groups here")
    assert {one for one in names if one.endswith(".service")} == {one.name for one in folders}
