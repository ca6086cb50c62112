"""Collector ``bcache``: what the SSD cache in front of a disk serves, holds and fails at.

Read is /sys/fs/bcache, without the attributes that make the kernel walk the whole cache for an
answer (``priority_stats``, ``average_key_size``, ``root_usage_percent``). Amounts of bytes are
rounded by the kernel, so those that grow do it in steps. The rest takes a lock that is held while
devices are added and removed; so this has a thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._attributes import attribute, names, number
from vedette_plugins._procfs import LONGEST_TEXT

#: Cache sets, and the devices of one, that are read.
SETS_MAX, DEVICES_MAX = 32, 64
#: The hit ratio of fewer requests between two readings says nothing.
REQUESTS_MIN = 10
UNITS = b"kMGTPEZY"
UUID_LENGTH = 36
#: Attribute value and file of each way a request can end.
OUTCOMES = (
    ("hit", "cache_hits"),
    ("miss", "cache_misses"),
    ("bypass_hit", "cache_bypass_hits"),
    ("bypass_miss", "cache_bypass_misses"),
)
_BACKING = ["vedette.bcache.set", "system.device"]


class Bcache(Collector):
    """Hits, dirty data and errors of each cache set and the disks behind it."""

    name = "bcache"
    source = "/sys/fs/bcache"
    interval_s = 10.0
    may_block = "seldom"

    requests = counter(
        "vedette.bcache.requests",
        "{request}",
        "Requests to the disk that the cache served, missed, or was meant to let by.",
        [*_BACKING, "vedette.bcache.outcome"],
        resource="disk",
        alarm="never",
    )
    hit_ratio = gauge(
        "vedette.bcache.hit_ratio",
        "1",
        "Share of the requests since the previous reading that the cache served, 0 to 1; those it "
        "let by do not count, and with fewer than ten it is absent.",
        _BACKING,
        resource="disk",
        alarm="never",
    )
    bypassed = counter(
        "vedette.bcache.bypassed",
        "By",
        "Data that went past the cache; rounded by the kernel, so it grows in steps.",
        _BACKING,
        resource="disk",
        alarm="never",
    )
    dirty = updown(
        "vedette.bcache.dirty",
        "By",
        "Data in the cache that is not on the disk yet.",
        _BACKING,
        resource="disk",
        alarm="never",
    )
    backing_errors = counter(
        "vedette.bcache.backing.errors",
        "{error}",
        "Requests that the disk behind the cache failed.",
        _BACKING,
        resource="disk",
        alarm="high",
    )
    available = gauge(
        "vedette.bcache.available",
        "1",
        "Share of the cache without dirty data or metadata, 0 to 1.",
        ["vedette.bcache.set"],
        resource="disk",
        alarm="never",
    )
    cache_errors = updown(
        "vedette.bcache.cache.errors",
        "{error}",
        "Recent errors of the cache device; old ones fade.",
        _BACKING,
        resource="disk",
        alarm="high",
    )
    written = counter(
        "vedette.bcache.written",
        "By",
        "Data written to the cache device; rounded by the kernel, so it grows in steps.",
        _BACKING,
        resource="disk",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._before: dict[tuple[str, str], tuple[int, int]] = {}

    def probe(self) -> None:
        if not self._sets():
            raise Unavailable("no bcache on this host")

    def collect(self) -> Iterator[Sample]:
        before, self._before = self._before, {}
        for uuid in self._sets():
            folder = f"{self.host.sys}/fs/bcache/{uuid}"
            percent = number(f"{folder}/cache_available_percent")
            if percent is not None and percent <= 100:
                yield self.available(percent / 100.0, uuid)
            for device, path in devices(folder, "cache"):
                yield from self._cache(path, uuid, device)
            for device, path in devices(folder, "bdev"):
                yield from self._backing(path, uuid, device, before)

    def _sets(self) -> list[str]:
        """Return the UUIDs of the cache sets."""
        found = names(f"{self.host.sys}/fs/bcache")
        return [name for name in found if len(name) == UUID_LENGTH and "-" in name][:SETS_MAX]

    def _cache(self, path: str, uuid: str, device: str) -> Iterator[Sample]:
        errors = number(f"{path}/io_errors")
        if errors is not None:
            yield self.cache_errors(errors, uuid, device)
        written = amount(attribute(f"{path}/written"))
        if written is not None:
            yield self.written(written, uuid, device)

    def _backing(
        self, path: str, uuid: str, device: str, before: dict[tuple[str, str], tuple[int, int]]
    ) -> Iterator[Sample]:
        totals = {name: number(f"{path}/stats_total/{file}") for name, file in OUTCOMES}
        for outcome, total in totals.items():
            if total is not None:
                yield self.requests(total, uuid, device, outcome)
        hits, misses = totals["hit"], totals["miss"]
        if hits is not None and misses is not None:
            hits_before, misses_before = before.get((uuid, device), (hits, misses))
            self._before[uuid, device] = hits, misses
            hit, missed = hits - hits_before, misses - misses_before
            if hit >= 0 and missed >= 0 and hit + missed >= REQUESTS_MIN:
                yield self.hit_ratio(hit / (hit + missed), uuid, device)
        for instrument, file in (
            (self.bypassed, "stats_total/bypassed"),
            (self.dirty, "dirty_data"),
        ):
            octets = amount(attribute(f"{path}/{file}"))
            if octets is not None:
                yield instrument(octets, uuid, device)
        errors = number(f"{path}/io_errors")
        if errors is not None:
            yield self.backing_errors(errors, uuid, device)


def devices(folder: str, kind: str) -> Iterator[tuple[str, str]]:
    """Yield the devices of a cache set, by name of the disk, with their folder.

    The kernel numbers them and links to ``.../block/sdb/bcache``; where that is no link, the
    number stands for the disk.
    """
    seen: set[str] = set()
    for name in names(folder, kind)[:DEVICES_MAX]:
        # Not those of the set's own files that begin alike.
        if not name[len(kind) :].isdecimal():
            continue
        path = f"{folder}/{name}"
        try:
            link = os.readlink(path)  # noqa: PTH115 - of a text, as everything here
            device = os.path.basename(os.path.dirname(link)).replace("!", "/")
        except OSError:
            device = name
        if not device.isprintable() or not 0 < len(device) <= LONGEST_TEXT or device in seen:
            device = name
        seen.add(device)
        yield device, path


def amount(text: bytes | None) -> float | None:
    """Return the bytes that the kernel wrote for people: ``512``, ``20.4G``, ``-1.5k``.

    The unit is 1024 to a power. None when it is no such amount, or below zero.
    """
    if not text:
        return None
    power = UNITS.find(text[-1:].replace(b"K", b"k")) + 1
    digits = text[:-1] if power else text
    whole, _, tenth = digits.partition(b".")
    if not whole.isdigit() or not (not tenth or tenth.isdigit()) or len(digits) > 20:
        return None
    return float(digits) * 1024.0**power


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Bcache]
