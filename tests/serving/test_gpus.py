"""Which GPUs a model server uses: by ancestors and containers, and how far its energy goes."""

from __future__ import annotations

from math import nan
from pathlib import Path

import pytest

from vedette.api import GpuUse, Sample
from vedette.serving.gpus import Gpus, Server
from vedette.serving.listening import Listening
from vedette.serving.vocabulary import SIGNALS

A, B = "0000:17:00.0", "0000:65:00.0"
OWN = "0::/system.slice/docker-" + "ab12" * 16 + ".scope"
SESSION = "0::/user.slice/user-0.slice/session-1.scope"


class Tree:
    """A made /proc: processes, and who of them listens on which port."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listening: dict[int, int] = {}

    def process(
        self,
        pid: int,
        parent: int,
        *command: str,
        name: str = "",
        cgroup: str = SESSION,
        started: int = 5,
    ) -> None:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True, exist_ok=True)
        name = name or command[0].rpartition("/")[2][:15]
        fields = ["S", str(parent), *["0"] * 17, str(started), "0"]
        (folder / "stat").write_text(f"{pid} ({name}) " + " ".join(fields))
        (folder / "comm").write_text(name + "\n")
        (folder / "cmdline").write_bytes(b"\0".join(one.encode() for one in command) + b"\0")
        (folder / "cgroup").write_text(cgroup + "\n")

    def listens(self, pid: int, port: int) -> None:
        self.listening[port] = pid
        link = self.root / str(pid) / "fd" / "3"
        link.symlink_to(f"socket:[{port}]")
        lines = ["  sl  local_address rem_address st"]
        for number, one in enumerate(sorted(self.listening)):
            lines.append(
                f"   {number}: 0100007F:{one:04X} 00000000:0000 0A 00000000:00000000 "
                f"00:00000000 00000000     0        0 {one} 1 0000000000000000"
            )
        net = self.root / "1" / "net"
        net.mkdir(parents=True, exist_ok=True)
        (net / "tcp").write_text("\n".join(lines) + "\n")

    def held(self, *uses: GpuUse, ports: tuple[int, ...] = ()) -> dict[str, dict[str, int]]:
        servers = [Server(f"127.0.0.1:{port}", "any") for port in ports or self.listening]
        gpus = Gpus(Listening(str(self.root)), looks=True)
        return gpus.held(servers, uses, 0.0)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def use(gpu: str, energy_j: float = nan, read_s: float = 0.0, **pids: int) -> GpuUse:
    return GpuUse(gpu, read_s, {int(pid[1:]): octets for pid, octets in pids.items()}, energy_j)


def test_the_engine_and_the_workers_of_vllm_are_of_its_api_server(tree: Tree) -> None:
    tree.process(100, 1, "python3", "/usr/bin/vllm", "serve", "m", name="vllm")
    tree.process(101, 100, "VLLM::EngineCore", name="VLLM::EngineCor")
    tree.process(102, 101, "VLLM::Worker_TP0", name="VLLM::Worker_TP")
    tree.process(103, 101, "VLLM::Worker_TP1", name="VLLM::Worker_TP")
    tree.listens(100, 8000)
    held = tree.held(use(A, p101=10, p102=100), use(B, p103=200))
    assert held == {"127.0.0.1:8000": {A: 110, B: 200}}


def test_the_shards_of_tgi_are_of_the_router_beside_them(tree: Tree) -> None:
    tree.process(50, 1, "bash", "run-tgi.sh")
    tree.process(100, 50, "text-generation-launcher", "--port", "3000")
    tree.process(101, 100, "text-generation-router", name="text-generation")
    tree.process(
        102, 100, "python3", "/opt/text-generation-server", "serve", name="text-generation"
    )
    tree.process(103, 50, "python3", "train.py")
    tree.listens(101, 3000)
    assert tree.held(use(A, p102=7, p103=9)) == {"127.0.0.1:3000": {A: 7}}


def test_replicas_of_ray_are_of_the_node_that_its_agent_tells_of(tree: Tree) -> None:
    tree.process(100, 1, "/ray/raylet", "--node-ip")
    tree.process(101, 100, "ray::DashboardAgent", name="ray::DashboardA")
    tree.process(102, 100, "ray::ServeReplica:app:LLM", name="ray::ServeRepli")
    tree.listens(101, 8080)
    assert tree.held(use(A, p102=7)) == {"127.0.0.1:8080": {A: 7}}


def test_two_servers_started_by_one_script_keep_their_own(tree: Tree) -> None:
    tree.process(50, 1, "bash", "/srv/run vllm")
    for pid, port in ((100, 8000), (200, 8001)):
        tree.process(pid, 50, "python3", "/usr/bin/vllm", "serve", name="vllm")
        tree.process(pid + 1, pid, "VLLM::EngineCore", name="VLLM::EngineCor")
        tree.listens(pid, port)
    held = tree.held(use(A, p101=1, p201=2))
    assert held == {"127.0.0.1:8000": {A: 1}, "127.0.0.1:8001": {A: 2}}


def test_an_orphan_is_of_the_only_server_in_its_container(tree: Tree) -> None:
    tree.process(100, 1, "tritonserver", cgroup=OWN)
    tree.process(101, 1, "triton_python_backend_stub", name="triton_python_b", cgroup=OWN)
    tree.listens(100, 8002)
    assert tree.held(use(A, p101=7)) == {"127.0.0.1:8002": {A: 7}}
    tree.process(200, 1, "mlserver", "start", cgroup=OWN)
    tree.listens(200, 8082)
    assert tree.held(use(A, p101=7)) == {}


TRIE = """Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 172.17.0.0/16 2 0 2
           |-- 172.17.0.0
              /16 link UNICAST
           |-- {}
              /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
