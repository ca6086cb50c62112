"""One fault is one incident, two are two, each with its resource and who is to blame."""

from __future__ import annotations

import math
import sys
from datetime import UTC
from pathlib import Path

import msgspec
import pytest

from vedette.api import Event, Finding, Incident, Series, Track, Usage, gauge
from vedette.correlate import Correlator
from vedette.decide import FindingChange
from vedette.evidence import KEPT_WHOLE
from vedette_plugins._model_words import WHY

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import FAULTS, MOUNT, START, Drive, S, Scenario, Symptom, series, usage

#: Pairs of one resource: one disk, one CPU, one network. Nobody could tell them apart.
INSEPARABLE = {
    frozenset(pair)
    for pair in (
        ("cpu", "forks"),
        ("disk", "disk-fill"),
        ("disk", "inodes"),
        ("disk-fill", "inodes"),
        ("files", "sockets"),
        ("network", "sockets"),
        ("net-delay", "sockets"),
        ("network", "net-delay"),
    )
}
DATABASE = gauge("shop.orders", "{order}", "Orders.", resource="shop")


def last(drive: Drive) -> dict[str, Incident]:
    """Return every incident as it was told last."""
    return {one.incident.id: one.incident for one in drive.told}


def fault(name: str, *symptoms: Symptom, **more: str) -> Scenario:
    return Scenario(name, symptoms, (), more.get("resource", ""), more.get("suspect", ""))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_incident_of_its_resource_that_names_who_made_it(name: str) -> None:
    drive = Drive()
    assert len(drive.run(FAULTS[name])) == 1
    (incident,) = last(drive).values()
    assert incident.resource == FAULTS[name].resource
    assert set(incident.series) == {one.series.key for one in FAULTS[name].symptoms}
    if FAULTS[name].suspect:
        assert incident.suspects[0].name == FAULTS[name].suspect
    assert incident.state == "resolved"


@pytest.mark.parametrize("apart", [0, 5, 20])
@pytest.mark.parametrize("one", FAULTS)
def test_two_independent_faults_at_once_are_two_incidents(one: str, apart: int) -> None:
    for other in FAULTS:
        if other == one or frozenset((one, other)) in INSEPARABLE:
            continue
        drive = Drive()
        assert len(drive.run(FAULTS[one], FAULTS[other], apart=apart)) == 2, other
        # The CPU that forks cost may be told with the other fault; that they are many is not.
        names = {"cpu": "process"} if "forks" in (one, other) else {}
        expected = {FAULTS[name].resource for name in (one, other)}
        found = {incident.resource for incident in last(drive).values()}
        assert found in (expected, {names.get(name, name) for name in expected}), other


@pytest.mark.parametrize("one", [name for name in FAULTS if FAULTS[name].suspect != ""])
def test_of_two_faults_each_keeps_its_suspect(one: str) -> None:
    for other in ("log", "net-delay", "stuck", "model"):
        if frozenset((one, other)) in INSEPARABLE:
            continue
        drive = Drive()
        drive.run(FAULTS[one], FAULTS[other])
        resources = {FAULTS[one].resource, "process" if one == "forks" else ""}
        (own, *_) = [inc for inc in last(drive).values() if inc.resource in resources]
        assert own.suspects[0].name == FAULTS[one].suspect


def test_a_full_filesystem_and_a_busy_cpu_are_two_incidents() -> None:
    full = Symptom(
        series("system.filesystem.utilization", "/dev/vda2", "/var", "ext4"),
        0,
        0.98,
        p=0.0,
        severity="critical",
    )
    drive = Drive()
    drive.run(FAULTS["cpu"], fault("full", full))
    told = last(drive).values()
    assert {(one.resource, one.severity) for one in told} == {
        ("cpu", "info"),
        ("filesystem", "critical"),
    }
    assert {one.entities[0] for one in told} == {"cpu", "mount /var"}


def test_things_of_one_kind_are_apart_unless_they_fail_at_one_moment() -> None:
    def filling(mount: str, after: int) -> Symptom:
        device = "/dev/" + mount.strip("/")
        return Symptom(series("system.filesystem.utilization", device, mount, "xfs"), after, 0.7)

    assert len(Drive().run(fault("far", filling("/a", 0), filling("/b", 40)))) == 2
    assert len(Drive().run(fault("near", filling("/a", 0), filling("/b", 3)))) == 1


