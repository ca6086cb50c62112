"""Say what a page holds as a flat mapping, once by Vedette and once by prometheus_client.

A key is the name of a line, its labels without ``le`` and ``quantile``, and that bound or None.
"""

from __future__ import annotations

from math import inf, isnan

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from vedette.exposition.model import Histogram, Labels, Number, Summary
from vedette.exposition.page import Page

Flat = dict[tuple[str, Labels, float | None], float]


def by_vedette(page: Page) -> Flat:
    """Take a page's points apart into lines again."""
    found: Flat = {}
    for _, points in page:
        for point in points:
            name, labels = point.key.name, point.key.labels
            if not isnan(point.created):
                whole = name.removesuffix("_total") if isinstance(point, Number) else name
                found[f"{whole}_created", labels, None] = point.created
            if isinstance(point, Number):
                found[name, labels, None] = point.value
                continue
            if isinstance(point, Histogram):
                for bound, count in zip((*point.bounds, inf), point.cumulative, strict=True):
                    found[f"{name}_bucket", labels, bound] = count
            elif isinstance(point, Summary):
                for bound, value in zip(point.quantiles, point.values, strict=True):
                    found[name, labels, bound] = value
            if not isnan(point.sum):
                found[f"{name}_sum", labels, None] = point.sum
            if not isnan(point.count):
                found[f"{name}_count", labels, None] = point.count
    return found


def by_prometheus_client(body: bytes, *, strictly_openmetrics: bool = False) -> Flat:
    """Read a page with prometheus_client, and undo its renaming of counters."""
    text = body.decode()
    lines = [line for line in text.split("\n") if line and line[0] != "#"]
    names = {line.split("{")[0].split(" ")[0] for line in lines}
    parse = openmetrics if strictly_openmetrics else text_format
    found: Flat = {}
    for family in parse(text):
        for sample in family.samples:
            name = sample.name
            if name not in names:
                name = name.removesuffix("_total")
            labels = dict(sample.labels)
            bound = labels.pop("le", None) if name.endswith("_bucket") else None
            if bound is None and family.type == "summary":
                bound = labels.pop("quantile", None)
            key = (name, tuple(sorted(labels.items())), None if bound is None else float(bound))
            found.setdefault(key, float(sample.value))
    return found


def differences(ours: Flat, theirs: Flat) -> list[str]:
    """Return the lines the two disagree on; NaN equals NaN."""
    found = []
    for key in sorted(ours.keys() | theirs.keys(), key=str):
        one, other = ours.get(key), theirs.get(key)
        same = one == other or (one is not None and other is not None and isnan(one + other))
        if not same or (one is None) != (other is None):
            found.append(f"{key}: ours {one}, theirs {other}")
    return found
