"""Stand in for a collector that runs in a worker process of its own.

To the lane it is a collector like any other. A worker that misses the deadline, dies, sends
garbage or grows past its memory limit is killed, and started anew when the runner probes again;
the runner's pauses keep it from being started over and over. While a killed worker cannot die (it
waits on a dead mount, say) no second one is started.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.machinery import PathFinder

import msgspec

from vedette.api import Collector, HistogramSample, Observation, Unavailable
from vedette.lanes.reading import Late, printable
from vedette.worker import LENGTH, MESSAGE_MAX, Answer, Setup, Verb, to_options

log = logging.getLogger(__name__)

#: Interpreter start, import and first look.
START_TIMEOUT_S = 10.0
#: Time a worker has to say goodbye.
CLOSE_TIMEOUT_S = 0.5
#: While a worker is silent its memory is looked at this often.
MEMORY_EVERY_S = 0.25
#: Newest bytes of its stderr that are kept.
STDERR_BYTES = 4096
#: A worker is less important than the agent.
NICE = 5


class WorkerError(Exception):
    """Say how a worker failed."""


class ProcessCollector(Collector):
    """A collector behind a pipe. One thread calls it; only ``kill`` may be called from another."""

    def __init__(
        self,
        collector: Collector,
        *,
        origin: str = "",
        memory_bytes: int,
        timeout_s: float,
        command: tuple[str, ...] = (),
    ) -> None:
        super().__init__(collector.config)
        plugin = type(collector)
        self.host = collector.host
        self.state_dir = collector.state_dir
        self._label = collector.name
        self._instruments = tuple(plugin.instruments())
        self._origin = origin or _origin_of(plugin)
        self._class_name = plugin.__qualname__
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._command = command or (sys.executable, "-m", "vedette.worker")
        self._decoder = msgspec.msgpack.Decoder(Answer)
        self._child: subprocess.Popen[bytes] | None = None
        self._undead: subprocess.Popen[bytes] | None = None
        self._poll = select.poll()
        self._input = bytearray()
        self._stderr = b""
        self._child_cpu_ns = 0
        #: Totals over all workers so far.
        self.cpu_ns = self.invalid = self.starts = 0

    @property
    def alive(self) -> bool:
        """Whether there is a worker that may be asked."""
        return self._child is not None

    def probe(self) -> None:
        """Start a worker and let it probe; raises ``Unavailable`` as the collector would."""
        self._end()
        self._start()
        setup = Setup(
            origin=self._origin,
            class_name=self._class_name,
            options=to_options(self.config),
            host=self.host,
            parent_pid=os.getpid(),
            nice=NICE,
            address_space_bytes=0,
            state_dir=self.state_dir,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            self._ask(setup, deadline)
            self._ask("probe", deadline)
        except BaseException:
            self._end()  # a collector without a source needs no worker that waits for it
            raise

    def collect(self) -> Iterator[Observation]:
        """Ask the worker for a tick; raises ``Late`` after killing it at the deadline."""
        answer = self._ask("collect", time.monotonic() + self._timeout_s)
        self.invalid += answer.invalid
        instruments = self._instruments
        for index, values, value in answer.readings:
            yield instruments[index](value, *values)
        for index, values, bounds, counts, total in answer.histograms:
            yield HistogramSample(instruments[index].series(*values), bounds, counts, total)
        yield from answer.usages
        yield from answer.events
        yield from answer.records

    def close(self) -> None:
        """Let the worker close its collector, then end it."""
        if self._child is not None:
            try:
                self._ask("close", time.monotonic() + CLOSE_TIMEOUT_S)
            except (Late, WorkerError, Unavailable) as error:
                log.warning("collector=%s worker did not close reason=%s", self._label, error)
        self._end()

    def kill(self) -> None:
        """Kill the worker from any thread; a call that waits for it then fails."""
        child = self._child
        if child is not None:
            child.kill()

    # ------------------------------------------------------------ one question, one answer

    def _ask(self, message: Setup | Verb, deadline: float) -> Answer:
        try:
            answer = self._exchange(message, deadline)
            self._check_memory()
        except BaseException:
            self._end()
            raise
        self.cpu_ns += max(0, answer.cpu_ns - self._child_cpu_ns)
        self._child_cpu_ns = answer.cpu_ns
        if answer.unavailable:
            raise Unavailable(answer.error)
        if answer.error:
            raise WorkerError(answer.error)
        return answer

    def _exchange(self, message: Setup | Verb, deadline: float) -> Answer:
        child = self._child
        if child is None or child.stdin is None:
            raise WorkerError("no worker")
        body = msgspec.msgpack.encode(message)
        try:
            child.stdin.write(LENGTH.pack(len(body)) + body)
        except BrokenPipeError:
            raise WorkerError(self._obituary(child)) from None
        while (frame := self._take_frame()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise Late
            if not self._fill(child, min(left_s, MEMORY_EVERY_S)):
                self._check_memory()
        try:
            answer = self._decoder.decode(frame)
        except msgspec.MsgspecError:
            raise WorkerError("the worker sent garbage") from None
        named = [one[0] for one in answer.readings] + [one[0] for one in answer.histograms]
        if any(not 0 <= index < len(self._instruments) for index in named):
            raise WorkerError("the worker sent an unknown instrument")
        return answer

    def _take_frame(self) -> bytes | None:
        if len(self._input) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._input)
        if length > MESSAGE_MAX:
            raise WorkerError("the worker sent garbage")
        end = LENGTH.size + length
        if len(self._input) < end:
            return None
        frame = bytes(self._input[LENGTH.size : end])
        del self._input[:end]
        return frame

    def _fill(self, child: subprocess.Popen[bytes], timeout_s: float) -> bool:
        """Read what the worker wrote; returns False when it stayed silent for ``timeout_s``."""
        out, err = _outputs(child)
        ready = self._poll.poll(timeout_s * 1000)
        for descriptor, _ in ready:
            data = os.read(descriptor, 1 << 16)
            if descriptor == err:
                self._stderr = (self._stderr + data)[-STDERR_BYTES:]
                if not data:
                    self._poll.unregister(err)
            elif data:
                self._input += data
            else:
                self._poll.unregister(out)
                raise WorkerError(self._obituary(child))
        return bool(ready)

    def _check_memory(self) -> None:
        child = self._child
        if child is None:
            return
        try:
            # Of the agent's own process tree, so never the host's /proc of a container.
            with open(f"/proc/{child.pid}/statm", encoding="ascii") as file:
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return  # already dead: the pipe says so
        if resident > self._memory_bytes:
            raise WorkerError(
                f"the worker uses {resident >> 20} MiB, {self._memory_bytes >> 20} MiB allowed"
            )

    # ------------------------------------------------------------ its life

    def _start(self) -> None:
        if self._undead is not None and self._undead.poll() is None:
            raise WorkerError(f"the killed worker {self._undead.pid} does not die")
        self._undead = None
        self._input.clear()
        self._stderr = b""
        self._child_cpu_ns = 0
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C at the agent's terminal is not for it
        )
        self.starts += 1
        self._poll = select.poll()
        for descriptor in _outputs(self._child):
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)

    def _end(self) -> None:
        """Kill and reap the worker, if there is one."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._undead = child
            log.warning("collector=%s worker=%d does not die", self._label, child.pid)

    def _obituary(self, child: subprocess.Popen[bytes]) -> str:
        """Say how a worker ended, with the last line it wrote to stderr."""
        _, err = _outputs(child)
        try:
            while data := os.read(err, 1 << 16):
                self._stderr = (self._stderr + data)[-STDERR_BYTES:]
        except BlockingIOError:
            pass  # something it started still holds the pipe
        try:
            status = child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "the worker closed its pipe"
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        lines = self._stderr.decode("utf-8", "replace").strip().splitlines()
        return f"the worker {how}" + (f": {printable(lines[-1])}" if lines else "")


def _outputs(child: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Return the descriptors of a worker's answers and of its stderr."""
    assert child.stdout is not None  # noqa: S101 - both were asked for as pipes
    assert child.stderr is not None  # noqa: S101
    return child.stdout.fileno(), child.stderr.fileno()


def _origin_of(plugin: type[Collector]) -> str:
    """Return from where a worker can import a class: its module's name, or else its file.

    A file dropped into the plug-in folder was imported under a name that Python's own search
    does not lead back to.
    """
    name = plugin.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    parent = sys.modules.get(name.rpartition(".")[0])
    spec = PathFinder.find_spec(name, getattr(parent, "__path__", None))
    return name if file is None or (spec and spec.origin == file) else str(file)
