"""What a server tells of how requests ended is what its client counted, or it says that it cannot.

``client.json`` has the client's counts of the same run: kind of request and HTTP status.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
from page_cases import FIXTURES, mapped

from vedette.serving.vocabulary import outermost

#: Outcomes by status, as any HTTP client would have it.
STATUS = {"429": "rejected", "503": "rejected", "504": "timeout", "closed early": "aborted"}
#: What a server cannot count, or counts as something else: the kinds of requests, and as what.
#: Each must be declared as a blind spot of that outcome.
BLIND: dict[str, dict[tuple[str, str], str]] = {
    "kserve-0.21.0": {("client_error", ".*"): ""},
    "mosec-0.9.8": {("client_error", "404"): ""},
    "torchserve-0.12.0": {("rejected", ".*"): "server_error"},
    "triton-2.51.0": {("client_error", ".*"): ""},
}
#: Servers that count no requests at all.
SILENT = ("litserve-0.2.19", "llamacpp-0c1e570")
#: A worker sees what its front end lets through.
BEHIND = ("dynamo-worker-1.6.1",)
COUNTED = sorted(
    path.parent.name
    for path in FIXTURES.glob("*/client.json")
    if path.parent.name not in (*SILENT, *BEHIND)
)


def client(name: str) -> Counter[str]:
    """Return the client's counts by the outcome that the server can tell."""
    told: Counter[str] = Counter()
    blind = BLIND.get(name, {})
    for kind, count in json.loads((FIXTURES / name / "client.json").read_text()).items():
        what, _, status = kind.rpartition(" -> ")
        outcome = (
            STATUS.get(status) or {"2": "ok", "4": "client_error", "5": "server_error"}[status[0]]
        )
        for (of, which), instead in blind.items():
            if of == outcome and which in (".*", what):
                outcome = instead
                break
        if outcome:
            told[outcome] += count
    return told


@pytest.mark.parametrize("name", COUNTED)
def test_the_outcomes_are_those_that_the_client_counted(name: str) -> None:
    last = mapped(name)[-1]
    layer = outermost({one.layer for one in last.outcomes})
    told = {one.outcome: one.value for one in last.outcomes if one.layer == layer and one.value}
    assert told == client(name)


@pytest.mark.parametrize("name", COUNTED)
def test_so_are_those_gained_from_the_first_page_to_the_last(name: str) -> None:
    found = mapped(name)
    layer = outermost({one.layer for one in found[-1].outcomes})
    gained: Counter[str] = Counter()
    for step in found[1:]:
        for one in step.outcomes:
            if one.layer == layer and one.gain:
                gained[one.outcome] += round(one.gain)
    before = {one.outcome: one.value for one in found[0].outcomes if one.layer == layer}
    assert not any(before.values())
    assert gained == client(name)


@pytest.mark.parametrize("name", sorted(BLIND))
def test_where_they_are_not_a_blind_spot_says_so(name: str) -> None:
    about = {one.about for one in mapped(name)[-1].blind}
    for outcome, _ in BLIND[name]:
        assert outcome in about


@pytest.mark.parametrize("name", SILENT)
def test_a_server_that_counts_none_says_so(name: str) -> None:
    last = mapped(name)[-1]
    assert last.outcomes == ()
    assert "outcomes" in {one.about for one in last.blind}


def test_a_worker_counts_what_reached_it() -> None:
    last = mapped("dynamo-worker-1.6.1")[-1]
    told = {one.outcome: one.value for one in last.outcomes if one.value}
    assert told == {"ok": 100}
    assert "client_error" in {one.about for one in last.blind}
