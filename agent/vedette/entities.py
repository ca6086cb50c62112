"""Say what a series is about: its family, and which disk, mount, process, GPU or other thing.

The family is what the instrument declares (``resource``), the thing is read from the values of
well-known attributes. A series without such an attribute is about the host as a whole. Some series
name, besides, the families that they tell of: a kernel message of an I/O error speaks of disks, a
log's "out of memory" of memory.
Pure; a few hundred nanoseconds for a series seen before.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from vedette.api import Instrument, Series

#: Attributes that name a thing, the most telling first, and the kind of thing. A plugin's series
#: take part by using the same OpenTelemetry attributes.
NAMING: tuple[tuple[str, str], ...] = (
    ("container.name", "container"),
    ("container.id", "container"),
    ("k8s.pod.name", "container"),
    ("systemd.unit.name", "unit"),
    ("systemd.unit", "unit"),
    ("vedette.watch.name", "process"),
    ("process.executable.name", "process"),
    ("process.command", "process"),
    ("process.pid", "process"),
    ("system.filesystem.mountpoint", "mount"),
    ("vedette.btrfs.filesystem", "volume"),
    ("vedette.zfs.pool", "volume"),
    ("network.interface.name", "interface"),
    ("vedette.numa.node", "node"),
    ("vedette.pci.device", "device"),
    ("vedette.model.server", "model"),
    ("vedette.target", "target"),
    ("gen_ai.request.model", "model"),
    ("gen_ai.response.model", "model"),
    ("model_name", "model"),
    ("server.address", "server"),
    ("log.file.path", "log"),
    ("log.file.name", "log"),
    ("vedette.log.source", "log"),
    ("vedette.kernel.event.kind", "kernel message"),
    ("hw.id", "part"),
    ("system.device", "device"),
    ("cpu.logical_number", "core"),
)
#: What ``hw.id`` and ``system.device`` name depends on the family.
_PARTS = {"gpu": "gpu", "hardware": "sensor", "memory": "module"}
_DEVICES = {"disk": "disk", "raid": "array", "network": "interface", "memory": "swap device"}
#: Families whose name is another word for one of the known.
SAME_FAMILY = {
    "conntrack": "network",
    "interrupts": "cpu",
    "io": "disk",
    "load": "cpu",
    "logs": "log",
    "neighbours": "network",
    "paging": "memory",
    "softnet": "network",
    "swap": "memory",
    "tcp": "network",
    "udp": "network",
    "watch": "process",
}
#: Of what a kernel message of each kind tells; a kind not listed tells of its own alone.
KERNEL_KINDS = {
    "oom_kill": "memory process service container systemd",
    "machine_check": "hardware memory cpu",
    "memory_error": "hardware memory",
    "hung_task": "disk filesystem nfs process",
    "lockup": "cpu",
    "panic": "host",
    "filesystem_error": "filesystem disk raid",
    "io_error": "disk filesystem raid zfs",
    "raid": "raid disk",
    "gpu": "gpu pci model",
    "nfs": "nfs filesystem network",
    "thermal": "hardware cpu gpu",
    "link_down": "network",
    "link_up": "network",
    "conntrack_full": "network",
    "segfault": "process service",
    "warning": "",
}
#: Of what a log tells whose words are of a topic (``vedette.logs.topics``).
LOG_TOPICS = {
    "gpu": "gpu model memory",
    "memory": "memory process container service systemd",
    "space": "filesystem",
    "disk": "disk filesystem raid",
    "files": "kernel process",
    "network": "network nfs service systemd process model",
}
#: What processes in a state tell of: those who wait for a disk, those who wait for a core.
_PROCESS_STATES = {
    "blocked": "disk filesystem nfs",
    "running": "cpu",
    "defunct": "cpu",
    "stopped": "",
}
#: The same for metrics of the kernel, of processes as a whole and of models, by the end of their
#: name.
_METRICS = {
    "file_handles.utilization": "process network",
    "file_handles.usage": "process network",
    "hung_tasks": "disk filesystem nfs process",
    "oopses": "",
    "model.drift.strength": "",
    "model.quality.decline": "",
    "process.stopped": "",
}
#: ``sda1``, ``vda2`` and ``nvme0n1p3``, ``mmcblk0p1``: a partition and its disk.
_PARTITION = re.compile(r"((?:[shv]|xv)d[a-z]+)\d+|((?:nvme\d+n|mmcblk|nbd|md)\d+)p\d+")
#: Devices of which the name does not tell the disk below.
_MAPPED = re.compile(r"dm-|mapper/|md|zd|bcache|loop|zram|root$")


class Entity(msgspec.Struct, frozen=True, cache_hash=True):
    """One thing on this host; without a ``name`` the host itself, as far as ``kind`` goes."""

    kind: str
    name: str = ""

    @property
    def label(self) -> str:
        """Return it as a person would name it: ``disk sda``, ``memory``."""
        return f"{self.kind} {self.name}" if self.name else self.kind


class Place(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a series stands among the things of this host.

    ``family`` is the known word for the declared family, ``device`` the disk or server under a
    mount (empty: none that the name tells), ``endpoint`` where a model server is. ``told`` are the
    families that the series speaks of besides its own, None where it does not say.
    """

    family: str
    entity: Entity
    metric: str
    device: str = ""
    endpoint: str = ""
    told: frozenset[str] | None = None


