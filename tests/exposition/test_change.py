"""What happened between two pages: gains, restarts, and the gaps that are no guess."""

from __future__ import annotations

from itertools import accumulate
from math import inf, isnan, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.exposition.change import (
    Change,
    CounterChange,
    HistogramChange,
    Quantile,
    SummaryChange,
    counter_change,
    histogram_change,
    summary_change,
    together,
)
from vedette.exposition.choice import Choice
from vedette.exposition.follow import Changes
from vedette.exposition.model import Caps, Histogram, Key, Number, Summary
from vedette.exposition.reading import Reader

PAGES = Path(__file__).parent.parent / "fixtures" / "exposition"
A = Key("a")


def histogram(*cumulative: float, total: float = 0.0, created: float = nan) -> Histogram:
    bounds = tuple(float(2**at) for at in range(len(cumulative) - 1))
    return Histogram(A, bounds, cumulative, total, cumulative[-1], created)


class Server:
    """Pages of one server, ten seconds apart."""

    def __init__(self, **options: object) -> None:
        self.changes = Changes(**options)  # type: ignore[arg-type]
        self.reader = Reader()
        self.now_s = 0.0

    def page(self, text: str, *, wall_s: float = nan, openmetrics: bool = False) -> list[Change]:
        self.now_s += 10
        page = self.reader.read(text.encode(), openmetrics=openmetrics)
        return self.changes.advance(page, self.now_s, wall_s=wall_s)

    def one(self, text: str, **options: float) -> CounterChange:
        (found,) = self.page(f"# TYPE a counter\n{text}", **options)  # type: ignore[arg-type]
        assert isinstance(found, CounterChange)
        return found


# ---------------------------------------------------------------- of one series


def test_a_counter_gains_what_it_grew() -> None:
    found = counter_change(Number(A, 5), Number(A, 25), 10)
    assert (found.delta, found.rate, found.note) == (20, 2, "")


def test_a_counter_that_fell_counts_from_zero() -> None:
    found = counter_change(Number(A, 500), Number(A, 3), 10)
    assert (found.delta, found.note) == (3, "fell")


def test_a_counter_created_anew_counts_from_zero_though_it_did_not_fall() -> None:
    found = counter_change(Number(A, 5, 1000.0), Number(A, 7, 1010.0), 10)
    assert (found.delta, found.note) == (7, "created")
    found = counter_change(Number(A, 5, 1000.0), Number(A, 7, 1000.4), 10)
    assert (found.delta, found.note) == (2, "")


def test_a_restart_counts_from_zero_though_nothing_fell() -> None:
    found = counter_change(Number(A, 5), Number(A, 7), 10, restarted=True)
    assert (found.delta, found.note) == (7, "restart")


def test_a_counter_wraps_only_where_it_is_said_to() -> None:
    top = 2.0**32
    before, after = Number(A, top - 10), Number(A, 5)
    assert counter_change(before, after, 1).delta == 5
    found = counter_change(before, after, 1, wraps_at=top)
    assert (found.delta, found.note) == (15, "wrapped")
    assert counter_change(Number(A, top / 2), after, 1, wraps_at=top).note == "fell"


@pytest.mark.parametrize(("old", "new"), [(nan, 1), (1, nan), (inf, 1), (1, inf)])
def test_what_is_no_number_is_a_gap(old: float, new: float) -> None:
    found = counter_change(Number(A, old), Number(A, new), 10)
    assert isnan(found.delta)
    assert found.note == "no number"


def test_a_sum_that_fell_as_its_members_changed_is_a_gap() -> None:
    before, after = Number(A, 50, sources=1), Number(A, 10, sources=2)
    assert counter_change(before, after, 10).note == "members"
    grown = Number(A, 60, sources=2)
    assert counter_change(before, grown, 10).delta == 10


def test_no_time_no_rate() -> None:
    assert isnan(counter_change(Number(A, 5), Number(A, 25), 0).rate)


def test_a_histogram_gains_by_bucket() -> None:
    found = histogram_change(histogram(1, 3, 6, total=9), histogram(1, 5, 10, total=29), 10)
    assert (found.counts, found.sum, found.count) == ((0, 2, 2), 20, 4)
    assert (found.mean, found.rate, found.note) == (5, 0.4, "")


def test_any_bucket_that_fell_is_a_reset_though_the_count_grew() -> None:
    found = histogram_change(histogram(5, 6, 8), histogram(1, 7, 9, total=3), 10)
    assert (found.counts, found.sum, found.note) == ((1, 6, 2), 3, "fell")


