"""What the receiver keeps of a host's inventory: the newest, its changes, within bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from vedette import announcements
from vedette import otlp as agent_side
from vedette.api import Item
from vedette.receiver import schema
from vedette.receiver.limits import INVENTORY_BYTES_MAX
from vedette.receiver.store import Store

DISK = {"kind": "disk", "name": "sda", "facts": {"size": 1 << 40, "rotational": False}}
CPU = {"kind": "cpu", "name": "EPYC", "facts": {"logical": 8, "cache": "512 KB", "share": 0.5}}


def inventory(client: Any, otlp: Any) -> Any:
    return client.json(f"/api/v1/hosts/{otlp.agent}/inventory")


def told(answer: Any) -> list[str]:
    return [change["text"] for change in answer["changes"]]


def test_what_the_agent_sends_is_what_is_kept(client: Any, otlp: Any) -> None:
    items = [Item("cpu", "EPYC", CPU["facts"]), Item("disk", "sda", DISK["facts"])]
    event = announcements.inventory_event(otlp.now, items, "abc", ["disk sda appeared"])
    resource = {"service.instance.id": otlp.agent, "host.name": "web-1"}
    request = ExportLogsServiceRequest.FromString(agent_side.encode_logs([event], resource))
    assert client.send(request, 1).status_code == 200
    ms = otlp.now // 10**6
    assert inventory(client, otlp) == {
        "now_ms": ms,
        "time_ms": ms,
        "digest": "abc",
        "items": [CPU, DISK],
        "omitted": 0,
        "changes": [{"time_ms": ms, "text": "disk sda appeared"}],
    }
    assert client.json(f"/api/v1/hosts/{otlp.agent}")["host"]["inventory_ms"] == ms


def test_a_host_that_never_said_has_an_empty_inventory(client: Any, otlp: Any) -> None:
    client.send(otlp.logs(otlp.heartbeat(otlp.now)), 1)
    answer = inventory(client, otlp)
    assert (answer["time_ms"], answer["items"], answer["changes"]) == (None, [], [])
    assert client.json("/api/v1/hosts")["hosts"][0]["inventory_ms"] is None
    assert client.get("/api/v1/hosts/nobody/inventory").status_code == 404


def test_an_older_inventory_does_not_replace_a_newer_one(client: Any, otlp: Any) -> None:
    client.send(otlp.logs(otlp.inventory(otlp.now, [DISK], ["b"])), 2)
    client.send(otlp.logs(otlp.inventory(otlp.now - otlp.minute, [CPU], ["a"])), 1)
    answer = inventory(client, otlp)
    assert answer["items"] == [DISK]
    assert told(answer) == ["b", "a"]


def test_the_newest_of_several_in_one_request_counts_and_all_changes(
    client: Any, otlp: Any
) -> None:
    newer = otlp.inventory(otlp.now, [DISK], ["c", "d"])
    older = otlp.inventory(otlp.now - otlp.second, [CPU], ["b"])
    client.send(otlp.logs(newer, older), 1)
    answer = inventory(client, otlp)
    assert answer["items"] == [DISK]
    assert told(answer) == ["c", "d", "b"]


def test_a_resend_changes_nothing(client: Any, otlp: Any) -> None:
    request = otlp.logs(otlp.inventory(otlp.now, [DISK], ["disk sda appeared"]))
    for number in (1, 1, 2):  # the last as from a spool that was made anew
        client.send(request, number)
    assert told(inventory(client, otlp)) == ["disk sda appeared"]


def test_the_newest_hundred_changes_are_kept(client: Any, otlp: Any) -> None:
    for number in range(7):
        texts = [f"{number}.{place}" for place in range(20)]
        event = otlp.inventory(otlp.now + number, [DISK], texts)
        client.send(otlp.logs(event), number + 1)
    texts = told(inventory(client, otlp))
    assert len(texts) == 100
    assert (texts[0], texts[19], texts[20], texts[-1]) == ("6.0", "6.19", "5.0", "2.19")


def test_hosts_are_kept_apart(client: Any, otlp: Any) -> None:
    client.send(otlp.logs(otlp.inventory(otlp.now, [DISK], ["a"])), 1)
    other = otlp.logs(otlp.inventory(otlp.now, [CPU], ["b"]), resource={"host.name": "other"})
    client.send(other)
    assert inventory(client, otlp)["items"] == [DISK]
    answer = client.json("/api/v1/hosts/other/inventory")
    assert (answer["items"], told(answer)) == ([CPU], ["b"])


WRONG = [
    pytest.param("disk sda", "gone", id="no lists"),
    pytest.param([], [], id="nothing"),
    pytest.param(["sda", 7, [DISK]], [1, {"a": 2}, True], id="no mappings"),
    pytest.param([{"name": "sda"}, {"kind": 7.5, "facts": "x"}], ["ok"], id="no kind"),
    pytest.param([{"kind": "disk", "facts": [1]}], ["ok"], id="facts are a list"),
    pytest.param(
        [{"kind": "disk", "facts": {"a": float("nan"), "b": float("inf"), "c": [1], "d": {}}}],
        ["ok"],
        id="facts that are none",
    ),
]


@pytest.mark.parametrize(("items", "changes"), WRONG)
def test_an_inventory_of_wrong_types_harms_nothing(
    client: Any, otlp: Any, items: Any, changes: Any
) -> None:
    event = otlp.inventory(otlp.now, items, changes, digest=5)
    assert client.send(otlp.logs(event, otlp.heartbeat(otlp.now)), 1).status_code == 200
    answer = inventory(client, otlp)
    assert all(item["kind"] and item["facts"] == {} for item in answer["items"])
    assert all(isinstance(text, str) for text in told(answer))


def test_items_that_cannot_be_read_do_not_replace_the_inventory(client: Any, otlp: Any) -> None:
    client.send(otlp.logs(otlp.inventory(otlp.now - 1, [DISK])), 1)
    client.send(otlp.logs(otlp.inventory(otlp.now, "garbage")), 2)
    assert inventory(client, otlp)["items"] == [DISK]


def test_a_hostile_inventory_is_cut(client: Any, otlp: Any) -> None:
    wide = {"kind": "k" * 999, "name": "n" * 999, "facts": {f"f{i}": "v" * 999 for i in range(90)}}
    many = [{"kind": "disk", "name": f"sd{i}", "facts": {}} for i in range(600)]
    event = otlp.inventory(otlp.now, [wide, *many, many[0]], ["c" * 5000] * 300)
    assert client.send(otlp.logs(event), 1).status_code == 200
    answer = inventory(client, otlp)
    first = answer["items"][0]
    assert (len(first["kind"]), len(first["name"]), len(first["facts"])) == (256, 256, 40)
    assert {len(value) for value in first["facts"].values()} == {256}
    assert (len(answer["items"]), answer["omitted"]) == (500, 101)
    assert (len(answer["changes"]), len(answer["changes"][0]["text"])) == (100, 600)


def test_an_inventory_of_large_items_is_bounded_in_bytes(client: Any, otlp: Any) -> None:
    facts = {f"f{i}": "v" * 250 for i in range(40)}
    items = [{"kind": "disk", "name": f"sd{i}", "facts": facts} for i in range(100)]
    assert client.send(otlp.logs(otlp.inventory(otlp.now, items)), 1).status_code == 200
    answer = inventory(client, otlp)
    assert answer["omitted"] == 100 - len(answer["items"]) > 50
    assert len(msgspec.json.encode(answer["items"])) <= INVENTORY_BYTES_MAX + 1000


def test_hostile_text_is_data(client: Any, otlp: Any) -> None:
    text = "<script>alert(1)</script>'; DROP TABLE inventory; --\x00\u202e"
    item = {"kind": text, "name": text, "facts": {text: text}}
    assert client.send(otlp.logs(otlp.inventory(otlp.now, [item], [text])), 1).is_success
    answer = inventory(client, otlp)
    assert answer["items"] == [item]
    assert told(answer) == [text]


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """Return the path of a database as the first version of the schema had it."""
    path = tmp_path / schema.NAME
    with sqlite3.connect(path) as connection:
        connection.executescript(schema._FIRST + "PRAGMA user_version = 1;")
        connection.execute(
            "INSERT INTO host VALUES ('a', 'web-1', '', '{}', 1, 1, 1, 0, 1, 0, 0, NULL, NULL)"
        )
    connection.close()
    return path


def test_a_database_without_inventories_goes_on_working(
    make_store: Callable[..., Store], first_version: Path
) -> None:
    store = make_store(first_version)
    names = store.connection.execute("SELECT agent FROM host").fetchall()
    assert names == [("a",)]
    assert store.connection.execute("SELECT count(*) FROM inventory").fetchone() == (0,)
    assert store.connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    store.close()
    again = make_store(first_version)
    assert again.connection.execute("SELECT agent FROM host").fetchall() == names
    assert list(first_version.parent.glob("*corrupt*")) == []
