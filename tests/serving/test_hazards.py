"""Whatever becomes of a page, mapping it raises nothing and tells no number that is not there."""

from __future__ import annotations

import random
from math import isfinite

import pytest
from page_cases import PAGED, paths, recognised, spoilt

from vedette.exposition.change import HistogramChange
from vedette.exposition.reading import Reader
from vedette.serving.mapping import Mapper
from vedette.serving.rows import across, samples


@pytest.mark.parametrize("name", PAGED)
def test_a_spoilt_page_costs_what_it_spoils_and_no_more(name: str) -> None:
    bodies = [path.read_bytes() for path in paths(name)]
    who = recognised(bodies[-1])
    assert who.adapter is not None
    chance = random.Random(7)
    mapper, reader = Mapper(who.adapter, who.release), Reader()
    steps = []
    for at in range(12):
        body = spoilt(chance.choice(bodies), chance)
        steps.append(mapper.read(reader.read(body), float(at)))
        for row in steps[-1].rows:
            if isinstance(row.value, HistogramChange):
                assert all(count >= 0 for count in row.value.counts)
            else:
                assert row.total != row.total or row.total >= 0
        for one in samples(steps[-1].rows):
            assert one.series.instrument.name
    assert len({row.place for row in across(steps)}) == len(across(steps))


@pytest.mark.parametrize("name", PAGED)
def test_a_page_twice_gains_nothing(name: str) -> None:
    body = paths(name)[-1].read_bytes()
    who = recognised(body)
    assert who.adapter is not None
    mapper, reader = Mapper(who.adapter, who.release), Reader()
    mapper.read(reader.read(body), 1.0)
    again = mapper.read(reader.read(body), 2.0)
    for row in again.rows:
        if isinstance(row.gain, HistogramChange):
            assert row.gain.count == 0
        elif row.gain is not None:
            assert row.gain == 0
            assert isfinite(row.value)
    # The same time again is no reading: nothing is known of what was gained.
    assert not any(
        isfinite(row.gain)
        for row in mapper.read(reader.read(body), 2.0).rows
        if isinstance(row.gain, float)
    )
