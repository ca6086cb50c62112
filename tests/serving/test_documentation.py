"""docs/model-servers.md says what the adapters and the pages say; GOLDEN=write writes it anew."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_cases import PAGED, SERVERS, mapped, paths, recognised

from vedette.serving.adapter import Adapter, adapter, adapters
from vedette.serving.vocabulary import COMMON, SIGNALS

FILE = Path(__file__).parents[2] / "docs" / "model-servers.md"
#: Columns by table: what stands at the top, and the pages.
TABLES = {
    "Engines of language models": {
        "vLLM 0.32": "vllm-0.32.0",
        "vLLM 0.10": "vllm-0.10.2-hidden-replay",
        "vLLM 0.8": "vllm-0.8.5-v0-replay",
        "vLLM 0.4": "vllm-0.4.3-replay",
        "SGLang": "sglang-0.5.23-names",
        "TensorRT-LLM": "tensorrt-llm-serve",
        "TGI 3.3": "tgi-3.3.7",
        "LMDeploy 0.18": "lmdeploy-0.18.0-replay",
        "NIM": "nim-llm",
        "llama.cpp": "llamacpp-0c1e570",
        "Dynamo worker": "dynamo-worker-1.6.1",
    },
    "Servers of other models": {
        "Triton 2.51": "triton-2.51.0",
        "TorchServe 0.12": "torchserve-0.12.0",
        "TF Serving 2.20": "tensorflow-serving-2.20",
        "MLServer 1.7": "mlserver-1.7.1",
        "KServe 0.21": "kserve-0.21.0",
        "BentoML 1.4": "bentoml-1.4.40",
        "Mosec 0.9": "mosec-0.9.8",
        "LitServe 0.2": "litserve-0.2.19",
        "TEI 1.9": "text-embeddings-inference-1.9",
        "Infinity 0.0.78": "infinity-0.0.78",
    },
    "Gateways, routers, devices": {
        "LiteLLM 1.109": "litellm-1.109.1",
        "Dynamo 1.6": "dynamo-1.6.1",
        "SGLang router 0.3": "sglang-router-0.3.2",
        "Ray Serve 2.60": "rayserve-2.60.0",
        "DCGM exporter": "dcgm-exporter-readme",
    },
}


def vocabulary() -> Iterator[str]:
    yield "| name | kind, unit | own attributes | protocol | meaning |"
    yield "|---|---|---|---|---|"
    for signal in SIGNALS.values():
        made = signal.instrument
        own = ", ".join(f"`{key}`" for key in made.attributes if key not in COMMON)
        yield (
            f"| `{made.name}` | {made.kind}, `{made.unit}` | {own} | {signal.gie} | {made.help} |"
        )


def cells(name: str) -> dict[str, str]:
    """Return the mark of each line of the table for the pages of a directory."""
    who = recognised(paths(name)[-1].read_bytes())
    assert who.adapter is not None
    last = mapped(name)[-1]
    zero = {outcome for _, outcome in last.none}
    found: dict[str, str] = {}
    for number, rule in enumerate(who.adapter.rules_of(who.release)):
        outcome = rule.set.get("vedette.model.outcome", "")
        line = f"{rule.name}: {outcome}" if outcome else rule.name
        rows = [row for row in last.rows if row.rule == number]
        if rows:
            mark = "◐" if all(row.derived for row in rows) else "●"
        else:
            mark = "●" if outcome in zero else "○"
        found[line] = min(found.get(line, mark), mark, key="●◐○".index)
    return found


def matrix() -> Iterator[str]:
    for title, columns in TABLES.items():
        marks = {top: cells(name) for top, name in columns.items()}
        lines = []
        for signal in SIGNALS:
            used = [line for told in marks.values() for line in told]
            lines += [
                line
                for line in dict.fromkeys(used)
                if line == signal or line.startswith(f"{signal}: ")
            ]
        yield f"### {title}"
        yield ""
        yield "| metric | " + " | ".join(columns) + " |"
        yield "|---" + "|:-:" * len(columns) + "|"
        for line in dict.fromkeys(lines):
            told = " | ".join(marks[top].get(line, "") for top in columns)
            yield f"| `{line}` | {told} |"
        yield ""


def blind() -> Iterator[str]:
    for one in adapters():
        yield f"- **{one.title}** ({known(one)})"
        for spot in one.blind:
            where = f" (while `{spot.missing}` is not there)" if spot.missing else ""
            yield f"  - {spot.about}: {spot.text}{where}"


def known(one: Adapter) -> str:
    return one.evidence


PARTS = {"vocabulary": vocabulary, "matrix": matrix, "blind": blind}


def test_the_tables_of_the_documentation_are_current() -> None:
    text = written = FILE.read_text("utf-8")
    for name, part in PARTS.items():
        block = f"<!-- {name} -->\n" + "\n".join(part()).rstrip() + "\n<!-- end -->"
        pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- end -->", re.DOTALL)
        assert pattern.search(written), name
        written = pattern.sub(lambda _, block=block: block, written)
    if os.environ.get("GOLDEN") == "write":
        FILE.write_text(written, "utf-8")
        return
    assert text == written, "run GOLDEN=write pytest tests/serving/test_documentation.py"


def test_every_page_that_is_told_of_has_a_column() -> None:
    shown = {name for columns in TABLES.values() for name in columns.values()}
    assert {SERVERS[name] for name in PAGED} == {SERVERS[name] for name in shown}


@pytest.mark.parametrize("name", sorted({*SERVERS.values()}))
def test_every_adapter_has_pages_or_answers_in_the_fixtures(name: str) -> None:
    assert adapter(name).title in FILE.read_text("utf-8")


def test_every_adapter_that_ships_is_tried() -> None:
    assert {one.name for one in adapters()} == set(SERVERS.values())
