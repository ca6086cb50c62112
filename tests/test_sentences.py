"""Numbers and incidents in plain words."""

from __future__ import annotations

import math
from datetime import UTC

import pytest

from vedette import sentences
from vedette.api import Finding, Series, Severity, Suspect, counter, gauge
from vedette.serving.vocabulary import SIGNALS

S = 1_000_000_000
TWO_PM = 1_795_183_330 * S


@pytest.mark.parametrize(
    ("value", "unit", "rate", "words"),
    [
        (0.97, "1", False, "97 %"),
        (0.004, "1", False, "0.4 %"),
        (0.0, "1", False, "0 %"),
        (1.5 * 2**30, "By", False, "1.5 GiB"),
        (250 * 2**20, "By", True, "250 MiB/s"),
        (250 * 2**20, "By/s", False, "250 MiB/s"),
        (12.0, "{operation}", True, "12 operation/s"),
        (1234567.0, "{packet}", False, "1.2 M packet"),
        (0.5, "s", False, "0.5 s"),
        (0.25, "s", True, "25 %"),
        (math.nan, "1", False, "unknown"),
    ],
)
def test_amounts_read_as_a_person_would_write_them(
    value: float, unit: str, rate: bool, words: str
) -> None:
    assert sentences.amount(value, unit, rate=rate) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.02, 0.11, "usual range 2 to 11 %"),
        (math.nan, 0.9, "limit 90 %"),
        (0.2, math.nan, "usually at least 20 %"),
        (math.nan, math.nan, ""),
    ],
)
def test_bands_name_their_unit_once(low: float, high: float, words: str) -> None:
    assert sentences.band(low, high, "1") == words


def finding(
    series: Series, observed: float, severity: Severity = "info", **more: object
) -> Finding:
    values = {"low": 0.02, "high": 0.11, "p": 1e-6, "text": "", "detector": "robust", **more}
    return Finding(
        series=series,
        since_ns=TWO_PM,
        last_ns=TWO_PM,
        severity=severity,
        observed=observed,
        **values,
    )


def test_the_sentence_names_what_since_when_who_and_what_is_usual() -> None:
    busy = gauge("vedette.cpu.busy", "1", "Busy.", resource="cpu", limit=1.0).series()
    who = Suspect("process", "stress", "4711", 0.97, "97 % of 2 cores")
    assert sentences.sentence(finding(busy, 0.99), [who], "cpu", TWO_PM, None, UTC) == (
        "CPU of this host is saturated since 14:02:10; "
        "process `stress` (pid 4711) uses 97 % of 2 cores; usual range 2 to 11 %"
    )
    assert sentences.sentence(
        finding(busy, 0.5), [who], "cpu", TWO_PM, TWO_PM + 60 * S, UTC
    ).startswith("CPU of this host was unusually busy (50 %) from 14:02:10 to 14:03:10; process")


def test_a_series_of_a_plugin_is_named_with_its_attributes() -> None:
    depth = gauge("queue.depth", "{message}", "Depth.", ("queue",)).series("mail")
    assert sentences.sentence(
        finding(depth, 900.0, low=0.0, high=20.0), [], "queue", TWO_PM, None, UTC
    ) == (
        "queue.depth (mail) is unusually high (900 message) since 14:02:10; "
        "usual range 0 to 20 message"
    )


def test_a_rule_speaks_with_its_own_words() -> None:
    swap = counter(
        "system.paging.operations", "{operation}", "Swap.", ("direction",), resource="paging"
    ).series("in")
    words = sentences.sentence(
        finding(swap, 2500.0, "warning", low=math.nan, high=1000.0, text="it is short of memory"),
        [],
        "paging",
        TWO_PM,
        None,
        UTC,
    )
    assert words == (
        "system.paging.operations (in) is 2.5 k operation/s: it is short of memory since "
        "14:02:10; limit 1 k operation/s"
    )


def test_a_possible_cause_is_told_between_when_and_who() -> None:
    busy = gauge("vedette.cpu.busy", "1", "Busy.", resource="cpu", limit=1.0).series()
    who = Suspect("process", "web", "4711", 0.97, "97 % of 2 cores")
    event = Suspect(
        "event",
        "restart",
        "web.service",
        0.0,
        "unit web.service was restarted",
        time_ns=TWO_PM - 20 * S,
    )
    assert sentences.sentence(finding(busy, 0.99), [who, event], "cpu", TWO_PM, None, UTC) == (
        "CPU of this host is saturated since 14:02:10, shortly after unit web.service was "
        "restarted; process `web` (pid 4711) uses 97 % of 2 cores; usual range 2 to 11 %"
    )


@pytest.mark.parametrize(
    ("metric", "unit", "told", "text", "words"),
    [
        (
            "vedette.kernel.file_handles.usage",
            "{file}",
            900.0,
            "5032 open files",
            (
                "Unusually many files are open (5 k file) since 14:02:10; process `job` (pid 7) "
                "holds 5032 open files; usual range 800 to 900 file"
            ),
        ),
        (
            "system.process.created",
            "{process}",
            900.0,
            "about 75 processes a second",
            (
                "This host starts unusually many processes (5 k process) since 14:02:10; process "
                "`job` (pid 7) starts about 75 processes a second; usual range 800 to 900 process"
            ),
        ),
        (
            "vedette.process.stopped",
            "{process}",
            math.nan,
            "stopped",
            (
                "A process is stopped and does nothing since 14:02:10; process `job` (pid 7) is "
                "stopped"
            ),
        ),
    ],
)
def test_what_is_counted_is_said_as_a_person_would(
    metric: str, unit: str, told: float, text: str, words: str
) -> None:
    series = gauge(metric, unit, "Help.").series()
    low = 800.0 if told > 0 else math.nan
    found = finding(series, 5000.0, low=low, high=told if told > 0 else 1.0, text="a rule's words")
    who = Suspect("process", "job", "7", 0.9, text)
    assert sentences.sentence(found, [who], "kernel", TWO_PM, None, UTC) == words


