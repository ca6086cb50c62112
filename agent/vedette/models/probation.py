"""Watch a new champion for a day, and say when it has to go. Pure but for counting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.api import Window
from vedette.decide import Decider
from vedette.models.rules import HOUR_NS, PROBATION_NS, explodes, miscalibrated
from vedette.models.shadow import count
from vedette.models.tally import Tally


class Probation:
    """One champion since its promotion (or since the agent's start within a day of it)."""

    def __init__(
        self, version: str, heads: Sequence[str], usual_per_h: float, since_ns: int, ends_ns: int
    ) -> None:
        self.version = version
        self.heads = heads
        self.usual_per_h = usual_per_h
        self.since_ns = since_ns
        self.ends_ns = ends_ns
        self.findings = 0
        self._hour = Tally(since_ns)

    @classmethod
    def of(
        cls,
        version: str,
        heads: Sequence[str],
        usual_per_h: float,
        promoted_ns: int,
        now_ns: int,
    ) -> Probation | None:
        """Return the probation of a champion promoted then; None when it is over."""
        ends_ns = promoted_ns + PROBATION_NS
        return None if now_ns >= ends_ns else cls(version, heads, usual_per_h, now_ns, ends_ns)

    def note(
        self, scores: NDArray[np.float32], opened: int, window: Window, decider: Decider
    ) -> None:
        """Take one tick of the champion."""
        self.findings += opened
        count(self._hour, int(window.time[-1]), scores, window, decider, self.heads)

    def verdict(self, now_ns: int, *, calibrated: bool) -> str:
        """Return why it has to go; empty when it may stay. Call now and then."""
        reason = explodes(self.usual_per_h, self.findings, self.since_ns, now_ns)
        if not reason and now_ns - self._hour.since_ns >= HOUR_NS:
            reason = miscalibrated(self._hour.figures()) if calibrated else ""
            self._hour = Tally(now_ns)
        return reason
