"""The loop around the parts: its queue, and the windows of a fresh start."""

from __future__ import annotations

from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from vedette.api import Event, Frame, Record, gauge
from vedette.pipeline import QUEUE_MAX
from vedette.reporter import RECORDS_MAX, RECORDS_TOGETHER

S = 1_000_000_000
VALUE = gauge("test.value", "1", "A number in a test.")


def frame(second: int) -> Frame:
    at = second * S
    return Frame("test", at, at, (VALUE.series(),), array("d", [1.0]))


def test_a_full_queue_drops_the_oldest_frames_and_counts_them(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    pipeline = simulated_host(tmp_path, []).pipeline
    pipeline.start()
    pipeline.stop(5.0)  # nobody empties the queue from here on
    for second in range(QUEUE_MAX + 7):
        pipeline.deliver((frame(second),))
    assert pipeline._queue.qsize() == QUEUE_MAX
    assert pipeline._frames_dropped == 7
    assert pipeline._queue.get_nowait()[0].tick_ns == 7 * S


def test_a_command_is_never_dropped_for_frames(simulated_host: type[Any], tmp_path: Path) -> None:
    pipeline = simulated_host(tmp_path, []).pipeline
    ran = []
    pipeline.submit(lambda: ran.append("first"))
    for second in range(2 * QUEUE_MAX):
        pipeline.deliver((frame(second),))
    pipeline.submit(lambda: ran.append("last"))
    pipeline.start()
    assert pipeline.stop(10.0)
    assert ran == ["first", "last"]


@pytest.mark.parametrize("start", [1_700_000_000, 1_700_000_001, 1_700_000_009])
def test_the_first_window_is_over_within_two_seconds_and_the_next_ones_are_short(
    simulated_host: type[Any], tmp_path: Path, start: int
) -> None:
    host = simulated_host(tmp_path, [], start_s=start, settle_ns=25 * S)
    for second in range(150):
        host.tick({VALUE.series(): float(second)})
    spans = [
        (beat["vedette.window.start"] // S, beat["vedette.window.end"] // S)
        for signal, body in host.spool.entries
        if signal == "logs"
        for beat in [_attributes(body)]
    ]
    assert spans[0][0] == start
    assert 1 <= spans[0][1] - start <= 2
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    ends = [end for _, end in spans[1:]]
    assert [end % 10 for end in ends] == [0] * len(ends)
    assert [end % 60 for end in ends[-2:]] == [0, 0]
    assert ends[1] - ends[0] == 10


def test_what_a_collector_tells_goes_out_with_the_window_and_to_the_causes(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    host = simulated_host(tmp_path, [])
    event = Event(host.now_s * S, "deploy", "shop", "shop v2 was deployed")
    sound = [Record("test.told", 7, f"word {number}") for number in range(RECORDS_TOGETHER)]
    odd = Record("test.odd", 7, "odd", {"what": object()})
    told = (*sound, odd)
    events = host.pipeline.correlator._blame.events
    before = events.noted
    tick = frame(host.now_s + 1)
    host.pipeline.take((msgspec.structs.replace(tick, events=(event,), records=told),))
    assert events.noted == before + 1
    assert not _told(host, "test.told")
    host.pipeline.finish()
    assert _told(host, "test.told") == [one.body for one in sound]
    assert _told(host, "test.odd") == []
    assert host.pipeline.view.reports_dropped == 1


def test_records_that_are_too_many_for_a_window_are_counted(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    host = simulated_host(tmp_path, [])
    reporter = host.pipeline.reporter
    for _ in range(3):
        reporter.keep([Record("test.told", 7, "word")] * (RECORDS_MAX // 2 + 1))
    assert reporter.dropped == RECORDS_MAX // 2 + 3


def _clock_events(host: Any) -> list[str]:
    events = host.pipeline.correlator._blame.events
    return [one.text for one in events._events if one.kind == "clock"]


def test_a_collector_that_is_held_up_for_long_is_no_clock_that_was_set_back(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    host = simulated_host(tmp_path, [])
    for second in range(30):
        host.tick({VALUE.series(): float(second)})
    host.pipeline.take((frame(host.now_s - 9),))
    host.tick({VALUE.series(): 30.0})
    assert _clock_events(host) == []
    times = host.pipeline.table.window().time
    assert (np.diff(times[times > 0]) > 0).all()


def test_a_clock_that_was_set_back_is_an_event_and_readings_go_on(
    simulated_host: type[Any], tmp_path: Path
) -> None:
    host = simulated_host(tmp_path, [])
    for second in range(30):
        host.tick({VALUE.series(): float(second)})
    host.now_s -= 20
    for second in range(5):
        host.tick({VALUE.series(): float(second)})
    assert _clock_events(host) == ["the clock was set back by 19 s"]
    assert host.pipeline._last_tick == host.now_s * S


def _told(host: Any, name: str) -> list[str]:
    return [
        record.body.string_value
        for signal, body in host.spool.entries
        if signal == "logs"
        for record in ExportLogsServiceRequest.FromString(body)
        .resource_logs[0]
        .scope_logs[0]
        .log_records
        if record.event_name == name
    ]


def _attributes(body: bytes) -> dict[str, int]:
    request = ExportLogsServiceRequest.FromString(body)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    return {one.key: one.value.int_value for one in record.attributes}
