"""A log of inferences that a test writes to, and the collector that reads it, on a clock."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vedette.api import Observation
from vedette.drift.collector import InferenceLog
from vedette.drift.options import InferenceLogConfig

sys.path.insert(0, str(Path(__file__).parent))
from sketch_cases import records

S = 1_000_000_000


def configured(plain: dict[str, Any]) -> InferenceLogConfig:
    return msgspec.convert(plain, InferenceLogConfig, dec_hook=lambda kind, value: kind(value))


class Site:
    """A log that a test writes to, and the collector on a clock of its own."""

    def __init__(self, tmp_path: Path, **config: Any) -> None:
        self.path = tmp_path / "inference.log"
        self.path.touch()
        self.state_dir = tmp_path / "state" / "inference_log.shop"
        plain = {
            "paths": [str(tmp_path / "inference*.log")],
            "begin": "beginning",
            "learn": 800,
            "window": 60.0,
            "window_least": 200,
            **config,
        }
        self.config = configured(plain)
        self.rng = np.random.default_rng(1)
        self.now_s = 1_700_000_000.0
        self.number = 0
        self.collector = self._made()

    def _made(self) -> InferenceLog:
        made = InferenceLog(self.config)
        made.state_dir = str(self.state_dir)
        made.wall_ns = lambda: round(self.now_s * S)
        made.monotonic = lambda: self.now_s
        return made

    def write(self, lines: Iterable[bytes]) -> None:
        with self.path.open("ab") as file:
            file.writelines(line + b"\n" for line in lines)

    def infer(self, count: int, shift: float = 0.0, model: str = "fraud", **more: Any) -> None:
        lines = []
        for one in records(self.rng, count, shift=shift):
            self.number += 1
            line = {"model": model, "id": f"r{self.number}", "features": one, **more}
            lines.append(json.dumps(line).encode())
        self.write(lines)

    def tick(self, seconds: float = 5.0) -> list[Observation]:
        self.now_s += seconds
        return list(self.collector.collect())

    def restart(self, *, kill: bool = False) -> None:
        if not kill:
            self.collector.close()
        self.collector = self._made()
