"""Adapters: data that is checked when it is read, and says what it does not know."""

from __future__ import annotations

import msgspec
import pytest

from vedette.serving.adapter import (
    AdapterError,
    Term,
    adapter,
    adapters,
    matches,
    outlines,
    parse,
    respell,
)
from vedette.serving.vocabulary import SIGNALS

START = 'name = "x"\ntitle = "X"\nlayer = "engine"\nevidence = "none"\n'


def rule(text: str) -> bytes:
    return f"{START}[[signal]]\n{text}\n".encode()


def test_every_adapter_says_what_it_is_known_by_and_what_it_cannot_tell() -> None:
    found = adapters()
    assert len({one.name for one in found}) == len(found) >= 24
    for one in found:
        assert one.evidence, one.name
        assert one.blind, one.name
        assert one.marks.all or one.marks.any or one.info, one.name
        assert all(release.has for release in one.releases), one.name


def test_gateways_and_routers_have_layers_of_their_own() -> None:
    layers = {one.name: one.layer for one in adapters()}
    assert layers["litellm"] == "gateway"
    assert layers["dynamo"] == layers["sglang-router"] == "router"
    assert layers["vllm"] == layers["dynamo-worker"] == "engine"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name = "vedette.model.nonsense"\nfrom = ["a"]', "is not in the vocabulary"),
        (
            (
                'name = "vedette.model.requests"\nset = { "vedette.model.outcome" = "bad" }\n'
                'from = ["a"]'
            ),
            "outcome 'bad' is not one of ok",
        ),
        (
            'name = "vedette.model.preemptions"\nset = { "error.type" = "x" }\nfrom = ["a"]',
            "has no attribute 'error.type'",
        ),
        (
            'name = "vedette.model.preemptions"\nlayer = "gateway"\nfrom = ["a"]',
            "means nothing in layer 'gateway'",
        ),
        ('name = "vedette.model.preemptions"\nsince = "1"\nfrom = ["a"]', "release '1' is not"),
        (
            'name = "vedette.model.preemptions"\nfrom = [{ metric = "a", unit = "min" }]',
            "unit 'min' is not one of",
        ),
        (
            'name = "vedette.model.preemptions"\nfrom = [{ metric = "a", where = { b = "(" } }]',
            "pattern '('",
        ),
        ('name = "vedette.model.preemptions"\nfrom = [{ approx = "x" }]', "a source has a metric"),
        (
            'name = "vedette.model.preemptions"\nfrom = [{ sum = { metric = "a" } }]',
            "a sum and a count go together",
        ),
        (
            'name = "vedette.model.queue.duration"\nfrom = [{ metric = "a", part = "sum" }]',
            "histograms are not added",
        ),
        ('name = "vedette.model.preemptions"\nfrom = ["a"]\ncolour = "red"', "colour"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text: str, reason: str) -> None:
    with pytest.raises(AdapterError, match=r"^x\.toml: ") as caught:
        parse(rule(text), "x.toml")
    assert reason in str(caught.value)


def test_a_file_that_is_no_toml_is_named_with_its_line() -> None:
    with pytest.raises(AdapterError, match=r"^x\.toml:3: "):
        parse(b'name = "x"\ntitle = "X"\nlayer =\n', "x.toml")


def test_every_problem_is_named_at_once() -> None:
    text = 'name = "vedette.model.a"\nfrom = ["a"]\n[[signal]]\nname = "b"\nfrom = ["a"]'
    with pytest.raises(AdapterError) as caught:
        parse(rule(text), "x.toml")
    assert len(str(caught.value).splitlines()) == 2


def test_labels_match_whole_values_and_one_that_is_not_there_is_empty() -> None:
    term = Term("a", where={"code": "2..|"}, unless={"path": "/health"})
    assert matches({"code": "200"}, term)
    assert matches({}, term)
    assert not matches({"code": "2000"}, term)
    assert not matches({"code": "200", "path": "/health"}, term)
    assert matches({"code": "200", "path": "/health/x"}, term)


def test_another_prefix_is_put_wherever_a_name_begins_with_the_first() -> None:
    ray = adapter("vllm").spelled(["ray_vllm_num_requests_running", "ray_vllm_x", "vllm:y"])
    assert "ray_vllm_kv_cache_usage_perc" in ray.metrics
    assert not any(name.startswith("vllm:") for name in ray.metrics)
    assert ray.name == "vllm"
    assert respell(ray, "ray_vllm_", "vllm:").metrics == adapter("vllm").metrics


def test_a_release_that_is_not_known_counts_as_the_newest() -> None:
    vllm = adapter("vllm")
    newest, oldest = vllm.releases[0], vllm.releases[-1]
    assert vllm.rules_of(None) == vllm.rules_of(newest)
    names = {one.name for one in vllm.rules_of(oldest)}
    assert "vedette.model.queue.duration" not in names
    # Of the ways to know what was aborted one release has one.
    for release in vllm.releases:
        sets = [(one.name, tuple(one.set.items()), one.layer) for one in vllm.rules_of(release)]
        assert len(sets) == len(set(sets)), release.name


def test_what_counts_is_followed_whatever_its_type() -> None:
    lmdeploy = adapter("lmdeploy")
    assert "lmdeploy:num_requests_failed" in lmdeploy.counting
    assert "lmdeploy:num_requests_running" not in lmdeploy.counting
    assert lmdeploy.counting <= lmdeploy.metrics
    assert all(rule.name in SIGNALS for rule in lmdeploy.rules)


def test_an_outline_tells_a_server_like_its_whole_file() -> None:
    """What stands after the first rule is not read where a server is only to be told."""
    for outline, whole in zip(outlines(), adapters(), strict=True):
        assert outline == msgspec.structs.replace(whole, rules=(), blind=outline.blind)
        assert outline.name == whole.name
    assert any(one.rules for one in adapters())
