"""The collector on real files: reads as they grow, goes on after a kill, says what it found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from vedette.api import Observation, Record, Sample, Unavailable
from vedette.drift.answering import pieces_of
from vedette.drift.baseline import Baseline, write
from vedette.drift.collector import InferenceLog
from vedette.drift.generic import FieldsConfig
from vedette.drift.keeping import Keeper
from vedette.drift.options import InferenceLogConfig
from vedette.testing import check_collector

sys.path.insert(0, str(Path(__file__).parent))
from inference_site import Site, configured
from sketch_cases import records, sketch_of


def values(told: list[Observation], name: str) -> dict[tuple[str, ...], float]:
    return {
        one.series.values: one.value
        for one in told
        if isinstance(one, Sample) and one.series.instrument.name == name
    }


def bodies(told: list[Observation]) -> list[str]:
    return [one.body for one in told if isinstance(one, Record)]


def test_its_contract_holds(tmp_path: Path) -> None:
    site = Site(tmp_path, learn=200, window=10.0, window_least=50)
    site.infer(200, prediction=1, score=0.9, label=1)
    may_omit = {
        "vedette.model.drift.strength",
        "vedette.model.drift.psi",
        "vedette.model.drift.wasserstein",
        "vedette.model.drift.missing",
        "vedette.model.drift.unknown",
        "vedette.model.drift.fields",
        "vedette.model.quality.decline",
        "vedette.model.quality.value",
    }
    check_collector(InferenceLog, site.config, may_omit=may_omit)


def test_without_paths_it_rests() -> None:
    with pytest.raises(Unavailable, match="no paths"):
        InferenceLog(InferenceLogConfig()).probe()


def test_it_learns_says_so_and_names_what_drifts_in_order_of_effect(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.infer(800, prediction=1)
    told = site.tick()
    assert bodies(told) == ["model fraud: a baseline was learned of its first 800 records"]
    assert values(told, "vedette.model.inferences") == {("fraud",): 800}
    for _ in range(14):
        site.infer(50, prediction=1)
        told = site.tick()
    assert bodies(told) == []
    assert values(told, "vedette.model.drift.fields") == {("fraud",): 0}
    strengths = values(told, "vedette.model.drift.strength")
    assert len(strengths) == 7
    assert max(strengths.values()) < 1
    said: list[str] = []
    for _ in range(26):
        site.infer(50, shift=1.0, prediction=0)
        said += bodies(told := site.tick())
    assert said
    assert said[0].startswith("model fraud: prediction (")
    assert "x0 (distribution, PSI" in said[0]
    strengths = values(told, "vedette.model.drift.strength")
    assert strengths["fraud", "x0"] >= 1
    assert strengths["fraud", "x1"] < 1
    assert values(told, "vedette.model.drift.fields") == {("fraud",): 2}
    assert values(told, "vedette.model.drift.psi")["fraud", "x0"] > 0.5


def test_bad_lines_are_counted_by_reason(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.infer(5)
    site.write([b"{oops", b"[]", b'{"nothing": null}'])
    found = values(site.tick(), "vedette.inference_log.malformed")
    assert found["shop", "no JSON"] == 1
    assert found["shop", "no object"] == 1
    assert found["shop", "no inference"] == 1
    assert values(site.tick(), "vedette.inference_log.lines") == {("shop",): 8}


@pytest.mark.parametrize("kill", [False, True])
def test_after_a_restart_no_record_counts_twice_or_not_at_all(tmp_path: Path, kill: bool) -> None:
    site = Site(tmp_path)
    site.infer(700)
    site.tick()
    site.tick(70.0)  # by then it was kept
    site.infer(50)
    if not kill:
        site.tick()  # read, and kept at the end
    site.restart(kill=kill)
    told = site.tick()
    assert values(told, "vedette.model.inferences") == {("fraud",): 750}
    site.infer(50)
    assert len(bodies(site.tick())) == 1  # the baseline: 800 were learned of, not fewer or more


def test_a_log_that_is_rotated_loses_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.infer(100)
    site.tick()
    site.infer(30)
    site.path.rename(tmp_path / "inference.log.1")
    site.path.touch()
    site.infer(20)
    for _ in range(4):
        told = site.tick()
    assert values(told, "vedette.model.inferences") == {("fraud",): 150}


def test_labels_that_come_later_are_joined_by_id(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.infer(100, prediction="a")
    site.tick()
    labels = [{"id": f"r{at + 1}", "label": "a" if at % 4 else "b"} for at in range(100)]
    site.write(json.dumps(one).encode() for one in [*labels, {"id": "never", "label": "a"}])
    told = site.tick()
    assert values(told, "vedette.model.quality.labels") == {("fraud",): 100}
    told = site.tick(90_000.0)
    assert values(told, "vedette.inference_log.expired")["shop", "label"] == 1


def test_models_and_fields_beyond_the_bound_are_counted(tmp_path: Path) -> None:
    site = Site(tmp_path, models=2, features=3)
    for model in ("a", "b", "c"):
        site.infer(10, model=model)
    told = site.tick()
    dropped = values(told, "vedette.inference_log.dropped")
    assert dropped["shop", "model"] == 10
    assert dropped["shop", "field"] == 2 * 3
    assert set(values(told, "vedette.model.inferences")) == {("a",), ("b",)}


def test_a_line_without_a_model_is_of_the_one_that_is_configured(tmp_path: Path) -> None:
    site = Site(tmp_path, model="churn")
    site.write([b'{"features": {"x": 1}, "prediction": 1}'])
    assert values(site.tick(), "vedette.model.inferences") == {("churn",): 1}
    unnamed = Site(tmp_path)
    assert values(unnamed.tick(), "vedette.model.inferences") == {("shop",): 1}


def test_a_baseline_of_a_file_is_in_force_from_the_first_record(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    first = sketch_of(records(rng, 1000))
    baseline = Baseline.of({"fraud": [first]}, "test", 1)
    write(tmp_path / "b.json", baseline)
    site = Site(tmp_path, baseline=str(tmp_path / "b.json"))
    site.collector.probe()
    for _ in range(14):
        site.infer(50, shift=1.0)
        told = site.tick()
    assert values(told, "vedette.model.drift.strength")["fraud", "x0"] >= 1
    (tmp_path / "b.json").write_text("{}")
    broken = Site(tmp_path, baseline=str(tmp_path / "b.json"))
    with pytest.raises(Unavailable, match="no baseline"):
        broken.collector.probe()


def test_it_answers_what_it_watches_and_gives_pieces_for_a_baseline(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.infer(800)
    site.tick()
    for _ in range(14):
        site.infer(50)
        site.tick()
    answer = site.collector.answer("models", {})
    assert answer["models"][0]["baseline"] == 800
    json.dumps(answer)
    pieces = pieces_of(site.collector.answer("baseline", {"last_s": 3600.0})["pieces"])
    baseline = Baseline.of(pieces, "agent", 1)
    assert baseline.models["fraud"].records > 500
    with pytest.raises(LookupError, match="models and baseline"):
        site.collector.answer("weather", {})
    with pytest.raises(ValueError, match="no pieces"):
        pieces_of("AAAA")


def test_no_text_of_a_record_is_kept_or_told(tmp_path: Path) -> None:
    site = Site(tmp_path, learn=200, window_least=50)
    text = "my card is 4111-1111-1111-1111 and my name is Alice Liddell of Oxford"
    for _ in range(30):
        for at in range(20):
            chat = {
                "request": {"model": "llm", "messages": [{"role": "user", "content": text}]},
                "response": {"choices": [{"message": {"content": text * (1 + at)}}]},
            }
            site.write([json.dumps(chat).encode()])
        told = site.tick()
        assert "Alice" not in repr(told)
    site.restart()
    kept = b"".join(one.read_bytes() for one in site.state_dir.rglob("*") if one.is_file())
    assert kept
    watches = Keeper(str(site.state_dir)).load()[0].watches
    assert set(watches) == {"llm"}
    assert b"Alice" not in msgspec.json.encode(watches)


def test_a_state_that_is_damaged_is_set_aside(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.infer(100)
    site.tick()
    site.restart()
    for one in site.state_dir.iterdir():
        one.write_bytes(b"x" * one.stat().st_size)
    assert values(site.tick(), "vedette.model.inferences") == {("fraud",): 100}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"paths": ["relative.log"]}, "no absolute path"),
        ({"window": 1.0}, "not between"),
        ({"window_most": 60, "window_least": 100}, "below window_least"),
        ({"baseline": "b.json"}, "no absolute path"),
        ({"label_wait": 1e9}, "30 days"),
        ({"fields": {"feature": "x"}}, "feature"),
        ({"format": "xml"}, "xml"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        configured(config)


def test_what_was_learned_of_the_fields_outlives_a_restart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write([b'{"id": "a", "features": {"x": 1}, "prediction": 1}'])
    site.tick()
    site.restart()
    site.write([b'{"id": "a", "label": 1}'])
    site.tick()
    found = site.collector._reader.fields
    assert found == FieldsConfig(("features",), "prediction", label="label", id="id")