def test_a_sum_may_fall_without_a_reset() -> None:
    found = histogram_change(histogram(1, 2, 3, total=5), histogram(4, 5, 6, total=-5), 10)
    assert (found.note, found.sum, found.count) == ("", -10, 3)


def test_other_bounds_alone_are_a_gap_and_with_a_fall_or_restart_a_reset() -> None:
    before, after = histogram(1, 3, 6), histogram(1, 5, 7, 20)
    found = histogram_change(before, after, 10)
    assert (found.note, found.counts) == ("bounds", ())
    assert isnan(found.count)
    assert isnan(found.quantile(0.5).value)
    assert histogram_change(before, after, 10, restarted=True).counts == (1, 4, 2, 13)
    fewer = histogram(0, 1, 1, 2)
    found = histogram_change(before, fewer, 10)
    assert (found.note, found.counts) == ("fell", (0, 1, 0, 1))


def test_buckets_read_in_mid_write_give_no_negative_count() -> None:
    found = histogram_change(histogram(0, 0, 0), histogram(4, 3, 5), 10)
    assert found.counts == (4, 0, 1)


def test_a_summary_gains_sum_and_count() -> None:
    before, after = Summary(A, sum=1.0, count=2.0), Summary(A, sum=4.0, count=4.0)
    found = summary_change(before, after, 10)
    assert (found.sum, found.count, found.mean, found.rate) == (3, 2, 1.5, 0.2)
    assert summary_change(after, before, 10).note == "fell"
    assert summary_change(Summary(A), after, 10).note == "no number"


# ---------------------------------------------------------------- quantiles


def change(bounds: tuple[float, ...], *counts: float) -> HistogramChange:
    return HistogramChange(A, bounds, counts, 0, sum(counts), 10)


def test_a_quantile_is_interpolated_between_bounds() -> None:
    assert change((1, 2, 4), 0, 10, 0, 0).quantile(0.5) == Quantile(1.5, "about")
    assert change((1, 2, 4), 0, 0, 4, 0).quantile(1) == Quantile(4, "about")


def test_a_quantile_in_the_lowest_bucket_is_at_most_its_bound() -> None:
    assert change((1, 2, 4), 10, 1, 0, 0).quantile(0.5) == Quantile(1, "at most")
    assert change((1, 2), 0, 0, 3).quantile(0) == Quantile(2, "at least")


def test_a_quantile_above_all_bounds_is_at_least_the_last() -> None:
    assert change((1, 2, 4), 1, 0, 0, 9).quantile(0.5) == Quantile(4, "at least")


def test_a_quantile_of_nothing_or_without_bounds_is_not_a_number() -> None:
    assert isnan(change((1, 2), 0, 0, 0).quantile(0.5).value)
    assert isnan(change((), 5).quantile(0.5).value)
    with pytest.raises(ValueError, match="0 to 1"):
        change((1,), 1, 1).quantile(95)


def test_a_share_is_told_at_bounds_only() -> None:
    found = change((1, 2, 4), 1, 2, 0, 1)
    assert found.share_to(2) == 0.75
    with pytest.raises(ValueError, match="not in tuple"):
        found.share_to(3)


def test_histograms_add_at_the_bounds_all_have() -> None:
    one, other = change((1, 2, 4), 1, 2, 3, 4), change((1, 4, 8), 10, 20, 30, 40)
    found = together([one, other, HistogramChange(A, (1,), (), nan, nan, 10, "bounds")], Key("b"))
    assert found is not None
    assert (found.bounds, found.counts) == ((1, 4), (11, 25, 74))
    assert found.count == 110
    assert together([], A) is None


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=200),
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=12, unique=True),
    st.floats(0, 1),
)
def test_a_quantile_never_lies_about_the_bucket(
    values: list[float], bounds: list[float], q: float
) -> None:
    bounds.sort()
    counts = [0.0] * (len(bounds) + 1)
    for value in values:
        counts[sum(bound < value for bound in bounds)] += 1
    found = HistogramChange(A, tuple(bounds), tuple(counts), 0, len(values), 1).quantile(q)
    ordered = sorted(values)
    # The value at the rank, and its neighbour: rounding may decide between the two.
    near = {ordered[min(len(values) - 1, max(0, int(q * len(values)) - less))] for less in (0, 1)}
    if found.sense == "at most":
        assert min(near) <= found.value
    elif found.sense == "at least":
        assert max(near) > found.value
    else:
        low = bounds[max(0, sum(bound < found.value for bound in bounds) - 1)]
        high = bounds[min(sum(bound <= found.value for bound in bounds), len(bounds) - 1)]
        assert any(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in near)


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=20))
def test_gains_add_up_to_what_was_counted(steps: list[list[int]]) -> None:
    total = [0.0] * 4
    before = histogram(*total)
    gained = [0.0] * 4
    for step in steps:
        total = [have + more for have, more in zip(total, step, strict=True)]
        after = histogram(*accumulate(total))
        found = histogram_change(before, after, 10)
        gained = [have + more for have, more in zip(gained, found.counts, strict=True)]
        before = after
    assert gained == total


