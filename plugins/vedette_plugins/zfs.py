"""Collector ``zfs``: is each pool well, what it moves, and how the ARC does, from /proc/spl/kstat.

No ``zpool`` is run. A pool's traffic is the sum over its mounted datasets, so it is what programs
asked for, not what went to the disks; it is left out for a pool with very many datasets, as part of
them would say nothing. The L2ARC is left out until there is one.

These files belong to a module outside of the kernel, take locks of its own and can be thousands; so
this has a thread of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from vedette.api import Collector, Instrument, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._attributes import attribute, names, word
from vedette_plugins._procfs import LONGEST_TEXT, KernelFile

KSTAT = "spl/kstat/zfs"
POOLS_MAX = 64
#: The hit ratio of fewer requests between two readings says nothing.
REQUESTS_MIN = 100
#: A counter that was taken from too often is near 2**64.
LARGEST = 1 << 63
ONLINE = "online"
TROUBLES = frozenset({"degraded", "faulted", "offline", "removed", "unavail", "suspended"})
ACCESSES = tuple(
    (access, content, outcome, f"{access}_{content}_{plural}".encode())
    for access in ("demand", "prefetch")
    for content in ("data", "metadata")
    for outcome, plural in (("hit", "hits"), ("iohit", "iohits"), ("miss", "misses"))
)
EVICTED = (b"evict_l2_cached", b"evict_l2_eligible", b"evict_l2_ineligible")
L2_ERRORS = (b"l2_io_error", b"l2_cksum_bad", b"l2_writes_error")
#: What of a dataset is added up over its pool.
TRAFFIC = (b"nread", b"nwritten", b"reads", b"writes")
_POOL = ["vedette.zfs.pool"]
_DIRECTED = ["vedette.zfs.pool", "disk.io.direction"]

Kstat = Mapping[bytes, int]


class ZfsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is read of a pool."""

    datasets_max: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Mounted datasets of a pool up to which its traffic is added up.",
        ),
    ] = 256


