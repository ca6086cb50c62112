"""Read what a model's files say of it at their beginning: bounded, tolerant, no weights.

Formats: GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3), the
header of safetensors (https://github.com/huggingface/safetensors), ``config.json`` and
``adapter_config.json`` of Transformers and PEFT, the front matter of a model card, and manifests of
Ollama. A file that is cut off or of another kind gives what could be read, or nothing.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import msgspec

#: What is looked at of a file: the metadata of GGUF comes before its vocabulary, which is large.
GGUF_BYTES = 1 << 20
#: The header of safetensors may have 100 MB; those of shards have some hundred KiB.
SAFETENSORS_BYTES = 8 << 20
JSON_BYTES = 1 << 20
CARD_BYTES, CARD_LINES = 64 << 10, 400
_KEYS_MAX, _LIST_MAX, _TEXT_MAX = 2_000, 16, 200

#: ``llama_ftype`` of llama.h, without its prefix.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
#: Of a model card, what is kept.
_CARD_KEYS = frozenset(
    {"license", "license_name", "base_model", "tags", "library_name", "pipeline_tag"}
)

Facts = dict[str, str | int]


# ---------------------------------------------------------------- GGUF


def gguf(head: bytes) -> Facts:
    """Return what the metadata of a GGUF file says; ``head`` is its beginning."""
    values = dict(_gguf_values(head))
    kind = values.get("general.architecture")
    facts: Facts = {"format": "gguf"} if head[:4] == b"GGUF" else {}
    file_type = values.get("general.file_type")
    if isinstance(file_type, int):
        facts["quantisation"] = FILE_TYPES.get(file_type, f"type {file_type}")
    for fact, key in (
        ("title", "general.name"),
        ("architecture", "general.architecture"),
        ("license", "general.license"),
        ("parameters", "general.size_label"),
        ("base", "general.base_model.0.repo_url"),
        ("trained_context", f"{kind}.context_length"),
    ):
        value = values.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool):
            facts[fact] = value[:_TEXT_MAX] if isinstance(value, str) else value
    return facts


#: Formats of the scalar types by their number; 8 is a text, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip


def _gguf_values(head: bytes) -> Iterator[tuple[str, object]]:
    """Yield keys with their values until the bytes end or the vocabulary begins."""
    try:
        magic, version, _tensors, keys = struct.unpack_from("<4sIQQ", head)
        if magic != b"GGUF" or version not in (2, 3):
            return
        at = 24
        for _ in range(min(keys, _KEYS_MAX)):
            key, at = _gguf_text(head, at)
            if key.startswith("tokenizer."):
                return
            (kind,) = struct.unpack_from("<I", head, at)
            value, at = _gguf_value(head, at + 4, kind)
            yield key, value
    except (struct.error, ValueError, OverflowError):
        return


def _gguf_value(head: bytes, at: int, kind: int) -> tuple[object, int]:
    if kind == 8:
        return _gguf_text(head, at)
    if kind != 9:
        code = _SCALARS.get(kind)
        if code is None:
            raise ValueError(kind)
        return struct.unpack_from(f"<{code}", head, at)[0], at + struct.calcsize(f"<{code}")
    of, count = struct.unpack_from("<IQ", head, at)
    at += 12
    if of in _SCALARS:  # none of them is wanted
        return None, at + count * struct.calcsize(f"<{_SCALARS[of]}")
    if of != 8 or count > len(head):
        raise ValueError(of)
    for _ in range(count):
        _, at = _gguf_text(head, at)
    return None, at


def _gguf_text(head: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", head, at)
    if at + 8 + length > len(head):
        raise ValueError(length)
    return head[at + 8 : at + 8 + length].decode("utf-8", "replace"), at + 8 + length


# ---------------------------------------------------------------- safetensors


class _Tensor(msgspec.Struct):
    dtype: str = ""
    shape: tuple[int, ...] = ()


def safetensors(head: bytes) -> tuple[Counter[str], bool]:
    """Return how many numbers of each type the tensors have, and whether that is all of them."""
    if len(head) < 8:
        return Counter(), False
    (length,) = struct.unpack_from("<Q", head)
    if length > len(head) - 8:
        return Counter(), False
    try:
        tensors = msgspec.json.decode(head[8 : 8 + length], type=dict[str, _Tensor])
    except (msgspec.MsgspecError, RecursionError):
        return Counter(), False
    found: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if name != "__metadata__":
            found[tensor.dtype] += prod(tensor.shape)
    return found, True


def safetensors_length(first: bytes) -> int:
    """Return how many bytes the header has with its length; 0: it is none that is read."""
    if len(first) < 9 or first[8:9] not in (b"{", b" "):
        return 0
    length = int(struct.unpack_from("<Q", first)[0]) + 8
    return length if length <= SAFETENSORS_BYTES else 0


# ---------------------------------------------------------------- JSON


def config(body: bytes) -> Facts:
    """Return what a ``config.json`` of Transformers says."""
    said = _object(body)
    inner = said.get("text_config")
    facts: Facts = {}
    _take(facts, "architecture", _first(said.get("architectures")) or said.get("model_type"))
    for one in (said, inner if isinstance(inner, dict) else {}):
        _take(facts, "dtype", one.get("dtype") or one.get("torch_dtype"))
        for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
            _take(facts, "trained_context", one.get(key))
    quantisation = said.get("quantization_config")
    if isinstance(quantisation, dict):
        method = quantisation.get("quant_method") or quantisation.get("quant_algo")
        bits = quantisation.get("bits")
        if isinstance(method, str):
            text = f"{method} {bits} bit" if isinstance(bits, int) else method
            facts["quantisation"] = text[:_TEXT_MAX]
    return facts


def adapter_config(body: bytes) -> Facts:
    """Return what an ``adapter_config.json`` of PEFT says."""
    said = _object(body)
    facts: Facts = {"kind": "adapter"} if said else {}
    _take(facts, "base", said.get("base_model_name_or_path"))
    _take(facts, "revision", said.get("revision"))
    _take(facts, "format", said.get("peft_type"))
    return facts


class Layer(msgspec.Struct, frozen=True):
    """A part of an Ollama model: its kind, its digest (``sha256:...``) and its size."""

    mediaType: str = ""  # noqa: N815 - its name in the file
    digest: str = ""
    size: int = 0


class _Manifest(msgspec.Struct):
    layers: tuple[Layer, ...] = ()


def manifest(body: bytes) -> tuple[Layer, ...]:
    """Return the layers of an Ollama manifest."""
    try:
        return msgspec.json.decode(body, type=_Manifest).layers[:_LIST_MAX]
    except (msgspec.MsgspecError, RecursionError):
        return ()


def parsed(body: bytes) -> object:
    """Return JSON as it is; None where it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _object(body: bytes) -> dict[str, Any]:
    said = parsed(body)
    return said if isinstance(said, dict) else {}


