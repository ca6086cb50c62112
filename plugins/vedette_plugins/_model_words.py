"""Say in words what is wrong with a model server, from the series that are read of it at a time.

For the detector ``model_health``: what rings is one number, what a person needs are those beside
it. Series that are told by model and version are added up for the model in question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite, nan

import numpy as np

from vedette.api import Series, Window

PREFIX = "vedette.model."
ENDPOINT, LAYER = "vedette.model.endpoint", "vedette.model.layer"
MODEL, VERSION = "gen_ai.request.model", "vedette.model.version"
#: A pace that is no slower than this is as ever; a cache of prefixes is worse below this.
AS_EVER, WORSE = 1.5, 0.6
#: A KV cache from here on is what is short.
FULL = 0.95
#: What it was in the last minute is said where it was more by this.
MOMENT = 0.05
MINUTE_NS = 61_000_000_000
#: Why a server is silent, by ``error.type``; blame.py reads from it that one is stopped.
WHY = {
    "connect": "nobody listens there any more: its process is gone",
    "timeout": "its port is open and no page comes: it hangs",
    "stopped": "its process is stopped, by a signal or a debugger",
    "status": "it answers, with an error",
    "protocol": "it breaks connections off",
}


class Look:
    """The figures of the server that a series is of, at the newest tick."""

    def __init__(self, window: Window, series: Series) -> None:
        self.series = series
        self._window = window
        self._own = self.attributes(series)

    @staticmethod
    def attributes(series: Series) -> dict[str, str]:
        """Return the attributes of a series."""
        return dict(zip(series.instrument.attributes, series.values, strict=True))

    def attribute(self, name: str) -> str:
        """Return an attribute of the series that rings; empty when it has none."""
        return self._own.get(name, "")

    def of(self, name: str) -> float:
        """Return a figure of the same model, all its versions together; NaN where there is none."""
        found = self.each(name)
        return sum(value for _, value in found) if found else nan

    def each(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return the readings of a metric of the same server and, where they name one, model."""
        found = []
        for row, series in enumerate(self._window.series):
            if series is None or series.instrument.name != PREFIX + name:
                continue
            value, its = float(self._window.values[row, -1]), self.attributes(series)
            if isfinite(value) and self._is_mine(its):
                found.append((its, value))
        return found

    def peak(self, name: str) -> float:
        """Return the highest reading of the last minute, of a figure of the same model."""
        times = self._window.time
        recent = times > times[-1] - MINUTE_NS
        found = [
            float(np.fmax.reduce(self._window.values[row, recent]))
            for row, series in enumerate(self._window.series)
            if series is not None
            and series.instrument.name == PREFIX + name
            and self._is_mine(self.attributes(series))
        ]
        return max(filter(isfinite, found), default=nan)

    def _is_mine(self, its: Mapping[str, str]) -> bool:
        if its.get(ENDPOINT) != self._own.get(ENDPOINT):
            return False
        # What the server itself tells has a version, and may name no model, or each of several.
        loose = VERSION in its
        pairs = [(its[key], self._own.get(key, "")) for key in (LAYER, MODEL) if key in its]
        return all(one == mine or (loose and not (one and mine)) for one, mine in pairs)


def _silence(look: Look, value: float) -> str:
    why = [its.get("error.type", "") for its, _ in look.each("server.down")]
    return WHY.get(why[0], why[0]) if why else ""


def _stalled(look: Look, value: float) -> str:
    parts = [f"stalled, nothing finished for {_length(value)}", *_at_work(look)]
    if look.of("requests.running") == 0:
        parts.append("none of those that wait is taken up")
    return "; ".join([*parts, *_kv(look)])


def _queue(look: Look, value: float) -> str:
    wait = look.of("queue.wait")
    waits = f", a request waits for about {_length(wait)}" if isfinite(wait) else ""
    parts = [f"a queue that lasts{waits}", *_at_work(look)]
    running, limit = look.of("requests.running"), look.of("requests.limit")
    kv = look.peak("kv_cache.utilization")
    if isfinite(limit) and running >= limit:
        parts.append(f"all {limit:g} that can be worked on at once are")
    elif kv < FULL and not _preempted(look):
        parts.append(f"the KV cache is {_percent(kv)} full and not what is short")
    if kv >= FULL or _preempted(look):
        parts += _kv(look)
    return "; ".join([*parts, *_pace(look)])


def _full(look: Look, value: float) -> str:
    return "; ".join([*_fullness(look), *_at_work(look), *_preempted(look), *_pace(look)])


