"""Read timestamps in the forms logs are written in, to the nanosecond.

A stamp is cut into three parts: the *head* down to the second, the *fraction*, and the *tail*
(zone, am or pm, the year of ctime). Stamps of one second differ in the fraction only, so what head
and tail mean is remembered and the ordinary stamp costs a look into a dictionary.

What a stamp leaves open is settled so:

- No zone: the zone of the source. In the hour that clocks are set back it is the first of the two
  (``fold=0``); a time that clocks skip is read as if they had not been set.
- No year: the year that brings it nearest to ``now``, at most two days ahead of it, so that
  December is last year's in January, and January next year's to a clock that is behind.
- No date: the day that brings it nearest to ``now``, at most an hour ahead.
- ``17/06/09``, ``03/04``: once a number rules the others out (no month is 17), that order stays;
  until then the reading that lies nearest to ``now``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from vedette.logs.stamp_forms import BY_NAME, FORMS, MONTHS, NAMES, OFFSETS, Form

NS = 1_000_000_000
DAY = 86_400
#: What a fraction of so many digits has to be multiplied by to be nanoseconds.
SCALES = tuple(10 ** (9 - digits) for digits in range(10))
#: Heads remembered by a reader: seconds, so an hour of a source that writes in each.
HEADS_MAX = 4096
#: How far ahead of now a stamp without a year, and one without a date, may lie.
AHEAD_YEARLESS_S, AHEAD_DATELESS_S = 2 * DAY, 3600
#: Orders of three numbers (year, month, day are at these places), and of two.
_ORDERS_3 = ((0, 1, 2), (2, 0, 1), (2, 1, 0))
_ORDERS_2 = ((0, 1), (1, 0))
_OFFSET = re.compile(r"([+-])(\d\d):?([0-5]\d)?\Z")
#: What all forms that begin with a digit begin with.
_BEGINS_STAMP = re.compile(
    rb"\d{1,4}[-/.:][\dA-Z]|\d{6}|\d{4} +[\dA-Z]|\d\d? [A-Z][a-z]|\d{1,9}\.\d{6}\]"
)
_ISO = BY_NAME["iso"]
_EPOCH = date(1970, 1, 1).toordinal()


class Stamp(msgspec.Struct, frozen=True):
    """A stamp found in a line: its form, its three parts, and where it ends."""

    form: Form
    head: bytes
    fraction: bytes
    tail: bytes
    end: int


def zone_of(name: str) -> tzinfo:
    """Return the zone of a name (``Europe/Berlin``) or an offset (``+02:00``).

    Raises ``ValueError`` with the name when there is none such.
    """
    if name.upper() in ("UTC", "Z", "GMT"):
        return UTC
    offset = _OFFSET.match(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes < DAY // 60:
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r}: expected a name or an offset, +02:00") from error


def match_stamp(line: bytes, at: int = 0) -> Stamp | None:
    """Return the stamp that stands at this place of a line, None when there is none."""
    first = line[at : at + 1]
    if first.isdigit():
        if _BEGINS_STAMP.match(line, at) is None:
            return None
    elif first != b" " and line[at : at + 3] not in NAMES:
        return None
    for form in FORMS:
        if first not in form.first:
            continue
        found = form.pattern.match(line, at)
        if found is not None:
            return Stamp(form, found[1], found[2] or b"", found[3] or b"", found.end())
    return None


class Clock:
    """Turns stamps of one source into Unix nanoseconds.

    ``zone`` is that of stamps without one. ``boot_ns`` is when the host started, for the kernel's
    seconds since then; without it those have no time. Not for several threads at once.
    """

    def __init__(self, zone: tzinfo | str = UTC, boot_ns: int | None = None) -> None:
        self.zone = zone_of(zone) if isinstance(zone, str) else zone
        self.boot_ns = boot_ns
        self.now_ns = 0
        self._now_s = 0
        self._heads: dict[bytes, int | None] = {}
        self._orders: dict[int, tuple[int, ...]] = {}
        self._readers: dict[str, Callable[[dict[str, bytes]], int | None]] = {
            "dated": self._dated,
            "yearless": self._yearless,
            "pair": self._pair,
            "triple": self._triple,
            "dateless": self._dateless,
            "epoch": lambda part: epoch_ns(int(part["e"])),
            "uptime": self._since_boot,
        }

    def set_now(self, now_ns: int) -> None:
        """Take over what time it is; what was remembered of an earlier quarter of an hour goes."""
        self.now_ns = now_ns
        now_s = now_ns // NS
        if now_s // 900 != self._now_s // 900:
            self._heads.clear()
        self._now_s = now_s

    def known(self) -> dict[bytes, int | None]:
        """Return the memory of heads, in ns, for a loop that looks into it itself."""
        return self._heads

    def read(self, form: Form, head: bytes, fraction: bytes, tail: bytes = b"") -> int | None:
        """Return the Unix nanoseconds of a stamp, None when it names no time."""
        key = head + b"|" + tail if tail else head
        whole = self._heads.get(key, 0)
        if whole == 0:
            whole = self._whole(form, head, tail)
            if len(self._heads) >= HEADS_MAX:
                self._heads.clear()
            self._heads[key] = whole
        if whole is None:
            return None
        if fraction:
            nanoseconds: int = int(fraction[:9]) * SCALES[min(len(fraction), 9)]
            return whole + nanoseconds
        return whole

    def parse(self, text: bytes) -> int | None:
        """Return the Unix nanoseconds of a whole text that is a stamp in any form, else None."""
        text = text.strip()
        if text[4:5] == b"-" and text[16:17] == b":" and b"," not in text:
            quick = self.rfc3339(text)
            if quick is not None:
                return quick
        return self._parsed(text)

    def _parsed(self, text: bytes) -> int | None:
        stamp = match_stamp(text)
        if stamp is None or stamp.end != len(text):
            return None
        return self.read(stamp.form, stamp.head, stamp.fraction, stamp.tail)

    def rfc3339(self, text: bytes) -> int | None:
        """Return the Unix ns of a stamp as machines write it: ``2016-10-06T00:17:09.6697Z``."""
        rest = text[19:]
        if rest[:1] != b".":
            return self.read(_ISO, text[:19], b"", rest)
        digits = rest[1:].rstrip(b"Z")
        if len(digits) < 10 and digits.isdigit():
            return self.read(_ISO, text[:19], digits, b"Z" if rest[-1:] == b"Z" else b"")
        return self._parsed(text)

    def _whole(self, form: Form, head: bytes, tail: bytes) -> int | None:
        found = form.parts.match(head + b"|" + tail)
        if found is None:
            return None
        reader = self._readers.get(form.kind)
        try:
            return reader(found.groupdict()) if reader is not None else None
        except (ValueError, OverflowError, ArithmeticError):
            return None

    def _local(self, days: int, seconds: int, zone: bytes | None) -> int:
        """Return the ns of a day and second of it, in the stamp's zone or the source's."""
        wall = days * DAY + seconds
        if zone:
            offset = offset_of(zone)
            if offset is not None:
                return (wall - offset) * NS
        if self.zone is UTC:
            return wall * NS
        naive = datetime.fromordinal(days + _EPOCH).replace(tzinfo=self.zone)
        moment = naive + timedelta(seconds=seconds)
        offset_now = moment.utcoffset()
        return (wall - int(offset_now.total_seconds() if offset_now else 0)) * NS

    def _dated(self, part: dict[str, bytes]) -> int:
        year = int(part["Y"])
        if year < 100:
            year += 2000 if year < 70 else 1900
        days = date(year, _month(part), int(part["d"])).toordinal() - _EPOCH
        return self._local(days, _seconds(part), part.get("z"))

    def _yearless(self, part: dict[str, bytes]) -> int:
        month, day, seconds = _month(part), int(part["d"]), _seconds(part)
        return self._nearest_year(((month, day),), seconds, part.get("z"))[0]

    def _pair(self, part: dict[str, bytes]) -> int:
        numbers = (int(part["a"]), int(part["b"]))
        orders = self._orders_of(2, _ORDERS_2, numbers)
        readings = tuple((numbers[m], numbers[d]) for m, d in orders)
        return self._nearest_year(readings, _seconds(part), part.get("z"))[0]

    def _triple(self, part: dict[str, bytes]) -> int:
        numbers = (int(part["a"]), int(part["b"]), int(part["c"]))
        orders = _ORDERS_3[1:] if len(part["c"]) == 4 else _ORDERS_3
        seconds, zone = _seconds(part), part.get("z")
        times = []
        for y, m, d in self._orders_of(3, orders, numbers):
            year = numbers[y] + (2000 if numbers[y] < 70 else 1900 if numbers[y] < 100 else 0)
            days = date(year, numbers[m], numbers[d]).toordinal() - _EPOCH
            times.append(self._local(days, seconds, zone))
        return min(times, key=lambda ns: self._away(ns, AHEAD_YEARLESS_S))

    def _orders_of(
        self, count: int, orders: tuple[tuple[int, ...], ...], numbers: tuple[int, ...]
    ) -> tuple[tuple[int, ...], ...]:
        """Return the orders these numbers allow; when it is one, it stays for those that follow."""
        settled = self._orders.get(count)
        if settled is not None and settled in orders and _is_date(numbers, settled):
            return (settled,)
        possible = tuple(order for order in orders if _is_date(numbers, order))
        if len(possible) == 1:
            self._orders[count] = possible[0]
        if not possible:
            raise ValueError("no date")
        return possible

    def _nearest_year(
        self, readings: tuple[tuple[int, int], ...], seconds: int, zone: bytes | None
    ) -> tuple[int, int]:
        this_year = datetime.fromtimestamp(self._now_s, UTC).year
        times = []
        for year in range(max(this_year - 4, 1), this_year + 2):
            for month, day in readings:
                try:
                    days = date(year, month, day).toordinal() - _EPOCH
                except ValueError:
                    continue
                times.append((self._local(days, seconds, zone), year))
        if not times:
            raise ValueError("no date")
        return min(times, key=lambda found: self._away(found[0], AHEAD_YEARLESS_S))

    def _dateless(self, part: dict[str, bytes]) -> int:
        seconds, zone, today = _seconds(part), part.get("z"), self._now_s // DAY
        times = [self._local(today + day, seconds, zone) for day in (-1, 0, 1)]
        return min(times, key=lambda ns: self._away(ns, AHEAD_DATELESS_S))

    def _away(self, time_ns: int, ahead_s: int) -> tuple[bool, int]:
        """Return how far a time is from now, with those too far ahead after all others."""
        away = time_ns // NS - self._now_s
        return away > ahead_s, abs(away)

    def _since_boot(self, part: dict[str, bytes]) -> int | None:
        return None if self.boot_ns is None else self.boot_ns + int(part["u"]) * NS


def epoch_ns(count: float) -> int | None:
    """Return Unix ns of a count of seconds, ms, us or ns since 1970, told apart by their size.

    A whole number stays exact; None for what would lie before 1973 or after 2128.
    """
    for most, scale in ((5e9, NS), (5e12, 1_000_000), (5e15, 1000), (5e18, 1)):
        if most / 50 <= count < most:
            if isinstance(count, int):
                return count * scale
            whole = int(count)
            return whole * scale + round((count - whole) * scale)
    return None


def offset_of(zone: bytes) -> int | None:
    """Return the seconds east of Greenwich that a zone in a stamp says, None if it says none."""
    zone = zone.strip()
    if zone in (b"Z", b"z"):
        return 0
    if zone[:1] in (b"+", b"-"):
        digits = zone[1:].replace(b":", b"")
        seconds = int(digits[:2]) * 3600 + int(digits[2:4] or b"0") * 60
        return -seconds if zone[:1] == b"-" else seconds
    return OFFSETS.get(zone)


def _month(part: dict[str, bytes]) -> int:
    name = part.get("b")
    return MONTHS[name[:3].lower()] if name else int(part["m"])


def _seconds(part: dict[str, bytes]) -> int:
    hour, half = int(part["H"]), part.get("p")
    if half:
        hour = hour % 12 + (12 if half.strip()[:1] in b"pP" else 0)
    second = min(int(part.get("S") or b"0"), 59)  # a leap second is the one before it
    minute = int(part["M"])
    if hour > 23 or minute > 59:
        raise ValueError("no time of day")
    return hour * 3600 + minute * 60 + second


def _is_date(numbers: tuple[int, ...], order: tuple[int, ...]) -> bool:
    year = 2000 if len(order) == 2 else 1900 + numbers[order[0]] % 100 + 100
    try:
        date(year, numbers[order[-2]], numbers[order[-1]])
    except ValueError:
        return False
    return True
