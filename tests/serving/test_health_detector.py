"""The bars of the detector ``model_health`` and what it looks at."""

from __future__ import annotations

import numpy as np
import pytest

from vedette.api import Duration, Series, Window
from vedette.serving import health_series as series
from vedette.serving.collector import ModelServers
from vedette.serving.vocabulary import SIGNALS
from vedette_plugins.model_health import ModelHealth, ModelHealthConfig

PLACE = ("127.0.0.1:8000", "vllm", "engine", "toy")
BURN = ("chat", "availability")


def window(readings: dict[Series, float], generation: int = 1) -> Window:
    values = np.array([[value] for value in readings.values()], dtype=np.float32)
    return Window(np.array([10**18]), values, list(readings), generation)


def score(readings: dict[Series, float], **config: object) -> list[float]:
    judge = ModelHealth(ModelHealthConfig(**config))  # type: ignore[arg-type]
    return [float(one) for one in judge.score(window(readings), {})]


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.0, 0.0), (28.9, 0.95), (30.0, 1.0), (119.0, 1.0), (120.0, 2.0)]
)
def test_a_bar_has_a_grade_below_and_one_above(value: float, wanted: float) -> None:
    assert score({series.STALLED.series(*PLACE): value}) == [pytest.approx(wanted)]


def test_what_was_not_read_and_what_is_not_its_has_no_opinion() -> None:
    other = SIGNALS["vedette.model.requests.waiting"].instrument.series(*PLACE, "")
    found = score({series.STALLED.series(*PLACE): float("nan"), other: 1e9})
    assert np.isnan(found).all()
    assert np.isnan(score({series.STALLED.series(*PLACE): 0.0, other: 1e9})[1])


def test_a_queue_rings_the_sooner_the_longer_the_wait_is() -> None:
    time, wait = series.QUEUE_TIME.series(*PLACE), series.QUEUE_WAIT.series(*PLACE)
    assert score({time: 30.0, wait: 9.0})[0] == 0
    assert score({time: 30.0, wait: 10.0})[0] == 1
    assert score({time: 20.0, wait: 29.0})[0] == 0
    assert score({time: 20.0, wait: 30.0})[0] == 1
    assert score({time: 60.0, wait: 1.0})[0] == 1
    assert score({time: 20.0})[0] == 0  # a server that tells no wait
    assert score({time: 30.0})[0] == 1


def test_the_kv_cache_ahead_can_be_switched_off() -> None:
    reading = {series.FULL_IN.series(*PLACE): 120.0}
    assert score(reading) == [1.0]
    assert score(reading, kv_cache_ahead=Duration(0)) == [0.0]
    assert score({series.FULL_IN.series(*PLACE): 3600.0}) == [0.0]


def burning(
    long: float, short: float, misses: float, spans: tuple[str, str]
) -> dict[Series, float]:
    return {
        series.BURN_RATE.series(*PLACE, *BURN, spans[0]): long,
        series.BURN_RATE.series(*PLACE, *BURN, spans[1]): short,
        series.MISSES.series(*PLACE, *BURN, spans[0]): misses,
    }


@pytest.mark.parametrize(
    ("spans", "rate", "wanted"),
    [(("1h", "5m"), 14.4, 2.0), (("6h", "30m"), 6.0, 1.0), (("3d", "6h"), 1.0, 1.0)],
)
def test_both_windows_have_to_burn_for_enough_misses(
    spans: tuple[str, str], rate: float, wanted: float
) -> None:
    assert score(burning(rate + 0.1, rate + 0.1, 5, spans))[0] == wanted
    assert score(burning(rate + 0.1, rate * 0.9, 5, spans))[0] < 1
    assert score(burning(rate * 0.9, rate + 0.1, 5, spans))[0] < 1
    assert score(burning(rate + 0.1, rate + 0.1, 4, spans))[0] == 0


def test_rows_are_found_anew_with_another_generation() -> None:
    judge = ModelHealth(ModelHealthConfig())
    one, other = series.STALLED.series(*PLACE), ModelServers.silence.series(*PLACE[:2])
    assert judge.score(window({one: 50.0}), {})[0] == 1
    assert judge.score(window({other: 20.0, one: 0.0}, 2), {}).tolist() == [1, 0]


def test_words_are_of_the_same_server_and_model_alone() -> None:
    judge = ModelHealth(ModelHealthConfig())
    waiting = SIGNALS["vedette.model.requests.waiting"].instrument
    readings = {
        series.QUEUE_TIME.series(*PLACE): 70.0,
        series.QUEUE_WAIT.series(*PLACE): 12.0,
        waiting.series(*PLACE, "1"): 5.0,
        waiting.series(*PLACE, "2"): 6.0,
        waiting.series(*PLACE[:3], "other", ""): 100.0,
        waiting.series("127.0.0.1:9", *PLACE[1:], ""): 1000.0,
    }
    found = window(readings)
    judge.score(found, {})
    text = judge.explain(found, {}, 0).text
    assert text == "a queue that lasts, a request waits for about 12 s; 11 waiting"


def test_a_kv_cache_is_told_with_the_fullest_of_the_last_minute() -> None:
    judge = ModelHealth(ModelHealthConfig())
    kv = SIGNALS["vedette.model.kv_cache.utilization"].instrument.series(*PLACE, "")
    told = [series.QUEUE_TIME.series(*PLACE), kv]
    values = np.array([[0, 50, 60, 70], [0.5, 0.99, np.nan, 0.64]], dtype=np.float32)
    times = np.array([-90, -20, -10, 0]) * 10**9 + 10**18
    found = Window(times, values, told, 1)
    judge.score(found, {})
    words = "the KV cache is 64 % full, in the last minute up to 99 %"
    assert judge.explain(found, {}, 0).text == f"a queue that lasts; {words}"
    early = Window(times, np.where(values == np.float32(0.99), 0.6, values), told, 1)
    assert judge.explain(early, {}, 0).text.endswith("is 64 % full and not what is short")


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="failures = 5 is not above 0 and at most 1"):
        ModelHealthConfig(failures=5)
