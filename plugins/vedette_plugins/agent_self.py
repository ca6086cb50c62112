"""Measure the agent itself: what it costs the host it watches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from vedette.api import Collector, NoConfig, Sample, gauge, hookimpl, updown

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class AgentSelf(Collector):
    """CPU, memory, threads and open files of the process it runs in.

    Worker processes of isolated collectors are not included.
    """

    name = "agent"
    source = "/proc/self"
    interval_s = 10.0
    may_block = False

    cpu = gauge(
        "vedette.agent.cpu.utilization",
        "1",
        "CPU time of the agent since the last reading, as a share of one core.",
        resource="agent",
        alarm="never",
        source="CLOCK_PROCESS_CPUTIME_ID",
    )
    memory = updown(
        "vedette.agent.memory.usage",
        "By",
        "Resident memory of the agent.",
        resource="agent",
        alarm="never",
    )
    threads = updown(
        "vedette.agent.threads",
        "{thread}",
        "Threads of the agent.",
        resource="agent",
        alarm="never",
    )
    open_files = updown(
        "vedette.agent.open_files",
        "{file}",
        "File descriptors the agent holds open.",
        resource="agent",
        alarm="never",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        self._last: tuple[int, int] | None = None

    def collect(self) -> Iterator[Sample]:
        """Yield the four readings; CPU from the second tick on, as a share needs two."""
        now, used = time.monotonic_ns(), time.process_time_ns()
        if self._last is not None and now > self._last[0]:
            yield self.cpu((used - self._last[1]) / (now - self._last[0]))
        self._last = (now, used)
        own = f"{self.host.proc}/self"
        with open(f"{own}/statm", encoding="ascii") as file:
            yield self.memory(float(int(file.read().split()[1]) * _PAGE_BYTES))
        yield self.threads(float(_threads(own)))
        with os.scandir(f"{own}/fd") as entries:
            held = sum(1 for _ in entries) - 1  # the listing itself holds one
        yield self.open_files(float(held))


def _threads(own: str) -> int:
    """Return the 20th field of ``stat``; the second, a name in parentheses, may hold spaces."""
    with open(f"{own}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[17])


@hookimpl
def register_collectors() -> list[type[Collector]]:
    """Register the collector ``agent``."""
    return [AgentSelf]