@pytest.mark.parametrize(
    ("values", "ended_ns", "words"),
    [
        (("cpu", "some"), None, "Processes have to wait for a CPU 20 % of the time since 14:02:10"),
        (("memory", "full"), None, "All processes have to wait for memory 20 % of the time since"),
        (("cpu", "some"), TWO_PM + 10**9, "Processes had to wait for a CPU 20 % of the time from"),
    ],
)
def test_pressure_is_said_as_a_wait(
    values: tuple[str, str], ended_ns: int | None, words: str
) -> None:
    of = ["vedette.pressure.resource", "vedette.pressure.kind"]
    series = counter("vedette.pressure.time", "s", "Help.", of, resource=values[0])
    found = finding(series.series(*values), 0.2, low=0.0, high=0.02)
    assert sentences.sentence(found, [], values[0], TWO_PM, ended_ns, UTC).startswith(words)


@pytest.mark.parametrize(
    ("resource", "text", "words"),
    [
        ("disk", "120 MiB/s", "moves 120 MiB/s"),
        ("disk", "99 % of this host's cpu with 3 processes", "uses 99 % of"),
        ("filesystem", "8 % of 2 cores in the kernel", "uses 8 % of 2 cores"),
        ("filesystem", "290 MiB/s into open files", "puts 290 MiB/s into open files"),
        ("network", "904 open files", "holds 904 open files"),
        ("memory", "30 % of this host's memory with 9 processes", "holds 30 % of"),
    ],
)
def test_what_a_process_does_is_said_by_what_its_share_is_of(
    resource: str, text: str, words: str
) -> None:
    series = gauge("some.metric", "1", "Help.").series()
    who = Suspect("process", "job", "7", 0.9, text)
    said = sentences.sentence(finding(series, 0.9), [who], resource, TWO_PM, None, UTC)
    assert f"process `job` (pid 7) {words}" in said


def test_a_filesystem_is_named_by_where_it_is_mounted() -> None:
    full = gauge(
        "system.filesystem.utilization",
        "1",
        "Full.",
        ("system.device", "system.filesystem.mountpoint", "system.filesystem.type"),
        resource="filesystem",
        limit=1.0,
    ).series("/dev/vda1", "/var", "ext4")
    writer = Suspect("process", "backup", "12", 0.9, "120 MiB/s")
    crowd = Suspect("process", "worker", "", 0.5, "312 processes")
    said = sentences.sentence(finding(full, 0.93), [writer], "filesystem", TWO_PM, TWO_PM + S, UTC)
    assert said.startswith("Filesystem /var was 93 % full from")
    assert "process `backup` (pid 12) moved 120 MiB/s" in said
    assert "process `worker` has 312 processes" in sentences.sentence(
        finding(full, 0.93), [crowd], "process", TWO_PM, None, UTC
    )


def test_a_model_server_that_is_silent_is_named_by_what_and_where() -> None:
    silence = gauge(
        "vedette.model.server.silence",
        "s",
        "Silence.",
        ("vedette.model.endpoint", "vedette.model.server"),
        resource="model",
    ).series("127.0.0.1:8000", "vllm")
    found = finding(silence, 20.0, "warning", low=math.nan, high=15.0, text="it does not answer")
    told = sentences.sentence(found, [], "model", TWO_PM, None, UTC)
    assert told.startswith("Model server vllm on 127.0.0.1:8000 does not answer (20 s) since")


@pytest.mark.parametrize(
    ("metric", "observed", "text", "model", "words"),
    [
        (
            "kv_cache.utilization",
            0.38,
            "full in 73 s at this rate",
            "toy",
            (
                "KV cache of model server vllm on 127.0.0.1:8000, model toy, is 38 % full: "
                "full in 73 s at this rate"
            ),
        ),
        (
            "requests.waiting",
            132.0,
            "",
            "",
            "Queue of model server vllm on 127.0.0.1:8000 is unusually high (132 request)",
        ),
        (
            "tokens",
            900.0,
            "",
            "toy",
            (
                "Rate of tokens (output, page) of model server vllm on 127.0.0.1:8000, model toy, "
                "is unusually high (900 token/s)"
            ),
        ),
    ],
)
def test_what_is_told_of_a_model_server_names_it_and_the_model(
    metric: str, observed: float, text: str, model: str, words: str
) -> None:
    instrument = SIGNALS[f"vedette.model.{metric}"].instrument
    more = ("output", "page")[: len(instrument.attributes) - 5]
    series = instrument.series("127.0.0.1:8000", "vllm", "engine", model, "1", *more)
    low, high = (math.nan, math.nan) if text else (0.0, 20.0)
    found = finding(series, observed, low=low, high=high, text=text)
    told = sentences.sentence(found, [], "model", TWO_PM, None, UTC)
    assert told.startswith(f"{words} since 14:02:10")


def test_what_is_within_its_band_is_neither_high_nor_low() -> None:
    series = gauge("test.depth", "{item}", "Items.", ("queue",)).series("a")
    said = [
        sentences.sentence(finding(series, value), [], "queue", TWO_PM, None, UTC)
        for value in (0.05, 0.5, 0.01)
    ]
    assert [one.split("; ")[0] for one in said] == [
        "test.depth (a) changes unusually (0.05 item) since 14:02:10",
        "test.depth (a) is unusually high (0.5 item) since 14:02:10",
        "test.depth (a) is unusually low (0.01 item) since 14:02:10",
    ]
