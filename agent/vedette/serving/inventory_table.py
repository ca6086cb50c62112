"""Hold, as data, what each model server's API says of its models: where to ask, what is where.

Of an answer only the named fields are taken. LiteLLM and SGLang show keys and addresses beside
them, which so never get further than the connection. All are GET but the index of the open
inference protocol, which is a POST of an empty object that changes nothing
(https://github.com/kserve/open-inference-protocol, extension "model repository"); it is asked only
where the configuration allows it.

A path is dotted, ``*`` is every member; ``a|b`` takes the first that is there. In the path of a
question ``{name}`` stands for each model that is known by then.
Sources: answers of real servers in ``tests/fixtures``, and for SGLang, TGI, TEI, NIM and Seldon
each project's sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

_NONE: Mapping[str, str] = {}


class Ask(msgspec.Struct, frozen=True):
    """One question. ``each`` is where the models are in the answer (empty: they are not in it).

    ``facts`` are of a model, ``engine`` of the server. ``ports`` are usual ones where the page's
    own is not the one to ask. ``lists``: what is not in the answer is not served. ``once``: asked
    once for each start of the process, since the server counts it among its requests.
    ``must`` is a path that has to be there for the answer to be of this server at all, with a word
    that it has to be (empty: any).
    """

    path: str
    each: str = ""
    facts: Mapping[str, str] = _NONE
    engine: Mapping[str, str] = _NONE
    ports: tuple[int, ...] = ()
    lists: bool = False
    once: bool = False
    method: Literal["GET", "POST"] = "GET"
    must: tuple[str, str] = ("", "")
    #: Values that every model of the answer has.
    given: Mapping[str, str] = _NONE


#: The state of a model, by what servers call it; others stand for themselves.
STATES = {
    "ready": "ready", "available": "ready", "running": "ready", "healthy": "ready", "true": "ready",
    "loading": "loading", "deploying": "loading", "start": "loading", "updating": "loading",
    "unavailable": "unavailable", "unhealthy": "unavailable", "deploy_failed": "unavailable",
    "false": "unavailable", "unloading": "unloading", "unloaded": "unloaded", "end": "unloaded",
}  # fmt: skip

_OPENAI = Ask(
    "/v1/models",
    "data.*",
    {"name": "id", "root": "root", "base": "parent", "context": "max_model_len|context_window"},
    lists=True,
)
_VERSION = Ask("/version", engine={"version": "version"})


def _protocol(name: str, *ports: int) -> tuple[Ask, ...]:
    return (
        Ask("/v2", engine={"version": "version"}, ports=ports, must=("name", name)),
        Ask(
            "/v2/repository/index",
            "*",
            {"name": "name", "version": "version", "state": "state", "reason": "reason"},
            ports=ports,
            lists=True,
            method="POST",
            # Triton names what is in its repository and not loaded, without more.
            given={"state": "unloaded"},
        ),
        Ask(
            "/v2/models/{name}",
            "",
            {"name": "name", "versions": "versions.*", "runtime": "platform"},
            ports=ports,
        ),
    )


ASKS: dict[str, tuple[Ask, ...]] = {
    "vllm": (_VERSION, _OPENAI),
    "sglang": (
        Ask(
            "/get_model_info",
            "",
            {"name": "model_path", "root": "model_path", "revision": "weight_version"},
        ),
        Ask(
            "/get_server_info",
            "",
            {
                "name": "served_model_name|model_path",
                "root": "model_path",
                "context": "context_length|max_req_input_len",
                "dtype": "dtype",
                "quantisation": "quantization",
            },
            {
                "version": "version", "devices": "device",
                "kv_tokens": "max_total_num_tokens|internal_states.0.memory_usage.token_capacity",
            },
        ),
        _OPENAI,
    ),
    "sglang-router": (
        Ask(
            "/workers",
            "workers.*",
            {"name": "model_id", "root": "metadata.model_path", "state": "is_healthy"},
            ports=(30000, 8000),
        ),
    ),
    "tensorrt-llm": (_VERSION, _OPENAI),
    "tgi": (
        Ask(
            "/info",
            "",
            {
                "name": "model_id", "root": "model_id", "revision": "model_sha",
                "dtype": "model_dtype", "context": "max_total_tokens", "task": "model_pipeline_tag",
                "devices": "model_device_type",
            },
            {"version": "version"},
            lists=True,
        ),
    ),
    "tei": (
        Ask(
            "/info",
            "",
            {"name": "model_id", "root": "model_id", "revision": "model_sha",
             "dtype": "model_dtype", "context": "max_input_length"},
            {"version": "version"},
            lists=True,
        ),
    ),
    "lmdeploy": (_OPENAI,),
    "nim": (
        Ask("/v1/metadata", "modelInfo.*", {"name": "shortName", "root": "modelUrl"},
            {"version": "version"}),
        _OPENAI,
    ),
    "llama.cpp": (
        Ask(
            "/props",
            "",
            {
                "name": "model_alias|model_path", "root": "model_path",
                "quantisation": "model_ftype", "context": "default_generation_settings.n_ctx",
            },
            {"version": "build_info"},
        ),
        Ask(
            "/v1/models",
            "data.*",
            {
                "name": "id", "trained_context": "meta.n_ctx_train", "quantisation": "meta.ftype",
                "parameters": "meta.n_params",
            },
            lists=True,
        ),
        Ask("/lora-adapters", "*", {"name": "path", "root": "path"}, given={"kind": "adapter"}),
    ),
    "ollama": (
        Ask("/api/version", engine={"version": "version"}),
        Ask(
            "/api/tags",
            "models.*",
            {
                "name": "name", "digest": "digest", "format": "details.format",
                "architecture": "details.family", "parameters": "details.parameter_size",
                "quantisation": "details.quantization_level", "size": "size",
            },
            lists=True,
            given={"state": "stored"},
        ),
        Ask(
            "/api/ps",
            "models.*",
            {
                "name": "name", "digest": "digest", "context": "context_length",
                "quantisation": "details.quantization_level",
            },
            given={"state": "loaded"},
        ),
    ),
    "dynamo": (_OPENAI,),
    "triton": _protocol("triton", 8000),
    "mlserver": _protocol("mlserver", 8080),
    "kserve": (
        Ask("/v2", engine={"version": "version"}, ports=(8080,), must=("name", "kserve")),
        Ask("/v1/models", "models.*", {"name": ""}, ports=(8080,), lists=True),
        Ask("/v2/models/{name}", "", {"name": "name", "versions": "versions.*",
            "runtime": "platform"}, ports=(8080,)),
    ),
    "torchserve": (
        Ask("/models", "models.*", {"name": "modelName", "root": "modelUrl"}, ports=(8081,),
            lists=True),
        Ask(
            "/models/{name}/all",
            "*",
            {
                "name": "modelName", "version": "modelVersion", "root": "modelUrl",
                "runtime": "runtime", "devices": "deviceType", "since": "workers.*.startTime",
                "state": "workers.*.status",
            },
            ports=(8081,),
        ),
    ),
    "tf-serving": (
        Ask(
            "/v1/models/{name}",
            "model_version_status.*",
            {"version": "version", "state": "state", "reason": "status.error_message"},
        ),
    ),
    "ray-serve": (
        Ask(
            "/api/serve/applications/",
            "applications.*",
            {
                "name": "name", "state": "status", "reason": "message",
                "since": "last_deployed_time_s",
            },
            ports=(8265,),
            lists=True,
            given={"kind": "application"},
        ),
        Ask("/api/version", engine={"version": "ray_version"}, ports=(8265,)),
    ),
    # Its middleware counts what is asked of it.
    "bentoml": (
        Ask(
            "/docs.json",
            "",
            {"name": "info.title", "version": "info.version"},
            {"version": "info.description~BentoML-([0-9][0-9a-z.]*)-"},
            once=True,
            must=("info.description", ""),
        ),
    ),
    "litserve": (
        Ask(
            "/info",
            "",
            {},
            {"devices": "server.devices.*|server.devices"},
            must=("server.devices", ""),
        ),
    ),
    "mosec": (Ask("/openapi/metadata.json", engine={"version": "info.version"}, once=True),),
    # Never its litellm_params as a whole: they hold keys.
    "litellm": (
        Ask(
            "/model/info",
            "data.*",
            {
                "name": "model_name", "root": "litellm_params.model",
                "context": "model_info.max_input_tokens",
            },
            lists=True,
            given={"kind": "route"},
        ),
    ),
    "infinity": (
        Ask("/models", "data.*", {"name": "id", "runtime": "backend"}, lists=True),
    ),
    "seldon": (
        Ask("/metadata", "", {"name": "name", "versions": "versions.*", "runtime": "platform"}),
    ),
}  # fmt: skip
#: What a server answers that nobody named yet: enough to tell it.
UNNAMED: tuple[str, ...] = ("/v1/models", "/v2", "/info")
