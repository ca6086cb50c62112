"""Save what a miner learned, and read it back: all or nothing.

MessagePack with a version in front. What is read is checked before it is believed; anything else
than what ``pack`` wrote is a ``ValueError`` that says why.
"""

from __future__ import annotations

import msgspec

from vedette.logs.miner_tokens import MAX_TOKENS

VERSION = 1
#: The most that is read: several times what the bounds of a miner allow.
MAX_BYTES = 64 << 20


class NodeState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One template; ``face`` None while nobody asked how it is written."""

    id: int
    birth: int
    key: tuple[bytes, ...]
    count: int
    looks: int
    version: int
    wordy: tuple[int, ...]
    example: bytes
    face: tuple[bytes, ...] | None


class MinerState(msgspec.Struct, frozen=True, array_like=True):
    """All that a miner's answers follow from. Pairs are of a key's hash or an id, and an id."""

    version: int
    next_id: int
    overflow: int
    overflowed: int
    unfetched: int
    nodes: tuple[NodeState, ...]
    known: tuple[tuple[int, int], ...]
    known_before: tuple[tuple[int, int], ...]
    aliases: tuple[tuple[int, int], ...]
    met: tuple[int, ...]
    met_before: tuple[int, ...]
    fresh: tuple[int, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MinerState)


def pack(state: MinerState) -> bytes:
    """Return a state as bytes."""
    return _encoder.encode(state)


def unpack(data: bytes) -> MinerState:
    """Return the state that ``pack`` made bytes of; ``ValueError`` if it is none."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"a miner's state of {len(data)} bytes is larger than any miner's")
    try:
        state = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this is no miner's state: {error}") from None
    if state.version != VERSION:
        raise ValueError(f"a miner's state has version {VERSION}, this one {state.version}")
    _check(state)
    return state


def _check(state: MinerState) -> None:
    ids = {node.id for node in state.nodes}
    if len(ids) != len(state.nodes):
        raise ValueError("a miner's state has two templates of one id")
    if len({node.key for node in state.nodes}) != len(state.nodes):
        raise ValueError("a miner's state has two templates of one key")
    if ids and not 0 < min(ids) <= max(ids) < state.next_id:
        raise ValueError(f"a miner's state has ids beyond the next one, {state.next_id}")
    for node in state.nodes:
        size = len(node.key)
        # Two more than are scanned: the rest, and an empty value.
        if size > MAX_TOKENS + 2 or not all(0 <= place < size for place in node.wordy):
            raise ValueError(f"template {node.id} of a miner's state has no key that fits")
        if list(node.wordy) != sorted(set(node.wordy)):
            raise ValueError(f"template {node.id} of a miner's state has places out of order")
        if node.face is not None and len(node.face) != size:
            raise ValueError(f"template {node.id} of a miner's state has no text that fits")
        if min(node.count, node.looks, node.version, node.birth) < 0:
            raise ValueError(f"template {node.id} of a miner's state has a negative count")
    targets = {
        one for pairs in (state.known, state.known_before, state.aliases) for _, one in pairs
    }
    if not targets <= ids | {0} or not all(0 < one < state.next_id for one in state.fresh):
        raise ValueError("a miner's state points at templates that it does not have")
    if min(state.overflow, state.overflowed, state.unfetched) < 0 or state.next_id < 1:
        raise ValueError("a miner's state has a negative count")
