"""The toy model servers of ``models_live``: how each is set up, started and asked.

A server is a program of its own virtual environment below the directory of installations. Models
are made on the spot and do nothing but wait: ``sleep`` in a request says how long, ``fail`` makes
it fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models_live_programs import (
    BENTOML,
    IRIS,
    LITELLM,
    LITSERVE,
    MLSERVER_TOY,
    MOSEC,
    RAY,
    TORCHSERVE,
    TORCHSERVE_CONFIG,
    TRITON,
)

PATIENCE_S = 90.0


@dataclass(frozen=True)
class Ask:
    """A request: what the client sends, and the outcome that its answer has if all is well.

    ``uncounted`` is why the server's own page does not have it, where it has not. One that
    ``leaves`` closes the connection once the answer has begun.
    """

    outcome: str
    body: object
    path: str
    uncounted: str = ""
    leaves: bool = False

    @property
    def is_well(self) -> bool:
        """Whether it is answered with 200."""
        return self.outcome == "ok" or self.leaves


@dataclass
class Toy:
    """One server: program, files, ports, and questions."""

    name: str
    program: str
    argv: Callable[[Path, Path], list[str]]
    base: str
    asks: tuple[Ask, ...]
    slow: Ask
    page: str
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Layer whose requests are the client's.
    layer: str = "engine"
    prepare: Callable[[Path, Path], None] = lambda _home, _env: None
    redeploy: Callable[[Path], tuple[Ask, ...]] | None = None
    #: The same with another model, where that takes a new start.
    other: Toy | None = None
    patience_s: float = PATIENCE_S

    def is_installed(self, root: Path) -> bool:
        return (root / self.name / "bin" / self.program).exists()

    def set_up(self, home: Path, environment: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.prepare(home, environment)

    def start(self, home: Path, environment: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that its workers end with it.

        A plain ``python`` is called that and no more: the environment's path would name the server.
        """
        place = {
            "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "LANG": "C.UTF-8",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
            **{name: text.replace("HOME", str(home)) for name, text in self.environment.items()},
        }
        argv = self.argv(home, environment)
        with log.open("ab") as file:
            return subprocess.Popen(
                argv,
                executable=str(environment / "bin" / argv[0]),
                cwd=home,
                env=place,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


# ---------------------------------------------------------------- how they are asked


def _tensor(name: str, *values: float) -> dict[str, object]:
    shape = [1, len(values)]
    one = {"name": name, "shape": shape, "datatype": "FP32", "data": list(values)}
    return {"inputs": [one]}


def _chat(model: str) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "a few words"}]}


def _mlserver_models(home: Path, environment: Path) -> None:
    (home / "models/iris").mkdir(parents=True, exist_ok=True)
    iris = {"name": "iris", "implementation": "mlserver_sklearn.SKLearnModel"}
    iris["parameters"] = {"uri": "./model.joblib", "version": "v1"}  # type: ignore[assignment]
    (home / "models/iris/model-settings.json").write_text(json.dumps(iris))
    if not (home / "models/iris/model.joblib").exists():
        subprocess.run([environment / "bin/python", "iris.py"], cwd=home, check=True)


def _mlserver_another(home: Path) -> tuple[Ask, ...]:
    shutil.copytree(home / "models/iris", home / "models/petals")
    settings = home / "models/petals/model-settings.json"
    settings.write_text(settings.read_text().replace('"iris"', '"petals"'))
    first = Ask("ok", {}, "/v2/repository/models/petals/load")
    return first, Ask("ok", _tensor("x", 5, 3, 1, 0.2), "/v2/models/petals/infer")


def _torchserve_model(home: Path, environment: Path) -> None:
    (home / "store").mkdir(exist_ok=True)
    for version in ("1.0", "2.0"):
        subprocess.run(
            [
                environment / "bin/torch-model-archiver", "--model-name", f"toy{version[0]}",
                "--version", version, "--handler", "handler.py", "--export-path", "store",
                "--force",
            ],
            cwd=home, check=True, env={**os.environ, "PATH": f"{environment / 'bin'}:/usr/bin"},
        )  # fmt: skip


def _ray_tmp(home: Path, environment: Path) -> None:
    # Paths of its sockets may have 107 characters.
    program = home / "app.py"
    program.write_text(program.read_text().replace("RAYTMP", f"/tmp/vray{os.getpid()}"))


