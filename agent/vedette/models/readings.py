"""Keep the means of the last days' minutes on disk, to train detectors on.

A file an hour: times, keys, and a float32 per series and minute. Readings are rounded to 16 bits of
mantissa (one part in 130,000, far below what any collector measures), and their bytes written plane
by plane, so that what hardly moves takes next to nothing: of 2,000 series of which one half moves
by a tenth at random, 2.5 KiB a minute. What is older than ``DAYS`` goes, and the oldest beyond the
cap.

Cost: 240 bytes of memory per series for the hour that is gathered, one array copy a minute, one
file an hour (20 ms for 2,000 series). After a crash the minutes of the hour that was gathered are
missing.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Series
from vedette.growth import grown
from vedette.models import sealed
from vedette.trouble import Trouble

log = logging.getLogger(__name__)

DIRECTORY = "readings"
MAGIC = b"vedette-readings-1\n"
SUFFIX = ".minutes"
PERIOD_NS = 60_000_000_000
#: Minutes in one file.
MINUTES = 60
DAYS = 14
DAY_NS = 86_400_000_000_000
#: Series that went away within the hour that is gathered, beyond those that are there.
GONE_MAX = 2_000
#: The bits of a float32 that are kept: sign, exponent, 16 of the mantissa.
_KEPT_BITS = np.uint32(0xFFFFFF80)
_HALF = np.uint32(0x40)
_encode = msgspec.json.encode


class Chunk(msgspec.Struct, frozen=True, eq=False):
    """Some minutes: ``time`` int64 ``(n,)`` Unix ns, ``values`` float32 ``(keys, n)``."""

    keys: tuple[str, ...]
    time: NDArray[np.int64]
    values: NDArray[np.float32]


class Stock(msgspec.Struct, frozen=True):
    """What is kept: Unix ns of the oldest and of the newest file (zero: none), and bytes."""

    first_ns: int
    last_ns: int
    bytes: int


class KeptReadings:
    """The minutes of one state directory. ``fold`` is called by one thread, ``chunks`` by any."""

    def __init__(self, state_dir: Path, cap_bytes: int = 64 << 20) -> None:
        self.directory = state_dir / DIRECTORY
        self.cap_bytes = cap_bytes
        self._time: list[int] = []
        self._values = np.full((MINUTES, 0), np.nan, dtype=np.float32)
        #: Of those that went away together: keys, the first minute that any was read in, and their
        #: minutes from there on ``(keys, n)``.
        self._gone: list[tuple[tuple[str, ...], int, NDArray[np.float32]]] = []
        self._series: Sequence[Series | None] = ()
        self._stock: Stock | None = None
        self._writing = Trouble(log, "readings cannot be kept", "readings are kept again")

    def fold(
        self, time_ns: int, values: NDArray[np.float32], series: Sequence[Series | None]
    ) -> None:
        """Take one minute of all rows; what is full is written."""
        if self._time and (
            time_ns <= self._time[-1]
            or len(self._time) == MINUTES
            or time_ns - self._time[0] >= MINUTES * PERIOD_NS
        ):
            self.flush()
        self._series = series
        rows = len(values)
        if rows > self._values.shape[1]:
            self._values = grown(self._values.T, rows, np.nan).T
        self._values[len(self._time), :rows] = values
        self._time.append(time_ns)

    def forget(self, rows: NDArray[np.intp], series: Sequence[Series]) -> None:
        """Put the minutes of series aside whose rows are no longer theirs."""
        known = rows < self._values.shape[1]
        gathered = self._values[: len(self._time)]
        read = known.copy()
        read[known] = np.isfinite(gathered[:, rows[known]]).any(axis=0)
        room = GONE_MAX - sum(len(keys) for keys, _, _ in self._gone)
        aside = np.flatnonzero(read)[:room]
        if len(aside):
            keys = tuple(series[place].key for place in aside.tolist())
            minutes = gathered[:, rows[aside]]
            when = np.flatnonzero(np.isfinite(minutes).any(axis=1))
            first, end = int(when[0]), int(when[-1]) + 1
            self._gone.append((keys, first, minutes[first:end].T.copy()))
        self._values[:, rows[known]] = np.nan

    def flush(self) -> None:
        """Write what is gathered; what cannot be written is dropped and said."""
        if not self._time:
            return
        minutes = len(self._time)
        gathered = self._values[:minutes].T
        rows = [
            row
            for row in np.flatnonzero(np.isfinite(gathered).any(axis=1)).tolist()
            if row < len(self._series) and self._series[row] is not None
        ]
        # One key at a time: thousands of texts at once would leave the heap larger for good.
        places = {key: -1 for names, _, _ in self._gone for key in names}
        keys = bytearray(b"[")
        for row in rows:
            one = self._series[row]
            key = "" if one is None else one.key
            places.pop(key, None)  # it came again
            keys += _encode(key) + b","
        values = np.full((len(rows) + len(places), minutes), np.nan, dtype=np.float32)
        values[: len(rows)] = gathered[rows]
        place = len(rows)
        for names, first, columns in self._gone:
            for key, column in zip(names, columns, strict=True):
                if key not in places:
                    continue
                if places[key] < 0:
                    places[key] = place
                    place += 1
                    keys += _encode(key) + b","
                values[places[key], first : first + len(column)] = column
        keys[-1:] = b"]"
        time = np.array(self._time, dtype=np.int64)
        self._time, self._gone = [], []
        self._values[:] = np.nan
        self._writing.attempt(lambda: self._write(time, keys, values))

    def chunks(self, since_ns: int = 0) -> Iterator[Chunk]:
        """Yield what is kept from a time on, oldest first; a damaged file is left out and said."""
        for path in self._files():
            if int(path.stem) * 1_000_000_000 + MINUTES * PERIOD_NS <= since_ns:
                continue
            try:
                parts = sealed.read(path, MAGIC)
                yield _chunk(parts)
            except FileNotFoundError:  # it became too old meanwhile
                continue
            except (OSError, ValueError, KeyError) as error:
                log.warning("kept readings cannot be read path=%s reason=%s", path, error)

    @property
    def stock(self) -> Stock:
        """What is kept; for the thread that calls ``fold``."""
        if self._stock is None:
            files = self._files()
            times = [int(path.stem) * 1_000_000_000 for path in files] or [0]
            total = sum(path.stat().st_size for path in files)
            self._stock = Stock(times[0], times[-1], total)
        return self._stock

    def _write(self, time: NDArray[np.int64], keys: bytearray, values: NDArray[np.float32]) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        parts: dict[str, NDArray[Any]] = {
            "keys": np.frombuffer(keys, dtype=np.uint8),
            "time": time,
            "planes": _planes(values),
        }
        sealed.write(self.directory / f"{time[0] // 1_000_000_000:011d}{SUFFIX}", MAGIC, parts)
        self._limit(int(time[-1]))
        self._stock = None

    def _limit(self, now_ns: int) -> None:
        files = self._files()
        sizes = [path.stat().st_size for path in files]
        total = sum(sizes)
        oldest_s = (now_ns - DAYS * DAY_NS) // 1_000_000_000
        for path, size in zip(files[:-1], sizes, strict=False):
            if total <= self.cap_bytes and int(path.stem) >= oldest_s:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _files(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        found = self.directory.glob(f"*{SUFFIX}")
        return sorted(path for path in found if path.stem.isdecimal())


def _planes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the rounded readings as bytes ``(4, rows, minutes)``, the highest first."""
    rounded = np.ascontiguousarray(values).view(np.uint32) + _HALF
    rounded &= _KEPT_BITS
    rounded[~np.isfinite(values)] = np.uint32(0x7FC00000)
    octets = rounded.view(np.uint8).reshape(*values.shape, 4)
    planes = np.empty((4, *values.shape), dtype=np.uint8)
    for plane, octet in enumerate((3, 2, 1, 0) if sys.byteorder == "little" else (0, 1, 2, 3)):
        planes[plane] = octets[:, :, octet]
    return planes


def _chunk(parts: dict[str, NDArray[Any]]) -> Chunk:
    planes = parts["planes"]
    order = (3, 2, 1, 0) if sys.byteorder == "little" else (0, 1, 2, 3)
    octets = np.ascontiguousarray(planes[list(order)].transpose(1, 2, 0))
    values: NDArray[Any] = octets.view(np.float32).reshape(planes.shape[1:])
    keys = tuple(str(key) for key in json.loads(parts["keys"].tobytes()))
    time = parts["time"].view(np.int64)
    if values.shape != (len(keys), len(time)):
        raise ValueError(f"{len(keys)} keys and {len(time)} times for {values.shape} readings")
    return Chunk(keys, time, values)
