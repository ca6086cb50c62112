"""What was said of incidents, what follows from it for thresholds, and the file it is kept in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette import feedback_store
from vedette.api import Incident, Series, Strength, gauge
from vedette.feedback import (
    MARKS_MAX,
    UNKNOWN_RATIO,
    FeedbackError,
    Marks,
    Mute,
    Ruling,
    chosen,
)
from vedette.lenience import (
    ELSEWHERE,
    HALF_LIFE_NS,
    HIGHEST,
    HIGHEST_OF_ALL,
    LEFT_BY_ACK,
    MARGIN,
    MARGIN_OF_OTHERS,
    Lenience,
    Raises,
)

S = 1_000_000_000
DAY = 86_400 * S
NOW = 1_795_183_200 * S

LOUD = gauge("test.loud", "1", "A number in a test.", resource="noise")
DISK = gauge("test.disk", "1", "A number in a test.", ("system.device",), resource="disk")


# ---------------------------------------------------------------- how much is raised


KEYS = ("m{d=a}", "m{d=b}", "m{d=c}", "n")
strengths = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(("x", "y")), st.floats(0, 5)),
    min_size=1,
    max_size=5,
    unique_by=lambda one: one[:2],
)
said = st.lists(
    st.tuples(st.sampled_from(("ack", "false-alarm")), st.integers(0, 400), strengths), max_size=8
)


def ruling(number: int, word: Any, time_ns: int, found: Sequence[Any]) -> Ruling:
    return Ruling(
        number=number,
        by="alice",
        time_ns=time_ns,
        word=word,
        incident=f"i{number}",
        title="",
        onset_ns=time_ns - 60 * S,
        ended_ns=time_ns,
        strengths=tuple(Strength(*one) for one in found),
    )


def _margin(one: Strength, mark: Ruling) -> float:
    return MARGIN if one.series == mark.strengths[0].series else MARGIN_OF_OTHERS


def replayed(marks: Sequence[Ruling], head: str, key: str, now_ns: int) -> float:
    """Return what a series is raised by, followed through all marks by itself alone."""
    raised, since = 0.0, 0
    for mark in sorted(marks, key=lambda one: one.time_ns):
        raised *= 0.5 ** ((mark.time_ns - since) / HALF_LIFE_NS)
        since = mark.time_ns
        own = [one for one in mark.strengths if (one.head, one.series) == (head, key)]
        if mark.word == "ack":
            raised *= LEFT_BY_ACK if own else 1
            continue
        amounts = {
            (one.head, one.series): max(
                0.0,
                min(one.ratio * _margin(one, mark), HIGHEST) - 1,
            )
            for one in mark.strengths
        }
        alike = [
            amount
            for (other_head, other), amount in amounts.items()
            if other_head == head and other.partition("{")[0] == key.partition("{")[0]
        ]
        raised += amounts[head, key] if own else ELSEWHERE * max(alike, default=0.0)
    return raised * 0.5 ** ((now_ns - since) / HALF_LIFE_NS)


@given(said)
def test_the_raise_of_a_series_is_what_following_it_alone_gives(marks: Any) -> None:
    base = NOW - 400 * DAY
    judged = [
        ruling(number, word, base + day * DAY + number, found)
        for number, (word, day, found) in enumerate(marks, 1)
    ]
    raises = Raises(Marks(99, tuple(sorted(judged, key=lambda one: one.time_ns))), NOW)
    for key in (*KEYS, "m{d=unheard}", "other"):
        for head in ("x", "y"):
            expected = replayed(judged, head, key, NOW)
            assert raises.of(head, key) == pytest.approx(expected, abs=1e-9)
            later = min(1 + expected / 2, HIGHEST_OF_ALL)
            assert raises.bar(head, key, NOW + HALF_LIFE_NS) == pytest.approx(later, abs=1e-9)


def test_heads_are_raised_apart() -> None:
    marks = Marks(2, (ruling(1, "false-alarm", NOW, [("test.loud", "x", 2.0)]),))
    lenience = Lenience(marks, NOW)
    lenience.heed([LOUD.series()], 1, NOW)
    assert lenience.lenience_of("x").tolist() == [2.5]
    assert lenience.lenience_of("y").tolist() == [1.0]


def test_nothing_is_reckoned_anew_while_nothing_changes() -> None:
    nothing = Lenience(Marks(), NOW)
    assert nothing.heed([LOUD.series()], 1, NOW) is False
    assert len(nothing.lenience_of("x")) == 0
    marks = Marks(2, (ruling(1, "false-alarm", NOW, [("test.loud", "x", 2.0)]),))
    lenience = Lenience(marks, NOW)
    rows: list[Series | None] = [LOUD.series(), None]
    assert lenience.heed(rows, 1, NOW) is True
    made = lenience.lenience_of("x")
    assert lenience.heed(rows, 1, NOW + 3599 * S) is False
    assert lenience.lenience_of("x") is made
    assert lenience.heed(rows, 1, NOW + 3600 * S) is True
    assert lenience.heed(rows, 1, NOW - 5 * S) is True  # the clock was set back


def test_a_row_that_gets_another_series_loses_the_raise_and_the_mute() -> None:
    mute = Mute(number=2, by="bob", time_ns=NOW, pattern="test.loud")
    judged = ruling(1, "false-alarm", NOW, [(DISK.series("sda").key, "x", 2.0)])
    marks = Marks(3, (judged, mute))
    lenience = Lenience(marks, NOW)
    lenience.heed([LOUD.series(), DISK.series("sda"), None], 1, NOW)
    assert lenience.lenience_of("x").tolist() == [np.inf, 2.5, 1.0]
    lenience.heed([DISK.series("sda"), None, LOUD.series()], 2, NOW)
    assert lenience.lenience_of("x").tolist() == [2.5, 1.0, np.inf]


def test_a_mute_of_elsewhere_that_ends_in_no_time_to_come_is_for_ever() -> None:
    mute = Mute(number=1, by="bob", time_ns=NOW, pattern="*", expires_ns=1 << 70)
    lenience = Lenience(Marks(2, (mute,)), NOW)
    lenience.heed([LOUD.series()], 1, NOW)
    assert lenience.lenience_of("x").tolist() == [np.inf]


# ---------------------------------------------------------------- marks


def incident(id: str = "20261130T010000Z-cpu", **given: Any) -> Incident:
    known: dict[str, Any] = {
        "id": id,
        "state": "resolved",
        "severity": "info",
        "resource": "cpu",
        "title": "The CPU is busy",
        "onset_ns": NOW - 90 * S,
        "opened_ns": NOW - 80 * S,
        "updated_ns": NOW,
        "resolved_ns": NOW - 60 * S,
        "series": ("test.loud",),
        "suspects": (),
        "detectors": ("x",),
    }
    return Incident(**known | given)


def test_an_incident_is_named_by_its_id_the_beginning_of_it_or_last() -> None:
    one, two = incident("2026a-cpu"), incident("2026b-cpu", opened_ns=NOW)
    assert chosen([one, two], "last") is two
    assert chosen([one, two], "2026a") is one
    assert chosen([one, incident("2026a")], "2026a").id == "2026a"
    with pytest.raises(FeedbackError, match="several incidents: 2026a-cpu, 2026b-cpu"):
        chosen([one, two], "2026")
    with pytest.raises(FeedbackError, match="no incident 'x'"):
        chosen([one, two], "x")
    with pytest.raises(FeedbackError, match="no incident ''"):
        chosen([one], "")
    with pytest.raises(FeedbackError, match="no incident yet"):
        chosen([], "last")


def test_an_incident_of_unknown_strength_counts_as_a_weak_one() -> None:
    marks, mark = Marks().judge("false-alarm", incident(), "alice", NOW)
    assert mark.strengths == (Strength("test.loud", "x", UNKNOWN_RATIO),)
    assert Raises(marks, NOW).of("x", "test.loud") == pytest.approx(UNKNOWN_RATIO * MARGIN - 1)


def test_real_incidents_of_the_last_week_are_known_with_their_times() -> None:
    marks, _ = Marks().judge("ack", incident(), "alice", NOW)
    marks, _ = marks.judge("false-alarm", incident("other"), "alice", NOW)
    assert marks.real(NOW) == ((NOW - 90 * S, NOW - 60 * S),)
    assert marks.real(NOW + 8 * DAY) == ()
    marks, _ = marks.judge("false-alarm", incident(), "bob", NOW + S)
    assert marks.real(NOW) == ()


def test_no_more_marks_are_kept_than_the_bound_and_what_does_nothing_goes_first() -> None:
    marks, _ = Marks().judge("ack", incident("kept"), "alice", NOW)
    marks, _ = marks.mute("alice", NOW + 1, S, pattern="expired")
    for number in range(MARKS_MAX - 2):
        marks, _ = marks.judge("ack", incident(f"i{number}"), "alice", NOW + 10 * S + number)
    assert len(marks.marks) == MARKS_MAX
    marks, _ = marks.mute("alice", NOW + 100 * S, None, pattern="one")
    assert len(marks.marks) == MARKS_MAX
    assert not any(isinstance(one, Mute) and one.pattern == "expired" for one in marks.marks)
    marks, _ = marks.mute("alice", NOW + 100 * S, None, pattern="two")
    assert marks.of_incident("kept") is None
    assert len(marks.marks) == MARKS_MAX
    full = Marks(
        MARKS_MAX + 1,
        tuple(Mute(number=n, by="a", time_ns=n, pattern="p") for n in range(MARKS_MAX)),
    )
    with pytest.raises(FeedbackError, match="1000 mutes are in force"):
        full.mute("alice", NOW, None, pattern="one more")


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(FeedbackError, match="the note is longer than 500 characters"):
        Marks().judge("ack", incident(), "alice", NOW, "x" * 501)
    with pytest.raises(FeedbackError, match="pattern is longer"):
        Marks().mute("alice", NOW, None, pattern="*" * 300)


def test_marks_of_another_host_are_taken_over_once(tmp_path: Path) -> None:
    there, _ = Marks().judge("false-alarm", incident(), "alice", NOW)
    there, _ = there.mute("alice", NOW, DAY, pattern="m*")
    feedback_store.export(tmp_path / "marks.json", there, "web1")
    carried = feedback_store.read(tmp_path / "marks.json").marks
    assert {one.host for one in carried} == {"web1"}
    here, _ = Marks().judge("ack", incident(), "bob", NOW - S)
    merged, added = here.merge(carried, NOW)
    assert [one.number for one in added] == [2, 3]
    assert merged.verdict(incident().id) == here.verdict(incident().id)  # of this host's own
    assert Raises(merged, NOW).of("x", "test.loud") > 0
    again, none = merged.merge(carried, NOW)
    assert (again, none) == (merged, [])


MUTE = b'{"kind": "mute", "number": 1, "by": "a", "time_ns": 1}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": 1, "marks": [{"kind": "nonsense"}]}',
        b'{"version": 2, "marks": []}',
        b'{"version": 1, "marks": [%b, %b]}' % (MUTE, MUTE),
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "feedback.json").write_bytes(content)
    assert feedback_store.load(tmp_path) == Marks()
    assert (tmp_path / "feedback.json.broken").read_bytes() == content
    assert not (tmp_path / "feedback.json").exists()
    assert "feedback is not understood, set aside" in caplog.text


def test_a_saved_file_reads_back_the_same(tmp_path: Path) -> None:
    marks, _ = Marks().judge("false-alarm", incident(), "alice", NOW, "a note")
    marks, _ = marks.mute("bob", NOW, None, incident=incident(), resource="cpu")
    marks, _ = marks.undo(1)
    feedback_store.save(tmp_path, marks)
    assert feedback_store.load(tmp_path) == marks
    assert [one.name for one in tmp_path.iterdir()] == ["feedback.json"]
