"""The file of a baseline: comes back as it was, and is refused when it is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vedette.drift.baseline import Baseline, BaselineError, read, write
from vedette.drift.compare import compared

sys.path.insert(0, str(Path(__file__).parent))
from sketch_cases import records, sketch_of


def made() -> Baseline:
    rng = np.random.default_rng(1)
    first = sketch_of(records(rng, 500))
    return Baseline.of({"m": [first, sketch_of(records(rng, 500), first)]}, "a.jsonl", 7)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    baseline = made()
    digest = write(tmp_path / "b.json", baseline)
    again = read(tmp_path / "b.json")
    assert digest.startswith("sha256:")
    assert again.models["m"].state() == baseline.models["m"].state()
    assert again.usual == baseline.usual
    assert (again.source, again.created_ns) == ("a.jsonl", 7)
    window = sketch_of(records(np.random.default_rng(2), 500), again.models["m"])
    assert not compared("m", again.models["m"], window, usual=again.usual["m"]).bad


def test_it_may_be_laid_out_anew(tmp_path: Path) -> None:
    write(tmp_path / "b.json", made())
    text = json.dumps(json.loads((tmp_path / "b.json").read_text()))
    (tmp_path / "b.json").write_text(text)
    assert read(tmp_path / "b.json").models["m"].records == 1000


def _tamper(told: dict[str, Any]) -> None:
    told["body"]["models"]["m"]["sketch"]["records"] = 999


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_tamper, "digest"),
        (lambda told: told.update(version=2), "version 2, this reads version 1"),
        (lambda told: told.update(format="other"), "no baseline"),
        (lambda told: told["body"].pop("models"), "damaged"),
        (lambda told: told["body"]["models"].update(m=3), "damaged"),
    ],
)
def test_one_that_was_changed_is_refused_with_the_reason(
    change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    write(path, made())
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    with pytest.raises(BaselineError, match=said) as raised:
        read(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b'{"a": 1}', b"[" * 100_000])
def test_what_is_no_baseline_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(data)
    with pytest.raises(BaselineError, match="no baseline"):
        read(tmp_path / "b.json")
    with pytest.raises(BaselineError, match="No such file"):
        read(tmp_path / "gone.json")


def test_counts_that_cannot_be_are_refused_though_the_digest_fits(tmp_path: Path) -> None:
    baseline = made()
    numbers = baseline.models["m"].features["x0"].numbers
    assert numbers is not None
    numbers.zero = -5
    write(tmp_path / "b.json", baseline)
    with pytest.raises(BaselineError, match=r"model m: field x0: .*below 0"):
        read(tmp_path / "b.json")


def test_a_file_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    write(tmp_path / "b.json", made())
    before = (tmp_path / "b.json").read_bytes()
    (tmp_path / "b.json.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(tmp_path / "b.json", made())
    assert (tmp_path / "b.json").read_bytes() == before