def family_of(instrument: Instrument) -> str:
    """Return the family that an instrument declares, or else that its name begins with."""
    if instrument.resource:
        return instrument.resource
    words = instrument.name.split(".")
    return words[1] if words[0] in ("system", "vedette") and len(words) > 1 else words[0]


@lru_cache(maxsize=4096)
def place_of(series: Series) -> Place:
    """Return where a series stands."""
    declared = family_of(series.instrument)
    family = SAME_FAMILY.get(declared, declared)
    attributes = dict(zip(series.instrument.attributes, series.values, strict=True))
    metric = series.instrument.name
    return Place(
        family=family,
        entity=_entity(family, metric, attributes),
        metric=metric,
        device=disk_under(attributes.get("system.device", "")),
        endpoint=attributes.get("vedette.model.endpoint", ""),
        told=_told(family, metric, attributes),
    )


def disk_under(device: str) -> str:
    """Return the disk that a device is a part of, as far as its name tells; empty when it does not.

    What lies on a server is returned as it is, ``server:/export``.
    """
    if ":" in device or device.startswith("//"):
        return device
    name = device.removeprefix("/dev/")
    if not name or _MAPPED.match(name) or "/" in name:
        return ""
    part = _PARTITION.fullmatch(name)
    return next(filter(None, part.groups())) if part else name


def _entity(family: str, metric: str, attributes: dict[str, str]) -> Entity:
    for key, kind in NAMING:
        value = attributes.get(key)
        if not value:
            continue
        if ".bonding." in metric:
            return Entity("bond", value)  # it consists of interfaces and is none beside them
        if key == "hw.id":
            return Entity(_PARTS.get(family, "part"), value)
        if key == "cpu.logical_number":
            break  # one core is no thing of its own: what is wrong with it is wrong with the CPU
        if key == "system.device":
            if family == "cpu":
                break  # interrupts of a device
            kind = _DEVICES.get(family, "device")
            return Entity(kind, (disk_under(value) or value) if kind == "disk" else value)
        return Entity(kind, value)
    return Entity(family)


def _told(family: str, metric: str, attributes: dict[str, str]) -> frozenset[str] | None:
    kind = attributes.get("vedette.kernel.event.kind")
    if kind is not None:
        return frozenset(KERNEL_KINDS.get(kind, "").split())
    topic = attributes.get("vedette.log.topic")
    if topic:
        return frozenset(LOG_TOPICS.get(topic, "").split())
    state = attributes.get("process.state")
    if state in _PROCESS_STATES:
        return frozenset(_PROCESS_STATES[state].split())
    for end, families in _METRICS.items():
        if family in ("kernel", "model", "process") and metric.endswith(end):
            return frozenset(families.split())
    return None
