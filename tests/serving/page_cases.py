"""Pages of model servers in order of time, and what reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from vedette.exposition.page import Page
from vedette.exposition.reading import Reader
from vedette.serving.mapping import Mapper
from vedette.serving.recognise import Info, Recognition, declared, recognise
from vedette.serving.rows import Mapped

FIXTURES = Path(__file__).parents[1] / "fixtures" / "serving"
#: The server that each directory's pages are of.
SERVERS = {
    "bentoml-1.4.40": "bentoml",
    "dcgm-exporter-readme": "dcgm-exporter",
    "dynamo-1.6.1": "dynamo",
    "dynamo-worker-1.6.1": "dynamo-worker",
    "infinity-0.0.78": "infinity",
    "kserve-0.21.0": "kserve",
    "litellm-1.109.1": "litellm",
    "litserve-0.2.19": "litserve",
    "llamacpp-0c1e570": "llama.cpp",
    "lmdeploy-0.18.0-replay": "lmdeploy",
    "mlserver-1.7.1": "mlserver",
    "mosec-0.9.8": "mosec",
    "nim-llm": "nim",
    "ollama-docs": "ollama",
    "rayserve-2.60.0": "ray-serve",
    "sglang-0.5.23-names": "sglang",
    "sglang-router-0.3.2": "sglang-router",
    "tensorflow-serving-2.20": "tf-serving",
    "tensorrt-llm-serve": "tensorrt-llm",
    "text-embeddings-inference-1.9": "tei",
    "tgi-3.3.7": "tgi",
    "torchserve-0.12.0": "torchserve",
    "triton-2.51.0": "triton",
    "triton-2.51.0-no-model": "triton",
    "vllm-0.10.2-hidden-replay": "vllm",
    "vllm-0.32.0": "vllm",
    "vllm-0.4.3-replay": "vllm",
    "vllm-0.8.5-v0-replay": "vllm",
    "vllm-in-ray-2.60": "ray-serve",
}
#: Those that have a page; Ollama has none.
PAGED = [name for name in SERVERS if name != "ollama-docs"]


def paths(name: str) -> list[Path]:
    return sorted((FIXTURES / name).glob("page.*.prom"))


def infos(name: str) -> list[Info]:
    files = sorted((FIXTURES / name).glob("info_*.json"))
    return [Info(file.name, json.loads(file.read_bytes())) for file in files]


def page(body: str | bytes) -> Page:
    return Reader().read(body.encode() if isinstance(body, str) else body)


def recognised(body: str | bytes, info: Sequence[Info] = ()) -> Recognition:
    raw = body.encode() if isinstance(body, str) else body
    return recognise(page(raw), declared(raw), info)


def steps(bodies: Iterable[bytes], who: Recognition) -> list[Mapped]:
    assert who.adapter is not None
    mapper, reader = Mapper(who.adapter, who.release), Reader()
    return [mapper.read(reader.read(body), at * 10.0) for at, body in enumerate(bodies)]


def mapped(name: str) -> list[Mapped]:
    """Map all pages of a directory, as the last one is recognised."""
    bodies = [path.read_bytes() for path in paths(name)]
    return steps(bodies, recognised(bodies[-1]))


def histogram(name: str, labels: str, counts: Sequence[int], total: float) -> str:
    """Write a histogram with the bounds 1, 2, 3, ... and the last count above them."""
    lead = f"{labels}," if labels else ""
    lines, running = [f"# TYPE {name} histogram"], 0
    for at, count in enumerate(counts):
        running += count
        bound = "+Inf" if at == len(counts) - 1 else str(at + 1)
        lines.append(f'{name}_bucket{{{lead}le="{bound}"}} {running}')
    braces = f"{{{labels}}}" if labels else ""
    lines += [f"{name}_sum{braces} {total}", f"{name}_count{braces} {running}", ""]
    return "\n".join(lines)


TYPES = (b"counter", b"gauge", b"histogram", b"summary", b"untyped")
VALUES = (b"NaN", b"+Inf", b"-1", b"1e308", b"0")


def spoilt(body: bytes, chance: random.Random) -> bytes:
    """Lose lines, change types and values, cut the page off."""
    lines = []
    for line in body.splitlines(keepends=True):
        dice = chance.random()
        if dice < 0.05:
            continue
        if dice < 0.15 and line.startswith(b"# TYPE"):
            line = line.rsplit(b" ", 1)[0] + b" " + chance.choice(TYPES) + b"\n"
        elif dice < 0.15 and not line.startswith(b"#"):
            line = line.rsplit(b" ", 1)[0] + b" " + chance.choice(VALUES) + b"\n"
        lines.append(line)
    whole = b"".join(lines)
    return whole[: chance.randrange(len(whole) + 1)] if chance.random() < 0.2 else whole
