"""From pages to incidents: what rings of a model server, in which words, and what does not."""

from __future__ import annotations

import random

import pytest
from health_cases import START_S, Engine, Host
from page_cases import FIXTURES, PAGED, paths, spoilt

from vedette.api import Duration
from vedette.drills.model import Queue, page
from vedette.exposition.wire import NoPage
from vedette.serving.slo import Slo

PLACE = "Model server vllm on 127.0.0.1:8000"


def healthy(host: Host, engine: Engine, minutes: float = 3.0, arrivals: float = 8.0) -> None:
    for _ in range(int(minutes * 6)):
        engine.work(10, arrivals)
        engine.queries += 1000
        engine.hits += 600
        host.serve(engine.page())
        host.tick()


# ---------------------------------------------------------------- queue and stall


def test_a_flood_is_one_incident_that_names_queue_and_kv_cache() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    began_s = host.now_s
    for _ in range(12):
        engine.work(10, 60)
        host.serve(engine.page())
        host.tick()
    ((opened_s, incident),) = host.opened
    assert opened_s - began_s <= 60
    assert incident.title.startswith(f"{PLACE}, model toy: a queue that lasts, a request waits")
    assert "4 worked on" in incident.title
    assert "the KV cache is 10 % full and not what is short" in incident.title
    assert (incident.severity, incident.entities[0]) == ("warning", "model vllm")
    healthy(host, engine, minutes=30, arrivals=4)
    assert host.correlator.incidents[0].state == "resolved"
    assert len(host.opened) == 1


@pytest.mark.parametrize(("many", "rings"), [(50, False), (300, True)])
def test_requests_that_come_at_once_ring_only_where_they_last(many: int, rings: bool) -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    began_s = host.now_s
    for arrivals in (many, *[8] * 5):
        engine.work(10, arrivals)
        host.serve(engine.page())
        host.tick()
    assert [opened_s - began_s for opened_s, _ in host.opened] == [40.0] * rings


def test_the_drill_of_a_slow_server_is_one_incident_while_it_lasts() -> None:
    host, queue = Host(), Queue()
    for second in range(0, 130, 10):
        for step in range(10):
            queue.pass_time(1, slow=75 <= second + step < 125)
        host.serve(page(queue).encode())
        host.tick()
    ((opened_s, incident),) = host.opened
    assert opened_s - 75 <= 50
    assert "a queue that lasts, a request waits for about" in incident.title


def ray_page(waiting: int, taken: int, waited_s: float) -> bytes:
    """Return the page of a Ray Serve whose replica works for a second on each request."""
    model = 'deployment="Toy",application="toy"'
    router, replica = "ray_serve_request_router_fulfillment", "ray_serve_deployment_processing"
    return f"""# TYPE {router}_time_ms histogram
{router}_time_ms_bucket{{le="+Inf",{model}}} {taken}
{router}_time_ms_sum{{{model}}} {1e3 * waited_s * taken}
{router}_time_ms_count{{{model}}} {taken}
# TYPE {replica}_latency_ms histogram
{replica}_latency_ms_bucket{{le="+Inf",{model}}} {taken}
{replica}_latency_ms_sum{{{model}}} {1e3 * taken}
{replica}_latency_ms_count{{{model}}} {taken}
# TYPE ray_serve_deployment_queued_queries gauge
ray_serve_deployment_queued_queries{{{model}}} {waiting}
""".encode()


def test_a_router_that_tells_no_ends_has_a_wait_by_what_it_passes_on() -> None:
    host, taken = Host(), 0
    for _ in range(12):
        taken += 2
        host.serve(ray_page(0, taken, 0.001))
        host.tick()
    waits = []
    for _ in range(9):  # three a second are passed on, twenty-eight wait
        taken += 30
        host.serve(ray_page(28, taken, 5.0))
        host.tick()
        waits.append(host.value("vedette.model.queue.wait"))
    assert max(waits) == pytest.approx(28 / 3, rel=0.15)
    ((_, incident),) = host.opened
    assert "a request waits for about 9.3 s; 28 waiting" in incident.title


def test_a_page_that_is_renewed_at_each_other_reading_tells_no_longer_wait() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine, arrivals=1)
    waits = []
    for reading in range(8):
        engine.work(10, 60 if reading == 0 else 20)  # forty wait, two finish a second
        if reading % 2 == 0:
            host.serve(engine.page())
        host.tick()
        waits.append(host.value("vedette.model.queue.wait"))
    assert max(waits) <= 1.3 * 40 / 2
    assert len(host.opened) == 1


def test_a_burst_of_seconds_does_not_ring() -> None:
    host, engine = Host(), Engine()
    for round_ in range(60):
        engine.work(10, 40 if round_ % 6 == 0 else 4)
        host.serve(engine.page())
        host.tick()
    assert host.titles == []


