"""The loop around the parts: its queue, and the windows of a fresh start."""

from __future__ import annotations

from array import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from vedette.api import Frame, gauge
from vedette.pipeline import QUEUE_MAX

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


def _attributes(body: bytes) -> dict[str, int]:
    request = ExportLogsServiceRequest.FromString(body)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    return {one.key: one.value.int_value for one in record.attributes}
