"""Measure the agent itself: what it costs the host it watches."""

from __future__ import annotations

import os
import time

from vedette.api import Collector, NoConfig, Sample, gauge, hookimpl, updown
from vedette_plugins._procfs import KernelFile

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
        self._statm = KernelFile("self/statm", one_record=True)
        self._stat = KernelFile("self/stat", one_record=True)
        self._tells_count = False

    def collect(self) -> list[Sample]:
        """Return the four readings; CPU from the second tick on, as a share needs two."""
        samples = []
        now, used = time.monotonic_ns(), time.process_time_ns()
        if self._last is not None and now > self._last[0]:
            samples.append(self.cpu((used - self._last[1]) / (now - self._last[0])))
        self._last = (now, used)
        pages = self._statm.read(self.host.proc).split(None, 2)[1]
        samples.append(self.memory(float(int(pages) * _PAGE_BYTES)))
        # The 20th field; the second, a name in parentheses, may hold spaces.
        threads = self._stat.read(self.host.proc).rpartition(b")")[2].split(None, 18)[17]
        samples.append(self.threads(float(int(threads))))
        samples.append(self.open_files(float(self._held())))
        return samples

    def close(self) -> None:
        self._statm.close()
        self._stat.close()

    def _held(self) -> int:
        """Return the number of open descriptors.

        Since Linux 6.2 it is the size of their folder. To list them costs the kernel twenty times
        as much, so it is only done until it has been seen to give the same number.
        """
        folder = f"{self.host.proc}/self/fd"
        told = os.stat(folder).st_size
        if self._tells_count:
            return told
        with os.scandir(folder) as entries:
            listed = sum(1 for _ in entries) - 1  # the listing itself holds one
        self._tells_count = told == listed
        return listed


@hookimpl
def register_collectors() -> list[type[Collector]]:
    """Register the collector ``agent``."""
    return [AgentSelf]
