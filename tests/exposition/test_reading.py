"""Reading metrics pages: what real servers write, what nobody should, and what comes next time."""

from __future__ import annotations

import sys
import time
from math import inf, isnan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.exposition.model import Caps, Key, Number, Summary, escape
from vedette.exposition.page import Page
from vedette.exposition.reading import Reader

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
from exposition_oracle import by_prometheus_client, by_vedette, differences

PAGES = Path(__file__).parent.parent / "fixtures" / "exposition"
REAL = sorted(PAGES.glob("*.prom"))


def read(text: str | bytes, *, openmetrics: bool = False, caps: Caps | None = None) -> Page:
    """Read a page with a reader that never saw one; then again, which must give the same."""
    body = text.encode() if isinstance(text, str) else text
    reader = Reader(caps=caps)
    page = reader.read(body, openmetrics=openmetrics)
    again = reader.read(body, openmetrics=openmetrics)
    assert not differences(by_vedette(page), by_vedette(again))
    assert page.fault_counts == again.fault_counts
    assert page.faults == again.faults
    assert page.over == again.over
    return page


def value(page: Page, name: str, **labels: str) -> float:
    (found,) = [
        one.value for one in page.numbers(name) if one.key.labels == tuple(sorted(labels.items()))
    ]
    return found


def real(name: str) -> Page:
    page = read((PAGES / name).read_bytes())
    assert page.complete
    return page


# ---------------------------------------------------------------- real pages


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_real_page_holds_what_prometheus_client_reads(path: Path) -> None:
    body = path.read_bytes()
    page = read(body)
    assert page.complete, page.faults
    assert not differences(by_vedette(page), by_prometheus_client(body))


def test_a_counter_declared_without_total_owns_its_lines_and_eof_is_no_fault() -> None:
    page = real("mosec-0.9.8.prom")
    family = page.family("mosec_service_throughput_total")
    assert family is not None
    assert family.type == "counter"
    assert family.help == "service inference endpoint throughput."
    assert value(page, "mosec_service_throughput_total", code="200", endpoint="/inference") == 160
    assert page.points("mosec_service_throughput") == ()


def test_a_counter_without_total_keeps_its_name() -> None:
    page = real("triton-2.51.0.prom")
    assert value(page, "nv_inference_request_success", model="mean", version="3") == 40
    assert page.family("nv_inference_request_success_total") is None
    assert real("dynamo-1.6.1.prom").complete


def test_a_comma_before_the_brace_is_read() -> None:
    page = real("torchserve-0.12.0.prom")
    assert value(page, "Requests5XX", Level="Host", Hostname="vm") == 9


def test_a_family_without_lines_is_not_there() -> None:
    page = real("torchserve-0.12.0.prom")
    assert page.points("GPUMemoryUtilization") == ()
    assert "GPUMemoryUtilization" not in page.names


def test_blanks_within_the_braces_are_read_and_a_sentinel_is_out_of_every_range() -> None:
    page = real("dcgm-exporter-readme.prom")
    (found,) = page.numbers("DCGM_FI_DEV_MEMORY_TEMP")
    assert found.key.label("gpu") == "0"
    assert found.value > 2**62


def test_a_name_may_begin_with_a_colon() -> None:
    page = real("tensorflow-serving-2.20-constructed.prom")
    assert value(page, ":tensorflow:serving:request_count", model_name="half", status="OK") == 512


def test_a_histogram_may_be_named_total() -> None:
    page = real("vllm-0.32.0.2.prom")
    (found,) = page.histograms("vllm:iteration_tokens_total")
    assert found.count > 0
    assert found.created == pytest.approx(1795421174.69)


def test_created_gauges_belong_to_what_was_created() -> None:
    page = real("vllm-0.32.0.2.prom")
    (found,) = page.numbers("vllm:prompt_tokens_total")
    assert found.created == pytest.approx(1795421174.69)
    assert not [name for name in page.names if name.endswith("_created")]


