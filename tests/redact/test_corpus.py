"""The redaction over invented lines: what hides something is masked, what is ordinary stays."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from corpus import Positive, negatives, positives

from vedette.redact.redactor import RULES, Redactor

REDACTOR = Redactor()
POSITIVES = positives()
NEGATIVES = negatives()


def leaks(one: Positive) -> bool:
    out = REDACTOR.redact(one.line.encode()).data.decode()
    return any(secret in out for secret in one.secrets)


def test_the_corpus_is_broad() -> None:
    assert len(POSITIVES) >= 400
    assert len({one.kind for one in POSITIVES}) >= 40
    assert len(NEGATIVES) >= 1500
    assert all(secret in one.line for one in POSITIVES for secret in one.secrets)


@pytest.mark.parametrize("seed", [11, 1, 2])
def test_at_least_98_of_100_secrets_do_not_come_out(seed: int) -> None:
    lines = positives(seed)
    missed = Counter(one.kind for one in lines if leaks(one))
    assert sum(missed.values()) <= len(lines) * 0.02, missed


def test_of_no_kind_but_the_hard_one_is_more_than_a_quarter_missed() -> None:
    total = Counter(one.kind for one in POSITIVES)
    missed = Counter(one.kind for one in POSITIVES if leaks(one))
    bad = {kind: n for kind, n in missed.items() if n > total[kind] / 4 and kind != "hard"}
    assert not bad


def test_at_most_one_ordinary_line_of_100_is_touched() -> None:
    touched = [
        (kind, line)
        for kind, line in NEGATIVES
        if REDACTOR.redact(line.encode()).data != line.encode()
    ]
    assert len(touched) <= len(NEGATIVES) * 0.01, touched[:20]


def test_every_rule_that_is_on_finds_something() -> None:
    seen: Counter[str] = Counter()
    for one in POSITIVES:
        seen.update(REDACTOR.redact(one.line.encode()).hits)
    off = {"address", "hardware", "user"}
    assert set(RULES) - set(seen) == off


def test_what_is_not_secret_of_a_line_is_still_there() -> None:
    for line, kept in (
        (
            "postgres://app:s3cr3tpw@db.corp:5432/orders",
            ("postgres://app:", "@db.corp:5432/orders"),
        ),
        ('{"user":"bob","password":"hunter2","n":3}', ('{"user":"bob","password":"', '","n":3}')),
        ("Authorization: Bearer abcdef0123456789abcd x=1", ("Authorization: Bearer ", " x=1")),
        ("mail to=<bob@corp.example>, status=sent", ("mail to=<", ">, status=sent")),
        ("Server=db;Password=a,b;Timeout=3", ("Server=db;Password=", ";Timeout=3")),
    ):
        out = REDACTOR.redact(line.encode()).data.decode()
        assert out != line
        assert all(part in out for part in kept), out


def test_redacting_every_line_twice_is_redacting_it_once() -> None:
    for line in [one.line for one in POSITIVES] + [line for _, line in NEGATIVES]:
        once = REDACTOR.redact(line.encode())
        twice = REDACTOR.redact(once.data)
        assert (twice.data, dict(twice.hits)) == (once.data, {})
