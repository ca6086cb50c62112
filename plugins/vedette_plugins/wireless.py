"""Collector ``wireless``: how well each wireless interface hears, from /proc/net/wireless.

The kernel asks the driver for each reading, under its lock for network configuration: so this has a
thread of its own, on hosts with a wireless card only.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, Sample, Unavailable, counter, gauge, hookimpl
from vedette_plugins._netfiles import NetFile
from vedette_plugins._procfs import numbers, printable

#: Cards read at most.
CARDS_MAX = 16
#: A level is a power in dBm when it is within these; what reaches 0 is on a scale of the driver's
#: own, and -256 stands for one that does not tell.
WEAKEST, STRONGEST = -192, -1
REASONS = ("network", "decryption", "fragment", "retry", "other")
_NAMED = ["network.interface.name"]


class Wireless(Collector):
    """Signal of each wireless interface, and what it had to throw away."""

    name = "wireless"
    interval_s = 10.0
    may_block = "seldom"
    source = "/proc/net/wireless"

    quality = gauge(
        "vedette.network.wireless.quality",
        "{quality}",
        "Quality of the connection, from 0 to the best the driver knows, often 70.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    signal = gauge(
        "vedette.network.wireless.signal",
        "{dBm}",
        "Power of the signal received, in decibels over a milliwatt.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    noise = gauge(
        "vedette.network.wireless.noise",
        "{dBm}",
        "Power of the noise received, in decibels over a milliwatt.",
        _NAMED,
        resource="network",
        alarm="never",
    )
    discards = counter(
        "vedette.network.wireless.discards",
        "{packet}",
        "Packets thrown away: of another network, not to be decrypted, with a fragment missing, "
        "without an answer to all retries, or for another reason.",
        [*_NAMED, "vedette.network.wireless.reason"],
        resource="network",
        alarm="never",
    )
    missed_beacons = counter(
        "vedette.network.wireless.missed_beacons",
        "{beacon}",
        "Beacons of the access point that were not heard.",
        _NAMED,
        resource="network",
        alarm="never",
    )

    _file: NetFile | None = None

    def probe(self) -> None:
        try:
            found = cards(self._read())
        except Unavailable:
            found = {}
        if not found:
            raise Unavailable("no wireless interface")

    def collect(self) -> Iterator[Sample]:
        for card, (levels, counts) in cards(self._read()).items():
            quality, signal, noise = levels
            if 0 <= quality <= 255:
                yield self.quality(quality, card)
            if WEAKEST <= signal <= STRONGEST:
                yield self.signal(signal, card)
            if WEAKEST <= noise <= STRONGEST:
                yield self.noise(noise, card)
            for reason, count in zip(REASONS, counts, strict=False):
                yield self.discards(count, card, reason)
            if len(counts) > len(REASONS):
                yield self.missed_beacons(counts[len(REASONS)], card)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> bytes:
        if self._file is None:
            self._file = NetFile("wireless")
        return self._file.read(self.host)


def cards(text: bytes) -> dict[str, tuple[list[int], list[int]]]:
    """Return by interface quality, signal and noise, and the counters after them."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for line in text.split(b"\n"):
        name, _, rest = line.rpartition(b":")
        fields = rest.split(None, 10)
        counts = numbers(fields[4:10])
        if counts is None or len(counts) < len(REASONS) or not name.strip():
            continue
        try:
            # A point behind a level says that it is new.
            levels = [int(field.rstrip(b".")) for field in fields[1:4]]
        except ValueError:
            continue
        if len(found) < CARDS_MAX:
            found.setdefault(printable(name.strip()), (levels, counts))
    return found


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Wireless]