def test_totals_typed_gauge_stay_gauges_with_their_name() -> None:
    page = real("lmdeploy-0.18.0-replay.prom")
    family = page.family("lmdeploy:num_requests_succeeded")
    assert family is not None
    assert family.type == "gauge"


def test_a_summary_may_lack_quantiles_or_have_them() -> None:
    without = real("mlserver-1.7.1.prom").summaries("model_infer_request_duration")
    assert without
    assert all(one.quantiles == () and one.count > 0 and one.sum > 0 for one in without)
    found = real("smg-0.3.2.prom").summaries("smg_worker_retry_backoff_seconds")[0]
    assert found.quantiles == (0, 0.5, 0.9, 0.95, 0.99, 0.999, 1)
    assert found.values[-1] == 0.132


def test_a_histogram_is_one_object_with_the_sources_bounds() -> None:
    found = real("vllm-0.32.0.2.prom").histograms("vllm:time_to_first_token_seconds")[0]
    assert found.bounds[:3] == (0.001, 0.005, 0.01)
    assert found.bounds[-1] == 2560
    assert len(found.cumulative) == len(found.bounds) + 1
    assert found.cumulative[-1] == found.count
    assert list(found.cumulative) == sorted(found.cumulative)
    assert found.key.labels == (("engine", "0"), ("model_name", "tiny-llama"))


# ---------------------------------------------------------------- quirks without a capture


def test_declarations_may_be_repeated_tight_and_between_samples_of_others() -> None:
    page = read(
        '#HELP hits \n#TYPE hits counter\nhits_total{a="1"} 1\n'
        "# HELP other x\n# TYPE other gauge\nother 5\n"
        '#HELP hits \n#TYPE hits counter\nhits_total{a="2"} 2\n'
    )
    assert page.complete
    assert [one.value for one in page.numbers("hits_total")] == [1, 2]
    family = page.family("hits_total")
    assert family is not None
    assert (family.type, family.help) == ("counter", "")


def test_the_order_of_lines_does_not_matter() -> None:
    page = read(
        'h_sum 3\nh_bucket{le="+Inf"} 2\nh_bucket{le="1"} 1\nh_count 2\n# TYPE h histogram\n'
    )
    (found,) = page.histograms("h")
    assert (found.bounds, found.cumulative, found.sum) == ((1.0,), (1.0, 2.0), 3.0)


def test_thousands_of_one_wide_buckets_are_one_histogram_quickly() -> None:
    lines = "".join(f'b_bucket{{le="{at}.0"}} {at}\n' for at in range(1, 1025))
    body = f'# TYPE b histogram\n{lines}b_bucket{{le="+Inf"}} 1030\nb_sum 1\nb_count 1030\n'
    (found,) = read(body).histograms("b")
    assert len(found.bounds) == 1024
    assert found.cumulative[-1] == 1030


def test_special_values_and_exponents_are_read() -> None:
    page = read("a +Inf\nb -Inf\nc NaN\nd 1.9E7\ne 5e-324\nf .5\ng 1.\nh -0\ni inf\nj Infinity\n")
    assert page.complete
    assert (value(page, "a"), value(page, "b"), value(page, "d")) == (inf, -inf, 1.9e7)
    assert isnan(value(page, "c"))
    assert (value(page, "f"), value(page, "g"), value(page, "i")) == (0.5, 1, inf)


@pytest.mark.parametrize("text", ["1_000", "0x10", "1,5", "one", "١", "--1", "1e", "+", "1 2 3"])
def test_what_is_no_number_is_a_fault_cold_and_warm(text: str) -> None:
    reader = Reader()
    cold = reader.read(f"a {text}\nb 1\n".encode())
    assert cold.numbers("a") == ()
    assert value(cold, "b") == 1
    assert sum(cold.fault_counts.values()) == 1
    reader.read(b"a 1\nb 1\n")
    warm = reader.read(f"a {text}\nb 2\n".encode())
    assert warm.numbers("a") == ()
    assert value(warm, "b") == 2
    assert sum(warm.fault_counts.values()) == 1
    assert warm.faults[0].line == 1


