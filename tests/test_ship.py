"""The ship lanes: order, waiting, waking, draining, and outputs that misbehave."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from vedette.api import NoConfig, Output, SendResult, Shipment
from vedette.ship import Lane, Shipper
from vedette.spool import Spool

DELIVERED = SendResult("delivered")
RETRY = SendResult("retry", "status 503")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Recorder(Output):
    """Answer as told, at last ``delivered``; remember what came and count those who wait for it."""

    name = "recorder"

    def __init__(self, answers: Sequence[SendResult | Exception] = ()) -> None:
        super().__init__(NoConfig())
        self.answers = list(answers)
        self.sent: list[Shipment] = []
        self.delivered: list[int] = []
        self.closed = 0
        self.changed = threading.Condition()

    def send(self, shipment: Shipment) -> SendResult:
        with self.changed:
            self.sent.append(shipment)
            answer = self.answers.pop(0) if self.answers else DELIVERED
            if isinstance(answer, Exception):
                raise answer
            if answer.outcome == "delivered":
                self.delivered.append(shipment.sequence)
            self.changed.notify_all()
            return answer

    def close(self) -> None:
        self.closed += 1

    def wait_for(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.delivered) >= count, 20)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path, agent_id="agent", ballast_bytes=0)
    yield spool
    spool.close()


def put(spool: Spool, count: int) -> None:
    for number in range(count):
        spool.append([("metrics", b"batch %d" % number)])


def make_lane(
    spool: Spool, output: Output, clock: Callable[[], float], rate_per_s: float = 20.0
) -> Lane:
    spool.attach(["out"])
    return Lane(
        "out",
        spool,
        output,
        random=Random(1),
        monotonic=clock,
        clock_ns=lambda: 42,
        spacing_s=1 / rate_per_s,
    )


def test_batches_go_oldest_first_and_at_most_at_the_rate(spool: Spool) -> None:
    clock = Clock()
    output = Recorder()
    lane = make_lane(spool, output, clock)
    put(spool, 3)
    assert lane.step() == pytest.approx(0.05)
    clock.now += 0.05
    assert lane.step() == pytest.approx(0.05)
    assert lane.step() == pytest.approx(0.05)
    assert lane.step() is None
    assert output.delivered == [1, 2, 3]
    status = lane.status()
    assert (status.state, status.delivered, status.backlog) == ("ok", 3, 0)
    assert status.last_success_ns == 42


def test_a_retry_sends_the_same_bytes_again(spool: Spool) -> None:
    output = Recorder([RETRY, RETRY])
    lane = make_lane(spool, output, Clock())
    put(spool, 2)
    for _ in range(3):
        lane.step()
    assert output.sent[0] == output.sent[1] == output.sent[2]
    assert lane.status().retries == 2


def test_the_wait_has_full_jitter_below_a_ceiling_of_1_s_to_60_s(spool: Spool) -> None:
    lane = make_lane(spool, Recorder([RETRY] * 400), Clock())
    put(spool, 1)
    waits = [lane.step() for _ in range(400)]
    for number, wait in enumerate(waits):
        assert wait is not None
        assert 0 <= wait <= min(60, 2.0**number)
    late = [wait for wait in waits[20:] if wait is not None]
    assert max(late) > 54
    assert min(late) < 6  # full jitter reaches down to nothing


def test_a_success_resets_the_wait(spool: Spool) -> None:
    lane = make_lane(spool, Recorder([RETRY] * 10 + [DELIVERED, RETRY]), Clock())
    put(spool, 2)
    for _ in range(11):
        lane.step()
    wait = lane.step()
    assert wait is not None
    assert wait <= 1


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        (7.0, 7.0, 7.7),
        (0.0, 1.0, 1.1),
        (-5.0, 1.0, 1.1),
        (1e9, 3600, 3960),
        (float("inf"), 0.0, 1.0),
        (float("nan"), 0.0, 1.0),
    ],
)
def test_retry_after_is_held_between_a_second_and_an_hour(
    spool: Spool, asked: float, low: float, high: float
) -> None:
    lane = make_lane(spool, Recorder([SendResult("retry", "status 429", asked)]), Clock())
    put(spool, 1)
    wait = lane.step()
    assert wait is not None
    assert low <= wait <= high


def test_an_output_that_raises_is_a_retry(spool: Spool) -> None:
    output = Recorder([RuntimeError("secret in the text"), KeyError("x")])
    lane = make_lane(spool, output, Clock())
    put(spool, 1)
    lane.step()
    assert lane.status().reason == "raised RuntimeError"
    assert lane.status().state == "failing"
    lane.step()
    lane.step()
    assert output.delivered == [1]
    assert lane.status().retries == 2


def test_a_refused_batch_is_a_dead_letter_and_the_next_goes_out(
    spool: Spool, tmp_path: Path
) -> None:
    output = Recorder([SendResult("refused", "status 400")])
    lane = make_lane(spool, output, Clock())
    put(spool, 2)
    lane.step()
    assert lane.status().refused == 1
    assert lane.status().reason == "refused: status 400"
    assert len(list((tmp_path / "dead").iterdir())) == 1
    lane.step()
    assert output.delivered == [2]
    assert lane.status().state == "ok"


def test_a_state_change_is_logged_once_each_way(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vedette.ship")
    lane = make_lane(spool, Recorder([RETRY] * 5), Clock())
    put(spool, 3)
    for _ in range(8):
        lane.step()
    assert [record.message for record in caplog.records] == [
        "destination=out state=failing reason='status 503'",
        "destination=out state=ok",
    ]


def test_an_answer_the_spool_could_not_note_is_not_sent_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Recorder()
    lane = make_lane(spool, output, Clock())
    put(spool, 1)
    sync = spool._disk.sync
    shipment = spool.peek("out")
    assert shipment is not None

    def fail(fd: int) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(spool._disk, "sync", fail)
    wait = lane.step()
    assert wait is not None
    assert lane.status().reason.startswith("spool: cannot acknowledge")
    lane.step()
    monkeypatch.setattr(spool._disk, "sync", sync)
    lane.step()
    assert output.sent == [shipment]
    assert lane.status().backlog == 0
    assert lane.step() is None


def make_shipper(spool: Spool, **outputs: Output) -> Shipper:
    return Shipper(spool, outputs, random=Random(1), rate_per_s=10_000)


def test_an_append_and_a_wake_bring_a_batch_out(spool: Spool) -> None:
    output = Recorder()
    shipper = make_shipper(spool, out=output)
    shipper.start()
    for number in range(1, 4):
        put(spool, 1)
        shipper.wake()
        assert output.wait_for(number)
    assert output.delivered == [1, 2, 3]
    shipper.stop(5)
    assert output.closed == 1


def test_a_dead_destination_does_not_delay_another(spool: Spool) -> None:
    release = threading.Event()

    class Hanging(Recorder):
        def send(self, shipment: Shipment) -> SendResult:
            release.wait(20)
            return super().send(shipment)

    dead, alive = Hanging(), Recorder()
    shipper = make_shipper(spool, dead=dead, alive=alive)
    shipper.start()
    put(spool, 20)
    shipper.wake()
    assert alive.wait_for(20)
    assert dead.delivered == []
    assert {each.name: each.backlog for each in shipper.status()} == {"dead": 20, "alive": 0}
    release.set()
    shipper.stop(10)
    assert len(dead.delivered) == 20


def test_new_data_does_not_shorten_the_wait_after_a_failure(spool: Spool) -> None:
    output = Recorder([SendResult("retry", "status 429", 3600.0)])
    shipper = make_shipper(spool, out=output)
    put(spool, 1)
    shipper.start()
    with output.changed:
        assert output.changed.wait_for(lambda: output.sent, 20)
    for _ in range(20):
        put(spool, 1)
        shipper.wake()
    shipper.stop(0.2)  # the thread handled all of it by now, and ends without another try
    assert len(output.sent) == 1
    assert output.closed == 1
    (status,) = shipper.status()
    assert (status.state, status.backlog) == ("failing", 21)
    assert status.next_attempt_in_s is not None
    assert status.next_attempt_in_s > 3000


def test_stop_drains_what_is_there(spool: Spool) -> None:
    output = Recorder()
    shipper = make_shipper(spool, out=output)
    shipper.start()
    put(spool, 30)
    shipper.wake()
    shipper.stop(20)
    assert len(output.delivered) == 30
    assert spool.backlog("out").batches == 0


def test_stop_returns_at_its_deadline_with_a_request_in_flight(spool: Spool) -> None:
    entered, release = threading.Event(), threading.Event()

    class Hanging(Recorder):
        def send(self, shipment: Shipment) -> SendResult:
            entered.set()
            release.wait(20)
            return super().send(shipment)

    output = Hanging()
    shipper = make_shipper(spool, out=output)
    put(spool, 2)
    shipper.start()
    assert entered.wait(20)
    shipper.stop(0.05)
    assert output.sent == []
    release.set()
    thread = shipper._lanes[0]._thread
    thread.join(20)
    assert not thread.is_alive()
    assert output.delivered == [1]  # past the deadline only the one in flight was finished
    assert spool.backlog("out").batches == 1


def test_an_idle_lane_waits_a_minute_at_a_time(spool: Spool) -> None:
    waiting = threading.Event()
    waits: list[float | None] = []

    class WatchedCondition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            waiting.set()
            return super().wait(timeout)

    lane = make_lane(spool, Recorder(), Clock())
    lane._condition = WatchedCondition()
    lane.start()
    assert waiting.wait(20)
    lane.stop(0.0)
    lane.join(20)
    assert waits == [60.0]


def test_stop_looks_once_more_even_without_a_wake(spool: Spool) -> None:
    waiting = threading.Event()

    class WatchedCondition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.set()
            return super().wait(timeout)

    output = Recorder()
    lane = make_lane(spool, output, time.monotonic)
    lane._condition = WatchedCondition()
    lane.start()
    assert waiting.wait(20)
    put(spool, 1)
    lane.stop(time.monotonic() + 20)
    lane.join(20)
    assert output.delivered == [1]


def test_a_closed_spool_ends_in_a_failing_state_not_in_a_crash(spool: Spool) -> None:
    output = Recorder()
    shipper = make_shipper(spool, out=output)
    spool.close()
    shipper.start()
    shipper.stop(0.0)
    (status,) = shipper.status()
    assert status.backlog == -1


def test_a_destination_not_tried_yet_is_idle(spool: Spool) -> None:
    shipper = make_shipper(spool, out=Recorder())
    (status,) = shipper.status()
    assert (status.state, status.last_success_ns, status.next_attempt_in_s) == ("idle", None, None)
