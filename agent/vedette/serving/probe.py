"""Collector ``model_probe``: ask each model named in the configuration for one token, now and then.

A server may have a page of metrics, answer a ping and yet serve nobody: an engine that hangs, a GPU
that fell off the bus, a queue that nothing leaves. One small request tells. Nothing is sent unless
it is configured, to this host alone unless ``remote`` says otherwise.

Each request has a thread of its own, which its deadline ends, so that neither another model nor
the agent waits for one that hangs; the next is not sent before. After a failure the next one is
sent sooner, for one that failed proves little.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from vedette.api import Collector, Duration, Sample, Secret, Unavailable, counter, gauge
from vedette.serving.probing import Kind, Outcome, Request, send
from vedette.serving.vocabulary import ENDPOINT, ERROR, MODEL

log = logging.getLogger(__name__)

PROBES_MAX = 32
#: After a failure the next request is sent so soon, if it would not have been anyway.
AGAIN_S = 15.0
#: Between the first requests of two probes, so that they are not sent at once.
APART_S = 1.0
KIND = "vedette.model.probe.kind"
PLACE = (ENDPOINT, MODEL, KIND)


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model that is asked."""

    endpoint: Annotated[str, Meta(description="Address such as http://127.0.0.1:8000.")]
    kind: Annotated[Kind, Meta(description="Which request the server understands.")]
    model: Annotated[str, Meta(description="Name of the model; not needed for `http`.")] = ""
    every: Annotated[Duration, Meta(description="Time from one request to the next.")] = Duration(
        60
    )
    timeout: Annotated[Duration, Meta(description="Limit for the whole answer.")] = Duration(10)
    path: Annotated[str, Meta(description="Path to ask, instead of the usual one.")] = ""
    body: Annotated[str, Meta(description="JSON to send, instead of the usual request.")] = ""
    expect: Annotated[str, Meta(description="Regular expression that the answer must match.")] = ""
    token: Annotated[
        Secret | None, Meta(description='API key: `{ env = "NAME" }` or `{ file = "PATH" }`.')
    ] = None
    ca_file: Annotated[str, Meta(description="PEM file of whom to trust, for https.")] = ""
    remote: Annotated[bool, Meta(description="The server is not on this host.")] = False

    def __post_init__(self) -> None:
        for problem in problems(self):
            raise ValueError(f"{self.endpoint}: {problem}")

    @property
    def place(self) -> tuple[str, str, str]:
        """The values of its attributes."""
        return urlsplit(self.endpoint).netloc, self.model, self.kind

    @property
    def request(self) -> Request:
        """What it sends."""
        return Request(
            self.endpoint,
            self.kind,
            self.model,
            self.path,
            self.body,
            self.expect,
            float(self.timeout),
            self.token,
            self.ca_file,
        )


def problems(probe: Probe) -> Iterator[str]:
    """Yield what is wrong with a probe, for a person."""
    try:
        parts = urlsplit(probe.endpoint)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    text = probe.endpoint
    if not sound or not text.isascii() or not text.isprintable() or " " in text:
        yield "endpoint is not an address such as http://127.0.0.1:8000"
        return
    if parts.username is not None or parts.query or parts.fragment:
        yield "endpoint has more than host, port and path; give a key by token"
    if not probe.remote and not _is_here(parts.hostname or ""):
        yield f"host {parts.hostname!r} is not this one; set remote = true to send requests to it"
    if probe.kind != "http" and not probe.model:
        yield f"kind {probe.kind!r} needs a model"
    if not 5 <= probe.every <= 86_400:
        yield f"every = {probe.every:g}s is not between 5s and 1 day"
    if not 0.1 <= probe.timeout <= 300:
        yield f"timeout = {probe.timeout:g}s is not between 100ms and 5 minutes"
    path = probe.path
    if path and (path[0] != "/" or not path.isascii() or not path.isprintable() or " " in path):
        yield f"path {path!r} does not begin with / or has characters that must be escaped"
    if probe.ca_file and parts.scheme != "https":
        yield "ca_file is for an https endpoint"
    try:
        re.compile(probe.expect)
    except re.error as error:
        yield f"expect {probe.expect!r} is not a regular expression: {error}"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ModelProbeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which models are asked; none unless named here."""

    probes: Annotated[
        tuple[Probe, ...],
        Meta(
            description="Models that are asked for one token now and then: `endpoint`, `kind` "
            "(openai-completion, openai-chat, v2-infer, ollama, http), `model`, `every`, "
            "`timeout`, `path`, `body`, `expect`, `token`, `ca_file`, `remote`."
        ),
    ] = ()

    def __post_init__(self) -> None:
        if len(self.probes) > PROBES_MAX:
            raise ValueError(f"{len(self.probes)} probes are more than {PROBES_MAX}")
        places = [one.place for one in self.probes]
        twice = next((one for one in places if places.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"two probes of {' '.join(twice)}")


class Asked:
    """One model that is asked: when it is due, and how the requests so far went."""

    def __init__(self, probe: Probe, due_s: float) -> None:
        self.probe = probe
        self.due_s = due_s
        self.answer: Outcome | None = None
        self.failing_s = self.silent_s = 0.0
        self.failures: dict[str, int] = {}
        self._began_s = 0.0
        self._thread: threading.Thread | None = None
        self._arrived: Outcome | None = None

    def step(self, now_s: float) -> Outcome | None:
        """Take what has arrived, which is returned; send the next request when it is due."""
        arrived = self._taken()
        if self._thread is None and now_s >= self.due_s:
            self._began_s = now_s
            self._thread = threading.Thread(target=self._run, name="model-probe", daemon=True)
            self._thread.start()
        return arrived

    def wait(self, timeout_s: float) -> None:
        """Wait for the request that is under way."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        self._arrived = send(self.probe.request)

    def _taken(self) -> Outcome | None:
        thread = self._thread
        if thread is None or thread.is_alive():
            return None
        self._thread = None
        arrived, self._arrived = self._arrived, None
        if arrived is None:  # a defect; the thread has said which
            arrived = Outcome("internal", 0.0)
        failed = bool(arrived.reason)
        if failed:
            self.failures[arrived.reason] = self.failures.get(arrived.reason, 0) + 1
            if self.answer is None or not self.answer.reason:
                self.failing_s = self._began_s
        self.silent_s = self._began_s - self.failing_s if failed else 0.0
        every_s = float(self.probe.every)
        self.due_s = self._began_s + (min(AGAIN_S, every_s) if failed else every_s)
        self.answer = arrived
        return arrived