def test_escapes_are_undone_and_unknown_ones_kept() -> None:
    page = read('a{p="C:\\\\x\\n\\"q\\"",r="\\d+"} 1\n')
    assert page.numbers("a")[0].key.labels == (("p", 'C:\\x\n"q"'), ("r", "\\d+"))


def test_braces_hashes_and_blanks_in_label_values_are_text() -> None:
    page = read('a{p="} 5 # {x=\\"y\\"} 6"} 7\na{p="a b # {"} 8 1000\n')
    assert page.complete
    assert [one.value for one in page.numbers("a")] == [7, 8]
    assert page.numbers("a")[1].time_s == 1


def test_tabs_crlf_empty_lines_and_leading_blanks_are_read() -> None:
    page = read('a\t1\r\n\r\n   \n  b 2\nc{x="1"}\t\t3\t\n  # TYPE b counter\nd{}  4 \ne{ } 5\n\n')
    assert page.complete, page.faults
    assert [value(page, name) for name in "abde"] == [1, 2, 4, 5]
    assert value(page, "c", x="1") == 3


def test_names_in_quotes_are_read() -> None:
    page = read('# TYPE "my.counter" counter\n{"my.counter", "a.b"="c"} 1\n{"solo"} 2\n')
    assert page.complete, page.faults
    assert value(page, "my.counter", **{"a.b": "c"}) == 1
    assert value(page, "solo") == 2
    family = page.family("my.counter")
    assert family is not None
    assert family.type == "counter"


def test_text_beyond_ascii_is_read() -> None:
    page = read('a{model="größe\u2028模型"} 1\n# HELP a Größe\n')
    assert page.numbers("a")[0].key.label("model") == "größe\u2028模型"


def test_a_byte_order_mark_and_a_missing_last_newline_cost_nothing() -> None:
    page = read(b"\xef\xbb\xbfa 1\nb 2")
    assert (value(page, "a"), value(page, "b")) == (1, 2)
    assert page.complete


# ---------------------------------------------------------------- openmetrics


OPENMETRICS = """\
# TYPE req counter
# UNIT req_seconds seconds
# HELP req Requests \\"so far\\".
req_total{code="200"} 17.0 1520879607.789 # {trace_id="KOO5"} 1 1520879607
req_created{code="200"} 1520430000.123
# TYPE lat histogram
lat_bucket{le="1.0"} 3 # {trace_id="a b"} 0.67
lat_bucket{le="+Inf"} 5
lat_sum 4.5
lat_count 5
lat_created 1520430001
# TYPE pool gaugehistogram
pool_bucket{le="10.0"} 2
pool_bucket{le="+Inf"} 3
pool_gsum -4
pool_gcount 3
# TYPE build info
build_info{version="1.2"} 1
# TYPE state stateset
state{state="up"} 1
state{state="down"} 0
# TYPE thing unknown
thing 4
# EOF
"""


def test_openmetrics_types_exemplars_and_times_are_read() -> None:
    page = read(OPENMETRICS, openmetrics=True)
    assert page.complete, page.faults
    (counter,) = page.numbers("req_total")
    assert (counter.value, counter.created, counter.time_s) == (17, 1520430000.123, 1520879607.789)
    (histogram,) = page.histograms("lat")
    assert (histogram.bounds, histogram.cumulative) == ((1.0,), (3.0, 5.0))
    assert histogram.created == 1520430001
    (pool,) = page.histograms("pool")
    assert (pool.sum, pool.count) == (-4, 3)
    types = {family.name: family.type for family, _ in page}
    assert types == {
        "req_total": "counter",
        "lat": "histogram",
        "pool": "gaugehistogram",
        "build_info": "info",
        "state": "stateset",
        "thing": "unknown",
    }
    assert page.sizes.exemplars == 2


