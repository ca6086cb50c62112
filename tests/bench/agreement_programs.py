"""Ask other programs about this host, for ``agreement.py`` to compare with.

``SOURCES`` answer at once, with totals since boot and what is now; ``METERS`` measure an interval
of their own. All return numbers under the program's own words, in base units.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, NamedTuple

from agreement_readings import BLOCK, KIB, SECTOR, TCP, TICK, Reading, by_state

PATIENCE_S = 20
SPOKEN = {**os.environ, "LC_ALL": "C"}


class Source(NamedTuple):
    """Where numbers come from: the program that must be there, and how it is asked.

    ``wraps`` is where its own counters begin anew, 0 if they do not.
    """

    program: str
    read: Callable[[], Reading]
    wraps: int = 0


def output(*command: str) -> str:
    """Run a program and return what it prints."""
    done = subprocess.run(
        command, capture_output=True, env=SPOKEN, timeout=PATIENCE_S, text=True, check=False
    )
    return done.stdout


class NodeExporter:
    """A node_exporter of this run's own, asked over one connection that stays open."""

    MORE = (
        "--collector.processes",
        "--collector.tcpstat",
        "--collector.interrupts",
        "--collector.stat.softirq",
        "--collector.vmstat.fields=.*",
        "--collector.netstat.fields=.*",
        "--collector.netdev.device-exclude=^$",
        "--log.level=error",
    )

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen(
            ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", *self.MORE],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                self._connection.connect()
                return
            time.sleep(0.05)
        self.close()
        raise TimeoutError("node_exporter does not listen")

    def read(self) -> Reading:
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait()


def vmstat_s() -> Reading:
    found: Reading = {}
    for line in output("vmstat", "-s").splitlines():
        number, _, words = line.strip().partition(" ")
        factor = TICK if words.endswith(" ticks") else KIB if words.startswith("K ") else 1
        found[words.removeprefix("K ").removesuffix(" ticks")] = int(number) * factor
    return found


def vmstat_d() -> Reading:
    names = [*BLOCK[:9], "busy_s"]
    factors = (1, 1, SECTOR, 0.001, 1, 1, SECTOR, 0.001, 1, 1)
    found: Reading = {}
    for line in output("vmstat", "-d").splitlines()[2:]:
        disk, *numbers = line.split()
        for name, number, factor in zip(names, numbers, factors, strict=True):
            found[f"{disk} {name}"] = int(number) * factor
    return found


def ss() -> Reading:
    """Sockets in sum (``ss -s``) and TCP's by state (``ss -tan``)."""
    text = output("ss", "-s")
    found: Reading = {k: int(v) for k, v in re.findall(r"(\w+) (\d+)[,)]", text)}
    found["total"] = int(re.findall(r"Total: (\d+)", text)[0])
    for table, of4, of6 in re.findall(r"^(\w+)\s+\d+\s+(\d+)\s+(\d+)", text, re.MULTILINE):
        found |= {table: int(of4), f"{table}6": int(of6)}
    states = Counter(line.split()[0] for line in output("ss", "-tan").splitlines()[1:])
    return found | {state: states[state] for state in TCP.values()}


def df() -> Reading:
    found: Reading = {}
    for option, factor in (("-kP", KIB), ("-iP", 1)):
        for line in output("df", option).splitlines()[1:]:
            _, size, used, free, share, point = line.split(None, 5)
            with suppress(ValueError):
                values = [int(size) * factor, int(used) * factor, int(free) * factor]
                values.append(int(share.rstrip("%")) / 100)
                names = (f"{point} {option} {one}" for one in ("size", "used", "free", "share"))
                found |= dict(zip(names, values, strict=True))
    return found


def free() -> Reading:
    head, *lines = output("free", "-w", "-b").splitlines()
    return {
        f"{line.split(':')[0]} {name}": int(value)
        for line in lines
        for name, value in zip(head.split(), line.split()[1:], strict=False)
    }


def uptime() -> Reading:
    loads = re.findall(r"load average: ([\d.]+), ([\d.]+), ([\d.]+)", output("uptime"))[0]
    found = {f"load {m}": float(v) for m, v in zip((1, 5, 15), loads, strict=True)}
    since = time.strptime(output("uptime", "-s").strip(), "%Y-%m-%d %H:%M:%S")
    return found | {"boot time": time.mktime(since)}


def ps() -> Reading:
    """Processes by state; ``ps`` itself left out, and this process as running, which it is."""
    with subprocess.Popen(
        ["ps", "-e", "-o", "pid=,stat=,nlwp="], stdout=subprocess.PIPE, env=SPOKEN, text=True
    ) as process:
        rows = [line.split() for line in process.communicate()[0].splitlines()]
    rows = [row for row in rows if int(row[0]) != process.pid]
    letters = Counter("R" if int(row[0]) == os.getpid() else row[1][0] for row in rows)
    return dict(by_state(letters)) | {"threads": sum(int(row[2]) for row in rows)}


def lscpu() -> Reading:
    return {"cpus": len(output("lscpu", "-p=CPU", "-b").strip().split("\n")) - 4}


def nproc() -> Reading:
    return {"cpus": int(output("nproc"))}


def who() -> Reading:
    names = [line.split()[0] for line in output("who").splitlines()]
    return {"sessions": len(names), "users": len(set(names))}


def nstat() -> Reading:
    return dict(json.loads(output("nstat", "-a", "-s", "-z", "--json"))["kernel"])


def ip() -> Reading:
    found: Reading = {}
    for link in json.loads(output("ip", "-s", "-s", "-j", "link")):
        name = link["ifname"]
        found[f"{name} up"] = link["operstate"] in ("UP", "UNKNOWN")
        found[f"{name} mtu"] = link["mtu"]
        for way, counts in link["stats64"].items():
            found |= {f"{name} {way} {k}": v for k, v in counts.items()}
    # The kernel counts the entries of all network namespaces, ip lists those of its own.
    for version in ("4", "6") if _one_network() else ():
        listed = output("ip", f"-{version}", "neigh", "show", "nud", "all").splitlines()
        found[f"neighbours {version}"] = len(listed)
    return found


def _one_network() -> bool:
    """Tell whether all processes of this host that may be seen share one network namespace."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):
            found.add(path.readlink())
    return len(found) == 1


SOURCES = {
    "vmstat_s": Source("vmstat", vmstat_s),
    "vmstat_d": Source("vmstat", vmstat_d),
    "ss": Source("ss", ss),
    "df": Source("df", df),
    "free": Source("free", free),
    "uptime": Source("uptime", uptime),
    "ps": Source("ps", ps),
    "lscpu": Source("lscpu", lscpu),
    "nproc": Source("nproc", nproc),
    "who": Source("who", who),
    "nstat": Source("nstat", nstat, wraps=1 << 32),
    "ip": Source("ip", ip),
}


# ---------------------------------------------------------------- over an interval


class Meter:
    """A program that measures an interval of its own; ``end`` waits for it and reads the result."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            self.command(self._folder.name),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**SPOKEN, "S_TIME_FORMAT": "ISO"},
            text=True,
        )

    def command(self, folder: str) -> list[str]:
        raise NotImplementedError

    def parse(self, text: str) -> Reading:
        raise NotImplementedError

    def end(self) -> None:
        self._text = self._process.communicate(timeout=self.seconds + PATIENCE_S)[0]

    def result(self) -> Reading:
        return self.parse(self._text)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


