"""What the logs said around an incident, as it happens and when its windows are gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vedette.api import Record


def said(teller: Any, identity: str = "i-1") -> Any:
    return teller.client.json(f"/api/v1/incidents/{teller.agent}/{identity}/logs")


def hour_and_onset(teller: Any) -> Iterator[list[Record]]:
    """Yield 70 minutes of windows; the incident begins half a minute into the 66th."""
    for at in range(70):
        end = teller.now + (at + 1) * teller.minute
        some = [teller.template(10, end, uid="usual"), teller.template(1, end, uid="rare")]
        if at % 20 == 0:
            some.append(teller.template(1, end, uid="fault", severity=17))
        if at == 65:
            some.append(teller.template(2, end, uid="first", text="never seen"))
            some.append(teller.template(40, end, uid="burst"))
            some[1] = teller.template(30, end, uid="rare")
            some.append(teller.template(1, end, uid="grave", severity=17, text="new and grave"))
        if at == 10:
            some.append(teller.template(1, end, uid="burst"))
            some.append(teller.template(1, end, uid="grave2", severity=17))
        if at == 64:
            some.append(teller.template(3, end, uid="fault", severity=17, name="another"))
        yield some


def test_an_incident_has_what_was_new_much_more_or_an_error_around_it(
    teller: Any, otlp: Any
) -> None:
    onset = teller.now + 65 * teller.minute + 30 * teller.second
    for records in hour_and_onset(teller):
        teller.client.store.clock_ns.now_ns = records[0].time_ns
        teller.send(*records)
    event = otlp.incident("opened", onset, "i-1", onset=onset)
    teller.client.send(otlp.logs(event), teller.sequence + 1)
    answer = said(teller)
    found = {one["uid"]: tuple(one["reasons"]) for one in answer["said"]}
    assert found == {
        "grave": ("new", "error"),
        "fault": ("error",),
        "first": ("new",),
        "burst": ("more",),
        "rare": ("more",),
    }
    assert answer["said"][0]["uid"] == "grave"
    rare = next(one for one in answer["said"] if one["uid"] == "rare")
    assert (rare["count"], rare["usual"]) == (34, 5.0)
    assert answer["from_ms"] == (teller.now + 63 * teller.minute) // 10**6
    assert answer["to_ms"] == (teller.now + 68 * teller.minute) // 10**6


def test_what_was_said_around_an_incident_is_kept_when_its_windows_are_gone(
    teller: Any, otlp: Any
) -> None:
    onset = teller.now + 65 * teller.minute + 30 * teller.second
    for records in hour_and_onset(teller):
        teller.client.store.clock_ns.now_ns = records[0].time_ns
        teller.send(*records)
    event = otlp.incident("opened", onset, "i-1", onset=onset)
    teller.sequence += 1
    teller.client.send(otlp.logs(event), teller.sequence)
    before = said(teller)
    for at in range(70, 400, 10):
        end = teller.now + at * teller.minute
        teller.client.store.clock_ns.now_ns = end
        teller.send(teller.template(10, end, uid="usual"))
    assert not any(count for _, _, count in teller.one("first")["windows"])
    assert sum(count for _, count in teller.one("first")["hours"]) == 2
    connection = teller.client.store.connection
    assert connection.execute("SELECT id FROM log_incident").fetchall() == [("i-1",)]
    after = said(teller)
    assert after["said"] == before["said"]
    assert (after["from_ms"], after["to_ms"]) == (before["from_ms"], before["to_ms"])


def test_on_a_host_just_met_nothing_is_called_new(teller: Any, otlp: Any) -> None:
    teller.send(teller.template(500), teller.template(2, uid="bad", severity=17))
    event = otlp.incident("opened", otlp.now, "i-1", onset=otlp.now - 30 * teller.second)
    teller.client.send(otlp.logs(event), 2)
    answer = said(teller)
    assert [(one["uid"], one["reasons"], one["usual"]) for one in answer["said"]] == [
        ("bad", ["error"], None)
    ]
