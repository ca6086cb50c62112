"""Collector ``neighbours``: how full the tables of hardware addresses are, ARP's and IPv6's.

When such a table is full the host cannot reach machines on its own network that it does not know
yet. The tables are the whole kernel's, containers included, and their entries are counted by the
kernel itself: none is listed here.
"""

from __future__ import annotations

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, gauge, hookimpl, updown
from vedette_plugins._netfiles import PATIENCE, NetFile, added_up
from vedette_plugins._procfs import KernelFile, numbers

_TYPED = ["network.type"]
#: Name of the table's counters, and of the protocol below /proc/sys/net, by OpenTelemetry's word.
TABLES = {"ipv4": ("arp_cache", "ipv4"), "ipv6": ("ndisc_cache", "ipv6")}
WANTED = (b"entries", b"table_fulls", b"res_failed")


class Neighbours(Collector):
    """Entries of the neighbour tables against their limit."""

    name = "neighbours"
    interval_s = 10.0
    may_block = False
    source = "/proc/net/stat/arp_cache, /proc/net/stat/ndisc_cache"

    entries = updown(
        "vedette.neighbours.entries",
        "{entry}",
        "Hardware addresses known or being asked for.",
        _TYPED,
        resource="network",
        alarm="never",
    )
    limit = updown(
        "vedette.neighbours.limit",
        "{entry}",
        "Entries the table can have at most.",
        _TYPED,
        resource="network",
        alarm="never",
        source="/proc/sys/net/ipv4/neigh/default/gc_thresh3, the same of ipv6",
    )
    utilization = gauge(
        "vedette.neighbours.utilization",
        "1",
        "Share of the table's entries that is taken, 0 to 1.",
        _TYPED,
        resource="network",
        alarm="high",
        limit=1.0,
    )
    overflows = counter(
        "vedette.neighbours.overflows",
        "{event}",
        "Times an address could not be asked for because the table was full.",
        _TYPED,
        resource="network",
        alarm="high",
    )
    failures = counter(
        "vedette.neighbours.failures",
        "{event}",
        "Times nobody answered for an address.",
        _TYPED,
        resource="network",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._stats = {version: NetFile(f"stat/{name}") for version, (name, _) in TABLES.items()}
        #: The text and the limit of each table as they were last, and what they gave.
        self._told: dict[str, tuple[bytes, int, list[Sample]]] = {}
        self._limits: dict[str, int] = {}
        self._limit_age = 0

    def probe(self) -> None:
        if b"entries" not in self._stats["ipv4"].read(self.host):
            raise Unavailable(f"{self.host.proc}/net/stat/arp_cache is no table of counters")

    def collect(self) -> list[Sample]:
        self._limit_age -= 1
        if self._limit_age < 0:
            self._limit_age = PATIENCE
            self._limits = {
                version: self._read_limit(name) for version, (_, name) in TABLES.items()
            }
        samples: list[Sample] = []
        for version, file in self._stats.items():
            text, limit = file.read_if_there(self.host), self._limits[version]
            told = self._told.get(version)
            if told is None or told[:2] != (text, limit):
                told = self._told[version] = text, limit, self._parse(version, text, limit)
            samples += told[2]
        return samples

    def close(self) -> None:
        for file in self._stats.values():
            file.close()

    def _parse(self, version: str, text: bytes, limit: int) -> list[Sample]:
        sums = added_up(text, WANTED)
        entries = sums.get(b"entries")
        samples = []
        if entries is not None:
            samples.append(self.entries(entries, version))
            if limit:
                samples.append(self.limit(limit, version))
                samples.append(self.utilization(min(1.0, entries / limit), version))
        for name, total in ((b"table_fulls", self.overflows), (b"res_failed", self.failures)):
            if name in sums:
                samples.append(total(sums[name], version))
        return samples

    def _read_limit(self, name: str) -> int:
        """Return the entries a table can have; 0 where the kernel does not tell."""
        file = KernelFile(f"sys/net/{name}/neigh/default/gc_thresh3", one_record=True)
        try:
            values = numbers(file.read(self.host.proc).split(None, 1)[:1])
        except (Unavailable, OSError):
            return 0
        finally:
            file.close()
        return values[0] if values else 0


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Neighbours]
