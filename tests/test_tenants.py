"""A fault of a GPU and the models on it: one incident, from the driver to the sentence."""

from __future__ import annotations

import random
import re
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vedette.api import Detector, Event, GpuUses, Host, Sample, Series, Usage, Window
from vedette.assembly import assignments
from vedette.config import load
from vedette.correlate import Correlator
from vedette.registry import discover
from vedette.serving.collector import ModelServers, ModelServersConfig
from vedette.serving.derived import DERIVED
from vedette.serving.gpu_series import MEMORY
from vedette.tenants import Tenants
from vedette_plugins.level import Level
from vedette_plugins.robust import Robust

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import START, Drive, S, Scenario, Symptom, series
from nvml_stub import Staged, build, put_in_place

#: Of NVML's reasons for a lower clock.
POWER_BRAKE = 128
H100, T4 = "0000:17:00.0", "0000:65:00.0"
PAGE = Path(__file__).parent / "fixtures/serving/vllm-0.32.0/page.1.prom"
STUB = Path(__file__).parent / "fixtures/nvidia/h100_and_t4/0/proc/driver/nvidia/stub"
TPOT = DERIVED["gen_ai.server.time_per_output_token"]["mean"]


def window(*known: Series, generation: int = 1) -> Window:
    return Window(np.zeros(1, np.int64), np.zeros((len(known), 1), np.float32), known, generation)


def uses(endpoint: str, *gpus: str) -> list[Series]:
    return [MEMORY.series(endpoint, "vllm", gpu) for gpu in gpus]


def slow(endpoint: str, after: int = 5) -> Symptom:
    return Symptom(TPOT.series(endpoint, "vllm", "engine", "m", ""), after, 0.048)


def braked(gpu: str) -> Symptom:
    return Symptom(series("vedette.gpu.throttled", gpu, "H100", "power_brake"), 0, 1.0)


def told(known: list[Series], *symptoms: Symptom) -> list[str]:
    correlator = Correlator()
    correlator.tenants.look(window(*known))
    drive = Drive(correlator)
    drive.run(Scenario("gpu", symptoms, (), "gpu"), seconds=60)
    return [one.title for one in sorted(correlator.incidents, key=lambda one: one.resource)]


def test_a_gpu_and_the_model_on_it_are_one_incident_about_the_gpu() -> None:
    (title,) = told(uses("127.0.0.1:8000", H100), braked(H100), slow("127.0.0.1:8000"))
    assert title.startswith(f"GPU {H100} (H100) is held down by a power brake since ")
    assert "time per output token of vllm on 127.0.0.1:8000 went to 48 ms" in title


def test_a_model_on_another_gpu_is_another_incident() -> None:
    gpu, model = told(uses("127.0.0.1:8000", T4), braked(H100), slow("127.0.0.1:8000"))
    assert "vllm" not in gpu
    assert "throttled" not in model


def test_of_two_models_the_one_on_the_gpu_is_told_with_it() -> None:
    known = uses("127.0.0.1:8000", T4) + uses("127.0.0.1:8001", H100, T4)
    assert len(told(known, braked(H100), slow("127.0.0.1:8001"))) == 1
    assert len(told(known, braked(H100), slow("127.0.0.1:8000"))) == 2


def test_a_model_of_which_no_gpu_is_known_may_use_any() -> None:
    assert len(told([], braked(H100), slow("127.0.0.1:8000"))) == 1
    assert len(told(uses("127.0.0.1:9", T4), braked(H100), slow("127.0.0.1:8000"))) == 1


@pytest.mark.parametrize(("gpu", "is_named"), [(H100, True), (T4, False)])
def test_what_was_done_to_a_gpu_is_named_where_the_model_uses_it(gpu: str, is_named: bool) -> None:
    correlator = Correlator()
    correlator.tenants.look(window(*uses("127.0.0.1:8000", H100)))
    words = f"the power limit of GPU {gpu} was lowered from 700 to 300 W"
    correlator.note(Event(START * S, "gpu", gpu, words))
    drive = Drive(correlator)
    drive.run(Scenario("slow", (slow("127.0.0.1:8000"),), (), "model"), seconds=30)
    (incident,) = correlator.incidents
    assert (f"shortly after {words}" in incident.title) is is_named
    assert [one.text for one in incident.suspects] == ([words] if is_named else [])


