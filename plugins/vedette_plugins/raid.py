"""Collector ``raid``: is every Linux software RAID array whole, and how far is its rebuild.

/proc/mdstat says which arrays there are, /sys/block/ARRAY/md what becomes of each. Containers of
external metadata (a firmware RAID's ``/dev/md/imsm0``) hold arrays but are none and are left out.

Reading can wait: old kernels (before 4.0, so RHEL 7) take the lock of the array for each attribute,
and the table takes that of a bitmap, which may be held while a failing disk does not answer. So
this has a thread of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._attributes import attribute, names, number, word
from vedette_plugins._procfs import LONGEST_TEXT, KernelFile, numbers

#: Arrays that are read, and disks of one array; Linux manages 512 arrays by default.
ARRAYS_MAX, DISKS_MAX = 128, 256
#: States of an array that serves its users.
RUNNING = frozenset({"readonly", "read-auto", "clean", "active", "write-pending", "active-idle"})
STOPPED = frozenset({"clear", "inactive", "suspended", "broken"})
SYNCING = frozenset({"resync", "recover", "check", "repair", "reshape"})
PARITY = frozenset({"raid4", "raid5", "raid6"})
SECTOR = 512
KIB = 1024
_ARRAY = ["system.device"]


class Raid(Collector):
    """Disks, rebuild and mismatches of each md array."""

    name = "raid"
    source = "/proc/mdstat, /sys/block/*/md"
    interval_s = 10.0
    may_block = "seldom"

    degraded = updown(
        "vedette.raid.degraded",
        "{disk}",
        "Disks the array lacks to be whole; one that is being rebuilt still counts.",
        _ARRAY,
        resource="raid",
        alarm="high",
    )
    running = gauge(
        "vedette.raid.running",
        "1",
        "1 while the array can be used, 0 while it is stopped, suspended or broken.",
        _ARRAY,
        resource="raid",
        alarm="low",
    )
    disks = updown(
        "vedette.raid.disks",
        "{disk}",
        "Disks in this state: active, failed, spare (or being rebuilt), and down for places "
        "without an active disk.",
        [*_ARRAY, "vedette.raid.disk.state"],
        resource="raid",
        alarm="never",
    )
    errors = counter(
        "vedette.raid.disk.errors",
        "{error}",
        "Read errors of a member that the array put right.",
        [*_ARRAY, "vedette.raid.disk"],
        resource="raid",
        alarm="high",
        source="/sys/block/*/md/dev-*/errors",
    )
    progress = gauge(
        "vedette.raid.sync.progress",
        "1",
        "Share of the running resync, rebuild or check that is done, 0 to 1.",
        [*_ARRAY, "vedette.raid.sync.action"],
        resource="raid",
        alarm="never",
    )
    speed = gauge(
        "vedette.raid.sync.speed",
        "By/s",
        "Speed of the running resync, rebuild or check, per disk.",
        [*_ARRAY, "vedette.raid.sync.action"],
        resource="raid",
        alarm="never",
    )
    # The same metric: mirrors differ harmlessly where memory changed while it was written.
    mirror_mismatch = updown(
        "vedette.raid.mismatch",
        "By",
        "Data the last check found to differ between the disks.",
        _ARRAY,
        resource="raid",
        alarm="never",
    )
    parity_mismatch = updown(
        "vedette.raid.mismatch",
        "By",
        "Data the last check found to differ between the disks.",
        _ARRAY,
        resource="raid",
        alarm="high",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._mdstat = KernelFile("mdstat")

    def probe(self) -> None:
        if not arrays(self._mdstat.read(self.host.proc)):
            raise Unavailable("no software RAID array on this host")

    def collect(self) -> Iterator[Sample]:
        for name in arrays(self._mdstat.read(self.host.proc)):
            # sysfs writes a slash in a name as an exclamation mark.
            folder = f"{self.host.sys}/block/{name.replace('/', '!')}/md"
            places = number(f"{folder}/raid_disks")
            if places:
                yield from self._array(name, folder, places)

    def close(self) -> None:
        self._mdstat.close()

    def _array(self, name: str, folder: str, places: int) -> Iterator[Sample]:
        yield from self._members(name, folder, places)
        state = word(f"{folder}/array_state")
        if state in RUNNING or state in STOPPED:
            yield self.running(float(state in RUNNING), name)
        # Attributes that only an array with redundancy has.
        lacking = number(f"{folder}/degraded")
        if lacking is not None and lacking <= places:
            yield self.degraded(lacking, name)
        differing = number(f"{folder}/mismatch_cnt")
        if differing is not None:
            has_parity = word(f"{folder}/level") in PARITY
            mismatch = self.parity_mismatch if has_parity else self.mirror_mismatch
            yield mismatch(differing * SECTOR, name)
        action = word(f"{folder}/sync_action")
        if action in SYNCING:
            done = share(attribute(f"{folder}/sync_completed") or b"")
            if done is not None:
                yield self.progress(done, name, action)
            speed = number(f"{folder}/sync_speed")
            if speed is not None:
                yield self.speed(speed * KIB, name, action)

    def _members(self, name: str, folder: str, places: int) -> Iterator[Sample]:
        counts = {"active": 0, "failed": 0, "spare": 0}
        for entry in names(folder, "dev-")[:DISKS_MAX]:
            flags = attribute(f"{folder}/{entry}/state")
            if flags is None:
                continue
            state = member_state(flags)
            if state:
                counts[state] += 1
            errors = number(f"{folder}/{entry}/errors")
            if errors is not None:
                yield self.errors(errors, name, entry[len("dev-") :].replace("!", "/"))
        for state, count in counts.items():
            yield self.disks(count, name, state)
        yield self.disks(max(0, places - counts["active"]), name, "down")


def arrays(text: bytes) -> list[str]:
    """Return the names of the arrays in the text of /proc/mdstat."""
    found: dict[str, None] = {}
    for line in text.split(b"\n"):
        raw, separator, _ = line.partition(b" : ")
        if separator and raw.startswith(b"md") and raw.isascii():
            name = raw.decode()
            if name.isprintable() and len(name) <= LONGEST_TEXT:
                found[name] = None
    return list(found)[:ARRAYS_MAX]


def member_state(flags: bytes) -> str:
    """Return what a member is by its flags; empty for one that holds no data of its own."""
    words = flags.split(b",")
    if b"faulty" in words:
        return "failed"
    if b"journal" in words:
        return ""
    if b"in_sync" in words:
        return "active"
    return "spare" if b"spare" in words else ""


def share(completed: bytes) -> float | None:
    """Return the share that ``done / all`` says is done; None for ``none`` or ``delayed``."""
    done, separator, whole = completed.partition(b" / ")
    values = numbers((done, whole)) if separator else None
    if values is None or not 0 < values[1] >= values[0]:
        return None
    return values[0] / values[1]


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Raid]
