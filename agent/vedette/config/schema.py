"""Turn the plain values of a TOML document into msgspec structs, reporting every problem.

``msgspec.convert`` stops at the first error of a table, so tables are walked here, key by key, and
msgspec judges the values. What a field may be is said in words: "expected a whole number of at
least 1, found the text 'many'".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from vedette.api import Duration, Secret, Size
from vedette.config.toml_positions import Path
from vedette.config.units import Share, parse_duration, parse_share, parse_size
from vedette.config.wording import accepted, found, label, section

__all__ = ["FAILED", "Reader", "fields", "is_secret", "item_struct", "nearest", "unsupported"]

#: What a reading method returns after it reported a problem.
FAILED: Any = object()

_LISTED_KEYS = 12
#: Comparing is quadratic, and no key is longer.
_COMPARED = 64


class Reader:
    """Read values against types; ``report(path, text)`` hears of each problem."""

    def __init__(self, report: Callable[[Path, str], None]) -> None:
        self._report = report

    def struct(self, type_: type[msgspec.Struct], value: Any, path: Path) -> Any:
        """Return an instance, or ``FAILED``; an error of its ``__post_init__`` is a problem too."""
        known = fields(type_)
        values = self.table(known, value, path)
        if any(item is FAILED for item in values.values()):
            return FAILED
        return self.construct(type_, values, path)

    def table(self, known: Mapping[str, FieldInfo], value: Any, path: Path) -> dict[str, Any]:
        """Return the keys that were given, by field key; ``FAILED`` where the value is wrong.

        A missing required key is there as ``FAILED`` as well, and so is everything when ``value``
        is no table.
        """
        if not isinstance(value, dict):
            self._report(path, f"{label(path)}: expected a table, found {found(value, path)}")
            return dict.fromkeys(known, FAILED) or {"": FAILED}
        read: dict[str, Any] = {}
        for key, item in value.items():
            if key in known:
                read[key] = self.value(known[key].type, item, (*path, key))
            else:
                read[key] = FAILED
                hint = nearest(key, known)
                self._report((*path, key), f"{section(path)} unknown key {key!r}{hint}")
        for key, field in known.items():
            if field.required and key not in read:
                read[key] = FAILED
                self._report(path, f"{section(path)} has no {key!r}, which must be set")
        return read

    def construct(self, type_: type[msgspec.Struct], values: Mapping[str, Any], path: Path) -> Any:
        """Make the struct from values that were read; report what its own check says."""
        names = {key: field.name for key, field in fields(type_).items()}
        try:
            return type_(**{names[key]: value for key, value in values.items()})
        except Exception as error:  # noqa: BLE001 - a plugin's own check
            text = str(error) if isinstance(error, ValueError) else repr(error)
            self._report(path, f"{section(path)}: {text}")
            return FAILED

    def value(self, type_: Any, value: Any, path: Path) -> Any:
        """Return ``value`` as the type, or ``FAILED``."""
        bare = _bare(type_)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.struct(bare, value, path)
        info = _unwrapped(inspect.type_info(bare))
        if isinstance(info, _LISTS) and isinstance(value, list) and get_args(bare):
            return self._list(bare, info, value, path)
        if isinstance(info, inspect.DictType) and isinstance(value, dict) and get_args(bare):
            return self._dict(get_args(bare)[1], value, path)
        return self._leaf(type_, bare, value, path)

    def _list(self, bare: Any, info: _ListInfo, value: list[Any], path: Path) -> Any:
        items = [
            self.value(get_args(bare)[0], item, (*path, index)) for index, item in enumerate(value)
        ]
        if any(item is FAILED for item in items):
            return FAILED
        shortest, longest = info.min_length or 0, info.max_length
        if len(items) < shortest or (longest is not None and len(items) > longest):
            wanted = f"at least {shortest}" if len(items) < shortest else f"at most {longest}"
            self._report(path, f"{label(path)}: expected {wanted} entries, found {len(items)}")
            return FAILED
        return _CONTAINERS[type(info)](items)

    def _dict(self, type_: Any, value: dict[str, Any], path: Path) -> Any:
        items = {key: self.value(type_, item, (*path, key)) for key, item in value.items()}
        return FAILED if any(item is FAILED for item in items.values()) else items

    def _leaf(self, type_: Any, bare: Any, value: Any, path: Path) -> Any:
        try:
            if bare in (Duration, Size, Share, Secret):
                return _own(bare, value)
            return msgspec.convert(_finite(value), type_, dec_hook=_own)
        except msgspec.ValidationError:
            text = f"expected {accepted(type_)}, found {found(value, path, bare)}"
            if isinstance(value, str) and get_origin(bare) is not None:
                text += nearest(value, [v for v in get_args(bare) if isinstance(v, str)], other="")
        except ValueError as error:
            text = str(error)
        self._report(path, f"{label(path)}: {text}")
        return FAILED


def fields(type_: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    """Return the fields of a struct by the key they have in agent.toml."""
    return {field.encode_name: field for field in msgspec.structs.fields(type_)}


def nearest(word: str, known: Iterable[str], *, other: str = "; known: ") -> str:
    """Return ", did you mean 'x'?", or failing that what is known, when it is little."""
    from difflib import get_close_matches  # needed for mistakes only

    words = sorted(known)
    by_lower = {w.lower(): w for w in words}
    close = get_close_matches(word[:_COMPARED].lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f", did you mean {by_lower[close[0]]!r}?"
    if other and 0 < len(words) <= _LISTED_KEYS:
        return other + ", ".join(words)
    return ""


def unsupported(type_: type[msgspec.Struct]) -> str:
    """Return why agent.toml cannot express a struct's fields; empty when it can."""
    for key, field in fields(type_).items():
        try:
            info = inspect.type_info(field.type)
        except TypeError as error:
            return f"field {key!r}: {error}"
        for part in _parts(info, set()):
            if isinstance(part, inspect.CustomType) and part.cls not in (Duration, Size, Secret):
                return (
                    f"field {key!r} has type {part.cls.__name__}, which agent.toml cannot express"
                )
            if isinstance(part, inspect.DictType) and not isinstance(
                _unwrapped(part.key_type), inspect.StrType | inspect.AnyType
            ):
                return f"field {key!r}: the keys of a table are text"
    return ""


