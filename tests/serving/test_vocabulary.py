"""The vocabulary: standard names where there are any, and every adapter keeps to it."""

from __future__ import annotations

import re

import pytest

from vedette.serving.adapter import adapters
from vedette.serving.vocabulary import COMMON, LAYERS, SIGNALS, outermost


def test_the_three_server_metrics_of_opentelemetry_have_their_names_kinds_and_units() -> None:
    otel = {
        name: (signal.instrument.kind, signal.instrument.unit)
        for name, signal in SIGNALS.items()
        if name.startswith("gen_ai.")
    }
    assert otel == {
        "gen_ai.server.request.duration": ("histogram", "s"),
        "gen_ai.server.time_to_first_token": ("histogram", "s"),
        "gen_ai.server.time_per_output_token": ("histogram", "s"),
    }
    assert all(SIGNALS[name].origin == "otel" for name in otel)


def test_every_signal_of_the_inference_extensions_protocol_has_a_name_here() -> None:
    assert {signal.gie for signal in SIGNALS.values() if signal.gie} == {
        "TotalQueuedRequests",
        "TotalRunningRequests",
        "KVCacheUtilization",
        "BlockSize",
        "NumGPUBlocks",
        "LoRA",
    }


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=lambda one: one.name)
def test_a_signal_says_what_it_means(signal) -> None:
    made = signal.instrument
    assert re.fullmatch(r"(gen_ai|vedette\.model|hw)(\.[a-z][a-z_]*)+", made.name)
    assert made.help.endswith(".")
    assert made.attributes[: len(COMMON)] == COMMON
    assert made.resource in ("model", "gpu")
    assert not made.unit.startswith(("ms", "us", "%"))


def test_every_signal_is_told_by_some_server() -> None:
    used = {rule.name for one in adapters() for rule in one.rules}
    assert used == set(SIGNALS)


def test_the_outermost_layer_is_that_of_the_clients() -> None:
    assert LAYERS[0] == "gateway"
    assert outermost({"engine", "router"}) == "router"
    assert outermost({"engine", "gateway"}) == "gateway"
    assert outermost(()) == ""
