"""What a version of a detector's model is: an identity, a status, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Status = Literal["candidate", "shadow", "champion", "retired", "rejected"]
Origin = Literal["live", "kept readings", "file", "last minutes"]

#: Where each status may go. A rejected version comes back at the operator's word only.
FOLLOWS: Mapping[Status, tuple[Status, ...]] = {
    "candidate": ("shadow", "champion", "rejected"),
    "shadow": ("champion", "rejected", "retired"),
    "champion": ("retired", "rejected"),
    "retired": ("champion", "shadow"),
    "rejected": ("champion", "shadow"),
}


class Data(msgspec.Struct, frozen=True):
    """What a version was trained on: first and last reading (Unix ns), series, readings."""

    origin: Origin = "live"
    first_ns: int = 0
    last_ns: int = 0
    series: int = 0
    readings: int = 0


class Version(msgspec.Struct, frozen=True):
    """One version. ``id`` is the detector's name and a number that is never used again.

    ``config`` is the digest of the options it runs under, ``base`` that of the operator's options
    for the detector when it was made; ``options`` are the former in plain values. ``parent`` is the
    champion it was made beside, from its promotion on the one it took over from. ``code`` is the
    program's version and the detector's state version. ``since_ns`` is when it got its status,
    ``reasons`` say why it was rejected, ``state`` is the digest of its file when it got its status,
    ``promoted`` whether it came to be champion by promotion, and ``usual_per_h`` how many findings
    an hour there were before that.
    """

    id: str
    detector: str
    status: Status
    config: str
    base: str
    code: str
    made_ns: int
    why: str
    since_ns: int
    options: Mapping[str, Any] = {}
    parent: str = ""
    data: Data = Data()
    reasons: tuple[str, ...] = ()
    state: str = ""
    promoted: bool = False
    usual_per_h: float = 0.0

    @property
    def number(self) -> int:
        """The number in the id."""
        return int(self.id.rpartition("-")[2])
