"""Write the commented default configuration: ``agent.toml`` as it ships.

Telegraf's convention: ``##`` explains in sentences, a single ``#`` shows a setting at its default,
and only what must be set is not commented out. The words are the descriptions of the struct fields
and the docstrings of the classes, so the file cannot differ from the code.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from msgspec.structs import FieldInfo

from vedette.api import Collector, Detector, Output
from vedette.config.effective import plain
from vedette.config.schema import fields, is_secret, item_struct
from vedette.config.settings import CORE_KEYS, CORE_SECTIONS
from vedette.config.toml_text import toml_key, toml_lines
from vedette.config.units import format_duration
from vedette.config.wording import accepted

if TYPE_CHECKING:
    from vedette.registry import Registry

__all__ = ["default_toml"]

WIDTH = 100

#: What the shipped file sets: with `vedette receive` on the same host nothing needs to be edited.
PRESET: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("outputs", "otlp"): {"endpoint": "http://127.0.0.1:4319"},
}

_SECRET = {"file": "/etc/vedette/secret"}

HEAD = """\
Vedette reads this file and then agent.d/*.toml beside it, in name order. Everything is optional.
Lines with ## explain; lines with a single # show a setting at its default.
Durations have a unit: 250ms, 10s, 5m, 2h, 1d. Sizes too: 512KiB, 64MiB, 1GiB. Shares: 2%, 0.5%.
A secret is never written here: { file = "/path" } or { env = "NAME" } says where it is.
`vedette check` tells everything that is wrong, with its line."""

KINDS: Mapping[str, str] = {
    "collectors": """\
What is read from this host. A collector without a table here runs when its source exists.
Every one has: enabled; interval, a multiple of the interval of [agent]; timeout, after which a
reading is given up; isolation, "lane" for a thread or "process" for a child that can be killed.
[[collectors.NAME]] tables, each with an id, make several instances.""",
    "detectors": """\
What decides that a reading is strange.
[detectors.NAME.shadow] takes the same keys: a second one with these options is tried beside the
first, and takes over when it is better; `vedette model list` shows how it does.""",
    "outputs": "Where reports and incidents are sent. Without any they stay on this host.",
}


def default_toml(registry: Registry) -> str:
    """Return the commented default configuration of everything that is registered."""
    lines = [*_words(HEAD), ""]
    for name, section in CORE_SECTIONS.items():
        lines += [*_words(_first_paragraph(section)), f"[{name}]"]
        lines += [*_settings(fields(section), {}), ""]
    for kind in CORE_KEYS:
        lines += [*_words(KINDS[kind]), ""]
        classes: Mapping[str, type[Any]] = getattr(registry, kind)
        for name in sorted(classes):
            lines += [*_component(kind, classes[name]), ""]
    return "\n".join(lines[:-1]) + "\n"


def _component(kind: str, class_: type[Collector | Detector | Output]) -> Iterator[str]:
    """Yield a table; its header is commented out where the table alone would turn it on."""
    preset = PRESET.get((kind, class_.name), {})
    yield from _words(_first_paragraph(class_))
    if class_.stability != "stable":
        yield from _words(f"Its stability is {class_.stability}.")
    is_on = bool(preset) or getattr(class_, "default", False)
    yield f"{'' if is_on else '# '}[{toml_key(kind, class_.name)}]"
    for key, value in _core(class_).items():
        yield from _commented(key, value)
    yield from _settings(fields(class_.Config), preset)


def _core(class_: type[Collector | Detector | Output]) -> dict[str, Any]:
    core: dict[str, Any] = {"enabled": True}
    if issubclass(class_, Collector):
        timeout = class_.timeout_s or class_.interval_s / 2
        core["interval"] = format_duration(class_.interval_s)
        core["timeout"] = format_duration(timeout)
        core["isolation"] = class_.isolation
    return core


def _settings(known: Mapping[str, FieldInfo], preset: Mapping[str, Any]) -> Iterator[str]:
    for key, field in known.items():
        meta = _meta(field.type)
        default = plain(_default(field))
        examples = meta.examples or ([_SECRET] if is_secret(field.type) else [])
        unset = default is None
        words = [meta.description or ""]
        if unset:
            words.append("Not set by default" + ("; an example:" if examples else "."))
            default = plain(examples[0]) if examples else None
        if default is None:
            words.insert(0, f"{key}, {accepted(field.type)}:")
        yield from _words(" ".join(word for word in words if word))
        item = item_struct(field.type)
        if item is not None:
            yield from _item_words(item)
            default = [_brief(item, table) for table in default or []]
        if key in preset:
            yield from toml_lines(key, preset[key])
        elif default is not None:
            yield from _commented(key, default)


def _item_words(item: type[msgspec.Struct]) -> Iterator[str]:
    """Explain the keys of the tables in a list of tables, one below the other."""
    for key, field in fields(item).items():
        words = _meta(field.type).description or f"{accepted(field.type)}."
        text = f"{key}: {words}{' Must be set.' if field.required else ''}"
        lines = textwrap.wrap(text, WIDTH - 3, initial_indent="  ", subsequent_indent="    ")
        yield from (f"## {line}" for line in lines)


def _brief(item: type[msgspec.Struct], table: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the keys of a table that are at their default."""
    defaults = {key: plain(_default(field)) for key, field in fields(item).items()}
    return {key: value for key, value in table.items() if value != defaults.get(key)}


def _commented(key: str, value: Any) -> Iterator[str]:
    return (f"# {line}" for line in toml_lines(key, value))


def _words(text: str) -> list[str]:
    lines: Iterable[str] = text.split("\n") if text else ()
    return [f"## {part}" for line in lines for part in textwrap.wrap(line, WIDTH - 3)]


def _first_paragraph(class_: type) -> str:
    return " ".join((vars(class_).get("__doc__") or "").partition("\n\n")[0].split())


def _default(field: FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _meta(type_: Any) -> msgspec.Meta:
    """Return the first Meta with a description, looking into unions as well."""
    for part in getattr(type_, "__metadata__", ()):
        if isinstance(part, msgspec.Meta) and part.description:
            return part
    for part in get_args(type_):
        meta = _meta(part) if not isinstance(part, str) else msgspec.Meta()
        if meta.description:
            return meta
    return msgspec.Meta()