def test_what_is_known_follows_the_series_there_are() -> None:
    from vedette.entities import place_of

    tenants = Tenants()
    gpu, model = place_of(braked(H100).series), place_of(slow("e").series)
    assert not tenants.are_apart(gpu, model)
    tenants.look(window(*uses("e", T4)))
    assert tenants.are_apart(gpu, model)
    assert tenants.are_apart(model, gpu)
    tenants.look(window(*uses("e", H100)))
    assert tenants.are_apart(gpu, model), "the table has the same series as before"
    tenants.look(window(*uses("e", H100), generation=2))
    assert not tenants.are_apart(gpu, model)
    tenants.look(window(generation=3))
    assert not tenants.are_apart(gpu, model)


def test_all_collectors_of_an_agent_know_who_uses_the_gpus_and_others_do_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("")
    registry = discover(plugins_dir=tmp_path / "none")
    config, _ = load(path, registry)
    assert config is not None
    uses = GpuUses()
    made = [one.collector for _ in range(2) for one in assignments(config, registry, Host(), uses)]
    assert {"nvidia", "model_servers"} <= {one.name for one in made}
    assert {id(one.gpu_uses) for one in made} == {id(uses)}
    alone = [Staged(Staged.Config()) for _ in range(2)]
    assert len({id(one.gpu_uses) for one in (*alone, made[0])}) == 3


# ---------------------------------------------------------------- through all of it


class Replay:
    """vLLM's page, as if it had made more tokens at each reading, each in so much time."""

    def __init__(self) -> None:
        self.text = PAGE.read_text()
        self.tokens = self.seconds = 0.0
        self.took: list[float] = []
        self.chance = random.Random(7)
        replay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = replay.page().encode() if self.path == "/metrics" else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port: int = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def work(self, per_token_s: float) -> None:
        """Have 200 requests of 60 tokens done, each about as fast as said."""
        for _ in range(200):
            took = per_token_s * self.chance.lognormvariate(0, 0.25)
            self.tokens += 60
            self.seconds += took
            self.took.append(took)

    def page(self) -> str:
        """Return the recorded page with these counts of what is asked for here."""
        name = "vllm:request_time_per_output_token_seconds"
        took = sorted(self.took)

        def bucket(found: re.Match[str]) -> str:
            return f"{found[1]} {bisect_right(took, float(found[2]))}"

        made = re.sub(rf"({name}_sum\{{[^}}]*\}}) \S+", rf"\1 {self.seconds}", self.text)
        made = re.sub(rf"({name}_count\{{[^}}]*\}}) \S+", rf"\1 {len(took)}", made)
        made = re.sub(rf'({name}_bucket\{{[^}}]*le="([^"]+)"[^}}]*\}}) \S+', bucket, made)
        return re.sub(r"(vllm:generation_tokens_total\{[^}]*\}) \S+", rf"\1 {self.tokens}", made)


