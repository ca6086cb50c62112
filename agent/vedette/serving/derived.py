"""Name what detectors can look at of a distribution: its mean and its 95th percentile."""

from __future__ import annotations

from vedette.api import Instrument, gauge
from vedette.serving.vocabulary import SIGNALS


def _derived(name: str, what: str, words: str) -> Instrument:
    base = SIGNALS[name].instrument
    of = base.help[0].lower() + base.help[1:].removesuffix(".")
    return gauge(
        f"{name}.{what}",
        base.unit,
        f"{words} of what came since the last reading: {of}.",
        base.attributes,
        resource=base.resource,
        alarm="high" if base.unit == "s" and what == "p95" else "never",
    )


#: By the name of the distribution.
DERIVED: dict[str, dict[str, Instrument]] = {
    name: {
        "mean": _derived(name, "mean", "Mean"),
        "p95": _derived(name, "p95", "What 95 of 100 were at most, as far as buckets tell,"),
    }
    for name, signal in SIGNALS.items()
    if signal.instrument.kind == "histogram"
}