def test_a_busy_server_whose_requests_hardly_wait_does_not_ring() -> None:
    host, engine = Host(), Engine(slots=64)
    for _ in range(60):
        engine.work(10, 300)
        engine.waiting, engine.running = 3, 64  # at each reading somebody waits, for a moment
        host.serve(engine.page())
        host.tick()
        engine.waiting = 0
    assert host.titles == []


def test_an_idle_server_does_not_ring() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine, minutes=60, arrivals=0)
    assert host.titles == []
    assert host.value("vedette.model.stalled.time") == 0


def test_an_engine_that_takes_nothing_up_is_stalled_and_turns_critical() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    engine.tokens += 50  # it counts tokens while it makes them
    engine.running = 1
    host.serve(engine.page())
    host.tick()
    engine.waiting, engine.running = 3, 0
    host.serve(engine.page())
    for _ in range(14):
        host.tick()
    ((_, incident),) = host.opened
    assert "stalled, nothing finished for 30 s; 3 waiting, 0 worked on" in incident.title
    assert "none of those that wait is taken up" in incident.title
    assert host.correlator.incidents[0].severity == "critical"


def test_one_long_request_of_a_server_that_counts_at_its_end_is_no_stall() -> None:
    host, engine = Host(), Engine(work_s=2.0)
    healthy(host, engine)
    engine.running = 1
    host.serve(engine.page())
    for _ in range(30):
        host.tick()
    assert host.titles == []


def test_requests_that_take_minutes_here_are_no_stall_for_minutes() -> None:
    host, engine = Host(), Engine(slots=4, work_s=100.0)
    for round_ in range(60):
        engine.running = 4
        if round_ % 10 == 9:
            engine.finish(4)
        host.serve(engine.page())
        host.tick()
    assert host.titles == []


# ---------------------------------------------------------------- the KV cache


def test_a_full_kv_cache_with_preemptions_is_named() -> None:
    host, engine = Host(), Engine(slots=8)
    healthy(host, engine)
    for _ in range(9):
        engine.work(10, 40)
        engine.kv, engine.waiting, engine.running = 0.99, 1, 8
        engine.preempted += 5
        host.serve(engine.page())
        host.tick()
    assert any("the KV cache is 99 % full; 1 waiting, 8 worked on" in x for x in host.titles)


def test_a_kv_cache_with_a_little_room_is_short_where_requests_make_room() -> None:
    host, engine = Host(), Engine(slots=4)
    healthy(host, engine)
    for round_ in range(9):
        engine.work(10, 25)
        engine.kv = (0.87, 0.91, 1.0)[round_ % 3]
        engine.preempted += 20
        host.serve(engine.page())
        host.tick()
    ((_, incident),) = host.opened
    assert "% full and not what is short" not in incident.title
    assert "preemptions a minute" in incident.title
    assert host.value("vedette.model.kv_cache.full.time") >= 60


def test_a_kv_cache_that_fills_is_said_with_the_time_left() -> None:
    host, engine = Host(), Engine()
    for round_ in range(31):
        engine.work(10, 8)
        engine.kv = 0.5 + 0.012 * round_
        host.serve(engine.page())
        host.tick()
    ((_, incident),) = host.opened
    # 1.2 points each 10 s: from 80 % full in 170 s.
    assert "the KV cache is 80 % full, at this rate all of it in 3 min" in incident.title


def test_a_kv_cache_that_goes_up_and_down_does_not_ring() -> None:
    host, engine = Host(), Engine()
    for round_ in range(120):
        engine.work(10, 8)
        engine.kv = 0.75 + 0.02 * (round_ % 10)
        host.serve(engine.page())
        host.tick()
    assert host.titles == []


# ---------------------------------------------------------------- failures


def test_failures_ring_with_the_number_they_rest_on() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    for _ in range(7):
        engine.work(10, 8)
        engine.refuse("5xx", 2)
        host.serve(engine.page())
        host.tick()
    ((_, incident),) = host.opened
    assert "requests of the last minute failed" in incident.title
    assert "ended in errors of the server" in incident.title
    assert host.value("vedette.model.failures.share") == pytest.approx(2 / 10)


def test_rejections_are_told_as_want_of_room() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    for _ in range(4):
        engine.work(10, 8)
        engine.ends["rejected"] = engine.ends.get("rejected", 0.0) + 30
        engine.refuse("5xx", 30)
        host.serve(engine.page())
        host.tick()
    ((_, incident),) = host.opened
    assert "rejected for want of room" in incident.title
    assert "errors of the server" not in incident.title


def test_what_is_refused_beside_a_queue_is_told_with_the_time_in_it() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    for _ in range(5):
        engine.work(10, 40)
        engine.ends["rejected"] = engine.ends.get("rejected", 0.0) + 200
        engine.refuse("5xx", 200)
        host.serve(engine.page())
        host.tick()
    ((_, incident),) = host.opened
    assert "rejected for want of room); those taken in wait for about" in incident.title


