"""Know what the lines of a page mean together: which lines are one counter, one histogram.

Each series of the page has a slot, a number that stands for its place among the values. A layout
gives every slot its meaning once, and renews the recipes (``page``) of the families
that changed, so a page whose series are known costs no more than reading its values.

A line belongs to the family its name declares; failing that to the one that declares the name
without ``_total``, ``_bucket``, ``_sum``, ``_count``, ``_created`` or ``_info``, if that type has
such lines. The order of the lines does not matter. ``x_created``, which older servers type as
gauges of their own, is told as the ``created`` of x.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Protocol

import msgspec

from vedette.exposition.model import Family, FamilyType, Key, Labels, Malformed
from vedette.exposition.page import Kept, Recipe, Role, source_of

_SUFFIXES: dict[FamilyType, dict[str, str]] = {
    "counter": {"_total": "value", "_created": "created"},
    "histogram": {"_bucket": "bucket", "_sum": "sum", "_count": "count", "_created": "created"},
    "gaugehistogram": {
        "_bucket": "bucket",
        "_gsum": "sum",
        "_gcount": "count",
        "_sum": "sum",
        "_count": "count",
        "_created": "created",
    },
    "summary": {"_sum": "sum", "_count": "count", "_created": "created"},
    "info": {"_info": "value"},
}
_ENDINGS = ("_bucket", "_sum", "_count", "_created", "_total", "_info", "_gsum", "_gcount")
_BOUND_LABEL = {"bucket": "le", "quantile": "quantile"}


class Choice(Protocol):
    """Choose what of a page is kept; the names are those of points (no ``_bucket``)."""

    def wants(self, name: str) -> bool:
        """Say whether a family is kept."""

    def keep(self, name: str, labels: Labels) -> Labels | None:
        """Return the labels to keep of a series, or None to leave it out."""

    def adds(self, name: str) -> bool:
        """Say whether gauges of this name that fall together are added; else the largest is it."""


class Place(msgspec.Struct, frozen=True):
    """Say where a line belongs: to which declaration, under what name, as what."""

    line: str  # the name it stands under
    family: str
    type: FamilyType
    name: str
    part: str  # value, sum, count, created, bucket, quantile; empty: nowhere


def place(name: str, declared: Mapping[str, Family]) -> Place:
    """Find where the lines of a name belong."""
    own = declared.get(name)
    if own is None or (own.type in ("gauge", "unknown") and name.endswith("_created")):
        for ending in _ENDINGS:
            if name.endswith(ending):
                found = _by_ending(name, ending, declared)
                if found is not None:
                    return found
    if own is None:
        return Place(name, name, "unknown", name, "value")
    if own.type == "summary":
        return Place(name, name, own.type, name, "quantile")
    if own.type in ("histogram", "gaugehistogram"):
        return Place(name, name, own.type, name, "")
    return Place(name, name, own.type, name, "value")


def _by_ending(name: str, ending: str, declared: Mapping[str, Family]) -> Place | None:
    base = name[: -len(ending)]
    family = declared.get(base)
    if ending == "_created" and (family is None or family.type not in _SUFFIXES):
        family = declared.get(f"{base}_total")
        if family is not None and family.type != "counter":
            family = None
    part = _SUFFIXES.get(family.type, {}).get(ending) if family is not None else None
    if family is None or part is None:
        return None
    whole = name if part == "value" else family.name
    return Place(name, family.name, family.type, whole, part)


class _Point:
    """The slots of one point: by role, and by dropped labels too where some were dropped."""

    __slots__ = ("key", "recipe", "slots")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.slots: dict[Role | tuple[Labels, Role], int] = {}
        self.recipe: Recipe | None = None


class _Owner(msgspec.Struct, frozen=True, gc=False):
    """Where a slot belongs, to find it again when its series is forgotten.

    ``point`` is None for one left out, and for a ``created``, of which ``labels`` are all.
    """

    place: Place
    point: _Point | None = None
    labels: Labels = ()  # those dropped
    role: Role = ""


class Layout:
    """Which slot is what, for the series a reader remembers."""

    def __init__(self, choice: Choice | None) -> None:
        self.declared: dict[str, Family] = {}
        #: By public name. Replaced, never changed, so that pages can keep it.
        self.kept: dict[str, Kept] = {}
        self._choice = choice
        self._owners: list[_Owner | None] = []
        self._left_out = _Owner(Place("", "", "unknown", "", ""))
        self._used = 0
        self._points: dict[str, dict[Key, _Point]] = {}  # by public name
        self._created: dict[str, dict[Labels, int]] = {}  # by declared name
        self._places: dict[str, Place] = {}
        self._dirty: dict[str, None] = {}
        # Both only for the page at hand.
        self._texts: dict[object, object] = {}
        self._unwanted: dict[str, bool] = {}

    @property
    def names(self) -> frozenset[str]:
        """The names of all points, those left out included."""
        return frozenset(one.name for one in self._places.values())

    def declare(self, declared: dict[str, Family]) -> list[int]:
        """Take what a page's comments say; return the slots that now mean something else."""
        before, self.declared = self.declared, declared
        self._unwanted.clear()
        for name in before.keys() | declared.keys():
            if before.get(name) != declared.get(name):
                self._touch(name)
        for name, old in self._places.items():
            if (new := place(name, declared)) != old:
                self._places[name] = new
        return [
            slot
            for slot, owner in enumerate(self._owners)
            if owner is not None and self._places[owner.place.line] is not owner.place
        ]

    def unwanted(self, line_name: str) -> bool:
        """Say whether lines of this name are left out whatever their labels."""
        if self._choice is None or not line_name:
            return False
        known = self._unwanted.get(line_name)
        if known is None:
            found = self._place(line_name)
            wanted = self._choice.wants(found.name) or (
                found.part == "created" and self._choice.wants(f"{found.name}_total")
            )
            known = self._unwanted[line_name] = not wanted
        return known

    def leave_out(self, slot: int, line_name: str) -> None:
        """Give a slot to a series that is not wanted; those of one name mostly stand together."""
        found = self._place(line_name)
        if self._left_out.place is not found:
            self._left_out = _Owner(found)
        self._own(slot, self._left_out)

    def add(self, slot: int, line_name: str, labels: Labels) -> int:
        """Give a slot to a series; return the one it has already, when it has.

        Raises ``Malformed`` for a line its family cannot have.
        """
        found = self._place(line_name)
        role, labels = role_of(found, labels)
        kept: Labels | None = labels
        if self._choice is not None:
            wanted = not self.unwanted(line_name)
            kept = self._choice.keep(found.name, labels) if wanted else None
        if kept is None:
            self.leave_out(slot, line_name)
            return slot
        labels, kept = self._shared(labels), self._shared(kept)
        if role == "created":
            have = self._created.setdefault(found.family, {}).setdefault(labels, slot)
            self._touch(found.family)
            owner = _Owner(found, None, labels, role)
        else:
            key = Key(found.name, kept)
            points = self._points.setdefault(found.name, {})
            point = points.get(key) or points.setdefault(key, _Point(key))
            role = self._texts.setdefault(role, role)  # type: ignore[assignment]
            dropped: Labels = labels if kept != labels else ()
            have = point.slots.setdefault((dropped, role) if dropped else role, slot)
            point.recipe = None
            self._dirty[found.name] = None
            owner = _Owner(found, point, dropped, role)
        if have == slot:
            self._own(slot, owner)
        return have

    def remove(self, slot: int) -> None:
        """Forget a series."""
        owner = self._owners[slot]
        if owner is None:
            return
        self._owners[slot] = None
        self._used -= 1
        if owner.role == "created":
            family = owner.place.family
            del self._created[family][owner.labels]
            if not self._created[family]:
                del self._created[family]
            self._touch(family)
        elif owner.point is not None:
            point, name = owner.point, owner.place.name
            del point.slots[(owner.labels, owner.role) if owner.labels else owner.role]
            point.recipe = None
            if not point.slots:
                del self._points[name][point.key]
                if not self._points[name]:
                    del self._points[name]
            self._dirty[name] = None

    def settle(self) -> None:
        """Renew the recipes of the families that changed."""
        self._texts.clear()
        self._unwanted.clear()
        if not self._dirty:
            return
        kept = dict(self.kept)
        for name in self._dirty:
            points = self._points.get(name)
            if points is None:
                kept.pop(name, None)
            else:
                kept[name] = self._family(name, points)
        self.kept = kept
        self._dirty.clear()
        if len(self._places) > 2 * self._used + 1000:
            used = {owner.place.line: owner.place for owner in self._owners if owner is not None}
            self._places = used

    def _place(self, line_name: str) -> Place:
        found = self._places.get(line_name)
        if found is None:
            found = self._places[line_name] = place(line_name, self.declared)
        return found

    def _own(self, slot: int, owner: _Owner) -> None:
        while len(self._owners) <= slot:
            self._owners.append(None)
        self._used += self._owners[slot] is None
        self._owners[slot] = owner

    def _touch(self, family: str) -> None:
        """Note that a declaration changed, which may speak for a name with an ending."""
        for name in (family, f"{family}_total", f"{family}_info"):
            points = self._points.get(name)
            if points is not None:
                self._dirty[name] = None
                for point in points.values():
                    point.recipe = None

    def _family(self, name: str, points: dict[Key, _Point]) -> Kept:
        slot = next(iter(next(iter(points.values())).slots.values()))
        owner = self._owners[slot]
        found = owner.place if owner is not None else self._place(name)
        declared = self.declared.get(found.family, Family(found.family))
        created = self._created.get(found.family, {})
        adds = self._choice is not None and self._choice.adds(name)
        for point in points.values():
            if point.recipe is None:
                point.recipe = _recipe(point, found.type, created, adds)
        recipes = tuple(point.recipe for point in points.values() if point.recipe is not None)
        return Kept(Family(name, found.type, declared.unit, declared.help), recipes)

    def _shared(self, labels: Labels) -> Labels:
        """Return equal labels as the same object: a histogram has dozens of lines with them."""
        texts = self._texts
        found = texts.get(labels)
        if found is None:
            made = tuple(
                (texts.setdefault(name, name), texts.setdefault(value, value))
                for name, value in labels
            )
            found = texts[labels] = made
        return found  # type: ignore[return-value]