# ---------------------------------------------------------------- of a server


def test_the_first_page_tells_nothing() -> None:
    server = Server()
    found = server.one("a 500\n")
    assert (found.note, isnan(found.delta)) == ("first", True)
    assert server.one("a 510\n").delta == 10


def test_real_pages_tell_what_happened_between_them() -> None:
    changes, reader = Changes(), Reader()
    for number, now_s in ((1, 100.0), (2, 110.0)):
        page = reader.read((PAGES / f"vllm-0.32.0.{number}.prom").read_bytes())
        found = changes.advance(page, now_s)
    by_name = {one.key.name: one for one in found if not one.key.label("finished_reason")}
    assert len(found) > 10
    assert not [one for one in found if one.note]
    tokens = by_name["vllm:prompt_tokens_total"]
    assert isinstance(tokens, CounterChange)
    assert tokens.delta > 0
    first = by_name["vllm:time_to_first_token_seconds"]
    assert isinstance(first, HistogramChange)
    assert first.count == sum(first.counts) > 0
    assert 0 < first.mean < 1


def test_a_series_that_comes_later_counts_from_zero() -> None:
    server = Server()
    server.page('# TYPE a counter\na{x="1"} 5\n')
    found = server.page('# TYPE a counter\na{x="1"} 5\na{x="2"} 3\n')
    assert [(one.delta, one.note) for one in found if isinstance(one, CounterChange)] == [
        (0, ""),
        (3, "new"),
    ]


def test_a_series_that_comes_after_a_page_that_was_not_whole_is_a_gap() -> None:
    server = Server()
    server.page('# TYPE a counter\na{x="1"} 5\nbroken\n')
    found = server.page('# TYPE a counter\na{x="1"} 5\na{x="2"} 3000\n')
    assert [one.note for one in found] == ["", "first"]


def test_a_series_older_than_the_page_before_is_a_gap() -> None:
    server = Server()
    text = "# TYPE a counter\n# TYPE b counter\nb_total 1\n"
    server.page(text, wall_s=1000.0)
    found = server.page(f"{text}a_total 70\na_created 500\n", wall_s=1010.0)
    assert [one.note for one in found if one.key.name == "a_total"] == ["first"]
    server = Server()
    server.page(text, wall_s=1000.0)
    found = server.page(f"{text}a_total 70\na_created 1005\n", wall_s=1010.0)
    assert [one.note for one in found if one.key.name == "a_total"] == ["new"]


def test_a_series_that_left_and_came_back_is_compared_with_what_it_was() -> None:
    server = Server()
    server.one("a 100\n")
    assert server.page("b 1\n") == []
    found = server.one("a 130\n")
    assert (found.delta, found.elapsed_s) == (30, 20)
    server.page("b 1\n")
    assert server.one("a 4\n").delta == 4


def test_a_series_gone_for_long_is_forgotten() -> None:
    server = Server(forget_after=3)
    server.one("a 100\n")
    for _ in range(3):
        server.page("b 1\n")
    assert server.changes.remembered == 0


def test_a_moved_start_time_is_a_restart_of_everything() -> None:
    server = Server()
    start = "process_start_time_seconds {}\na {}\n"
    server.one(start.format(1000, 5))
    assert server.one(start.format(1000.6, 6)).note == ""
    found = server.one(start.format(5000, 9), wall_s=5003)
    assert (found.delta, found.note) == (9, "restart")
    assert server.changes.restarted
    assert server.one(start.format(5000, 10)).note == ""
    assert not server.changes.restarted


def test_a_restart_while_a_series_was_away_is_a_restart_for_it() -> None:
    server = Server()
    server.one("process_start_time_seconds 1000\na 5\n")
    server.page("process_start_time_seconds 5000\n")
    found = server.one("process_start_time_seconds 5000\na 9\n")
    assert (found.delta, found.note) == (9, "restart")


