"""What is lost and doubled when log files are tormented: Vedette's tail beside rsyslog and tail -F.

    PYTHONPATH=agent python tests/bench/logs_torture.py [MODE...] [--only vedette,rsyslog,...]

All readers follow the same files in the same run, each in a process of its own: the agent, with all
that it reads by default beside the logs (``logs_torture_agent``), Vedette's tail with its store,
which tells line from line (``logs_torture_reader``), rsyslog's imfile by inotify and by polling,
GNU ``tail -F``. What is not installed is left out. Modes: ``logs_torture_modes``. Per mode and
reader: lines written, lost, doubled; CPU seconds per 60,000 lines; peak resident memory. Vedette's
CPU includes its start; the tail's counting each line in Python, and a synced commit twice a second;
the agent's templates, slots, detectors and all of its other collectors, for as long as the mode
takes and the half a minute in which it is awaited that nothing more is told. Logs are written below
/tmp, or ``--directory``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from logs_torture_agent import Taker, configured
from logs_torture_modes import MODES, Readers, Stage
from logs_torture_reader import counts_of

NOBODY = 65534
QUIET_S = 3.0
PATIENCE_S = 90.0
NUMBER = re.compile(rb"^.?T(\d{8})", re.MULTILINE)


class Usage(NamedTuple):
    """What a reader has cost."""

    cpu_s: float
    peak_kib: int


class Reader:
    """One reader: started, stopped, killed and started again; what it costs adds up."""

    name = ""
    #: It delivers nothing more when it has not for so long.
    quiet_s = QUIET_S

    def __init__(self, directory: Path, logs: Path, state: Path) -> None:
        self.directory = directory
        self.logs = logs
        self.state = state
        self.usage = Usage(0.0, 0)
        self.out = directory / "out"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def command(self) -> list[str]:
        """Return what is run."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, its output at the end of what it put out before."""
        self.starts += 1
        with open(self.directory / "stdout", "ab") as out, open(os.devnull, "wb") as null:
            self.process = subprocess.Popen(self.command(), stdout=out, stderr=null)

    def stop(self, how: signal.Signals) -> None:
        """End it and add up its costs."""
        if self.process is None:
            return
        pid = self.process.pid
        peak = peak_kib(pid)
        self.process.send_signal(how)
        _, status, used = os.wait4(pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.process = None
        cpu = self.usage.cpu_s + used.ru_utime + used.ru_stime
        self.usage = Usage(cpu, max(self.usage.peak_kib, peak))

    def counts(self, lines: int) -> list[int]:
        """Return how often each line was delivered."""
        counts = [0] * lines
        if self.out.exists():
            for found in NUMBER.findall(self.out.read_bytes()):
                if int(found) < lines:
                    counts[int(found)] += 1
        return counts

    def progress(self) -> object:
        """Return what changes while it still delivers."""
        return self.out.stat().st_size if self.out.exists() else 0


class Tail(Reader):
    name = "vedette's tail"

    def command(self) -> list[str]:
        program = Path(__file__).with_name("logs_torture_reader.py")
        return [sys.executable, str(program), str(self.state / "vedette"), str(self.logs / "*.log")]

    def counts(self, lines: int) -> list[int]:
        counts = list(counts_of(self.state / "vedette").counts[:lines])
        return counts + [0] * (lines - len(counts))

    def progress(self) -> object:
        return sum(counts_of(self.state / "vedette").counts)


class Agent(Reader):
    name = "agent"
    quiet_s = 25.0

    def __init__(self, directory: Path, logs: Path, state: Path) -> None:
        super().__init__(directory, logs, state)
        self.taker = Taker()
        self.run = configured(directory, logs, state, self.taker.port)

    def command(self) -> list[str]:
        return self.run

    def counts(self, lines: int) -> list[int]:
        events = self.taker.events
        lost, doubled = max(0, lines - events), max(0, events - lines)
        return [0] * lost + [1] * (lines - lost - 1) + [1 + doubled]

    def progress(self) -> object:
        return self.taker.events


class Rsyslog(Reader):
    name = "rsyslog inotify"
    mode = 'mode="inotify"'

    def command(self) -> list[str]:
        config = self.directory / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{self.state}" maxMessageSize="64k")\n'
            f'module(load="imfile" {self.mode})\n'
            f'input(type="imfile" File="{self.logs}/*.log" Tag="t" reopenOnTruncate="on")\n'
            'template(name="raw" type="string" string="%msg%\\n")\n'
            f'action(type="omfile" file="{self.out}" template="raw")\n'
        )
        run = ["rsyslogd", "-n", "-f", str(config), "-i", str(self.directory / "pid")]
        if os.geteuid() != 0:
            return run
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *run]


class RsyslogPolling(Rsyslog):
    name = "rsyslog polling"
    mode = 'mode="polling" PollingInterval="1"'


