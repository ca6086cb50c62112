"""A reader of logs as the agent is one: the tail, a store, and a count for each line number.

    python tests/bench/logs_torture_reader.py STATE PATTERN...

Lines begin with ``T`` and eight digits. Positions and counts are kept together, twice a second;
killed at any moment it goes on from there. ``counts_of`` reads what was kept.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from vedette.durable import Store
from vedette.logs.positions import Position, Positions
from vedette.logs.tail import Tail
from vedette.logs.tail_settings import TailSettings

POLL_S = 0.25
KEEP_S = 0.5


class Kept(msgspec.Struct):
    """What becomes durable together."""

    positions: Positions
    counts: bytes
    #: Lines without a number, lines cut, and bytes lost as far as known.
    others: int = 0
    lost_bytes: int = 0


def main() -> None:
    """Read until killed."""
    state, *patterns = sys.argv[1:]
    store = Store(Path(state))
    kept = decode(store.load())
    counts = bytearray(kept.counts)
    tail = Tail(TailSettings(tuple(patterns), begin="beginning"))
    tail.restore(kept.positions, time.monotonic())
    changed, kept_at = True, 0.0
    while True:
        now = time.monotonic()
        for chunk in tail.poll(now):
            changed = True
            kept.others += count(chunk.lines, counts)
        kept.lost_bytes = tail.counters.lost_bytes
        if changed and now - kept_at >= KEEP_S:
            kept.positions, kept.counts = tail.positions(now), bytes(counts)
            kept_at = now
            try:
                store.save(msgspec.msgpack.encode(kept))
                changed = False
            except OSError:
                pass  # a full disk: what was kept before holds, and the next try may succeed
        if not tail.backlog:
            time.sleep(POLL_S)


def count(lines: list[bytes], counts: bytearray) -> int:
    """Count lines by their numbers; return how many have none."""
    others = 0
    for line in lines:
        try:
            counts[int(line[1:9])] += 1
        except (ValueError, IndexError):
            if line[:1] == b"T" and line[1:9].isdigit():
                counts.extend(bytes(int(line[1:9]) + 10_000 - len(counts)))
                counts[int(line[1:9])] += 1
            else:
                others += 1
    return others


def decode(data: bytes | None) -> Kept:
    """Return what was kept."""
    if data is None:
        return Kept(Positions(), b"")
    return msgspec.msgpack.decode(data, type=Kept)


def counts_of(state: Path) -> Kept:
    """Return what a reader has kept by now."""
    return decode(Store(state).load())


__all__ = ["Kept", "Position", "counts_of"]

if __name__ == "__main__":
    main()
