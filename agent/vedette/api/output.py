"""Send what is reported: what an output is, what it gets and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import msgspec

from vedette.api.options import NoConfig, Stability

Signal = Literal["metrics", "logs"]


class Shipment(msgspec.Struct, frozen=True):
    """One immutable batch of the spool: a gzip'd OTLP request with its identity.

    (``agent``, ``epoch``, ``sequence``) is unique for ever, so a receiver can ignore a resend and
    prove that nothing is missing; ``body`` is byte-identical at every attempt.
    """

    agent: str
    epoch: str
    sequence: int
    signal: Signal
    body: bytes


class SendResult(msgspec.Struct, frozen=True):
    """What became of a shipment.

    ``delivered``: acknowledged. ``retry``: keep it and try again, not before ``retry_after_s``.
    ``refused``: the destination will never take it (poison); it goes to the dead letters.
    ``reason`` is short, from a bounded set of words plus a status code; never a payload.
    """

    outcome: Literal["delivered", "retry", "refused"]
    reason: str = ""
    retry_after_s: float | None = None


class Output(ABC):
    """Send batches somewhere. Called from the shipping thread only, one batch at a time."""

    name: ClassVar[str]
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    stability: ClassVar[Stability] = "stable"

    def __init__(self, config: Any) -> None:
        """Keep the configuration (an instance of ``Config``); do no I/O."""
        self.config = config

    @abstractmethod
    def send(self, shipment: Shipment) -> SendResult:
        """Try once, within a total deadline of the output's own. Does not raise for refusals."""

    def close(self) -> None:  # noqa: B027
        """Let go of connections; safe twice."""
