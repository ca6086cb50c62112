"""What drifted becomes one incident a model, which names the fields in order of effect."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from vedette.api import Sample
from vedette.drift import series
from vedette.drift.compare import compared
from vedette.drift.quality import Outcome
from vedette.drift.sketch import ModelSketch
from vedette_plugins.level import Level, LevelConfig

sys.path.insert(0, str(Path(__file__).parent))
from sketch_cases import records, sketch_of

RNG = np.random.default_rng(1)
BASE = sketch_of(records(RNG, 2000))


def told(model: str, moved: dict[str, float]) -> list[Sample]:
    """Return the series of a window in which some fields moved."""
    some = records(np.random.default_rng(2), 1000)
    for one in some:
        for field, by in moved.items():
            one[field] += by
    return list(series.samples(compared(model, BASE, sketch_of(some, BASE))))


def run(host: Any, seconds: int, *some: list[Sample]) -> None:
    for _ in range(seconds):
        host.tick([one for each in some for one in each])


def test_a_model_that_drifts_is_one_incident_that_names_its_fields_in_order_of_effect(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    host = simulated_host(tmp_path, [Level(LevelConfig())])
    run(host, 5, told("fraud", {}))
    assert host.incidents == ()
    run(host, 30, told("fraud", {"x2": 2.0, "x0": 0.5, "x3": 1.0}))
    (incident,) = host.incidents
    assert incident.resource == "model"
    assert incident.severity == "warning"
    assert incident.entities == ("model fraud",)
    name = "vedette.model.drift.strength{gen_ai.request.model=fraud,vedette.model.feature="
    assert list(incident.series) == [f"{name}{field}}}" for field in ("x2", "x3", "x0")]
    assert incident.title.startswith("Model fraud has drifted: x2 (strength ")
    assert "as well: x3, x0" in incident.title
    run(host, 120, told("fraud", {}))
    assert [one.state for one in host.incidents] == ["resolved"]


def test_two_models_that_drift_at_once_are_two_incidents(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    host = simulated_host(tmp_path, [Level(LevelConfig())])
    run(host, 5, told("fraud", {}), told("churn", {}))
    run(host, 30, told("fraud", {"x0": 2.0, "x1": 1.0}), told("churn", {"x0": 1.0}))
    assert sorted(one.entities for one in host.incidents) == [("model churn",), ("model fraud",)]
    (fraud,) = [one for one in host.incidents if one.entities == ("model fraud",)]
    assert len(fraud.series) == 2


def test_a_model_that_became_worse_is_an_incident_and_so_is_what_made_it(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    def judged(right: float) -> ModelSketch:
        made = sketch_of(records(np.random.default_rng(3), 1000), BASE)
        rng = np.random.default_rng(4)
        made.quality.add(
            [Outcome("a", None, "a" if rng.random() < right else "b") for _ in range(800)]
        )
        return made

    host = simulated_host(tmp_path, [Level(LevelConfig())])
    base = judged(0.9)
    good, bad = (list(series.samples(compared("m", base, judged(one)))) for one in (0.9, 0.7))
    run(host, 5, good)
    run(host, 30, bad)
    (incident,) = host.incidents
    assert incident.title.startswith("Model m is worse than it was: accuracy")
    assert incident.severity == "critical"
