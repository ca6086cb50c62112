"""What the detectors of logs find in runs of real services: recall, false alarms, delay.

    PYTHONPATH=agent python tests/bench/logs_services.py capture DIR [service ...] [--minutes 3.5]
        [--seed 1]
    PYTHONPATH=agent python tests/bench/logs_services.py judge DIR [service ...] [--hours 8]
        [--seeds 1,2] [--json OUT] [--only FAULT] [--set blocks.LONGEST_TIMES=2] [--try NAME]
    PYTHONPATH=agent python tests/bench/logs_services.py sessions DIR [service ...]

capture   runs nginx, PostgreSQL, Redis with a replica, and sshd below rsyslogd, each with work of
          several kinds, changes that mean no ill, and faults with a known start
          (``logs_services_nginx`` and so on); as root, in temporary directories, on 127.0.0.1
judge     plays the capture to the collector, hours made of its minutes (``logs_services_replay``
          says how, and what that flatters); then each fault, from the state that was kept
sessions  judges connections and requests by ``vedette logs mine --session``

Found is a fault of which anything is told within 120 s of its onset; *named*, when the words have
what its own lines say. Lines that the service does not write nobody can find: ``own line`` is how
long after the onset it wrote the first of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import logs_services_judge as judging
import logs_services_sessions as sessions
from logs_services_capture import Service, capture
from logs_services_nginx import Nginx
from logs_services_postgres import Postgres
from logs_services_redis import Redis
from logs_services_sshd import Sshd
from logs_services_tries import TRIES

SERVICES: dict[str, type[Service]] = {one.name: one for one in (Nginx, Postgres, Redis, Sshd)}


def captured(name: str, out: Path, minutes: float, only: str, seed: int) -> None:
    """Capture one service; a process of its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    home = Path(tempfile.mkdtemp(prefix=f"vedette-{name}-"))
    capture(SERVICES[name](home, seed), out / name, 60 * minutes, only)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="what", required=True)
    for name in ("capture", "judge", "sessions"):
        part = parts.add_parser(name)
        part.add_argument("directory", type=Path)
        part.add_argument("services", nargs="*", default=list(SERVICES))
        part.add_argument("--only", default="", help="of the changes, those named so")
        part.add_argument("--minutes", type=float, default=3.5)
        part.add_argument("--seed", type=int, default=1, help="of the work that is done")
        part.add_argument("--hours", type=float, default=8.0)
        part.add_argument("--seeds", default="1,2")
        part.add_argument("--json", type=Path)
        part.add_argument("--set", dest="settings", action="append", default=[])
        part.add_argument("--try", dest="tries", action="append", default=[], choices=list(TRIES))
    given = parser.parse_args()
    if given.what == "capture":
        all_of_them = [
            multiprocessing.Process(
                target=captured,
                args=(one, given.directory, given.minutes, given.only, given.seed),
            )
            for one in given.services
        ]
        for one in all_of_them:
            one.start()
        for one in all_of_them:
            one.join()
        return
    if given.what == "judge":
        seeds = [int(one) for one in given.seeds.split(",")]
        found = judging.judge(
            given.directory,
            given.services,
            seeds,
            given.hours,
            given.only,
            [*given.tries, *given.settings],
        )
        print(judging.table(found))
    else:
        found = {"sessions": sessions.sessions(given.directory, given.services)}
        print(sessions.table(found["sessions"]))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
