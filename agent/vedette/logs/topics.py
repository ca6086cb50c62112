"""Say of what a line tells, where its words say it: of memory that ran out, of a full disk.

So that "CUDA out of memory" in a server's log joins the incident of the GPU, and "No space left on
device" that of the filesystem, whoever wrote it. A line of no topic tells of its writer alone.
"""

from __future__ import annotations

import re

#: Words of each topic, the more exact first; ``vedette.entities.LOG_TOPICS`` says what it tells of.
_TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("gpu", (r"\bcuda\b", r"\bnccl\b", r"\bnvrm\b", r"\bhip(?:error)?\b", r"\bgpu\b", r"\bvram\b")),
    (
        "memory",
        (
            r"out of memory",
            r"\boom\b",
            r"oom-kill",
            r"cannot allocate",
            r"allocation failed",
            r"malloc failed",
            r"heap space",
            r"memory (?:pressure|exhausted)",
            r"memoryerror",
            r"bad_alloc",
        ),
    ),
    (
        "space",
        (
            r"no space left",
            r"disk full",
            r"quota exceeded",
            r"enospc",
            r"read-only file ?system",
            r"out of inodes",
        ),
    ),
    (
        "disk",
        (
            r"i/o error",
            r"input/output error",
            r"\beio\b",
            r"medium error",
            r"checksum mismatch",
            r"bad sector",
            r"fsync (?:failed|error)",
            r"could not (?:fsync|read block|write block)",
        ),
    ),
    ("files", (r"too many open files", r"\be[mn]file\b", r"file descriptor limit")),
    (
        "network",
        (
            r"connection (?:refused|reset|timed out|closed unexpectedly)",
            r"connect(?:ion)? failed",
            r"no route to host",
            r"network is unreachable",
            r"host is down",
            r"broken pipe",
            r"econnre(?:fused|set)",
            r"etimedout",
            r"could not resolve",
            r"name resolution",
            r"upstream timed out",
            r"i/o timeout",
            r"deadline exceeded",
            r"address already in use",
        ),
    ),
)
_ANY = re.compile(
    "|".join(f"(?P<{name}>{'|'.join(words)})" for name, words in _TOPICS), re.IGNORECASE
)
#: So much of a text is looked at.
_LOOKED_AT = 2000


def topic_of(text: str) -> str:
    """Return the topic of a line, or of a template's text; empty when it has none."""
    found = None
    for match in _ANY.finditer(text, 0, _LOOKED_AT):
        found = match.lastgroup if found is None or _before(match.lastgroup, found) else found
    return found or ""


_PLACES = {name: place for place, (name, _) in enumerate(_TOPICS)}


def _before(one: str | None, other: str) -> bool:
    return _PLACES.get(one or "", len(_PLACES)) < _PLACES[other]
