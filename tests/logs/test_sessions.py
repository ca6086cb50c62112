"""Sessions: keys, verdicts, and the sessions that run."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs import sessions as sessions_module
from vedette.logs.profile import MAX_SIGNATURES, CountProfile
from vedette.logs.sessions import (
    ModelState,
    OpenSessions,
    Precedence,
    SessionKey,
    SessionModel,
    Spans,
    Verdict,
    explain,
)

OPEN, READ, WRITE, SYNC, CLOSE, ERROR, RETRY = range(1, 8)


def session(random: Random) -> list[int]:
    """Return a session: reads at will, as many syncs as writes, opened and closed."""
    writes = random.choice((0, 1, 2, 2, 3))
    middle = [READ] * random.randint(0, 12)
    for _ in range(writes):
        at = random.randint(0, len(middle))
        middle[at:at] = [WRITE, SYNC]
    if random.random() < 0.05:
        middle.append(RETRY)
    return [OPEN, *middle, CLOSE]


def model(count: int = 3000, *, trusted: bool = True) -> SessionModel:
    random = Random(1)
    found = SessionModel(trusted=trusted)
    found.fit_stream(session(random) for _ in range(count))
    return found


MODEL = model()
BROKEN = {
    "never closed": [OPEN, READ, WRITE, SYNC],
    "write without sync": [OPEN, WRITE, SYNC, WRITE, READ, CLOSE],
    "never seen": [OPEN, READ, ERROR, CLOSE],
    "far too many": [OPEN, *[WRITE, SYNC] * 40, CLOSE],
    "closed before the read": [OPEN, CLOSE, READ, READ, WRITE, SYNC],
    "sync before write": [OPEN, READ, SYNC, WRITE, CLOSE],
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_session_is_odd(name: str) -> None:
    verdict = MODEL.judge(BROKEN[name])
    assert verdict.is_odd, verdict
    assert verdict.reasons


def test_one_ordinary_session_in_a_hundred_is_odd_at_most() -> None:
    random = Random(2)
    odd = sum(MODEL.judge(session(random)).is_odd for _ in range(3000))
    assert odd <= 30


def test_what_a_few_of_the_learned_ones_had_is_still_odd() -> None:
    random = Random(3)
    mixed = SessionModel()
    for at in range(3000):
        mixed.learn(BROKEN["never closed"] if at % 200 == 0 else session(random))
    assert mixed.judge(BROKEN["never closed"]).is_odd


def test_the_reason_names_the_template() -> None:
    first = MODEL.judge(BROKEN["never closed"]).reasons[0]
    assert (first.template_id, first.what) == (CLOSE, "is missing")
    assert explain(first, "closed") == "'closed' is missing"
    unknown = MODEL.judge(BROKEN["never seen"]).reasons
    assert ERROR in {one.template_id for one in unknown}


def test_what_varies_freely_says_nothing() -> None:
    assert MODEL.judge([OPEN, *[READ] * 12, CLOSE]).score < 3


def test_a_count_off_what_is_nearly_fixed_is_stranger_than_a_large_one_of_what_varies() -> None:
    random, profile = Random(5), CountProfile()
    for at in range(4000):
        free = 1 + int(random.expovariate(0.5))
        profile.learn({1: 1, 2: free, 3: 2 if at % 200 == 0 else 3, 4: 1 + at % 7})
    large, off = {1: 1, 2: 13, 3: 3, 4: 3}, {1: 1, 2: 2, 3: 2, 4: 3}
    assert profile.judge(off)[0] > profile.judge(large)[0] + 1
    assert profile.judge(large)[0] < 4


def test_what_was_over_before_another_began_must_not_go_on_after_it() -> None:
    precedence = Precedence()
    for _ in range(1000):
        precedence.learn(Spans([OPEN, WRITE, WRITE, CLOSE, SYNC]))
    assert precedence.judge(Spans([OPEN, WRITE, CLOSE, SYNC])) is None
    reason = precedence.judge(Spans([OPEN, WRITE, CLOSE, WRITE, SYNC]))
    assert reason is not None
    assert (reason.template_id, reason.what) == (CLOSE, "comes too early")
    assert precedence.judge(Spans([SYNC, OPEN])) is not None


def test_a_common_signature_is_ordinary_whatever_the_tree_says() -> None:
    profile = CountProfile()
    for _ in range(100):
        profile.learn({1: 1, 2: 5})
    for _ in range(100):
        profile.learn({1: 3})
    assert profile.judge({1: 3})[0] <= 1


def test_there_is_no_opinion_without_a_history() -> None:
    young = SessionModel()
    young.fit_stream([[1, 2]] * 10)
    assert young.judge([7, 8, 9]) == Verdict(0.0)
    assert SessionModel().judge([]).score == 0


def test_a_grave_template_weighs_more_where_it_is_seldom() -> None:
    plain, weighed = model(), model()
    weighed.weigh(RETRY, 2.0)
    weighed.weigh(OPEN, 2.0)
    with_retry, without = [OPEN, READ, RETRY, CLOSE], [OPEN, READ, CLOSE]
    gain = weighed.judge(with_retry).score - plain.judge(with_retry).score
    assert gain == pytest.approx(2.0, abs=0.01)
    assert weighed.judge(without) == plain.judge(without)


def test_what_was_learned_survives_the_disk() -> None:
    saved = msgspec.msgpack.encode(MODEL.save())
    again = SessionModel(trusted=True)
    again.restore(msgspec.msgpack.decode(saved, type=ModelState))
    for one in [*BROKEN.values(), session(Random(9))]:
        assert again.judge(one) == MODEL.judge(one)


def test_a_signature_that_was_seen_is_ordinary_where_all_that_was_learned_is() -> None:
    seldom = {1: 1, 2: 9, 3: 4}
    for trusted in (False, True):
        profile = CountProfile(trusted=trusted)
        for at in range(5000):
            profile.learn(seldom if at % 1500 == 0 else {1: 1, 2: 1})
        assert (profile.judge(seldom)[0] > 5) is not trusted
        assert profile.judge({1: 1, 2: 9, 3: 5})[0] > 5


def test_a_model_is_bounded() -> None:
    random, profile = Random(4), CountProfile(size=200)
    for _ in range(6000):
        profile.learn({random.randrange(10_000): random.randrange(1, 500) for _ in range(6)})
    state = profile.save()
    assert len(state.sample) == 200
    assert len(state.signatures) <= MAX_SIGNATURES
    assert len(state.prevalence) <= 4096


@given(st.lists(st.lists(st.integers(0, 2**50), max_size=20), max_size=80))
def test_any_sessions_are_taken_and_judged(many: list[list[int]]) -> None:
    found = SessionModel(size=16)
    found.fit_stream(many)
    for one in many:
        assert found.judge(one).score >= 0


@given(st.lists(st.integers(0, 6), max_size=40))
def test_spans_are_what_the_sequence_says(lines: list[int]) -> None:
    spans = Spans(lines)
    assert spans.counts == {one: lines.count(one) for one in set(lines)}
    assert spans.first == {one: lines.index(one) + 1 for one in set(lines)}
    assert all(lines[at - 1] == one for one, at in spans.last.items())
    assert all(one not in lines[at:] for one, at in spans.last.items())


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("pattern", "line", "keys"),
    [
        (r"(blk_-?\d+)", b"Receiving block blk_-160 src: /10.0.0.1", [b"blk_-160"]),
        (r"blk_-?\d+", b"Receiving block blk_7", [b"blk_7"]),
        (r"(blk_\d+)", b"ask 10.0.0.1 to delete blk_1 blk_22 blk_1", [b"blk_1", b"blk_22"]),
        (r"req=(\w+)", b"GET / req=ab1 200", [b"ab1"]),
        (r"req=(\w+)", b"GET / 200", []),
        (r"(x)?y", b"y", []),
        (r"(.+)", b"a" * 500, [b"a" * 128]),
    ],
)
def test_keys_are_the_first_group_or_all_that_matches(
    pattern: str, line: bytes, keys: list[bytes]
) -> None:
    assert SessionKey(pattern).of(line) == keys


def test_a_line_has_a_bounded_number_of_keys() -> None:
    assert len(SessionKey(r"k\d+").of(b" ".join(b"k%d" % one for one in range(9999)))) == 256


def test_no_regular_expression_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="unterminated"):
        SessionKey("blk_(")


# ---------------------------------------------------------------- open sessions


def lines(open_sessions: OpenSessions, key: bytes, at: float, steps: list[int]) -> list[float]:
    return [open_sessions.step(at, key, one)[0] for one in steps]


def test_a_session_ends_when_it_is_idle_and_is_then_learned() -> None:
    found = OpenSessions(idle_s=60.0)
    found.unsure_until_s = 0.0
    lines(found, b"a", 0.0, [OPEN, READ, CLOSE])
    lines(found, b"b", 50.0, [OPEN, CLOSE])
    assert [one.key for one in found.idle(61.0)] == [b"a"]
    assert found.model.profile.sessions == 1
    assert len(found) == 1
    ended = found.idle(200.0)
    assert [(one.key, one.lines, one.began_s) for one in ended] == [(b"b", 2, 50.0)]


def test_a_session_that_may_have_begun_before_is_not_judged() -> None:
    found = OpenSessions(idle_s=60.0)
    lines(found, b"a", 10.0, [READ, CLOSE])
    assert found.idle(500.0) == []
    assert found.model.profile.sessions == 0


def test_the_open_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_OPEN", 100)
    found = OpenSessions()
    found.unsure_until_s = 0.0
    gone = [found.step(float(at), b"%d" % at, OPEN)[1] for at in range(150)]
    assert len(found) == 100
    assert found.evicted == 50
    assert [one.key for one in gone if one] == [b"%d" % at for at in range(50)]


def test_an_unseen_step_is_strange_while_the_session_runs() -> None:
    found = OpenSessions()
    found.unsure_until_s = 0.0
    for at in range(500):
        lines(found, b"%d" % at, float(at), [OPEN, READ, CLOSE])
    assert lines(found, b"x", 501.0, [OPEN, CLOSE])[1] > 6
    assert lines(found, b"y", 502.0, [OPEN, READ, CLOSE]) == [0, 0, 0]


def test_running_and_whole_sessions_get_the_same_verdict() -> None:
    found = OpenSessions(idle_s=1.0)
    found.unsure_until_s = 0.0
    found.model = model()
    whole = model().judge(BROKEN["never closed"])
    for template in BROKEN["never closed"]:
        found.step(10.0, b"x", template)
    closed = found.close(b"x")
    assert closed is not None
    assert closed.verdict.score == pytest.approx(whole.score, rel=0.01)
