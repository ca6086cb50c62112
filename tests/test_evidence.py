"""Raw values around an incident: whole from several cuts of a ring that is shorter."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from vedette import evidence
from vedette.api import Incident, Series, Window, gauge

S = 1_000_000_000
ONSET = 1_795_183_200
BUSY = gauge("vedette.cpu.busy", "1", "Busy.", resource="cpu", limit=1.0).series()
DEPTH = gauge("queue.depth", "{message}", "Depth.", ("queue",))
#: Ticks that a ring holds.
RING = 720


def incident(*series: Series) -> Incident:
    return Incident(
        id="one",
        state="open",
        severity="info",
        resource="cpu",
        title="",
        onset_ns=ONSET * S,
        opened_ns=ONSET * S,
        updated_ns=ONSET * S,
        resolved_ns=None,
        series=tuple(one.key for one in series),
        suspects=(),
    )


def reading(second: int) -> float:
    return second % 97 / 3


def ring(until: int, *series: Series, step: int = 1, ticks: int = RING) -> Window:
    """Return what a ring holds ``until`` seconds after the onset."""
    seconds = np.arange(ONSET + until - (ticks - 1) * step, ONSET + until + 1, step)
    values = np.array([[reading(int(one)) for one in seconds]] * len(series), dtype=np.float32)
    return Window(seconds.astype(np.int64) * S, values, list(series), 1)


def cut(one: Incident, window: Window, step_s: int = 1) -> Incident:
    tracks = evidence.cut(one, window, step_s * S, lambda key: (math.nan, 0.5))
    return msgspec.structs.replace(one, evidence=tracks)


def test_ten_minutes_before_and_five_after_come_of_several_cuts() -> None:
    told = cut(incident(BUSY), ring(7, BUSY))
    (track,) = told.evidence
    assert (track.start_ns, len(track.values)) == ((ONSET - 600) * S, 608)
    whole = cut(cut(told, ring(300, BUSY)), ring(900, BUSY))
    (track,) = whole.evidence
    assert (track.start_ns, track.step_ns, len(track.values)) == ((ONSET - 600) * S, S, 900)
    expected = [reading(ONSET - 600 + place) for place in range(900)]
    assert np.allclose(track.values, expected, rtol=1e-5)
    assert (track.low, track.high) == (None, 0.5)


def test_what_the_ring_lost_between_two_cuts_is_a_gap_and_not_guessed() -> None:
    told = cut(cut(incident(BUSY), ring(0, BUSY)), ring(299, BUSY, ticks=100))
    (track,) = told.evidence
    assert track.values[601:800] == (None,) * 199
    assert track.values[800] is not None


def test_six_series_are_shown_and_the_primary_first() -> None:
    many = [DEPTH.series(str(number)) for number in range(9)]
    told = cut(incident(*reversed(many)), ring(10, *many))
    assert [track.series for track in told.evidence] == [one.key for one in many[:2:-1]]


def test_a_series_that_ended_keeps_what_was_cut_before() -> None:
    told = cut(incident(BUSY, DEPTH.series("a")), ring(5, BUSY, DEPTH.series("a")))
    later = cut(told, ring(60, BUSY))
    assert [len(track.values) for track in later.evidence] == [661, 606]


def test_evidence_is_bounded_whatever_the_interval_and_the_numbers() -> None:
    many = [DEPTH.series(str(number)) for number in range(9)]
    told = cut(incident(*many), ring(299, *many, ticks=900))
    assert all(len(track.values) == evidence.VALUES for track in told.evidence)
    assert len(msgspec.json.encode(told.evidence)) < 60_000
    slow = cut(incident(BUSY), ring(300, BUSY, step=60), step_s=60)
    assert len(slow.evidence[0].values) == 15


def test_an_old_incident_keeps_the_reading_furthest_out_of_each_ten() -> None:
    told = cut(incident(BUSY), ring(299, BUSY, ticks=900))
    (track,) = told.evidence
    values = [0.1] * 900
    values[455] = 9.0
    values[456] = -3.0
    spiky = msgspec.structs.replace(track, values=tuple(values))
    thin = evidence.thinned(msgspec.structs.replace(told, evidence=(spiky,)))
    (kept,) = thin.evidence
    assert (len(kept.values), kept.step_ns, kept.start_ns) == (90, 10 * S, track.start_ns)
    assert kept.values[45] == 9.0
    assert set(kept.values) == {0.1, 9.0}
    assert evidence.thinned(thin) == thin


def test_readings_that_are_missing_stay_missing() -> None:
    window = ring(10, BUSY)
    window.values[0, -5:] = np.nan
    (track,) = cut(incident(BUSY), window).evidence
    assert track.values[-5:] == (None,) * 5
    whole = cut(cut(incident(BUSY), window), ring(20, BUSY))
    assert None not in whole.evidence[0].values
