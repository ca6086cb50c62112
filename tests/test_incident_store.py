"""Incidents, and what they taught, survive a restart; a damaged file harms nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from vedette import incident_store
from vedette.api import Incident, Suspect
from vedette.together import Together

INCIDENT = Incident(
    id="20261120T140000Z-cpu",
    state="open",
    severity="info",
    resource="cpu",
    title="CPU of this host is saturated",
    onset_ns=1,
    opened_ns=2,
    updated_ns=3,
    resolved_ns=None,
    series=("vedette.cpu.busy",),
    suspects=(Suspect("event", "restart", "web", 0.0, "web restarted", "why", 7),),
    entities=("cpu",),
)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    assert incident_store.load(tmp_path) == ()
    assert incident_store.load_learned(tmp_path) == {}
    together = Together()
    together.learn("one", ["cpu", "disk/sda"])
    incident_store.save(tmp_path, [INCIDENT])
    incident_store.save_learned(tmp_path, together.export())
    assert incident_store.load(tmp_path) == (INCIDENT,)
    again = Together()
    again.restore(incident_store.load_learned(tmp_path))
    assert again.export() == together.export()


def test_incidents_of_an_older_version_are_read(tmp_path: Path) -> None:
    old = msgspec.to_builtins(INCIDENT)
    old.pop("entities")
    old["suspects"] = [{"kind": "process", "name": "a", "id": "1", "share": 0.5, "text": "b"}]
    path = tmp_path / incident_store.FILE_NAME
    path.write_bytes(msgspec.json.encode({"incidents": [old]}))
    (incident,) = incident_store.load(tmp_path)
    assert (incident.entities, incident.suspects[0].reason) == ((), "")


@pytest.mark.parametrize("data", [b"", b"{", b'{"incidents": 7}', b"[1]", b"\xff\xfe"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, data: bytes) -> None:
    for name in (incident_store.FILE_NAME, incident_store.LEARNED_NAME):
        (tmp_path / name).write_bytes(data)
    assert incident_store.load(tmp_path) == ()
    assert (tmp_path / f"{incident_store.FILE_NAME}.damaged").read_bytes() == data
    if data != b'{"incidents": 7}':  # for the other file that is some object
        assert incident_store.load_learned(tmp_path) == {}
        assert not (tmp_path / incident_store.LEARNED_NAME).exists()
