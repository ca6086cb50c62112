"""Whose memory of a GPU it is: names, units and containers, and the sources for AMD and Intel."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.api import Host
from vedette_plugins import _kfd
from vedette_plugins._drm_clients import Clients
from vedette_plugins._gpu_users import TOLD_MAX, Users, group_of

GPU = ("0000:17:00.0", "H100")
ID = "4c01db0b339cb2ac0d5a8f3c3f7b4a6e7c1b6f1a2d3e4f5061728394a5b6c7d8"


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def told(root: Path, held: dict[int, int]) -> dict[tuple[str, ...], float]:
    host = Host(proc=str(root / "proc"), root=str(root))
    samples = Users().samples(host, {GPU: held})
    return {one.series.values[2:]: one.value for one in samples}


@pytest.mark.parametrize(
    ("said", "kind", "name"),
    [
        ("0::/system.slice/vllm.service\n", "service", "vllm.service"),
        ("0::/system.slice/vllm.service/worker\n", "service", "vllm.service"),
        (f"0::/system.slice/docker-{ID}.scope\n", "container", ID),
        (f"0::/system.slice/docker-{ID}.scope/init.scope\n", "container", ID),
        (f"0::/kubepods/burstable/podab/{ID}\n", "container", ID),
        (f"12:cpu:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n", "container", ID),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/tgi.service\n",
            "service",
            "tgi.service",
        ),
    ],
)
def test_a_process_is_of_the_innermost_service_or_its_container(
    said: str, kind: str, name: str
) -> None:
    group = group_of(said)
    assert group is not None
    assert (group.kind, group.name) == (kind, name)


@pytest.mark.parametrize(
    "said", ["", "0::/\n", "0::/user.slice/user-0.slice/session-1.scope\n", ":"]
)
def test_a_process_of_a_session_is_of_neither(said: str) -> None:
    assert group_of(said) is None


def test_workers_of_one_server_are_one_user(tmp_path: Path) -> None:
    for pid in (10, 11):
        put(tmp_path, f"proc/{pid}/comm", "VLLM::Worker_TP\n")
        put(tmp_path, f"proc/{pid}/cgroup", "0::/system.slice/vllm.service\n")
    put(tmp_path, "proc/12/comm", "python3\n")
    assert told(tmp_path, {10: 5, 11: 6, 12: 7, 13: 9}) == {
        ("VLLM::Worker_TP", "vllm.service", ""): 11,
        ("python3", "", ""): 7,
        ("process", "", ""): 9,
    }


def test_a_container_is_told_by_its_name(tmp_path: Path) -> None:
    put(tmp_path, "proc/10/comm", "tritonserver\n")
    put(tmp_path, "proc/10/cgroup", f"0::/system.slice/docker-{ID}.scope\n")
    put(tmp_path, f"var/lib/docker/containers/{ID}/config.v2.json", '{"Name": "/triton-a"}')
    assert told(tmp_path, {10: 5}) == {("tritonserver", "", "triton-a"): 5}


def test_users_are_bounded_and_none_is_lost(tmp_path: Path) -> None:
    for pid in range(1, 101):
        put(tmp_path, f"proc/{pid}/comm", f"job-{pid}\n")
    seen = told(tmp_path, {pid: pid for pid in range(1, 101)})
    assert len(seen) == TOLD_MAX + 1
    assert sum(seen.values()) == sum(range(1, 101))
    assert seen["other", "", ""] == sum(range(1, 101 - TOLD_MAX))


def test_what_the_driver_does_not_say_is_not_told_as_nothing(tmp_path: Path) -> None:
    assert told(tmp_path, {10: 0}) == {}


# ---------------------------------------------------------------- the kernel's DRM clients


def client(root: Path, pid: int, descriptor: int, text: str, target: str = "renderD128") -> None:
    put(root, f"{pid}/fdinfo/{descriptor}", text)
    link = root / str(pid) / "fd" / str(descriptor)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/dev/dri/{target}")


def stats(identity: int, *memory: str, pdev: str = "0000:03:00.0") -> str:
    lines = [f"drm-pdev:\t{pdev}", f"drm-client-id:\t{identity}", *memory]
    return "pos:\t0\n" + "\n".join(lines) + "\n"


def test_a_client_counts_once_for_the_lowest_pid_wherever_it_is_open(tmp_path: Path) -> None:
    for pid, descriptor in ((20, 4), (20, 5), (3, 7)):
        client(tmp_path, pid, descriptor, stats(9, "drm-resident-vram:\t10 MiB"))
    client(tmp_path, 20, 6, stats(10, "drm-resident-vram:\t2 KiB"))
    assert Clients().read(str(tmp_path)) == {"0000:03:00.0": {3: 10 << 20, 20: 2048}}


@pytest.mark.parametrize(
    ("lines", "octets"),
    [
        (("drm-memory-vram:\t7 KiB", "drm-memory-gtt:\t9 KiB"), 7 << 10),
        (("drm-memory-vram:\t7 KiB", "drm-resident-vram:\t8 KiB"), 8 << 10),
        (("drm-resident-vram0:\t1 MiB", "drm-resident-vram1:\t2 MiB"), 3 << 20),
        (("drm-resident-local0:\t4096",), 4096),
        (("drm-total-vram0:\t5 MiB", "drm-resident-vram0:\t0"), 0),
        (("drm-resident-system0:\t64 MiB",), 0),
        (("drm-resident-vram:\t-5 KiB",), 0),
        (("drm-resident-vram:\tlots",), 0),
        (("drm-resident-vram:\t5 furlongs",), 0),
        (("drm-resident-vram:\t99999999999 GiB",), 0),
    ],
)
def test_the_gpus_own_memory_is_what_is_resident(
    tmp_path: Path, lines: tuple[str, ...], octets: int
) -> None:
    client(tmp_path, 20, 4, stats(1, *lines))
    expected = {"0000:03:00.0": {20: octets}} if octets else {}
    assert Clients().read(str(tmp_path)) == expected


def test_other_files_and_processes_that_end_are_passed_over(tmp_path: Path) -> None:
    client(tmp_path, 20, 4, stats(1, "drm-resident-vram:\t1 KiB"))
    client(tmp_path, 21, 4, stats(2, "drm-resident-vram:\t1 KiB"))
    client(tmp_path, 22, 4, "pos:\t0\n")
    (tmp_path / "20/fd/0").symlink_to("/dev/null")
    clients = Clients()
    assert clients.read(str(tmp_path)) == {"0000:03:00.0": {20: 1024, 21: 1024}}
    (tmp_path / "21/fdinfo/4").unlink()
    assert clients.read(str(tmp_path)) == {"0000:03:00.0": {20: 1024}}


def test_rocm_tells_memory_by_gpu(tmp_path: Path) -> None:
    base = "class/kfd/kfd"
    for node, identity, place, domain in ((0, 0, 0, 0), (1, 77, 0x8300, 0), (2, 78, 0x0321, 1)):
        put(tmp_path, f"{base}/topology/nodes/{node}/gpu_id", f"{identity}\n")
        text = f"simd_count 8\nlocation_id {place}\ndomain {domain}\n"
        put(tmp_path, f"{base}/topology/nodes/{node}/properties", text)
    put(tmp_path, f"{base}/proc/41/vram_77", "1000\n")
    put(tmp_path, f"{base}/proc/41/vram_78", "2000\n")
    put(tmp_path, f"{base}/proc/42/vram_78", "garbage\n")
    assert _kfd.held(str(tmp_path)) == {"0000:83:00.0": {41: 1000}, "0001:03:04.1": {41: 2000}}
    assert _kfd.held(str(tmp_path / "none")) == {}