def is_secret(type_: Any) -> bool:
    """Say whether a type is a credential, perhaps one that may be absent."""
    return _bare(type_) is Secret


def item_struct(type_: Any) -> type[msgspec.Struct] | None:
    """Return the struct of which a type is a list; None for any other type."""
    arguments = get_args(_bare(type_))
    item = _bare(arguments[0]) if arguments else None
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


_ListInfo = inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)
_CONTAINERS: dict[type, Callable[[list[Any]], Any]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
}


def _finite(value: Any) -> Any:
    """Return the value; no setting means anything as TOML's ``inf`` or ``nan``."""
    if isinstance(value, float) and not math.isfinite(value):
        raise msgspec.ValidationError
    return value


def _own(type_: type, value: Any) -> Any:
    """Read one of our own types; ``ValidationError`` asks for the usual wording."""
    if type_ is Duration and isinstance(value, str):
        return parse_duration(value)
    if type_ is Size and isinstance(value, str):
        return parse_size(value)
    if type_ is Size and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Size(value)
    if type_ is Share and isinstance(value, str):
        return parse_share(value)
    if type_ is Share and isinstance(value, int | float) and not isinstance(value, bool):
        return Share(_finite(value))
    if type_ is Secret:
        return _secret(value)
    raise msgspec.ValidationError


def _secret(value: Any) -> Secret:
    """Read a reference to a credential. No message may repeat the value: it may be the secret."""
    if isinstance(value, dict) and len(value) == 1:
        ((source, place),) = value.items()
        if source == "file" and isinstance(place, str) and place.startswith("/"):
            return Secret(file=place)
        if source == "env" and isinstance(place, str) and re.fullmatch(r"[A-Za-z_]\w*", place):
            return Secret(env=place)
    raise ValueError(
        "a secret is not written here: put it in a file only the agent can read and name it, "
        '{ file = "/absolute/path" }, or name a variable of the environment, { env = "NAME" }'
    )


def _bare(type_: Any) -> Any:
    """Strip what says no more than "documented" and "may be absent": Annotated and None."""
    while True:
        origin = get_origin(type_)
        if origin is Annotated:
            type_ = get_args(type_)[0]
            continue
        if origin is Union or isinstance(type_, _UNION):
            some = [part for part in get_args(type_) if part is not type(None)]
            if len(some) == 1:
                type_ = some[0]
                continue
        return type_


_UNION = type(int | str)


def _unwrapped(info: inspect.Type) -> inspect.Type:
    while isinstance(info, inspect.Metadata):
        info = info.type
    return info


def _parts(info: inspect.Type, seen: set[type]) -> Iterable[inspect.Type]:
    """Yield a type and everything inside it, each struct once."""
    info = _unwrapped(info)
    yield info
    inner: Iterable[inspect.Type] = ()
    if isinstance(info, inspect.StructType):
        if info.cls not in seen:
            seen.add(info.cls)
            inner = [field.type for field in info.fields]
    elif isinstance(info, _LISTS):
        inner = [info.item_type]
    elif isinstance(info, inspect.TupleType):
        inner = info.item_types
    elif isinstance(info, inspect.DictType):
        inner = [info.key_type, info.value_type]
    elif isinstance(info, inspect.UnionType):
        inner = info.types
    for part in inner:
        yield from _parts(part, seen)