def test_memory_that_ran_out_is_one_incident_with_the_disk_it_saturates() -> None:
    drive = Drive()
    drive.run(
        fault(
            "thrash",
            Symptom(series("system.memory.utilization", "used"), 0, 0.97),
            Symptom(series("system.paging.operations", "in", "major"), 4, 9e3),
            Symptom(series("vedette.disk.utilization", "vda"), 6, 1.0),
            Symptom(series("vedette.cpu.busy"), 6, 0.95),
            Symptom(series("vedette.memory.oom_kills"), 50, 1.0, lasts=5),
            Symptom(series("vedette.kernel.events", "oom_kill"), 50, 1.0, lasts=5),
        )
    )
    (incident,) = last(drive).values()
    assert (incident.resource, incident.severity) == ("memory", "warning")


def test_a_side_effect_that_grows_to_the_limit_is_an_incident_of_its_own() -> None:
    busy = series("vedette.cpu.busy")
    drive = Drive()
    disk = msgspec.structs.replace(
        FAULTS["disk"], usages=(usage("disk", "drill-disk", 0.9),), symptoms=FAULTS["disk"].symptoms
    )
    hog = Scenario("late", (Symptom(busy, 0, 0.99),), (usage("cpu", "hog", 0.9),), "cpu")
    assert len(drive.run(disk, hog, apart=25)) == 2
    told = last(drive)
    assert {one.resource for one in told.values()} == {"disk", "cpu"}
    cpu = next(one for one in told.values() if one.resource == "cpu")
    assert cpu.suspects[0].name == "hog"


def test_what_one_program_does_to_two_resources_is_one_incident() -> None:
    both = Scenario(
        "build",
        (*FAULTS["disk"].symptoms, Symptom(series("vedette.cpu.busy"), 0, 1.0)),
        (usage("cpu", "build", 0.95), usage("disk", "build", 0.9)),
        "disk",
    )
    assert len(Drive().run(both)) == 1
    two = msgspec.structs.replace(
        both, usages=(usage("cpu", "hog", 0.95), usage("disk", "writer", 0.9))
    )
    assert len(Drive().run(two)) == 2


def test_late_symptoms_join_and_what_flaps_is_one_incident() -> None:
    retransmits = series("vedette.tcp.retransmits")
    late = series("vedette.tcp.listen.overflows")
    drive = Drive()
    drive.run(
        fault(
            "network",
            Symptom(retransmits, 0, 9.0, lasts=100),
            Symptom(late, 90, 4.0, lasts=30),
        ),
        seconds=150,
    )
    drive.run(fault("again", Symptom(retransmits, 0, 9.0)), seconds=180)
    assert [one.change for one in drive.told].count("opened") == 1
    assert last(drive).popitem()[1].series == (retransmits.key, late.key)


@pytest.mark.parametrize(
    ("first", "then", "many"), [("one", "hog", 2), ("", "hog", 2), ("", "", 2), ("hog", "hog", 1)]
)
def test_a_small_incident_does_not_swallow_a_large_fault(first: str, then: str, many: int) -> None:
    busy = series("vedette.cpu.busy")
    small_then_large = (Symptom(busy, 0, 0.15, lasts=300), Symptom(busy, 120, 0.95))
    drive = Drive()
    drive.users = lambda second: [
        *([usage("cpu", first, 0.15)] if first and second < 121 else []),
        *([usage("cpu", then, 0.95)] if then and second >= 121 else []),
    ]
    opened = drive.run(fault("busy", *small_then_large), seconds=400)
    assert len(opened) == many
    incidents = sorted(last(drive).values(), key=lambda one: one.opened_ns)
    assert all(one.state == "resolved" for one in incidents)
    if many == 1:
        assert [one.change for one in drive.told].count("updated") > 0
        return
    small, large = incidents
    assert large.opened_ns == (START + 120 + 3) * S
    assert large.onset_ns == (START + 120) * S
    assert small.resolved_ns == (START + 119) * S
    assert [one.name for one in large.suspects if one.kind == "process"] == ([then] if then else [])


