"""Does the agent's memory stay flat? Runs one for hours in bad company and prints the slope.

    python tests/bench/soak.py [--minutes 120] [--settle 30] [--series 50] [--every 30]

The agent runs with the default collectors and detectors, a destination nobody listens at (so that
the spool fills up to its cap of 8 MiB), and a plugin whose series (50 of them) get other names
every 30 s, so that old ones have to be forgotten. Beside it a process begins and ends five times a
second, and five lines a second of a hundred kinds are logged: that log alone is read, and no model
server is looked for, so that what else goes on on this host is not measured. Twice a minute its
resident, private and anonymous memory are read; the slope is the least squares line through what
comes after the settling time, with its standard error. Resident pages of files come and go with
what the kernel reclaims; anonymous ones are what the agent keeps. Budget: under 0.5 MiB an hour.
Prints a line per ten minutes and JSON at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from agent_bench import cpu_s, fields

from vedette.control import ControlError, call

CHURN = '''
"""Series with other names every now and then."""

import time

from vedette.api import Collector, gauge, hookimpl


class Churn(Collector):
    """Values under names that change."""

    name = "churn"
    interval_s = 1.0
    may_block = False
    value = gauge("churn.value", "1", "A sawtooth.", ("churn.name",))

    def collect(self):
        now = time.time()
        generation = int(now // {every})
        for number in range({series}):
            yield self.value((now + number) % 7, f"{{generation}}-{{number}}")


@hookimpl
def register_collectors():
    return [Churn]
'''

CONFIG = """
[agent]
state_dir = "{folder}/state"
plugins_dir = "{folder}/plugins"

[spool]
cap = "8MiB"
segment = "1MiB"

[outputs.otlp]
endpoint = "http://127.0.0.1:9"

[collectors.logs]
files = ["{folder}/app.log"]
journal = false

[collectors.model_servers]
discover = "off"
"""
KINDS, LINES_PER_S = 100, 5


class Logger(threading.Thread):
    """Logs without end: who connects, what is done, how long it took; now and then an error."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self.ended = threading.Event()

    def run(self) -> None:
        chance = random.Random(7)
        with self._path.open("a") as file:
            while not self.ended.wait(1 / LINES_PER_S):
                kind = min(int(chance.expovariate(0.05)), KINDS - 1)
                grade = "ERROR" if kind % 10 == 9 else "INFO"
                took, client = chance.lognormvariate(3, 1), chance.randrange(256)
                when = time.strftime("%Y-%m-%dT%H:%M:%S")
                text = f"stage{kind:02d} of order {chance.randrange(10**9)} done in {took:.1f} ms"
                file.write(f"{when} {grade} worker[{kind}]: {text} for 10.0.0.{client}\n")
                file.flush()


def slope(rows: list[tuple[float, float]]) -> tuple[float, float]:
    """Return what a value gains per hour and the standard error of it.

    rows: seconds and value; at least three.
    """
    hours = np.array([row[0] for row in rows]) / 3600
    values = np.array([row[1] for row in rows])
    line, covariance = np.polyfit(hours, values, 1, cov=True)
    return float(line[0]), float(covariance[0, 0] ** 0.5)


def sample(pid: int) -> tuple[float, float, float]:
    """Return resident, private and anonymous memory in MiB."""
    memory = fields(pid, "smaps_rollup")
    private = memory["Private_Clean"] + memory["Private_Dirty"]
    return memory["Rss"] / 1024, private / 1024, memory["Anonymous"] / 1024


def follow(agent: subprocess.Popen[bytes], arguments: argparse.Namespace) -> dict[str, object]:
    began = time.monotonic()
    rows: list[tuple[float, float, float, float]] = []
    while (passed := time.monotonic() - began) < arguments.minutes * 60:
        if agent.poll() is not None:
            sys.exit(f"the agent ended by itself with {agent.returncode}")
        rows.append((passed, *sample(agent.pid)))
        if len(rows) % 20 == 0:
            print(
                f"{passed / 60:5.0f} min  RSS {rows[-1][1]:.2f}  private {rows[-1][2]:.2f}  "
                f"anonymous {rows[-1][3]:.2f}",
                flush=True,
            )
        time.sleep(max(30 * len(rows) - (time.monotonic() - began), 0))
    settled = [row for row in rows if row[0] >= arguments.settle * 60]
    rss, rss_error = slope([(row[0], row[1]) for row in settled])
    private, private_error = slope([(row[0], row[2]) for row in settled])
    anonymous, anonymous_error = slope([(row[0], row[3]) for row in settled])
    return {
        "minutes": arguments.minutes,
        "settled_after_min": arguments.settle,
        "rss_mib": [round(settled[0][1], 2), round(settled[-1][1], 2)],
        "rss_slope_mib_per_h": round(rss, 3),
        "rss_slope_error": round(rss_error, 3),
        "private_slope_mib_per_h": round(private, 3),
        "private_slope_error": round(private_error, 3),
        "anonymous_slope_mib_per_h": round(anonymous, 3),
        "anonymous_slope_error": round(anonymous_error, 3),
        "cpu_s": round(cpu_s(agent.pid), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--settle", type=float, default=30)
    parser.add_argument("--series", type=int, default=50)
    parser.add_argument("--every", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plugins").mkdir()
        source = CHURN.format(every=arguments.every, series=arguments.series)
        (folder / "plugins" / "churn.py").write_text(source)
        (folder / "agent.toml").write_text(CONFIG.format(folder=folder))
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "vedette", "run", "--config", str(folder / "agent.toml")]
        with (folder / "log").open("wb") as log:
            agent = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        logger = Logger(folder / "app.log")
        logger.start()
        restless = subprocess.Popen(["sh", "-c", "while kill -0 $PPID; do sleep 0.2; done"])
        try:
            time.sleep(5)
            result = follow(agent, arguments)
            with suppress(ControlError):
                result["series"] = call(folder / "state", "status")["series"]
            print(json.dumps(result, indent=2))
        finally:
            logger.ended.set()
            restless.terminate()
            agent.terminate()
            agent.wait(20)


if __name__ == "__main__":
    main()
