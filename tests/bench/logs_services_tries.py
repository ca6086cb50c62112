"""Ways in which the detectors might be changed, to be tried on a capture: no part of the product.

``judge --try NAME`` takes them over before the replay; the figures with and without say what each
is worth. What proved itself belongs into the detectors, and then goes from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vedette.logs import rhythm, slot_watch
from vedette.logs.digest import Digest
from vedette.logs.entry import Severity


def small_bunches() -> None:
    """Take a warning to have come 30 times at once before, not 100; others 300, not 1000."""
    rhythm.FIRST_BUNCH = (
        (Severity.ERROR, 10.0),
        (Severity.WARN, 30.0),
        (Severity.UNKNOWN, 300.0),
    )


def no_counters() -> None:
    """Do not watch the numbers of slots that nearly always are above the one before."""
    numbers = slot_watch.SlotWatch._numbers
    runs: dict[str, list[float]] = {}

    def watched(self: slot_watch.SlotWatch, slot: Any, seen: Any, now_s: float) -> Any:
        found = numbers(self, slot, seen, now_s)
        run = runs.setdefault(f"{id(self)}/{seen.template_id}/{seen.slot}", [0.0, 0.0, 0.0])
        for one in seen.numbers:
            run[0] += one > run[2]
            run[1] += 1
            run[2] = one
        return [] if run[0] > 0.8 * run[1] else found

    slot_watch.SlotWatch._numbers = watched  # type: ignore[method-assign]


_STATUS = re.compile(rb'(HTTP/\d(?:\.\d)?" )([1-5])\d\d(?= )')
_CLASSES = {b"2": b"successful", b"3": b"redirected", b"4": b"rejected", b"5": b"failed"}


def status_class() -> None:
    """Make the class of a request's status a word of the template, not a number in a slot."""
    takes = Digest.take

    def taken(self: Digest, batch: Any, now_ns: int) -> None:
        bodies = batch.columns.bodies
        for row, body in enumerate(bodies):
            if b"HTTP/" in body:
                bodies[row] = _STATUS.sub(lambda one: one[1] + _CLASSES.get(one[2], b"other"), body)
        takes(self, batch, now_ns)

    Digest.take = taken  # type: ignore[method-assign]


TRIES: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        small_bunches,
        no_counters,
        status_class,
    )
}