def test_what_lingered_and_leaps_is_a_part_of_what_makes_it_leap_from_then_on_only() -> None:
    files = series("vedette.kernel.file_handles.usage")
    connections = Symptom(series("vedette.tcp.established"), 202, 1e3)
    drive = Drive()
    lingers, leaps = Symptom(files, 0, 300.0, lasts=300), Symptom(files, 212, 2e3, lasts=50)
    drive.run(fault("sockets", lingers, connections, leaps), seconds=500)
    small, large = sorted(last(drive).values(), key=lambda one: one.opened_ns)
    assert large.series == (connections.series.key, files.key)
    assert [one.state for one in (small, large)] == ["resolved", "resolved"]
    assert [(one.onset_ns / S - START) for one in (small, large)] == [0, 202]


def test_what_grows_steadily_stays_one_incident() -> None:
    full = series("system.memory.utilization", "used")
    growing = [Symptom(full, after, 0.1 + after / 1000) for after in range(0, 600, 2)]
    assert len(Drive().run(fault("leak", *growing), seconds=800)) == 1


def test_what_flaps_is_one_incident_whoever_does_it() -> None:
    busy = Symptom(series("vedette.cpu.busy"), 0, 0.95, lasts=15)
    drive = Drive()
    for name in ("cc1", "ld", "pytest"):
        job = Scenario(name, (busy,), (usage("cpu", name, 0.9),), "cpu")
        drive.run(job, seconds=60)
    assert len(last(drive)) == 1


def test_a_load_that_comes_again_is_no_effect_of_what_begins_with_it() -> None:
    busy, inodes = series("vedette.cpu.busy"), "vedette.filesystem.inodes.growth"
    drive = Drive()
    hog = Scenario("hog", (Symptom(busy, 0, 0.6, lasts=30),), (usage("cpu", "hog", 0.6),), "cpu")
    drive.run(hog, seconds=60)
    made = Symptom(series(inodes, *MOUNT), 3, 1000.0, lasts=30)
    small = Symptom(busy, 0, 0.3, lasts=30)
    drive.run(Scenario("files", (small, made), (usage("cpu", "maker", 0.1),), ""), seconds=180)
    assert {one.resource for one in last(drive).values()} == {"cpu", "filesystem"}


def test_an_effect_that_comes_again_when_its_cause_is_over_is_another_fault() -> None:
    drive = Drive()
    drive.run(FAULTS["sockets"], seconds=110)
    drive.run(FAULTS["files"], seconds=180)
    told = sorted(last(drive).values(), key=lambda one: one.opened_ns)
    assert [(one.resource, one.suspects[0].name) for one in told] == [
        ("network", "drill-sockets"),
        ("kernel", "drill-files"),
    ]


@pytest.mark.parametrize(("then", "many"), [("other", 2), ("one", 1), ("", 1)])
def test_a_series_that_lingers_does_not_hold_an_incident_open_for_another(
    then: str, many: int
) -> None:
    busy, load = series("vedette.cpu.busy"), series("system.cpu.load_average.15m")
    lingers = Symptom(load, 10, 2.0, lasts=400)
    drive = Drive()
    first = Symptom(busy, 0, 0.95, lasts=30)
    drive.run(Scenario("first", (first, lingers), (usage("cpu", "one", 0.9),), "cpu"), seconds=150)
    used = (usage("cpu", then, 0.9),) if then else ()
    waits = Symptom(series("vedette.pressure.time", "cpu", "some", resource="cpu"), 0, 0.9)
    later = msgspec.structs.replace(lingers, after=-140)
    drive.run(Scenario("second", (waits, first, later), used, "cpu"), seconds=400)
    assert len(last(drive)) == many
    assert {one.state for one in last(drive).values()} == {"resolved"}
    if many == 2:
        newest = max(last(drive).values(), key=lambda one: one.opened_ns)
        assert set(newest.series) == {busy.key, waits.series.key}


def test_an_old_incident_does_not_swallow_what_comes_hours_later() -> None:
    full = Symptom(
        series("system.filesystem.utilization", "/dev/vda1", "/data", "ext4"),
        0,
        0.92,
        lasts=8_000,
        p=0.0,
        severity="warning",
    )
    drive = Drive()
    assert len(drive.run(FAULTS["disk-fill"], fault("full", full), seconds=300)) == 1
    assert len(drive.run(fault("full", full), seconds=0)) == 0
    drive.second += 3_000
    drive.correlator.step(drive.second * S, [])
    assert len(drive.run(FAULTS["disk"])) == 1


