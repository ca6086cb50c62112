"""Bounds on what a sender may make the receiver hold or do, in one place so tests can lower them.

A repeated empty message costs two bytes on the wire and about 130 in memory once parsed, and gzip
shrinks a run of them a thousandfold more: bytes alone bound nothing, counts do.
"""

from __future__ import annotations

import msgspec

MIB = 1 << 20
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


class Limits(msgspec.Struct, frozen=True):
    """What one request, and all of them together, may cost."""

    compressed_bytes: int = 2 * MIB
    body_bytes: int = 8 * MIB
    #: Smaller bodies skip the structural scan: even of nothing but empty messages they parse into
    #: 17 MiB, one at a time, for the milliseconds the request takes.
    scan_above_bytes: int = MIB // 4
    messages: int = 300_000
    fields: int = 2_000_000
    metrics: int = 10_000
    points: int = 50_000
    records: int = 10_000
    depth: int = 32
    #: Bytes of one packed list: 640 histogram buckets of ten bytes each.
    packed_bytes: int = 6_400
    #: Brackets and commas of a JSON body: objects and elements before any is built.
    json_brackets: int = 200_000
    json_commas: int = 1_000_000
    oldest_ns: int = 30 * DAY_NS
    ahead_ns: int = 600 * SECOND_NS
    header_s: float = 5.0
    body_s: float = 20.0
    request_s: float = 60.0
    idle_s: int = 75
    connections: int = 256
    requests: int = 64
    agents: int = 10_000
    epochs_per_agent: int = 256


#: Text kept of what a sender wrote, in characters; longer text is cut and ends in an ellipsis.
TEXT_MAX = 4_096
KEY_MAX = 256
AGENT_MAX = 128
LABELS_MAX = 64
ITEMS_MAX = 256
VALUES_MAX = 2_048
#: A sentence that is listed among others.
LINE_MAX = 600
DEPTH_MAX = 8
#: Of an inventory: its items, the facts of one, and its size as JSON, which the
#: other two do not bound.
INVENTORY_ITEMS_MAX = 500
FACTS_MAX = 40
INVENTORY_BYTES_MAX = 256 * 1024
#: Changes of the inventory kept per host, the newest.
INVENTORY_CHANGES_MAX = 100

#: Of what was logged: a template's text and its example, the slots that are told of it, the values
#: of one, rules of redaction, and sources of one window.
LOG_TEXT_MAX = 1_024
SLOTS_MAX, SLOT_VALUES_MAX, SLOT_TEXT_MAX = 8, 12, 200
RULES_MAX = 64
LOG_SOURCES_MAX = 1_024
#: Merged templates of one window: an agent tells 1,000.
LOG_MERGED_MAX = 1_024
#: Windows that one request may tell of; an agent repeats five minutes of them.
LOG_WINDOWS_MAX = 256
#: More than this was not logged in a window; sums of it stay what SQLite can add up.
LOG_COUNT_MAX = 1 << 40

#: Of model servers: models of one request and of one host (a gateway may have hundreds), series of
#: one count of one model, buckets of a distribution (the longest of a known server has 38).
MODELS_MAX = 1_024
MODELS_PER_AGENT = 256
MODEL_COUNTS_MAX = 64
BOUNDS_MAX = 128
#: Of what a server's record says: its facts and their size. Servers of one host; an agent reads 32.
MODEL_FACTS_MAX = 64
MODEL_FACTS_BYTES_MAX = 32 * 1024
MODEL_SERVERS_MAX = 64
#: Changes of its model servers kept per host, the newest.
MODEL_EVENTS_MAX = 200


def clip(text: str, size: int = TEXT_MAX) -> str:
    """Return ``text``, cut to ``size`` characters."""
    return text if len(text) <= size else text[: size - 1] + "…"
