"""Where a model server may have its page: what its process is called, its ports and its paths.

Ports are a hint and no more: many servers share 8000 and 8080. A process that says what it is is
asked at the paths of that server; one that does not (``python app.py``) only on a port that is
usual for model servers, for its metrics, and where it has none for ``/info``, by which LitServe is
told, that has no page by itself. Of other processes nothing is asked.

Sources: each project's documentation and start scripts, and the pages in ``tests/fixtures``.
"""

from __future__ import annotations

import re

import msgspec

from vedette.serving.listening import Listener, Process

METRICS = "/metrics"
#: What one that does not say what it is is asked beside its page.
UNNAMED_INFO = ("/info",)


class Hint(msgspec.Struct, frozen=True):
    """How one server shows itself. ``words`` are looked for in the command line and the name.

    What is called like ``inner`` is a part of it that speaks to the other parts alone: it may
    listen on a dozen ports (vLLM's workers, for Gloo), and a question there is at best an oddity.
    """

    server: str
    words: str
    ports: tuple[int, ...]
    paths: tuple[str, ...] = (METRICS,)
    #: What confirms it and tells of its models, when it has the page or has none.
    info: tuple[str, ...] = ()
    inner: str = ""


HINTS: tuple[Hint, ...] = (
    Hint(
        "vllm",
        r"\bvllm\b|VLLM::",
        (8000,),
        info=("/version", "/v1/models"),
        inner=r"VLLM::(?:EngineCore|Worker|DPCoordinator)",
    ),
    Hint(
        "sglang-router",
        r"\bsmg\b|sglang[_-]router",
        (30000, 29000),
        info=("/workers", "/v1/models"),
    ),
    Hint(
        "sglang",
        r"\bsglang\b",
        (30000,),
        info=("/get_model_info", "/get_server_info"),
        inner=r"sglang::(?:scheduler|detokenizer)",
    ),
    Hint(
        "tensorrt-llm",
        r"trtllm[-_]serve|tensorrt_llm",
        (8000,),
        ("/prometheus/metrics",),
        ("/version", "/v1/models"),
    ),
    Hint("tgi", r"text-generation-(?:router|launcher|server)", (3000, 80), info=("/info",)),
    Hint("tei", r"text-embeddings-router", (3000, 9000, 80), info=("/info",)),
    Hint("lmdeploy", r"\blmdeploy\b", (23333,), info=("/v1/models",)),
    Hint(
        "llama.cpp", r"llama[-_.]server|llama_cpp\.server", (8080,), info=("/props", "/v1/models")
    ),
    Hint("ollama", r"\bollama\b", (11434,), (), ("/api/version", "/api/ps", "/api/tags")),
    Hint("dynamo", r"\bdynamo\.\w+", (8000, 8081, 9090), info=("/health", "/v1/models")),
    Hint("triton", r"\btritonserver\b|pytriton", (8002,), info=("/v2",)),
    Hint("mlserver", r"\bmlserver\b", (8082, 8080), info=("/v2",)),
    Hint("kserve", r"\bkserve\b", (8080, 8081), info=("/v2", "/v1/models")),
    Hint(
        "torchserve", r"org\.pytorch\.serve\.ModelServer|\btorchserve\b", (8082,), info=("/models",)
    ),
    Hint(
        "tf-serving",
        r"tensorflow_model_server",
        (8501,),
        ("/monitoring/prometheus/metrics",),
        ("/v1/models",),
    ),
    Hint(
        "ray-serve",
        r"ray::DashboardAgent|\braylet\b|ray[/\\]dashboard|ray serve|RayletMetrics",
        (8080, 8265),
        info=("/api/serve/applications/", "/-/routes"),
    ),
    Hint("bentoml", r"\bbentoml\b", (3000,), info=("/docs.json",)),
    Hint("litserve", r"\blitserve\b", (8000,), info=("/info",)),
    Hint("mosec", r"\bmosec\b", (8000,), info=("/openapi/metadata.json",)),
    Hint("litellm", r"\blitellm\b", (4000,), ("/metrics", "/metrics/"), ("/health/liveliness",)),
    Hint("infinity", r"\binfinity[_-]emb\b", (7997,), info=("/models",)),
    Hint("seldon", r"seldon-core-microservice", (9000, 5000, 6000), info=("/metadata",)),
    Hint("dcgm-exporter", r"dcgm[-_]exporter", (9400,)),
)
_WORDS = [(hint, re.compile(hint.words)) for hint in HINTS]
_INNER = re.compile("|".join(hint.inner for hint in HINTS if hint.inner))
_PORTS = frozenset(port for hint in HINTS for port in hint.ports)
#: Programs that models are served with and that do not say which one by themselves.
_RUNTIMES = re.compile(r"(?:^|/)(?:python[\d.]*|java|node|uvicorn|gunicorn|hypercorn)$")
#: What a command line may hold is looked through up to here.
_LOOKED_AT = 4_096


class Candidate(msgspec.Struct, frozen=True):
    """A listener that may be a model server's; ``server`` is empty where only the port says so.

    ``usual`` is whether the port is one that the server takes by default.
    """

    listener: Listener
    server: str
    paths: tuple[str, ...]
    info: tuple[str, ...]
    why: str
    usual: bool = True


def candidate(listener: Listener) -> Candidate | None:
    """Return what is worth asking a listener for; None: nothing."""
    process = listener.process
    if process is not None:
        text = _said(process)
        if _INNER.search(text):
            return None
        for hint, words in _WORDS:
            said = words.search(text)
            if said is not None:
                why = f"process {process.pid} is called {said[0]!r}"
                usual = listener.port in hint.ports
                return Candidate(listener, hint.server, hint.paths, hint.info, why, usual)
        program = process.command[0] if process.command else process.name
        if not _RUNTIMES.search(program) and not _RUNTIMES.search(process.name):
            return None
    if listener.port not in _PORTS:
        return None
    who = f"{process.name} ({process.pid})" if process is not None else "an unknown process"
    why = f"{who} listens on port {listener.port}, which is usual for model servers"
    return Candidate(listener, "", (METRICS,), UNNAMED_INFO, why)


def is_called(process: Process, server: str) -> bool:
    """Say whether a process is called like a server."""
    text = _said(process)
    return any(words.search(text) for hint, words in _WORDS if hint.server == server)


def _said(process: Process) -> str:
    return f"{process.name} {' '.join(process.command)}"[:_LOOKED_AT]