class Machine:
    """A host with two GPUs, vLLM on the first of them, and the two collectors that see it."""

    def __init__(self, root: Path, replay: Replay) -> None:
        self.root, self.replay = root, replay
        self.now, self.joules = 1000.0, 5e6
        self.write("driver/nvidia/version", "NVRM version: stub\n")
        self.reasons(0)
        self._processes()
        host = Host(proc=str(root), sys=str(root / "none"), root=str(root / "none"))
        self.gpus = Staged(Staged.Config())
        url = f"http://127.0.0.1:{replay.port}/metrics"
        self.servers = ModelServers(ModelServersConfig(discover="off", pages=(url,)))
        self.gpus.gpu_uses = self.servers.gpu_uses = GpuUses()
        for one in (self.gpus, self.servers):
            one.host, one.monotonic = host, lambda: self.now

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def reasons(self, mask: int) -> None:
        """Have the first GPU say why its clock is down."""
        text = STUB.read_text().replace("0.reasons 0", f"0.reasons {mask}")
        text = re.sub(r"0\.field\.83 \d+", f"0.field.83 {int(self.joules * 1000)}", text)
        text = re.sub(r"(?m)^1\.compute .*$", "1.compute 5000:1000000", text)
        self.write("driver/nvidia/stub", text)

    def _processes(self) -> None:
        made = (
            (4700, 1, "vllm", "python3\0/usr/bin/vllm\0serve\0"),
            (4711, 4700, "VLLM::EngineCor", "VLLM::EngineCore\0"),
            (4712, 4711, "VLLM::Worker_TP", "VLLM::Worker_TP0\0"),
            (5000, 1, "train", "python3\0train.py\0"),
        )
        for pid, parent, name, command in made:
            fields = " ".join(["S", str(parent), *["0"] * 17, "5", "0"])
            self.write(f"{pid}/stat", f"{pid} ({name}) {fields}")
            self.write(f"{pid}/comm", name + "\n")
            self.write(f"{pid}/cmdline", command)
        (self.root / "4700" / "fd").mkdir()
        (self.root / "4700" / "fd" / "3").symlink_to("socket:[9]")
        line = f"0: 0100007F:{self.replay.port:04X} 00000000:0000 0A 0:0 0:0 0 0 0 9 1 0"
        self.write("1/net/tcp", f"sl\n{line}\n")

    def read(self, second: int, per_token_s: float) -> tuple[list[Sample], list[Usage]]:
        """Read what is due in this second."""
        self.now += 1
        found: list[Any] = []
        if second % 5 == 0:
            self.joules += 3000
            found += self.gpus.collect()
        if second % 10 == 0:
            self.replay.work(per_token_s)
            found += self.servers.collect()
        samples = [one for one in found if isinstance(one, Sample)]
        return samples, [one for one in found if isinstance(one, Usage)]

    def close(self) -> None:
        self.gpus.close()
        self.servers.close()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    put_in_place(build(tmp_path), monkeypatch)
    replay = Replay()
    made = Machine(tmp_path / "proc", replay)
    yield made
    made.close()
    replay.http.shutdown()
    replay.http.server_close()


def test_a_gpu_that_is_held_down_and_the_model_it_slows_are_one_incident(
    machine: Machine, simulated_host: type[Any], tmp_path: Path
) -> None:
    detectors: list[Detector] = [Robust(Robust.Config(warm_up=30)), Level(Level.Config())]
    (tmp_path / "state").mkdir()
    host = simulated_host(tmp_path / "state", detectors)
    for second in range(720):
        if second % 5 == 0:
            machine.reasons(POWER_BRAKE if second >= 600 else 0)
        samples, usages = machine.read(second, 0.048 if second >= 600 else 0.021)
        host.tick(samples, usages)
    (incident,) = host.incidents
    assert incident.resource == "gpu"
    assert incident.entities == (f"gpu {H100}", "model vllm")
    assert incident.title.startswith(f"GPU {H100} (NVIDIA H100 80GB HBM3) is held down by a power")
    assert f"time per output token of vllm on 127.0.0.1:{machine.replay.port} " in incident.title
    assert re.search(r"went from 4\d\.?\d* ms to 7\d\.?\d* ms", incident.title)
    (suspect,) = incident.suspects
    assert suspect.name.startswith("gen_ai.server.time_per_output_token.p95")
    assert "shows in" not in suspect.reason


def test_what_a_model_holds_and_makes_of_its_energy_is_told(machine: Machine) -> None:
    read: dict[str, float] = {}
    for second in range(120):
        if second % 5 == 0:
            machine.reasons(0)
        samples, _ = machine.read(second, 0.021)
        read |= {one.series.key: one.value for one in samples}
    own = f"vedette.model.endpoint=127.0.0.1:{machine.replay.port},vedette.model.server=vllm"
    memory = {key: value for key, value in read.items() if "vedette.model.gpu.memory" in key}
    assert memory == {f"vedette.model.gpu.memory{{{own},hw.id={H100}}}": 60129542144 + 6442450944}
    (server,) = machine.servers.answer("list", {})["servers"]
    assert server["gpus"] == [H100]
    # 12000 tokens each 10 s, and 3000 J each 5 s.
    ratio = read[f"vedette.model.tokens_per_joule{{{own},gen_ai.request.model=tiny-llama}}"]
    assert ratio == pytest.approx(2.0)
