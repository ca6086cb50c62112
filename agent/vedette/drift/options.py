"""What agent.toml says of logs of inferences: where they are, what is in them, what is drift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vedette.api import Duration
from vedette.drift.generic import FieldsConfig
from vedette.drift.reading import Format
from vedette.drift.verdict import Thresholds
from vedette.drift.watching import Lengths

__all__ = ["InferenceLogConfig"]

SHORTEST_S, LONGEST_S = 10.0, 86_400.0


class InferenceLogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logs of inferences in lines of JSON, and what they are compared with."""

    paths: Annotated[
        tuple[str, ...],
        Meta(
            description="Files, absolute; `*` stands for any text in a name, `**` for directories."
        ),
    ] = ()
    format: Annotated[
        Format,
        Meta(
            description="What the lines are: `kserve` (payloads as KServe and Seldon log them), "
            "`openai` (requests and responses of its API), `generic`, or found out line by line."
        ),
    ] = "auto"
    fields: Annotated[
        FieldsConfig,
        Meta(description="Where things are in generic lines; without, it is learned from names."),
    ] = FieldsConfig()
    model: Annotated[
        str, Meta(description="The model of lines that name none; empty: the id of this table.")
    ] = ""
    begin: Annotated[
        Literal["end", "beginning"],
        Meta(description="Where to begin in files that are there at the first look."),
    ] = "end"
    baseline: Annotated[
        str,
        Meta(
            description="File of `vedette baseline build`. Models that it lacks, and all without "
            "it, learn one of what comes first."
        ),
    ] = ""
    learn: Annotated[
        int, Meta(description="Records of which a baseline is learned.", ge=200, le=1_000_000)
    ] = 2_000
    window: Annotated[
        Duration, Meta(description="How old a window is when it is compared, 10s to 24h.")
    ] = Duration(300.0)
    window_least: Annotated[
        int,
        Meta(
            description="Records that it has to have; until then it goes on.", ge=50, le=1_000_000
        ),
    ] = 500
    window_most: Annotated[
        int, Meta(description="Records after which it is compared at once.", ge=50, le=10_000_000)
    ] = 100_000
    psi: Annotated[
        float,
        Meta(
            description="From where on a distribution has drifted: population stability index, "
            "less what chance makes of it in a window of that size.",
            ge=0.01,
            le=10.0,
        ),
    ] = 0.1
    false_alarms: Annotated[
        float,
        Meta(
            description="The share of windows without drift that may ring, all fields together.",
            ge=1e-9,
            le=0.1,
        ),
    ] = 1e-4
    features: Annotated[
        int, Meta(description="Fields of a model that are looked at.", ge=1, le=1_000)
    ] = 128
    models: Annotated[int, Meta(description="Models that are told apart.", ge=1, le=100)] = 16
    joins: Annotated[
        int,
        Meta(
            description="Answers that are remembered until their label comes.", ge=0, le=1_000_000
        ),
    ] = 20_000
    label_wait: Annotated[Duration, Meta(description="How long they are, up to 30 days.")] = (
        Duration(86_400.0)
    )

    def __post_init__(self) -> None:
        wrong = [one for one in self.paths if not one.startswith("/")]
        if wrong:
            raise ValueError(f"paths: {wrong[0]!r} is no absolute path")
        if not SHORTEST_S <= self.window <= LONGEST_S:
            raise ValueError(f"window = {self.window:g}s is not between 10s and 24h")
        if self.window_most < self.window_least:
            raise ValueError(f"window_most = {self.window_most} is below window_least")
        if not 0 < self.label_wait <= 30 * 86_400:
            raise ValueError(f"label_wait = {self.label_wait:g}s is not up to 30 days")
        if self.baseline and not Path(self.baseline).is_absolute():
            raise ValueError(f"baseline: {self.baseline!r} is no absolute path")

    def lengths(self) -> Lengths:
        """Return how long windows are, and how much is learned."""
        return Lengths(
            float(self.window), self.window_least, self.window_most, self.learn, self.features
        )

    def thresholds(self) -> Thresholds:
        """Return from where on a difference is drift."""
        return Thresholds(psi=self.psi, rate=self.false_alarms)
