"""Know what is usual of a model's pace, slowly, so that a reading can be told as a multiple of it.

The usual is an exponentially weighted mean with ``MEMORY_S``; what is far from it teaches a quarter
as fast, so that an hour of trouble does not become the usual and a new state does in the end. These
multiples word what rules found and hold for what is slow; what is odd in a model's ways is judged
by the detectors that learn.

A *swap* is another model under the same name without a restart: its answers to questions of the
same length are longer or shorter and come at another pace, both by ``SWAP_FACTOR``, for
``SWAP_S`` and ``SWAP_REQUESTS``; or its KV cache has another size. It is an event: a possible
cause, no fault. Pure.
"""

from __future__ import annotations

from math import isfinite, nan

from vedette.serving.health_figures import Minute

#: Seconds over which the usual is forgotten to a third; those of readings before it is known.
MEMORY_S, SETTLE_S = 1_800.0, 600.0
#: A multiple from which on, or below whose inverse, a reading teaches little.
FAR = 2.0
#: Requests (or token gaps) of a minute that a mean has to rest on.
LEAST = 5.0
#: Another model: its pace and the length of answers moved so much, that of questions so little.
SWAP_FACTOR, SAME_FACTOR = 1.6, 1.25
SWAP_S, SWAP_REQUESTS = 300.0, 100.0


class Usual:
    """The usual of one figure."""

    def __init__(self) -> None:
        self.value = nan
        self.known_s = 0.0

    def ratio(self, now: float) -> float:
        """Return a reading as a multiple of the usual; NaN while that is not known."""
        if self.known_s < SETTLE_S or not self.value > 0:
            return nan
        return now / self.value

    def learn(self, now: float, elapsed_s: float) -> None:
        """Take a reading in."""
        if not (isfinite(now) and now >= 0 and elapsed_s > 0):
            return
        if not isfinite(self.value):
            self.value = now
        ratio = self.ratio(now)
        far = isfinite(ratio) and not 1 / FAR <= ratio <= FAR
        # At first it is the mean of what there was.
        memory_s = min(MEMORY_S, max(self.known_s, elapsed_s))
        gain = min(1.0, elapsed_s / memory_s) / (4 if far else 1)
        self.value += gain * (now - self.value)
        self.known_s += elapsed_s


class Pace:
    """How fast a model answers beside its usual, and whether it is still the same model."""

    def __init__(self) -> None:
        self._usual = {key: Usual() for key in ("first", "gap", "input.length", "output.length")}
        self._prefix = Usual()
        self.ratios: dict[str, float] = {}
        self.prefix_share = self.prefix_ratio = nan
        self._blocks = nan
        self._changed_s = 0.0
        self._changed_count = 0.0

    def step(self, elapsed_s: float, minute: Minute, now: dict[str, float]) -> str:
        """Take one reading in; return in what way it is another model now, or nothing."""
        self.ratios = {}
        for key, usual in self._usual.items():
            mean = minute.mean(key)
            if minute.total(f"{key}.count") >= LEAST and isfinite(mean):
                self.ratios[key] = usual.ratio(mean)
                if self._changed_s == 0 or key in ("first", "input.length"):
                    usual.learn(mean, elapsed_s)
        self._step_prefix(elapsed_s, minute, now)
        return self._resized(now) or self._swapped(elapsed_s, minute)

    def _step_prefix(self, elapsed_s: float, minute: Minute, now: dict[str, float]) -> None:
        asked = minute.total("queries")
        told = minute.total("hits") / asked if asked > 0 else now.get("hit_ratio", nan)
        self.prefix_share = told
        self.prefix_ratio = self._prefix.ratio(told)
        self._prefix.learn(told, elapsed_s)

    def _resized(self, now: dict[str, float]) -> str:
        blocks, before = now.get("blocks", nan), self._blocks
        if isfinite(blocks):
            self._blocks = blocks
        if isfinite(before) and isfinite(blocks) and blocks != before:
            return f"its KV cache has {blocks:g} blocks, and had {before:g}"
        return ""

    def _swapped(self, elapsed_s: float, minute: Minute) -> str:
        pace, length = self.ratios.get("gap", nan), self.ratios.get("output.length", nan)
        asked = self.ratios.get("input.length", nan)
        another = _moved(pace) and _moved(length) and 1 / SAME_FACTOR <= asked <= SAME_FACTOR
        if not another:
            self._changed_s = self._changed_count = 0.0
            return ""
        self._changed_s += elapsed_s
        # The minute is told anew with each reading: only the newest part of it counts.
        share = elapsed_s / minute.length_s if minute.length_s > 0 else 0.0
        self._changed_count += share * minute.total("output.length.count")
        if self._changed_s < SWAP_S or self._changed_count < SWAP_REQUESTS:
            return ""
        for key in ("gap", "output.length"):
            self._usual[key] = Usual()
        self._changed_s = self._changed_count = 0.0
        return (
            f"questions are as long as ever, answers {length:.2g} times as long and a token takes "
            f"{pace:.2g} times as long"
        )

    def restart(self) -> None:
        """Let what was seen of another process be no sign of a swap."""
        self._blocks = nan
        self._changed_s = self._changed_count = 0.0


def _moved(ratio: float) -> bool:
    return isfinite(ratio) and not 1 / SWAP_FACTOR < ratio < SWAP_FACTOR
