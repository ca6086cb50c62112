"""Whatever findings come and go: each is in one case, and every incident that opens is resolved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.api import Finding
from vedette.correlate import Correlator
from vedette.decide import FindingChange

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import FAULTS, S, usage

SERIES = list(
    {one.series.key: one.series for fault in FAULTS.values() for one in fault.symptoms}.values()
)
PROGRAMS = ("one", "two", "three")
RESOURCES = ("cpu", "disk", "files", "space", "memory")
HEADS = ("robust", "lasting")
Key = tuple[str, str]


class World:
    """Findings that open, grow and close at random, and the scans of who uses what."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.correlator = Correlator()
        self.open: dict[Key, Finding] = {}
        self.second = 1_000
        self.opened: set[str] = set()
        self.resolved: set[str] = set()

    def draw(self, strategy: st.SearchStrategy[int]) -> int:
        return self.data.draw(strategy)

    def change(self, *, only_close: bool = False) -> FindingChange:
        """Let one finding open, go on or close."""
        at = self.draw(st.integers(0, len(SERIES) - 1))
        head = HEADS[self.draw(st.integers(0, len(HEADS) - 1))]
        key = (head, SERIES[at].key)
        before = self.open.get(key)
        words: Literal["opened", "continued", "closed"] = "opened"
        if before is None:
            size = self.draw(st.sampled_from([2, 3, 10, 100]))
            before = Finding(
                series=SERIES[at],
                detector=head,
                since_ns=(self.second - self.draw(st.integers(0, 8))) * S,
                last_ns=self.second * S,
                severity="info",
                p=1e-9,
                observed=0.01 * size,
                low=0.0,
                high=0.01,
                text="",
            )
        else:
            words = "closed" if only_close or self.draw(st.integers(0, 1)) else "continued"
            factor = self.draw(st.sampled_from([1, 2, 10])) if words == "continued" else 1
            before = msgspec.structs.replace(
                before, last_ns=self.second * S, observed=before.observed * factor
            )
        self.open[key] = before
        if words == "closed":
            del self.open[key]
        return FindingChange(words, 0, before)

    def step(self, changes: list[FindingChange]) -> None:
        told = self.correlator.step(self.second * S, changes)
        for one in told:
            identity = one.incident.id
            if one.change == "opened":
                assert identity not in self.opened
                self.opened.add(identity)
            assert identity in self.opened
            assert identity not in self.resolved
            assert one.incident.onset_ns <= self.second * S
            assert one.incident.series
            if one.change == "resolved":
                self.resolved.add(identity)
        cases = self.correlator._cases
        held = [key for case in cases for key in case.open]
        assert sorted(held) == sorted(self.open)
        assert all(key in case.members for case in cases for key in case.open)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_each_finding_is_in_one_case_and_each_incident_ends(data: st.DataObject) -> None:
    world = World(data)
    for _ in range(data.draw(st.integers(1, 25))):
        world.second += data.draw(st.sampled_from([1, 2, 5, 25, 70, 700]))
        if data.draw(st.booleans()):
            share = data.draw(st.sampled_from([0.05, 0.2, 0.9]))
            program = data.draw(st.sampled_from(PROGRAMS))
            resource = data.draw(st.sampled_from(RESOURCES))
            world.correlator.observe([usage(resource, program, share)])
        changes: dict[str, FindingChange] = {}
        for _ in range(data.draw(st.integers(0, 4))):
            change = world.change()
            changes[f"{change.finding.detector} {change.finding.series.key} {len(changes)}"] = (
                change
            )
        world.step(list(changes.values()))
    for key, finding in list(world.open.items()):
        world.second += 1
        del world.open[key]
        world.step([FindingChange("closed", 0, finding)])
    for _ in range(10):
        world.second += 30
        world.step([])
    assert world.opened == world.resolved
    assert not world.correlator.active