def _take(facts: Facts, fact: str, value: object) -> None:
    if fact in facts or isinstance(value, bool) or not isinstance(value, str | int):
        return
    if value:
        facts[fact] = value[:_TEXT_MAX] if isinstance(value, str) else value


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else None


# ---------------------------------------------------------------- model card


def card(body: bytes) -> Facts:
    """Return license, base model and tags of a model card's front matter (a subset of YAML).

    Keys at the margin with a text or a list of texts, in either style; all else is passed over.
    """
    lines = body[:CARD_BYTES].decode("utf-8", "replace").splitlines()[:CARD_LINES]
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, list[str]] = {}
    key = ""
    for line in lines[1:]:
        if line.strip() in ("---", "..."):
            break
        entry = line.strip()
        if key and entry.startswith("- ") and entry[2:].strip():
            if len(found[key]) < _LIST_MAX:
                found[key].append(_bare(entry[2:]))
        elif line[:1].strip() and ":" in line:
            name, _, value = line.partition(":")
            key = name.strip() if name.strip() in _CARD_KEYS else ""
            if key:
                value = value.strip()
                inner = value[1:-1].split(",") if value[:1] == "[" else [value]
                found[key] = [text for one in inner[:_LIST_MAX] if (text := _bare(one))]
    said = {one: ", ".join(texts)[:_TEXT_MAX] for one, texts in found.items() if texts}
    facts: Facts = {}
    _take(facts, "license", said.get("license_name") or said.get("license"))
    _take(facts, "base", said.get("base_model"))
    _take(facts, "tags", said.get("tags"))
    _take(facts, "task", said.get("pipeline_tag"))
    return facts


def _bare(text: str) -> str:
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        return text[1:-1]
    return text.partition(" #")[0].strip() if text not in ("|", ">") else ""
