"""What is made of events: calm with a unit that turns, also in the files of its program."""

from __future__ import annotations

import pytest

from vedette.logs.columns import Columns, Reading
from vedette.logs.digest import CALM_NS, Digest
from vedette.logs.entry import Severity
from vedette.logs.intake import Batch

S = 1_000_000_000
NOW = 1_795_183_200 * S
STARTED = {"MESSAGE_ID": b"39f53479d3a045ac8e11786248231fbf", "UNIT": b"nginx.service"}


def batch(source: str, *bodies: bytes, fields: dict[str, bytes] | None = None) -> Batch:
    columns = Columns()
    for body in bodies:
        columns.add(Reading(body, Severity.INFO, NOW, "", fields), len(body) + 1)
    return Batch(source, columns)


@pytest.mark.parametrize(
    ("source", "is_calm"),
    [
        ("nginx.service", True),
        ("/var/log/nginx/error.log", True),
        ("/var/log/nginx.log", True),
        ("/var/log/apache2/error.log", False),
        ("sshd.service", False),
    ],
)
def test_a_unit_that_is_started_calms_its_own_sources(source: str, is_calm: bool) -> None:
    digest = Digest(NOW, 0, {})
    digest.take(batch("init.scope", b"Started nginx.", fields=STARTED), NOW)
    assert (digest._calm(source) == NOW + CALM_NS) is is_calm
    digest.take(batch("init.scope", b"Started other.", fields={**STARTED, "UNIT": b"o"}), NOW * 2)
    assert digest._calm(source) in (0, NOW * 2)


@pytest.mark.parametrize(
    ("text", "is_turn"),
    [
        ("database system is ready to accept connections", True),
        ("database system is shut down", True),
        ("starting PostgreSQL 15.3 on x86_64", True),
        ("Server listening on 127.0.0.1 port 22.", True),
        ("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo", True),
        ("Redis is now ready to exit, bye bye...", True),
        ("server is starting up", True),
        ("Background saving started by pid 71", False),
        ("Starting backup of /var", False),
        ("session started for user ann", False),
        ("starting replication from master", False),
        ("job 17 started", False),
    ],
)
def test_what_a_program_says_when_it_starts_or_ends_is_known(text: str, is_turn: bool) -> None:
    digest = Digest(NOW, 0, {})
    digest.take(batch("app", text.encode()), NOW)
    assert (digest._turned_ns.get("app", 0) == NOW + CALM_NS) is is_turn


def test_a_program_that_starts_again_and_again_is_not_calm() -> None:
    digest = Digest(NOW, 0, {})
    for at in range(0, 3600, 60):
        digest.take(batch("app", b"server is starting"), NOW + at * S)
    assert digest._turned_ns["app"] == NOW + CALM_NS


def test_templates_that_became_one_are_counted_as_one() -> None:
    digest = Digest(NOW, 0, {})
    names = [b"ann", b"bob", b"eve", b"dan", b"kim", b"lea", b"max", b"tom", b"uwe", b"zoe"]
    for at, name in enumerate(names * 3):
        digest.take(batch("app", b"job of user " + name + b" is done now"), NOW + at * S)
        digest.tick(NOW + at * S, behind=False)
    rows = list(digest.ledger.window())
    assert sum(row.count for _, _, row in rows) == 30
    assert {digest.now(number) for _, number, _ in rows} == {number for _, number, _ in rows}


def test_what_was_learned_is_taken_up_whole() -> None:
    digest = Digest(NOW, 0, {})
    digest.take(batch("app", b"one thing", b"another thing"), NOW)
    digest.tick(NOW, behind=False)
    other = Digest(NOW, 0, {})
    other.restore(digest.learned(), digest.birth, digest.ledger.state())
    assert [one.text for one in other.miner.templates()] == ["one thing", "another thing"]
    assert set(other.watches) == {"app"}
    assert len(list(other.ledger.window())) == 2
    stranger = Digest(NOW, 0, {})
    stranger.restore(None, digest.birth, digest.ledger.state())
    assert list(stranger.ledger.window()) == []