def _filling(look: Look, value: float) -> str:
    kv = look.of("kv_cache.utilization")
    full = f"the KV cache is {_percent(kv)} full, at this rate all of it in {_length(value)}"
    return "; ".join([full, *_at_work(look), *_preempted(look)])


def _failures(look: Look, value: float) -> str:
    ended = {its.get("vedette.model.outcome", ""): n for its, n in look.each("requests.recent")}
    names = {
        "rejected": "rejected for want of room",
        "timeout": "timed out",
        "server_error": "ended in errors of the server",
        "failed": "failed, whose fault is not told",
    }
    bad = {key: ended[key] for key in names if ended.get(key, 0.0) > 0}
    count = sum(bad.values())
    total = count + ended.get("ok", 0.0)
    each = ", ".join(f"{round(n)} {names[key]}" for key, n in bad.items())
    parts = [f"{round(count)} of {round(total)} requests of the last minute failed ({each})"]
    burst = look.of("failures.burst")
    if burst > 0:
        parts.append(
            f"they come in bursts of about {burst:.0f}, the size of a batch: one bad input may "
            "take the others of its batch with it"
        )
    wait = look.of("queue.wait")
    if wait >= 1:
        parts.append(f"those taken in wait for about {_length(wait)}")
    return "; ".join([*parts, *_at_work(look)])


def _slow(look: Look, value: float) -> str:
    return "; ".join(_pace(look) or ["tokens come far slower than usual"])


def _burning(look: Look, value: float) -> str:
    slo, kind = look.attribute("vedette.slo.name"), look.attribute("vedette.slo.objective")
    span = look.attribute("vedette.slo.window")
    which = {"slo.name": slo, "slo.objective": kind}
    left = [n for its, n in look.each("slo.budget.left") if _is_of(its, which)]
    misses = [
        n
        for its, n in look.each("slo.misses")
        if _is_of(its, which) and its.get("vedette.slo.window") == span
    ]
    text = f"the error budget of SLO {slo} ({kind}) burns {value:.3g} times too fast over {span}"
    missed = f"{round(misses[0])} requests missed it" if misses else ""
    rest = f"{max(0.0, left[0]):.0%} of the budget left".replace("%", " %") if left else ""
    return "; ".join(filter(None, (text, missed, rest)))


def _is_of(its: Mapping[str, str], which: Mapping[str, str]) -> bool:
    return all(its.get(f"vedette.{key}") == text for key, text in which.items())


def _at_work(look: Look) -> list[str]:
    waiting, running = look.of("requests.waiting"), look.of("requests.running")
    words = []
    if isfinite(waiting):
        words.append(f"{waiting:g} waiting")
    if isfinite(running):
        words.append(f"{running:g} worked on")
    return [", ".join(words)] if words else []


def _kv(look: Look) -> list[str]:
    return [*_fullness(look), *_preempted(look)]


def _fullness(look: Look) -> list[str]:
    """Say how full the KV cache is; a reading may hit a moment at which requests have ended."""
    now, peak = look.of("kv_cache.utilization"), look.peak("kv_cache.utilization")
    if peak - now > MOMENT:
        return [f"the KV cache is {_percent(now)} full, in the last minute up to {_percent(peak)}"]
    return [f"the KV cache is {_percent(now)} full"] if isfinite(now) else []


def _preempted(look: Look) -> list[str]:
    rate = look.of("preemptions")
    return [f"{60 * rate:.0f} preemptions a minute"] if rate > 0 else []


def _pace(look: Look) -> list[str]:
    """Say whether it is the first token or all of them, and whether the cache of prefixes helps."""
    first, gap = look.of("time_to_first_token.ratio"), look.of("inter_token.ratio")
    said = []
    if gap >= 2:
        said.append(f"a token takes {gap:.2g} times the usual: decoding is slow, or preempted")
    elif first >= 2:
        as_ever = ", tokens then come as ever" if gap < AS_EVER else ""
        said.append(
            f"the first token takes {first:.2g} times the usual{as_ever}: "
            "it is the queue or prefill"
        )
    ratio, share = look.of("prefix_cache.ratio"), look.of("prefix_cache.share")
    if ratio < WORSE and share / ratio >= 0.2:
        said.append(
            f"the cache of prefixes has {_percent(share)} of what is asked, usually "
            f"{_percent(share / ratio)}"
        )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _length(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


#: What each of its metrics says when it rings.
WORDS: dict[str, Callable[[Look, float], str]] = {
    "server.silence": _silence,
    "stalled.time": _stalled,
    "queue.time": _queue,
    "kv_cache.full.time": _full,
    "kv_cache.full_in": _filling,
    "failures.least": _failures,
    "failures.burst": _failures,
    "slow.time": _slow,
    "slo.burn_rate": _burning,
}
