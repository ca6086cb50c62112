"""Whose figures a page's rows are, what a minute is, and what one model's watch makes of both."""

from __future__ import annotations

from math import isnan, nan

import pytest
from page_cases import mapped

from vedette.serving.health_figures import Figures, Minute, figures
from vedette.serving.health_usual import Usual
from vedette.serving.health_watch import Watch

PLACE = ("127.0.0.1:8000", "x", "engine", "m")


def last(name: str) -> dict[tuple[str, str], Figures]:
    return figures(mapped(name)[-1].rows)


# ---------------------------------------------------------------- whose they are


def test_of_one_model_all_that_its_server_tells_is_its() -> None:
    ((group, its),) = last("vllm-0.32.0").items()
    assert group == ("engine", "tiny-llama")
    # Errors by HTTP name no model.
    assert {"ok", "client_error", "server_error", "rejected"} <= its.gains.keys()


def test_of_several_models_each_has_its_own_and_what_names_none_is_of_all() -> None:
    found = last("mlserver-1.7.1")
    steps = mapped("mlserver-1.7.1")
    assert found.keys() == {("engine", "iris"), ("engine", "slow"), ("engine", "")}
    ok = {
        row.attribute("gen_ai.request.model"): row.gain
        for row in steps[-1].rows
        if row.attribute("vedette.model.outcome") == "ok"
    }
    assert found["engine", "iris"].gains["ok"] == ok["iris"]
    assert found["engine", ""].gains["ok"] == sum(x for x in ok.values() if isinstance(x, float))


def test_a_name_that_a_client_got_wrong_is_no_model() -> None:
    models = {model for _, model in last("mlserver-1.7.1")}
    assert "nope" not in models
    # LiteLLM: of `other` there is nothing but errors of clients.
    assert "other" not in {model for _, model in last("litellm-1.109.1")}


def test_gateway_and_engine_of_one_page_are_apart() -> None:
    layers = {layer for layer, _ in last("rayserve-2.60.0")}
    assert {"gateway", "engine"} <= layers


def test_a_device_is_no_model() -> None:
    assert last("dcgm-exporter-readme") == {}


def test_the_first_page_has_amounts_and_no_gains() -> None:
    ((_, its),) = figures(mapped("vllm-0.32.0")[0].rows).items()
    assert its.now["kv"] == 0
    assert its.gains == {}


# ---------------------------------------------------------------- the minute


def test_a_minute_forgets_what_is_older() -> None:
    minute = Minute()
    for tick in range(1, 20):
        minute.add(10.0 * tick, 10.0, {"ok": 1.0, "first.sum": 2.0, "first.count": 4.0})
    assert minute.total("ok") in (6, 7)
    assert minute.mean("first") == 0.5
    assert isnan(minute.mean("gap"))
    assert not minute.tells("rejected")


def test_a_server_that_is_read_each_second_is_bounded_to_a_minute() -> None:
    minute = Minute()
    for tick in range(1000):
        minute.add(float(tick), 1.0, {"ok": 1.0})
    assert 60 <= minute.length_s <= 64


# ---------------------------------------------------------------- the watch


def told(watch: Watch) -> dict[str, float]:
    return {one.series.instrument.name: one.value for one in watch.samples(PLACE)}


def test_failures_in_bursts_of_a_batch_are_told_as_that() -> None:
    watch = Watch(0.0)
    for tick in range(1, 50):
        failed = {13: 8.0, 26: 16.0, 39: 8.0}.get(tick, 0.0)
        gains = {"ok": 40.0, "server_error": failed, "batch.sum": 80.0, "batch.count": 10.0}
        watch.step(10.0 * tick, 10.0, Figures(gains=gains))
    assert told(watch)["vedette.model.failures.burst"] == pytest.approx(32 / 3)


def test_failures_that_trickle_in_are_no_bursts() -> None:
    watch = Watch(0.0)
    for tick in range(1, 50):
        gains = {
            "ok": 40.0,
            "server_error": float(tick % 4),
            "batch.sum": 80.0,
            "batch.count": 10.0,
        }
        watch.step(10.0 * tick, 10.0, Figures(gains=gains))
    assert told(watch)["vedette.model.failures.burst"] == 0


def test_what_a_server_tells_nothing_of_has_no_series() -> None:
    watch = Watch(0.0)
    for tick in range(1, 5):
        watch.step(10.0 * tick, 10.0, Figures(gains={"first.sum": 1.0, "first.count": 9.0}))
    assert told(watch) == {}


def test_errors_whose_fault_is_not_told_ring_from_half_of_all_on() -> None:
    few, many = Watch(0.0), Watch(0.0)
    for tick in range(1, 8):
        few.step(10.0 * tick, 10.0, Figures(gains={"ok": 70.0, "failed": 30.0}))
        many.step(10.0 * tick, 10.0, Figures(gains={"ok": 30.0, "failed": 70.0}))
    assert told(few)["vedette.model.failures.least"] == 0
    assert told(few)["vedette.model.failures.share"] == pytest.approx(0.3)
    assert told(many)["vedette.model.failures.least"] > 0.6


def test_those_worked_on_among_those_that_wait_are_no_queue() -> None:
    """Mosec counts all tasks: two clients that ask one after the other wait for each other."""
    watch = Watch(0.0)
    for tick in range(1, 30):
        gains = {"ok": 2.0, "compute .sum": 10.0, "compute .count": 2.0}
        watch.step(10.0 * tick, 10.0, Figures(now={"waiting": 2.0}, gains=gains, whole=True))
    assert told(watch)["vedette.model.queue.wait"] == pytest.approx(10.0)
    assert told(watch)["vedette.model.queue.time"] == 0


def test_a_time_in_the_queue_is_enough_where_no_queue_is_told() -> None:
    """TorchServe: the time that requests spent in it, and no length."""
    watch = Watch(0.0)
    for tick in range(1, 10):
        gains = {
            "ok": 20.0, "queue.sum": 100.0, "queue.count": 20.0,
            "request.sum": 110.0, "request.count": 20.0,
        }  # fmt: skip
        watch.step(10.0 * tick, 10.0, Figures(gains=gains))
    assert told(watch)["vedette.model.queue.wait"] == 5.0
    assert told(watch)["vedette.model.queue.time"] >= 60


def test_an_odd_clock_breaks_nothing() -> None:
    watch = Watch(0.0)
    for now_s, elapsed_s in ((10.0, 10.0), (10.0, 0.0), (5.0, -5.0), (20.0, nan), (30.0, 10.0)):
        watch.step(now_s, elapsed_s, Figures(now={"waiting": 1.0}, gains={"ok": 1.0}))
    assert all(value == value for value in told(watch).values())


# ---------------------------------------------------------------- the usual


def test_the_usual_is_learned_in_ten_minutes_and_follows_slowly() -> None:
    usual = Usual()
    for _ in range(59):
        usual.learn(1.0, 10.0)
        assert isnan(usual.ratio(2.0))
    for _ in range(120):
        usual.learn(1.0, 10.0)
    assert usual.ratio(3.0) == pytest.approx(3.0)
    for _ in range(360):  # an hour of trouble
        usual.learn(5.0, 10.0)
    assert usual.ratio(5.0) > 1.5
    for _ in range(3000):  # and after nine it is how things are
        usual.learn(5.0, 10.0)
    assert usual.ratio(5.0) == pytest.approx(1.0, abs=0.2)


def test_what_is_no_number_teaches_nothing() -> None:
    usual = Usual()
    for value in (nan, float("inf"), -1.0):
        usual.learn(value, 10.0)
    assert isnan(usual.value)
