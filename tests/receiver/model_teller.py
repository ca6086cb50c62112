"""Make the reports of hosts with model servers, by the agent's own instruments and encoder."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vedette import announcements, otlp
from vedette.api import Instrument, Record, Series, gauge
from vedette.distributions import Distribution
from vedette.serving.vocabulary import INSTRUMENTS
from vedette.summarise import Summariser

SECOND, MINUTE = 10**9, 60 * 10**9
KNOWN = {one.name: one for one in INSTRUMENTS}
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)
UP = gauge("vedette.model.server.up", "1", "up", ["vedette.model.endpoint", "vedette.model.server"])

Post = Callable[[str, bytes, Mapping[str, str]], tuple[int, str]]


class ModelTeller:
    """One host: says what its servers do, a window at a time, and posts it.

    ``total`` and ``level`` are kept until they are said anew, as an agent's series are.
    """

    def __init__(self, post: Post, agent: str, now_ns: int, name: str = "gpu-1") -> None:
        self.post, self.agent, self.now_ns, self.name = post, agent, now_ns, name
        self.sequence = 0
        self.series: dict[Series, float] = {}
        self.started: dict[Series, int] = {}
        self.counted: list[Distribution] = []
        self.began_ns = now_ns - 31 * MINUTE
        self.summariser = Summariser()

    def _series(self, instrument: Instrument, values: Mapping[str, str]) -> Series:
        said = {
            "vedette.model.endpoint": "127.0.0.1:8000",
            "vedette.model.server": "vllm",
            "vedette.model.layer": "engine",
            "gen_ai.request.model": "llama",
        } | {_dotted(key): value for key, value in values.items()}
        return instrument.series(*(said.get(key, "") for key in instrument.attributes))

    def say(self, name: str | Instrument, value: float, **values: str) -> None:
        """Say a level, or a running total."""
        instrument = KNOWN[name] if isinstance(name, str) else name
        self.series[self._series(instrument, values)] = value

    def time(self, name: str, counts: Sequence[int], bounds: Any = BOUNDS, **values: str) -> None:
        """Say what a server timed in its own buckets in this window."""
        series = self._series(KNOWN[name], values)
        self.counted.append(Distribution(series, tuple(bounds), list(counts), None))

    def report(self, back: int = 0, minutes: int = 1) -> None:
        """Post the window that ended ``back`` minutes before now."""
        end_ns = self.now_ns - back * MINUTE
        start_ns = end_ns - minutes * MINUTE
        rows = list(self.series)
        for one in rows:
            self.started.setdefault(one, start_ns + SECOND)
        if rows:
            values = np.array([self.series[one] for one in rows])
            self.summariser.fold(values)
            summary = self.summariser.close(
                start_ns, end_ns, rows, values, np.array([self.started[one] for one in rows])
            )
            self._post("metrics", otlp.encode_metrics(summary, self.resource))
        counted, self.counted = self.counted, []
        for body in otlp.encode_distributions(counted, start_ns, end_ns, self.resource):
            self._post("metrics", body)

    def record(self, time_ns: int = 0, *, endpoint: str = "127.0.0.1:8000", **more: Any) -> None:
        """Post a server's record."""
        facts = {
            "vedette.model.endpoint": endpoint,
            "vedette.model.server": "vllm",
            "vedette.model.release": "0.9 to 0.10",
            "vedette.model.version": "0.10.2",
            "vedette.model.names": ["llama"],
            "vedette.model.since": self.began_ns,
            "vedette.model.evidence": ["names on the page"],
            "vedette.model.missing": [],
        } | {_dotted(key): value for key, value in more.items()}
        one = Record("vedette.model.server", time_ns or self.now_ns, f"vLLM on {endpoint}", facts)
        self._post("logs", otlp.encode_logs([announcements.record_event(one)], self.resource))

    @property
    def resource(self) -> dict[str, str]:
        return {"service.instance.id": self.agent, "host.name": self.name}

    def _post(self, signal: str, body: bytes) -> None:
        self.sequence += 1
        headers = {
            "content-type": "application/x-protobuf",
            "content-encoding": "gzip",
            "vedette-batch": f"{self.agent}/00112233445566ff/{self.sequence}",
        }
        status, text = self.post(f"/v1/{signal}", gzip.compress(body), headers)
        assert status == 200, text


def _dotted(name: str) -> str:
    return {"model": "gen_ai.request.model", "type": "gen_ai.token.type"}.get(
        name, f"vedette.model.{name}"
    )
