"""What is said of a window against its baseline: one verdict a field, the strongest first."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["STRONGEST", "Difference", "FieldVerdict", "Kind", "ModelVerdict", "Thresholds", "Worse"]

Kind = Literal["distribution", "length", "missing", "gone", "unknown", "type", "new field"]
#: The greatest strength that is told: what is infinitely far is no more of a reason to look.
STRONGEST = 20.0


class Thresholds(msgspec.Struct, frozen=True):
    """From where on a difference matters, and how sure it has to be.

    ``psi`` is less what chance makes of it. ``missing``, ``unknown`` and ``kind`` are shares of
    records: without the field, with a value the baseline has never had, of another type.
    ``decline`` is what accuracy or AUC fall, or calibration is off by, more than before,
    ``error`` by how much of itself a mean error grows. ``rate`` is the share of windows without
    drift in which anything at all may ring.
    """

    psi: float = 0.1
    missing: float = 0.05
    unknown: float = 0.02
    kind: float = 0.05
    decline: float = 0.05
    error: float = 0.2
    rate: float = 1e-4
    #: Of what the good period itself varied by, this much is no drift.
    usual: float = 1.5


class Difference(msgspec.Struct, frozen=True):
    """One way in which a field differs; it is real with ``effect >= bar`` and a small ``p``."""

    kind: Kind
    effect: float
    bar: float
    p: float
    text: str


class FieldVerdict(msgspec.Struct, frozen=True):
    """How far a field is from its baseline.

    ``strength`` is 1 and more where it has drifted: the effect in multiples of its bar, or how sure
    it is in multiples of what is asked for, whichever is less. ``missing`` and ``unknown`` are
    shares of now; distances are NaN where there is nothing to compare.
    """

    field: str
    strength: float
    psi: float
    jensen_shannon: float
    kolmogorov_smirnov: float
    wasserstein: float
    missing: float
    unknown: float
    differences: tuple[Difference, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether the difference matters and is no chance."""
        return self.strength >= 1.0


class Worse(msgspec.Struct, frozen=True):
    """A measure of quality against its baseline; ``strength`` as of a field."""

    measure: str
    base: float
    now: float
    strength: float
    p: float

    @property
    def declined(self) -> bool:
        """Whether it has become worse, by enough, and surely."""
        return self.strength >= 1.0


class ModelVerdict(msgspec.Struct, frozen=True):
    """A window of one model against its baseline; fields and measures, the strongest first."""

    model: str
    base_records: int
    records: int
    fields: tuple[FieldVerdict, ...]
    quality: tuple[Worse, ...] = ()
    #: Outcomes with a label, of the baseline and now.
    base_labels: int = 0
    labels: int = 0

    @property
    def drifted(self) -> tuple[FieldVerdict, ...]:
        """The fields that have drifted."""
        return tuple(one for one in self.fields if one.drifted)

    @property
    def declined(self) -> tuple[Worse, ...]:
        """The measures of quality that became worse."""
        return tuple(one for one in self.quality if one.declined)

    @property
    def bad(self) -> bool:
        """Whether anything has drifted or become worse."""
        return bool(self.drifted or self.declined)

    @property
    def text(self) -> str:
        """What is wrong, in order of effect; empty when nothing is."""
        parts = [f"{one.field} {one.differences[0].text}" for one in self.drifted]
        parts += [f"{one.measure} {one.now:.3f}, was {one.base:.3f}" for one in self.declined]
        return "; ".join(parts)