def test_a_known_series_with_time_and_exemplar_is_read_again() -> None:
    reader = Reader()
    reader.read(OPENMETRICS.encode(), openmetrics=True)
    body = OPENMETRICS.replace("17.0 1520879607.789", "18.0 1520879617.5").encode()
    page = reader.read(body, openmetrics=True)
    (counter,) = page.numbers("req_total")
    assert (counter.value, counter.time_s) == (18, 1520879617.5)
    assert page.sizes.new == 0
    assert page.sizes.exemplars == 2


def test_text_format_times_are_milliseconds() -> None:
    assert read("a 1 1520879607789\n").numbers("a")[0].time_s == 1520879607.789
    assert read("a 1 -1000\n").numbers("a")[0].time_s == -1


def test_openmetrics_without_its_end_is_not_complete() -> None:
    page = read("# TYPE a gauge\na 1\n", openmetrics=True)
    assert not page.complete
    assert page.fault_counts == {"end": 1}
    assert value(page, "a") == 1


def test_lines_after_the_end_are_read_and_said() -> None:
    page = read("a 1\n# EOF\nb 2\n", openmetrics=True)
    assert value(page, "b") == 2
    assert str(page.faults[0]) == "lines after # EOF"


def test_a_counter_has_one_name_in_both_formats() -> None:
    plain = read("# TYPE x_total counter\nx_total 1\n")
    open_ = read("# TYPE x counter\nx_total 1\n# EOF\n", openmetrics=True)
    assert plain.numbers("x_total")[0].key == open_.numbers("x_total")[0].key


# ---------------------------------------------------------------- bad lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a{b=1} 2", "column 5: expected a label's value in double quotes"),
        ('a{b="1" 2', "column 9: expected , or } after a label"),
        ('a{b="1', "column 5: a label's value does not end"),
        ('a{b="1",', "the labels do not end"),
        ('a{b="1",,} 2', 'column 9: expected name="value"'),
        ('a{b="1",b="2"} 2', "label 'b' twice"),
        ('a{="1"} 2', 'column 3: expected name="value"'),
        ("a.b 1", "column 2: '.' in a metric name"),
        ("a", "no value"),
        ("1 2", "no metric name"),
        ("{} 2", "no metric name"),
        ("a 1 2.5", "timestamp '2.5' is not whole ms"),
        ("a 1 2 3", "column 7: unexpected '3'"),
        ("a 1 # x", "column 5: unexpected '# x'"),
        ("a x", "value 'x' is not a number"),
    ],
)
def test_a_bad_line_is_named_and_costs_no_other(line: str, reason: str) -> None:
    page = read(f"ok 1\n{line}\nfine 2\n")
    assert (value(page, "ok"), value(page, "fine")) == (1, 2)
    assert page.fault_counts == {"line": 1}
    assert str(page.faults[0]) == f"line 2: {reason}: {line!r}"
    assert not page.complete


def test_a_line_that_is_not_utf8_costs_itself_only() -> None:
    page = read(b'ok 1\nbad{a="\xff"} 2\n# HELP ok \xfe\n# TYPE ok counter\nfine 3\n')
    assert (value(page, "ok"), value(page, "fine")) == (1, 3)
    assert page.fault_counts == {"line": 1, "comment": 1}
    assert {fault.reason for fault in page.faults} == {
        "byte 8 is not UTF-8",
        "byte 11 is not UTF-8",
    }


def test_only_the_first_faults_are_named_and_all_are_counted() -> None:
    page = read("ok 1\n" + "bad\n" * 50, caps=Caps(faults_named=3))
    assert page.fault_counts == {"line": 50}
    assert [fault.line for fault in page.faults] == [2, 3, 4]


def test_the_first_of_two_lines_for_one_series_counts() -> None:
    page = read('a{x="1",y="2"} 1\na{y="2",x="1"} 2\na{x="1",y="2"} 3\n')
    assert value(page, "a", x="1", y="2") == 1
    assert page.fault_counts == {"twice": 2}


