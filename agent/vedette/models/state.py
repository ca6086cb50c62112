"""What detectors have learned on this host: held, grown, saved and warm-started.

A detector is code without memory; its arrays live here, one row per row of the table. They are
saved with the keys of the series, so that after a restart (or an upgrade) each series finds its own
row again, in whatever order the series come back. Only plain arrays are saved (sealed.py); what is
damaged, or was learned under another configuration or by another version of the model, is not
loaded, and the reason is said. What an earlier version of the detector's code learned is offered to
its ``migrate``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Series
from vedette.growth import grown
from vedette.models import sealed

log = logging.getLogger(__name__)

MAGIC = b"vedette-learned-1\n"
#: So long what was saved of series that are not there is saved again: not all come at once.
LINGER_NS = 3_600_000_000_000

Arrays = dict[str, NDArray[np.float32]]


class Saved(msgspec.Struct, frozen=True, eq=False):
    """What an earlier run learned: arrays per detector, one row per key, and when."""

    keys: tuple[str, ...]
    saved_ns: int
    #: State per detector, and tails per head.
    arrays: Mapping[str, Arrays]
    tails: Mapping[str, Arrays]
    #: What the Decider knew of the host as a whole.
    host: Mapping[str, object]


class Learned:
    """The learned arrays of all detectors. Owned by the pipeline thread."""

    def __init__(self, detectors: Sequence[Detector], rows: int) -> None:
        self.rows = rows
        self.arrays: dict[str, Arrays] = {}
        self.adopt(detectors)

    def adopt(self, detectors: Sequence[Detector]) -> None:
        """Keep the arrays of detectors that stay, make those of new ones, drop the others."""
        self.detectors = tuple(detectors)
        self.arrays = {
            detector.name: self.arrays.get(detector.name) or _initial(detector, self.rows)
            for detector in detectors
        }

    def replace(self, detector: Detector, arrays: Arrays | None = None) -> None:
        """Put another instance in the place of the one of its name, with other arrays if given."""
        self.detectors = tuple(
            detector if one.name == detector.name else one for one in self.detectors
        )
        if arrays is not None:
            self.arrays[detector.name] = arrays

    def named(self, name: str) -> Detector:
        """Return the detector of that name; raises ``KeyError``."""
        found = next((one for one in self.detectors if one.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` rows."""
        if rows <= self.rows:
            return
        for detector in self.detectors:
            held = self.arrays[detector.name]
            for name, declared in detector.state.items():
                held[name] = grown(held[name], rows, declared.initial)
        self.rows = rows

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Set rows that now belong to no series back to the start."""
        for detector in self.detectors:
            held = self.arrays[detector.name]
            for name, declared in detector.state.items():
                held[name][rows] = declared.initial


class Warm:
    """What was saved of some detectors, for series as they come back from ``since_ns`` on."""

    def __init__(self, saved: Saved, since_ns: int) -> None:
        self.saved = saved
        self.since_ns = since_ns
        self._rows = {key: row for row, key in enumerate(saved.keys)}

    def give(self, series: Series, row: int, learned: Learned) -> dict[str, Arrays]:
        """Give one row what was learned of its series; return the tails per head, ``()``."""
        index = self._rows.get(series.key)
        return {} if index is None else warm(self.saved, index, learned, row)

    def without(self, detector: Detector) -> Warm:
        """Return what is left when a detector has got another model."""
        heads = {head.name for head in detector.all_heads()}
        saved = self.saved
        arrays = {name: one for name, one in saved.arrays.items() if name != detector.name}
        tails = {name: one for name, one in saved.tails.items() if name not in heads}
        return Warm(msgspec.structs.replace(saved, arrays=arrays, tails=tails), self.since_ns)


class _Lingering:
    """What was saved of series that have not come back yet, to be saved once more."""

    def __init__(self, warm: Sequence[Warm], present: Sequence[str], now_ns: int) -> None:
        known = set(present)
        young = [one.saved for one in warm if now_ns - one.since_ns < LINGER_NS]
        places: dict[str, int] = {}
        for saved in young:
            for key in saved.keys:
                if key not in known:
                    places.setdefault(key, len(places))
        self.keys = list(places)
        self._from = [
            (saved, [(row, places[key]) for row, key in enumerate(saved.keys) if key in places])
            for saved in young
        ]

    def after(
        self,
        rows: NDArray[np.float32],
        initial: float,
        find: Callable[[Saved], NDArray[np.float32] | None],
    ) -> NDArray[np.float32]:
        """Return the rows with those that linger behind them; ``find`` their array."""
        if not self.keys:
            return rows
        rest = np.full((len(self.keys), *rows.shape[1:]), initial, dtype=np.float32)
        for saved, moves in self._from:
            array = find(saved)
            if array is not None and moves:
                source, target = zip(*moves, strict=True)
                rest[list(target)] = array[list(source)]
        return np.concatenate([rows, rest])


def save(
    path: Path,
    learned: Learned,
    tails: Mapping[str, Arrays],
    series: Sequence[Series | None],
    digests: Mapping[str, str],
    now_ns: int,
    host: Mapping[str, object],
    versions: Mapping[str, str] | None = None,
    warm: Sequence[Warm] = (),
) -> int:
    """Write everything learned to ``path``, atomically; return the bytes written.

    ``tails`` are the Decider's arrays per head and ``host`` what it knows of all, ``digests`` the
    configuration each detector learned under, ``versions`` which of its versions learned it.
    For an hour what was saved of series that have not come back since the start (``warm``) is saved
    again. Raises ``OSError`` when it cannot be written; the old file stays then.
    """
    rows = np.array([row for row, one in enumerate(series) if one is not None], dtype=np.intp)
    keys = [one.key for one in series if one is not None]
    lingering = _Lingering(warm, keys, now_ns)
    meta = {
        "saved_ns": now_ns,
        "host": host,
        "keys": [*keys, *lingering.keys],
        "detectors": {
            detector.name: {
                "state_version": detector.state_version,
                "config": digests.get(detector.name, ""),
                "version": (versions or {}).get(detector.name, ""),
            }
            for detector in learned.detectors
        },
    }
    parts: dict[str, NDArray[Any]] = {
        "meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    }
    for detector in learned.detectors:
        held = learned.arrays[detector.name]
        for name, declared in detector.state.items():
            if not declared.transient:
                parts[f"{detector.name}/state/{name}"] = lingering.after(
                    held[name][rows], declared.initial, _array_of("arrays", detector.name, name)
                )
        for head in detector.all_heads():
            for name, array in tails.get(head.name, {}).items():
                short = len(array) <= rows.max(initial=-1)
                # A row that was never judged has no tail: NaN says so.
                padded = grown(array, learned.rows, np.nan) if short else array
                parts[f"{detector.name}/tail/{head.name}/{name}"] = lingering.after(
                    padded[rows], np.nan, _array_of("tails", head.name, name)
                )
    return sealed.write(path, MAGIC, parts)


def load(
    path: Path,
    detectors: Sequence[Detector],
    digests: Mapping[str, str],
    versions: Mapping[str, str] | None = None,
) -> Saved | None:
    """Read what an earlier run saved; None, with the reason in the log, when it is not usable.

    With ``versions`` only what exactly those versions learned is taken; a file that names none is
    of a time when there were none.
    """
    try:
        parts = sealed.read(path, MAGIC)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("learned state cannot be read path=%s reason=%s", path, error.strerror)
        return None
    except sealed.Damaged:
        log.warning("learned state is damaged, learning starts anew path=%s", path)
        return None
    try:
        meta = json.loads(parts.pop("meta").tobytes())
        keys = tuple(str(key) for key in meta["keys"])
        arrays, tails = _usable(meta, parts, detectors, digests, versions or {})
        return Saved(keys, int(meta["saved_ns"]), arrays, tails, dict(meta["host"]))
    except (ValueError, KeyError, TypeError) as error:
        log.warning("learned state is not understood path=%s reason=%s", path, error)
        return None


def warm(saved: Saved, index: int, learned: Learned, row: int) -> dict[str, Arrays]:
    """Give one row what was saved at ``index``; return the saved tails per head, ``()``."""
    for detector, arrays in saved.arrays.items():
        held = learned.arrays.get(detector, {})
        for name, array in arrays.items():
            if name in held:
                held[name][row] = array[index]
    found = {
        head: {name: array[index] for name, array in arrays.items() if array[index] == array[index]}
        for head, arrays in saved.tails.items()
    }
    return {head: tail for head, tail in found.items() if tail}


def _usable(
    meta: Mapping[str, Mapping[str, Mapping[str, Any]]],
    parts: Mapping[str, NDArray[np.float32]],
    detectors: Sequence[Detector],
    digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> tuple[dict[str, Arrays], dict[str, Arrays]]:
    """Return the state per detector and the tails per head that still mean what they did."""
    states: dict[str, Arrays] = {}
    tails: dict[str, Arrays] = {}
    for detector in detectors:
        known = meta["detectors"].get(detector.name)
        if known is None:
            continue
        if known["config"] != digests.get(detector.name, ""):
            log.info("learned state is of another configuration detector=%s", detector.name)
            continue
        version = known.get("version", "")
        if version and version != versions.get(detector.name, version):
            log.info("learned state is of another model detector=%s is=%s", detector.name, version)
            continue
        arrays = _under(parts, f"{detector.name}/state/")
        if known["state_version"] != detector.state_version:
            migrated = _migrated(detector, int(known["state_version"]), arrays)
            if migrated is None:
                log.info("learned state is of another version detector=%s", detector.name)
                continue
            arrays = migrated
        states[detector.name] = arrays
        for head in detector.all_heads():
            tails[head.name] = _under(parts, f"{detector.name}/tail/{head.name}/")
    return states, tails


def _migrated(detector: Detector, version: int, arrays: Arrays) -> Arrays | None:
    """Return what a detector makes of an older state; None when it cannot, or does it wrongly."""
    rows = {len(array) for array in arrays.values()}
    try:
        made = detector.migrate(version, {name: one.copy() for name, one in arrays.items()})
    except Exception:
        log.exception("learned state cannot be migrated detector=%s", detector.name)
        return None
    if made is None:
        return None
    for name, array in made.items():
        declared = detector.state.get(name)
        width = 1 if declared is None else declared.width
        shape = array.shape[1:]
        if declared is None or shape != (() if width == 1 else (width,)) or len(array) not in rows:
            log.error(
                "learned state was migrated to something else detector=%s array=%s shape=%s",
                detector.name,
                name,
                array.shape,
            )
            return None
    return {name: np.asarray(array, dtype=np.float32) for name, array in made.items()}


def _array_of(kind: str, owner: str, name: str) -> Callable[[Saved], NDArray[np.float32] | None]:
    """Return what finds an array among those that were saved."""

    def find(saved: Saved) -> NDArray[np.float32] | None:
        arrays: Mapping[str, Arrays] = getattr(saved, kind)
        return arrays.get(owner, {}).get(name)

    return find


def _under(parts: Mapping[str, NDArray[np.float32]], prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array for name, array in parts.items() if name.startswith(prefix)
    }


def _initial(detector: Detector, rows: int) -> Arrays:
    arrays: Arrays = {}
    for name, declared in detector.state.items():
        shape = (rows,) if declared.width == 1 else (rows, declared.width)
        arrays[name] = np.full(shape, declared.initial, dtype=np.float32, order="F")
    return arrays