def test_an_unknown_family_joins_by_time_and_bridges_nothing() -> None:
    orders = Symptom(DATABASE.series(), 1, 5.0)
    assert len(Drive().run(fault("shop", *FAULTS["cpu"].symptoms, orders))) == 1
    drive = Drive()
    drive.run(FAULTS["cpu"], fault("shop", orders), FAULTS["log"])
    assert len(last(drive)) == 2


def test_what_was_often_seen_together_is_joined_and_can_be_taken_back() -> None:
    drive = Drive()
    pair = (FAULTS["log"], FAULTS["net-delay"])
    opened = [len(drive.run(*pair)) for _ in range(5)]
    assert opened == [2, 2, 2, 1, 1]
    lessons = [name for name, _, _ in drive.correlator.together.export()["lessons"]]  # type: ignore[attr-defined]
    for lesson in lessons:
        assert drive.correlator.together.undo(lesson)
    assert len(drive.run(*pair)) == 2


def test_what_is_never_together_is_kept_apart() -> None:
    drive = Drive()
    squeezed = fault("flood", Symptom(series("system.network.io", "eth0", "receive"), 0, 1e8))
    small = fault("cpu", Symptom(series("vedette.cpu.busy"), 0, 0.4))
    assert len(drive.run(squeezed, small, apart=3)) == 1
    for _ in range(12):
        drive.run(squeezed)
        drive.run(small)
    assert len(drive.run(squeezed, small, apart=3)) == 2


def test_an_event_before_the_onset_is_named_as_possible_cause() -> None:
    drive = Drive()
    now = drive.second * S
    drive.correlator.note(Event(now - 20 * S, "restart", "web.service", "unit web restarted"))
    drive.correlator.note(Event(now - 900 * S, "config", "", "the configuration was changed"))
    drive.run(FAULTS["cpu"], seconds=30)
    incident = last(drive).popitem()[1]
    assert [(one.kind, one.text) for one in incident.suspects][:2] == [
        ("process", "97% of it"),
        ("event", "unit web restarted"),
    ]
    assert "since 14:00:00, shortly after unit web restarted; process `drill-cpu`" in incident.title
    assert incident.suspects[1].reason.endswith("20 s before it began")


def test_an_event_that_is_heard_of_late_is_told_with_the_next_update() -> None:
    drive = Drive()

    def heard(second: int) -> None:
        if second == START + 15:
            event = Event((START - 30) * S, "deploy", "web", "web was replaced by a new version")
            drive.correlator.note(event)

    drive.run(FAULTS["log"], each=heard, seconds=40)
    assert [one.change for one in drive.told] == ["opened", "updated"]
    assert "shortly after web was replaced by a new version" in drive.told[-1].incident.title


def test_that_a_server_fell_silent_is_no_cause_of_its_own_silence() -> None:
    drive = Drive()
    where, other = "127.0.0.1:8000", "127.0.0.1:4000"
    text = f"vLLM on {where} stopped answering"
    drive.correlator.note(Event(drive.second * S, "outage", where, text))
    drive.run(
        fault("engine", Symptom(series("vedette.model.server.silence", where, "vllm"), 0, 20))
    )
    assert text not in last(drive).popitem()[1].title
    drive = Drive()
    drive.correlator.note(Event(drive.second * S, "outage", where, text))
    place = (other, "litellm", "gateway", "toy")
    drive.run(fault("gateway", Symptom(series("vedette.model.failures.share", *place), 5, 0.9)))
    assert f"shortly after {text}" in last(drive).popitem()[1].title


STOPPED, GONE = WHY["stopped"], WHY["connect"]


