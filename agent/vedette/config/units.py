"""Read and write durations, sizes, shares as people write them: ``"10s"``, ``"64MiB"``, ``"2%"``.

The grammar is closed: one number, one unit. Durations have nanosecond resolution; sizes are whole
bytes, with IEC units in powers of 1024 and SI units in powers of 1000.
"""

from __future__ import annotations

import re

from vedette.api import Duration, Size

__all__ = [
    "Share",
    "format_duration",
    "format_share",
    "format_size",
    "parse_duration",
    "parse_share",
    "parse_size",
]

_QUANTITY = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))? ?([A-Za-z]*)")

_NANOSECONDS = {"d": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6}
_BYTES = {
    "TiB": 1 << 40,
    "GiB": 1 << 30,
    "MiB": 1 << 20,
    "KiB": 1 << 10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "kB": 10**3,
    "B": 1,
}
_WRITTEN_SIZES = ("TiB", "GiB", "MiB", "KiB")


class Share(float):
    """A part of a whole, written ``"2%"`` or ``0.02``; ``"off"`` is 0. Only the core has such."""


def parse_duration(text: str) -> Duration:
    """Return the duration in seconds; raises ``ValueError`` saying how to write one."""
    amount, factor = _split(text, _NANOSECONDS)
    if amount is None:
        raise ValueError(
            f"{text!r} is no duration: a number and one of ms, s, m, h, d, such as '10s'"
        )
    whole, fraction = amount
    return Duration((int(whole + fraction) * factor // 10 ** len(fraction)) / 1e9)


def parse_size(text: str) -> Size:
    """Return the size in bytes; raises ``ValueError`` saying how to write one."""
    amount, factor = _split(text, _BYTES)
    if amount is None:
        raise ValueError(
            f"{text!r} is no size: a number and one of B, KiB, MiB, GiB, TiB, such as '64MiB'"
        )
    whole, fraction = amount
    size, rest = divmod(int(whole + fraction) * factor, 10 ** len(fraction))
    if rest:
        raise ValueError(f"{text!r} is no whole number of bytes")
    return Size(size)


def parse_share(text: str) -> Share:
    """Return the share as a number, 1 for the whole; raises ``ValueError`` as the others do."""
    if text == "off":
        return Share(0)
    match = _QUANTITY.fullmatch(text.removesuffix("%"))
    if not text.endswith("%") or match is None or match[3]:
        raise ValueError(f"{text!r} is no share: a number with %, such as '2%', or 'off'")
    fraction = match[2] or ""
    return Share(int(match[1] + fraction) / 10 ** (len(fraction) + 2))


def format_duration(seconds: float) -> str:
    """Return the shortest text that ``parse_duration`` reads back, to the nanosecond."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    for unit, factor in _NANOSECONDS.items():
        whole, rest = divmod(nanoseconds, factor)
        if not rest:
            return f"{whole}{unit}"
    return f"{nanoseconds // 10**6}.{nanoseconds % 10**6:06d}".rstrip("0") + "ms"


def format_size(size: int) -> str:
    """Return the size in the largest IEC unit of which it is a whole number."""
    for unit in _WRITTEN_SIZES:
        whole, rest = divmod(size, _BYTES[unit])
        if whole and not rest:
            return f"{whole}{unit}"
    return f"{size}B"


def format_share(share: float) -> str:
    """Return the share in percent as ``parse_share`` reads it back, to a billionth of one."""
    return f"{100 * share:.9f}".rstrip("0").rstrip(".") + "%" if share else "off"


def _split(text: str, units: dict[str, int]) -> tuple[tuple[str, str] | None, int]:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[3] not in units:
        return None, 0
    return (match[1], match[2] or ""), units[match[3]]
