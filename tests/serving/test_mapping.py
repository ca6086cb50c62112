"""Canonical values are the page's, whatever reads it; what cannot be known is not told."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
from page_cases import PAGED, histogram, mapped, page, paths, recognised, steps
from prometheus_client.parser import text_string_to_metric_families

from vedette.api import HistogramSample, Sample
from vedette.exposition.change import HistogramChange
from vedette.exposition.choice import Choice
from vedette.exposition.reading import Reader
from vedette.serving.adapter import Rule, Source, adapter
from vedette.serving.mapping import Mapper
from vedette.serving.rows import Mapped, Row, across, samples
from vedette.serving.vocabulary import OUTCOME, SIGNALS

#: What a unit of ours is in the source's, written down once more.
PER = {"": 1, "ms": 1e3, "us": 1e6, "%": 100, "MHz": 1e-6, "MiBy": 2.0**-20}


class Oracle:
    """The samples of a page as prometheus_client reads them."""

    def __init__(self, body: bytes) -> None:
        self._samples = defaultdict(list)
        for family in text_string_to_metric_families(body.decode()):
            for one in family.samples:
                self._samples[one.name].append((one.labels, one.value))

    def of(self, name: str, where: dict[str, str], unless: dict[str, str]):
        # The client renames counters that lack the ending.
        for labels, value in self._samples.get(name) or self._samples.get(f"{name}_total", ()):
            if all(re.fullmatch(like, labels.get(key, "")) for key, like in where.items()) and not (
                any(re.fullmatch(like, labels.get(key, "")) for key, like in unless.items())
            ):
                yield labels, value

    def total(self, name: str, where: dict[str, str], unless: dict[str, str]) -> float:
        return sum(value for _, value in self.of(name, where, unless))


def sources(step: Mapped, rules: tuple[Rule, ...]) -> Iterator[tuple[Rule, Source, list[Row]]]:
    """Yield the source that each rule's rows are from."""
    for number, rule in enumerate(rules):
        rows = [row for row in step.rows if row.rule == number]
        if rows:
            names = rows[0].metrics
            (source,) = (
                one
                for one in rule.alternatives
                if tuple(dict.fromkeys(term.metric for term in one.terms)) == names
            )
            yield rule, source, rows


def compare(oracle: Oracle, source: Source, rows: list[Row]) -> None:
    """Hold the rows of one source against the samples of the page."""
    term, per = source.first, PER[source.first.unit]
    where = (term.where, term.unless)
    if isinstance(rows[0].value, HistogramChange) and source.sum is None:
        counts = sum(row.value.count for row in rows)
        sums = sum(row.value.sum for row in rows)
        assert counts == oracle.total(f"{term.metric}_count", *where)
        assert sums == pytest.approx(oracle.total(f"{term.metric}_sum", *where) / per)
        below: dict[float, float] = defaultdict(float)
        for labels, value in oracle.of(f"{term.metric}_bucket", *where):
            below[float(labels["le"]) / per] += value
        ours: dict[float, float] = defaultdict(float)
        for row in rows:
            running = 0.0
            for bound, count in zip((*row.value.bounds, math.inf), row.value.counts, strict=True):
                running += count
                ours[bound] += running
        assert ours == below
    elif isinstance(rows[0].value, HistogramChange):
        assert source.count is not None
        parts = ((source.sum, "sum"), (source.count, "count"))
        for one, part in parts:
            name = one.metric if one.part == "value" else f"{one.metric}_{one.part}"
            want = oracle.total(name, one.where, one.unless) / PER[one.unit]
            assert sum(getattr(row.value, part) for row in rows) == pytest.approx(want)
    elif source.number_in:
        told = {float(labels[source.number_in]) for labels, _ in oracle.of(term.metric, *where)}
        assert {row.value for row in rows} == told
    elif source.equal is not None:
        want = sum(value == source.equal for _, value in oracle.of(term.metric, *where))
        assert sum(row.value for row in rows) == want
    elif SIGNALS[rows[0].signal.name].combine == "largest":
        # A device that has no value shows a number above any that it could be.
        told = [v / per for _, v in oracle.of(term.metric, *where) if v < 2**62]
        assert max(row.value for row in rows) == max(told)
    else:
        want = 0.0
        for one in source.terms:
            name = one.metric if one.part == "value" else f"{one.metric}_{one.part}"
            sign = -1 if one in source.minus else 1
            want += sign * oracle.total(name, one.where, one.unless)
        assert sum(row.value for row in rows) == pytest.approx(want / per)


