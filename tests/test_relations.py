"""What a series is about, and what shows where: every declared family has its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vedette.api import gauge
from vedette.entities import (
    KERNEL_KINDS,
    NAMING,
    SAME_FAMILY,
    Entity,
    Place,
    disk_under,
    family_of,
    place_of,
)
from vedette.happenings import COUNTED, MESSAGES
from vedette.relations import RELATIONS, Tie, core, tie
from vedette.suspects import EXPLAINED_BY
from vedette_plugins.kernel_log import HARMLESS, SERIOUS

sys.path.insert(0, str(Path(__file__).parent))
from incident_scenarios import instruments, series

DECLARED = instruments()


def test_every_family_that_a_collector_declares_has_a_place() -> None:
    families = {family_of(one) for one in DECLARED}
    assert {SAME_FAMILY.get(family, family) for family in families} <= RELATIONS.keys()


def test_relations_speak_of_known_families_alone() -> None:
    for family, relation in RELATIONS.items():
        named = relation.effects | relation.side_effects | relation.starved
        assert named <= RELATIONS.keys()
        assert family not in named
        assert not relation.effects & relation.side_effects
    assert set(SAME_FAMILY.values()) <= RELATIONS.keys()
    assert EXPLAINED_BY.keys() <= RELATIONS.keys()
    assert {name for named in KERNEL_KINDS.values() for name in named.split()} <= RELATIONS.keys()


def test_every_kind_of_kernel_message_has_a_place_and_words() -> None:
    kinds = {kind for kind, _ in (*SERIOUS, *HARMLESS)}
    assert kinds == set(KERNEL_KINDS) == set(MESSAGES)


def test_what_counts_events_is_declared_by_a_collector() -> None:
    assert COUNTED.keys() <= {one.name for one in DECLARED}


def test_attributes_that_name_a_thing_are_those_that_collectors_declare() -> None:
    declared = {key for one in DECLARED for key in one.attributes}
    known = {key for key, _ in NAMING}
    by_others = {  # OpenTelemetry's, for plugins
        "container.id",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "k8s.pod.name",
        "log.file.name",
        "log.file.path",
        "model_name",
        "process.command",
        "process.pid",
        "server.address",
        "systemd.unit",
        "vedette.model.server",
    }
    assert known - declared <= by_others


@pytest.mark.parametrize(
    ("name", "values", "family", "entity"),
    [
        ("vedette.cpu.busy", (), "cpu", Entity("cpu")),
        ("vedette.cpu.core.busy", ("3",), "cpu", Entity("cpu")),
        ("system.disk.io", ("nvme0n1p2", "read"), "disk", Entity("disk", "nvme0n1")),
        ("vedette.smart.healthy", ("/dev/sda",), "disk", Entity("disk", "sda")),
        (
            "system.filesystem.utilization",
            ("/dev/sda1", "/var", "ext4"),
            "filesystem",
            Entity("mount", "/var"),
        ),
        ("system.network.io", ("eth0", "receive"), "network", Entity("interface", "eth0")),
        ("vedette.tcp.retransmits", (), "network", Entity("network")),
        ("vedette.service.memory.oom_kills", ("web",), "service", Entity("unit", "web")),
        ("container.memory.usage", ("web",), "container", Entity("container", "web")),
        ("vedette.watch.process.count", ("nginx",), "process", Entity("process", "nginx")),
        ("vedette.raid.degraded", ("md0",), "raid", Entity("array", "md0")),
        ("hw.gpu.memory.utilization", ("GPU-1", "H200"), "gpu", Entity("gpu", "GPU-1")),
        ("vedette.hw.temperature.utilization", ("cpu", "x"), "hardware", Entity("sensor", "cpu")),
        ("vedette.zfs.pool.degraded", ("tank",), "zfs", Entity("volume", "tank")),
        ("vedette.kernel.events", ("panic",), "kernel", Entity("kernel message", "panic")),
    ],
)
def test_the_thing_is_read_from_the_attributes(
    name: str, values: tuple[str, ...], family: str, entity: Entity
) -> None:
    place = place_of(series(name, *values))
    assert (place.family, place.entity) == (family, entity)


@pytest.mark.parametrize(
    ("device", "disk"),
    [
        ("/dev/sda1", "sda"),
        ("sdab12", "sdab"),
        ("vda", "vda"),
        ("/dev/nvme0n1", "nvme0n1"),
        ("/dev/nvme1n2p3", "nvme1n2"),
        ("mmcblk0p1", "mmcblk0"),
        ("/dev/mapper/vg-root", ""),
        ("dm-0", ""),
        ("md127", ""),
        ("server:/export", "server:/export"),
        ("", ""),
    ],
)
def test_the_disk_under_a_device_is_told_by_its_name_or_not_at_all(device: str, disk: str) -> None:
    assert disk_under(device) == disk


def test_a_family_is_declared_or_read_from_the_name() -> None:
    assert family_of(gauge("system.queue.depth", "1", "Depth.")) == "queue"
    assert family_of(gauge("shop.orders", "1", "Orders.")) == "shop"
    assert family_of(gauge("shop.orders", "1", "Orders.", resource="trade")) == "trade"


def place(name: str, *values: str, resource: str = "") -> Place:
    return place_of(series(name, *values, resource=resource))


BUSY = place("vedette.cpu.busy")
DISK = place("vedette.disk.utilization", "sda")
MEMORY = place("system.memory.utilization", "used")
VAR = place("system.filesystem.utilization", "/dev/sda2", "/var", "ext4")
NETWORK = place("vedette.tcp.retransmits")
OPEN = place("vedette.tcp.established")
FILES = place("vedette.kernel.file_handles.utilization")
ROOT = place("system.filesystem.utilization", "/dev/sda1", "/", "ext4")
SERVICE = place("vedette.service.memory.usage", "nginx.service")


def log(source: str, topic: str = "") -> Place:
    return place("vedette.log.strangeness", source, "new_template", "error", topic)


@pytest.mark.parametrize(
    ("cause", "effect", "expected"),
    [
        (BUSY, place("system.process.count", "running"), Tie.KIN),
        (BUSY, place("system.process.count", "blocked"), Tie.NONE),
        (BUSY, VAR, Tie.NONE),
        (BUSY, place("vedette.watch.process.count", "nginx"), Tie.NONE),
        (DISK, place("system.process.count", "blocked"), Tie.KIN),
        (DISK, BUSY, Tie.SIDE),
        (DISK, VAR, Tie.KIN),
        (place("vedette.disk.utilization", "sdb"), VAR, Tie.NONE),
        (DISK, place("system.filesystem.utilization", "/dev/dm-1", "/srv", "xfs"), Tie.KIN),
        (DISK, place("system.filesystem.utilization", "nas:/x", "/nas", "nfs4"), Tie.NONE),
        (DISK, place("vedette.disk.utilization", "sdb"), Tie.SIBLING),
        (DISK, place("vedette.smart.healthy", "sdb"), Tie.NONE),
        (DISK, place("vedette.kernel.events", "io_error"), Tie.KIN),
        (DISK, place("vedette.kernel.events", "link_down"), Tie.NONE),
        (MEMORY, DISK, Tie.NONE),
        (MEMORY, place("vedette.kernel.events", "oom_kill"), Tie.KIN),
        (MEMORY, place("vedette.pressure.time", "memory", "some", resource="memory"), Tie.SAME),
        (NETWORK, BUSY, Tie.NONE),
        (place("system.network.io", "eth0", "receive"), BUSY, Tie.SIDE),
        (place("system.network.io", "eth0", "receive"), NETWORK, Tie.KIN),
        # Many clients bring traffic, at once; a leak of connections brings none.
        (place("system.network.io", "eth0", "receive"), OPEN, Tie.SIBLING),
        (NETWORK, OPEN, Tie.SIBLING),
        # An open connection is an open file.
        (OPEN, place("vedette.kernel.file_handles.usage"), Tie.KIN),
        (NETWORK, place("vedette.kernel.file_handles.usage"), Tie.NONE),
        # Who is stopped has nothing to do with who is busy.
        (BUSY, place("vedette.process.stopped"), Tie.NONE),
        # A host whose CPU has no time for it retransmits to itself.
        (place("system.network.io", "lo", "receive"), NETWORK, Tie.KIN),
        (FILES, place("vedette.process.threads.utilization"), Tie.NONE),
        (
            FILES,
            place("vedette.watch.unix.file_descriptor.utilization", "nginx"),
            Tie.KIN,
        ),
        (
            place("vedette.network.link.up", "eth0"),
            place("vedette.network.bonding.active", "bond0"),
            Tie.KIN,
        ),
        (
            place("vedette.network.link.up", "eth0"),
            place("system.network.errors", "eth1", "receive"),
            Tie.NONE,
        ),
        (place("vedette.clock.steps"), NETWORK, Tie.NONE),
        # A log is of who wrote it, not of the mount that it lies on; unless it tells of that.
        (ROOT, log("/var/log/postgres.log"), Tie.NONE),
        (ROOT, log("/var/log/postgres.log", "space"), Tie.KIN),
        (SERVICE, log("nginx.service"), Tie.KIN),
        (SERVICE, log("nginx.service-2"), Tie.KIN),
        (SERVICE, log("mynginx.service"), Tie.NONE),
        (BUSY, place_of(gauge("shop.orders", "1", "Orders.").series()), Tie.STRANGE),
    ],
)
def test_what_shows_where(cause: Place, effect: Place, expected: Tie) -> None:
    assert tie(cause, effect) is expected


def test_a_resource_that_ran_out_starves_what_depends_on_it() -> None:
    assert tie(MEMORY, DISK, starving=True) is Tie.KIN
    assert tie(BUSY, DISK, starving=True) is Tie.NONE


def test_the_fault_itself_is_what_nothing_else_explains() -> None:
    running = place("system.process.count", "running")
    assert core([BUSY, running]) == {"cpu"}
    assert core([DISK, BUSY, running]) == {"disk"}
    assert core([DISK, VAR]) == {"disk", "filesystem"}
    assert core([MEMORY, DISK, BUSY]) == {"memory"}
    assert core([NETWORK]) == {"network"}
    assert core([]) == set()
