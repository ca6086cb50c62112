"""Show the settings that are in force, whatever set them; a secret appears as ``***``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec

from vedette.api import Duration, Secret, Size
from vedette.config.settings import CORE_KEYS, CORE_SECTIONS, Component, Config
from vedette.config.toml_text import toml_key, toml_lines
from vedette.config.units import Share, format_duration, format_share, format_size

__all__ = ["digest", "effective", "effective_json", "effective_toml", "plain"]

REDACTED = "***"


def effective(config: Config) -> dict[str, Any]:
    """Return the settings in the form of the file, as plain values; None is left out."""
    shown: dict[str, Any] = {name: plain(getattr(config, name)) for name in CORE_SECTIONS}
    for kind in CORE_KEYS:
        tables: dict[str, Any] = {}
        for component in getattr(config, kind):
            table = _component(component)
            if component.id == component.name:
                tables[component.name] = table
            else:
                tables.setdefault(component.name, []).append(table)
        shown[kind] = tables
    return shown


def effective_json(config: Config) -> str:
    """Return the settings as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(effective(config)), indent=2).decode()


def effective_toml(config: Config) -> str:
    """Return the settings as TOML that could be loaded again, but for the secrets."""
    lines: list[str] = []
    for name, section in effective(config).items():
        if name in CORE_KEYS:
            for component, value in section.items():
                lines.extend(_tables((name, component), value))
        else:
            lines.extend(_tables((name,), section))
    return "\n".join(lines[:-1]) + "\n"


def digest(config: Config) -> str:
    """Return 16 hex digits that change when a setting does; secrets do not count."""
    shown = msgspec.json.encode(effective(config), order="deterministic")
    return hashlib.sha256(shown).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Return a value of a configuration as text, number, bool, list or dictionary.

    Durations and sizes have their unit; None stays only outside of containers.
    """
    if isinstance(value, msgspec.Struct):
        named = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return plain({key: getattr(value, name) for key, name in named})
    if isinstance(value, Duration):
        return format_duration(value)
    if isinstance(value, Size):
        return format_size(value)
    if isinstance(value, Share):
        return format_share(value)
    if isinstance(value, Secret):
        return REDACTED
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value if item is not None]
    return value


def _component(component: Component) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if component.id != component.name:
        table["id"] = component.id.removeprefix(f"{component.name}.")
    table["enabled"] = component.enabled
    if component.interval_s is not None:
        table["interval"] = format_duration(component.interval_s)
    if component.timeout_s is not None:
        table["timeout"] = format_duration(component.timeout_s)
    if component.isolation is not None:
        table["isolation"] = component.isolation
    table.update(plain(component.options))
    if component.shadow is not None:
        table["shadow"] = plain(component.shadow)
    return table


def _tables(path: tuple[str, ...], value: Any) -> Iterator[str]:
    head = f"[{toml_key(*path)}]"
    for table in value if isinstance(value, list) else [value]:
        yield f"[{head}]" if isinstance(value, list) else head
        for key, item in table.items():
            yield from toml_lines(key, item)
        yield ""