@pytest.mark.parametrize("name", PAGED)
def test_every_value_is_what_prometheus_client_reads_on_the_page(name: str) -> None:
    bodies = [path.read_bytes() for path in paths(name)]
    who = recognised(bodies[-1])
    for one in (who, *who.beside):
        assert one.adapter is not None
        rules = one.adapter.rules_of(one.release)
        for body, step in zip(bodies, steps(bodies, one), strict=True):
            oracle = Oracle(body)
            for _, source, rows in sources(step, rules):
                compare(oracle, source, rows)


@pytest.mark.parametrize("name", [name for name in PAGED if len(paths(name)) > 1])
def test_what_was_gained_is_the_difference_of_the_pages(name: str) -> None:
    found = mapped(name)
    before: dict[tuple[str, tuple[str, ...]], Row] = {row.place: row for row in found[0].rows}
    changed = {row.rule for row in found[0].rows} - {
        row.rule for row in found[-1].rows if before.get(row.place, row).metrics == row.metrics
    }
    compared = 0
    for row in across(found):
        if row.gain is None or row.rule in changed or "first" in row.note:
            continue
        old = before.get(row.place)
        if isinstance(row.value, HistogramChange):
            assert isinstance(row.gain, HistogramChange)
            count = old.value.count if old is not None else 0.0
            assert row.gain.count == row.value.count - count, row.place
        else:
            assert row.gain == row.value - (old.value if old is not None else 0.0), row.place
            assert row.total == row.gain
        compared += 1
    assert compared


@pytest.mark.parametrize("name", PAGED)
def test_nothing_expected_is_missing_on_the_last_page(name: str) -> None:
    assert mapped(name)[-1].missing == ()


@pytest.mark.parametrize("name", PAGED)
def test_no_person_and_no_key_gets_through(name: str) -> None:
    for step in mapped(name):
        for row in step.rows:
            text = f"{row.values} {row.value} {row.gain}"
            assert not re.search(r"client_ip|user_email|user_agent|api_key|127\.0\.0\.1", text)


# ---------------------------------------------------------------- aliases and releases


def test_names_of_two_eras_on_one_page_are_one_thing() -> None:
    (use,) = mapped("vllm-0.10.2-hidden-replay")[-1].of("vedette.model.kv_cache.utilization")
    assert use.metrics == ("vllm:kv_cache_usage_perc",)
    body = paths("vllm-0.10.2-hidden-replay")[-1].read_text()
    old = Oracle(body.encode()).total("vllm:gpu_cache_usage_perc", {}, {})
    assert use.value == old  # both are there, and are not added
    (gap,) = mapped("vllm-0.10.2-hidden-replay")[-1].of("vedette.model.inter_token.duration")
    assert gap.value.count == Oracle(body.encode()).total(
        "vllm:inter_token_latency_seconds_count", {}, {}
    )


@pytest.mark.parametrize(
    ("name", "metric", "approx"),
    [
        ("vllm-0.32.0", "vllm:request_time_per_output_token_seconds", False),
        ("vllm-0.10.2-hidden-replay", "vllm:time_per_output_token_seconds", True),
        ("vllm-0.4.3-replay", "vllm:time_per_output_token_seconds", True),
    ],
)
def test_time_per_output_token_says_when_it_is_weighted_by_tokens(
    name: str, metric: str, approx: bool
) -> None:
    (row,) = mapped(name)[-1].of("gen_ai.server.time_per_output_token")
    assert row.metrics == (metric,)
    assert bool(row.approx) == approx