def test_workers_that_answer_in_turn_give_gaps_not_spikes() -> None:
    server = Server()
    deltas = []
    for turn in range(30):
        start, base = ((1000, 100_000), (1003, 50))[turn % 2]
        found = server.one(
            f"process_start_time_seconds {start}\na {base + turn}\n", wall_s=2000.0 + 10 * turn
        )
        deltas.append(found.delta)
    assert server.changes.mixed
    assert all(isnan(delta) for delta in deltas)
    for turn in range(30, 50):
        found = server.one(
            f"process_start_time_seconds 1000\na {turn}\n", wall_s=2000.0 + 10 * turn
        )
    assert (found.delta, found.note) == (1, "")
    assert not server.changes.mixed


def test_a_process_that_takes_over_is_one_gap() -> None:
    server = Server()
    server.one("process_start_time_seconds 1000\na 7000\n", wall_s=2000)
    found = server.one("process_start_time_seconds 1900\na 900\n", wall_s=2010)
    assert (found.note, isnan(found.delta)) == ("workers", True)
    assert server.one("process_start_time_seconds 1900\na 905\n", wall_s=2020).delta == 5


def test_a_counter_that_falls_again_and_again_is_unsteady_until_it_rests() -> None:
    server = Server()
    notes = [server.one(f"a {(9000, 20)[turn % 2] + turn}\n").note for turn in range(12)]
    assert notes[-1] == "unsteady"
    assert notes.count("fell") == 2
    for turn in range(12):
        found = server.one(f"a {20_000 + turn}\n")
    assert (found.delta, found.note) == (1, "")


def test_a_gauge_that_counts_is_followed_when_named() -> None:
    server = Server(counters=["g"])
    server.page("# TYPE g gauge\n# TYPE h gauge\ng 5\nh 5\n")
    (found,) = server.page("# TYPE g gauge\n# TYPE h gauge\ng 8\nh 8\n")
    assert isinstance(found, CounterChange)
    assert (found.key.name, found.delta) == ("g", 3)


def test_only_what_is_asked_for_is_told() -> None:
    changes, reader = Changes(), Reader()
    body = (PAGES / "vllm-0.32.0.1.prom").read_bytes()
    names = ["vllm:prompt_tokens_total", "vllm:not_there"]
    changes.advance(reader.read(body), 1, names=names)
    (found,) = changes.advance(reader.read(body), 2, names=names)
    assert found.key.name == names[0]
    assert changes.remembered == 1


def test_a_page_that_is_not_later_tells_nothing() -> None:
    changes, reader = Changes(), Reader()
    page = reader.read(b"# TYPE a counter\na 1\n")
    assert changes.advance(page, 10.0)
    assert changes.advance(page, 10.0) == []
    assert changes.advance(page, 9.0) == []


def test_summaries_and_histograms_that_come_later_are_whole() -> None:
    server = Server()
    text = "# TYPE s summary\n# TYPE h histogram\n"
    server.page(f"{text}other 1\n")
    found = server.page(f'{text}s_sum 4\ns_count 2\nh_bucket{{le="1"}} 2\nh_count 3\nh_sum 9\n')
    summary, whole = found
    assert isinstance(summary, SummaryChange)
    assert isinstance(whole, HistogramChange)
    assert (summary.count, summary.sum, summary.note) == (2, 4, "new")
    assert (whole.counts, whole.sum, whole.note) == ((2, 1), 9, "new")


def test_a_client_that_leaves_a_sum_is_no_restart() -> None:
    reader, changes = Reader(Choice(), Caps()), Changes()
    head = "# TYPE r counter\n"
    pages = [
        'r{client_ip="1"} 100\nr{client_ip="2"} 5\n',
        'r{client_ip="1"} 110\nr{client_ip="2"} 6\n',
        'r{client_ip="2"} 7\n',
        'r{client_ip="2"} 9\nr{client_ip="3"} 4\n',
    ]
    deltas = []
    for second, page in enumerate(pages):
        (found,) = changes.advance(reader.read((head + page).encode()), second)
        assert isinstance(found, CounterChange)
        assert found.key == Key("r")
        deltas.append((found.delta, found.note))
    assert isnan(deltas[0][0])
    assert deltas[1] == (11, "")
    assert deltas[2][1] == "members"
    assert deltas[3] == (6, "")
