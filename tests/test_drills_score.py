"""What a series of drills says of the agent, on cases made and reckoned by hand."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Incident, Suspect
from vedette.drills.faults import FAULTS
from vedette.drills.score import Injection, Report, families, score

S = 1_000_000_000
BEGAN = 1_800_000_000 * S


def at(seconds: float) -> int:
    return BEGAN + int(seconds * S)


def injected(start_s: float, *names: str, lasts_s: float = 50) -> Injection:
    return Injection(names, at(start_s), at(start_s + lasts_s))


def told(
    opened_s: float,
    resource: str = "cpu",
    *,
    series: tuple[str, ...] = (),
    processes: tuple[str, ...] = (),
) -> Incident:
    suspects = tuple(Suspect("process", name, "1", 0.5, "") for name in processes)
    return Incident(
        id=f"{resource}-{opened_s:g}",
        state="open",
        severity="warning",
        resource=resource,
        title="",
        onset_ns=at(opened_s - 3),
        opened_ns=at(opened_s),
        updated_ns=at(opened_s),
        resolved_ns=None,
        series=series,
        suspects=(*suspects, Suspect("series", "system.cpu.x", "", 0.0, "")),
    )


def scored(
    injections: list[Injection], incidents: list[Incident], hours: float = 1, start_s: float = 0
) -> Report:
    return score(injections, incidents, FAULTS, (at(start_s), at(hours * 3600)))


# ---------------------------------------------------------------- one fault


@pytest.mark.parametrize(
    ("title", "right"), [("Model server x, model vedette-drill: y", 1), ("", 0)]
)
def test_what_is_no_process_has_to_be_named_by_the_sentence(title: str, right: int) -> None:
    incident = msgspec.structs.replace(told(20, "model"), title=title)
    one = scored([injected(10, "model")], [incident]).total
    assert (one.suspects, one.suspect_1) == (1, right)


def test_a_fault_is_found_by_an_incident_that_opens_in_it() -> None:
    report = scored([injected(100, "cpu")], [told(107.5, processes=("drill-cpu",))])
    (tally,) = report.faults
    assert (tally.name, tally.injections, tally.found, tally.incidents) == ("cpu", 1, 1, 1)
    assert tally.delay_median_s == tally.delay_p90_s == 7.5
    assert (tally.family_1, tally.family_3) == (1, 1)
    assert (tally.suspects, tally.suspect_1, tally.suspect_3) == (1, 1, 1)
    assert report.false_incidents == ()
    assert report.total == msgspec.structs.replace(tally, name="all")


@pytest.mark.parametrize(
    ("opened_s", "found", "own"),
    [
        (99.9, False, False),
        (100, True, True),
        (150, True, True),
        (165, True, True),
        (165.1, False, True),
        (210, False, True),
        (210.1, False, False),
    ],
)
def test_the_edges_of_a_fault(opened_s: float, found: bool, own: bool) -> None:
    report = scored([injected(100, "cpu")], [told(opened_s)])
    assert report.faults[0].found == found
    assert report.faults[0].incidents == own
    assert len(report.false_incidents) == (not own)
    (judged,) = report.judged
    assert judged.delay_s == (opened_s - 100 if found else None)


def test_a_fault_that_opens_three_incidents_is_found_once_by_the_first() -> None:
    incidents = [told(130, "disk"), told(105, "memory"), told(200, "network")]
    report = scored([injected(100, "disk")], incidents)
    (tally,) = report.faults
    assert (tally.found, tally.incidents, tally.incidents_per_fault) == (1, 3, 3.0)
    assert tally.delay_median_s == 5
    assert tally.family_1 == tally.family_3 == 0  # the first speaks of memory alone
    assert report.judged[0].incidents == ("memory-105", "disk-130", "network-200")


def test_a_fault_that_was_not_found_has_no_delay_and_nobody_right() -> None:
    report = scored([injected(100, "cpu")], [])
    (tally,) = report.faults
    assert (tally.found, tally.incidents) == (0, 0)
    assert tally.delay_median_s is None
    assert tally.delay_p90_s is None
    assert (tally.family_1, tally.suspects, tally.suspect_3) == (0, 0, 0)


def test_an_incident_between_two_faults_belongs_to_the_later_one_that_began() -> None:
    report = scored(
        [injected(100, "cpu"), injected(160, "memory")], [told(155), told(161, "memory")]
    )
    assert [one.incidents for one in report.faults] == [1, 1]
    assert [one.found for one in report.faults] == [1, 1]


# ---------------------------------------------------------------- families and suspects


@pytest.mark.parametrize(
    ("resource", "series", "rank"),
    [
        ("disk", (), 1),
        ("cpu", ("system.cpu.utilization", "system.disk.io{device=a}"), 2),
        ("cpu", ("system.memory.usage", "system.disk.io"), 3),
        ("cpu", ("system.memory.usage", "system.network.io", "system.disk.io"), None),
        ("cpu", ("system.cpu.a", "system.cpu.b", "system.cpu.c", "system.disk.io"), 2),
    ],
)
def test_a_family_is_right_at_its_place_among_different_ones(
    resource: str, series: tuple[str, ...], rank: int | None
) -> None:
    report = scored([injected(100, "disk")], [told(110, resource, series=series)])
    assert report.judged[0].family == rank
    assert report.faults[0].family_1 == (rank == 1)
    assert report.faults[0].family_3 == (rank is not None)


def test_the_families_of_an_incident_are_each_named_once() -> None:
    one = told(1, "cpu", series=("system.cpu.time", "system.disk.io", "vedette.cpu.busy"))
    assert families(one) == ["cpu", "disk"]


@pytest.mark.parametrize(
    ("processes", "rank"),
    [
        (("drill-disk",), 1),
        (("python", "drill-disk"), 2),
        (("a", "b", "drill-disk"), 3),
        (("a", "b", "c", "drill-disk"), None),
        (("drill-disk-fill",), None),
        ((), None),
    ],
)
def test_a_suspect_is_right_when_it_is_the_process_of_the_fault(
    processes: tuple[str, ...], rank: int | None
) -> None:
    report = scored([injected(100, "disk")], [told(110, "disk", processes=processes)])
    assert report.judged[0].suspect == rank
    assert report.faults[0].suspect_1 == (rank == 1)
    assert report.faults[0].suspect_3 == (rank is not None)
    assert report.faults[0].suspects == 1


def test_series_among_the_suspects_take_no_place_of_a_process() -> None:
    incident = told(110, "disk", processes=("drill-disk",))
    incident = msgspec.structs.replace(incident, suspects=incident.suspects[::-1])
    assert scored([injected(100, "disk")], [incident]).judged[0].suspect == 1


def test_where_no_process_is_to_blame_no_suspect_counts() -> None:
    incident = told(110, "network", processes=("drill-net-loss",))
    (tally,) = scored([injected(100, "net-loss")], [incident]).faults
    assert (tally.found, tally.suspects, tally.suspect_1) == (1, 0, 0)


# ---------------------------------------------------------------- many faults


def test_delays_of_four_of_a_kind_have_a_median_and_a_ninth_decile() -> None:
    starts = [0, 200, 400, 600, 800]
    delays = [4, 9, 6, 30]
    incidents = [told(start + delay) for start, delay in zip(starts, delays, strict=False)]
    report = scored([injected(start, "cpu") for start in starts], incidents)
    (tally,) = report.faults
    assert (tally.injections, tally.found) == (5, 4)
    assert tally.delay_median_s == 7.5
    assert tally.delay_p90_s == 30
    assert tally.incidents_per_fault == 0.8


def test_faults_are_listed_in_the_order_of_the_catalogue_and_added_up() -> None:
    injections = [injected(0, "network"), injected(200, "cpu"), injected(400, "network")]
    incidents = [told(10, "network"), told(212), told(420, "disk")]
    report = scored(injections, incidents)
    assert [one.name for one in report.faults] == ["cpu", "network"]
    assert (report.total.injections, report.total.found, report.total.family_1) == (3, 3, 2)
    assert report.total.delay_median_s == 12


def test_false_incidents_are_counted_by_the_hour_outside_of_faults() -> None:
    # An hour, of which each fault takes 50 s and the minute after it.
    injections = [injected(100, "cpu"), injected(300, "cpu")]
    report = scored(injections, [told(50), told(250), told(2000), told(110)])
    assert report.outside_s == 3600 - 2 * 110
    assert report.false_incidents == ("cpu-50", "cpu-250", "cpu-2000")
    assert report.false_per_hour == pytest.approx(3 * 3600 / 3380)


def test_what_opened_before_or_after_the_series_does_not_count() -> None:
    report = scored([injected(100, "cpu")], [told(-5), told(3601)])
    assert report.false_incidents == ()


def test_faults_that_overlap_take_their_time_once() -> None:
    report = scored([injected(0, "cpu"), injected(60, "disk")], [], hours=0.1)
    assert report.outside_s == 360 - 170
    within = [injected(0, "cpu", lasts_s=200), injected(10, "disk", lasts_s=5)]
    assert scored(within, [], hours=0.1).outside_s == 360 - 260
    assert scored([injected(0, "cpu", lasts_s=400)], [], hours=0.1).false_per_hour is None


def test_a_fault_that_failed_hides_what_it_caused_and_is_not_counted() -> None:
    report = scored([injected(100), injected(300, "cpu")], [told(120), told(310)])
    assert report.total.injections == 1
    assert report.false_incidents == ()
    assert report.outside_s == 3600 - 2 * 110
    assert report.pairs is None


def test_nothing_at_all_is_a_report_too() -> None:
    report = scored([], [])
    assert report.faults == ()
    assert report.total.injections == 0
    assert math.isnan(report.total.incidents_per_fault)
    assert report.false_per_hour == 0


# ---------------------------------------------------------------- two at once


def test_of_two_at_once_each_may_have_an_incident_of_its_own() -> None:
    pair = injected(100, "cpu", "disk")
    incidents = [told(105), told(108, "disk", processes=("x", "drill-disk"))]
    report = scored([pair], incidents)
    assert report.faults == ()
    assert report.pairs is not None
    assert (report.pairs.injections, report.pairs.found, report.pairs.incidents) == (1, 1, 2)
    assert report.pairs.delay_median_s == 5
    assert (report.pairs.family_1, report.pairs.family_3) == (2, 2)
    assert (report.pairs.suspects, report.pairs.suspect_1, report.pairs.suspect_3) == (2, 0, 1)
    assert report.both == 1


def test_of_two_at_once_one_may_be_missed() -> None:
    report = scored([injected(100, "cpu", "disk")], [told(105)])
    assert report.pairs is not None
    assert report.pairs.found == 1
    assert report.both == 0
    assert [one.family for one in report.judged] == [1, None]


def test_one_incident_may_name_both() -> None:
    incident = told(105, series=("system.disk.io",))
    assert scored([injected(100, "cpu", "disk")], [incident]).both == 1


# ---------------------------------------------------------------- properties


spans = st.lists(st.tuples(st.integers(0, 3000), st.integers(5, 300)), max_size=8)
moments = st.lists(st.integers(0, 3600), max_size=20, unique=True)


@given(spans, moments)
def test_every_incident_is_somebodys_or_false(
    faults: list[tuple[int, int]], opened: list[int]
) -> None:
    injections = [injected(start, "cpu", lasts_s=lasts) for start, lasts in faults]
    report = scored(injections, [told(moment) for moment in opened])
    assert report.total.incidents + len(report.false_incidents) == len(opened)
    assert report.total.injections == len(faults)
    assert report.total.found <= len(faults)
    assert 0 <= report.outside_s <= 3600
    owned = [one for judged in report.judged for one in judged.incidents]
    assert len(owned) == len(set(owned))


@given(spans, moments)
def test_the_order_of_what_is_given_does_not_matter(
    faults: list[tuple[int, int]], opened: list[int]
) -> None:
    injections = [injected(start, "cpu", lasts_s=lasts) for start, lasts in dict(faults).items()]
    incidents = [told(moment) for moment in opened]
    forward = scored(injections, incidents)
    assert forward == scored(injections[::-1], incidents[::-1])