def test_a_metric_that_was_renamed_is_named_as_missing() -> None:
    body = paths("vllm-0.32.0")[-1].read_bytes()
    body = body.replace(b"vllm:kv_cache_usage_perc", b"vllm:cache_use")
    who = recognised(body)
    (missing,) = steps([body], who)[-1].missing
    assert missing.signal == "vedette.model.kv_cache.utilization"
    assert missing.metrics == ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
    assert "24 of 25 expected metrics" in " ".join(who.evidence)


def test_of_a_release_nobody_knows_the_rest_is_mapped_and_what_is_missing_named() -> None:
    body = paths("vllm-0.32.0")[-1].read_bytes()
    for name in (b"kv_cache_usage_perc", b"admission_rejections_total", b"num_preemptions_total"):
        body = body.replace(b"vllm:" + name, b"vllm:next_" + name)
    who = recognised(body)
    assert who.server == "vllm"
    assert who.release is None
    assert who.confidence < 1
    last = steps([body], who)[-1]
    assert {one.signal for one in last.missing} == {
        "vedette.model.kv_cache.utilization",
        "vedette.model.preemptions",
        "vedette.model.requests",
    }
    assert [one.value for one in last.outcomes if one.outcome == "ok"] == [190]


def test_what_comes_only_with_an_option_is_absent_and_not_missing() -> None:
    absent = {one.signal: one.when for one in mapped("vllm-0.32.0")[-1].absent}
    assert absent["vedette.model.spec.drafted"] == "speculative decoding"


# ---------------------------------------------------------------- transforms


def triton(success: int, us: int) -> bytes:
    labels = '{model="m",version="1"}'
    return (
        "# TYPE nv_inference_request_success counter\n"
        f"nv_inference_request_success{labels} {success}\n"
        "# TYPE nv_inference_request_duration_us counter\n"
        f"nv_inference_request_duration_us{labels} {us}\n"
    ).encode()


def test_a_sum_and_a_count_are_a_distribution_without_bounds_in_seconds() -> None:
    bodies = [triton(10, 1_000_000), triton(14, 3_000_000)]
    (row,) = steps(bodies, recognised(bodies[0]))[-1].of("vedette.model.request.duration")
    assert (row.value.count, row.value.sum) == (14, 3.0)
    assert (row.gain.count, row.gain.sum, row.gain.mean) == (4, 2.0, 0.5)
    assert row.attributes["gen_ai.request.model"] == "m"
    assert row.derived
    assert math.isnan(row.gain.quantile(0.5).value)


def test_milliseconds_become_seconds_and_bounds_with_them() -> None:
    (row, *_) = [
        row
        for row in mapped("rayserve-2.60.0")[-1].of("vedette.model.request.duration")
        if row.layer == "gateway"
    ]
    assert row.value.bounds[0] < 0.01
    assert row.value.mean < 1


def test_histograms_of_several_series_are_added_at_bounds_they_share() -> None:
    (row,) = mapped("sglang-0.5.23-names")[-1].of("gen_ai.server.request.duration")
    assert row.value.counts == (40, 40, 30, 6)  # streamed and not
    assert row.value.sum == pytest.approx(61.0)


def test_a_quantile_says_at_most_and_at_least() -> None:
    base = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0\n"
    low = base + histogram("vllm:time_to_first_token_seconds", 'model_name="m"', (0, 0, 0), 0)
    high = base + histogram("vllm:time_to_first_token_seconds", 'model_name="m"', (9, 0, 1), 10)
    who = recognised(low)
    (row,) = steps([low.encode(), high.encode()], who)[-1].of("gen_ai.server.time_to_first_token")
    assert (row.gain.quantile(0.5).value, row.gain.quantile(0.5).sense) == (1, "at most")
    assert (row.gain.quantile(0.99).value, row.gain.quantile(0.99).sense) == (2, "at least")


