"""SLOs of models: what counts, how fast budgets burn, what rings, and what a restart keeps."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from health_cases import Engine, Host

from vedette.api import Duration
from vedette.exposition.change import HistogramChange
from vedette.exposition.model import Key
from vedette.serving.collector import ModelServersConfig
from vedette.serving.health import BUDGETS_MAX
from vedette.serving.health_slo import WINDOWS, Budget, Ring, within
from vedette.serving.health_watch import wilson
from vedette.serving.slo import Slo

AVAILABLE = Slo(model="toy*", availability=0.999)
HOUR, DAY = 3600.0, 86_400.0


def run(
    host: Host, engine: Engine, minutes: float, *, bad: float = 0.0, every_s: float = 60
) -> None:
    """Serve 80 requests a reading, a part of which fail."""
    for _ in range(int(minutes * 60 / every_s)):
        engine.finish(80)
        engine.refuse("5xx", 80 * bad / (1 - bad) if bad else 0.0)
        host.serve(engine.page())
        host.tick(every_s)


# ---------------------------------------------------------------- windows


def test_windows_add_up_to_what_a_plain_list_says() -> None:
    chance = random.Random(5)
    budget, events, wall_s = Budget(0.0, 720), [], 1_795_183_200.0
    budget.since_s = wall_s - 40 * DAY
    for _ in range(4000):
        wall_s += chance.choice((10, 60, 600, 7200))
        total = chance.randrange(50)
        missed = chance.randrange(total + 1)
        budget.add(wall_s, total, missed)
        events.append((wall_s, total, missed))
    for _, ring, slots in WINDOWS:
        slot_s = budget.rings[ring].slot_s
        first = int(wall_s // slot_s) - slots + 1
        inside = [(total, missed) for at, total, missed in events if at // slot_s >= first]
        want = sum(total for total, _ in inside), sum(missed for _, missed in inside)
        assert budget.rings[ring].last(slots) == want


def test_a_clock_that_is_set_back_loses_nothing_and_one_set_on_clears_what_is_old() -> None:
    ring = Ring(60, 60)
    ring.add(10_000, 10, 1)
    ring.add(9_000, 10, 1)
    assert ring.last(60) == (20, 2)
    ring.add(10_000 + 40 * DAY, 5, 0)
    assert ring.last(60) == (5, 0)


def test_a_window_that_is_not_filled_counts_what_is_missing_as_without_errors() -> None:
    budget = Budget(0.0)
    for minute in range(30):
        budget.add(minute * 60.0, 100, 2)
    rate, missed = budget.burnt(1800.0, 0, 60, 0.001)  # an hour, half of it seen
    assert (rate, missed) == (pytest.approx(0.02 / 0.001 / 2), 60)
    assert budget.burnt(1800.0, 0, 30, 0.001)[0] == pytest.approx(20)


# ---------------------------------------------------------------- buckets


def change(
    counts: tuple[float, ...], bounds: tuple[float, ...] = (0.5, 1.0, 2.5)
) -> HistogramChange:
    return HistogramChange(Key("x"), bounds, counts, 0.0, sum(counts), 10.0)


@pytest.mark.parametrize(
    ("bound", "missed", "used"), [(1.0, 7, 1.0), (2.0, 7, 1.0), (2.5, 3, 2.5), (99.0, 3, 2.5)]
)
def test_a_bound_between_buckets_counts_by_the_next_one_below(
    bound: float, missed: float, used: float
) -> None:
    assert within([change((10, 5, 4, 3))], bound) == (22, missed, used)


def test_below_the_lowest_bucket_or_without_buckets_nothing_is_counted() -> None:
    assert within([change((10, 5, 4, 3))], 0.4) is None
    assert within([HistogramChange(Key("x"), (), (5.0,), 9.0, 5.0, 10.0)], 1.0) is None
    assert within([], 1.0) is None


def test_another_bound_than_the_promised_one_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    host, engine = Host(Slo(latency=Duration(2.2), latency_share=0.9)), Engine(work_s=2.4)
    run(host, engine, 5)
    assert host.value("vedette.model.slo.bound") == 2.0
    assert host.value("vedette.model.slo.misses", window="5m") == 4 * 80
    said = [one for one in caplog.messages if "no bucket ends at 2.2 s" in one]
    assert len(said) == 1


def test_a_time_that_no_bucket_can_show_is_said_and_not_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host, engine = Host(Slo(latency=Duration(0.1))), Engine()
    run(host, engine, 5)
    assert host.values("vedette.model.slo.budget.left") == {}
    (said,) = [one for one in caplog.messages if "cannot be counted" in one]
    assert "the lowest bucket ends at 0.3 s, above 0.1 s" in said


# ---------------------------------------------------------------- what rings


def test_a_fast_burn_rings_critical_and_says_what_is_left() -> None:
    host, engine = Host(AVAILABLE), Engine()
    run(host, engine, 60)
    assert host.value("vedette.model.slo.burn_rate", window="1h") == 0
    began_s = host.now_s
    run(host, engine, 30, bad=0.04)
    (opened_s, incident) = host.opened[0]
    # 40 times the budget's pace: 14.4 over an hour is reached in 22 minutes of 60.
    assert 20 * 60 <= opened_s - began_s <= 25 * 60
    assert "the error budget of SLO toy* (availability) burns" in incident.title
    assert "of the budget left" in incident.title
    assert host.correlator.incidents[0].severity == "critical"
    assert len(host.opened) == 1


def test_errors_within_the_budget_do_not_ring() -> None:
    host, engine = Host(AVAILABLE), Engine()
    run(host, engine, 12 * 60, bad=0.0008)
    assert host.titles == []
    # Only 12 hours of 30 days are known: what was before counts as without errors.
    assert host.value("vedette.model.slo.budget.left") == pytest.approx(
        1 - 0.8 * 12 / 720, abs=0.005
    )
    assert host.value("vedette.model.slo.burn_rate", window="6h") == pytest.approx(0.8, abs=0.02)


def test_a_slow_burn_rings_as_a_warning_after_days() -> None:
    host, engine = Host(AVAILABLE), Engine()
    run(host, engine, 4 * 24 * 60, bad=0.0015, every_s=300)
    (_, incident) = host.opened[0]
    assert "over 3d" in incident.title
    assert host.correlator.incidents[0].severity == "warning"


def test_one_failure_of_a_night_with_few_requests_does_not_ring() -> None:
    host, engine = Host(AVAILABLE), Engine()
    run(host, engine, 10)
    for _ in range(60):
        host.tick(60)
    engine.refuse("5xx", 1)
    engine.finish(1)
    host.serve(engine.page())
    host.tick()
    host.tick(60)
    assert host.value("vedette.model.slo.burn_rate", window="5m") > 14.4
    assert host.titles == []


def test_errors_of_clients_use_up_no_budget() -> None:
    host, engine = Host(AVAILABLE), Engine()
    run(host, engine, 30)
    engine.refuse("4xx", 5000)
    run(host, engine, 30)
    assert host.value("vedette.model.slo.budget.left") == 1


def test_a_model_that_no_glob_names_has_no_budget() -> None:
    host, engine = Host(AVAILABLE), Engine(model="other")
    run(host, engine, 5)
    assert host.values("vedette.model.slo.budget.left") == {}


def test_goodput_is_what_was_quick_enough() -> None:
    host, engine = Host(Slo(latency=Duration(2.5))), Engine()
    run(host, engine, 5)
    assert host.value("vedette.model.goodput") == pytest.approx(80 / 60)
    for _ in range(3):
        engine.finish(80, waited=9.0)
        host.serve(engine.page())
        host.tick(60)
    assert host.value("vedette.model.goodput") == 0


# ---------------------------------------------------------------- over a restart


def test_budgets_outlive_the_agent(tmp_path: Path) -> None:
    state = str(tmp_path / "collectors" / "model_servers")
    host, engine = Host(AVAILABLE, state_dir=state), Engine()
    run(host, engine, 60, bad=0.01)
    left = host.value("vedette.model.slo.budget.left")
    host.health.save()
    again = Host(AVAILABLE, state_dir=state, at_s=host.now_s + 300)
    run(again, engine, 2)
    assert again.value("vedette.model.slo.budget.left") == pytest.approx(left, abs=0.002)
    assert again.value("vedette.model.slo.misses", window="6h") == pytest.approx(
        host.value("vedette.model.slo.misses", window="6h")
    )


def test_a_collector_that_was_closed_and_goes_on_keeps_budgets_again(tmp_path: Path) -> None:
    host, engine = Host(AVAILABLE, state_dir=str(tmp_path)), Engine()
    run(host, engine, 10)
    host.health.save()
    before = (tmp_path / "budgets").read_bytes()
    run(host, engine, 10)
    assert (tmp_path / "budgets").read_bytes() != before


def test_a_crash_costs_minutes_and_a_server_that_stays_away_keeps_its_budget(
    tmp_path: Path,
) -> None:
    host, engine = Host(AVAILABLE, state_dir=str(tmp_path)), Engine()
    run(host, engine, 60, bad=0.01)  # and no word of farewell
    again = Host(AVAILABLE, state_dir=str(tmp_path), at_s=host.now_s + 60)
    again.health.save()
    third = Host(AVAILABLE, state_dir=str(tmp_path), at_s=host.now_s + 600)
    run(third, engine, 2)
    misses = third.value("vedette.model.slo.misses", window="6h")
    assert misses == pytest.approx(host.value("vedette.model.slo.misses", window="6h"), rel=0.1)


@pytest.mark.parametrize("body", [b"", b"\xff" * 50, b"\x92\x63\x90"])
def test_a_file_that_cannot_be_read_begins_budgets_anew_and_is_said(
    tmp_path: Path, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "budgets").write_bytes(body)
    host, engine = Host(AVAILABLE, state_dir=str(tmp_path)), Engine()
    assert "error budgets begin anew" in caplog.text
    run(host, engine, 10)
    assert host.value("vedette.model.slo.budget.left") == 1


def test_a_directory_that_cannot_be_written_is_said_once_and_counting_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    host, engine = Host(AVAILABLE, state_dir=str(tmp_path / "file")), Engine()
    run(host, engine, 30)
    assert len([one for one in caplog.messages if "are not kept" in one]) == 1
    assert host.value("vedette.model.slo.budget.left") == 1


def test_budgets_are_bounded_and_what_is_left_out_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slos = [Slo(name=f"s{number}", availability=0.9) for number in range(BUDGETS_MAX + 3)]
    host, engine = Host(*slos), Engine()
    run(host, engine, 3)
    assert len(host.values("vedette.model.slo.budget.left")) == BUDGETS_MAX
    assert len([one for one in caplog.messages if "there are too many" in one]) == 3


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"availability": 99.9}, "availability = 99.9 is not between 0 and 1"),
        (
            {"latency": Duration(1), "latency_share": 1.0},
            "latency_share = 1 is not between 0 and 1",
        ),
        ({"latency": Duration(-1)}, "latency = -1s is not above 0s"),
        ({"availability": 0.9, "window": Duration(60)}, "window = 60s is not between 1h and 30d"),
        ({"model": "toy"}, "the SLO of 'toy' has no availability, latency or ttft"),
    ],
)
def test_what_cannot_be_promised_is_refused(wrong: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Slo(**wrong)  # type: ignore[arg-type]


def test_slos_stand_in_the_collectors_section() -> None:
    config = ModelServersConfig(slo=(AVAILABLE,))
    assert [*config.slo[0].objectives()] == [("availability", 0.999, 0.0)]


def test_wilsons_interval_is_the_known_one() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx(0.2553, abs=1e-4)
    assert wilson(0, 20) == 0
    assert wilson(1, 29) == pytest.approx(0.0061, abs=1e-4)
