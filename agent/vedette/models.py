"""What detectors have learned on this host: held, grown, saved and warm-started.

A detector is code without memory; its arrays live here, one row per row of the table. They are
saved with the keys of the series, so that after a restart (or an upgrade) each series finds its own
row again, in whatever order the series come back. Only plain arrays are saved (``.npz``, never a
pickle), behind a SHA-256 of the file; what does not match, or was learned by another version of the
detector or under another configuration, is not loaded, and the reason is said.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.api import Detector, Series
from vedette.table import grown

log = logging.getLogger(__name__)

_MAGIC = b"vedette-learned-1\n"
#: Nothing this program saves comes near this; anything larger is not its own.
_LARGEST = 256 << 20

Arrays = dict[str, NDArray[np.float32]]


class Saved(msgspec.Struct, frozen=True, eq=False):
    """What an earlier run learned: arrays per detector, one row per key, and when."""

    keys: tuple[str, ...]
    saved_ns: int
    arrays: Mapping[str, Arrays]


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


def save(
    path: Path,
    learned: Learned,
    tails: Mapping[str, Arrays],
    series: Sequence[Series | None],
    digests: Mapping[str, str],
    now_ns: int,
) -> int:
    """Write everything learned to ``path``, atomically; return the bytes written.

    ``tails`` are the Decider's arrays per detector, ``digests`` the configuration each detector
    learned under. Raises ``OSError`` when it cannot be written; the old file stays then.
    """
    rows = np.array([row for row, one in enumerate(series) if one is not None], dtype=np.intp)
    meta = {
        "saved_ns": now_ns,
        "keys": [one.key for one in series if one is not None],
        "detectors": {
            detector.name: {
                "state_version": detector.state_version,
                "config": digests.get(detector.name, ""),
            }
            for detector in learned.detectors
        },
    }
    parts: dict[str, NDArray[np.generic]] = {
        "meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    }
    for detector in learned.detectors:
        held = learned.arrays[detector.name]
        for name, declared in detector.state.items():
            if not declared.transient:
                parts[f"{detector.name}/state/{name}"] = held[name][rows]
        for name, array in tails.get(detector.name, {}).items():
            padded = array if len(array) > rows.max(initial=-1) else grown(array, learned.rows, 0)
            parts[f"{detector.name}/tail/{name}"] = padded[rows]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **parts)
    body = buffer.getvalue()
    head = _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n"
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.write(head + body)
        file.flush()
        os.fdatasync(file.fileno())
    temporary.replace(path)
    return len(head) + len(body)


def load(path: Path, detectors: Sequence[Detector], digests: Mapping[str, str]) -> Saved | None:
    """Read what an earlier run saved; None, with the reason in the log, when it is not usable."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("learned state cannot be read path=%s reason=%s", path, error.strerror)
        return None
    head, body = raw[: len(_MAGIC) + 65], raw[len(_MAGIC) + 65 :]
    if head != _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n":
        log.warning("learned state is damaged, learning starts anew path=%s", path)
        return None
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            parts = {name: file[name] for name in file.files}
        meta = json.loads(parts.pop("meta").tobytes())
        keys = tuple(str(key) for key in meta["keys"])
        return Saved(keys, int(meta["saved_ns"]), _usable(meta, parts, detectors, digests))
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        log.warning("learned state is not understood path=%s reason=%s", path, error)
        return None


def warm(saved: Saved, index: int, learned: Learned, row: int) -> dict[str, Arrays]:
    """Give one row what was saved at ``index``; return the saved tails per detector, ``()``."""
    tails: dict[str, Arrays] = {}
    for detector, arrays in saved.arrays.items():
        held = learned.arrays.get(detector, {})
        for part, array in arrays.items():
            kind, _, name = part.partition("/")
            if kind == "state" and name in held:
                held[name][row] = array[index]
            elif kind == "tail":
                tails.setdefault(detector, {})[name] = array[index]
    return tails


def _usable(
    meta: Mapping[str, Mapping[str, Mapping[str, object]]],
    parts: Mapping[str, NDArray[np.float32]],
    detectors: Sequence[Detector],
    digests: Mapping[str, str],
) -> dict[str, Arrays]:
    usable: dict[str, Arrays] = {}
    for detector in detectors:
        known = meta["detectors"].get(detector.name)
        if known is None:
            continue
        if known["state_version"] != detector.state_version:
            log.info("learned state is of another version detector=%s", detector.name)
            continue
        if known["config"] != digests.get(detector.name, ""):
            log.info("learned state is of another configuration detector=%s", detector.name)
            continue
        prefix = f"{detector.name}/"
        usable[detector.name] = {
            name.removeprefix(prefix): array
            for name, array in parts.items()
            if name.startswith(prefix)
        }
    return usable


def _initial(detector: Detector, rows: int) -> Arrays:
    arrays: Arrays = {}
    for name, declared in detector.state.items():
        shape = (rows,) if declared.width == 1 else (rows, declared.width)
        arrays[name] = np.full(shape, declared.initial, dtype=np.float32)
    return arrays
