"""Be the far side of a process-isolated collector: ``python -m vedette.worker``.

A parent speaks to it over stdin and stdout in frames of four bytes length (big endian) and a
msgpack body. First comes a ``Setup``, then verbs (``probe``, ``collect``, ``close``); each is
answered by one ``Answer``. What the plugin prints goes to stderr, never between the frames.

The worker makes itself the first to suffer: lower priority, first choice of the kernel when memory
runs out, killed when the parent's thread that started it ends. It imports the API and the one
plugin, nothing else of the agent.
"""

from __future__ import annotations

import importlib
import os
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from vedette.api import (
    Collector,
    Duration,
    Event,
    Host,
    Record,
    Sample,
    Secret,
    Size,
    Unavailable,
    Usage,
)
from vedette.lanes.reading import Beside, is_reading, reason_of

Verb = Literal["probe", "collect", "close"]

#: Most readings one answer may carry, and the largest message either side accepts.
READINGS_MAX = 50_000
MESSAGE_MAX = 16 << 20
LENGTH = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Setup(msgspec.Struct, frozen=True):
    """Which collector to be, and how humbly."""

    origin: str
    class_name: str
    options: dict[str, Any]
    host: Host
    parent_pid: int
    nice: int
    address_space_bytes: int
    state_dir: str = ""


Distribution = tuple[int, tuple[str, ...], tuple[float, ...], tuple[int, ...], float | None]


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What became of one verb.

    A reading is (index of the instrument, attribute values, value). ``cpu_ns`` is all CPU time
    of the worker so far. ``error`` is empty when all went well.
    """

    readings: list[tuple[int, tuple[str, ...], float]] = []
    usages: list[Usage] = []
    events: list[Event] = []
    records: list[Record] = []
    invalid: int = 0
    cpu_ns: int = 0
    error: str = ""
    unavailable: bool = False
    #: Index of the instrument, attribute values, bounds, counts, sum.
    histograms: list[Distribution] = []


def to_options(config: msgspec.Struct) -> dict[str, Any]:
    """Return a plugin's configuration as msgpack can carry it; secrets as where to read them."""
    options: dict[str, Any] = msgspec.to_builtins(config, enc_hook=_encode)
    return options


def from_options(options: dict[str, Any], config: type[msgspec.Struct]) -> msgspec.Struct:
    """Undo ``to_options``."""
    return msgspec.convert(options, config, dec_hook=_decode)


def load_class(origin: str, class_name: str) -> type[Collector]:
    """Import a collector's class from a module's name or the path of a drop-in."""
    if origin.endswith(".py"):
        # Here: only a drop-in needs it, which is checked again as it was when it was found.
        from vedette.registry.sources import import_file

        module = import_file(Path(origin), os.geteuid())
    else:
        module = importlib.import_module(origin)
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, Collector)):
        raise TypeError(f"{class_name} in {origin} is no collector")
    return found


def main() -> int:
    """Serve one parent until it closes the pipe."""
    commands, answers = _private_pipes()
    message = _receive(commands)
    if message is None:
        return 0
    setup = msgspec.msgpack.decode(message, type=Setup)
    _lower(setup)
    try:
        plugin = load_class(setup.origin, setup.class_name)
        collector = plugin(from_options(setup.options, plugin.Config))
        collector.host = setup.host
        collector.state_dir = setup.state_dir
    except Exception as error:  # noqa: BLE001 - a broken plugin is an answer, not a traceback
        _send(answers, Answer(error=reason_of(error)))
        return 1
    _send(answers, Answer(cpu_ns=time.process_time_ns()))
    while (message := _receive(commands)) is not None:
        verb = msgspec.msgpack.decode(message, type=Verb)
        _send(answers, _perform(collector, verb))
        if verb == "close":
            break
    return 0


def _perform(collector: Collector, verb: Verb) -> Answer:
    try:
        if verb == "collect":
            return _collect(collector)
        if verb == "probe":
            collector.probe()
        else:
            collector.close()
    except Unavailable as absence:
        return Answer(cpu_ns=time.process_time_ns(), error=str(absence), unavailable=True)
    except Exception as error:  # noqa: BLE001 - told to the parent; anything worse ends the worker
        return Answer(cpu_ns=time.process_time_ns(), error=reason_of(error))
    return Answer(cpu_ns=time.process_time_ns())


def _collect(collector: Collector) -> Answer:
    # By identity: two may be equal and yet mean different things to detection.
    indexes = {id(instrument): index for index, instrument in enumerate(collector.instruments())}
    readings: list[tuple[int, tuple[str, ...], float]] = []
    beside = Beside()
    invalid = 0
    for item in collector.collect():
        if isinstance(item, Sample) and is_reading(item.value):
            index = indexes.get(id(item.series.instrument))
            if index is None:
                invalid += 1
            else:
                readings.append((index, item.series.values, float(item.value)))
        elif not beside.take(item):
            invalid += 1
        if len(readings) >= READINGS_MAX:
            break
    told = beside.usages, beside.events, beside.records
    histograms: list[Distribution] = []
    for one in beside.histograms:
        index = indexes.get(id(one.series.instrument))
        if index is None:
            invalid += 1
        else:
            histograms.append((index, one.series.values, one.bounds, one.counts, one.sum))
    cpu_ns = time.process_time_ns()
    return Answer(readings, *told, invalid, cpu_ns, histograms=histograms)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move the protocol away from descriptors 0 and 1, which a plugin may read or print to."""
    commands = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, answers


def _lower(setup: Setup) -> None:
    """Give way to the rest of the host, and do not outlive the parent."""
    import ctypes  # here: the agent imports this module for its types only

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != setup.parent_pid:
        raise SystemExit(0)
    os.nice(setup.nice)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError as error:
        print(f"oom_score_adj not raised: {error.strerror}", file=sys.stderr)  # noqa: T201 - log
    if setup.address_space_bytes:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (setup.address_space_bytes, hard))


def _receive(commands: BinaryIO) -> bytes | None:
    header = commands.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    if length > MESSAGE_MAX:
        raise ValueError(f"a message of {length} bytes")
    body = commands.read(length)
    return body if len(body) == length else None


def _send(answers: BinaryIO, answer: Answer) -> None:
    body = msgspec.msgpack.encode(answer)
    answers.write(LENGTH.pack(len(body)) + body)
    answers.flush()


def _encode(value: object) -> object:
    if isinstance(value, Secret):
        return {"file": value.file, "env": value.env}
    if isinstance(value, Duration):
        return float(value)
    if isinstance(value, Size):
        return int(value)
    raise NotImplementedError(f"a {type(value).__name__} cannot cross to a worker")


def _decode(kind: type, value: Any) -> object:
    if kind is Secret:
        return Secret(file=value["file"], env=value["env"])
    if kind is Duration:
        return Duration(value)
    if kind is Size:
        return Size(value)
    raise NotImplementedError(f"a {kind.__name__} cannot cross to a worker")


if __name__ == "__main__":
    sys.exit(main())
