"""What tests of models share: a detector of a few lines, and a host whose ticks are minutes."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from vedette.api import Detector, Frame, Series, StateArray, Window, gauge
from vedette.correlate import Correlator, IncidentChange
from vedette.detection import Judged
from vedette.models import Base, Lifecycle, Plan, Word
from vedette.pipeline import Pipeline
from vedette.settings import Settings
from vedette.table import SeriesTable

S = 1_000_000_000
MINUTE = 60 * S
HOUR = 60 * MINUTE
#: A Tuesday, 14:00:00 UTC, on a minute.
START = 1_795_183_200 * S
LEVEL = gauge("test.level", "1", "A level.", ("which",))


class PlainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    span: Annotated[float, Meta(description="Readings.", ge=2)] = 240.0
    least: Annotated[float, Meta(description="Scale is never below.", ge=0)] = 0.0
    scream: Annotated[
        int, Meta(description="So many rows cry wolf every 97 minutes, once 600 are seen.")
    ] = 0


class Plain(Detector):
    """Deviation from an exponentially weighted mean, in mean absolute deviations."""

    name = "plain"
    Config = PlainConfig
    cadence_s = 60
    state: ClassVar[Mapping[str, StateArray]] = {
        "seen": StateArray(0.0),
        "mean": StateArray(0.0),
        "spread": StateArray(0.0),
    }

    def score(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        off = np.abs(window.values[:, -1] - state["mean"])
        wide = np.maximum(state["spread"], np.float32(max(self.config.least, 1e-6)))
        scores = off / wide
        if self.config.scream:
            now = window.time[-1] // MINUTE % 97 < 4
            scores[: self.config.scream] += 1e3 * now * (state["seen"][: self.config.scream] > 600)
        return np.where(state["seen"] >= 30, scores, np.nan).astype(np.float32)

    def learn(self, window: Window, state: Mapping[str, NDArray[np.float32]]) -> None:
        now = window.values[:, -1]
        read = np.isfinite(now)
        state["seen"][read] += 1
        gain = 1 / np.minimum(np.maximum(state["seen"], 1), self.config.span)
        off = np.where(read, now - state["mean"], 0)
        state["spread"][read] += (gain * (np.abs(off) - state["spread"]))[read]
        state["mean"][read] += (gain * off)[read]

    def learning(
        self, window: Window, state: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.bool_]:
        return state["seen"] < 30


def make(name: str, options: Mapping[str, Any]) -> tuple[Detector, str]:
    """Make a ``Plain``; the digest is its options."""
    try:
        config = msgspec.convert(dict(options), PlainConfig)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return Plain(config), digest(config)


def digest(config: PlainConfig) -> str:
    return f"{config.span:g}/{config.least:g}/{config.scream}"


def base(config: PlainConfig, shadow: PlainConfig | None = None) -> Base:
    return Base(
        digest(config),
        msgspec.to_builtins(config),
        msgspec.to_builtins(shadow) if shadow else {},
        digest(shadow) if shadow else "",
    )


class MinuteHost:
    """The real pipeline and lifecycle on readings a minute apart. Training runs at once."""

    def __init__(
        self,
        state_dir: Path,
        config: PlainConfig | None = None,
        *,
        shadow: PlainConfig | None = None,
        cron: str = "",
        start_ns: int = START,
        words: Callable[[], Sequence[Word]] = lambda: (),
        utilization: Callable[[], float | None] = lambda: None,
        observe: Callable[[Judged], None] | None = None,
        **plan: Any,
    ) -> None:
        state_dir.mkdir(exist_ok=True)
        config = config or PlainConfig()
        self.now_ns = start_ns
        self.told: list[IncidentChange] = []
        self.later: list[Callable[[], None]] = []
        # With two cores for a budget a training need not rest.
        plan = {"budget": 2.0} | plan
        self.plan = Plan(bases={"plain": base(config, shadow)}, cron=cron, **plan)
        self.models = Lifecycle(
            state_dir,
            self.plan,
            make,
            words=words,
            utilization=utilization,
            cpu=lambda: 0.0,
            run=lambda work: work(),
        )
        self.pipeline = Pipeline(
            Settings(MINUTE, MINUTE, 0, {}, state_dir, {"plain": digest(config)}),
            [Plain(config)],
            table=SeriesTable(ticks=240, capacity=8, expire_ticks=600),
            correlator=Correlator(),
            spool=None,
            notify=self.told.append,
            observe=observe,
            lifecycle=self.models,
            wall_ns=lambda: self.now_ns,
            monotonic=lambda: self.now_ns / 1e9,
        )
        self.pipeline.submit = self.later.append  # type: ignore[method-assign]
        self.models._ground.bound = msgspec.structs.replace(
            self.models._ground.bound, submit=self.later.append
        )
        self.pipeline.restore()

    def minute(self, values: Mapping[Series, float]) -> None:
        """Let a minute pass with these readings."""
        self.now_ns += MINUTE
        frame = Frame("test", self.now_ns, self.now_ns, tuple(values), array("d", values.values()))
        self.pipeline.take((frame,))
        while self.later:
            self.later.pop(0)()

    def run(self, rows: NDArray[np.float64], series: Sequence[Series]) -> None:
        """Let as many minutes pass as there are rows ``(minutes, series)``."""
        for row in rows:
            self.minute(dict(zip(series, row.tolist(), strict=True)))

    def command(self, wish: Callable[[], Any]) -> Any:
        """Do what an operator asks, and what follows from it."""
        result = wish()
        while self.later:
            self.later.pop(0)()
        return result

    def status(self, id_: str) -> str:
        return next(one.status for one in self.models.view.versions if one.id == id_)

    @property
    def champion(self) -> str:
        return self.models.champions()["plain"]


def noise(seed: int, minutes: int, series: int) -> NDArray[np.float64]:
    """Return steady readings: normal noise of its own scale around a level per series."""
    random = np.random.default_rng(seed)
    level = np.linspace(10, 100, series)
    return level + 0.02 * level * random.normal(size=(minutes, series))


def all_series(count: int) -> tuple[Series, ...]:
    return tuple(LEVEL.series(f"s{place}") for place in range(count))