class Zfs(Collector):
    """State and traffic of each pool; size, requests and evictions of the ARC."""

    name = "zfs"
    Config = ZfsConfig
    source = "/proc/spl/kstat/zfs"
    interval_s = 10.0
    may_block = "seldom"

    degraded = gauge(
        "vedette.zfs.pool.degraded",
        "1",
        "1 while the pool is in any state but ONLINE, else 0.",
        _POOL,
        resource="zfs",
        alarm="high",
        source="/proc/spl/kstat/zfs/*/state",
    )
    state = gauge(
        "vedette.zfs.pool.state",
        "1",
        "1 for the state the pool is in; the other states are absent.",
        [*_POOL, "vedette.zfs.pool.state"],
        resource="zfs",
        alarm="never",
        source="/proc/spl/kstat/zfs/*/state",
    )
    pool_io = counter(
        "vedette.zfs.pool.io",
        "By",
        "Bytes programs read from or wrote to the pool's mounted datasets.",
        _DIRECTED,
        resource="zfs",
        alarm="never",
        source="/proc/spl/kstat/zfs/*/objset-*",
    )
    pool_operations = counter(
        "vedette.zfs.pool.operations",
        "{operation}",
        "Reads or writes of programs on the pool's mounted datasets.",
        _DIRECTED,
        resource="zfs",
        alarm="never",
        source="/proc/spl/kstat/zfs/*/objset-*",
    )
    arc_size = updown(
        "vedette.zfs.arc.size", "By", "Memory the ARC uses.", resource="zfs", alarm="never"
    )
    arc_target = updown(
        "vedette.zfs.arc.target",
        "By",
        "Size the ARC aims at; it falls when the host lacks memory.",
        resource="zfs",
        alarm="never",
    )
    arc_limit = updown(
        "vedette.zfs.arc.limit",
        "By",
        "Size the ARC may grow to.",
        resource="zfs",
        alarm="never",
    )
    arc_requests = counter(
        "vedette.zfs.arc.requests",
        "{request}",
        "Requests to the ARC: served, already being read from disk, or missed.",
        ["vedette.zfs.arc.access", "vedette.zfs.arc.content", "vedette.zfs.arc.outcome"],
        resource="zfs",
        alarm="never",
    )
    arc_hit_ratio = gauge(
        "vedette.zfs.arc.hit_ratio",
        "1",
        "Share of the demand requests since the previous reading that the ARC served, 0 to 1; "
        "absent with fewer than a hundred.",
        resource="zfs",
        alarm="never",
    )
    arc_evicted = counter(
        "vedette.zfs.arc.evicted",
        "By",
        "Data thrown out of the ARC.",
        resource="zfs",
        alarm="never",
    )
    arc_throttled = counter(
        "vedette.zfs.arc.throttled",
        "{operation}",
        "Writes that had to wait because memory was short.",
        resource="zfs",
        alarm="never",
    )
    l2_size = updown(
        "vedette.zfs.l2arc.size",
        "By",
        "Data in the L2ARC before compression.",
        resource="zfs",
        alarm="never",
    )
    l2_requests = counter(
        "vedette.zfs.l2arc.requests",
        "{request}",
        "Requests the ARC missed and the L2ARC served or missed.",
        ["vedette.zfs.arc.outcome"],
        resource="zfs",
        alarm="never",
    )
    l2_io = counter(
        "vedette.zfs.l2arc.io",
        "By",
        "Bytes read from or written to the L2ARC.",
        ["disk.io.direction"],
        resource="zfs",
        alarm="never",
    )
    l2_errors = counter(
        "vedette.zfs.l2arc.errors",
        "{error}",
        "Reads of the L2ARC that failed or gave damaged data, and writes that failed.",
        resource="zfs",
        alarm="high",
    )
    zil_commits = counter(
        "vedette.zfs.zil.commits",
        "{commit}",
        "Times a program waited for the intent log (fsync, synchronous writes).",
        resource="zfs",
        alarm="never",
        source="/proc/spl/kstat/zfs/zil",
    )
    zil_io = counter(
        "vedette.zfs.zil.io",
        "By",
        "Bytes written to the intent log, in the pool (normal) or on a log device (slog).",
        ["vedette.zfs.zil.place"],
        resource="zfs",
        alarm="never",
        source="/proc/spl/kstat/zfs/zil",
    )

    def __init__(self, config: ZfsConfig) -> None:
        super().__init__(config)
        self._arcstats = KernelFile(f"{KSTAT}/arcstats")
        self._zil = KernelFile(f"{KSTAT}/zil")
        self._demand: tuple[int, int] | None = None

    def probe(self) -> None:
        if not os.path.exists(f"{self.host.proc}/{KSTAT}"):
            raise Unavailable("no ZFS module is loaded")

    def collect(self) -> Iterator[Sample]:
        arc = kstat(self._arcstats.read(self.host.proc))
        if b"size" not in arc:
            raise Unavailable(f"{self.host.proc}/{KSTAT}/arcstats does not tell the ARC's size")
        yield from self._arc(arc)
        yield from self._l2arc(arc)
        yield from self._intent_log()
        for pool in self._pools():
            yield from self._pool(pool)

    def close(self) -> None:
        self._arcstats.close()
        self._zil.close()

    def _arc(self, arc: Kstat) -> Iterator[Sample]:
        for access, content, outcome, key in ACCESSES:
            if key in arc:
                yield self.arc_requests(arc[key], access, content, outcome)
        hits = arc.get(b"demand_data_hits", 0) + arc.get(b"demand_metadata_hits", 0)
        asked = sum(arc.get(key, 0) for access, *_, key in ACCESSES if access == "demand")
        before, self._demand = self._demand, (hits, asked)
        if before is not None:
            hit, of = hits - before[0], asked - before[1]
            if of >= REQUESTS_MIN and 0 <= hit <= of:
                yield self.arc_hit_ratio(hit / of)
        yield from added(arc, self.arc_size, b"size")
        yield from added(arc, self.arc_target, b"c")
        yield from added(arc, self.arc_limit, b"c_max")
        yield from added(arc, self.arc_throttled, b"memory_throttle_count")
        yield from added(arc, self.arc_evicted, *EVICTED)

    def _l2arc(self, arc: Kstat) -> Iterator[Sample]:
        if any(arc.get(key) for key in (b"l2_hits", b"l2_misses", b"l2_size")):
            yield from added(arc, self.l2_size, b"l2_size")
            yield from added(arc, self.l2_requests, b"l2_hits", values=("hit",))
            yield from added(arc, self.l2_requests, b"l2_misses", values=("miss",))
            yield from added(arc, self.l2_io, b"l2_read_bytes", values=("read",))
            yield from added(arc, self.l2_io, b"l2_write_bytes", values=("write",))
            yield from added(arc, self.l2_errors, *L2_ERRORS)

    def _intent_log(self) -> Iterator[Sample]:
        try:
            zil = kstat(self._zil.read(self.host.proc))
        except Unavailable:
            return
        yield from added(zil, self.zil_commits, b"zil_commit_count")
        yield from added(zil, self.zil_io, b"zil_itx_metaslab_normal_bytes", values=("normal",))
        yield from added(zil, self.zil_io, b"zil_itx_metaslab_slog_bytes", values=("slog",))

    def _pools(self) -> list[str]:
        """Return the pools: the folders among the files of the module as a whole."""
        try:
            with os.scandir(f"{self.host.proc}/{KSTAT}") as entries:
                found = [entry.name for entry in entries if entry.is_dir()]
        except OSError:
            return []
        return sorted(name for name in found if name.isprintable() and len(name) <= LONGEST_TEXT)[
            :POOLS_MAX
        ]

    def _pool(self, pool: str) -> Iterator[Sample]:
        folder = f"{self.host.proc}/{KSTAT}/{pool}"
        state = word(f"{folder}/state").lower()
        if state:
            yield self.degraded(float(state != ONLINE), pool)
            yield self.state(1.0, pool, state if state in TROUBLES | {ONLINE} else "other")
        datasets = names(folder, "objset-")
        if not 0 < len(datasets) <= self.config.datasets_max:
            return
        totals = dict.fromkeys(TRAFFIC, 0)
        for dataset in datasets:
            counts = kstat(attribute(f"{folder}/{dataset}") or b"")
            for key in TRAFFIC:
                # A sum that lacked a dataset for a tick would leap at the next one.
                if key not in counts:
                    return
                totals[key] += counts[key]
        yield self.pool_io(totals[b"nread"], pool, "read")
        yield self.pool_io(totals[b"nwritten"], pool, "write")
        yield self.pool_operations(totals[b"reads"], pool, "read")
        yield self.pool_operations(totals[b"writes"], pool, "write")


def added(
    numbers: Kstat, instrument: Instrument, *keys: bytes, values: tuple[str, ...] = ()
) -> Iterator[Sample]:
    """Yield the sum of what the keys name; nothing when one of them is missing."""
    parts = [numbers[key] for key in keys if key in numbers]
    if len(parts) == len(keys):
        yield instrument(sum(parts), *values)


def kstat(text: bytes) -> dict[bytes, int]:
    """Return the numbers of a kstat, which has a name, a type and a value in each line."""
    found: dict[bytes, int] = {}
    for line in text.split(b"\n"):
        words = line.split()
        if len(words) == 3 and words[2].isdigit() and len(words[2]) < 20:
            value = int(words[2])
            if value < LARGEST:
                found[words[0]] = value
    return found


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Zfs]
