"""The exponential histogram, against the OpenTelemetry SDK and against all readings at once."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import (
    ExponentMapping,
)
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import (
    LogarithmMapping,
)

from vedette.histogram import ExponentialHistogram, bucket_middle, upper_bound
from vedette.histograms import Histograms, bucket_indexes, histogram_of

NAN, INF = math.nan, math.inf
SMALLEST_NORMAL = 2.0**-1022

readings = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=SMALLEST_NORMAL, allow_infinity=False)
#: What a host's series look like: a few orders of magnitude, with zeros and signs.
plain = st.one_of(st.just(0.0), st.floats(-1e6, 1e6), st.floats(0.5, 50.0))
sets = st.lists(st.one_of(plain, readings), max_size=40)
scales = st.integers(0, 8)


def sdk_mapping(scale: int) -> ExponentMapping | LogarithmMapping:
    return LogarithmMapping(scale) if scale > 0 else ExponentMapping(scale)


def of(values: list[float], scale: int = 5, max_buckets: int = 160) -> ExponentialHistogram:
    return histogram_of(np.array(values, dtype=np.float64), scale, max_buckets)


def same(a: ExponentialHistogram, b: ExponentialHistogram) -> None:
    """Equal in everything but the rounding of the sum."""
    for field in ExponentialHistogram.__struct_fields__:
        if field != "sum":
            assert getattr(a, field) == getattr(b, field), field
    assert (a.sum is None) == (b.sum is None)
    if a.sum is not None and b.sum is not None:
        magnitude = max(abs(x or 0.0) for x in (a.min, a.max)) * a.count
        assert a.sum == b.sum or abs(a.sum - b.sum) <= 1e-12 * magnitude or math.isinf(magnitude)


# ---------------------------------------------------------------- indexes


@settings(max_examples=400)
@given(value=positive, scale=st.integers(-10, 20))
def test_indexes_are_those_of_the_opentelemetry_sdk(value: float, scale: int) -> None:
    index = int(bucket_indexes(np.array([value]), scale)[0])
    expected = sdk_mapping(scale).map_to_index(value)
    if index != expected:
        # Only where the value lies on a boundary within the rounding of a logarithm.
        assert abs(index - expected) == 1
        nearest = max(index, expected)
        assert math.log2(value) * 2.0**scale == pytest.approx(nearest, rel=1e-12, abs=1e-8)
        assert scale > 0


@pytest.mark.parametrize("scale", [-10, -3, -1, 0, 1, 3, 5, 8, 20])
def test_every_power_of_two_closes_its_bucket(scale: int) -> None:
    exponents = np.arange(-1074, 1024)
    indexes = bucket_indexes(np.ldexp(1.0, exponents), scale)
    exact = [(int(e) << scale) - 1 if scale >= 0 else (int(e) - 1) >> -scale for e in exponents]
    assert indexes.tolist() == exact


def test_a_bucket_includes_its_upper_bound_and_not_its_lower() -> None:
    for scale in (0, 3, 5):
        below, on, above = np.nextafter(4.0, 0.0), 4.0, np.nextafter(4.0, 8.0)
        indexes = bucket_indexes(np.array([below, on, above]), scale)
        assert indexes[0] == indexes[1] == indexes[2] - 1


def test_subnormal_numbers_keep_their_own_buckets() -> None:
    indexes = bucket_indexes(np.array([5e-324, 1e-323, 1.5e-323, 2.0**-1030]), 0)
    assert indexes.tolist() == [-1075, -1074, -1073, -1031]


@given(value=positive, scale=st.integers(0, 8))
def test_a_value_lies_within_the_bounds_of_its_bucket(value: float, scale: int) -> None:
    index = int(bucket_indexes(np.array([value]), scale)[0])
    lower, upper = upper_bound(index - 1, scale), upper_bound(index, scale)
    # The bound itself is rounded: by its exponent's last place, magnified by the exponent.
    assert lower * (1 - 1e-12) <= value <= upper * (1 + 1e-12)
    assert lower <= bucket_middle(index, scale) <= upper


def test_bounds_of_an_absurd_scale_are_zero_or_infinite_and_raise_nothing() -> None:
    assert upper_bound(5, -2_000) == INF
    assert upper_bound(-5, -2_000) == 0.0
    assert bucket_middle(2**31 - 1, -10) == INF
    assert bucket_middle(-(2**31), 0) == 0.0
    assert upper_bound(7, 2**31 - 1) == 1.0


# ---------------------------------------------------------------- building


def test_signs_and_zeros_are_counted_apart() -> None:
    made = of([1.5, 3.0, 3.0, -6.0, 0.0, -0.0], scale=0)
    assert (made.zero_count, made.positive, made.positive_offset) == (2, (1, 2), 0)
    assert (made.negative, made.negative_offset) == ((1,), 2)
    assert (made.count, made.sum, made.min, made.max) == (6, 1.5, -6.0, 3.0)


def test_not_read_and_infinite_are_left_out_and_the_infinite_counted() -> None:
    batch = Histograms.of(np.array([[1.0, NAN, INF], [-INF, NAN, NAN]]))
    assert batch.count.tolist() == [1, 0]
    assert batch.infinite == 2
    made = of([1.0, NAN, INF])
    assert (made.count, made.sum, made.min, made.max) == (1, 1.0, 1.0, 1.0)


def test_no_readings_make_an_empty_histogram() -> None:
    made = of([])
    assert (made.count, made.sum, made.min, made.max) == (0, None, None, None)
    assert math.isnan(made.quantile(0.5))
    assert math.isnan(made.mean)
    assert len(Histograms.of(np.empty((0, 60)))) == 0
    assert Histograms.of(np.empty((3, 0))).count.tolist() == [0, 0, 0]


def test_a_sum_past_float64_is_infinite_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    made = of([1.7e308, 1.7e308])
    assert made.sum == INF
    assert made.quantile(0.5) == pytest.approx(1.7e308, rel=0.011)
    assert not recwarn.list


def test_the_largest_number_of_float64_has_a_bucket_and_a_quantile() -> None:
    largest = float(np.finfo(np.float64).max)
    assert of([largest] * 3).quantile(0.5) == largest


@given(values=sets, scale=scales, max_buckets=st.integers(2, 40))
def test_the_scale_is_the_largest_that_fits_the_buckets(
    values: list[float], scale: int, max_buckets: int
) -> None:
    made = of(values, scale, max_buckets)
    assert made.count == len(values)
    assert max(len(made.positive), len(made.negative)) <= max_buckets
    assert made.scale <= scale
    if made.scale < scale:
        finer = of(values, made.scale + 1, 10**6)
        assert max(len(finer.positive), len(finer.negative)) > max_buckets


@given(values=st.lists(sets, max_size=6), scale=scales)
def test_a_batch_equals_one_histogram_per_series(values: list[list[float]], scale: int) -> None:
    block = np.full((len(values), 40), NAN)
    for row, some in enumerate(values):
        block[row, : len(some)] = some
    batch = Histograms.of(block, scale)
    for row, some in enumerate(values):
        alone = of(some, scale)
        assert batch.at(row) == ExponentialHistogram(
            alone.scale,
            alone.zero_count,
            alone.positive_offset,
            alone.positive,
            alone.negative_offset,
            alone.negative,
        )


def test_a_batch_worked_on_in_chunks_equals_one_in_a_single_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block = np.random.default_rng(7).normal(size=(50, 60)) ** 5
    block[3] = NAN
    block[9] = 0.0
    whole = Histograms.of(block)
    monkeypatch.setattr("vedette.histograms.CHUNK", 7 * 60)
    pieces = Histograms.of(block)
    assert [whole.at(row) for row in range(50)] == [pieces.at(row) for row in range(50)]
    assert np.array_equal(whole.count, pieces.count)


def test_series_that_are_not_wanted_get_an_empty_histogram() -> None:
    batch = Histograms.of(np.array([[1.0, 2.0], [3.0, INF]]), wanted=np.array([True, False]))
    assert batch.count.tolist() == [2, 0]
    assert batch.infinite == 0


@pytest.mark.parametrize(("scale", "buckets"), [(21, 160), (-11, 160), (5, 1)])
def test_a_scale_or_size_out_of_range_is_refused(scale: int, buckets: int) -> None:
    with pytest.raises(ValueError, match=f"got {scale if buckets > 1 else buckets}"):
        Histograms.of(np.ones((1, 1)), scale, buckets)


# ---------------------------------------------------------------- merge and downscale


@given(a=sets, b=sets, scale=scales, max_buckets=st.integers(2, 160))
def test_a_merge_is_the_histogram_of_all_readings(
    a: list[float], b: list[float], scale: int, max_buckets: int
) -> None:
    merged = of(a, scale, max_buckets).merge(of(b, scale, max_buckets), max_buckets)
    same(merged, of(a + b, scale, max_buckets))


@given(a=sets, b=sets, c=sets, by=st.tuples(scales, scales, scales))
def test_a_merge_is_commutative_and_associative(
    a: list[float], b: list[float], c: list[float], by: tuple[int, int, int]
) -> None:
    x, y, z = (of(values, scale) for values, scale in zip((a, b, c), by, strict=True))
    same(x.merge(y), y.merge(x))
    same(x.merge(y).merge(z), x.merge(y.merge(z)))


@given(values=sets, scale=scales, by=st.integers(0, 10))
def test_a_downscale_is_the_histogram_made_at_that_scale(
    values: list[float], scale: int, by: int
) -> None:
    fine = of(values, scale, 10**6)
    assume(max(len(fine.positive), len(fine.negative)) < 10**6)
    assert fine.downscale(scale - by) == of(values, scale - by, 10**6)


def test_a_histogram_is_never_refined() -> None:
    with pytest.raises(ValueError, match="scale 3 to scale 4"):
        of([1.0], scale=3).downscale(4)


def test_an_empty_or_zero_only_histogram_does_not_coarsen_a_merge() -> None:
    assert of([], scale=0).merge(of([3.0], scale=5)).scale == 5
    assert of([0.0], scale=0).merge(of([3.0], scale=5)).scale == 5
    assert of([], scale=0).merge(of([0.0], scale=5)).scale == 0


def test_what_one_side_does_not_know_the_merge_does_not_know() -> None:
    blind = ExponentialHistogram(scale=5, positive=(2,), positive_offset=3)
    merged = of([1.0, 2.0]).merge(blind)
    assert (merged.sum, merged.min, merged.max) == (None, None, None)
    known = of([1.0, 2.0]).merge(ExponentialHistogram(scale=5))
    assert (known.sum, known.min, known.max) == (3.0, 1.0, 2.0)


def test_foreign_indexes_at_the_ends_of_32_bits_merge_within_the_buckets() -> None:
    low = ExponentialHistogram(scale=20, positive_offset=-(2**31), positive=(1, 1))
    high = ExponentialHistogram(scale=20, positive_offset=2**31 - 2, positive=(1, 1))
    merged = low.merge(high)
    assert merged.count == 4
    assert len(merged.positive) <= 160
    coarse = ExponentialHistogram(scale=-1_000, positive_offset=5, positive=(7,))
    assert low.merge(coarse).count == 9


def test_a_merge_refuses_a_single_bucket_instead_of_searching_for_ever() -> None:
    with pytest.raises(ValueError, match="at least 2 buckets"):
        of([0.5, 1.5]).merge(of([1.0]), max_buckets=1)


def test_the_larger_zero_threshold_swallows_the_buckets_below_it() -> None:
    fine = of([0.1, 0.4, 3.0, -0.2], scale=0)
    wide = ExponentialHistogram(scale=0, zero_count=5, zero_threshold=0.25)
    merged = fine.merge(wide)
    # 0.1 and 0.2 lie below; 0.4 in (0.25, 0.5] does not.
    assert (merged.zero_count, merged.zero_threshold, merged.count) == (7, 0.25, 9)
    assert merged.positive[0] == 1
    assert merged.positive_offset == -2
    same(merged, wide.merge(fine))


def test_a_zero_threshold_within_a_bucket_rises_to_its_bound_on_both_sides() -> None:
    fine = of([0.4], scale=0)
    wide = ExponentialHistogram(
        scale=0, zero_count=1, zero_threshold=0.3, positive_offset=-2, positive=(1, 1)
    )
    merged = fine.merge(wide)
    assert (merged.zero_threshold, merged.zero_count, merged.positive) == (0.5, 3, (1,))
    same(merged, wide.merge(fine))


def test_a_zero_threshold_that_rises_on_the_second_side_rises_on_the_first() -> None:
    wide = ExponentialHistogram(
        scale=0, zero_count=1, zero_threshold=0.3, positive_offset=-2, positive=(1,)
    )
    merged = of([3.0], scale=0).merge(wide)
    assert (merged.zero_threshold, merged.zero_count, merged.positive) == (0.5, 2, (1,))
    same(merged, wide.merge(of([3.0], scale=0)))


# ---------------------------------------------------------------- quantiles


@settings(max_examples=300)
@given(
    values=st.lists(st.one_of(plain, readings), min_size=1, max_size=40),
    q=st.one_of(st.sampled_from([0.0, 0.5, 0.7, 0.95, 0.99, 1.0]), st.floats(0.0, 1.0)),
    scale=scales,
)
def test_a_quantile_is_within_the_error_of_the_scale(
    values: list[float], q: float, scale: int
) -> None:
    made = of(values, scale)
    rank = max(math.ceil(round(q * len(values), 9)), 1)
    exact = sorted(values)[rank - 1]
    bound = math.expm1(0.5 * math.log(2.0) * 2.0**-made.scale) if made.scale > -6 else INF
    assert abs(made.quantile(q) - exact) <= abs(exact) * (bound + 1e-9) + 5e-324
    assert min(values) <= made.quantile(q) <= max(values)


@given(values=st.lists(plain, min_size=1, max_size=40), q=st.floats(0.0, 1.0), scale=scales)
def test_a_quantile_without_known_ends_is_within_the_error_too(
    values: list[float], q: float, scale: int
) -> None:
    made = msgspec.structs.replace(of(values, scale), min=None, max=None)
    exact = sorted(values)[max(math.ceil(round(q * len(values), 9)), 1) - 1]
    bound = math.expm1(0.5 * math.log(2.0) * 2.0**-made.scale) if made.scale > -6 else INF
    assert abs(made.quantile(q) - exact) <= abs(exact) * (bound + 1e-9) + 5e-324


def test_at_scale_5_the_error_is_about_one_per_cent() -> None:
    values = np.random.default_rng(1).lognormal(0.0, 0.8, 10_000)
    made = histogram_of(values, 5, 10_000)
    for q in (0.01, 0.5, 0.9, 0.99):
        exact = np.quantile(values, q, method="inverted_cdf")
        assert made.quantile(q) == pytest.approx(exact, rel=0.0109)


def test_the_ends_are_the_smallest_and_the_largest_reading() -> None:
    made = of([-7.3, 0.0, 2.2, 9.1])
    assert (made.quantile(0.0), made.quantile(1.0)) == (-7.3, 9.1)
    assert made.quantile(0.5) == 0.0
    assert made.mean == pytest.approx(1.0)


def test_a_constant_series_answers_its_value_for_every_quantile() -> None:
    assert {of([0.3] * 60).quantile(q) for q in (0.0, 0.5, 1.0)} == {0.3}


@pytest.mark.parametrize("q", [-0.1, 1.1, NAN])
def test_a_quantile_outside_of_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        of([1.0]).quantile(q)
