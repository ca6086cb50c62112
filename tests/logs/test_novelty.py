"""Templates never seen before: who rings, and who does not."""

from __future__ import annotations

import math

import pytest

from vedette.logs.entry import Severity
from vedette.logs.novelty import KNOWN_S, YOUNG_LINES, Novelty, Repeats, is_danger
from vedette.logs.signals import Fresh
from vedette.logs.surprise import RINGS

HOUR, DAY = 3600.0, 86_400.0
OOM = "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0)"


def mature() -> Novelty:
    """Return a source that had thirty templates in its first minutes."""
    novelty = Novelty(0.0, lines=YOUNG_LINES)
    for second in range(30):
        novelty.judge(second, f"line {second}", Severity.INFO, calm=False)
    return novelty


def rings(novelty: Novelty, now_s: float, severity: Severity, text: str = "a text") -> bool:
    return novelty.judge(now_s, text, severity, calm=False) >= RINGS


@pytest.mark.parametrize("severity", [Severity.ERROR, Severity.FATAL])
def test_the_first_error_of_a_mature_source_rings(severity: Severity) -> None:
    assert rings(mature(), 6 * HOUR, severity)


def test_an_information_never_rings_by_itself() -> None:
    assert not rings(mature(), 100 * DAY, Severity.INFO)
    assert not rings(mature(), 100 * DAY, Severity.UNKNOWN)
    assert not rings(mature(), 100 * DAY, Severity.DEBUG)


def test_the_graver_the_stranger() -> None:
    grades = (Severity.DEBUG, Severity.INFO, Severity.WARN, Severity.ERROR, Severity.FATAL)
    scores = [mature().judge(DAY, "a text", one, calm=False) for one in grades]
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores)


def test_a_young_source_is_quiet_but_for_what_never_means_well() -> None:
    novelty = mature()
    assert novelty.is_young(300)
    assert not rings(novelty, 300, Severity.ERROR)
    assert rings(novelty, 300, Severity.ERROR, OOM)


def test_a_source_with_few_lines_is_young_for_an_hour() -> None:
    novelty = Novelty(0.0, lines=YOUNG_LINES - 1)
    assert not rings(novelty, KNOWN_S - 1, Severity.ERROR)
    silent = Novelty(0.0)
    assert rings(silent, DAY, Severity.ERROR)


def test_a_source_that_keeps_inventing_errors_rings_no_more() -> None:
    novelty = mature()
    told = [rings(novelty, HOUR * hour, Severity.ERROR) for hour in range(1, 72)]
    assert sum(told[:24]) <= 3
    assert not any(told[24:])


def test_a_source_that_invents_information_still_rings_for_its_first_error() -> None:
    novelty = mature()
    for minute in range(2 * 24 * 60):
        assert not rings(novelty, 60.0 * minute, Severity.INFO)
    assert rings(novelty, 2 * DAY, Severity.ERROR)


def test_who_invents_much_is_believed_a_bit_less_about_its_first_error() -> None:
    quiet, busy = mature(), mature()
    for minute in range(200):
        busy.judge(12 * HOUR + 60 * minute, "a text", Severity.INFO, calm=False)
    scores = [one.judge(DAY, "a text", Severity.ERROR, calm=False) for one in (quiet, busy)]
    assert RINGS - 1 < scores[1] < scores[0] - 1


def repeated(severity: Severity, score: float, *lines: int) -> list[float]:
    repeats, found = Repeats(), []
    repeats.add(0.0, Fresh(7, "a text", severity), score)
    for second, count in enumerate(lines):
        found += [new.total for _, new in repeats.observe(10.0 * second, {7: count, 8: 1})]
    return found


def test_a_new_error_that_comes_again_and_again_is_the_stranger() -> None:
    totals = repeated(Severity.ERROR, 12.6, 1, 2, 17, 900)
    assert totals == pytest.approx([12.6, 12.6 + math.log(3) / 2, 12.6 + math.log(20) / 2, 14.1])
    assert totals[-1] > RINGS


def test_what_is_no_longer_new_or_not_grave_adds_nothing() -> None:
    assert len(repeated(Severity.ERROR, 12.0, *[5] * 20)) == 7
    assert repeated(Severity.INFO, 12.0, 50) == []
    assert repeated(Severity.ERROR, 3.0, 50) == []


def test_memory_that_is_out_rings_at_a_mature_source_whatever_its_severity() -> None:
    assert rings(mature(), 30 * DAY, Severity.INFO, OOM)
    assert rings(mature(), 30 * DAY, Severity.UNKNOWN, OOM)


def test_nothing_rings_during_a_calm_but_what_never_means_well() -> None:
    novelty = mature()
    assert novelty.judge(DAY, "cannot connect", Severity.ERROR, calm=True) == 0
    assert novelty.judge(DAY, OOM, Severity.ERROR, calm=True) >= RINGS


def test_what_a_deploy_brings_does_not_hide_what_comes_after_it() -> None:
    novelty = mature()
    for second in range(5):
        novelty.judge(2 * DAY + second, f"new {second}", Severity.ERROR, calm=True)
    assert rings(novelty, 2 * DAY + 8 * HOUR, Severity.ERROR)


@pytest.mark.parametrize(
    "text",
    [
        OOM,
        "Out of memory: Killed process <num> (java)",
        "write failed: No space left on device",
        "kernel: EXT4-fs error: I/O error while writing superblock",
        "traps: a.out[<num>] general protection, core dumped",
        "server process (PID <num>) was terminated by signal <num>: Killed",
        "app.service: Main process exited, code=killed, status=9/KILL",
        "java.lang.OutOfMemoryError: Java heap space",
    ],
)
def test_texts_that_never_mean_well(text: str) -> None:
    assert is_danger(text)


@pytest.mark.parametrize(
    "text",
    ["session opened for user root", "zoom level is 3", "room created", "xid <num> committed"],
)
def test_texts_that_may_mean_well(text: str) -> None:
    assert not is_danger(text)


def test_words_of_trouble_count_where_the_writer_calls_nothing_an_error() -> None:
    novelty = mature()
    plain = novelty.judge(HOUR, "the cache was filled", Severity.WARN, calm=False)
    trouble = mature().judge(HOUR, "OOM score could not be set", Severity.WARN, calm=False)
    assert trouble > plain + 2
    banners = mature()
    for at in range(20):
        banners.judge(HOUR + at, f"module {at} is loaded", Severity.WARN, calm=False)
    after = banners.judge(HOUR + 60, "the save failed", Severity.WARN, calm=False)
    assert after > banners.judge(HOUR + 61, "one more is loaded", Severity.WARN, calm=False) + 4
