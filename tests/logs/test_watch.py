"""The watch over a source: what is told, once, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.logs.entry import Severity
from vedette.logs.signals import KINDS, Fresh, LogSignal, SlotSeen, Step
from vedette.logs.surprise import RINGS
from vedette.logs.watch import VERSION, Watch, WatchState

S = 1_000_000_000
BEGIN = 1_700_000_000 * S
HOUR = 3600
BEAT, ERROR, OTHER = 1, 2, 3


class Feeder:
    """Feeds a watch second by second: a heartbeat, errors now and then, other lines at random."""

    def __init__(self, watch: Watch, seed: int = 1) -> None:
        self.watch, self.at, self.rng = watch, 0, np.random.default_rng(seed)
        self.seen: set[int] = set()

    def run(
        self,
        seconds: int,
        extra: Callable[[int], dict[int, int]] = lambda _: {},
        *,
        beats: bool = True,
        **given: Any,
    ) -> list[LogSignal]:
        """Feed some seconds, with more lines by the second since; return what began to ring."""
        found = []
        for since in range(seconds):
            counts = {OTHER + one: 1 for one in range(20) if self.rng.random() < 0.3}
            if self.at % 20 == 0 and beats:
                counts[BEAT] = 1
            if self.at % 900 == 0:
                counts[ERROR] = 1
            counts |= extra(since)
            found += self.watch.observe(self.now(), counts, self.fresh(counts), **given)
            self.at += 1
        return found

    def now(self) -> int:
        return BEGIN + self.at * S

    def fresh(self, counts: dict[int, int]) -> list[Fresh]:
        """Return the templates never fed before: from 1000 on what never means well."""
        new = [one for one in counts if one not in self.seen]
        self.seen.update(new)
        return [Fresh(one, self.text(one), self.severity(one)) for one in new]

    @staticmethod
    def text(one: int) -> str:
        return "CUDA out of memory" if one >= 1000 else f"message {one}"

    @staticmethod
    def severity(one: int) -> Severity:
        return Severity.ERROR if one == ERROR or one >= 100 else Severity.INFO


SAVED = Watch("nginx")
WARM = Feeder(SAVED)
TOLD_WARM = WARM.run(4 * HOUR)


@pytest.fixture
def warm() -> Feeder:
    """Return a source four hours old."""
    watch = Watch("nginx", text_of=Feeder.text)
    assert watch.restore(SAVED.save())
    feeder = Feeder(watch, seed=2)
    feeder.at, feeder.seen = WARM.at, set(WARM.seen)
    return feeder


def test_nothing_is_told_of_an_ordinary_source(warm: Feeder) -> None:
    assert TOLD_WARM == []
    assert warm.run(600) == []
    assert warm.watch.active() == []


def test_a_burst_of_errors_is_told_at_once_and_only_once(warm: Feeder) -> None:
    found = warm.run(20, lambda since: {ERROR: 71} if since < 3 else {})
    assert [(one.kind, one.template_id, one.severity) for one in found] == [
        ("burst", ERROR, Severity.ERROR)
    ]
    signal = found[0]
    assert signal.source == "nginx"
    assert signal.since_ns - (BEGIN + WARM.at * S) <= 1 * S
    assert "message 2" in signal.text
    (active,) = warm.watch.active()
    assert active.count >= 213
    assert warm.watch.strangeness("burst") >= RINGS
    warm.run(60)
    assert warm.watch.active() == []
    assert warm.watch.strangeness("burst") < RINGS


def test_a_burst_that_comes_again_soon_goes_on_and_one_that_comes_late_is_told_anew(
    warm: Feeder,
) -> None:
    burst = {ERROR: 214}
    assert len(warm.run(200, lambda since: burst if not since else {})) == 1
    assert warm.watch.active() == []
    assert warm.run(5, lambda since: {ERROR: 700} if not since else {}) == []
    assert [one.count for one in warm.watch.active()] == [914]
    warm.run(2000)
    assert len(warm.run(5, lambda since: {ERROR: 3000} if not since else {})) == 1


def test_a_new_error_is_told(warm: Feeder) -> None:
    found = warm.run(5, lambda since: {100: 1} if since == 2 else {})
    assert [(one.kind, one.text) for one in found] == [
        ("new_template", "never seen before: message 100")
    ]


def test_several_new_templates_at_once_are_one_signal(warm: Feeder) -> None:
    found = warm.run(5, lambda since: {100: 1, 101: 1, 50: 2} if since == 2 else {})
    assert len(found) == 1
    assert "(and 2 more)" in found[0].text


def test_a_heartbeat_that_stops_is_told_and_ends_when_it_comes_again(warm: Feeder) -> None:
    found = warm.run(300, beats=False)
    assert [(one.kind, one.template_id) for one in found] == [("silence", BEAT)]
    assert warm.watch.strangeness("silence") >= RINGS
    warm.run(40)
    assert warm.watch.strangeness("silence") == 0


def test_a_source_that_stops_is_one_signal(warm: Feeder) -> None:
    for _ in range(HOUR // 2):
        warm.watch.observe(warm.now(), {})
        warm.at += 1
    assert [one.kind for one in warm.watch.active()] == ["silence"]


def test_a_value_outside_of_a_vocabulary_is_told(warm: Feeder) -> None:
    seen = SlotSeen(OTHER, 0, values=(b"UP", b"UP"))
    assert warm.run(HOUR // 2, slots=[seen]) == []
    found = warm.run(1, slots=[SlotSeen(OTHER, 0, values=(b"DEGRADED",))])
    assert [one.kind for one in found] == ["slot"]
    assert "DEGRADED" in found[0].text


def sessions(feeder: Feeder, count: int, steps: tuple[int, ...]) -> list[LogSignal]:
    found = []
    for _ in range(count):
        key = b"s%d" % feeder.at
        found += feeder.run(2, steps=[Step(key, one) for one in steps])
    return found


def test_a_step_never_seen_and_a_session_without_its_end_are_told(warm: Feeder) -> None:
    watch = warm.watch
    watch.sessions.idle_s = watch.sessions.unsure_until_s = 30.0
    assert sessions(warm, 400, (3, 4, 5)) == []
    found = sessions(warm, 20, (3, 5)) + warm.run(60)
    assert {one.kind for one in found} >= {"order", "session"}
    session = next(one for one in found if one.kind == "session")
    assert "message" in session.text


# ---------------------------------------------------------------- calm, clocks, merges


def test_a_calm_tells_nothing_but_what_never_means_well(warm: Feeder) -> None:
    until = warm.now() + 60 * S

    def deploy(since: int) -> dict[int, int]:
        return {ERROR: 90, 100 + since: 1} if since < 5 else {}

    assert warm.run(30, deploy, calm_until_ns=until) == []
    assert warm.watch.strangeness("burst") == 0
    found = warm.run(1, lambda _: {1000: 1}, calm_until_ns=until)
    assert [one.kind for one in found] == ["new_template"]


def test_a_heartbeat_that_a_deploy_ended_is_told_when_the_calm_is_over(warm: Feeder) -> None:
    until = warm.now() + 400 * S
    assert warm.run(400, beats=False, calm_until_ns=until) == []
    assert [one.kind for one in warm.run(5, beats=False)] == ["silence"]


def test_a_start_without_ready_is_told_during_a_calm_too(warm: Feeder) -> None:
    start, ready = 60, 61

    def starts(*, well: bool) -> Callable[[int], dict[int, int]]:
        return lambda since: {start: 1} if not since else {ready: 1} if well and since == 3 else {}

    for _ in range(60):
        assert warm.run(200, starts(well=True)) == []
    until = warm.now() + 200 * S
    found = warm.run(100, starts(well=False), calm_until_ns=until)
    assert [(one.kind, one.template_id) for one in found] == [("missing", ready)]


def test_a_stopped_agent_is_no_silence(warm: Feeder) -> None:
    warm.at += 10 * HOUR
    assert warm.run(60) == []


def test_a_clock_set_back_is_no_reason_for_anything(warm: Feeder) -> None:
    warm.at -= 5 * HOUR
    assert warm.run(600) == []


def test_a_merged_template_is_not_missed(warm: Feeder) -> None:
    warm.watch.merge(BEAT, 77)
    assert warm.run(600, beats=False) == []
    assert 77 in warm.watch.rhythm.rows


# ---------------------------------------------------------------- the disk


def test_what_was_learned_survives_the_disk(warm: Feeder) -> None:
    again = Watch("nginx")
    assert again.restore(warm.watch.save())
    assert again.save() == warm.watch.save()
    found = again.observe(warm.now(), {ERROR: 214})
    assert [one.kind for one in found] == ["burst"]


def test_a_state_of_another_version_or_damaged_is_not_taken(warm: Feeder) -> None:
    import msgspec

    saved = warm.watch.save()
    state = msgspec.msgpack.decode(saved, type=WatchState)
    other = msgspec.structs.replace(state, version=VERSION + 1)
    cut = msgspec.structs.replace(
        state, rhythm=msgspec.structs.replace(state.rhythm, floats=state.rhythm.floats[:-4])
    )
    for bad in (msgspec.msgpack.encode(other), msgspec.msgpack.encode(cut), saved[:-1], b"", b"x"):
        watch = Watch("nginx")
        assert watch.restore(bad) is False
        assert watch.rhythm.rows == {}


@given(st.binary(max_size=200))
def test_any_bytes_are_no_reason_to_raise(saved: bytes) -> None:
    Watch("x").restore(saved)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-5, 4000),
            st.dictionaries(st.integers(0, 30), st.integers(1, 10_000), max_size=6),
            st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 30)), max_size=6),
            st.sampled_from(list(Severity)),
        ),
        max_size=40,
    )
)
def test_any_ticks_are_taken(ticks: list[Any]) -> None:
    watch, at = Watch("x", idle_s=5.0), BEGIN
    for step, counts, lines, severity in ticks:
        at += step * S
        new = [Fresh(one, "text", severity) for one in counts]
        slots = [SlotSeen(one, 0, (float(n),), (b"%d" % n,)) for one, n in counts.items()]
        watch.observe(at, counts, new, steps=[Step(*one) for one in lines], slots=slots)
        assert all(watch.strangeness(kind) >= 0 for kind in KINDS)
    assert Watch("x").restore(watch.save())