def lora(newest: str, value: int) -> str:
    return (
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n"
        "# TYPE vllm:lora_requests_info gauge\n"
        'vllm:lora_requests_info{max_lora="2",running_lora_adapters="old",'
        'waiting_lora_adapters=""} 100\n'
        f'vllm:lora_requests_info{{max_lora="2",running_lora_adapters="{newest}",'
        f'waiting_lora_adapters="late"}} {value}\n'
    )


def test_adapters_are_those_of_the_newest_list() -> None:
    body = lora("sql,chat", 200).encode()
    rows = steps([body], recognised(body))[-1].of("vedette.model.adapter.status")
    assert {
        (row.attributes["vedette.adapter.name"], row.attribute("vedette.model.state"))
        for row in rows
    } == {("sql", "running"), ("chat", "running"), ("late", "waiting")}
    body = lora("sql", 50).encode()  # an older one does not count
    rows = steps([body], recognised(body))[-1].of("vedette.model.adapter.status")
    assert [row.attributes["vedette.adapter.name"] for row in rows] == ["old"]


def test_a_number_that_no_device_could_have_is_none() -> None:
    body = 'DCGM_FI_DEV_GPU_TEMP{UUID="a"} 9223372036854775794\nDCGM_FI_DEV_GPU_TEMP{UUID="b"} 40\n'
    (row,) = steps([body.encode()], recognised(body))[-1].of("hw.temperature")
    assert (row.attributes["hw.id"], row.value) == ("b", 40)


def test_the_value_of_a_label_that_is_no_number_is_not_there() -> None:
    body = (
        b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n"
        b'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1\n'
    )
    step = steps([body], recognised(body))[-1]
    assert [row.value for row in step.of("vedette.model.kv_cache.block.size")] == [16]
    assert step.of("vedette.model.kv_cache.block.limit") == ()


# ---------------------------------------------------------------- what happens between pages


def kserve(predicted: int, finished: int) -> bytes:
    names = ("request_preprocess_seconds", "request_predict_seconds", "request_postprocess_seconds")
    counts = (predicted, predicted, finished)
    return "".join(
        histogram(name, 'model_name="m"', (count, 0), float(count))
        for name, count in zip(names, counts, strict=True)
    ).encode()


def test_a_difference_that_falls_for_a_moment_is_told_once() -> None:
    # A request is postprocessed after it was predicted: between the two it is in the difference.
    bodies = [kserve(10, 10), kserve(12, 11), kserve(12, 12), kserve(15, 14), kserve(15, 14)]
    failed = [
        next(
            row
            for row in step.of("vedette.model.requests")
            if row.attribute(OUTCOME) == "server_error"
        )
        for step in steps(bodies, recognised(bodies[0]))
    ]
    assert [row.value for row in failed] == [0, 1, 0, 1, 1]
    assert [row.gain for row in failed[1:]] == [1, 0, 0, 0]
    assert failed[-1].total == 1


def test_a_restart_counts_from_zero_and_leaves_the_total() -> None:
    bodies = [triton(10, 0), triton(14, 0), triton(3, 0)]
    found = steps(bodies, recognised(bodies[0]))
    rows = [step.of("vedette.model.requests")[0] for step in found]
    assert math.isnan(rows[0].gain)
    assert [row.gain for row in rows[1:]] == [4, 3]
    assert rows[-1].note == "fell"
    assert rows[-1].total == 7


def test_a_model_that_is_gone_says_so_and_keeps_what_it_gained() -> None:
    bodies = [triton(10, 0), triton(14, 0), b"nv_pinned_memory_pool_total_bytes 1\n"]
    who = recognised(bodies[0])
    (row,) = [row for row in across(steps(bodies, who)) if row.signal.name.endswith(".requests")]
    assert (row.gain, row.note) == (4, "gone")


