"""Watch the share of lines at warning and at error and above.

Many templates that each speak a little oftener are no burst of any of them. Two shares per source
(``surprise.Share``), each in blocks of one and of ten minutes: where errors come in bunches, it is
that they last which is strange. Of one template not more than ``MOST`` lines a second count, or the
loudest would drown the rest; its flood is a burst. What counts is how grave each line is, for one
template has the requests that were served and those that failed. A line without severity counts as
one that is fine.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.logs.entry import Severity
from vedette.logs.surprise import Share

BLOCKS_S = (60.0, 600.0)
#: Lines of one template and tick that count.
MOST = 3
#: The least share that errors are taken to have, and warnings.
FLOORS = ((Severity.ERROR, 0.001), (Severity.WARN, 0.005))


class Shifted(msgspec.Struct, frozen=True, gc=False):
    """A share of grave lines larger than usual: of what, how strange, and how much now."""

    severity: Severity
    score: float
    lines: int
    share: float
    usual: float


def _shares() -> list[Share]:
    return [Share(seconds, floor=floor) for _, floor in FLOORS for seconds in BLOCKS_S]


class Mix(msgspec.Struct):
    """The mix of severities of a source: shares of errors, then of warnings, by block."""

    shares: list[Share] = msgspec.field(default_factory=_shares)

    def observe(
        self,
        now_s: float,
        lines: NDArray[np.int64],
        errors: NDArray[np.int64],
        warnings: NDArray[np.int64],
    ) -> Shifted | None:
        """Count a tick's lines per template; return the strangest of the shares, if any.

        ``errors`` and ``warnings`` are how many of them are so grave, or graver.
        """
        kept = np.minimum(lines, MOST)
        total = float(kept.sum())
        part = kept / np.maximum(lines, 1)
        of = {
            Severity.ERROR: float((errors * part).sum()),
            Severity.WARN: float((warnings * part).sum()),
        }
        found = None
        grades = [severity for severity, _ in FLOORS for _ in BLOCKS_S]
        for severity, share in zip(grades, self.shares, strict=True):
            hits = of[severity]
            score = share.feed(now_s, hits, total)
            if score > (found.score if found else 0.0):
                now = share.hits / max(share.lines, 1.0)
                found = Shifted(severity, score, int(share.hits), now, share.share())
        return found
