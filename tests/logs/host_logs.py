"""A host's logs in a directory, and the collector that reads them by a clock of its own.

Run as a program, it is killed and started again: ``python host_logs.py ROOT STATE OUT`` collects
four times a second, a minute of the clock each second, and writes what it tells to ``OUT``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from vedette.api import Event, Host, Observation, Record, Sample, Usage
from vedette.logs.collector import Logs
from vedette.logs.options import LogsConfig

S = 1_000_000_000
#: A Tuesday, 14:00:00 UTC.
BEGIN_NS = 1_795_183_200 * S


class HostLogs:
    """The files below a directory; seconds pass when ``tick`` is called."""

    def __init__(self, root: Path, **config: Any) -> None:
        self.root = root
        (root / "var/log").mkdir(parents=True, exist_ok=True)
        self.config = LogsConfig(**{"begin": "beginning", "journal": False, **config})
        self.at = 0
        self.told: list[Record] = []
        self.events: list[Event] = []
        self.usages: list[Usage] = []
        self.samples: dict[str, float] = {}
        self.logs = self.start()

    def start(self) -> Logs:
        """Begin anew, as an agent does."""
        self.logs = Logs(self.config)
        self.logs.host = Host(root=str(self.root))
        self.logs.state_dir = str(self.root / "state")
        self.logs.wall_ns = self.now_ns
        self.logs.monotonic = lambda: float(self.at)
        return self.logs

    def now_ns(self) -> int:
        return BEGIN_NS + self.at * S

    def stamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now_ns() // S))

    def write(self, name: str, *messages: str, level: str = "INFO") -> None:
        """Append lines with a header to a file below ``/var/log``."""
        with open(self.root / "var/log" / name, "a", encoding="utf-8") as file:
            file.writelines(f"{self.stamp()} {level} app: {one}\n" for one in messages)

    def tick(self, seconds: int = 1) -> list[Observation]:
        """Let seconds pass, with a reading after each; return those of the last one."""
        found: list[Observation] = []
        for _ in range(seconds):
            self.at += 1
            found = list(self.logs.collect())
            self.told += [one for one in found if isinstance(one, Record)]
            self.events += [one for one in found if isinstance(one, Event)]
            self.usages += [one for one in found if isinstance(one, Usage)]
            self.samples = {one.series.key: one.value for one in found if isinstance(one, Sample)}
        return found

    def records(self, name: str = "vedette.log.template") -> list[Record]:
        return [one for one in self.told if one.name == name]

    def counts(self) -> dict[str, int]:
        """Return the events told by template, each record counted once."""
        return counts(self.told)


OPENS = "import sys; file = open(sys.argv[1], sys.argv[2]); print(flush=True); sys.stdin.read()"


@contextmanager
def opened(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold a file open."""
    command = [sys.executable, "-c", OPENS, str(path), mode]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


def counts(records: list[Record]) -> dict[str, int]:
    """Return the events told by template's text; what was told twice counts once."""
    once = {one.uid: one for one in records if one.name == "vedette.log.template"}
    found: dict[str, int] = {}
    for one in once.values():
        found[one.body] = found.get(one.body, 0) + one.attributes["vedette.log.count"]
    return found


def main(clock: Callable[[], float] = time.monotonic) -> None:
    """Collect until killed."""
    root, state, out = map(Path, sys.argv[1:])
    logs = Logs(LogsConfig(begin="beginning", journal=False, window=10.0))  # type: ignore[arg-type]
    logs.host = Host(root=str(root))
    logs.state_dir = str(state)
    logs.wall_ns = lambda: int(clock() * 60 * S)
    while True:
        records = [one for one in logs.collect() if isinstance(one, Record)]
        with open(out, "ab") as file:
            file.writelines(msgspec.json.encode(one) + b"\n" for one in records)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