def test_a_better_source_replaces_the_one_before() -> None:
    running = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0\n"
    success = 'vllm:request_success_total{{finished_reason="stop"}} {}\n'
    failed = 'vllm:request_success_total{{finished_reason="error"}} {}\n'
    http = 'http_requests_total{{status="5xx",handler="/v1/completions"}} {}\n'
    typed = "# TYPE vllm:request_success_total counter\n# TYPE http_requests_total counter\n"
    first = running + typed + success.format(1) + failed.format(0)
    second = running + typed + success.format(1) + failed.format(0) + http.format(2)
    found = steps([first.encode(), second.encode()], recognised(second))
    rows = [row for row in across(found) if row.attribute(OUTCOME) == "server_error"]
    assert [(row.value, row.gain) for row in rows] == [(2, 2)]


def test_several_workers_in_turn_are_said_and_not_counted() -> None:
    def worker(start: int, count: int) -> bytes:
        return (
            f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n"
        ).encode() + triton(count, 0)

    bodies = [worker(100, 5), worker(200, 90), worker(100, 6), worker(200, 91)]
    last = steps(bodies, recognised(bodies[0]))[-1]
    assert last.mixed
    (row,) = last.of("vedette.model.requests")
    assert math.isnan(row.gain)
    assert row.note == "workers"


# ---------------------------------------------------------------- layers, outcomes, samples


def test_no_server_tells_one_outcome_of_one_layer_twice() -> None:
    for name in PAGED:
        for step in mapped(name):
            places = [row.place for row in step.rows]
            assert len(places) == len(set(places)), name


def test_layers_are_told_apart_and_each_adds_up_by_itself() -> None:
    last = mapped("rayserve-2.60.0")[-1]
    told = {(one.layer, one.outcome): one.value for one in last.outcomes}
    assert told["gateway", "ok"] == told["engine", "ok"] == 407
    assert told["gateway", "rejected"] == 58
    assert ("engine", "rejected") not in told


def test_an_outcome_that_is_counted_and_has_not_been_is_zero() -> None:
    told = {one.outcome: (one.value, one.gain) for one in mapped("dynamo-1.6.1")[-1].outcomes}
    assert told["rejected"] == (0, 0)
    assert "timeout" not in told


def test_what_a_collector_yields_is_declared_and_complete() -> None:
    found = mapped("vllm-0.32.0")
    made = samples(found[-1].rows)
    kinds = {type(one) for one in made}
    assert kinds == {Sample, HistogramSample}
    for one in made:
        instrument = one.series.instrument
        assert instrument is SIGNALS[instrument.name].instrument
        if isinstance(one, HistogramSample):
            assert instrument.kind == "histogram"
            assert len(one.counts) == len(one.bounds) + 1
    first = samples(found[0].rows)
    assert not any(isinstance(one, HistogramSample) for one in first)  # nothing gained yet


def test_where_a_page_came_from_is_in_every_series() -> None:
    body = paths("vllm-0.32.0")[-1].read_bytes()
    mapper = Mapper(adapter("vllm"), None, endpoint="127.0.0.1:8000")
    rows = mapper.read(page(body), 1.0).rows
    assert {row.values[0] for row in rows} == {"127.0.0.1:8000"}


def test_only_the_families_asked_for_are_needed() -> None:
    body = paths("vllm-0.32.0")[-1].read_bytes()
    mapper = Mapper(adapter("vllm"))
    whole = Mapper(adapter("vllm")).read(page(body), 1.0)
    part = mapper.read(Reader(Choice(allow=mapper.families)).read(body), 1.0)
    assert [(row.place, row.value) for row in part.rows] == [
        (row.place, row.value) for row in whole.rows
    ]
