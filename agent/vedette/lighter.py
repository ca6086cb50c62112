"""Keep what the agent has no use for out of memory while large libraries are imported.

APScheduler 3 imports ``asyncio.iscoroutinefunction`` to tell coroutines from functions, and its
pools of threads and processes for who names no executor. Here no job is a coroutine and the only
executor is our own; asyncio and multiprocessing with all that they load take 2 MiB. While
APScheduler is imported, small modules stand in for them; where that is not enough, or the real ones
are loaded anyway, those are used. Nothing of it is left behind for others to find.

protobuf loads its implementation in Python, and the text format with it, beside the one in C that
it then uses: 0.8 MiB. Where the one in C is in use, an empty module stands in for the other.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

#: What stands in for a module: the names that APScheduler takes from it when it is imported.
STAND_INS: dict[str, dict[str, Any]] = {
    "asyncio": {"iscoroutinefunction": inspect.iscoroutinefunction},
    "apscheduler.executors.pool": {"ThreadPoolExecutor": None},
}
#: Everything of APScheduler that is used here.
NEEDED = ("apscheduler.util", "apscheduler.schedulers.base", "apscheduler.triggers.cron")
#: protobuf's implementation in Python, and what shows whether it is needed.
IN_PYTHON = "google.protobuf.internal.python_message"
MESSAGES = (
    "opentelemetry.proto.collector.logs.v1.logs_service_pb2",
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
)
OF_MESSAGES = ("google.protobuf", "opentelemetry.proto")


@contextmanager
def lighter() -> Iterator[None]:
    """Import APScheduler inside of it."""
    placed = {}
    for name, content in STAND_INS.items():
        if name not in sys.modules:
            placed[name] = sys.modules[name] = ModuleType(name)
            vars(placed[name]).update(content)
    try:
        for name in NEEDED:
            import_module(name)
    except ImportError:  # it needs more than that: let it have all
        for name in [name for name in sys.modules if name.partition(".")[0] == "apscheduler"]:
            del sys.modules[name]
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
    yield


@contextmanager
def lighter_messages() -> Iterator[None]:
    """Import OTLP's messages inside of it."""
    chosen = import_module("google.protobuf.internal.api_implementation")
    if chosen.Type() != "python" and IN_PYTHON not in sys.modules:
        _import_messages()
    yield


def _import_messages() -> None:
    stand_in = sys.modules[IN_PYTHON] = ModuleType(IN_PYTHON)
    try:
        for name in MESSAGES:
            import_module(name)
    except (ImportError, AttributeError):  # it is needed after all: let protobuf have it
        for name in [one for one in sys.modules if one.startswith(OF_MESSAGES)]:
            del sys.modules[name]
    finally:
        if sys.modules.get(IN_PYTHON) is stand_in:
            del sys.modules[IN_PYTHON]