class ModelProbe(Collector):
    """Whether models answer a small request, and how fast; nothing unless configured."""

    name = "model_probe"
    Config = ModelProbeConfig
    stability = "beta"
    source = "requests to model servers"
    interval_s = 5.0
    may_block = "seldom"

    success = gauge(
        "vedette.model.probe.success",
        "1",
        "1 when the newest test request was answered as it should be, else 0.",
        PLACE,
        resource="model",
        alarm="never",
    )
    duration = gauge(
        "vedette.model.probe.duration",
        "s",
        "Time to the whole answer of the newest test request that was answered.",
        PLACE,
        resource="model",
        alarm="high",
    )
    silence = gauge(
        "vedette.model.probe.silence",
        "s",
        "Time from the first to the newest of the test requests that failed one after the other; "
        "0 while they are answered.",
        PLACE,
        resource="model",
        alarm="never",
    )
    failures = counter(
        "vedette.model.probe.failures",
        "{request}",
        "Test requests that failed, by why.",
        (*PLACE, ERROR),
        resource="model",
        alarm="never",
    )

    def __init__(self, config: ModelProbeConfig) -> None:
        super().__init__(config)
        self.config: ModelProbeConfig = config
        self.monotonic: Callable[[], float] = time.monotonic
        self._asked: list[Asked] = []

    def probe(self) -> None:
        if not self.config.probes:
            raise Unavailable("no model is named in probes, so nothing is sent")

    def collect(self) -> Iterator[Sample]:
        now_s = self.monotonic()
        if not self._asked:
            begun = enumerate(self.config.probes)
            self._asked = [Asked(one, now_s + at * APART_S) for at, one in begun]
        for one in self._asked:
            before = one.answer
            arrived = one.step(now_s)
            if arrived is not None:
                _say(one.probe, before, arrived)
            yield from self._told(one, arrived)

    def answer(self, question: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if question != "list":
            raise LookupError(f"collector {self.name} answers 'list', nothing else")
        return {"probes": [_shown(one) for one in list(self._asked)]}

    def close(self) -> None:
        self._asked = []  # requests under way end by themselves

    def _told(self, one: Asked, arrived: Outcome | None) -> Iterator[Sample]:
        if one.answer is None:
            return
        place = one.probe.place
        yield self.success(0.0 if one.answer.reason else 1.0, *place)
        yield self.silence(one.silent_s, *place)
        if arrived is not None and not arrived.reason:
            yield self.duration(arrived.seconds, *place)
        for reason, count in one.failures.items():
            yield self.failures(count, *place, reason)


def _say(probe: Probe, before: Outcome | None, now: Outcome) -> None:
    """Log a change of state, once."""
    was = before.reason if before is not None else ""
    if bool(was) == bool(now.reason):
        return
    host, model, kind = probe.place
    state = "failing" if now.reason else "ok"
    log.info(
        "model probe state=%s endpoint=%s model=%r kind=%s reason=%s status=%d",
        state,
        host,
        model,
        kind,
        now.reason or "none",
        now.status,
    )


def _shown(one: Asked) -> Mapping[str, Any]:
    host, model, kind = one.probe.place
    answer = one.answer
    return {
        "endpoint": host,
        "model": model,
        "kind": kind,
        "asked": answer is not None,
        "reason": answer.reason if answer is not None else "",
        "status": answer.status if answer is not None else 0,
        "seconds": answer.seconds if answer is not None else 0.0,
        "silence": one.silent_s,
    }