def test_errors_of_clients_never_ring() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    for _ in range(60):
        engine.work(10, 2)
        engine.refuse("4xx", 500)
        host.serve(engine.page())
        host.tick()
    assert host.titles == []
    assert host.value("vedette.model.failures.share") == 0


def test_single_failures_and_one_bad_moment_do_not_ring() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    for round_ in range(60):
        engine.work(10, 8)
        engine.refuse("5xx", 30 if round_ == 3 else int(round_ % 12 == 0))
        host.serve(engine.page())
        host.tick()
    assert host.titles == []


# ---------------------------------------------------------------- pace


def test_tokens_that_come_five_times_slower_ring_as_slow_decoding() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine, minutes=15)
    for _ in range(25):
        engine.work(10, 8, gap=0.2)
        host.serve(engine.page())
        host.tick()
    assert any("decoding is slow, or preempted" in title for title in host.titles)


def test_a_first_token_that_is_late_while_the_rest_comes_as_ever_points_to_queue_or_prefill() -> (
    None
):
    host, engine = Host(), Engine()
    healthy(host, engine, minutes=15)
    for _ in range(12):
        engine.work(10, 60)
        host.serve(engine.page())
        host.tick()
    assert host.value("vedette.model.time_to_first_token.ratio") > 4
    assert host.value("vedette.model.inter_token.ratio") == pytest.approx(1, abs=0.1)
    engine.waiting = 0
    for _ in range(40):
        engine.finish(8, waited=6.0)
        host.serve(engine.page())
        host.tick()
    told = " ".join(host.titles)
    assert "tokens then come as ever: it is the queue or prefill" in told


def test_the_prefix_cache_is_told_beside_its_usual() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine, minutes=15)
    assert host.value("vedette.model.prefix_cache.share") == pytest.approx(0.6)
    for _ in range(7):
        engine.work(10, 8)
        engine.queries += 1000
        engine.hits += 60
        host.serve(engine.page())
        host.tick()
    assert host.value("vedette.model.prefix_cache.ratio") == pytest.approx(0.1, abs=0.03)


# ---------------------------------------------------------------- another model, restarts, silence


def test_another_model_under_the_same_name_is_an_event() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine, minutes=20, arrivals=15)
    assert not any("another model" in text for text in host.events)
    for _ in range(60):
        engine.work(10, 15, length=200, gap=0.05)
        host.serve(engine.page())
        host.tick()
    (said,) = [text for text in host.events if "answers like another model as toy" in text]
    assert "answers 2.5 times as long and a token takes 2.5 times as long" in said


def test_other_questions_are_no_other_model() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine, minutes=20, arrivals=15)
    for _ in range(60):
        engine.work(10, 15, length=200, gap=0.05)
        engine.asked.observe(400, 15)
        host.serve(engine.page())
        host.tick()
    assert not any("another model" in text for text in host.events)


def test_a_kv_cache_of_another_size_without_a_restart_is_an_event() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    engine.blocks = 500
    healthy(host, engine, minutes=1)
    assert any("its KV cache has 500 blocks, and had 1000" in text for text in host.events)
    engine.blocks, engine.started_s = 400, START_S + host.now_s
    healthy(host, engine, minutes=1)
    assert not any("400 blocks" in text for text in host.events)


def test_a_restart_does_not_ring_and_its_start_is_timed() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    engine.waiting, engine.running = 40, 4
    host.serve(engine.page())
    host.tick()
    again = Engine(started_s=START_S + host.now_s + 2)
    host.serve(again.page())
    host.tick()
    assert host.value("vedette.model.server.start.duration") == pytest.approx(8, abs=0.1)
    healthy(host, again, minutes=10)
    assert host.titles == []


@pytest.mark.parametrize(
    ("trouble", "reason", "words"),
    [
        ("connect", "ECONNREFUSED", "nobody listens there any more: its process is gone"),
        ("timeout", "no whole page within 2 s", "its port is open and no page comes: it hangs"),
        ("stopped", "none within 2 s", "its process is stopped, by a signal or a debugger"),
        ("status", "status 503", "it answers, with an error"),
    ],
)
def test_why_a_server_does_not_answer_is_said(trouble: str, reason: str, words: str) -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    host.serve(NoPage(trouble, reason))  # type: ignore[arg-type]
    for _ in range(7):
        host.tick()
    ((_, incident),) = host.opened
    assert incident.title.startswith(f"{PLACE} does not answer")
    assert words in incident.title
    assert host.correlator.incidents[0].severity == "critical"


