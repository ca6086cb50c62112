"""What happened on a host is remembered for an hour, and named where it may be the cause."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vedette.api import Event, Series, Window
from vedette.causes import MAX_EVENTS, MAX_TEXT, Events, clause, suspect
from vedette.happenings import Happenings

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import START, S, series

ONSET = START * S


def event(before_s: float, kind: str = "restart", entity: str = "", text: str = "it") -> Event:
    return Event(ONSET - int(before_s * S), kind, entity, text)


def texts(events: Events, families: Sequence[str] = ("cpu",), names: Sequence[str] = ()) -> str:
    return " ".join(one.text for one in events.before(ONSET, families, names))


def noted(*given: Event) -> Events:
    events = Events()
    for one in given:
        events.note(one)
    return events


def test_only_what_was_ten_minutes_before_to_half_a_minute_after_may_be_the_cause() -> None:
    events = noted(
        event(601, "a", text="old"),
        event(600, "b", text="first"),
        event(-30, "c", text="late"),
        event(-31, "d", text="after"),
    )
    assert texts(events) == "late first"


def test_what_names_a_thing_of_the_incident_comes_first_and_the_agent_last() -> None:
    events = noted(
        event(1, "agent", text="agent"),
        event(5, "config", text="near"),
        event(300, "restart", "nginx.service", "nginx"),
    )
    assert texts(events, names=("nginx",)) == "nginx near agent"
    assert texts(events, names=("apache",)) == "near agent"


def test_what_was_done_to_something_else_is_a_cause_for_a_shorter_time() -> None:
    events = noted(event(180, "restart", "nginx.service", "nginx"), event(181, "restart", "b", "b"))
    assert texts(events, names=("apache",)) == "nginx"
    events = noted(
        event(400, "deploy", "127.0.0.1:8000", "own"),
        event(60, "deploy", "127.0.0.1:9000", "behind it"),
        event(61, "deploy", "127.0.0.1:7000", "another"),
    )
    assert texts(events, ("model",), ("vllm", "127.0.0.1:8000")) == "own behind it"
    assert texts(events, ("model", "cpu"), ("vllm",)) == "behind it another"


def test_that_the_agent_was_started_is_a_cause_for_a_minute() -> None:
    assert texts(noted(event(60, "agent", text="the agent was started"))) != ""
    assert texts(noted(event(61, "agent", text="the agent was started"))) == ""


def test_that_a_server_fell_silent_is_no_cause_of_its_own_silence() -> None:
    events = noted(event(10, "outage", "127.0.0.1:8000", "the engine stopped answering"))
    assert texts(events, ("model",), ("vllm", "127.0.0.1:8000")) == ""
    assert texts(events, ("model",), ("litellm", "127.0.0.1:4000")) != ""


def test_a_kernel_message_is_named_where_it_concerns_the_family_alone() -> None:
    events = noted(event(5, "kernel", "io_error", "io"), event(5, "kernel", "oom_kill", "oom"))
    assert texts(events, ("disk",)) == "io"
    assert texts(events, ("paging",)) == "oom"
    assert texts(events, ("network",)) == ""


def test_what_was_done_to_a_gpu_is_no_cause_of_what_has_none() -> None:
    events = noted(event(5, "gpu", "0000:17:00.0", "the power limit was lowered"))
    assert texts(events, families=("model",)) == "the power limit was lowered"
    assert texts(events, families=("disk",)) == ""


def test_of_the_same_thing_twice_the_nearest_counts() -> None:
    events = noted(
        event(50, "restart", "web", "far"),
        event(10, "restart", "web", "near"),
        event(10.5, "restart", "web", "same"),
    )
    assert len(events) == 2
    assert texts(events) == "near"


def test_events_are_bounded_in_number_age_and_length() -> None:
    events = Events()
    for second in range(5_000):
        events.note(Event(second * 2 * S, "restart", str(second), "x " * 500))
    assert len(events) == MAX_EVENTS
    (newest, *_) = events.before(9_998 * S, (), ())
    assert len(newest.text) <= MAX_TEXT
    events.note(Event(20_000 * S, "reboot", "", "the host was started"))
    assert len(events) == 1


@pytest.mark.parametrize(
    ("before_s", "words", "reason"),
    [
        (20, "shortly after web restarted", "20 s before it began"),
        (60, "shortly after web restarted", "60 s before it began"),
        (200, "3 min after web restarted", "3 min before it began"),
        (-10, "about when web restarted", "10 s after it began"),
    ],
)
def test_an_event_is_told_by_its_distance(before_s: float, words: str, reason: str) -> None:
    named = suspect(event(before_s, "restart", "web", "web restarted"), ONSET, lambda _: "14:00:00")
    assert clause(named, ONSET) == words
    assert named.reason == f"at 14:00:00, {reason}"
    assert named.label == "event restart (web)"


def window(readings: dict[Series, float], generation: int = 1) -> Window:
    values = np.array([[math.nan, value] for value in readings.values()], dtype=np.float32)
    time = np.array([ONSET - S, ONSET])
    return Window(time, values, [*readings], generation)


def test_counters_of_events_that_grew_are_events() -> None:
    happenings = Happenings()
    quiet = {
        series("vedette.cpu.busy"): 1.0,
        series("vedette.systemd.unit.restarts", "web.service"): 0.0,
        series("vedette.kernel.events", "io_error"): math.nan,
        series("vedette.clock.steps"): 0.0,
    }
    assert happenings.of(window(quiet)) == []
    moved = dict(zip(quiet, (1.0, 0.1, 2.0, math.nan), strict=True))
    assert happenings.of(window(moved)) == [
        Event(ONSET, "restart", "web.service", "unit web.service was restarted after a failure"),
        Event(ONSET, "kernel", "io_error", "the kernel reported an I/O error"),
    ]


def test_rows_are_looked_up_anew_when_the_table_changed() -> None:
    happenings = Happenings()
    assert happenings.of(window({series("vedette.cpu.busy"): 1.0})) == []
    steps = window({series("vedette.clock.steps"): 1.0}, generation=2)
    assert happenings.of(steps) == [Event(ONSET, "clock", "", "the clock was set")]


def test_the_start_of_the_host_is_an_event_once() -> None:
    happenings = Happenings()
    booted = {series("vedette.host.boot_time"): START - 300.0}
    (event,) = happenings.of(window(booted))
    assert (event.kind, event.text) == ("reboot", "the host was started")
    assert abs(event.time_ns - (START - 300) * S) <= 64 * S
    assert happenings.of(window(booted)) == []


def test_what_a_log_says_is_no_cause_of_what_it_does_not_tell_of() -> None:
    for kind in ("log", "silence"):
        events = noted(event(5, kind, "nginx.service", "nginx.service said something"))
        assert events.before(ONSET, ["cpu"], ["stress"]) == ()
        assert len(events.before(ONSET, ["log", "memory"], ["stress"])) == 1
        assert len(events.before(ONSET, ["service"], ["nginx.service"])) == 1