"""


def test_behind_a_published_port_is_the_container_with_its_address(tree: Tree) -> None:
    for number, port in ((2, 8000), (3, 8001)):
        proxy = ("/usr/bin/docker-proxy", "-host-port", str(port))
        proxy = (*proxy, "-container-ip", f"172.17.0.{number}", "-container-port", "8000")
        tree.process(100 + number, 1, *proxy, cgroup="0::/system.slice/docker.service")
        tree.listens(100 + number, port)
        group = f"0::/system.slice/docker-{number:064x}.scope"
        tree.process(200 + number, 1, "VLLM::EngineCore", name="VLLM::EngineCor", cgroup=group)
        (tree.root / str(200 + number) / "net").mkdir()
        trie = tree.root / str(200 + number) / "net" / "fib_trie"
        trie.write_text(TRIE.format(f"172.17.0.{number}"))
    tree.process(300, 1, "python3", "train.py", cgroup=SESSION)
    held = tree.held(use(A, p202=1, p203=2, p300=4))
    assert held == {"127.0.0.1:8000": {A: 1}, "127.0.0.1:8001": {A: 2}}


def test_a_proxy_that_says_no_address_is_passed_over(tree: Tree) -> None:
    tree.process(100, 1, "docker-proxy", "-container-ip")
    tree.process(200, 1, "python3", cgroup=OWN)
    tree.listens(100, 8000)
    assert tree.held(use(A, p200=1)) == {}


def test_a_login_session_says_nothing_of_whose_a_process_is(tree: Tree) -> None:
    tree.process(60, 1, "bash")
    tree.process(100, 60, "python3", "/usr/bin/vllm", "serve", name="vllm")
    tree.process(101, 60, "python3", "train.py")
    tree.listens(100, 8000)
    assert tree.held(use(A, p101=7)) == {}


def test_a_pid_that_is_given_anew_is_looked_at_anew(tree: Tree) -> None:
    tree.process(100, 1, "python3", "/usr/bin/vllm", "serve", name="vllm")
    tree.process(101, 100, "VLLM::EngineCore", name="VLLM::EngineCor")
    tree.listens(100, 8000)
    gpus = Gpus(Listening(str(tree.root)), looks=True)
    servers = [Server("127.0.0.1:8000", "vllm")]
    assert gpus.held(servers, [use(A, p101=7)], 0.0) == {"127.0.0.1:8000": {A: 7}}
    tree.process(101, 1, "python3", "train.py", started=9)
    assert gpus.held(servers, [use(A, p101=7)], 5.0) == {}


@pytest.mark.parametrize("odd", ["", "1 (x", "1 (x) S", "1 (x) S a b"])
def test_processes_that_are_gone_or_garbled_are_nobodys(tree: Tree, odd: str) -> None:
    tree.process(100, 1, "python3", "/usr/bin/vllm", "serve", name="vllm")
    tree.listens(100, 8000)
    (tree.root / "101").mkdir()
    (tree.root / "101" / "stat").write_text(odd)
    assert tree.held(use(A, p101=7, p102=7)) == {}


def test_a_circle_of_parents_ends(tree: Tree) -> None:
    tree.process(100, 101, "a")
    tree.process(101, 100, "b")
    assert tree.held(use(A, p100=7), ports=(8000,)) == {}


# ---------------------------------------------------------------- energy


class Meter:
    """A server with its GPU to itself, read each 10 s; it takes 300 W and makes 60 tokens a s."""

    def __init__(self, tree: Tree) -> None:
        tree.process(100, 1, "python3", "/usr/bin/vllm", "serve", name="vllm")
        tree.process(300, 1, "python3", "train.py")
        tree.listens(100, 8000)
        self.gpus = Gpus(Listening(str(tree.root)), looks=True)
        self.now, self.made, self.joules = 0.0, 0.0, 1e6
        self.models = ("m",)
        self.others: dict[str, int] = {}

    def read(self, known: bool = True) -> list[Sample]:
        self.now += 10
        self.made += 600
        self.joules += 3000
        counted = SIGNALS["vedette.model.tokens"].instrument
        layers = (("engine", "output", 1.0), ("gateway", "output", 1.5), ("engine", "input", 9.0))
        self.gpus.note(
            "127.0.0.1:8000",
            [
                counted(self.made * by, "127.0.0.1:8000", "vllm", layer, "m", "", kind, "")
                for layer, kind, by in layers
            ],
        )
        uses = [use(A, self.joules if known else nan, self.now, p100=100, **self.others)]
        server = Server("127.0.0.1:8000", "vllm", self.models)
        return list(self.gpus.told([server], uses, self.now))

    def ratios(self, times: int, **how: bool) -> list[float]:
        read = [one for _ in range(times) for one in self.read(**how)]
        name = "vedette.model.tokens_per_joule"
        return [one.value for one in read if one.series.instrument.name == name]


def test_tokens_per_joule_are_told_once_a_minute_is_known(tree: Tree) -> None:
    meter = Meter(tree)
    assert meter.ratios(6) == []
    assert meter.ratios(30) == pytest.approx([0.2] * 30)


@pytest.mark.parametrize("why", ["shared", "two models", "no energy"])
def test_tokens_per_joule_are_not_told_where_they_would_be_guessed(tree: Tree, why: str) -> None:
    meter = Meter(tree)
    if why == "shared":
        meter.others = {"p300": 0}  # the driver does not say how much
    if why == "two models":
        meter.models = ("m", "n")
    assert meter.ratios(20, known=why != "no energy") == []
    assert any(one.series.instrument.name == "vedette.model.gpu.memory" for one in meter.read())


def test_a_counter_that_begins_anew_begins_the_minute_anew(tree: Tree) -> None:
    meter = Meter(tree)
    meter.ratios(20)
    meter.made = 0.0
    assert meter.ratios(6) == []
    meter.joules = 0.0
    assert meter.ratios(6) == []
    assert meter.ratios(1) == pytest.approx([0.2])


def test_of_a_server_whose_page_is_gone_no_tokens_are_guessed(tree: Tree) -> None:
    meter = Meter(tree)
    assert meter.ratios(10)
    meter.gpus.note("127.0.0.1:8000", [])
    server = Server("127.0.0.1:8000", "vllm", ("m",))
    uses = [use(A, meter.joules + 3000, meter.now + 10, p100=7)]
    told = list(meter.gpus.told([server], uses, meter.now + 10))
    assert [one.value for one in told] == [7]
    assert meter.ratios(6) == []


def test_without_gpus_nothing_is_looked_at(tree: Tree) -> None:
    gpus = Gpus(Listening(str(tree.root / "none")), looks=True)
    assert list(gpus.told([Server("127.0.0.1:8000", "vllm", ("m",))], [], 0.0)) == []