def test_the_first_of_two_types_counts() -> None:
    page = read("# TYPE a counter\n# TYPE a gauge\n# TYPE a counter\na 1\n# TYPE b what\nb 2\n")
    assert [(family.name, family.type) for family, _ in page] == [
        ("a", "counter"),
        ("b", "unknown"),
    ]
    assert page.fault_counts == {"comment": 2}
    assert page.faults[0].reason == "a was of type 'counter' before"
    assert page.faults[1].reason == "'what' is not a type"


@pytest.mark.parametrize(
    "line",
    ["h_bucket 1", 'h_bucket{le="x"} 1', 'h_bucket{le="NaN"} 1', "h 1", 's{quantile="2"} 1', "s 1"],
)
def test_a_line_its_family_cannot_have_is_a_fault(line: str) -> None:
    page = read(f"# TYPE h histogram\n# TYPE s summary\nh_count 1\n{line}\n")
    assert page.fault_counts == {"line": 1}


def test_a_histogram_without_its_last_bucket_takes_the_count() -> None:
    page = read('# TYPE h histogram\nh_bucket{le="1"} 2\nh_count 5\n')
    assert page.histograms("h")[0].cumulative == (2, 5)
    page = read('# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 6\n')
    assert page.histograms("h")[0].count == 6
    assert read("# TYPE h histogram\nh_sum 2\nh_count 5\n").histograms("h")[0].cumulative == (5,)


# ---------------------------------------------------------------- bounds


def test_what_goes_over_a_cap_is_left_out_counted_and_said() -> None:
    body = "".join(f"m{at} {at}\n" for at in range(100))
    page = read(body, caps=Caps(series=10))
    assert page.sizes.series == 10
    assert page.over == {"series": 90}
    page = read(body, caps=Caps(lines=30))
    assert (page.sizes.series, page.over) == (30, {"lines": 70})
    page = read(body, caps=Caps(bytes=52))
    assert page.over == {"bytes": len(body) - 50}
    assert page.sizes.series == 10
    assert not page.complete


def test_long_lines_and_labels_and_many_labels_are_faults() -> None:
    caps = Caps(line_bytes=200, labels=3, label_chars=50)
    many = ",".join(f'l{at}="v"' for at in range(4))
    lines = [f'a{{x="{"y" * 60}"}} 1', f"b{{{many}}} 1", f'c{{x="{"y" * 300}"}} 1', "d 1"]
    page = read("\n".join(lines) + "\n", caps=caps)
    assert [fault.reason for fault in page.faults] == [
        "label 'x' empty or over 50 characters",
        "over 3 labels",
        "over 200 bytes long",
    ]
    assert value(page, "d") == 1


def test_a_page_of_rubbish_is_not_read_to_its_end() -> None:
    body = b"".join(b'bad{a="%d" 1\n' % at for at in range(20_000)) + b"ok 1\n"
    reader = Reader()
    began = time.process_time()
    page = reader.read(body)
    assert time.process_time() - began < 5
    assert page.fault_counts == {"line": 1000}
    assert page.over == {"bad_lines": 19_001}


def test_timed_lines_beyond_the_cap_are_left_unread_too() -> None:
    body = "".join(f"m{at}\t{at} 1000\n" for at in range(3000))
    page = read(body, caps=Caps(series=10))
    assert page.sizes.series == 10
    assert page.over == {"series": 2990}


def test_a_creation_time_that_left_is_forgotten() -> None:
    reader = Reader(caps=Caps(forget_after=1))
    head = b"# TYPE c counter\nc_total 1\n"
    assert reader.read(head + b"c_created 5\n").numbers("c_total")[0].created == 5
    for _ in range(3):
        page = reader.read(head)
    assert isnan(page.numbers("c_total")[0].created)
    assert reader.remembered == 1


def test_names_that_churn_leave_no_trace() -> None:
    reader = Reader(caps=Caps(forget_after=1))
    for turn in range(40):
        body = "".join(f"# TYPE n{turn}_{at} counter\nn{turn}_{at} 1\n" for at in range(100))
        page = reader.read(body.encode())
        assert page.complete
    assert reader.remembered <= 200
    assert len(reader._layout._places) <= 2000
    assert len(reader._layout.kept) <= 200


