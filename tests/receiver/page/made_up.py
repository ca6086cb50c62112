"""Made-up hosts for the page: facts, and a curve for each series.

Everything follows from the time and the names, so two runs at the same time answer the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

Curve = Callable[[float], float]

MINUTE = 60_000
GIB = 1024**3
HOSTILE_PROCESS = "<img src=x onerror=window.hacked=2>"
#: Device, mount point, type, bytes, share used.
FILESYSTEMS = (
    ("/dev/nvme0n1p2", "/", "ext4", 200 * GIB, 0.41),
    ("/dev/nvme0n1p1", "/boot/efi", "vfat", GIB // 2, 0.07),
    ("/dev/mapper/data", "/var/lib/postgresql/a/long/mount/point", "xfs", 2048 * GIB, 0.883),
    ("tmpfs", "/run", "tmpfs", 3 * GIB, 0.013),
)
#: Program, share of a CPU, GiB.
PROGRAMS = (
    ("postgres", 0.31, 6.1),
    ("nginx", 0.08, 0.4),
    ("python3", 0.16, 1.2),
    ("systemd-journald", 0.01, 0.1),
    ("java", 0.22, 3.3),
    (HOSTILE_PROCESS, 0.03, 0.2),
    ("node", 0.05, 0.6),
    ("dockerd", 0.02, 0.2),
    ("a-process-with-quite-a-long-executable-name", 0.04, 0.3),
    ("sshd", 0.002, 0.02),
)


def noise(name: str, t: float) -> float:
    """Return smooth noise in about -1..1 that depends on the name and the time only."""
    seed = random.Random(name)
    total = 0.0
    for period in (37.0, 141.0, 610.0, 2900.0):
        total += math.sin(t / period * 2 * math.pi + seed.random() * 6.3) * seed.uniform(0.3, 1)
    return total / 4 + random.Random(f"{name}{int(t)}").uniform(-0.25, 0.25)


def around(name: str, level: float, swing: float) -> Curve:
    """Return a curve that moves around a level, never below 0."""
    return lambda t: max(0.0, level * (1 + swing * noise(name, t)))


def scaled(curve: Curve, factor: float, most: float = math.inf, lag_s: float = 0) -> Curve:
    """Return a multiple of a curve, bounded, later by ``lag_s``."""
    return lambda t: min(most, factor * curve(t - lag_s))


def from_then_on(curve: Curve, begin_s: float, level: float) -> Curve:
    """Return a curve that is near ``level`` from ``begin_s`` on."""
    return lambda t: level * (1 + 0.015 * noise("lift", t)) if t >= begin_s else curve(t)


class Host:
    """One made-up host: facts, curves per series, the windows that arrived."""

    def __init__(self, agent: str, name: str, *, cpus: int, memory: int, os: str) -> None:
        self.agent, self.name, self.cpus, self.memory, self.os = agent, name, cpus, memory, os
        self.health = "ok"
        self.reasons: list[str] = []
        self.labels: dict[str, str] = {}
        self.silent_ms = 0
        self.outage: tuple[int, int] | None = None  # minutes ago: from, to
        self.started_ago_ms: int | None = None
        self.missing: list[list[int]] = []
        self.backlog = 0
        self.incident_ago_ms: int | None = None
        self.series: dict[str, tuple[str, str, str, dict[str, str], Curve]] = {}

    def add(self, name: str, kind: str, unit: str, curve: Curve, **attributes: str) -> None:
        """Add a series; ``__`` in an attribute's name stands for a dot."""
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        pairs = ",".join(f"{key}={value}" for key, value in named.items())
        self.series[f"{name}{{{pairs}}}" if pairs else name] = (name, kind, unit, named, curve)

    def windows(self, now: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield (end, length) of each window that arrived, in ms."""
        born = now - self.started_ago_ms if self.started_ago_ms else None
        t = start // 10_000 * 10_000
        while (t := t + 10_000) <= min(end, now - self.silent_ms):
            young = born is not None and born < t <= born + 5 * MINUTE
            if not young and t % MINUTE:
                continue
            if born is not None and born - 4 * MINUTE < t <= born:
                continue
            if self.outage and now - self.outage[0] * MINUTE < t <= now - self.outage[1] * MINUTE:
                continue
            yield t, 10_000 if young else MINUTE

    def points(self, now: int, key: str, start: int, end: int) -> list[list[float]]:
        """Return the rows of one series as the receiver sends them."""
        curve = self.series[key][4]
        rows = []
        for t, length in self.windows(now, start, end):
            values = sorted(curve((t - length * k / 6) / 1000) for k in range(6))
            mean = sum(values) / len(values)
            rows.append([t, values[3], values[0], values[-1], mean, length // 1000])
        return rows


def furnish(host: Host, now_ms: int) -> None:
    """Give a host what every host measures."""
    begin_s = math.inf
    if host.incident_ago_ms is not None:
        begin_s = (now_ms - host.incident_ago_ms) / 1000
    _cpu(host, begin_s)
    _memory(host)
    _disks(host)
    _network(host)
    _programs(host, begin_s)
    _detail(host)
    _agent(host)


def _cpu(host: Host, begin_s: float) -> None:
    usual = around(f"{host.agent}cpu", 0.24, 0.8)
    busy = scaled(from_then_on(usual, begin_s, 0.985), 1, 1.0)
    host.add("vedette.cpu.busy", "gauge", "1", busy)
    parts = {"user": 0.66, "system": 0.22, "iowait": 0.07, "nice": 0.02, "interrupt": 0.03}
    for mode, part in parts.items():
        host.add("system.cpu.utilization", "gauge", "1", scaled(busy, part), cpu__mode=mode)
    host.add("system.cpu.utilization", "gauge", "1", lambda t: 1 - busy(t), cpu__mode="idle")
    for core in range(host.cpus):
        own = from_then_on(around(f"{host.agent}core{core}", 0.25, 0.9), begin_s, 0.985)
        core_busy = scaled(own, 1, 1.0)
        host.add("vedette.cpu.core.busy", "gauge", "1", core_busy, cpu__logical_number=str(core))
    for minutes in (1, 5, 15):
        load = scaled(busy, host.cpus * 1.3, lag_s=minutes * 20)
        host.add(f"system.cpu.load_average.{minutes}m", "gauge", "{thread}", load)


def _memory(host: Host) -> None:
    used = around(f"{host.agent}mem", 0.52, 0.12)
    for state, part in (("used", 1.0), ("buffers", 0.04), ("cached", 0.42), ("free", 0.3)):
        amount = scaled(used, part * host.memory)
        host.add("system.memory.usage", "updown", "By", amount, system__memory__state=state)
    host.add("system.memory.utilization", "gauge", "1", used, system__memory__state="used")
    swap = around(f"{host.agent}swap", 0.06, 0.4)
    host.add("system.paging.utilization", "gauge", "1", swap, system__paging__state="used")
    for way in ("in", "out"):
        curve = around(f"{host.agent}pg{way}", 3, 1.4)
        where = {"system__paging__direction": way, "system__paging__fault__type": "major"}
        host.add("system.paging.operations", "counter", "{operation}", curve, **where)


def _disks(host: Host) -> None:
    for disk in ("nvme0n1", "sda"):
        for way, level in (("read", 3.2e6), ("write", 11e6)):
            where = {"system__device": disk, "disk__io__direction": way}
            name = f"{host.agent}{disk}{way}"
            host.add("system.disk.io", "counter", "By", around(name, level, 1.1), **where)
            count = around(f"{name}ops", level / 32e3, 0.9)
            host.add("system.disk.operations", "counter", "{operation}", count, **where)
        busy = around(f"{host.agent}{disk}t", 0.11, 1)
        host.add("system.disk.io_time", "counter", "s", busy, system__device=disk)
    for device, mount, kind, size, share in FILESYSTEMS:
        where = {
            "system__device": device,
            "system__filesystem__mountpoint": mount,
            "system__filesystem__type": kind,
        }
        curve = around(f"{host.agent}{mount}", share, 0.01)
        host.add("system.filesystem.utilization", "gauge", "1", curve, **where)
        for state, part in (("used", share), ("free", 1 - share)):
            amount = around("still", size * part, 0)
            state_too = {**where, "system__filesystem__state": state}
            host.add("system.filesystem.usage", "updown", "By", amount, **state_too)


def _network(host: Host) -> None:
    for name, level in (("eth0", 2.4e6), ("wg0", 1.1e5)):
        for way in ("receive", "transmit"):
            where = {"network__interface__name": name, "network__io__direction": way}
            seed = f"{host.agent}{name}{way}"
            host.add("system.network.io", "counter", "By", around(seed, level, 0.9), **where)
            packets = around(f"{seed}p", level / 700, 0.9)
            host.add("system.network.packet.count", "counter", "{packet}", packets, **where)
            dropped = around(seed, 0, 0)
            host.add("system.network.packet.dropped", "counter", "{packet}", dropped, **where)


def _programs(host: Host, begin_s: float) -> None:
    programs = [
        (name, around(f"{host.agent}{name}c", cpu, 0.9), gib) for name, cpu, gib in PROGRAMS
    ]
    if begin_s < math.inf:
        programs.append(("stress-ng", from_then_on(around("off", 0, 0), begin_s, host.cpus), 0.2))
    for name, cpu, gib in programs:
        where = {"process__executable__name": name}
        host.add("process.cpu.utilization", "gauge", "1", cpu, **where)
        memory = around(f"{host.agent}{name}m", gib * GIB, 0.05)
        host.add("process.memory.usage", "updown", "By", memory, **where)
    for state, count in (("running", 3), ("sleeping", 212), ("blocked", 0.2)):
        curve = around(f"{host.agent}{state}", count, 0.1)
        host.add("system.process.count", "updown", "{process}", curve, process__state=state)


def _detail(host: Host) -> None:
    """Give a host series of the sections that are folded at first, one of them with many lines."""
    for resource in ("cpu", "io", "memory"):
        for kind in ("some", "full"):
            where = {"vedette__pressure__resource": resource, "vedette__pressure__kind": kind}
            curve = around(f"{host.agent}{resource}{kind}", 0.04, 1)
            host.add("vedette.pressure.time", "counter", "s", curve, **where)
    for name in ("active_opens", "passive_opens", "retransmits", "established_resets", "prunes"):
        curve = around(f"{host.agent}{name}", 2, 1)
        host.add(f"vedette.tcp.{name}", "counter", "{connection}", curve)
    for name in ("forwarded", "no_routes", "delivered", "broadcast"):
        curve = around(f"{host.agent}{name}", 40, 1)
        host.add(f"vedette.ip.{name}", "counter", "{packet}", curve, network__type="ipv4")
    for i in range(90):
        unit = f"unit-{i:02d}.service"
        curve = around(f"{host.agent}{unit}", (i + 1) * 1e6, 0.1)
        host.add("vedette.service.memory.usage", "updown", "By", curve, systemd__unit__name=unit)


def _agent(host: Host) -> None:
    own = around(f"{host.agent}self", 0.0031, 0.4)
    host.add("vedette.agent.cpu.utilization", "gauge", "1", own)
    rss = around(f"{host.agent}rss", 46 * 1024**2, 0.03)
    host.add("vedette.agent.memory.usage", "updown", "By", rss)
    durations = {"cpu": 6e-4, "memory": 2e-4, "disk": 9e-4, "processes": 4e-3, "filesystems": 2e-3}
    for name, level in durations.items():
        curve = around(f"{host.agent}{name}d", level, 0.5)
        host.add("vedette.collector.duration", "gauge", "s", curve, vedette__collector__name=name)


def serve_models(host: Host) -> None:
    """Add what a drop-in plugin would: metrics this page has never heard of."""
    model = {"gen_ai__request__model": "mistral-7b <b>v0.3</b>"}
    place = {
        "vedette__model__endpoint": "127.0.0.1:8000",
        "vedette__model__server": "vllm",
        "vedette__model__layer": "engine",
        "gen_ai__request__model": "llama-3.1-8b",
    }
    first = around("first", 0.2, 0.5)
    host.add("gen_ai.server.time_to_first_token", "distribution", "s", first, **place)
    host.add("vedette.model.requests.waiting", "updown", "{request}", around("q", 5, 1), **place)
    for outcome, level in (("ok", 11.6), ("server_error", 0.8)):
        curve = around(outcome, level, 0.4)
        told = {**place, "vedette__model__outcome": outcome}
        host.add("vedette.model.requests", "counter", "{request}", curve, **told)
    host.add("vllm.requests.running", "gauge", "{request}", around("run", 14, 0.8), **model)
    host.add("vllm.tokens.generated", "counter", "{token}", around("tok", 1450, 0.5), **model)
    first = around("ttft", 0.18, 0.7)
    host.add("vllm.time_to_first_token", "distribution", "s", first, **model)
    host.add("hw.gpu.temperature", "gauge", "Cel", around("temp", 64, 0.05), hw__id="gpu0")
    busy = scaled(around("gpu", 0.8, 0.3), 1, 1.0)
    host.add("hw.gpu.utilization", "gauge", "1", busy, hw__id="gpu0")
    host.add("custom.__proto__.rows", "gauge", "{row}", around("odd", 120, 0.2), constructor="x")