TOYS: tuple[Toy, ...] = (
    Toy(
        "mosec",
        "mosec",
        lambda home, env: [
            "python", "app.py", "--address", "127.0.0.1", "--port", "8000",
            "--timeout", "20000", "--capacity", "64",
        ],
        "http://127.0.0.1:8000",
        (
            Ask("ok", {"x": 1}, "/inference"),
            Ask("client_error", {}, "/inference"),
            Ask("server_error", {"x": 1, "fail": True}, "/inference"),
        ),
        Ask("ok", {"x": 1, "sleep": 0.5}, "/inference"),
        "/metrics",
        {"app.py": MOSEC},
    ),
    Toy(
        "mlserver",
        "mlserver",
        lambda home, env: [f"{env}/bin/mlserver", "start", "models"],
        "http://127.0.0.1:8080",
        (
            Ask("ok", _tensor("x", 5, 3, 1, 0.2), "/v2/models/iris/infer"),
            Ask("client_error", {"nonsense": 1}, "/v2/models/iris/infer"),
            Ask("client_error", _tensor("x", 1), "/v2/models/absent/infer"),
            Ask("server_error", _tensor("x", -1), "/v2/models/toy/infer"),
        ),
        Ask("ok", _tensor("x", 1.0), "/v2/models/toy/infer"),
        ":8082/metrics",
        {
            "iris.py": IRIS,
            "models/settings.json": json.dumps(
                {"host": "127.0.0.1", "parallel_workers": 0, "metrics_dir": "."}
            ),
            "models/toy/toy.py": MLSERVER_TOY,
            "models/toy/model-settings.json": json.dumps(
                {"name": "toy", "implementation": "toy.Toy"}
            ),
        },
        prepare=_mlserver_models,
        redeploy=_mlserver_another,
    ),
    Toy(
        "bentoml",
        "bentoml",
        lambda home, env: [
            f"{env}/bin/bentoml", "serve", "service:Toy", "--host", "127.0.0.1",
            "--port", "3000",
        ],
        "http://127.0.0.1:3000",
        (
            Ask("ok", {"x": 1}, "/predict"),
            Ask("client_error", {"x": "word"}, "/predict"),
            Ask("server_error", {"x": 1, "fail": True}, "/predict"),
        ),
        Ask("ok", {"x": 1, "sleep": 1.0}, "/predict"),
        "/metrics",
        {"service.py": BENTOML},
        {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "HOME/bento"},
    ),
    Toy(
        "ray",
        "serve",
        lambda home, env: ["python", "app.py"],
        "http://127.0.0.1:8100",
        (
            Ask("ok", {"x": 1}, "/toy"),
            Ask("client_error", {}, "/toy"),
            Ask("server_error", {"x": 1, "fail": True}, "/toy"),
        ),
        Ask("ok", {"x": 1, "sleep": 1.0}, "/toy"),
        "",
        {"app.py": RAY},
        {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"},
        layer="gateway",
        prepare=_ray_tmp,
    ),
    Toy(
        "litserve",
        "litserve",
        lambda home, env: ["python", "server.py"],
        "http://127.0.0.1:5000",
        (
            Ask("ok", {"x": 1}, "/predict", "LitServe counts no request"),
            Ask("client_error", {}, "/predict", "LitServe counts no request"),
            Ask("server_error", {"x": 1, "fail": True}, "/predict", "LitServe counts no request"),
        ),
        Ask("ok", {"x": 1, "sleep": 0.5}, "/predict"),
        "/metrics/",
        {"server.py": LITSERVE},
        {"PROMETHEUS_MULTIPROC_DIR": "HOME"},
    ),
    Toy(
        "torchserve",
        "torchserve",
        lambda home, env: [
            f"{env}/bin/torchserve", "--start", "--foreground", "--ncs", "--model-store", "store",
            "--models", "toy1=toy1.mar", "--ts-config", "config.properties",
            "--disable-token-auth",
        ],
        "http://127.0.0.1:8090",
        (
            Ask("ok", {"x": 1}, "/predictions/toy1"),
            Ask("client_error", {"x": 1}, "/predictions/absent"),
            Ask("server_error", {"x": 1, "fail": True}, "/predictions/toy1"),
        ),
        Ask("ok", {"x": 1, "sleep": 0.5}, "/predictions/toy1"),
        ":8092/metrics",
        {"handler.py": TORCHSERVE, "config.properties": TORCHSERVE_CONFIG},
        # Where it notes that one runs already.
        {"TMPDIR": "HOME"},
        prepare=_torchserve_model,
    ),
    Toy(
        "litellm",
        "litellm",
        lambda home, env: [
            f"{env}/bin/litellm", "--config", "config.yaml", "--host", "127.0.0.1",
            "--port", "4000",
        ],
        "http://127.0.0.1:4000",
        (
            Ask("ok", _chat("toy"), "/v1/chat/completions"),
            Ask("client_error", _chat("absent"), "/v1/chat/completions"),
            Ask("server_error", _chat("broken"), "/v1/chat/completions"),
        ),
        Ask("ok", _chat("toy"), "/v1/chat/completions"),
        "/metrics/",
        {"config.yaml": LITELLM},
        {
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
        layer="gateway",
    ),
    Toy(
        "pytriton",
        "pytriton",
        lambda home, env: ["python", "app.py"],
        "http://127.0.0.1:8003",
        (
            Ask("ok", _tensor("x", 0.005), "/v2/models/toy/infer"),
            Ask(
                "client_error", _tensor("x", 1), "/v2/models/absent/infer",
                "Triton counts no request that no model got",
            ),
            Ask("server_error", _tensor("x", -1), "/v2/models/toy/infer"),
        ),
        Ask("ok", _tensor("x", 0.5), "/v2/models/toy/infer"),
        ":8002/metrics",
        {"app.py": TRITON},
        # Its back end must find the library of the interpreter whose modules it reads.
        {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")},
    ),
)  # fmt: skip