def test_a_series_that_left_is_forgotten_after_some_pages() -> None:
    reader = Reader(caps=Caps(forget_after=3))
    reader.read(b'a{x="1"} 1\na{x="2"} 2\nb 1\n')
    for _ in range(3):
        page = reader.read(b'a{x="2"} 2\n')
        assert reader.remembered == 3
    assert page.names == ("a", "b")
    page = reader.read(b'a{x="2"} 2\n')
    assert reader.remembered == 1
    assert reader.forgotten == 2
    assert page.points("b") == ()
    page = reader.read(b'a{x="1"} 7\na{x="2"} 2\n')
    assert page.names == ("a",)
    assert sorted(one.value for one in page.numbers("a")) == [2, 7]


def test_an_older_page_is_not_changed_by_what_is_read_after() -> None:
    reader = Reader(caps=Caps(forget_after=1))
    first = reader.read(b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_count 2\na 1\n')
    for at in range(5):
        reader.read(b"b%d 1\n" % at)
    assert value(first, "a") == 1
    assert first.histograms("h")[0].cumulative == (1, 2)


def test_churning_labels_leave_no_trace() -> None:
    reader = Reader(caps=Caps(series=200, forget_after=2))
    for page_number in range(30):
        lines = "".join(f'p{{path="/{page_number}/{at}"}} {at}\n' for at in range(20))
        page = reader.read(f"# TYPE p counter\n{lines}".encode())
        assert len(page.points("p")) == 20
        assert not page.over
    assert reader.remembered <= 60


def test_labels_in_changing_order_stay_one_series_and_do_not_fill_the_memory() -> None:
    reader = Reader(caps=Caps(series=30))
    names = "abcdefgh"
    for turn in range(100):
        order = names[turn % 8 :] + names[: turn % 8]
        order = order[::-1] if turn % 2 else order
        pairs = ",".join(f'{name}="1"' for name in order)
        page = reader.read(f"x{{{pairs}}} {turn}\n".encode())
        assert [one.value for one in page.numbers("x")] == [turn]
        assert page.complete
    assert reader.remembered <= 10


def test_a_type_that_changes_gives_its_lines_another_meaning() -> None:
    reader = Reader()
    body = b'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 3\nh_sum 2\nh_count 3\n'
    page = reader.read(body)
    assert len(page.numbers("h_bucket")) == 2
    page = reader.read(b"# TYPE h histogram\n" + body)
    assert page.numbers("h_bucket") == ()
    assert page.histograms("h")[0].cumulative == (1, 3)
    assert page.sizes.new == 4
    page = reader.read(body)
    assert page.histograms("h") == ()
    assert value(page, "h_count") == 3


def test_a_help_that_changes_costs_no_series() -> None:
    reader = Reader()
    reader.read(b"# HELP a one\na 1\n")
    page = reader.read(b"# HELP a two\na 1\n")
    family = page.family("a")
    assert family is not None
    assert family.help == "two"
    assert page.sizes.new == 0


def test_a_bucket_that_comes_later_is_part_of_its_histogram() -> None:
    reader = Reader()
    head = b'# TYPE h histogram\nh_bucket{le="2"} 1\nh_bucket{le="+Inf"} 3\n'
    assert reader.read(head).histograms("h")[0].bounds == (2,)
    page = reader.read(head + b'h_bucket{le="1"} 0\nh_count 3\n')
    assert page.histograms("h")[0].bounds == (1, 2)
    assert page.histograms("h")[0].cumulative == (0, 1, 3)
    assert reader.read(head).histograms("h")[0].bounds == (2,)


# ---------------------------------------------------------------- properties


@given(st.binary(max_size=2000), st.booleans())
def test_no_bytes_raise_and_the_second_reading_is_the_same(body: bytes, openmetrics: bool) -> None:
    read(body, openmetrics=openmetrics)


FRAGMENTS = [
    "a", "h_bucket", "{", "}", 'le="1"', 'le="+Inf"', ",", " ", "1", "NaN", "1_0", "\n", "# TYPE ",
    "h", " histogram\n", " counter\n", "# EOF\n", '"', "\\", "=", "\t", "1000", " # {",
    "é", "_total", "_created", "#HELP a ", "x", "\r", 'quantile="0.5"', " summary\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=60), st.booleans())
def test_no_mixture_of_the_formats_own_pieces_raises(pieces: list[str], openmetrics: bool) -> None:
    read("".join(pieces), openmetrics=openmetrics)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(FRAGMENTS), max_size=20), st.booleans()), max_size=6
    )
)
def test_what_was_read_before_does_not_change_what_a_page_says(
    pages: list[tuple[list[str], bool]],
) -> None:
    reader = Reader()
    for pieces, openmetrics in pages:
        body = "".join(pieces).encode()
        warm = reader.read(body, openmetrics=openmetrics)
        cold = Reader().read(body, openmetrics=openmetrics)
        assert not differences(by_vedette(warm), by_vedette(cold))
        assert warm.fault_counts.keys() == cold.fault_counts.keys()


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}[a-z]", fullmatch=True).filter(
    lambda name: not name.endswith(("_total", "_created", "_bucket", "_sum", "_count", "_info"))
)
LABELS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True).filter(
        lambda name: name not in ("le", "quantile")
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    max_size=4,
)
VALUES = st.floats(allow_nan=False)


