"""Keep on the disk how far logs of inferences were read, and what was counted of them.

Two values, like those of logs: *now* (positions, open windows, baselines), each minute in which
something came and at the end of each window, as one, so that no record is counted twice or not at
all; and the *hours* that ended, when another one did. Sketches alone, no record and no id.
"""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import TypeVar

import msgspec

from vedette.drift.generic import FieldsConfig
from vedette.drift.watching import Hour, WatchState
from vedette.logs.positions import Positions, Store

__all__ = ["Keeper", "Kept"]

log = logging.getLogger(__name__)

VERSION = 1
_Value = TypeVar("_Value")


class Kept(msgspec.Struct, frozen=True):
    """What becomes durable together."""

    version: int = VERSION
    positions: Positions = msgspec.field(default_factory=Positions)
    fields: FieldsConfig = FieldsConfig()
    watches: dict[str, WatchState] = {}


class Keeper:
    """The two values of one state directory; without one (an empty path) nothing is kept."""

    def __init__(self, directory: str) -> None:
        self._stores: tuple[Store, Store] | None = None
        self._failing = False
        if directory:
            path = Path(directory)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._stores = Store(path / "now"), Store(path / "hours")

    def load(self) -> tuple[Kept, dict[str, tuple[Hour, ...]]]:
        """Return what an earlier run left, as far as it is sound."""
        if self._stores is None:
            return Kept(), {}
        kept = _read(self._stores[0], Kept)
        if kept is not None and kept.version != VERSION:
            log.warning("inference log: state of version %d is not to be used", kept.version)
            kept = None
        return kept or Kept(), _read(self._stores[1], dict[str, tuple[Hour, ...]]) or {}

    def save(self, kept: Kept) -> bool:
        """Make it durable; False when the disk does not take it: the older value holds."""
        return self._stores is None or self._save(self._stores[0], kept)

    def save_hours(self, hours: dict[str, tuple[Hour, ...]]) -> bool:
        """Make the hours that ended durable."""
        return self._stores is None or self._save(self._stores[1], hours)

    def _save(self, store: Store, value: object) -> bool:
        try:
            store.save(zlib.compress(msgspec.msgpack.encode(value), 1))
        except OSError as error:
            if not self._failing:
                log.error("inference log: what was counted cannot be kept reason=%s", error)
            self._failing = True
            return False
        if self._failing:
            self._failing = False
            log.info("inference log: what was counted is kept again")
        return True


def _read(store: Store, type_: type[_Value]) -> _Value | None:
    data = store.load()
    if data is None:
        return None
    try:
        return msgspec.msgpack.decode(zlib.decompress(data), type=type_)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("inference log: what was kept is not to be used reason=%s", error)
        return None