@pytest.mark.parametrize(
    ("other", "why", "many"), [("mosec", STOPPED, 1), ("cron", GONE, 2), ("", STOPPED, 2)]
)
def test_a_server_that_is_silent_because_it_was_stopped_is_one_incident(
    other: str, why: str, many: int
) -> None:
    silence = series("vedette.model.server.silence", "127.0.0.1:8000", "mosec")
    stopped = (usage("stopped", other, 1.0),) if other else ()
    both = Scenario(
        "stopped",
        (*FAULTS["stuck"].symptoms, Symptom(silence, 25, 20, severity="critical", text=why)),
        stopped,
        "model",
    )
    drive = Drive()
    assert len(drive.run(both)) == many
    told = [one for one in last(drive).values() if one.resource == "model"]
    named = [one.name for one in told[0].suspects if one.kind == "process"]
    assert named == ([other] if other and why == STOPPED else [])


@pytest.mark.parametrize(("path", "named"), [("/srv/app.log", ["app"]), ("/srv/other.log", [])])
def test_who_writes_a_log_is_suspected_of_that_log_alone(path: str, named: list[str]) -> None:
    strange = series("vedette.log.strangeness", "/srv/app.log", "burst", "error", "")
    writer = Usage("log", "process", "app", "4711", 1.0, path)
    drive = Drive()
    drive.run(Scenario("log", (Symptom(strange, 5, 20.0),), (writer,), "log"))
    incident = last(drive).popitem()[1]
    assert [one.name for one in incident.suspects if one.kind == "process"] == named
    assert ("process `app` (pid 4711) wrote /srv/app.log" in incident.title) is bool(named)


@pytest.mark.parametrize(
    ("hog", "share", "many"),
    [("hog", 0.9, 2), ("hog", 0.2, 1), ("drill-disk-fill", 0.9, 1), ("", 0.0, 1)],
)
def test_a_small_effect_is_none_where_another_program_alone_makes_it(
    hog: str, share: float, many: int
) -> None:
    waits = Symptom(series("vedette.pressure.time", "cpu", "some"), 8, 0.18)
    used = (usage("cpu", hog, share),) if hog else ()
    drive = Drive()
    told = drive.run(FAULTS["disk-fill"], Scenario("cpu", (waits,), used, "cpu"))
    assert len(told) == many
    if many == 2:
        assert {one.resource for one in last(drive).values()} == {"filesystem", "cpu"}


def test_a_series_that_turned_strange_first_comes_before_the_symptoms() -> None:
    drive = Drive()
    wait = Symptom(series("vedette.disk.operation.wait", "vda", "read"), 0, 2.0)
    blocked = Symptom(series("system.process.count", "blocked"), 12, 30.0)
    raid = Symptom(series("vedette.raid.degraded", "md0"), 5, 1.0)
    drive.run(fault("array", raid, wait, blocked))
    incident = last(drive).popitem()[1]
    assert incident.resource == "raid"
    assert [one.name for one in incident.suspects] == [wait.series.key, blocked.series.key]
    first, second = incident.suspects
    assert first.reason.startswith(
        "turned strange 5 s before; what is wrong with disk vda shows in"
    )
    assert second.reason == "turned strange 7 s after"


def test_a_series_that_is_told_twice_is_one_suspect() -> None:
    symptoms = FAULTS["cpu"].symptoms
    twins = {one.series.key: "load" for one in symptoms[1:4]}
    correlator = Correlator(twin=lambda key: twins.get(key, key))
    drive = Drive(correlator)
    drive.run(fault("cpu", *symptoms))
    incident = last(drive).popitem()[1]
    assert len([one for one in incident.suspects if one.name in twins]) == 1
    assert len(incident.series) == len(symptoms)


def test_a_process_that_grew_over_minutes_is_no_usual_one() -> None:
    correlator = Correlator()
    for _ in range(60):
        correlator.observe([usage("memory", "database", 0.2), usage("memory", "idle", 0.05)])
    for scan in range(12):
        leak = usage("memory", "leak", 0.02 * scan)
        correlator.observe([usage("memory", "database", 0.2), leak])
    leaking = fault("memory", Symptom(series("system.memory.utilization", "used"), 0, 0.5))
    drive = Drive(correlator)
    drive.idle = (usage("memory", "database", 0.2), usage("memory", "leak", 0.24))
    drive.run(leaking, seconds=20)
    assert last(drive).popitem()[1].suspects[0].name == "leak"


