"""Say what a family of a page is to the agent: of which kind, in which unit, by which names. Pure.

Names are the source's own. Only what could break a line, a key or a report is replaced: metric and
label names in quotes (UTF-8) may hold anything, values too.
"""

from __future__ import annotations

import re
from typing import Literal

from vedette.exposition.model import Family, Labels

#: What becomes of a family.
Sort = Literal["gauge", "counter", "histogram", "gaugehistogram", "summary", "nothing"]

#: The attribute that tells the series of two targets apart.
TARGET = "vedette.target"
#: The attribute of a summary's quantiles.
QUANTILE = "quantile"
#: Words of OpenMetrics' UNIT lines and at the end of names, in UCUM.
UNITS = {
    "seconds": "s",
    "second": "s",
    "milliseconds": "ms",
    "ms": "ms",
    "microseconds": "us",
    "us": "us",
    "nanoseconds": "ns",
    "ns": "ns",
    "minutes": "min",
    "hours": "h",
    "days": "d",
    "bytes": "By",
    "kilobytes": "kBy",
    "megabytes": "MBy",
    "kib": "KiBy",
    "mib": "MiBy",
    "bits": "bit",
    "ratio": "1",
    "percent": "%",
    "perc": "1",  # vLLM: 0 to 1
    "celsius": "Cel",
    "volts": "V",
    "amperes": "A",
    "joules": "J",
    "watts": "W",
    "hertz": "Hz",
    "meters": "m",
    "grams": "g",
}
_PLAIN = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")
_ODD = re.compile(r"[^A-Za-z0-9_:.\-/]")
_NAME_MOST = 200
_HELP_MOST = 160


def sort_of(family: Family, *, counts: bool, info: bool) -> Sort:
    """Say what becomes of a family.

    ``counts``: somebody said that it is a counter. ``info``: what is always 1 is told too. Without
    a TYPE a name that ends in ``_total`` is a counter, any other a gauge.
    """
    kind, name = family.type, family.name
    if kind == "info" or (kind in ("gauge", "unknown") and name.endswith("_info")):
        return "gauge" if info else "nothing"
    if kind == "counter" or (counts and kind in ("gauge", "unknown")):
        return "counter"
    if kind == "unknown":
        return "counter" if name.endswith("_total") else "gauge"
    if kind in ("histogram", "gaugehistogram", "summary"):
        return kind
    return "gauge"


def unit_of(family: Family) -> str:
    """Return the unit as UCUM: what the page declares, or what the name ends in, or 1."""
    if family.unit:
        known = UNITS.get(family.unit)
        return known or (f"{{{family.unit}}}" if _WORD.fullmatch(family.unit) else "1")
    return UNITS.get(family.name.removesuffix("_total").rpartition("_")[2].lower(), "1")


def metric_name(name: str) -> str:
    """Return a metric's name as it is, less what could be taken for something else."""
    if _PLAIN.fullmatch(name) and len(name) <= _NAME_MOST:
        return name
    plain = _ODD.sub("_", name[:_NAME_MOST]) or "_"
    return f"exported_{plain}" if plain.startswith("vedette.") else plain


def attribute_names(labels: Labels) -> tuple[str, ...]:
    """Return the names of labels as those of attributes, each one once, none that is ours."""
    taken = {TARGET}
    names = []
    for name, _ in labels:
        plain = name if _PLAIN.fullmatch(name) else _ODD.sub("_", name)
        plain = plain[:_NAME_MOST] or "_"
        while plain in taken:
            plain = f"exported_{plain}"
        taken.add(plain)
        names.append(plain)
    return tuple(names)


def attribute_value(text: str) -> str:
    """Return a label's value with what is not printable escaped."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def help_of(family: Family) -> str:
    """Return a sentence for a person."""
    text = attribute_value(family.help[:_HELP_MOST]).strip()
    return text or "As its source has it."
