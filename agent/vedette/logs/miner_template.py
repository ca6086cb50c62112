"""A template as others see it, and the bounds within which a miner keeps its templates."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """Bounds of a miner. None of them is about what makes a template."""

    max_templates: int = 2000
    #: Size of all keys together, in bytes of their tokens.
    max_key_bytes: int = 2 << 20
    #: Lines of one generation of the cache, and their bytes; longer lines are not cached.
    cache_lines: int = 8192
    cache_bytes: int = 1 << 20
    cache_line_bytes: int = 1024
    #: Keys of one generation of those known to belong to a looser template.
    known_keys: int = 4096
    #: Ids that are remembered as aliases, and new templates that wait to be fetched.
    max_aliases: int = 8000
    max_fresh: int = 1000


class Template(msgspec.Struct, frozen=True):
    """A template as it is now.

    ``id`` is its number here; ``uid`` 16 hex digits made of its first line's key, the same on every
    host that saw such a line first. ``text`` has ``<num>``, ``<ip>``, ``<*>`` for what varies,
    ``slots`` the forms of these in order; both change as more is seen, and ``version`` counts how
    often. ``count`` is how many lines it had, its aliases' included.
    """

    id: int
    uid: str
    text: str
    count: int
    slots: tuple[str, ...]
    version: int