def test_who_is_to_blame_for_another_incident_is_no_suspect_by_growth_alone() -> None:
    drive = Drive()
    drive.run(FAULTS["cpu"], FAULTS["net-delay"])
    network = next(one for one in last(drive).values() if one.resource == "network")
    assert "drill-cpu" not in [one.name for one in network.suspects]


def test_evidence_after_the_onset_is_completed_by_an_update_after_five_minutes() -> None:
    drive = Drive()
    long = fault("long", Symptom(series("vedette.cpu.busy"), 0, 0.9, lasts=400))
    drive.run(long, seconds=390)
    updates = [one.incident.updated_ns for one in drive.told if one.change == "updated"]
    assert [time // S - START for time in updates] == [300]


def test_an_incident_of_an_earlier_run_takes_its_thing_back() -> None:
    first = Drive()
    first.run(FAULTS["disk"], seconds=30)
    (incident,) = first.correlator.incidents
    for name, expected in (("disk", 1), ("log", 2)):
        correlator = Correlator()
        correlator.restore([incident], first.second * S)
        again = Drive(correlator)
        again.second = first.second
        again.run(FAULTS[name], seconds=30)
        assert len(correlator.incidents) == expected


def test_an_incident_of_an_earlier_run_that_does_not_come_back_is_over() -> None:
    first = Drive()
    first.run(FAULTS["disk"], seconds=30)
    correlator = Correlator(zone=UTC)
    correlator.restore(first.correlator.incidents, first.second * S)
    later = (first.second + 60) * S
    (change,) = correlator.step(later, [])
    assert (change.change, change.incident.resolved_ns) == ("resolved", first.second * S)
    assert change.incident.title.endswith("(over by 14:00:30, after a restart of the agent)")
    assert not correlator.active


def test_what_is_over_before_it_is_told_is_never_told() -> None:
    drive = Drive()
    brief = Symptom(series("vedette.cpu.busy"), 0, 0.9, lasts=-5)
    assert drive.run(fault("brief", brief), seconds=60) == []
    assert not drive.correlator.active


def test_what_was_added_to_an_incident_stays_when_it_is_told_anew() -> None:
    drive = Drive()
    busy = fault("busy", Symptom(series("vedette.cpu.busy"), 0, 0.99))
    drive.run(busy, seconds=20)
    (incident,) = drive.correlator.incidents
    track = Track("vedette.cpu.busy", "1", 0, S, (1.0,))
    drive.correlator.attach(msgspec.structs.replace(incident, evidence=(track,)))
    assert drive.correlator.band(incident.id, "vedette.cpu.busy")[1] == pytest.approx(0.099)
    drive.run(busy)
    (last_told,) = drive.correlator.incidents
    assert (last_told.state, last_told.evidence) == ("resolved", (track,))
    drive.correlator.attach(msgspec.structs.replace(last_told, evidence=()))
    assert drive.correlator.incidents[0].evidence == ()


def test_older_incidents_keep_less_of_their_evidence() -> None:
    drive = Drive()
    track = {"series": "x", "unit": "1", "start_ns": 0, "step_ns": S, "values": [1.0] * 900}
    drive.run(FAULTS["log"])
    (incident,) = drive.correlator.incidents
    whole = msgspec.structs.replace(incident, evidence=(msgspec.convert(track, Track),))
    correlator = Correlator()
    correlator.restore([whole] * (KEPT_WHOLE + 3), 0)
    lengths = sorted(len(one.evidence[0].values) for one in correlator.incidents)
    assert lengths == [90] * 3 + [900] * KEPT_WHOLE


def test_the_bounds_hold_and_what_is_dropped_is_counted() -> None:
    correlator = Correlator()
    alone = [gauge("vedette.clock.x", "1", "X.", ("log.file.path",), resource="log")]
    many = [alone[0].series(f"/var/log/{number}") for number in range(80)]
    for place, one in enumerate(many):
        correlator.step(place * 60 * S, [opened(one, place * 60 * S)])
    assert len(correlator.incidents) <= 50
    assert correlator.dropped == 30


def opened(one: Series, at_ns: int) -> FindingChange:
    finding = Finding(one, "robust", at_ns, at_ns, "info", 1e-9, 1.0, math.nan, 0.1)
    return FindingChange("opened", 0, finding)
