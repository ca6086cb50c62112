"""Recognise and map every captured page of a model server, and hold it against the client's counts.

    python tests/bench/serving_matrix.py ../shared/captures [--fixtures tests/fixtures/serving]

The folder has one folder a server with pages ``NAME.N.prom`` in order of time and, where a client
kept count, ``requests.json``; folders of single pages work, too. ``--fixtures`` writes trimmed
copies for the tests.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vedette.exposition.reading import Reader
from vedette.serving.mapping import Mapper
from vedette.serving.recognise import declared, recognise
from vedette.serving.rows import Mapped

#: Servers by folder; the page's name after a slash where a folder has several.
KINDS = {
    "constructed": "CONSTRUCTED",
    "dcgm-exporter": "DOC",
}
#: Folders of the fixtures, which have the release in their name.
NAMES = {
    "bentoml": "bentoml-1.4.40",
    "dcgm-exporter/readme-sample": "dcgm-exporter-readme",
    "dynamo-mocker/frontend": "dynamo-1.6.1",
    "dynamo-mocker/worker": "dynamo-worker-1.6.1",
    "infinity": "infinity-0.0.78",
    "kserve": "kserve-0.21.0",
    "litellm": "litellm-1.109.1",
    "litserve": "litserve-0.2.19",
    "llamacpp-server": "llamacpp-0c1e570",
    "mlserver": "mlserver-1.7.1",
    "mosec": "mosec-0.9.8",
    "rayserve": "rayserve-2.60.0",
    "sglang-router": "sglang-router-0.3.2",
    "torchserve": "torchserve-0.12.0",
    "triton": "triton-2.51.0",
    "triton-loadfail": "triton-2.51.0-no-model",
    "vllm": "vllm-0.32.0",
}
#: Families of no interest, which make most of some pages.
_NOISE = re.compile(rb"^(# (HELP|TYPE) )?(python_|go_|promhttp_|process_(?!start_time))")
_FAMILY = re.compile(rb"^(?:# (?:HELP|TYPE) )?([^\s{]+)")
_ENDINGS = (b"_bucket", b"_sum", b"_count", b"_created", b"_total")


def sets(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield each server's pages in order of time."""
    for folder in sorted(one for one in root.iterdir() if one.is_dir()):
        numbered: dict[str, list[Path]] = {}
        for path in sorted(folder.glob("*.prom")):
            match = re.fullmatch(r"(\w+)\.\d+\.prom", path.name)
            if match:
                numbered.setdefault(match[1], []).append(path)
            elif folder.name in KINDS:
                yield f"{folder.name}/{path.stem}", [path]
        for stem, paths in numbered.items():
            yield folder.name if len(numbered) == 1 else f"{folder.name}/{stem}", paths


def client(folder: Path) -> Counter[str]:
    """Return what the client counted, by kind of request and status."""
    counted: Counter[str] = Counter()
    file = folder / "requests.json"
    rounds = json.loads(file.read_text()) if file.exists() else []
    for one in rounds if isinstance(rounds, list) else []:
        if len(one) == 4 and one[1] != "18121":  # LitServe ran twice; this one had the page
            continue
        counted.update(one[-2])
    return counted


def mapped(paths: Sequence[Path]) -> tuple[str, str, float, list[Mapped]]:
    """Return server, release, confidence and the pages as mapped."""
    bodies = [path.read_bytes() for path in paths]
    last = recognise(Reader().read(bodies[-1]), declared(bodies[-1]))
    if last.adapter is None:
        return last.server, "", 0.0, []
    mapper, reader = Mapper(last.adapter, last.release), Reader()
    steps = [mapper.read(reader.read(body), float(at)) for at, body in enumerate(bodies)]
    return last.server, last.release.name if last.release else "", last.confidence, steps


def trimmed(body: bytes, keep: frozenset[str]) -> bytes:
    """Leave out of a page what no server is told by: creation times, the runtime, other families.

    Lines are left as they are. Of families that no adapter reads the declaration stays.
    """
    lines = []
    for line in body.splitlines(keepends=True):
        match = _FAMILY.match(line)
        if match is None or line.startswith(b"# HELP") or _NOISE.match(line):
            continue
        name = match[1]
        if name.endswith(b"_created"):
            continue
        stem = name
        for ending in _ENDINGS:
            stem = stem.removesuffix(ending)
        wanted = any(one.decode() in keep for one in (name, stem, stem + b"_total"))
        if wanted or line.startswith(b"# TYPE"):
            lines.append(line)
    return b"".join(lines)


def write_fixtures(root: Path, to: Path) -> None:
    """Write the first, a middle and the last page of each server, trimmed, and the counts."""
    for name, paths in sets(root):
        body = paths[-1].read_bytes()
        who = recognise(Reader().read(body), declared(body))
        if who.adapter is None or name.startswith("rayserve-inventory"):
            continue
        folder = to / NAMES.get(name, name.split("/")[-1])
        folder.mkdir(parents=True, exist_ok=True)
        keep = who.adapter.metrics | {"process_start_time_seconds"}
        chosen = [paths[0], paths[len(paths) // 2], paths[-1]] if len(paths) > 2 else paths
        if name == "rayserve":  # 170 kB a page
            del chosen[1]
        for at, path in enumerate(chosen):
            (folder / f"page.{at}.prom").write_bytes(trimmed(path.read_bytes(), keep))
        counted = client(paths[0].parent)
        if counted:
            text = json.dumps(dict(sorted(counted.items())), indent=1)
            (folder / "client.json").write_text(text + "\n")
        for info in paths[0].parent.glob("info_*.json"):
            if 0 < info.stat().st_size < 1500 and info.name in INFO:
                (folder / info.name).write_bytes(info.read_bytes())


#: Answers that tell the server or its version.
INFO = ("info_v2.json", "info_version.json", "info_v1_models.json", "info_health.json")


def main() -> int:
    """Print one block a server."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("path", type=Path)
    options.add_argument("--fixtures", type=Path)
    chosen = options.parse_args()
    if chosen.fixtures:
        write_fixtures(chosen.path, chosen.fixtures)
        return 0
    unknown = 0
    for name, paths in sets(chosen.path):
        begun = time.perf_counter()
        server, release, confidence, steps = mapped(paths)
        took_ms = (time.perf_counter() - begun) * 1e3 / len(paths)
        signals = {row.signal.name for step in steps for row in step.rows}
        unknown += not steps
        print(
            f"{name}: {server} {release} {confidence:.2f}; {len(signals)} signals, "
            f"{len(steps[-1].rows) if steps else 0} rows, {took_ms:.1f} ms a page"
        )
        if not steps:
            continue
        told = {(one.layer, one.outcome): one.value for one in steps[-1].outcomes}
        print("  server:", ", ".join(f"{k[0]} {k[1]} {v:g}" for k, v in told.items()) or "nothing")
        counted = client(paths[0].parent)
        if counted:
            print("  client:", ", ".join(f"{kind}: {count}" for kind, count in counted.items()))
        for one in steps[-1].missing:
            print(f"  missing: {one.signal} ({', '.join(one.metrics)})")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
