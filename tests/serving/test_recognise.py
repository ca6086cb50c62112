"""Which server a page is of is told by its names, with the reason, and never guessed."""

from __future__ import annotations

import pytest
from page_cases import PAGED, SERVERS, infos, page, paths, recognised

from vedette.exposition.reading import Reader
from vedette.serving.adapter import adapters
from vedette.serving.candidates import HINTS
from vedette.serving.mapping import mappers
from vedette.serving.recognise import UNKNOWN, Info, declared, recognise, seen


@pytest.mark.parametrize("name", PAGED)
def test_every_page_that_has_a_metric_is_recognised_by_itself(name: str) -> None:
    for path in paths(name):
        body = path.read_bytes()
        if not declared(body):
            assert name.startswith("litserve")  # its page is empty before the first request
            continue
        who = recognised(body)
        assert who.server == SERVERS[name], path.name
        assert who.evidence
        assert who.confidence >= 0.7


@pytest.mark.parametrize("name", PAGED)
def test_what_an_endpoint_says_agrees_and_makes_it_surer(name: str) -> None:
    body = paths(name)[-1].read_bytes()
    alone, beside = recognised(body), recognised(body, infos(name))
    assert beside.server == alone.server
    assert beside.confidence >= alone.confidence


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("vllm-0.32.0", "0.32.0"),
        ("triton-2.51.0", "2.51.0"),
        ("mlserver-1.7.1", "1.7.1"),
        ("kserve-0.21.0", "0.21.0"),
        ("rayserve-2.60.0", "2.60.0"),
    ],
)
def test_the_version_is_the_endpoints(name: str, version: str) -> None:
    assert recognised(paths(name)[-1].read_bytes(), infos(name)).version == version


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("vllm-0.32.0", "0.15 and later"),
        ("vllm-0.10.2-hidden-replay", "0.9 to 0.10"),
        ("vllm-0.8.5-v0-replay", "0.5 to 0.8"),
        ("vllm-0.4.3-replay", "before 0.5"),
        ("llamacpp-0c1e570", "2026"),
        ("triton-2.51.0", "24.01 and later"),
    ],
)
def test_the_release_is_told_by_the_names_on_the_page(name: str, release: str) -> None:
    for path in paths(name):
        found = recognised(path.read_bytes()).release
        assert found is not None
        assert found.name == release


@pytest.mark.parametrize("name", ["ollama-docs", "litserve-0.2.19"])
def test_a_server_without_a_page_is_recognised_by_its_endpoint(name: str) -> None:
    who = recognise(None, (), infos(name))
    assert who.server == SERVERS[name]
    assert 0 < who.confidence < 1


def test_an_endpoint_that_many_servers_have_tells_nothing_by_itself() -> None:
    who = recognise(None, (), [Info("/version", {"version": "0.32.0"})])
    assert who.server == UNKNOWN
    assert who.adapter is None


def test_plain_names_are_less_sure_than_a_prefix_of_ones_own() -> None:
    nim = recognised(paths("nim-llm")[-1].read_bytes())
    vllm = recognised(paths("vllm-0.32.0")[-1].read_bytes())
    assert nim.confidence < vllm.confidence


def test_an_unknown_page_names_what_is_nearest_and_why_it_is_not_it() -> None:
    who = recognised("num_requests_running 1\nnum_requests_waiting 2\nsomething_else 3\n")
    assert who.server == UNKNOWN
    near = {one.server: one for one in who.nearest}
    assert near["nim"].shared == 2
    assert near["nim"].why_not == "lacks gpu_cache_usage_perc"


def test_a_page_of_nobodys_names_has_nothing_near() -> None:
    who = recognised("node_cpu_seconds_total 1\n")
    assert (who.server, who.nearest, who.confidence) == (UNKNOWN, (), 0.0)
    assert mappers(who) == ()


def test_a_worker_of_dynamo_is_not_taken_for_the_engine_whose_names_it_passes_on() -> None:
    body = paths("dynamo-worker-1.6.1")[-1].read_bytes()
    assert b"vllm:num_requests_running" in body
    who = recognised(body)
    assert who.server == "dynamo-worker"
    assert not who.beside


def test_an_engine_within_ray_is_found_beside_it_under_rays_prefix() -> None:
    who = recognised(paths("vllm-in-ray-2.60")[-1].read_bytes())
    assert who.server == "ray-serve"
    (engine,) = who.beside
    assert engine.server == "vllm"
    assert engine.release is not None
    assert engine.adapter is not None
    assert "ray_vllm_num_requests_running" in engine.adapter.metrics
    assert [one.adapter.name for one in mappers(who)] == ["ray-serve", "vllm"]


def test_a_gateway_that_says_it_is_vllm_is_told_by_its_metrics() -> None:
    says = [Info("/v1/models", {"data": [{"id": "m", "owned_by": "vllm"}]})]
    who = recognised(paths("litellm-1.109.1")[-1].read_bytes(), says)
    assert who.server == "litellm"
    assert not who.beside


def test_declared_names_count_before_the_first_request() -> None:
    body = paths("kserve-0.21.0")[0].read_bytes()
    assert "request_predict_seconds" in declared(body)
    assert not page(body).points("request_predict_seconds")
    assert recognised(body).server == "kserve"


def test_answers_of_strange_shape_are_no_answer() -> None:
    strange: list[object] = [None, 1, "x", [], {}, [[1]], {"data": 7}, {"data": [{"owned_by": 1}]}]
    for body in strange:
        assert recognise(None, (), [Info("/v1/models", body)], adapters()).server == UNKNOWN


def test_adapters_and_the_hints_of_discovery_call_servers_the_same() -> None:
    # Seldon's wrapper has no metrics of its own; what is a worker only its page tells; a NIM is a
    # container, whose process is another server's.
    hints = {one.server for one in HINTS} - {"seldon"}
    assert {one.name for one in adapters()} - {"dynamo-worker", "nim"} == hints


@pytest.mark.parametrize("name", PAGED)
def test_a_page_read_as_far_as_is_needed_is_recognised_like_the_whole_of_it(name: str) -> None:
    for path in paths(name):
        body = path.read_bytes()
        whole = recognise(Reader().read(body), declared(body), near=False)
        assert recognise(*seen(body, openmetrics=False), near=False) == whole
