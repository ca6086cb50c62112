"""OTLP's messages without protobuf's implementation in Python."""

from __future__ import annotations

import os
import subprocess
import sys


def ends_well(program: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()


TEXT = """
message = metrics_pb2.MetricsData()
message.resource_metrics.add().schema_url = "here"
from google.protobuf import json_format, text_format, timestamp_pb2
assert "here" in str(message)
assert text_format.Parse(str(message), metrics_pb2.MetricsData()) == message
assert "here" in json_format.MessageToJson(message)
moment = timestamp_pb2.Timestamp()
moment.FromJsonString("2026-01-01T00:00:00Z")
assert moment.seconds == 1767225600
"""
USED = """
import sys
import vedette.otlp
from opentelemetry.proto.metrics.v1 import metrics_pb2
"""


def test_the_implementation_in_python_is_not_loaded_and_nothing_is_amiss() -> None:
    absent = 'assert "google.protobuf.internal.python_message" not in sys.modules\n'
    ends_well(USED + absent + TEXT, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="upb")


def test_it_is_loaded_where_it_is_the_one_in_use() -> None:
    present = 'assert "google.protobuf.internal.python_message" in sys.modules\n'
    ends_well(USED + present + TEXT, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")


def test_a_protobuf_that_needs_more_gets_it() -> None:
    spoilt = """
from importlib import import_module
from vedette import lighter
def needing(name):
    sys.modules[lighter.IN_PYTHON].GeneratedProtocolMessageType
    return import_module(name)
import sys
lighter.import_module = needing
lighter._import_messages()
assert lighter.IN_PYTHON not in sys.modules
lighter.import_module = import_module
from opentelemetry.proto.metrics.v1 import metrics_pb2
"""
    ends_well(spoilt + TEXT)
