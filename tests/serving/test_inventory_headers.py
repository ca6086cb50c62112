"""What files of models say at their beginning; each is made by hand, from its specification."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.serving import files_headers as headers


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(*pairs: tuple[str, int, bytes], version: int = 3) -> bytes:
    body = b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in pairs)
    return struct.pack("<4sIQQ", b"GGUF", version, 0, len(pairs)) + body


LLAMA = gguf(
    ("general.architecture", 8, text("llama")),
    ("general.tags", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
    ("general.name", 8, text("Tiny Llama")),
    ("general.license", 8, text("mit")),
    ("llama.rope.scales", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
    ("llama.context_length", 4, struct.pack("<I", 8192)),
    ("general.file_type", 4, struct.pack("<I", 15)),
    ("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 1 << 40)),
)


def test_a_gguf_header_tells_architecture_quantisation_and_context() -> None:
    assert headers.gguf(LLAMA) == {
        "format": "gguf",
        "quantisation": "Q4_K_M",
        "title": "Tiny Llama",
        "architecture": "llama",
        "license": "mit",
        "trained_context": 8192,
    }


@given(st.integers(0, len(LLAMA)))
def test_a_gguf_header_that_is_cut_off_gives_what_could_be_read(at: int) -> None:
    facts = headers.gguf(LLAMA[:at])
    assert facts.items() <= headers.gguf(LLAMA).items()


@given(st.binary(max_size=200), st.integers(0, len(LLAMA) - 1))
def test_a_gguf_header_of_rubbish_harms_nothing(rubbish: bytes, at: int) -> None:
    headers.gguf(b"GGUF" + rubbish)
    headers.gguf(LLAMA[:at] + rubbish + LLAMA[at + 1 :])


def test_a_gguf_array_that_says_it_is_endless_ends_the_reading() -> None:
    body = gguf(("x", 9, struct.pack("<IQ", 8, 1 << 62)), ("general.name", 8, text("n")))
    assert headers.gguf(body) == {"format": "gguf"}


def safetensors(tensors: dict[str, object]) -> bytes:
    body = json.dumps(tensors).encode()
    return struct.pack("<Q", len(body)) + body + bytes(16)


def test_a_safetensors_header_tells_types_and_numbers() -> None:
    head = safetensors(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "BF16", "shape": [32, 64], "data_offsets": [0, 4096]},
            "b": {"dtype": "F32", "shape": [3], "data_offsets": [4096, 4108]},
        }
    )
    assert headers.safetensors(head) == ({"BF16": 2048, "F32": 3}, True)
    assert headers.safetensors_length(head[:16]) == len(head) - 16


@pytest.mark.parametrize("head", [b"", b"\xff" * 8, b"\xff" * 16, struct.pack("<Q", 4) + b"{{{{"])
def test_what_is_no_safetensors_header_gives_nothing(head: bytes) -> None:
    assert headers.safetensors(head) == ({}, False)
    assert headers.safetensors_length(head) in (0, 12)


def test_a_configuration_tells_quantisation_and_context() -> None:
    body = json.dumps(
        {
            "architectures": ["LlamaForCausalLM"],
            "torch_dtype": "bfloat16",
            "max_position_embeddings": 131072,
            "quantization_config": {"quant_method": "awq", "bits": 4, "api_key": "x"},
        }
    ).encode()
    assert headers.config(body) == {
        "architecture": "LlamaForCausalLM",
        "dtype": "bfloat16",
        "trained_context": 131072,
        "quantisation": "awq 4 bit",
    }
    inner = b'{"model_type": "gemma3", "text_config": {"max_position_embeddings": 7}}'
    assert headers.config(inner) == {"architecture": "gemma3", "trained_context": 7}
    assert headers.config(b"[" * 100_000) == {}


def test_an_adapter_tells_its_base() -> None:
    body = b'{"base_model_name_or_path": "org/base", "peft_type": "LORA", "revision": null}'
    assert headers.adapter_config(body) == {"kind": "adapter", "base": "org/base", "format": "LORA"}


CARD = b"""---
license: apache-2.0   # the text
base_model:
- org/base
- "org/other"
tags: [text, 'llama-2']
extra:
  license: none
model-index:
- name: x
---
license: mit
"""


def test_a_model_card_tells_license_and_base() -> None:
    assert headers.card(CARD) == {
        "license": "apache-2.0",
        "base": "org/base, org/other",
        "tags": "text, llama-2",
    }
    assert headers.card(b"# Title\nlicense: mit\n") == {}
    assert headers.card(b"---\nlicense: other\nlicense_name: llama3\n") == {"license": "llama3"}


@given(st.text(max_size=300))
def test_a_model_card_of_anything_harms_nothing(body: str) -> None:
    headers.card(f"---\n{body}".encode())


def test_an_ollama_manifest_names_its_blobs() -> None:
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:ab", "size": 7}
    (found,) = headers.manifest(json.dumps({"layers": [layer]}).encode())
    assert (found.digest, found.size) == ("sha256:ab", 7)
    assert headers.manifest(b'{"layers": 3}') == ()