class Iostat(Meter):
    """``iostat -x``: rates per disk, turned back into amounts."""

    program = "iostat"

    def command(self, folder: str) -> list[str]:
        return ["iostat", "-x", "-d", "-k", "-o", "JSON", str(self.seconds), "2"]

    def parse(self, text: str) -> Reading:
        told = json.loads(text)["sysstat"]["hosts"][0]["statistics"][-1]["disk"]
        found: Reading = {}
        for row in told:
            disk = row.pop("disk_device")
            for name, value in row.items():
                if name in ("r/s", "w/s", "d/s", "f/s", "rrqm/s", "wrqm/s"):
                    value *= self.seconds
                elif name.endswith("kB/s"):
                    value *= KIB * self.seconds
                elif name.endswith("_await"):
                    value /= 1000
                elif name == "util":
                    value /= 100
                found[f"{disk} {name}"] = value
        return found


class Vmstat(Meter):
    """``vmstat``: whole numbers per second, and percentages."""

    program = "vmstat"

    def command(self, folder: str) -> list[str]:
        return ["vmstat", str(self.seconds), "2"]

    def parse(self, text: str) -> Reading:
        _, names, _, values = text.strip().splitlines()
        found = dict(zip(names.split(), map(float, values.split()), strict=True))
        for name in found:
            if name in ("us", "sy", "id", "wa", "st"):
                found[name] /= 100
            elif name in ("si", "so", "bi", "bo", "in", "cs"):
                found[name] *= self.seconds * (KIB if name in ("bi", "bo") else 1)
        return found


class Sar(Meter):
    """``sar``: everything its collector knows, read back with ``sadf`` as JSON."""

    program = "sar"
    LABELS: ClassVar = ("cpu", "intr", "disk-device", "iface")

    def command(self, folder: str) -> list[str]:
        return ["sar", "-A", "-o", f"{folder}/sar", str(self.seconds), "1"]

    def parse(self, text: str) -> Reading:
        told = json.loads(output("sadf", "-j", f"{self._folder.name}/sar", "--", "-A"))
        statistics = told["sysstat"]["hosts"][0]["statistics"][-1]
        statistics |= statistics.pop("network") | statistics.pop("psi", {})
        found: Reading = {}
        for activity, rows in statistics.items():
            # Rates become amounts, percentages of the time shares, and of waiting seconds.
            factor = 0.01 if activity == "cpu-load" else self.seconds
            factor *= 0.01 if activity.startswith("psi-") else 1
            for row in rows if isinstance(rows, list) else [rows]:
                labels = [str(v) for k, v in row.items() if k in self.LABELS]
                for name, value in row.items():
                    if isinstance(value, int | float):
                        found[" ".join([activity, *labels, name])] = value * factor
        return found


METERS = {meter.program: meter for meter in (Iostat, Vmstat, Sar)}
