"""The bench of quiet hosts: its interval is that of tables, its hosts go through the backtest."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "bench"))
from quiet_bench import DAY_S, START, Host, Rang, interval, run, told, write

#: Exact 95 % limits of a Poisson mean, as tables have them (Garwood 1936).
EXACT = {0: (0.0, 3.689), 1: (0.0253, 5.572), 5: (1.624, 11.668), 10: (4.795, 18.390)}


@pytest.mark.parametrize("count", EXACT)
def test_the_interval_is_that_of_tables(count: int) -> None:
    low, high = interval(count)
    assert low == pytest.approx(EXACT[count][0], abs=0.05)
    assert high == pytest.approx(EXACT[count][1], rel=0.01)


def test_a_host_is_written_as_it_is_described(tmp_path: Path) -> None:
    path = tmp_path / "host.csv"
    write(path, Host("zeros", 3, 1.0, 300, 1))
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    assert names == ["timestamp", "value0", "value1", "value2"]
    assert [int(row[0]) for row in rows] == list(range(START, START + DAY_S, 300))
    resting = sum(cell == "50" for row in rows for cell in row[1:])
    assert 0.9 < resting / (3 * len(rows)) < 0.99


def test_what_rang_is_told_by_week_and_head() -> None:
    host = Host("normal", 1, 14.0, 300, 1)
    rang = run(host)
    assert (rang.host, len(rang.heads) >= rang.first + rang.later) == (host, True)
    one, of_all = told([Rang(host, 3, 1, ("onset", "novelty", "onset", "onset"))])
    assert one.split() == [
        *("normal", "2.00", "(", "0.54", "to", "5.12)", "3.00", "1.00"),
        *("onset", "3,", "novelty", "1"),
    ]
    assert of_all.split()[1:] == one.split()[1:]
