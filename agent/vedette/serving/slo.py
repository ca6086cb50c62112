"""Say what an operator promises of a model: shares of requests that have to be good."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vedette.api import Duration

Kind = Literal["availability", "latency", "ttft"]
_HOUR_S, _DAY_S = 3_600, 86_400


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was promised of the models that a glob names."""

    model: Annotated[
        str,
        Meta(description="Glob of the model's name, or of its server's address and port; `*` all."),
    ] = "*"
    name: Annotated[str, Meta(description="What it is called (empty: as the glob).")] = ""
    availability: Annotated[
        float | None, Meta(description="Share of requests that are answered well, such as 0.999.")
    ] = None
    latency: Annotated[
        Duration | None, Meta(description="Time within which an answer is complete.")
    ] = None
    latency_share: Annotated[
        float, Meta(description="Share of requests that `latency` holds for.")
    ] = 0.99
    ttft: Annotated[
        Duration | None, Meta(description="Time within which the first token is there.")
    ] = None
    ttft_share: Annotated[float, Meta(description="Share of requests that `ttft` holds for.")] = (
        0.99
    )
    window: Annotated[
        Duration, Meta(description="Time that the error budget is for, 1 hour to 30 days.")
    ] = Duration(30 * _DAY_S)

    def __post_init__(self) -> None:
        shares = {"latency_share": self.latency_share, "ttft_share": self.ttft_share}
        if self.availability is not None:
            shares["availability"] = self.availability
        for field, share in shares.items():
            if not 0 < share < 1:
                raise ValueError(f"{field} = {share:g} is not between 0 and 1")
        if not _HOUR_S <= self.window <= 30 * _DAY_S:
            raise ValueError(f"window = {self.window:g}s is not between 1h and 30d")
        for field, bound in (("latency", self.latency), ("ttft", self.ttft)):
            if bound is not None and not bound > 0:
                raise ValueError(f"{field} = {bound:g}s is not above 0s")
        if self.availability is None and self.latency is None and self.ttft is None:
            raise ValueError(f"the SLO of {self.model!r} has no availability, latency or ttft")

    @property
    def title(self) -> str:
        """Its name."""
        return self.name or self.model

    def objectives(self) -> Iterator[tuple[Kind, float, float]]:
        """Yield what is promised: kind, share, and the bound in seconds (0: none)."""
        if self.availability is not None:
            yield "availability", self.availability, 0.0
        if self.latency is not None:
            yield "latency", self.latency_share, float(self.latency)
        if self.ttft is not None:
            yield "ttft", self.ttft_share, float(self.ttft)

    def covers(self, model: str, endpoint: str) -> bool:
        """Say whether it is about a model of a server."""
        pattern = _pattern(self.model)
        return bool(pattern.match(model) or pattern.match(endpoint))


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob))
