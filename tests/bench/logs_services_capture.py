"""Run a service as it is run, note what it logs and when, and break it at a known moment.

A ``Service`` says how it is started, which jobs use it (``Job``), what happens to it now and then
without meaning ill (``Change``: a reload, a rotation, a backup), and how it breaks (``Change`` with
the words that its own lines have then). ``capture`` runs all of it against the clock and writes per
run ``NAME.jsonl`` (seconds since the run began, file, line) and ``NAME.label.json`` (seconds of
onset and end). Nothing outlives a capture: what was started is ended, what was mounted unmounted.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

#: Seconds of ordinary work before a change, of a benign change, and between two runs.
BEFORE_S, BENIGN_S, AFTER_S = 3.0, 9.0, 1.5
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Job:
    """Something that is done with a service again and again, by a thread of its own.

    Every ``every_s`` seconds: on the average, or, where it is ``regular``, by the clock.
    """

    name: str
    every_s: float
    call: Callable[[random.Random], None]
    regular: bool = False


@dataclass(frozen=True)
class Change:
    """What happens to a service: ``begin`` and, after ``seconds``, ``end``.

    ``own`` matches the words of a fault's own lines. ``lasting``: the state goes on until somebody
    comes, so that a replay may go on with it; otherwise it happens once.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None] = lambda: None
    own: str = ""
    lasting: bool = True
    seconds: float = 16.0
    #: Lines that a person would be shown, if any: where there are none a watch can see nothing.
    note: str = ""


class Recorder:
    """Follows log files by name, and writes what is appended to the run's file."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._open: dict[str, tuple[BinaryIO, int]] = {}
        self._rest: dict[str, bytes] = {}
        self._out: list[str] | None = None
        self._began = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Begin a run."""
        with self._lock:
            self._poll()
            self._out, self._began = [], time.monotonic()

    @property
    def at(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def end(self, path: Path) -> int:
        """End a run; write and count its lines."""
        with self._lock:
            self._poll()
            lines, self._out = self._out or [], None
        path.write_text("".join(lines), encoding="utf-8")
        return len(lines)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            with self._lock:
                self._poll()

    def _poll(self) -> None:
        for name, path in self._files.items():
            self._read(name)
            with contextlib.suppress(OSError):
                found = path.stat()
                file, inode = self._open.get(name, (None, -1))
                if file is None or found.st_ino != inode:
                    if file is not None:
                        file.close()
                    file = path.open("rb")
                    self._open[name] = file, found.st_ino
                    self._read(name)
                elif found.st_size < file.tell():
                    file.seek(0)

    def _read(self, name: str) -> None:
        if name not in self._open:
            return
        data = self._rest.get(name, b"") + self._open[name][0].read()
        *lines, self._rest[name] = data.split(b"\n")
        if self._out is None:
            return
        at = round(self.at, 3)
        for line in lines:
            text = line.decode("utf-8", "replace")
            self._out.append(json.dumps([at, name, text], ensure_ascii=False) + "\n")


@dataclass
class Service:
    """A service in a directory of its own."""

    home: Path
    seed: int = 1
    #: Jobs that do not run now.
    paused: set[str] = field(default_factory=set)
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    mounts: list[Path] = field(default_factory=list)

    name = ""

    # What a service says of itself.

    def files(self) -> Mapping[str, Path]:
        """Return its logs, by their names below ``/var/log``."""
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def jobs(self) -> Sequence[Job]:
        raise NotImplementedError

    def benign(self) -> Sequence[Change]:
        raise NotImplementedError

    def faults(self) -> Sequence[Change]:
        raise NotImplementedError

    # What all need.

    def spawn(self, command: Sequence[str], **more: Any) -> subprocess.Popen[bytes]:
        """Start a process that is ended with the capture."""
        more.setdefault("stdout", subprocess.DEVNULL)
        more.setdefault("stderr", subprocess.DEVNULL)
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **more)
        self.children.append(child)
        return child

    def mount(self, name: str, size: str) -> Path:
        """Mount a small disk."""
        path = self.home / name
        path.mkdir()
        options = f"size={size},mode=777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
        self.mounts.append(path)
        return path

    def fill(self, disk: Path) -> None:
        """Leave no space on a disk."""
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self, disk: Path) -> None:
        (disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """End whatever was started, and unmount."""
        with contextlib.suppress(Exception):
            self.stop()
        for child in self.children:
            if child.poll() is None:
                child.terminate()
        for child in self.children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5)
        for path in self.mounts:
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.home, ignore_errors=True)


def end(child: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """End a process and wait for it."""
    if child.poll() is None:
        child.send_signal(number)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(DEADLINE_S)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until something listens."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


class Work:
    """All jobs of a service, until stopped."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(job, at), daemon=True)
            for at, job in enumerate(service.jobs())
        ]
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        self._stop.set()
        for one in self._threads:
            one.join(DEADLINE_S)

    def _run(self, job: Job, number: int) -> None:
        rng = random.Random(f"{self._service.name}/{number}/{self._service.seed}")
        due = time.monotonic() + rng.random() * job.every_s
        while True:
            pause = job.every_s if job.regular else rng.expovariate(1 / job.every_s)
            if self._stop.wait(max(due - time.monotonic(), 0.0)):
                return
            due = max(due + pause, time.monotonic() - 1.0)
            if job.name not in self._service.paused:
                # A service that is broken is no reason to stop.
                with contextlib.suppress(Exception):
                    job.call(rng)


def capture(service: Service, out: Path, normal_s: float, only: str = "") -> None:
    """Run a service: normal for so long, then its benign changes, then its faults."""
    out.mkdir(parents=True, exist_ok=True)
    recorder, work = Recorder(service.files()), None
    try:
        service.start()
        work = Work(service)
        time.sleep(2)
        if not only:
            recorder.begin()
            time.sleep(normal_s)
            _told(service, "normal", {}, recorder.end(out / "normal.jsonl"), out)
        changes = [(one, True) for one in service.benign()]
        changes += [(one, False) for one in service.faults()]
        for change, benign in changes:
            if only in change.name:
                # One that does not come to pass is no reason to go without the others.
                try:
                    _run_change(service, recorder, change, out, benign=benign)
                except Exception as error:
                    print(f"{service.name:9} {change.name:24} failed: {error}", flush=True)
    finally:
        if work is not None:
            work.stop()
        recorder.close()
        service.close()


def _run_change(
    service: Service, recorder: Recorder, change: Change, out: Path, *, benign: bool
) -> None:
    name = f"{'benign' if benign else 'fault'}-{change.name}"
    recorder.begin()
    time.sleep(BEFORE_S)
    onset = round(recorder.at, 3)
    change.begin()
    time.sleep(BENIGN_S if benign else max(change.seconds - (recorder.at - onset), 1.0))
    ended = round(recorder.at, 3)
    label: dict[str, Any] = {"onset": onset, "end": ended, "benign": benign}
    label |= {"lasting": change.lasting, "own": change.own, "note": change.note}
    if benign:
        change.end()
    lines = recorder.end(out / f"{name}.jsonl")
    _told(service, name, label, lines, out)
    if not benign:
        change.end()
    time.sleep(AFTER_S)


def _told(service: Service, name: str, label: dict[str, Any], lines: int, out: Path) -> None:
    label = {"service": service.name, "run": name, "lines": lines, **label}
    (out / f"{name}.label.json").write_text(json.dumps(label, indent=1) + "\n")
    print(f"{service.name:9} {name:24} {lines:6} lines", flush=True)