class TailF(Reader):
    name = "tail -F"

    def __init__(self, directory: Path, logs: Path, state: Path) -> None:
        super().__init__(directory, logs, state)
        self.out = directory / "stdout"

    def command(self) -> list[str]:
        names = sorted(str(path) for path in self.logs.glob("*.log"))
        first = "+1" if self.starts == 1 else "0"
        return ["tail", "-q", "-n", first, "-F", *(names or [str(self.logs / "app.log")])]


READERS: tuple[type[Reader], ...] = (Agent, Tail, Rsyslog, RsyslogPolling, TailF)


class All(Readers):
    """All readers of a run."""

    def __init__(self, root: Path, logs: Path, kinds: Sequence[type[Reader]]) -> None:
        self.disk = root / "disk"
        self.disk.mkdir()
        self.mounted = mounted(self.disk)
        self.readers: list[Reader] = []
        for number, kind in enumerate(kinds):
            directory = root / f"reader{number}"
            state = self.disk / f"state{number}"
            for path in (directory, state):
                path.mkdir()
                path.chmod(0o777)
            self.readers.append(kind(directory, logs, state))

    def start(self) -> None:
        for reader in self.readers:
            reader.start()

    def pause(self, seconds: float) -> None:
        for reader in self.readers:
            if reader.process is not None:
                reader.process.send_signal(signal.SIGSTOP)
        self._resume_at = time.monotonic() + seconds
        # the writer goes on meanwhile; a child wakes them
        pids = " ".join(str(one.process.pid) for one in self.readers if one.process is not None)
        self._waker = subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {pids}"])

    def kill(self) -> None:
        for reader in self.readers:
            reader.stop(signal.SIGKILL)
        self.start()

    def fill_disk(self) -> None:
        if self.mounted:
            with open(self.disk / "filler", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass

    def free_disk(self) -> None:
        (self.disk / "filler").unlink(missing_ok=True)

    def settle(self) -> None:
        """Wait until nothing more is delivered."""
        before: list[object] = []
        quiet_since = began = time.monotonic()
        quiet_s = max(reader.quiet_s for reader in self.readers)
        while time.monotonic() - quiet_since < quiet_s and time.monotonic() - began < PATIENCE_S:
            time.sleep(0.5)
            progress = [reader.progress() for reader in self.readers]
            if progress != before:
                before, quiet_since = progress, time.monotonic()

    def stop(self) -> None:
        waker = getattr(self, "_waker", None)
        if waker is not None:
            waker.wait()
        for reader in self.readers:
            reader.stop(signal.SIGTERM)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)


def mounted(path: Path) -> bool:
    """Make a small disk of a directory; only a privileged user can."""
    run = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", str(path)]
    try:
        return subprocess.run(run, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def peak_kib(pid: int) -> int:
    """Return a process's peak resident memory."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


def torment(mode: str, kinds: Sequence[type[Reader]], where: Path | None) -> int:
    """Play one mode and print what each reader made of it; return what Vedette lost and doubled."""
    root = Path(tempfile.mkdtemp(dir=where))
    root.chmod(0o755)
    logs = root / "logs"
    logs.mkdir()
    readers = All(root, logs, kinds)
    stage = Stage(logs, readers)
    if mode == "500 files":
        for i in range(500):
            stage.path(f"app{i:03d}.log").touch()
    elif mode != "link switched":
        stage.path().touch()
    failed = 0
    try:
        readers.start()
        time.sleep(2.0)
        MODES[mode](stage)
        readers.settle()
        readers.stop()
        for reader in readers.readers:
            counts = reader.counts(stage.written)
            lost, doubled = counts.count(0), sum(one - 1 for one in counts if one > 1)
            cpu = reader.usage.cpu_s / stage.written * 60_000
            peak = reader.usage.peak_kib / 1024
            print(
                f"{mode:28} {reader.name:16} {stage.written:8,} {lost:8,} {doubled:8,}"
                f" {cpu:9.2f} {peak:9.1f}",
                flush=True,
            )
            if isinstance(reader, (Agent, Tail)):
                failed += lost + doubled
    finally:
        for reader in readers.readers:
            reader.stop(signal.SIGKILL)
        readers.close()
        shutil.rmtree(root, ignore_errors=True)
    return failed


def main() -> int:
    """Run the modes that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mode", nargs="*", metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--only", default="", help="readers, by the beginnings of their names")
    parser.add_argument("--directory", type=Path, help="where to play")
    arguments = parser.parse_args()
    only = tuple(one for one in arguments.only.split(",") if one)
    kinds = [kind for kind in READERS if not only or kind.name.startswith(only)]
    if shutil.which("rsyslogd") is None:
        kinds = [kind for kind in kinds if not issubclass(kind, Rsyslog)]
    modes = [one for one in MODES if not arguments.mode or one in arguments.mode]
    print(
        f"{'mode':28} {'reader':16} {'written':>8} {'lost':>8} {'doubled':>8}"
        f" {'CPU s/60k':>9} {'peak MiB':>9}"
    )
    failed = sum(torment(mode, kinds, arguments.directory) for mode in modes)
    print(f"vedette: {failed} lines lost or doubled in {len(modes)} modes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