def _recipe(point: _Point, kind: FamilyType, created: Mapping[Labels, int], adds: bool) -> Recipe:
    sources: dict[Labels, dict[Role, int]] = {}
    for key, slot in point.slots.items():
        dropped, role = key if isinstance(key, tuple) else ((), key)
        sources.setdefault(dropped, {})[role] = slot
    return Recipe(
        point.key,
        kind,
        tuple(
            (dropped, source_of(kind, roles, created.get(dropped or point.key.labels, -1)))
            for dropped, roles in sorted(sources.items())
        ),
        adds,
    )


def role_of(found: Place, labels: Labels) -> tuple[Role, Labels]:
    """Return what a line is within its point, and its labels without the bound.

    Raises ``Malformed``.
    """
    if not found.part:
        raise Malformed(f"a {found.type} has no line without an ending such as _bucket")
    wanted = _BOUND_LABEL.get(found.part)
    if wanted is None:
        return found.part, labels
    text = next((value for name, value in labels if name == wanted), None)
    if text is None:
        raise Malformed(f"a {found.part} without the label {wanted}")
    try:
        bound = float(text) if text.isascii() and "_" not in text else nan
    except ValueError:
        bound = nan
    if bound != bound or (found.part == "quantile" and not 0 <= bound <= 1):
        raise Malformed(f"{wanted}={text[:40]!r} is not a bound")
    return bound, tuple(pair for pair in labels if pair[0] != wanted)
