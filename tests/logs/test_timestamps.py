"""Stamps in every form, with datetime as the oracle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.timestamps import NS, Clock, epoch_ns, match_stamp, zone_of

NOW = datetime(2024, 6, 15, 12, 0, 0, tzinfo=UTC)


def ns_of(moment: datetime, nanoseconds: int = 0) -> int:
    since = moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
    return int(since / timedelta(seconds=1)) * NS + nanoseconds


def clock_at(now: datetime = NOW, zone: str = "UTC", boot_ns: int | None = None) -> Clock:
    clock = Clock(zone, boot_ns)
    clock.set_now(ns_of(now))
    return clock


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "moment", "nanoseconds"),
    [
        ("2024-01-02T03:04:05Z", utc(2024, 1, 2, 3, 4, 5), 0),
        ("2024-01-02T03:04:05.123456789Z", utc(2024, 1, 2, 3, 4, 5), 123_456_789),
        ("2024-01-02 03:04:05,678", utc(2024, 1, 2, 3, 4, 5), 678_000_000),
        ("2024-01-02 03:04:05.5", utc(2024, 1, 2, 3, 4, 5), 500_000_000),
        ("2024-01-02T03:04:05.678+02:00", utc(2024, 1, 2, 1, 4, 5), 678_000_000),
        ("2024-01-02T03:04:05-0730", utc(2024, 1, 2, 10, 34, 5), 0),
        ("2024-01-02 03:04:05 +0200", utc(2024, 1, 2, 1, 4, 5), 0),
        ("2024-01-02 03:04:05.678 UTC", utc(2024, 1, 2, 3, 4, 5), 678_000_000),
        ("2024-01-02 03:04:05 CEST", utc(2024, 1, 2, 1, 4, 5), 0),
        ("2024/01/02 03:04:05", utc(2024, 1, 2, 3, 4, 5), 0),
        ("2024-01-02_03:04:05", utc(2024, 1, 2, 3, 4, 5), 0),
        ("10/Oct/2000:13:55:36 -0700", utc(2000, 10, 10, 20, 55, 36), 0),
        ("02-Jan-2024 03:04:05.678", utc(2024, 1, 2, 3, 4, 5), 678_000_000),
        ("02 Jan 2024 03:04:05.678", utc(2024, 1, 2, 3, 4, 5), 678_000_000),
        ("Tue, 02 Jan 2024 03:04:05 GMT", utc(2024, 1, 2, 3, 4, 5), 0),
        ("Thu Jun 09 06:07:04 2005", utc(2005, 6, 9, 6, 7, 4), 0),
        ("Thu Jun  9 06:07:04 2005", utc(2005, 6, 9, 6, 7, 4), 0),
        ("Tue Mar 12 06:25:24.123456 2024", utc(2024, 3, 12, 6, 25, 24), 123_456_000),
        ("Tue 2024-01-02 03:04:05 UTC", utc(2024, 1, 2, 3, 4, 5), 0),
        ("Jan 02, 2024 3:04:05 PM", utc(2024, 1, 2, 15, 4, 5), 0),
        ("Jan 02, 2024 12:04:05 AM", utc(2024, 1, 2, 0, 4, 5), 0),
        ("2024 Jan  2 03:04:05", utc(2024, 1, 2, 3, 4, 5), 0),
        ("081109 203615", utc(2008, 11, 9, 20, 36, 15), 0),
        ("240102  3:04:05", utc(2024, 1, 2, 3, 4, 5), 0),
        ("20171223-22:15:29:606", utc(2017, 12, 23, 22, 15, 29), 606_000_000),
        ("20171224-0:0:0:240", utc(2017, 12, 24, 0, 0, 0), 240_000_000),
        ("20240102T030405", utc(2024, 1, 2, 3, 4, 5), 0),
        ("20240102030405", utc(2024, 1, 2, 3, 4, 5), 0),
        ("2005-06-03-15.42.50.363779", utc(2005, 6, 3, 15, 42, 50), 363_779_000),
        ("17/06/09 20:10:40", utc(2017, 6, 9, 20, 10, 40), 0),
        ("31/12/2023 20:10:40", utc(2023, 12, 31, 20, 10, 40), 0),
        ("12/31/2023 08:10:40 PM", utc(2023, 12, 31, 20, 10, 40), 0),
        ("03-17 16:13:38.811", utc(2024, 3, 17, 16, 13, 38), 811_000_000),
        ("0102 15:04:05.000001", utc(2024, 1, 2, 15, 4, 5), 1000),
        ("Jan  2 03:04:05", utc(2024, 1, 2, 3, 4, 5), 0),
        ("Jan 2 03:04:05.123", utc(2024, 1, 2, 3, 4, 5), 123_000_000),
        ("11:59:30.5", utc(2024, 6, 15, 11, 59, 30), 500_000_000),
        ("1117838570", utc(2005, 6, 3, 22, 42, 50), 0),
        ("1700000000.25", utc(2023, 11, 14, 22, 13, 20), 250_000_000),
        ("1700000000123", utc(2023, 11, 14, 22, 13, 20), 123_000_000),
        ("1700000000123456", utc(2023, 11, 14, 22, 13, 20), 123_456_000),
        ("1700000000123456789", utc(2023, 11, 14, 22, 13, 20), 123_456_789),
        ("2024-01-02 03:04", utc(2024, 1, 2, 3, 4, 0), 0),
        ("2016-12-31T23:59:60Z", utc(2016, 12, 31, 23, 59, 59), 0),
    ],
)
def test_a_stamp_means_the_time_that_datetime_says(
    text: str, moment: datetime, nanoseconds: int
) -> None:
    assert clock_at().parse(text.encode()) == ns_of(moment, nanoseconds)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "2024-13-02 03:04:05", "2024-02-30 03:04:05", "99:04:05", "Jan 32 03:04:05",
     "12:34", "4711", "0000000000", "2024-01-02 25:04:05", "2024-01-02T03:04:05Z and more"],
)  # fmt: skip
def test_what_names_no_time_is_none(text: str) -> None:
    assert clock_at().parse(text.encode()) is None


@pytest.mark.parametrize(
    ("now", "text", "year"),
    [
        (utc(2024, 1, 1, 0, 5), "Dec 31 23:59:59", 2023),
        (utc(2023, 12, 31, 23, 59, 58), "Jan  1 00:00:03", 2024),
        (utc(2024, 6, 15), "Jun 16 00:00:00", 2024),
        (utc(2024, 6, 15), "Jun 25 00:00:00", 2023),
        (utc(2024, 6, 15), "Jul  1 00:00:00", 2023),
        (utc(2025, 3, 1), "Feb 29 00:00:00", 2024),
        (utc(2026, 3, 1), "Feb 29 00:00:00", 2024),
    ],
)
def test_a_missing_year_is_the_one_nearest_to_now(now: datetime, text: str, year: int) -> None:
    read = clock_at(now).parse(text.encode())
    assert read is not None
    assert datetime.fromtimestamp(read // NS, UTC).year == year


def test_a_missing_year_follows_the_clock_over_new_year() -> None:
    clock = clock_at(utc(2023, 12, 31, 23, 50))
    assert clock.parse(b"Dec 31 23:49:00") == ns_of(utc(2023, 12, 31, 23, 49))
    clock.set_now(ns_of(utc(2024, 1, 1, 0, 10)))
    assert clock.parse(b"Dec 31 23:49:00") == ns_of(utc(2023, 12, 31, 23, 49))
    assert clock.parse(b"Jan  1 00:09:00") == ns_of(utc(2024, 1, 1, 0, 9))


def test_a_missing_day_is_yesterdays_before_midnight() -> None:
    clock = clock_at(utc(2024, 6, 15, 0, 10))
    assert clock.parse(b"23:59:00") == ns_of(utc(2024, 6, 14, 23, 59))
    assert clock.parse(b"00:09:00") == ns_of(utc(2024, 6, 15, 0, 9))


def test_a_number_that_is_no_month_settles_the_order_for_the_file() -> None:
    clock = clock_at(utc(2024, 12, 1))
    assert clock.parse(b"25/02/2024 10:00:00") == ns_of(utc(2024, 2, 25, 10))
    assert clock.parse(b"03/04/2024 10:00:00") == ns_of(utc(2024, 4, 3, 10))
    american = clock_at(utc(2024, 12, 1))
    assert american.parse(b"02/25/2024 10:00:00") == ns_of(utc(2024, 2, 25, 10))
    assert american.parse(b"03/04/2024 10:00:00") == ns_of(utc(2024, 3, 4, 10))


def test_an_ambiguous_order_is_read_as_what_lies_nearest_to_now() -> None:
    assert clock_at(utc(2024, 4, 3, 11)).parse(b"03/04/2024 10:00:00") == ns_of(utc(2024, 4, 3, 10))
    assert clock_at(utc(2024, 3, 4, 11)).parse(b"03/04/2024 10:00:00") == ns_of(utc(2024, 3, 4, 10))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "+05:30"])
@pytest.mark.parametrize("month", [1, 7])
def test_a_stamp_without_a_zone_is_in_that_of_its_source(zone: str, month: int) -> None:
    local = datetime(2024, month, 2, 3, 4, 5, tzinfo=zone_of(zone))
    text = local.strftime("%Y-%m-%d %H:%M:%S").encode()
    assert clock_at(zone=zone).parse(text) == ns_of(local)
    assert clock_at(zone=zone).parse(text + b"Z") == ns_of(local.replace(tzinfo=UTC))


def test_the_hour_that_comes_twice_is_the_first_of_the_two() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    twice = datetime(2024, 10, 27, 2, 30, 0, tzinfo=berlin, fold=0)
    assert clock_at(zone="Europe/Berlin").parse(b"2024-10-27 02:30:00") == ns_of(twice)
    skipped = datetime(2024, 3, 31, 2, 30, 0, tzinfo=berlin, fold=0)
    assert clock_at(zone="Europe/Berlin").parse(b"2024-03-31 02:30:00") == ns_of(skipped)


def test_seconds_since_boot_need_to_know_when_that_was() -> None:
    boot = ns_of(utc(2024, 6, 1))
    found = match_stamp(b"[12345.678901] usb", 1)
    assert found is not None
    with_boot = clock_at(boot_ns=boot)
    read = with_boot.read(found.form, found.head, found.fraction, found.tail)
    assert read == boot + 12345 * NS + 678_901_000
    without = clock_at()
    assert without.read(found.form, found.head, found.fraction, found.tail) is None


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "+25:00", ""])
def test_an_unknown_zone_is_said_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        zone_of(name)


EVER = st.integers(631_152_000, 2_840_140_800).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=seconds % 999_983)
)


@given(EVER, st.integers(-14 * 4, 14 * 4))
def test_rfc3339_is_what_isoformat_writes(moment: datetime, quarters: int) -> None:
    zoned = moment.astimezone(timezone(timedelta(minutes=15 * quarters)))
    expected = ns_of(moment, moment.microsecond * 1000)
    clock = clock_at()
    for text in (zoned.isoformat(), zoned.isoformat(" ")):
        assert clock.parse(text.encode()) == expected
    assert clock.rfc3339(zoned.isoformat().encode()) == expected


@given(st.integers(0, 363 * 86_400))
def test_syslog_stamps_of_the_last_year_find_their_year(ago_s: int) -> None:
    moment = NOW - timedelta(seconds=ago_s)
    text = moment.strftime("%b %d %H:%M:%S").encode()
    assert clock_at().parse(text) == ns_of(moment)


@given(st.integers(10**9, 4 * 10**9), st.integers(0, NS - 1))
def test_counts_since_1970_are_told_apart_by_their_size(seconds: int, rest: int) -> None:
    nanoseconds = seconds * NS + rest
    for scale in (1, 1000, 10**6, 10**9):
        assert epoch_ns(nanoseconds // scale) == nanoseconds // scale * scale


@given(st.binary(max_size=80))
def test_no_bytes_raise(text: bytes) -> None:
    clock = clock_at(zone="Europe/Berlin")
    for line in (text, b"2024-01-02 " + text, text + b" 03:04:05", b"Jan " + text):
        clock.parse(line)
        clock.rfc3339(line)


@given(st.text("0123456789:-/. TZ+,JanFebDe", max_size=40))
def test_no_almost_stamp_raises(text: str) -> None:
    read = clock_at(zone="America/New_York").parse(text.encode())
    assert read is None or isinstance(read, int)
