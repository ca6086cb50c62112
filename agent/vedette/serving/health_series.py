"""Name the series that say how a model server fares: reckoned from its page, none of them learned.

Times hold without a break: 0 as soon as one reading is well. What detectors are not to judge by
themselves is ``never`` an alarm; the rules of the detector ``model_health`` are about these.
"""

from __future__ import annotations

from vedette.api import Alarm, Instrument, gauge
from vedette.serving.vocabulary import ENDPOINT, ERROR, LAYER, MODEL, OUTCOME, SERVER

#: What tells whom a series is about; an empty model: all that the server serves.
PLACE = (ENDPOINT, SERVER, LAYER, MODEL)
SLO, OBJECTIVE, WINDOW = "vedette.slo.name", "vedette.slo.objective", "vedette.slo.window"


def _of(name: str, unit: str, help: str, *more: str, alarm: Alarm = "never") -> Instrument:
    return gauge(name, unit, help, (*PLACE, *more), resource="model", alarm=alarm)


STALLED = _of(
    "vedette.model.stalled.time",
    "s",
    "Time for which requests were there and nothing got on: no request finished, no token made. "
    "0 until it is longer than five usual requests (of engines that count tokens while they make "
    "them: than five usual times to the first).",
)
QUEUE_TIME = _of(
    "vedette.model.queue.time",
    "s",
    "Time for which requests have waited for a second and more, and twice as long as they are "
    "worked on.",
)
QUEUE_WAIT = _of(
    "vedette.model.queue.wait",
    "s",
    "What a request has to wait: those that wait by the rate at which they finish, or the mean "
    "that the server told over the last minute, whichever is more.",
)
FULL_TIME = _of(
    "vedette.model.kv_cache.full.time",
    "s",
    "Time for which the KV cache has been full (95 %) while requests wait or are preempted; where "
    "they were preempted between readings from 80 % on, or for one of ten requests that end.",
)
FULL_IN = _of(
    "vedette.model.kv_cache.full_in",
    "s",
    "When the KV cache is full if it goes on filling like this; an hour where it does not fill.",
)
SLOTS = _of(
    "vedette.model.requests.utilization",
    "1",
    "Requests that are worked on as a part of those that can be at once.",
)
ENDED = _of(
    "vedette.model.requests.recent",
    "{request}",
    "Requests that ended in the last minute, by how.",
    OUTCOME,
)
FAILED = _of(
    "vedette.model.failures.share",
    "1",
    "Share of the last minute's requests that failed, were rejected or timed out. What was the "
    "client's error or whose client left is in neither count.",
)
FAILED_LEAST = _of(
    "vedette.model.failures.least",
    "1",
    "The same share as far as it is sure (the lower end of its 95 % interval), the worst reading "
    "left out; 0 for less than three such requests.",
)
BURST = _of(
    "vedette.model.failures.burst",
    "{request}",
    "Requests that fail at once, where they fail in bursts of the size of a batch: one bad input "
    "may take the others of its batch with it. 0 where they do not.",
)
FIRST_RATIO = _of(
    "vedette.model.time_to_first_token.ratio",
    "1",
    "The last minute's mean time to the first token as a multiple of the usual.",
)
GAP_RATIO = _of(
    "vedette.model.inter_token.ratio",
    "1",
    "The last minute's mean gap between tokens as a multiple of the usual.",
)
SLOW_TIME = _of(
    "vedette.model.slow.time",
    "s",
    "Time for which first tokens (a second and more) or gaps between tokens (50 ms and more) have "
    "taken four times the usual.",
)
PREFIX_SHARE = _of(
    "vedette.model.prefix_cache.share",
    "1",
    "Share of input tokens that were in the cache of prefixes, over the last minute.",
    alarm="low",
)
PREFIX_RATIO = _of(
    "vedette.model.prefix_cache.ratio", "1", "That share as a multiple of the usual."
)
TOKENS_RATE = _of(
    "vedette.model.tokens.rate", "{token}/s", "Tokens made a second, over the last minute."
)
GOODPUT = _of(
    "vedette.model.goodput",
    "{request}/s",
    "Requests a second that were answered well, over the last minute; within the time that an SLO "
    "allows where there is one.",
)
BURN_RATE = _of(
    "vedette.model.slo.burn_rate",
    "1",
    "How fast the error budget is used up: 1 uses all of it in the SLO's window. Time before the "
    "first reading counts as without errors.",
    SLO,
    OBJECTIVE,
    WINDOW,
)
MISSES = _of(
    "vedette.model.slo.misses",
    "{request}",
    "Requests that missed an objective.",
    SLO,
    OBJECTIVE,
    WINDOW,
)
BUDGET = _of(
    "vedette.model.slo.budget.left",
    "1",
    "Part of the error budget that is left in the SLO's window; below 0 it is overdrawn.",
    SLO,
    OBJECTIVE,
)
BOUND = _of(
    "vedette.model.slo.bound",
    "s",
    "The time that requests are counted by: the server's nearest bucket at or below the SLO's.",
    SLO,
    OBJECTIVE,
)
DOWN = gauge(
    "vedette.model.server.down",
    "1",
    "1 while the page cannot be had, by why: `connect` nobody listens, `timeout` it hangs, "
    "`stopped` it hangs because its process is stopped, `status` it answers with an error.",
    (ENDPOINT, SERVER, ERROR),
    resource="model",
    alarm="never",
)
OUTAGE = gauge(
    "vedette.model.server.outage.duration",
    "s",
    "How long it did not answer before it did again; told with the first page after.",
    (ENDPOINT, SERVER),
    resource="model",
    alarm="never",
)
START = gauge(
    "vedette.model.server.start.duration",
    "s",
    "Time from the start of its process to the first page that was read; told with that page, and "
    "for servers that started while this host was watched.",
    (ENDPOINT, SERVER),
    resource="model",
    alarm="never",
)

HEALTH: tuple[Instrument, ...] = (
    STALLED,
    QUEUE_TIME,
    QUEUE_WAIT,
    FULL_TIME,
    FULL_IN,
    SLOTS,
    ENDED,
    FAILED,
    FAILED_LEAST,
    BURST,
    FIRST_RATIO,
    GAP_RATIO,
    SLOW_TIME,
    PREFIX_SHARE,
    PREFIX_RATIO,
    TOKENS_RATE,
    GOODPUT,
    BURN_RATE,
    MISSES,
    BUDGET,
    BOUND,
    DOWN,
    OUTAGE,
    START,
)