def test_how_long_it_was_away_is_told_once() -> None:
    host, engine = Host(), Engine()
    healthy(host, engine)
    host.serve(NoPage("timeout", "none"))
    for _ in range(2):
        host.tick()
    host.serve(engine.page())
    host.tick()
    assert host.value("vedette.model.server.outage.duration") == 30
    host.tick()
    assert host.values("vedette.model.server.outage.duration") == {}


def test_two_servers_in_trouble_at_different_times_are_two_incidents() -> None:
    host, one, other = Host(), Engine(), Engine()
    for round_ in range(60):
        one.work(10, 60 if round_ > 20 else 8)
        other.work(10, 60 if round_ > 40 else 8)
        host.serve(one.page(), "127.0.0.1:8000")
        host.serve(other.page(), "127.0.0.1:8001")
        host.tick()
    first, second = [incident.title for _, incident in host.opened]
    assert first.startswith("Model server vllm on 127.0.0.1:8000")
    assert second.startswith("Model server vllm on 127.0.0.1:8001")


# ---------------------------------------------------------------- recorded pages


@pytest.mark.parametrize("name", PAGED)
def test_recorded_pages_of_a_short_run_ring_nothing(
    name: str,
) -> None:
    host = Host()
    for path in paths(name):
        host.serve(path.read_bytes())
        host.tick()
    told = {one.instrument.name for one in host.told}
    assert not {x for x in told if x.startswith("vedette.model.slo")}
    assert host.titles == []


LOAD = FIXTURES.parent / "serving-load"


def test_a_real_vllm_amid_sixteen_clients_has_a_queue_and_room_in_its_kv_cache() -> None:
    host = Host()
    pages = sorted((LOAD / "vllm-0.32.0").glob("page.*.prom"))
    amid = next(at for at, path in enumerate(pages) if "midload" in path.name)
    for path in pages[: amid + 1]:
        host.serve(path.read_bytes())
        host.tick()
    assert host.value("vedette.model.requests.waiting") == 12
    assert host.value("vedette.model.queue.wait") == pytest.approx(12 / 3.7, rel=0.2)
    for path in pages[amid + 1 :]:
        host.serve(path.read_bytes())
        host.tick()
    assert host.value("vedette.model.queue.wait") == 0
    assert host.titles == []  # it was over at the next reading
    stays = host
    stays.serve(pages[amid].read_bytes())
    for _ in range(14):
        stays.tick()
    assert any("12 waiting, 4 worked on; the KV cache is 39 % full" in x for x in stays.titles)


def test_a_real_vllm_short_of_kv_cache_is_one_incident_that_says_so() -> None:
    # Between readings a thousand requests made room; the readings say 92 to 100 % full.
    host = Host()
    for path in sorted((LOAD / "vllm-0.32.0-kv-cache").glob("page.*.prom")):
        host.serve(path.read_bytes())
        host.tick()
        if host.value("vedette.model.requests.waiting") > 0:
            rung = host.value("vedette.model.kv_cache.full.time")
    assert rung >= 70
    ((opened_s, incident),) = host.opened
    assert opened_s <= 60
    assert "a queue that lasts, a request waits for about 1" in incident.title
    assert "not what is short" not in incident.title
    assert "% full; " in incident.title
    assert "preemptions a minute" in incident.title
    for _ in range(12):
        host.tick()
    assert host.correlator.incidents[0].state == "resolved"
    assert len(host.opened) == 1


def test_a_real_llama_cpp_with_six_waiting_for_two_slots_has_a_queue_without_a_time() -> None:
    host = Host()
    pages = sorted((LOAD / "llamacpp-0c1e570").glob("page.*.prom"))
    for round_ in range(9):
        host.serve(pages[min(round_ // 3, 2)].read_bytes())
        host.tick()
    ((_, incident),) = host.opened
    assert "a queue that lasts; 6 waiting, 2 worked on" in incident.title
    for _ in range(12):
        host.serve(pages[3].read_bytes())
        host.tick()
    assert host.correlator.incidents[0].state == "resolved"


def test_sglang_that_stands_still_with_a_queue_is_stalled() -> None:
    (page, *_) = [path.read_bytes() for path in paths("sglang-0.5.23-names")][-1:]
    host = Host()
    host.serve(page)
    for _ in range(16):
        host.tick()
    assert any("stalled, nothing finished" in title for title in host.titles)


@pytest.mark.parametrize("name", PAGED)
def test_whatever_becomes_of_a_page_health_raises_nothing(name: str) -> None:
    bodies = [path.read_bytes() for path in paths(name)]
    chance = random.Random(11)
    host = Host(Slo(availability=0.9, latency=Duration(1), ttft=Duration(1)))
    for _ in range(25):
        host.serve(spoilt(chance.choice(bodies), chance))
        host.tick()
    assert not any(value == float("-inf") for value in host.told.values())
