"""Collector ``btrfs``: space as Btrfs itself counts it, errors of its devices, commits.

Btrfs hands out the disks in chunks for data or for metadata. It is full when one kind needs another
chunk and none is left, which ``df`` does not show for metadata: files can be deleted no more, with
gigabytes free. So the metadata's share is told of what it has and what it could still get.

What is unallocated is derived from the sizes of the devices; it is too large where the filesystem
was made smaller than its device, and absent while a device is missing. A filesystem goes by its
label, or by its UUID where it has none or shares it. Everything read is behind spin locks only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._attributes import attribute, names, number, word
from vedette_plugins._procfs import number_after

#: Filesystems, and devices of one, that are read.
FILESYSTEMS_MAX, DEVICES_MAX = 64, 64
UUID_LENGTH = 36
SECTOR = 512
#: Kinds of chunks: data, metadata (or both mixed) and system; zoned devices have more.
KINDS_MAX = 16
ERRORS = ("write", "read", "flush", "corruption", "generation")
_FILESYSTEM = ["vedette.btrfs.filesystem"]


class Btrfs(Collector):
    """Space, errors and commits of each mounted Btrfs."""

    name = "btrfs"
    source = "/sys/fs/btrfs"
    interval_s = 30.0
    may_block = False

    usage = updown(
        "vedette.btrfs.usage",
        "By",
        "Space of the chunks for this kind of content, used and free; copies count once.",
        [*_FILESYSTEM, "vedette.btrfs.kind", "system.filesystem.state"],
        resource="filesystem",
        alarm="never",
        source="/sys/fs/btrfs/*/allocation",
    )
    metadata = gauge(
        "vedette.btrfs.metadata.utilization",
        "1",
        "Share of the space metadata has or could still get that is used or reserved, 0 to 1.",
        _FILESYSTEM,
        resource="filesystem",
        alarm="high",
        limit=1.0,
        source="/sys/fs/btrfs/*/allocation",
    )
    unallocated = updown(
        "vedette.btrfs.unallocated",
        "By",
        "Space of the devices that is in no chunk yet; copies will take their part of it.",
        _FILESYSTEM,
        resource="filesystem",
        alarm="never",
        source="/sys/fs/btrfs/*/devices/*/size",
    )
    missing = updown(
        "vedette.btrfs.devices.missing",
        "{device}",
        "Devices of the filesystem that are not there.",
        _FILESYSTEM,
        resource="filesystem",
        alarm="high",
        source="/sys/fs/btrfs/*/devinfo/*/missing",
    )
    errors = counter(
        "vedette.btrfs.device.errors",
        "{error}",
        "Errors of a device since its statistics were last cleared; they outlive a mount.",
        [*_FILESYSTEM, "vedette.btrfs.device.id", "error.type"],
        resource="filesystem",
        alarm="high",
        source="/sys/fs/btrfs/*/devinfo/*/error_stats",
    )
    commits = counter(
        "vedette.btrfs.commits",
        "{commit}",
        "Transactions written to the disks.",
        _FILESYSTEM,
        resource="filesystem",
        alarm="never",
        source="/sys/fs/btrfs/*/commit_stats",
    )
    commit_time = counter(
        "vedette.btrfs.commit.time",
        "s",
        "Time of all commits added up; those who write to the filesystem may wait for one.",
        _FILESYSTEM,
        resource="filesystem",
        alarm="never",
        source="/sys/fs/btrfs/*/commit_stats",
    )

    def probe(self) -> None:
        if not self._mounted():
            raise Unavailable("no Btrfs is mounted")

    def collect(self) -> Iterator[Sample]:
        folders = {uuid: f"{self.host.sys}/fs/btrfs/{uuid}" for uuid in self._mounted()}
        labels = {uuid: word(f"{folder}/label") for uuid, folder in folders.items()}
        bearers = Counter(labels.values())
        for uuid, folder in folders.items():
            label = labels[uuid]
            is_own = label and bearers[label] == 1 and label not in folders
            name = label if is_own else uuid
            yield from self._space(name, folder)
            yield from self._devices(name, folder)
            stats = b"\n" + (attribute(f"{folder}/commit_stats") or b"")
            commits = number_after(stats, b"\ncommits ")
            if commits is not None:
                yield self.commits(commits, name)
            spent_ms = number_after(stats, b"\ntotal_commit_ms ")
            if spent_ms is not None:
                yield self.commit_time(spent_ms / 1000.0, name)

    def _mounted(self) -> list[str]:
        """Return the UUIDs of the mounted filesystems."""
        found = names(f"{self.host.sys}/fs/btrfs")
        return [one for one in found if len(one) == UUID_LENGTH and "-" in one][:FILESYSTEMS_MAX]

    def _space(self, name: str, folder: str) -> Iterator[Sample]:
        allocated: list[int | None] = []
        for kind in names(f"{folder}/allocation")[:KINDS_MAX]:
            chunks = f"{folder}/allocation/{kind}"
            used, total = number(f"{chunks}/bytes_used"), number(f"{chunks}/total_bytes")
            if used is None or total is None:
                continue
            if used <= total:
                yield self.usage(used, name, kind, "used")
                yield self.usage(total - used, name, kind, "free")
            allocated.append(number(f"{chunks}/disk_total"))
        size, taken = devices_size(folder), added(allocated)
        if size is None or taken is None or size < taken:
            return
        yield self.unallocated(size - taken, name)
        share = metadata_share(folder, size - taken)
        if share is not None:
            yield self.metadata(share, name)

    def _devices(self, name: str, folder: str) -> Iterator[Sample]:
        missing = None
        for device in names(f"{folder}/devinfo")[:DEVICES_MAX]:
            is_missing = number(f"{folder}/devinfo/{device}/missing")
            if is_missing is not None:
                missing = (missing or 0) + (is_missing > 0)
            stats = b"\n" + (attribute(f"{folder}/devinfo/{device}/error_stats") or b"")
            for error in ERRORS:
                count = number_after(stats, b"\n%s_errs " % error.encode())
                if count is not None:
                    yield self.errors(count, name, device, error)
        if missing is not None:
            yield self.missing(missing, name)


def devices_size(folder: str) -> int | None:
    """Return the bytes of all devices together; None when one is missing or does not tell."""
    if any(number(f"{folder}/devinfo/{one}/missing") for one in names(f"{folder}/devinfo")):
        return None
    sectors = added([number(f"{folder}/devices/{one}/size") for one in names(f"{folder}/devices")])
    return None if sectors is None else sectors * SECTOR


def added(parts: list[int | None]) -> int | None:
    """Return the sum; None when there are no parts or one is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def metadata_share(folder: str, unallocated: int) -> float | None:
    """Return the share of the metadata's space that is in use, or kept for finishing deletions."""
    chunks = f"{folder}/allocation/metadata"
    used, total = number(f"{chunks}/bytes_used"), number(f"{chunks}/total_bytes")
    on_disks = number(f"{chunks}/disk_total")
    if used is None or not total or not on_disks:
        return None
    reserve = number(f"{folder}/allocation/global_rsv_size") or 0
    # What is unallocated is worth less to metadata that is kept twice.
    return min(1.0, (used + reserve) / (total + unallocated * total / on_disks))


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Btrfs]
