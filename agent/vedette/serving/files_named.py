"""Read from a process what it has named of models: paths and names in its arguments.

Whatever else a process has open or could open is not looked at. Of its environment those variables
are kept that say where a cache or a store of models, or its programs, are; the rest is neither kept
nor told.
"""

from __future__ import annotations

import os
import re

import msgspec

from vedette.serving.files import Root
from vedette.serving.listening import Process

ARGUMENTS_BYTES, ENVIRONMENT_BYTES = 64 << 10, 256 << 10
NAMED_MAX = 16

#: Options that name a model or a folder of models, by server; "" for all of them.
#: Sources: each project's ``--help``; TorchServe's launcher hands its own to Java as ``-s``.
_MODEL = ("--model", "--model-path", "--model_path", "--model-id")
OPTIONS: dict[str, tuple[str, ...]] = {
    "vllm": ("--model",),
    "sglang": ("--model-path", "--model"),
    "tensorrt-llm": ("--model", "--tokenizer"),
    "tgi": ("--model-id",),
    "tei": ("--model-id",),
    "lmdeploy": ("--model-path",),
    "llama.cpp": ("-m", "--model", "--mmproj", "-mm"),
    "triton": ("--model-repository", "--model-store"),
    "torchserve": ("--model-store", "--model_store", "-s", "-ms"),
    "tf-serving": ("--model_base_path",),
    "kserve": ("--model_dir", "--model-dir", "--model_id"),
    "infinity": ("--model-id", "--model-name-or-path"),
    "mlserver": (),
    "dynamo": ("--model-path", "--model"),
    "": _MODEL,
}
#: Words after which a model stands without an option.
_VERBS: dict[str, str] = {
    "vllm": "serve",
    "lmdeploy": "api_server",
    "tensorrt-llm": "serve",
    "mlserver": "start",
}
#: Options whose values are ``name=path`` (vLLM, SGLang), or a path (llama.cpp).
_ADAPTERS = ("--lora-modules", "--lora-paths", "--lora", "--lora-adapters")
_REVISIONS = ("--revision", "--model-revision")
_NAMES = ("--served-model-name", "--model_name", "--model-name", "--alias", "-a")
_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "OLLAMA_MODELS",
              "HOME", "XDG_CACHE_HOME", "PATH", "VIRTUAL_ENV")  # fmt: skip
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+|[\w-]+")
_OWN_ID = re.compile(r"[0-9a-f]{64}")


class Named(msgspec.Struct, frozen=True):
    """What a process has named, as it did: paths, relative to ``cwd``, or names of repositories.

    ``note`` says why something is not known.
    """

    paths: tuple[str, ...] = ()
    adapters: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    revision: str = ""
    cwd: str = ""
    hub: str = ""
    ollama: str = ""
    note: str = ""
    words: tuple[str, ...] = ()
    variables: dict[str, str] = {}


def named(process: Process, server: str, proc: str = "/proc") -> Named:
    """Return what a process has named."""
    folder = f"{proc}/{process.pid}"
    words = _words(_start(f"{folder}/cmdline", ARGUMENTS_BYTES)) or list(process.command)
    try:
        cwd = os.readlink(f"{folder}/cwd")  # noqa: PTH115 - of another root
        note = ""
    except OSError:
        cwd, note = "", "where the process is may not be seen"
    variables = _variables(_start(f"{folder}/environ", ENVIRONMENT_BYTES))
    cache = variables.get("XDG_CACHE_HOME") or f"{variables.get('HOME', '/root')}/.cache"
    hub = variables.get("HF_HUB_CACHE") or variables.get("HUGGINGFACE_HUB_CACHE")
    hub = hub or f"{variables.get('HF_HOME') or f'{cache}/huggingface'}/hub"
    ollama = variables.get("OLLAMA_MODELS") or f"{variables.get('HOME', '/root')}/.ollama/models"
    said = _values(words, (*OPTIONS.get(server, ()), *OPTIONS[""]))
    said += _after(words, _VERBS.get(server, ""))
    adapters = []
    for value in _values(words, _ADAPTERS, several=True):
        name, _, path = value.rpartition("=")
        adapters.append((name, path))
    return Named(
        tuple(dict.fromkeys(one for one in said if one))[:NAMED_MAX],
        tuple(adapters)[:NAMED_MAX],
        tuple(_values(words, _NAMES))[:NAMED_MAX],
        next(iter(_values(words, _REVISIONS)), ""),
        cwd,
        hub,
        ollama,
        note,
        tuple(words),
        variables,
    )


def root_of(process: Process, proc: str = "/proc") -> tuple[Root, str]:
    """Return the files as a process sees them, and why they cannot be had (empty: they can)."""
    folder = f"{proc}/{process.pid}"
    mounts = f"{folder}/mountinfo"
    try:
        own = os.readlink("/proc/self/ns/mnt")  # noqa: PTH115
        theirs = os.readlink(f"{folder}/ns/mnt")  # noqa: PTH115
        place = os.readlink(f"{folder}/root")  # noqa: PTH115
    except OSError:
        if _OWN_ID.search(process.cgroup):
            return Root(), "files of a container are seen by root alone"
        return Root("", mounts), ""
    if own == theirs and place == "/":
        return Root("", mounts), ""
    return Root(f"{folder}/root", mounts), ""


def absolute(path: str, cwd: str) -> str:
    """Return a path from the root on; empty where it is not known from where it counts."""
    path = path.removeprefix("file://")
    if path.startswith("/"):
        return path
    return f"{cwd.rstrip('/')}/{path}" if cwd and path and "://" not in path else ""


def snapshot(root: Root, repository: str, revision: str, hub: str) -> str:
    """Return the folder of a repository in a Hugging Face cache; empty when it is not there."""
    if not _REPOSITORY.fullmatch(repository) or not hub.startswith("/"):
        return ""
    folder = f"{hub}/models--{repository.replace('/', '--')}"
    commit = revision if re.fullmatch(r"[0-9a-f]{40}", revision) else ""
    if not commit:
        try:
            reference = root.real(f"{folder}/refs/{revision or 'main'}")
            commit = root.read(reference, 64).decode("ascii", "replace").strip()
        except OSError:
            return ""
    return f"{folder}/snapshots/{commit}" if re.fullmatch(r"[0-9a-f]{40}", commit) else ""


def _values(words: list[str], options: tuple[str, ...], *, several: bool = False) -> list[str]:
    """Return the values of options, in order; of some there may be more than one in a row."""
    found: list[str] = []
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in options:
            continue
        if equals:
            found.append(value)
            continue
        for following in words[at + 1 : at + 2 + (NAMED_MAX if several else 0)]:
            if following.startswith("-"):
                break
            found.append(following)
            if not several:
                break
    return found


def _after(words: list[str], verb: str) -> list[str]:
    if not verb or verb not in words:
        return []
    at = words.index(verb) + 1
    return words[at : at + 1] if at < len(words) and not words[at].startswith("-") else []


def _words(body: bytes) -> list[str]:
    return [one.decode("utf-8", "replace") for one in body.split(b"\0") if one]


def _variables(body: bytes) -> dict[str, str]:
    """Return those variables that say where models are."""
    pairs = (one.split(b"=", 1) for one in body.split(b"\0") if b"=" in one)
    return {
        name.decode(): value.decode("utf-8", "replace")
        for name, value in pairs
        if name.decode("utf-8", "replace") in _VARIABLES
    }


def _start(path: str, most: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            body = bytearray()
            while len(body) < most and (piece := file.read(most - len(body))):
                body += piece
            return bytes(body)
    except OSError:
        return b""
