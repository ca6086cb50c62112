"""The minutes that are kept to train on: what comes back is what was read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

sys.path.insert(0, str(Path(__file__).parent))
from model_cases import LEVEL, MINUTE, START, all_series
from vedette.models import readings as module
from vedette.models.readings import DAY_NS, KeptReadings
from vedette.models.training import from_kept, from_rows


def filled(
    directory: Path, minutes: int, count: int = 5, start: int = START
) -> tuple[KeptReadings, np.ndarray]:
    kept = KeptReadings(directory)
    values = np.random.default_rng(1).lognormal(3, 2, (minutes, count)).astype(np.float32)
    for place, row in enumerate(values):
        kept.fold(start + place * MINUTE, row, all_series(count))
    return kept, values


@given(st_numpy.arrays(np.float32, (3, 7), elements=st.floats(width=32)))
def test_readings_come_back_to_one_part_in_65_000(values: np.ndarray) -> None:
    parts = {
        "keys": np.frombuffer(b'["a","b","c"]', dtype=np.uint8),
        "time": np.arange(7, dtype=np.int64),
        "planes": module._planes(values),
    }
    back = module._chunk(parts).values
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        near = np.isclose(back, values, rtol=2**-16, atol=1e-41) | (np.abs(values) > 3.4e38)
    assert near[finite].all()
    assert np.isnan(back[~finite]).all()


def test_an_hour_is_a_file_and_what_is_gathered_is_written_at_the_end(tmp_path: Path) -> None:
    kept, values = filled(tmp_path, 150)
    assert len(list(kept.directory.iterdir())) == 2
    kept.flush()
    chunks = list(kept.chunks())
    assert [len(one.time) for one in chunks] == [60, 60, 30]
    back = np.concatenate([one.values for one in chunks], axis=1)
    assert back == pytest.approx(values.T, rel=2**-16)
    assert chunks[0].keys == tuple(one.key for one in all_series(5))
    assert kept.stock.first_ns == START
    assert kept.stock.last_ns == START + 120 * MINUTE


def test_a_series_that_went_away_keeps_its_minutes_and_its_row_is_another_s(tmp_path: Path) -> None:
    kept = KeptReadings(tmp_path)
    first, second = all_series(2)
    series = [first]
    kept.fold(START, np.array([1], dtype=np.float32), series)
    kept.forget(np.array([0]), [first])
    series[0] = second
    kept.fold(START + MINUTE, np.array([2], dtype=np.float32), series)
    kept.flush()
    (chunk,) = kept.chunks()
    told = dict(zip(chunk.keys, chunk.values.tolist(), strict=True))
    assert told[first.key][0] == 1
    assert np.isnan(told[first.key][1])
    assert told[second.key][1] == 2
    assert np.isnan(told[second.key][0])


def test_series_that_went_away_together_keep_their_minutes_where_they_were(tmp_path: Path) -> None:
    kept = KeptReadings(tmp_path)
    series = list(all_series(4))
    told = np.full((4, 6), np.nan, dtype=np.float32)
    told[0], told[1, 1:4], told[2, 2:3] = 1, 2, 3  # the last was never read
    for minute in range(5):
        kept.fold(START + minute * MINUTE, told[:, minute], series)
    kept.forget(np.array([2, 1, 3]), [series[2], series[1], series[3]])
    kept.fold(START + 5 * MINUTE, told[:, 5], [series[0], None, None, None])
    kept.flush()
    (chunk,) = kept.chunks()
    found = dict(zip(chunk.keys, chunk.values, strict=True))
    assert set(found) == {one.key for one in series[:3]}
    for one, expected in zip(series[:3], told[:3], strict=True):
        np.testing.assert_array_equal(found[one.key], expected)


def test_a_series_that_went_away_twice_is_one_with_the_minutes_of_both_times(
    tmp_path: Path,
) -> None:
    kept = KeptReadings(tmp_path)
    first, second = all_series(2)
    read = np.array([1, 5], dtype=np.float32)
    for minute in range(2):
        kept.fold(START + 2 * minute * MINUTE, read + np.float32(minute), [first, second])
        kept.forget(np.array([0]), [first])
        kept.fold(
            START + (2 * minute + 1) * MINUTE, np.array([np.nan, 5], np.float32), [None, second]
        )
    kept.flush()
    (chunk,) = kept.chunks()
    assert chunk.keys == (second.key, first.key)
    np.testing.assert_array_equal(chunk.values[1], np.array([1, np.nan, 2, np.nan], np.float32))


def test_a_gap_begins_another_file(tmp_path: Path) -> None:
    kept, _ = filled(tmp_path, 10)
    kept.fold(START + 500 * MINUTE, np.ones(5, dtype=np.float32), all_series(5))
    kept.flush()
    assert [len(one.time) for one in kept.chunks()] == [10, 1]


def test_a_clock_that_was_set_back_loses_nothing(tmp_path: Path) -> None:
    kept, _ = filled(tmp_path, 10)
    kept.fold(START - 500 * MINUTE, np.ones(5, dtype=np.float32), all_series(5))
    kept.flush()
    assert [len(one.time) for one in kept.chunks()] == [1, 10]


def test_the_oldest_goes_beyond_the_cap_and_what_is_older_than_two_weeks(tmp_path: Path) -> None:
    kept, _ = filled(tmp_path, 60 * 30, count=50)
    kept.flush()
    size = kept.stock.bytes
    kept.cap_bytes = size // 2
    kept.fold(START + 60 * 31 * MINUTE, np.ones(50, dtype=np.float32), all_series(50))
    kept.flush()
    assert size // 3 < kept.stock.bytes <= size // 2
    kept.fold(START + 16 * DAY_NS, np.ones(50, dtype=np.float32), all_series(50))
    kept.flush()
    assert len(list(kept.chunks())) == 1


def test_a_damaged_file_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept, _ = filled(tmp_path, 120)
    kept.flush()
    first = min(kept.directory.iterdir())
    first.write_bytes(first.read_bytes()[:-5])
    assert len(list(kept.chunks())) == 1
    assert caplog.text.count("cannot be read") == 1


def test_a_full_disk_costs_the_hour_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kept, _ = filled(tmp_path, 30)
    kept.directory.write_text("in the way")
    kept.flush()
    kept.fold(START + 35 * MINUTE, np.ones(5, dtype=np.float32), all_series(5))
    kept.flush()
    assert caplog.text.count("readings cannot be kept") == 1
    kept.directory.unlink()
    kept.fold(START + 40 * MINUTE, np.ones(5, dtype=np.float32), all_series(5))
    kept.flush()
    assert [len(one.time) for one in kept.chunks()] == [1]
    assert caplog.messages[-1] == "readings are kept again"


def test_two_thousand_series_cost_less_than_ten_kib_a_minute(tmp_path: Path) -> None:
    kept = KeptReadings(tmp_path)
    series = [LEVEL.series(f"a/rather/long/name/of/a/device/{place}") for place in range(2_000)]
    random = np.random.default_rng(3)
    level = random.lognormal(3, 3, 2_000)
    for minute in range(60):  # all of them move by a tenth: incompressible
        values = level * (1 + 0.1 * random.normal(size=2_000))
        kept.fold(START + minute * MINUTE, values.astype(np.float32), series)
    kept.flush()
    assert kept.stock.bytes / 60 < 6_000
    # Of a host as it is, half of them idle, two weeks are within the cap.


def test_kept_minutes_come_back_as_columns_by_name(tmp_path: Path) -> None:
    kept, values = filled(tmp_path, 100)
    kept.flush()
    wanted = [all_series(5)[3], LEVEL.series("unknown"), all_series(5)[0]]
    columns = list(from_kept(kept.chunks(), wanted))
    assert [tick for tick, _ in columns] == [START + place * MINUTE for place in range(100)]
    table = np.array([column for _, column in columns])
    assert table[:, 0] == pytest.approx(values[:, 3], rel=2**-16)
    assert table[:, 2] == pytest.approx(values[:, 0], rel=2**-16)
    assert np.isnan(table[:, 1]).all()


def test_rows_of_a_file_become_means_of_minutes() -> None:
    time = START + np.arange(300, dtype=np.int64) * 1_000_000_000
    values = np.arange(600, dtype=np.float64).reshape(300, 2)
    columns = list(from_rows(time, values, 1_000_000_000, MINUTE))
    assert [tick for tick, _ in columns] == [START + place * MINUTE for place in range(5)]
    assert columns[2][1] == pytest.approx(values[120:180].mean(axis=0))
