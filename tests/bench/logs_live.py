"""Break real services under a real agent: which incidents come of their logs, and how soon.

    PYTHONPATH=agent python tests/bench/logs_live.py [--warm 700] [--rest 75] [--only TEXT]

nginx with an application behind it and PostgreSQL (those that are installed) do their ordinary work
and the agent follows their logs. After ``--warm`` seconds each is broken in a few ways, one after
the other, and a program bursts with errors. Per fault: seconds until an incident of logs, or of
what is broken, whose title or suspects have the fault's own words; how many incidents came of it.
Everything else that rang is listed: this host is not alone. A source's mix of lines is learned in
ten minutes, hence the time to warm up; some 25 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from logs_services_capture import Service, Work, end
from logs_services_nginx import Nginx
from logs_services_postgres import Postgres

from vedette.control import ControlError, call

WANTED = {
    "nginx": ("upstream_killed", "disk_full", "stopped"),
    "postgres": ("backend_killed", "missing_column", "connections"),
}
CONFIG = """
[agent]
state_dir = "{home}/state"
plugins_dir = "{home}/plugins"

[collectors.logs]
files = [{files}]
journal = false

[collectors.model_servers]
discover = "off"
"""
BURST_LINES, BURST_S, AWAITED_S, POLL_S = 3_000, 10.0, 90.0, 0.5


class Fault(NamedTuple):
    """What is done, how it is undone, and the words of its lines."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    own: str


class Program:
    """A program that logs what it does, and bursts with errors when told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def burst(self) -> None:
        """Log thousands of errors within seconds."""
        with self.path.open("a") as file:
            for number in range(BURST_LINES):
                file.write(self._line("ERROR", f"cannot reach payment gateway, attempt {number}"))
                file.flush()
                time.sleep(BURST_S / BURST_LINES)

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.7):
            number += 1
            with self.path.open("a") as file:
                file.write(self._line("INFO", f"order {number} paid in {20 + number % 13} ms"))

    @staticmethod
    def _line(grade: str, text: str) -> str:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {grade} shop[77]: {text}\n"


def incidents(state: Path) -> list[dict[str, Any]]:
    """Return all that the agent tells, the newest included."""
    try:
        return list(call(state, "incidents", all=True)["incidents"])
    except ControlError:
        return []


def words(incident: dict[str, Any]) -> str:
    """Return the title and the suspects as one text."""
    suspects = [f"{one['name']} {one['text']}" for one in incident["suspects"]]
    return " | ".join([incident["title"], *suspects])


def faults(services: Sequence[Service], program: Program) -> Iterator[Fault]:
    """Yield what is done to each."""
    yield Fault("program burst", program.burst, lambda: None, "payment gateway")
    for service in services:
        for change in service.faults():
            if change.name in WANTED[service.name]:
                name = f"{service.name} {change.name}"
                yield Fault(name, change.begin, change.end, change.own)


def watch(state: Path, fault: Fault) -> None:
    """Break something, print what came of it, and mend it."""
    known = {one["id"] for one in incidents(state)}
    began = time.time()
    breaker = threading.Thread(target=fault.begin, daemon=True)
    breaker.start()
    found: dict[str, Any] | None = None
    delay_s = 0.0
    while found is None and time.time() - began < AWAITED_S:
        time.sleep(POLL_S)
        for one in incidents(state):
            ours = one["id"] not in known or one["updated_ns"] / 1e9 >= began
            if ours and re.search(fault.own, words(one)):
                found, delay_s = one, time.time() - began
                break
    time.sleep(10.0)
    new = [one for one in incidents(state) if one["id"] not in known]
    breaker.join(30)
    fault.end()
    what = f"{delay_s:5.1f} s  {found['severity']}" if found else "not found"
    of_logs = sum(1 for one in new if one["resource"] in ("log", "logs"))
    print(f"{fault.name:26} {what}; {of_logs} of logs, {len(new)} in all", flush=True)
    for one in new:
        mark = "*" if found is not None and one["id"] == found["id"] else " "
        print(f"  {mark} {one['severity']:8} {words(one)[:230]}", flush=True)


def run(home: Path, warm_s: float, rest_s: float, only: str) -> None:
    """Start all, break all, end all."""
    services: list[Service] = []
    for kind in (Nginx, Postgres):
        place = home / kind.name
        place.mkdir()
        services.append(kind(place))
    program = Program(home / "shop.log")
    works: list[Work] = []
    agent: subprocess.Popen[bytes] | None = None
    try:
        for service in services:
            service.start()
            works.append(Work(service))
        paths = [path for service in services for path in service.files().values()]
        files = ", ".join(json.dumps(str(path)) for path in [*paths, program.path])
        (home / "agent.toml").write_text(CONFIG.format(home=home, files=files))
        command = [sys.executable, "-m", "vedette", "run", "--config", str(home / "agent.toml")]
        with (home / "agent.log").open("wb") as log:
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            agent = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        time.sleep(warm_s)
        early = incidents(home / "state")
        print(f"in {warm_s:.0f} s of ordinary work: {len(early)} incidents", flush=True)
        for one in early:
            print(f"    {one['severity']:8} {words(one)[:200]}", flush=True)
        for fault in (one for one in faults(services, program) if only in one.name):
            watch(home / "state", fault)
            time.sleep(rest_s)
    finally:
        if agent is not None:
            end(agent)
        for work in works:
            work.stop()
        program.stop()
        for service in services:
            service.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--warm", type=float, default=700)
    parser.add_argument("--rest", type=float, default=75)
    parser.add_argument("--only", default="", help="faults that have this in their names")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # nginx's and PostgreSQL's users read there
        run(Path(name), arguments.warm, arguments.rest, arguments.only)


if __name__ == "__main__":
    main()
