"""What is kept of a page, and that nobody is in it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from vedette.exposition.choice import Choice, is_personal
from vedette.exposition.page import Page
from vedette.exposition.reading import Reader

PAGES = Path(__file__).parent.parent / "fixtures" / "exposition"


def read(text: str, choice: Choice) -> Page:
    reader = Reader(choice)
    reader.read(text.encode())
    return reader.read(text.encode())


def everything(page: Page) -> str:
    return "\n".join(str(point) for _, points in page for point in points)


def test_globs_and_expressions_choose_families_and_deny_wins() -> None:
    text = "vllm:a 1\nvllm:b 2\nvllm:kv_c 3\nother 4\nVLLM:d 5\n"
    assert read(text, Choice()).names == ("vllm:a", "vllm:b", "vllm:kv_c", "other", "VLLM:d")
    assert read(text, Choice(allow=["vllm:*"])).names == ("vllm:a", "vllm:b", "vllm:kv_c")
    assert read(text, Choice(allow=["/vllm:(a|kv_.*)/", "other"])).names == (
        "vllm:a",
        "vllm:kv_c",
        "other",
    )
    assert read(text, Choice(allow=["vllm:*"], deny=["*:b"])).names == ("vllm:a", "vllm:kv_c")


def test_a_family_is_chosen_by_its_own_name_with_all_its_lines() -> None:
    text = (
        '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
        "# TYPE h_created gauge\nh_created 7\n# TYPE c counter\nc_total 1\nc_created 8\n"
    )
    page = read(text, Choice(allow=["h", "c_total"]))
    assert page.histograms("h")[0].count == 2
    assert page.histograms("h")[0].created == 7
    assert page.numbers("c_total")[0].created == 8
    assert page.complete
    assert read(text, Choice(deny=["h", "c_total"])).names == ()


def test_a_line_that_is_not_wanted_is_known_the_next_time_whatever_it_looks_like() -> None:
    lines = [
        'n{a="b c} 1"} 2',
        'n{a="x # {"} 2',
        "n 3",
        'n{a="1"} 4 1000',
        'n{a="2"} 4 # {x="}"} 5',
        '{"n",a="3"} 6',
        "t\t7",
    ]
    text = "\n".join([*lines, "m 1", ""])
    reader = Reader(Choice(deny=["n", "t"]))
    first = reader.read(text.encode())
    remembered = reader.remembered
    for value in range(5):
        page = reader.read(text.replace(" 1000", f" 100{value}").encode())
        assert page.names == ("m",)
    assert reader.remembered == remembered
    assert first.sizes.new == len(lines) + 1


def test_a_bad_value_of_a_series_that_is_not_wanted_is_named_with_its_line() -> None:
    reader = Reader(Choice(allow=["m"]))
    text = 'n{a="1"} 1\nn{a="2"} %s\nm 1\n'
    assert reader.read((text % "2").encode()).complete
    page = reader.read((text % "two").encode())
    assert [str(fault) for fault in page.faults] == [
        "line 2: value 'two' is not a number: 'n{a=\"2\"} two'"
    ]
    assert page.numbers("m")[0].value == 1


def test_of_what_is_not_wanted_no_text_is_kept() -> None:
    reader = Reader(Choice(allow=["m"]))
    body = b"m 1\n" + b"".join(b'n{who="%032d"} 1\n' % number for number in range(100))
    reader.read(body)
    assert reader.remembered == 101
    kept = gc.get_referents(reader.__dict__["_slots"])
    assert [one for one in kept if isinstance(one, bytes)] == [b"m"]


@pytest.mark.parametrize(
    "label",
    [
        "client_ip",
        "user_email",
        "userEmail",
        "user_agent",
        "User-Agent",
        "hashed_api_key",
        "api_key_alias",
        "end_user",
        "user",
        "remote_addr",
        "x_forwarded_for",
        "session_id",
    ],
)
def test_labels_that_tell_who_are_personal(label: str) -> None:
    assert is_personal(label)


@pytest.mark.parametrize(
    "label",
    ["model_name", "engine", "instance", "NodeAddress", "le", "key", "finished_reason", "ip"],
)
def test_labels_that_tell_what_are_not(label: str) -> None:
    assert not is_personal(label)


def test_nobody_is_in_what_is_kept_of_a_real_gateway() -> None:
    text = (PAGES / "litellm-1.109.1.prom").read_text()
    page = read(text, Choice())
    assert "client_ip" in text
    assert page.complete
    for word in ("client_ip", "127.0.0.1", "user", "urllib", "hashed", "api_key"):
        assert word not in everything(page), word
    assert page.numbers("litellm_proxy_total_requests_metric_total")[0].key.label("requested_model")


def test_counters_that_fall_together_are_added() -> None:
    lines = ['r{m="x",client_ip="1"} 3', 'r{m="x",client_ip="2"} 4', 'r{m="y",user="z"} 5']
    text = "\n".join(["# TYPE r counter", *lines, ""])
    found = read(text, Choice()).numbers("r")
    assert [(str(one.key), one.value) for one in found] == [('r{m="x"}', 7), ('r{m="y"}', 5)]
    assert all(one.sources for one in found)


def test_histograms_that_fall_together_are_added_at_the_bounds_both_have() -> None:
    text = (
        "# TYPE h histogram\n"
        'h_bucket{le="1",user="a"} 1\nh_bucket{le="2",user="a"} 3\nh_bucket{le="+Inf",user="a"} 4\n'
        'h_sum{user="a"} 8\nh_count{user="a"} 4\n'
        'h_bucket{le="2",user="b"} 10\nh_bucket{le="+Inf",user="b"} 20\n'
        'h_sum{user="b"} 90\nh_count{user="b"} 20\n'
    )
    (found,) = read(text, Choice()).histograms("h")
    assert (found.bounds, found.cumulative) == ((2,), (13, 24))
    assert (found.sum, found.count) == (98, 24)


def test_summaries_that_fall_together_lose_their_quantiles() -> None:
    text = (
        '# TYPE s summary\ns{quantile="0.5",user="a"} 1\ns_sum{user="a"} 2\ns_count{user="a"} 3\n'
        's{quantile="0.5",user="b"} 7\ns_sum{user="b"} 8\ns_count{user="b"} 9\n'
    )
    (found,) = read(text, Choice()).summaries("s")
    assert (found.quantiles, found.sum, found.count) == ((), 10, 12)


def test_gauges_that_fall_together_are_the_largest_or_added_when_said() -> None:
    text = '# TYPE g gauge\ng{user="a"} 3\ng{user="b"} 9\ng{user="c"} 5\n'
    assert [one.value for one in read(text, Choice()).numbers("g")] == [9]
    assert [one.value for one in read(text, Choice(add_gauges=["g"])).numbers("g")] == [17]


def test_labels_may_be_kept_or_dropped_by_name() -> None:
    text = '# TYPE r counter\nr{user="a",pod="p"} 1\nr{user="b",pod="q"} 2\n'
    kept = read(text, Choice(keep_labels=["user"], drop_labels=["po?"])).numbers("r")
    assert [str(one.key) for one in kept] == ['r{user="a"}', 'r{user="b"}']
    assert [str(one.key) for one in read(text, Choice(drop_labels=["*"])).numbers("r")] == ["r"]


def test_series_are_denied_by_the_value_of_a_label() -> None:
    text = 'r{path="/x"} 1\nr{path="/health"} 2\nr{path="/healthz"} 3\nq 4\n'
    page = read(text, Choice(deny_series=[("path", "/health*")]))
    assert [one.key.label("path") for one in page.numbers("r")] == ["/x"]
    assert page.complete


@pytest.mark.parametrize("pattern", ["", "/(/"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Choice(allow=[pattern])
