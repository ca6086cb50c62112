"""Collector ``ksm``: what kernel samepage merging saves, from /sys/kernel/mm/ksm.

It rests on a host where the merging neither runs nor holds merged pages, which is most hosts but
those with many alike virtual machines. ``sharing`` is the gain in pages, ``unshared`` and
``volatile`` the pages looked at in vain.
"""

from __future__ import annotations

from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, Unavailable, counter, hookimpl, updown
from vedette_plugins._procfs import KernelFile, numbers

STATES = ("shared", "sharing", "unshared", "volatile")
#: What ``run`` says while the merging is on.
RUNNING = 1


class Ksm(Collector):
    """Pages merged by the kernel because their contents were the same."""

    name = "ksm"
    source = "/sys/kernel/mm/ksm"
    interval_s = 10.0
    may_block = False

    pages = updown(
        "vedette.memory.ksm.pages",
        "{page}",
        "Pages kept once (shared), uses they spare (sharing), and pages found to be like no other.",
        ["vedette.memory.ksm.state"],
        resource="memory",
        alarm="never",
    )
    scans = counter(
        "vedette.memory.ksm.scans",
        "{scan}",
        "Times all memory that may be merged was looked through.",
        resource="memory",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._run = KernelFile("kernel/mm/ksm/run", one_record=True)
        self._scans = KernelFile("kernel/mm/ksm/full_scans", one_record=True)
        self._pages = tuple(
            (state, KernelFile(f"kernel/mm/ksm/pages_{state}", one_record=True)) for state in STATES
        )

    def probe(self) -> None:
        self._read()

    def collect(self) -> Iterator[Sample]:
        for state, pages in self._read().items():
            yield self.pages(pages, state)
        scans = self._number(self._scans)
        if scans is not None:
            yield self.scans(scans)

    def close(self) -> None:
        for file in (self._run, self._scans, *(file for _, file in self._pages)):
            file.close()

    def _read(self) -> dict[str, int]:
        """Return pages by state; raises ``Unavailable`` when nothing runs and nothing is merged."""
        is_running = self._number(self._run) == RUNNING
        found = {state: self._number(file) for state, file in self._pages}
        if not is_running and not found["shared"]:
            raise Unavailable("kernel samepage merging is not running")
        return {state: pages for state, pages in found.items() if pages is not None}

    def _number(self, file: KernelFile) -> int | None:
        values = numbers(file.read(self.host.sys).split(None, 1)[:1])
        return values[0] if values else None


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Ksm]
