"""What the operator says of incidents tells on what rings afterwards: the real pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from vedette import feedback_store
from vedette.api import (
    Detector,
    Duration,
    Incident,
    Series,
    Strength,
    Window,
    gauge,
)
from vedette.feedback import (
    FeedbackError,
    Marks,
    Ruling,
)
from vedette.feedback_desk import FeedbackDesk, Judge, Silence, Undo, Unmute
from vedette.feedback_effects import Effects
from vedette.lenience import (
    ELSEWHERE,
    MARGIN,
    MARGIN_OF_OTHERS,
    Raises,
)
from vedette.pipeline import Pipeline
from vedette_plugins.level import Level, LevelConfig, Rule

S = 1_000_000_000
DAY = 86_400 * S
NOW = 1_795_183_200 * S

LOUD = gauge("test.loud", "1", "A number in a test.", resource="noise")
DISK = gauge("test.disk", "1", "A number in a test.", ("system.device",), resource="disk")


class Loudness(Detector):
    """Take the reading itself for the score, so that a test says how strong a fault is."""

    name = "loudness"
    threshold = 1.0

    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        return window.values[:, -1].copy()


class Scene:
    """A host whose series are quiet but for the faults a test makes."""

    def __init__(self, host: type[Any], state_dir: Path, start_s: int | None = None) -> None:
        rule = Rule(metric="test.disk", above=50.0, hold=Duration(2))
        detectors = [Loudness(None), Level(LevelConfig(rules=(rule,)))]
        times = {} if start_s is None else {"start_s": start_s}
        self.host = host(state_dir, detectors, **times)
        self.pipeline = cast(Pipeline, self.host.pipeline)
        self.desk = FeedbackDesk(self.pipeline, lambda: self.host.now_s * S, "web1")
        self.quiet: dict[Series, float] = {
            LOUD.series(): 0.1,
            DISK.series("sda"): 0.1,
            DISK.series("sdb"): 0.1,
        }
        self.host.tick(self.quiet)

    def fault(self, *strengths: tuple[Series, float], seconds: int = 8) -> list[Incident]:
        """Let a fault happen and end, and two minutes pass; return what was opened."""
        told = []
        for _ in range(seconds):
            told += self.host.tick({**self.quiet, **dict(strengths)})
        for _ in range(120):
            told += self.host.tick(self.quiet)
        return [one.incident for one in told if one.change == "opened"]

    def false_alarm(self, id: str = "last", note: str = "") -> Mapping[str, Any]:
        return self.desk.answer(Judge(word="false-alarm", id=id, by="alice", note=note))

    def ack(self, id: str = "last") -> Mapping[str, Any]:
        return self.desk.answer(Judge(word="ack", id=id, by="bob"))

    @property
    def newest(self) -> Incident:
        return cast(Incident, self.host.incidents[0])


@pytest.fixture
def scene(simulated_host: type[Any], tmp_path: Path) -> Scene:
    return Scene(simulated_host, tmp_path)


# ---------------------------------------------------------------- false alarms


def test_the_same_fault_rings_no_more_after_a_false_alarm_and_a_stronger_one_does(
    scene: Scene,
) -> None:
    assert len(scene.fault((LOUD.series(), 1.6))) == 1
    scene.false_alarm()
    assert scene.fault((LOUD.series(), 1.6)) == []
    assert scene.fault((LOUD.series(), 1.9)) == []
    assert len(scene.fault((LOUD.series(), 2.1))) == 1


def test_all_findings_of_the_incident_are_held_back_and_other_entities_a_little(
    scene: Scene,
) -> None:
    both = ((LOUD.series(), 2.0), (DISK.series("sda"), 1.4))
    opened = scene.fault(*both)
    assert {one for incident in opened for one in incident.series} == {
        "test.loud",
        "test.disk{system.device=sda}",
    }
    for incident in opened:
        scene.false_alarm(incident.id)
    assert scene.fault(*both) == []
    lenience = scene.pipeline.word.lenience("loudness")
    rows = [scene.pipeline.table.row(one) for one in scene.quiet]
    loud, sda, sdb = (float(lenience[row]) for row in rows if row is not None)
    assert loud == pytest.approx(2.0 * MARGIN)
    assert sda in (pytest.approx(1.4 * MARGIN), pytest.approx(1.4 * MARGIN_OF_OTHERS))
    assert sdb == pytest.approx(1 + ELSEWHERE * (sda - 1))
    assert len(scene.fault((DISK.series("sdb"), 1.05))) == 0
    assert len(scene.fault((DISK.series("sdb"), 1.4))) == 1


def test_one_mark_raises_threefold_at_most_and_repeated_ones_add_up(scene: Scene) -> None:
    scene.fault((LOUD.series(), 4.0))
    told = scene.false_alarm()["marks"][0]["effect"]
    assert "rings from 3 times the usual threshold on: test.loud (loudness)" in told
    assert "as strong as this (4 times) it still rings" in told
    assert len(scene.fault((LOUD.series(), 4.0))) == 1
    assert "from 5 times" in scene.false_alarm()["marks"][0]["effect"]
    assert scene.fault((LOUD.series(), 4.0)) == []


def test_marking_one_incident_twice_counts_once(scene: Scene) -> None:
    scene.fault((LOUD.series(), 1.6))
    scene.false_alarm()
    scene.false_alarm(note="the backup")
    assert Raises(scene.pipeline.word.marks, NOW).of("loudness", "test.loud") == pytest.approx(1.0)
    first, second = scene.pipeline.word.marks.marks
    effects = Effects(scene.pipeline.word.marks, NOW)
    assert effects.of(first) == "nothing: mark 2 took its place"
    assert scene.newest.verdict is not None
    assert scene.newest.verdict.note == second.note == "the backup"


def test_a_raise_wears_off_by_half_in_sixty_days(scene: Scene) -> None:
    scene.fault((LOUD.series(), 1.6))
    scene.false_alarm()
    scene.host.tick(scene.quiet, seconds=60 * 86_400)
    row = scene.pipeline.table.row(LOUD.series())
    assert float(scene.pipeline.word.lenience("loudness")[row]) == pytest.approx(1.5, abs=0.001)
    assert scene.fault((LOUD.series(), 1.4)) == []
    assert len(scene.fault((LOUD.series(), 1.6))) == 1


def test_a_rule_of_the_operators_own_is_not_raised_and_that_is_told(scene: Scene) -> None:
    series = DISK.series("sda")
    scene.pipeline.detection.learned.adopt(scene.pipeline.detection.learned.detectors[1:])
    assert len(scene.fault((series, 60.0))) == 1
    assert scene.newest.strengths == (Strength(series.key, "level", 0.0),)
    assert "a rule of yours rang" in scene.false_alarm()["marks"][0]["effect"]
    assert len(scene.fault((series, 60.0))) == 1


def test_a_ruling_of_an_open_incident_learns_how_strong_it_became(scene: Scene) -> None:
    for _ in range(8):
        scene.host.tick({**scene.quiet, LOUD.series(): 1.2})
    scene.false_alarm()
    assert scene.pipeline.word.marks.marks[0].strengths[0].ratio == pytest.approx(1.2)
    scene.fault((LOUD.series(), 1.8))
    assert scene.newest.state == "resolved"
    (mark,) = feedback_store.load(cast(Path, scene.pipeline.settings.state_dir)).marks
    assert isinstance(mark, Ruling)
    assert mark.strengths[0].ratio == pytest.approx(1.8)
    assert mark.ended_ns == scene.newest.resolved_ns
    assert scene.fault((LOUD.series(), 1.8)) == []


# ---------------------------------------------------------------- ack, undo, restart


def test_an_ack_halves_what_was_raised_and_never_goes_below_the_shipped_threshold(
    scene: Scene,
) -> None:
    scene.fault((LOUD.series(), 1.6))
    scene.false_alarm()
    scene.fault((LOUD.series(), 2.2))
    assert "halved" in scene.ack()["marks"][0]["effect"]
    raised = Raises(scene.pipeline.word.marks, scene.host.now_s * S)
    assert raised.of("loudness", "test.loud") == pytest.approx(0.5, abs=0.001)
    for _ in range(20):
        scene.ack()
    shipped = Marks().judge("ack", scene.newest, "bob", NOW)[0]
    assert Raises(shipped, NOW).of("loudness", "test.loud") == 0


def test_an_incident_that_was_real_does_not_count_against_the_budget(scene: Scene) -> None:
    scene.fault((LOUD.series(), 1.6))
    budget = scene.pipeline.detection.decider.budget
    assert [one.real for one in budget.clusters] == [False]
    number = scene.ack()["marks"][0]["number"]
    assert [one.real for one in budget.clusters] == [True]
    scene.desk.answer(Undo(number=number, by="bob"))
    assert [one.real for one in budget.clusters] == [False]


def test_undo_restores_exactly(scene: Scene) -> None:
    scene.fault((LOUD.series(), 1.6), (DISK.series("sda"), 1.4))
    scene.false_alarm()
    scene.host.tick(scene.quiet)
    before = scene.pipeline.word.lenience("loudness").copy()
    marks = scene.pipeline.word.marks.marks
    verdict = scene.newest.verdict
    number = scene.ack()["marks"][0]["number"]
    silence = scene.desk.answer(Silence(by="bob", resource="disk"))["marks"][0]["number"]
    scene.host.tick(scene.quiet)
    assert not np.array_equal(scene.pipeline.word.lenience("loudness"), before)
    again = scene.desk.answer(Undo(number=number, by="bob"))["again"]
    assert [one["word"] for one in again] == ["false-alarm"]
    scene.desk.answer(Undo(number=silence, by="bob"))
    scene.host.tick(scene.quiet)
    assert scene.pipeline.word.marks.marks == marks
    assert scene.newest.verdict == verdict
    now = scene.pipeline.word.lenience("loudness")
    assert now == pytest.approx(before, abs=1e-6)  # four seconds of wearing off
    with pytest.raises(FeedbackError, match="there is no mark 99"):
        scene.desk.answer(Undo(number=99, by="bob"))


def test_a_number_is_never_given_twice(scene: Scene) -> None:
    scene.fault((LOUD.series(), 1.6))
    assert scene.false_alarm()["marks"][0]["number"] == 1
    scene.desk.answer(Undo(number=1, by="bob"))
    assert scene.false_alarm()["marks"][0]["number"] == 2


def test_a_restart_keeps_what_was_said(simulated_host: type[Any], tmp_path: Path) -> None:
    scene = Scene(simulated_host, tmp_path)
    scene.fault((LOUD.series(), 1.6))
    scene.false_alarm(note="the backup")
    scene.desk.answer(Silence(by="bob", target="test.disk*", seconds=3600.0))
    marks = scene.pipeline.word.marks
    again = Scene(simulated_host, tmp_path, scene.host.now_s)
    assert again.pipeline.word.marks == marks
    assert again.newest.verdict is not None
    assert (again.newest.verdict.word, again.newest.verdict.by) == ("false-alarm", "alice")
    assert again.fault((LOUD.series(), 1.6)) == []
    assert again.fault((DISK.series("sda"), 60.0)) == []
    assert len(again.fault((LOUD.series(), 2.2))) == 1


def test_the_verdict_goes_out_with_an_update_of_the_incident(scene: Scene) -> None:
    scene.fault((LOUD.series(), 1.6))
    resolved = scene.newest
    scene.false_alarm(note="the backup")
    signal, body = scene.host.spool.entries[-1]
    request = ExportLogsServiceRequest.FromString(body)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    told = {one.key: one.value for one in record.attributes}
    assert record.event_name == "vedette.incident.updated"
    assert record.severity_text == "info"
    assert told["vedette.incident.id"].string_value == resolved.id
    assert told["vedette.incident.state"].string_value == "resolved"
    assert told["vedette.incident.verdict.word"].string_value == "false-alarm"
    assert told["vedette.incident.verdict.by"].string_value == "alice"
    assert told["vedette.incident.verdict.note"].string_value == "the backup"
    assert told["vedette.incident.updated"].int_value > resolved.updated_ns
    assert signal == "logs"
    assert scene.host.told[-1].previous == resolved


def test_what_cannot_be_kept_is_not_done(scene: Scene, tmp_path: Path) -> None:
    scene.fault((LOUD.series(), 1.6))
    (tmp_path / "feedback.json.new").mkdir()  # in the way of the file
    with pytest.raises(IsADirectoryError):
        scene.false_alarm()
    assert scene.pipeline.word.marks == Marks()
    assert scene.newest.verdict is None
    assert len(scene.fault((LOUD.series(), 1.6))) == 1


# ---------------------------------------------------------------- mutes


def test_a_mute_silences_until_it_expires_to_the_second(scene: Scene) -> None:
    series = LOUD.series()
    scene.desk.answer(Silence(by="bob", target="test.loud", seconds=30.0))
    for _ in range(29):
        assert scene.host.tick({**scene.quiet, series: 9.0}) == []
    assert scene.pipeline.view.findings == 0
    scene.host.tick({**scene.quiet, series: 9.0})
    assert scene.pipeline.view.findings == 1
    told = [one for _ in range(5) for one in scene.host.tick({**scene.quiet, series: 9.0})]
    assert [one.change for one in told] == ["opened"]


def test_a_mute_holds_for_rules_and_for_series_that_come_later(scene: Scene) -> None:
    scene.desk.answer(Silence(by="bob", resource="disk"))
    late = DISK.series("sdz")
    assert scene.fault((DISK.series("sda"), 60.0), (late, 60.0)) == []
    assert len(scene.fault((LOUD.series(), 1.6))) == 1


def test_the_series_of_an_incident_are_muted_by_its_id_and_unmuted_again(scene: Scene) -> None:
    scene.fault((DISK.series("sda"), 2.0))
    told = scene.desk.answer(Silence(by="bob", target=scene.newest.id))["marks"][0]
    assert told["effect"] == "silent until it is taken back, 1 series at present"
    assert scene.fault((DISK.series("sda"), 9.0)) == []
    scene.desk.answer(Unmute(target="last"[:0] + scene.newest.id[:12], by="bob"))
    assert len(scene.fault((DISK.series("sda"), 9.0))) == 1


def test_all_conditions_of_a_mute_must_hold(scene: Scene) -> None:
    mute = scene.desk.answer(Silence(by="bob", target="*=sda}", resource="disk"))["marks"][0]
    assert "1 series at present" in mute["effect"]
    assert scene.fault((DISK.series("sda"), 2.0)) == []
    assert len(scene.fault((DISK.series("sdb"), 2.0))) == 1


def test_a_mute_needs_to_be_about_something(scene: Scene) -> None:
    with pytest.raises(FeedbackError, match="mute what"):
        scene.desk.answer(Silence(by="bob"))
    with pytest.raises(FeedbackError, match=r"no incident 'nosuch' is known.*--resource"):
        scene.desk.answer(Silence(by="bob", target="nosuch"))
    with pytest.raises(FeedbackError, match="give the pattern once"):
        scene.desk.answer(Silence(by="bob", target="a*", series="b*"))
    with pytest.raises(FeedbackError, match="no mute is called 'x'; none is"):
        scene.desk.answer(Unmute(target="x", by="bob"))
