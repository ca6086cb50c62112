"""Say numbers, series and incidents in plain words. Pure: the time zone is an argument."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from vedette.api import Finding, Series, Suspect
from vedette.causes import clause
from vedette.entities import place_of

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")
#: What a process does with a resource, now and in the past.
_VERBS = {
    "cpu": ("uses", "used"),
    "memory": ("holds", "held"),
    "disk": ("moves", "moved"),
    "filesystem": ("moves", "moved"),
    "log": ("writes", "wrote"),
}
#: What it does with what its share is counted in, by the end of the words that say how much.
_COUNTED = {
    " processes": ("has", "had"),
    " into open files": ("puts", "put"),
    " open files": ("holds", "held"),
    " processes a second": ("starts", "started"),
    "stopped": ("is", "was"),
}
#: What is wrong with the only series of a metric, now and in the past.
_PLAIN = {
    "system.process.created": (
        "This host starts unusually many processes ({})",
        "This host started unusually many processes ({})",
    ),
    "vedette.kernel.file_handles.usage": (
        "Unusually many files are open ({})",
        "Unusually many files were open ({})",
    ),
    "vedette.process.stopped": (
        "A process is stopped and does nothing",
        "A process was stopped and did nothing",
    ),
    "vedette.tcp.established": (
        "Unusually many connections are open ({})",
        "Unusually many connections were open ({})",
    ),
}
#: The share of the time for which something waited (PSI), and for what.
PRESSURE = "vedette.pressure.time"
_WAITED_FOR = {"cpu": "a CPU", "memory": "memory"}
#: Times of model servers, for a person; of the mean or a percentile of them as well.
_TIMES = {
    "gen_ai.server.request.duration": "time per request",
    "gen_ai.server.time_per_output_token": "time per output token",
    "gen_ai.server.time_to_first_token": "time to first token",
    "vedette.model.decode.duration": "time to make a request's tokens",
    "vedette.model.inter_token.duration": "gap between two tokens",
    "vedette.model.queue.duration": "time in the queue",
    "vedette.model.request.duration": "time per request",
}
#: What else is told of model servers, for a person.
_OF_SERVERS = {
    "vedette.model.kv_cache.utilization": "KV cache",
    "vedette.model.preemptions": "Rate of preemptions",
    "vedette.model.prefix_cache.hit_ratio": "Hit ratio of the prefix cache",
    "vedette.model.prefix_cache.share": "Share of input from the prefix cache",
    "vedette.model.requests": "Rate of requests",
    "vedette.model.requests.running": "Number of running requests",
    "vedette.model.requests.waiting": "Queue",
    "vedette.model.tokens": "Rate of tokens",
}
_ENDPOINT, _SERVER, _MODEL = (
    "vedette.model.endpoint",
    "vedette.model.server",
    "gen_ai.request.model",
)
#: What says where, which is told in words; and by what program, which the server's name tells.
_WHERE = frozenset({_ENDPOINT, _SERVER, _MODEL, "vedette.model.layer", "vedette.model.version"})
SILENCE_METRIC = "vedette.model.server.silence"
#: Whether a GPU's clock is held down, and why, where a person should know of it.
THROTTLED = "vedette.gpu.throttled"
_HELD_BY = {
    "hardware": "its own protection",
    "hardware_thermal": "heat",
    "power_brake": "a power brake",
    "thermal": "heat",
}
#: How strange a log is: its incident is told in the words of the log.
LOG_METRIC = "vedette.log.strangeness"
#: The detector that says in its own words what is wrong with a model server.
MODEL_DETECTOR = "model_health"
#: How far a field of what a model is asked is from before; how much worse it is.
DRIFT_METRIC, DECLINE_METRIC = "vedette.model.drift.strength", "vedette.model.quality.decline"
_OF_MODELS = (DRIFT_METRIC, DECLINE_METRIC)
#: Fields of a model that a sentence names beside the one it is about.
_BESIDE = 5
#: From this part of its limit a resource counts as used up.
_FULL = 0.9


def amount(value: float, unit: str, *, rate: bool = False) -> str:
    """Return a value with its UCUM unit as a person would write it: ``97 %``, ``1.2 GiB/s``."""
    if math.isnan(value):
        return "unknown"
    if unit.endswith("/s"):  # a rate that was recorded as one
        unit, rate = unit.removesuffix("/s"), True
    per = "/s" if rate else ""
    if (unit == "1" and not rate) or (unit == "s" and rate):
        return f"{_percent(value * 100)} %"
    if unit == "By":
        return f"{_scaled(value, 1024, _BINARY)}{per}"
    if unit == "s":
        return f"{_digits(value)} s"
    word = unit.strip("{}") if unit != "1" else ""
    return f"{_scaled(value, 1000, _DECIMAL)} {word}".strip() + per


def band(low: float, high: float, unit: str, *, rate: bool = False) -> str:
    """Return an expected band in words, "usual range 2 to 11 %"; empty when there is none."""
    if math.isnan(high) and math.isnan(low):
        return ""
    if math.isnan(low):
        return f"limit {amount(high, unit, rate=rate)}"
    if math.isnan(high):
        return f"usually at least {amount(low, unit, rate=rate)}"
    lower, upper = amount(low, unit, rate=rate), amount(high, unit, rate=rate)
    if lower == upper:
        return f"usually {upper}"
    head, _, tail = lower.rpartition(" ")
    if head and upper.endswith(f" {tail}"):
        lower = head
    return f"usual range {lower} to {upper}"


def clock(time_ns: int, zone: tzinfo | None) -> str:
    """Return the time of day, ``14:02:10``, in a time zone (None: the host's own)."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, zone).strftime("%H:%M:%S")


def observed(finding: Finding) -> str:
    """Return the value of a finding with its unit."""
    instrument = finding.series.instrument
    return amount(finding.observed, instrument.unit, rate=instrument.kind == "counter")


def expected(finding: Finding) -> str:
    """Return the band of a finding in words."""
    instrument = finding.series.instrument
    rate = instrument.kind == "counter"
    return band(finding.low, finding.high, instrument.unit, rate=rate)


def named(series: Series) -> str:
    """Return a series for a person: its metric, and the attribute values in parentheses."""
    name = series.instrument.name
    said = dict(zip(series.instrument.attributes, series.values, strict=True))
    if name not in _OF_SERVERS or not said.get(_ENDPOINT):
        values = ", ".join(value for value in series.values if value)
        return f"{name} ({values})" if values else name
    more = ", ".join(value for key, value in said.items() if value and key not in _WHERE)
    what = f"{_OF_SERVERS[name]} ({more})" if more else _OF_SERVERS[name]
    return f"{what} of model server {_server(said)}{',' if said.get(_MODEL) else ''}"


def _server(said: Mapping[str, str]) -> str:
    """Return which model server, and which model where it is told of one, by their attributes."""
    model = said.get(_MODEL, "")
    of = f", model {model}" if model else ""
    return f"{said.get(_SERVER, '')} on {said[_ENDPOINT]}{of}"


def sentence(
    primary: Finding,
    suspects: Sequence[Suspect],
    resource: str,
    onset_ns: int,
    ended_ns: int | None,
    zone: tzinfo | None,
    shown: Finding | None = None,
) -> str:
    """Say an incident in one sentence: what, since when, after what, who, and what is usual.

    ``shown`` is where the fault of a GPU shows in a model that uses it.
    """
    past = ended_ns is not None
    when = (
        f"from {clock(onset_ns, zone)} to {clock(ended_ns, zone)}"
        if ended_ns is not None
        else f"since {clock(onset_ns, zone)}"
    )
    said = _said(primary, suspects)
    events = [one for one in suspects if one.kind == "event" and one is not said]
    # What other logs say beside it is evidence; of what was done to the host it may be the effect.
    event = next((one for one in events if said is None or one.name != "log"), None)
    after = f", {clause(event, onset_ns)}" if event is not None else ""
    parts = [f"{said.text if said is not None else _what(primary, past)} {when}{after}"]
    if shown is not None:
        parts.append(_slower(shown))
    actor = next((one for one in suspects if one.kind == "process"), None)
    if actor is not None:
        verb = _verbs(actor.text, resource)[past]
        which = f" (pid {actor.id})" if actor.id else ""
        parts.append(f"process `{actor.name}`{which} {verb} {actor.text}")
    is_state = primary.series.instrument.name == THROTTLED
    usual = "" if is_state else expected(primary)
    # Of what should never be there, the threshold of a rule says nothing.
    plain = primary.series.instrument.name in (*_PLAIN, *_OF_MODELS)
    if usual and not (plain and math.isnan(primary.low)):
        parts.append(usual)
    return "; ".join(parts)


def beside(primary: Finding, ranked: Sequence[Finding]) -> str:
    """Name what else of a model drifted, in order of effect; empty of anything else."""
    if primary.series.instrument.name not in _OF_MODELS:
        return ""
    fields = [
        one.series.values[1]
        for one in ranked
        if one.series.instrument.name in _OF_MODELS and one.series != primary.series
    ]
    rest = f" and {len(fields) - _BESIDE} more" if len(fields) > _BESIDE else ""
    return f"; as well: {', '.join(fields[:_BESIDE])}{rest}" if fields else ""


def _said(primary: Finding, suspects: Sequence[Suspect]) -> Suspect | None:
    """Return the words of a log that is strange; None of anything else."""
    if primary.series.instrument.name != LOG_METRIC:
        return None
    source = place_of(primary.series).entity.name
    told = (one for one in suspects if one.kind == "event" and one.name in ("log", "silence"))
    return next((one for one in told if one.id == source), None)


def _verbs(text: str, resource: str) -> tuple[str, str]:
    """Return what a process does with what the text says, now and in the past."""
    if " core" in text or "host's cpu" in text:
        return _VERBS["cpu"]
    if " of " not in text:
        for end, verbs in _COUNTED.items():
            if text.endswith(end):
                return verbs
    return _VERBS.get(resource, ("uses", "used"))


def _what(finding: Finding, past: bool) -> str:
    """Say what is wrong with the primary series."""
    series = finding.series
    instrument = series.instrument
    be = "was" if past else "is"
    value = observed(finding)
    limit = instrument.limit
    full = limit is not None and finding.observed >= _FULL * limit
    subject = " ".join(series.values[:1])
    if instrument.name == SILENCE_METRIC:
        where, server = (*series.values, "")[:2]
        why = f": {finding.text}" if finding.detector == MODEL_DETECTOR and finding.text else ""
        answers = f"{'did' if past else 'does'} not answer ({value}){why}"
        return f"Model server {server} on {where} {answers}"
    if finding.detector == MODEL_DETECTOR and finding.text:
        said = dict(zip(instrument.attributes, series.values, strict=True))
        return f"Model server {_server(said)}: {finding.text}"
    if instrument.name == "vedette.model.probe.silence":
        where, model = (*series.values, "")[:2]
        which = f"Model {model}" if model else "The model server"
        return f"{which} on {where} {'did' if past else 'does'} not answer requests ({value})"
    if instrument.name == THROTTLED and len(series.values) == 3:
        gpu, model, reason = series.values
        held = f"held down by {_HELD_BY.get(reason, reason)}"
        return f"GPU {gpu} ({model}) {be} {held}"
    if instrument.name == DRIFT_METRIC:
        model, field = (*series.values, "")[:2]
        much = f"strength {_digits(finding.observed)}"
        return f"Model {model} {'had' if past else 'has'} drifted: {field} ({much})"
    if instrument.name == DECLINE_METRIC:
        model, measure = (*series.values, "")[:2]
        much = f"strength {_digits(finding.observed)}"
        return f"Model {model} {be} worse than it was: {measure} ({much})"
    if instrument.name == "vedette.target.silence":
        return f"Target {subject} {'had' if past else 'has'} no page of metrics ({value})"
    if instrument.name == LOG_METRIC:
        return f"The log of {subject} {be} unusual ({', '.join(series.values[1:3])})"
    if instrument.name == "system.filesystem.utilization":
        # Of one that is full nobody needs to be told more, of a forecast everything.
        rest = f": {finding.text}" if finding.text and not full else ""
        return f"Filesystem {place_of(series).entity.name or subject} {be} {value} full{rest}"
    if instrument.name == "vedette.filesystem.inodes.growth":
        where = place_of(series).entity.name or subject
        return f"Filesystem {where} {'got' if past else 'gets'} unusually many files ({value})"
    if instrument.name == "system.memory.utilization" and finding.text and not full:
        return f"Memory of this host {be} {value} full: {finding.text}"
    if finding.text and instrument.name not in _PLAIN:
        rest = " full" if instrument.name == "vedette.model.kv_cache.utilization" else ""
        return f"{named(series)} {be} {value}{rest}: {finding.text}"
    if instrument.name == "vedette.cpu.busy":
        return f"CPU of this host {be} {'saturated' if full else f'unusually busy ({value})'}"
    if instrument.name == "system.memory.utilization":
        return f"Memory of this host {be} {'used up' if full else 'unusually full'} ({value})"
    if instrument.resource == "disk":
        if not place_of(series).entity.name:
            return f"Disks of this host {'kept' if past else 'keep'} work waiting ({value})"
        return f"Disk {subject} {be} {'saturated' if full else 'unusually busy'} ({value})"
    if instrument.name == PRESSURE and subject in _WAITED_FOR:
        who = "All processes" if series.values[1:] == ("full",) else "Processes"
        wait = f"{'had' if past else 'have'} to wait for {_WAITED_FOR[subject]}"
        return f"{who} {wait} {value} of the time"
    if instrument.name in _PLAIN:
        return _PLAIN[instrument.name][past].format(value)
    if instrument.name == "system.network.io":
        rest = ", ".join(series.values[1:])
        return f"Traffic of network interface {subject} {be} unusual ({rest} {value})"
    if finding.low <= finding.observed <= finding.high:
        return f"{named(series)} {'changed' if past else 'changes'} unusually ({value})"
    side = "low" if finding.observed < finding.low else "high"
    return f"{named(series)} {be} unusually {side} ({value})"


def _slower(finding: Finding) -> str:
    """Say how much longer a model's requests take than they did."""
    place = place_of(finding.series)
    name = finding.series.instrument.name
    what = next((words for key, words in _TIMES.items() if name.startswith(key)), name)
    where = f" on {place.endpoint}" if place.endpoint else ""
    said = f"{what} of {place.entity.name or 'a model'}{where} went"
    usual = (finding.low + finding.high) / 2
    if math.isnan(usual):
        return f"{said} to {_time(finding.observed)}"
    return f"{said} from {_time(usual)} to {_time(finding.observed)}"


def _time(seconds: float) -> str:
    return f"{_digits(seconds * 1e3)} ms" if abs(seconds) < 1 else f"{_digits(seconds)} s"


def _percent(value: float) -> str:
    """Return per cent without decimals, but not 0 for what is there."""
    return f"{value:.0f}" if abs(value) >= 1 or abs(value) < 0.05 else f"{value:.1f}"


def _digits(value: float) -> str:
    """Return about three significant digits, never an exponent."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.0f}" if abs(value - round(value)) < 0.05 else f"{value:.1f}"
    return f"{value:.2g}" if size >= 0.001 else "0"


def _scaled(value: float, base: int, names: Sequence[str]) -> str:
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value /= base
        power += 1
    return f"{_digits(value)} {names[power]}".strip()