@given(
    st.dictionaries(
        NAMES,
        st.tuples(
            st.sampled_from(["counter", "gauge", "untyped"]), st.lists(LABELS, max_size=4), VALUES
        ),
        max_size=6,
    )
)
def test_a_page_written_is_read_back(
    families: dict[str, tuple[str, list[dict[str, str]], float]],
) -> None:
    lines, expected = [], {}
    for name, (kind, sets, number) in families.items():
        lines.append(f"# TYPE {name} {kind}")
        for labels in sets:
            key = Key(name, tuple(sorted(labels.items())))
            if key not in expected:
                expected[key] = number
                pairs = ",".join(f'{label}="{escape(text)}"' for label, text in labels.items())
                lines.append(f"{name}{{{pairs}}} {number!r}")
    page = read("\n".join([*lines, ""]))
    assert page.complete, page.faults
    found = {point.key: point for _, points in page for point in points}
    assert {key: one.value for key, one in found.items() if isinstance(one, Number)} == expected


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(0, 1000), min_size=9, max_size=9),
    LABELS,
    st.randoms(use_true_random=False),
)
def test_a_histogram_written_in_any_order_is_read_back(
    bounds: list[float], counts: list[int], labels: dict[str, str], random: object
) -> None:
    bounds.sort()
    total, cumulative = 0.0, []
    for count in counts[: len(bounds) + 1]:
        total += count
        cumulative.append(total)
    rest = "".join(f',{name}="{escape(text)}"' for name, text in labels.items())
    lines = [
        f'h_bucket{{le="{"+Inf" if bound == inf else repr(bound)}"{rest}}} {count}'
        for bound, count in zip([*bounds, inf], cumulative, strict=True)
    ]
    lines += [f"h_sum{{{rest[1:]}}} 5", f"h_count{{{rest[1:]}}} {total}", "# TYPE h histogram"]
    random.shuffle(lines)  # type: ignore[attr-defined]
    (found,) = read("\n".join([*lines, ""])).histograms("h")
    assert found.bounds == tuple(bounds)
    assert found.cumulative == tuple(cumulative)
    assert (found.sum, found.count) == (5, total)


def test_summaries_are_whole() -> None:
    page = read('# TYPE s summary\ns{quantile="0.9"} 2\ns{quantile="0.5"} 1\ns_sum 9\ns_count 4\n')
    (found,) = page.points("s")
    assert isinstance(found, Summary)
    assert (found.quantiles, found.values, found.sum, found.count) == ((0.5, 0.9), (1, 2), 9, 4)
