"""Say which GPUs each model server uses, from who listens and who is on the GPUs.

Whose a process on a GPU is, its ancestors say (owners.py). The series ``vedette.model.gpu.memory``
names both, so that who only sees series can join them too, as the correlator does.

``tokens_per_joule`` is told of a model that alone uses its GPUs, where all of them count energy:
output tokens over energy of the last minute.

Collectors of GPUs are not known here: what they tell (``GpuUses``) is looked at, if there is any.
Cost: nothing without GPUs; else two small files for each process on a GPU and each ancestor once,
and a look at who listens each ``LOOK_S``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite

import msgspec

from vedette.api import GpuUse, Sample
from vedette.serving.gpu_series import MEMORY, TOKENS_PER_JOULE
from vedette.serving.listening import Listener, Listening, Process
from vedette.serving.owners import Owners, ancestry
from vedette.serving.vocabulary import LAYER, TOKEN

LOOK_S = 30.0
#: The span that tokens and energy are counted over: readings of both are seconds apart.
SPAN_S = 60.0
SPAN_READINGS = 60
#: GPUs of one server that are told.
GPUS_MAX = 64
_TOKENS = "vedette.model.tokens"


class Server(msgspec.Struct, frozen=True):
    """A model server as far as this has to know it."""

    endpoint: str
    server: str
    models: tuple[str, ...] = ()


class Gpus:
    """Which servers use which GPUs. One thread.

    ``looks``: nobody else has ``listening`` look, so this does.
    """

    def __init__(self, listening: Listening, *, looks: bool) -> None:
        self._listening = listening
        self._looks = looks
        self._look_s = float("-inf")
        self._ancestry: dict[int, tuple[Process, ...]] = {}
        #: By endpoint: tokens made, by layer, and what was read of its GPUs lately.
        self._tokens: dict[str, dict[str, float]] = {}
        self._held: dict[str, dict[str, int]] = {}
        #: GPUs that processes of no server use as well.
        self._foreign: set[str] = set()
        self._spans: dict[str, _Span] = {}

    def note(self, endpoint: str, samples: Iterable[object]) -> None:
        """Take what a page told; of that the tokens that were made count, by layer."""
        made: dict[str, float] = {}
        for one in samples:
            if isinstance(one, Sample) and one.series.instrument.name == _TOKENS:
                keys = one.series.instrument.attributes
                said = dict(zip(keys, one.series.values, strict=True))
                if said[TOKEN] == "output":
                    made[said[LAYER]] = made.get(said[LAYER], 0.0) + one.value
        if made:
            self._tokens[endpoint] = made
        else:  # its page cannot be had: how many there were since is not known
            self._tokens.pop(endpoint, None)

    def told(
        self, servers: Sequence[Server], uses: Sequence[GpuUse], now_s: float
    ) -> Iterator[Sample]:
        """Yield what each server holds of each GPU, and how far energy goes; ``now_s`` is
        monotonic.
        """
        known = {one.endpoint for one in servers}
        self._tokens = {one: made for one, made in self._tokens.items() if one in known}
        self._spans = {one: span for one, span in self._spans.items() if one in known}
        held = self._held = self.held(servers, uses, now_s) if uses and servers else {}
        for one in servers:
            for gpu, octets in sorted(held.get(one.endpoint, {}).items())[:GPUS_MAX]:
                yield MEMORY(octets, one.endpoint, one.server, gpu)
        alone = self._alone(held, uses)
        for one in servers:
            ratio = self._ratio(one, alone.get(one.endpoint, ()))
            if ratio is not None:
                yield TOKENS_PER_JOULE(ratio, one.endpoint, one.server, one.models[0])

    def of(self, endpoint: str) -> tuple[str, ...]:
        """Return the GPUs that a server used when they were told last."""
        return tuple(sorted(self._held.get(endpoint, ())))

    def held(
        self, servers: Sequence[Server], uses: Sequence[GpuUse], now_s: float
    ) -> dict[str, dict[str, int]]:
        """Return the bytes that each server holds, by endpoint, of each GPU."""
        if self._looks and now_s - self._look_s >= LOOK_S:
            self._look_s = now_s
            self._listening.look()
        listeners: dict[str, Listener] = {one.place: one for one in self._listening.newest}
        places = [one.endpoint for one in servers]
        owners = Owners(listeners, places, self._above, self._listening.addresses)
        pids = {pid for use in uses for pid in use.memory}
        self._ancestry = {pid: self._above(pid) for pid in pids}
        held: dict[str, dict[str, int]] = {}
        self._foreign.clear()
        for use in uses:
            for pid, octets in use.memory.items():
                endpoints = owners.of(self._ancestry[pid])
                if not endpoints:
                    self._foreign.add(use.gpu)
                for endpoint in endpoints:
                    of = held.setdefault(endpoint, {})
                    of[use.gpu] = of.get(use.gpu, 0) + octets
        return held

    def _alone(
        self, held: Mapping[str, Mapping[str, int]], uses: Sequence[GpuUse]
    ) -> dict[str, tuple[GpuUse, ...]]:
        """Return the GPUs of each server that nobody else uses any of, by endpoint."""
        by_gpu = {use.gpu: use for use in uses}
        found: dict[str, tuple[GpuUse, ...]] = {}
        for endpoint, gpus in held.items():
            shared = [one for one in held if one != endpoint and held[one].keys() & gpus.keys()]
            if not shared and not gpus.keys() & self._foreign:
                found[endpoint] = tuple(by_gpu[gpu] for gpu in sorted(gpus))
        return found

    def _above(self, pid: int) -> tuple[Process, ...]:
        """Return a process and its ancestors, the nearest first; without those that start all."""
        known = self._ancestry.get(pid)
        if known and self._listening.lives(known[0]):
            return known
        return tuple(ancestry(pid, self._listening.process))

    def _ratio(self, one: Server, uses: Sequence[GpuUse]) -> float | None:
        """Return tokens per joule over the span; None where it cannot be known."""
        energy_j = sum(use.energy_j for use in uses)
        by_layer = self._tokens.get(one.endpoint, {})
        if len(one.models) != 1 or not uses or not by_layer or not isfinite(energy_j):
            self._spans.pop(one.endpoint, None)
            return None
        made = by_layer.get("engine", max(by_layer.values()))
        names = tuple(use.gpu for use in uses)
        span = self._spans.get(one.endpoint)
        if span is None or span.gpus != names:
            span = self._spans[one.endpoint] = _Span(names)
        return span.ratio(max(use.read_s for use in uses), made, energy_j)


class _Span:
    """Tokens made and energy taken, reading by reading, as far back as the span goes."""

    def __init__(self, gpus: tuple[str, ...]) -> None:
        self.gpus = gpus
        self._readings: deque[tuple[float, float, float]] = deque(maxlen=SPAN_READINGS)

    def ratio(self, read_s: float, made: float, energy_j: float) -> float | None:
        """Take a reading; return tokens per joule, None before the span is full."""
        kept = self._readings
        if kept and (made < kept[-1][1] or energy_j < kept[-1][2]):
            kept.clear()  # a counter that began anew
        if not kept or read_s > kept[-1][0]:
            kept.append((read_s, made, energy_j))
        while len(kept) > 2 and kept[-1][0] - kept[1][0] >= SPAN_S:
            kept.popleft()
        (first_s, made_before, energy_before), (last_s, made_after, energy_after) = (
            kept[0],
            kept[-1],
        )
        if last_s - first_s < SPAN_S or energy_after <= energy_before:
            return None
        return (made_after - made_before) / (energy_after - energy_before)
