"""The life of models on one host: trained, tried, promoted, taken back, and over a crash."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from model_cases import (
    HOUR,
    MINUTE,
    START,
    MinuteHost,
    Plain,
    PlainConfig,
    all_series,
    base,
    digest,
    make,
    noise,
)
from vedette.decide import Decider
from vedette.detection import Judged
from vedette.models import ModelError, Word
from vedette.models.catalogue import DIRECTORY, read
from vedette.models.history import entries, verify
from vedette.models.probation import Probation
from vedette.testing import window as window_of

SERIES = all_series(20)
DAY = noise(1, 60 * 24 * 4, 20)
SCREAM, WHISPER = {"scream": 20}, {"scream": 3}


def events(state_dir: Path) -> list[tuple[str, str]]:
    return [(one.event, one.version) for one in entries(state_dir / DIRECTORY)]


def warm_host(state_dir: Path, hours: int = 14, **more: Any) -> MinuteHost:
    host = MinuteHost(state_dir, **more)
    host.run(DAY[: 60 * hours], SERIES)
    return host


def test_a_model_lives_through_all_of_it(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    assert host.champion == "plain-1"

    # Trained on what was kept, tried, and better by the rules after six hours.
    assert host.command(lambda: host.models.train("plain")) == "plain-2"
    assert host.status("plain-2") == "shadow"
    host.run(DAY[60 * 14 : 60 * 19], SERIES)
    assert host.status("plain-2") == "shadow"
    assert host.champion == "plain-1"
    host.run(DAY[60 * 19 : 60 * 21], SERIES)
    assert host.champion == "plain-2"
    assert host.status("plain-1") == "retired"

    # One that cries wolf is rejected, with the reasons.
    host.command(lambda: host.models.train("plain", SCREAM))
    host.run(DAY[60 * 21 : 60 * 28], SERIES)
    assert host.champion == "plain-2"
    bad = next(one for one in host.models.view.versions if one.id == "plain-3")
    assert bad.status == "rejected"
    assert any("findings, the champion had" in one for one in bad.reasons)
    assert host.told == []

    # Forced upon the host, it is taken back as soon as it rings.
    with pytest.raises(ModelError, match="nothing is known of how it compares"):
        host.command(lambda: host.models.promote("plain-3"))
    host.command(lambda: host.models.promote("plain-3", force=True))
    assert host.champion == "plain-3"
    host.run(DAY[60 * 28 : 60 * 31], SERIES)
    assert host.champion == "plain-2"
    bad = next(one for one in host.models.view.versions if one.id == "plain-3")
    assert bad.status == "rejected"
    assert "since its promotion" in bad.reasons[0]
    assert host.pipeline.view.findings == 0

    assert events(tmp_path) == [
        ("started", "plain-1"),
        ("training", "plain-2"),
        ("trained", "plain-2"),
        ("promoted", "plain-2"),
        ("training", "plain-3"),
        ("trained", "plain-3"),
        ("rejected", "plain-3"),
        ("promoted", "plain-3"),
        ("rolled back", "plain-3"),
    ]
    proof = verify(tmp_path / DIRECTORY)
    assert (proof.entries, proof.broken) == (9, None)
    promoted = entries(tmp_path / DIRECTORY)[3]
    assert promoted.figures["champion_findings"] == 0
    assert promoted.figures["seconds"] >= 6 * 3600
    data = promoted.versions[0].data
    assert (data.origin, data.series) == ("kept readings", 20)
    assert data.readings == 20 * 60 * 13  # the hour at hand is not written yet


def test_a_trained_model_begins_with_what_it_learned_and_goes_on(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    host.command(lambda: host.models.train("plain"))
    shadow = host.models.shadows["plain"]
    row = host.pipeline.table.row(SERIES[3])
    assert row is not None
    assert shadow.learned.arrays["plain"]["seen"][row] == 60 * 13
    mine = host.pipeline.detection.learned.arrays["plain"]["mean"][row]
    assert shadow.learned.arrays["plain"]["mean"][row] == pytest.approx(mine, rel=0.02)
    host.run(DAY[:10], SERIES)
    assert shadow.learned.arrays["plain"]["seen"][row] == 60 * 13 + 10


def test_a_shadow_tells_nobody(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    host.command(lambda: host.models.train("plain", SCREAM))
    host.run(DAY[:200], SERIES)
    assert host.models.shadows["plain"].rang
    assert host.told == []
    assert host.pipeline.detection.decider.open == 0


def test_rolling_back_closes_the_findings_and_gives_back_what_was_learned(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    host.command(lambda: host.models.train("plain", WHISPER))
    before = host.pipeline.detection.learned.arrays["plain"]["mean"].copy()
    host.command(lambda: host.models.promote("plain-2", force=True))
    for row in DAY[:97]:
        if not host.pipeline.detection.decider.open:
            host.run(row[None], SERIES)
    assert host.pipeline.detection.decider.open == 3
    assert host.command(lambda: host.models.roll_back("plain")) == "plain-1"
    assert host.pipeline.detection.decider.open == 0
    host.run(DAY[:20], SERIES)
    assert host.pipeline.detection.decider.open == 0
    held = host.pipeline.detection.learned.arrays["plain"]
    assert held["mean"][:20] == pytest.approx(before[:20], rel=0.05)
    assert (held["seen"][:20] == 60 * 14 + 20).all()


def test_there_is_nothing_to_roll_back_to_before_a_promotion(tmp_path: Path) -> None:
    host = warm_host(tmp_path, hours=1)
    with pytest.raises(ModelError, match="no earlier champion"):
        host.models.roll_back("plain")


def test_training_comes_by_schedule(tmp_path: Path) -> None:
    host = warm_host(tmp_path, hours=18, cron="30 6 * * *")  # from 14:00 on
    assert events(tmp_path)[1:] == [("training", "plain-2"), ("trained", "plain-2")]
    made = next(one for one in host.models.view.versions if one.id == "plain-2")
    assert made.why == "scheduled"
    assert (made.made_ns - START) % (24 * HOUR) == 16 * HOUR + 30 * MINUTE


def test_a_configured_shadow_is_tried_once(tmp_path: Path) -> None:
    other = PlainConfig(span=100)
    host = MinuteHost(tmp_path, shadow=other)
    host.run(DAY[:30], SERIES)
    assert host.status("plain-2") == "shadow"
    host.pipeline.finish()
    again = MinuteHost(tmp_path, shadow=other, start_ns=host.now_ns)
    assert again.models.shadows["plain"].version.id == "plain-2"
    again.run(DAY[30 : 60 * 8], SERIES)
    assert again.champion == "plain-2"
    again.pipeline.finish()
    # It stays, with the options it was promoted with, as long as the operator's are the same.
    third = MinuteHost(tmp_path, shadow=other, start_ns=again.now_ns)
    assert third.champion == "plain-2"
    assert third.pipeline.detection.learned.named("plain").config.span == 100
    assert third.models.shadows == {}
    third.pipeline.finish()
    fourth = MinuteHost(tmp_path, PlainConfig(span=50), start_ns=again.now_ns)
    assert fourth.champion == "plain-3"
    assert fourth.pipeline.detection.learned.named("plain").config.span == 50
    assert fourth.status("plain-2") == "retired"


def test_a_shadow_that_is_not_configured_any_more_ends(tmp_path: Path) -> None:
    host = MinuteHost(tmp_path, shadow=PlainConfig(span=100))
    host.pipeline.finish()
    again = MinuteHost(tmp_path)
    assert again.status("plain-2") == "rejected"
    assert again.models.shadows == {}


def test_a_shadow_survives_a_restart_with_what_it_learned(tmp_path: Path) -> None:
    host = MinuteHost(tmp_path, shadow=PlainConfig(span=100))
    host.run(DAY[:120], SERIES)
    host.pipeline.finish()
    again = MinuteHost(tmp_path, shadow=PlainConfig(span=100), start_ns=host.now_ns)
    again.run(DAY[120:121], SERIES)
    mine = again.models.shadows["plain"]
    row = again.pipeline.table.row(SERIES[7])
    assert mine.learned.arrays["plain"]["seen"][row] == 121


def test_an_incident_that_was_acknowledged_must_ring_again(tmp_path: Path) -> None:
    words: list[Word] = []
    host = warm_host(tmp_path, words=lambda: words)
    deaf = host.command(lambda: host.models.train("plain", {"least": 1e6}))
    host.run(DAY[60 * 14 : 60 * 16], SERIES)
    row = DAY[0].copy()
    row[4] *= 3
    host.run(np.tile(row, (8, 1)), SERIES)
    assert host.pipeline.detection.decider.open == 1
    host.run(DAY[60 * 16 : 60 * 17], SERIES)
    incident = host.pipeline.view.incidents[0]
    words.append(
        Word(
            "acknowledged",
            incident.series,
            incident.detectors,
            incident.onset_ns,
            incident.resolved_ns or host.now_ns,
        )
    )
    host.run(DAY[60 * 17 : 60 * 23], SERIES)
    version = next(one for one in host.models.view.versions if one.id == deaf)
    assert version.status == "rejected"
    assert any("acknowledged" in one for one in version.reasons)


def test_a_shadow_is_asked_less_often_when_the_agent_is_short(tmp_path: Path) -> None:
    used = [0.5]
    host = warm_host(tmp_path, utilization=lambda: used[0])
    host.command(lambda: host.models.train("plain"))
    shadow = host.models.shadows["plain"]
    host.run(DAY[:2], SERIES)
    assert shadow.every == 1
    used[0] = 0.95
    seen = []
    for _ in range(5):
        host.run(DAY[:1], SERIES)
        seen.append(shadow.every)
    assert seen == [2, 4, 8, 0, 0]
    row = host.pipeline.table.row(SERIES[0])
    count = shadow.learned.arrays["plain"]["seen"][row]
    host.run(DAY[:10], SERIES)
    assert shadow.learned.arrays["plain"]["seen"][row] == count
    used[0] = 0.5
    host.run(DAY[:4], SERIES)
    assert shadow.every == 1


def test_a_shadow_that_fails_harms_nobody_and_is_rejected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = MinuteHost(tmp_path, shadow=PlainConfig(span=100))
    host.run(DAY[:40], SERIES)
    shadow = host.models.shadows["plain"]
    shadow.learned.arrays["plain"].pop("mean")
    host.run(DAY[40:42], SERIES)
    assert host.status("plain-2") == "rejected"
    assert host.pipeline.view.errors == 0
    assert caplog.text.count("shadow failed") == 1


# ---------------------------------------------------------------- over a crash


def scored(judged: list[tuple[int, bytes, bytes]]) -> Any:
    def observe(one: Judged) -> None:
        judged.append((int(one.window.time[-1]), one.scores.tobytes(), one.p.tobytes()))

    return observe


def killed_at(state_dir: Path, start_ns: int, rows: Any, **more: Any) -> None:
    """Run a host in a child of its own, which is killed after these minutes."""
    child = os.fork()
    if child == 0:
        try:
            host = MinuteHost(state_dir, start_ns=start_ns, **more)
            host.run(rows, SERIES)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("shadow", [None, PlainConfig(span=100)])
def test_scores_after_a_kill_are_those_of_a_run_that_was_not_killed(
    tmp_path: Path, shadow: PlainConfig | None
) -> None:
    steady: list[tuple[int, bytes, bytes]] = []
    host = MinuteHost(tmp_path / "a", shadow=shadow, observe=scored(steady))
    host.run(DAY[:200], SERIES)
    host.pipeline.detection.save()
    host.models.save(host.now_ns, everything=True)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    del steady[:]
    saved_ns = host.now_ns
    host.run(DAY[200:260], SERIES)
    # It learned a few minutes more, was killed before the next save, and begins at the save again.
    killed_at(tmp_path / "b", saved_ns, DAY[200:204], shadow=shadow)
    again: list[tuple[int, bytes, bytes]] = []
    after = MinuteHost(tmp_path / "b", start_ns=saved_ns, shadow=shadow, observe=scored(again))
    after.run(DAY[200:260], SERIES)
    assert [one[:2] for one in again] == [one[:2] for one in steady]
    if shadow is not None:
        for name, array in host.models.shadows["plain"].learned.arrays["plain"].items():
            other = after.models.shadows["plain"].learned.arrays["plain"][name]
            assert array[:20].tobytes() == other[:20].tobytes()


def test_two_restores_of_one_state_give_the_same_to_the_last_bit(tmp_path: Path) -> None:
    host = warm_host(tmp_path / "a", hours=10)
    host.pipeline.finish()
    seen: list[list[tuple[int, bytes, bytes]]] = []
    for name in ("b", "c"):
        shutil.copytree(tmp_path / "a", tmp_path / name)
        judged: list[tuple[int, bytes, bytes]] = []
        again = MinuteHost(tmp_path / name, start_ns=host.now_ns, observe=scored(judged))
        again.run(DAY[600:900], SERIES)
        seen.append(judged)
    assert seen[0] == seen[1]


class Killer:
    """Kills the process at the n-th thing that touches the disk; a write is torn in the middle."""

    def __init__(self, at: int) -> None:
        self.left = at

    def arm(self) -> None:
        for name in ("write", "fdatasync", "fsync", "ftruncate"):
            self._wrap(os, name)
        for name in ("replace", "unlink"):
            self._wrap(Path, name)

    def _wrap(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        setattr(owner, name, counted)


def promoted_and_killed(state_dir: Path, start_ns: int, at: int) -> bool:
    """Promote, roll back and save in a child that dies at its n-th write; True: it got through."""
    child = os.fork()
    if child == 0:
        host = MinuteHost(state_dir, start_ns=start_ns)
        Killer(at).arm()
        host.command(lambda: host.models.promote("plain-2", force=True))
        host.run(DAY[:1], SERIES)
        host.command(lambda: host.models.roll_back("plain"))
        host.run(DAY[:1], SERIES)
        os._exit(7)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 7


def test_a_kill_between_any_two_writes_leaves_one_champion_with_its_own_state(
    tmp_path: Path,
) -> None:
    origin = tmp_path / "origin"
    host = warm_host(origin)
    host.command(lambda: host.models.train("plain", {"span": 77.0}))
    host.pipeline.finish()
    spans = {"plain-1": 240.0, "plain-2": 77.0}
    reached = set()
    for at in range(200):
        state_dir = tmp_path / f"at{at}"
        shutil.copytree(origin, state_dir)
        through = promoted_and_killed(state_dir, START + 14 * HOUR, at)
        after = MinuteHost(state_dir, start_ns=START + 15 * HOUR)
        reached.add(after.champion)
        assert after.pipeline.detection.learned.named("plain").config.span == spans[after.champion]
        after.run(DAY[:1], SERIES)
        held = after.pipeline.detection.learned.arrays["plain"]
        # Neither began anew, nor got what the other one learned.
        least = {"plain-1": 60 * 14, "plain-2": 60 * 13}[after.champion]
        assert least < held["seen"][0] <= least + 3
        statuses = [one.status for one in after.models.view.versions]
        assert statuses.count("champion") == 1
        versions, anchor = read(state_dir)
        assert verify(state_dir / DIRECTORY, anchor).broken is None
        assert {one.id for one in versions} == {"plain-1", "plain-2"}
        shutil.rmtree(state_dir)
        if through:
            break
    else:
        pytest.fail("it never got through")
    assert reached == {"plain-1", "plain-2"}
    assert at > 20


def test_a_training_that_a_crash_interrupted_is_said_and_never_begun(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    host.models._lessons.workshop._run = lambda work: None
    host.models.train("plain")
    host.pipeline.detection.save()
    again = MinuteHost(tmp_path, start_ns=host.now_ns)
    version = next(one for one in again.models.view.versions if one.id == "plain-2")
    assert (version.status, version.reasons) == ("rejected", ("its training was interrupted",))


def test_a_champion_whose_arrays_are_damaged_takes_its_own_file(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    host.command(lambda: host.models.train("plain"))
    host.command(lambda: host.models.promote("plain-2", force=True))
    host.pipeline.finish()
    path = tmp_path / "learned.state"
    path.write_bytes(path.read_bytes()[:-100])
    again = MinuteHost(tmp_path, start_ns=host.now_ns)
    again.run(DAY[:1], SERIES)
    assert again.pipeline.detection.learned.arrays["plain"]["seen"][0] == 60 * 13 + 1


def test_versions_are_kept_to_a_number_but_never_the_champion_nor_the_one_before_it(
    tmp_path: Path,
) -> None:
    host = warm_host(tmp_path, keep=3)
    host.command(lambda: host.models.train("plain"))
    host.command(lambda: host.models.promote("plain-2", force=True))
    for _ in range(6):
        host.command(lambda: host.models.train("plain"))
    kept = {one.id for one in host.models.view.versions}
    assert kept == {"plain-1", "plain-2", "plain-8"}
    files = {path.stem for path in (tmp_path / DIRECTORY).glob("plain-*.state")}
    assert files == kept
    host.pipeline.finish()
    again = MinuteHost(tmp_path, keep=3, start_ns=host.now_ns)
    again.command(lambda: again.models.train("plain"))
    assert again.status("plain-9") == "shadow"


def test_what_is_said_of_models_is_plain_data(tmp_path: Path) -> None:
    host = warm_host(tmp_path, hours=2)
    host.command(lambda: host.models.train("plain"))
    view = host.models.view
    again = msgspec.json.decode(msgspec.json.encode(view), type=type(view))
    assert again.trials["plain-2"].every == 1
    assert again.trials["plain-2"].bytes_per_series == 12 + 66


# ---------------------------------------------------------------- a new configuration


def adopt(host: MinuteHost, config: PlainConfig, shadow: PlainConfig | None = None) -> None:
    plan = msgspec.structs.replace(host.plan, bases={"plain": base(config, shadow)})
    settings = msgspec.structs.replace(host.pipeline.settings, digests={"plain": digest(config)})
    host.command(lambda: host.pipeline.adopt([Plain(config)], settings, plan, make))


def test_a_reload_with_other_options_makes_a_new_champion_that_knows_what_the_old_one_knew(
    tmp_path: Path,
) -> None:
    host = warm_host(tmp_path)
    adopt(host, PlainConfig(span=50))
    assert host.champion == "plain-2"
    assert host.pipeline.detection.learned.named("plain").config.span == 50
    held = host.pipeline.detection.learned.arrays["plain"]
    assert (held["seen"][:20] == 60 * 14).all()
    # The old one can be had back, with its own options.
    host.run(DAY[:30], SERIES)
    assert host.command(lambda: host.models.roll_back("plain")) == "plain-1"
    assert host.pipeline.detection.learned.named("plain").config.span == 240
    assert (host.pipeline.detection.learned.arrays["plain"]["seen"][:20] == 60 * 14).all()
    host.pipeline.finish()
    again = MinuteHost(tmp_path, PlainConfig(span=50), start_ns=host.now_ns)
    assert again.champion == "plain-1"
    assert again.pipeline.detection.learned.named("plain").config.span == 240


def test_a_reload_that_changes_nothing_leaves_all_as_it_is(tmp_path: Path) -> None:
    host = warm_host(tmp_path)
    host.command(lambda: host.models.train("plain", {"span": 99.0}))
    host.command(lambda: host.models.promote("plain-2", force=True))
    host.command(lambda: host.models.train("plain"))
    adopt(host, PlainConfig())
    assert host.champion == "plain-2"
    assert host.pipeline.detection.learned.named("plain").config.span == 99
    assert host.models.shadows["plain"].version.id == "plain-3"
    host.run(DAY[:5], SERIES)
    assert host.pipeline.view.errors == 0


def test_a_reload_may_bring_a_shadow_and_take_it_away(tmp_path: Path) -> None:
    host = warm_host(tmp_path, hours=1)
    adopt(host, PlainConfig(), PlainConfig(span=33))
    assert host.models.shadows["plain"].detector.config.span == 33
    adopt(host, PlainConfig(), PlainConfig(span=44))
    assert host.models.shadows["plain"].detector.config.span == 44
    adopt(host, PlainConfig(span=55), PlainConfig(span=44))
    assert host.models.shadows["plain"].version.id == "plain-5"
    adopt(host, PlainConfig(span=55))
    assert host.models.shadows == {}
    assert [host.status(f"plain-{number}") for number in (2, 3, 5)] == ["rejected"] * 3


# ---------------------------------------------------------------- on probation


def judged(strange: int) -> tuple[Decider, np.ndarray]:
    """Return a Decider that has judged 1,000 scores, so many of them most improbable."""
    scores, window = np.ones(1_000, dtype=np.float32), window_of(np.ones((1_000, 1)))
    decider = Decider()
    for _ in range(40):  # calm ones first: there is no p of the first that is strange
        decider.step(Plain(PlainConfig()), scores.copy(), window, {})
    scores[:strange] = 1e4
    decider.step(Plain(PlainConfig()), scores, window, {})
    return decider, scores


def test_a_champion_whose_probabilities_broke_for_an_hour_goes() -> None:
    window = window_of(np.ones((1_000, 1)))
    probation = Probation("p-2", ["plain"], 0.0, 0, 24 * HOUR)
    usual, broken = judged(4), judged(6)
    for minute in range(181):  # in the third hour six times as many as there should be
        decider, scores = broken if minute > 120 else usual
        probation.note(scores, 0, window, decider)
        said = probation.verdict(minute * MINUTE, calibrated=True)
        assert bool(said) is (minute == 180)
    assert "6.0 times as often" in said


# ---------------------------------------------------------------- in the background


def test_training_in_a_thread_is_handed_back_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    host = warm_host(tmp_path, hours=3)
    workshop = host.models._lessons.workshop
    workshop._run = workshop._start
    host.models.train("plain", hurry=True)
    assert workshop._thread is not None
    workshop._thread.join(20)
    assert host.status("plain-2") == "candidate"
    host.command(lambda: None)
    assert host.status("plain-2") == "shadow"
    assert workshop.working == ()
    # At a thousandth of a core it would take for ever, but for its being asked to stop.
    host.models._ground.plan = msgspec.structs.replace(host.plan, budget=2e-6)
    host.models.train("plain")
    host.pipeline.finish()
    workshop._thread.join(20)
    assert not workshop._thread.is_alive()
    again = MinuteHost(tmp_path, start_ns=host.now_ns)
    assert again.status("plain-3") == "rejected"


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    host = warm_host(tmp_path, hours=3)
    for path in host.models.readings.directory.iterdir():
        path.write_bytes(b"damaged")
    host.command(lambda: host.models.train("plain"))
    version = next(one for one in host.models.view.versions if one.id == "plain-2")
    assert version.status == "rejected"
    assert version.reasons == ("there are readings of 0 times only, 60 are needed",)


def test_what_cannot_be_written_changes_nothing_and_the_champion_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = warm_host(tmp_path)
    host.command(lambda: host.models.train("plain"))
    history = tmp_path / DIRECTORY / "history.jsonl"
    history.rename(tmp_path / "aside")
    history.mkdir()
    host.run(DAY[: 60 * 7], SERIES)
    assert host.champion == "plain-1"
    assert host.status("plain-2") == "shadow"
    assert host.pipeline.view.errors == 0
    assert caplog.text.count("models state=failing") == 1
    history.rmdir()
    (tmp_path / "aside").rename(history)
    host.run(DAY[:2], SERIES)
    assert host.champion == "plain-2"
    assert "models state=ok" in caplog.text
