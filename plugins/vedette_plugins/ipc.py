"""Collector ``ipc``: System V semaphores, shared memory and message queues, from /proc/sysvipc.

Programs that crash leave them behind until the kernel has no more to give. They are those of the
agent's own namespace: a container has its own.
"""

from __future__ import annotations

from functools import partial

from vedette.api import Collector, Instrument, NoConfig, Sample, Unavailable, hookimpl, updown
from vedette_plugins._procfs import KernelFile, numbers

_detail = partial(updown, resource="ipc", alarm="never")


class Ipc(Collector):
    """System V semaphores, shared memory and messages in use."""

    name = "ipc"
    source = "/proc/sysvipc"
    interval_s = 10.0
    may_block = False

    arrays = _detail("vedette.ipc.semaphore.arrays", "{array}", "Sets of System V semaphores.")
    semaphores = _detail("vedette.ipc.semaphore.count", "{semaphore}", "System V semaphores.")
    segments = _detail(
        "vedette.ipc.shared_memory.segments", "{segment}", "Segments of System V shared memory."
    )
    segment_size = _detail(
        "vedette.ipc.shared_memory.size",
        "By",
        "Size of all segments of System V shared memory, touched or not.",
    )
    queues = _detail("vedette.ipc.message.queues", "{queue}", "System V message queues.")
    messages = _detail(
        "vedette.ipc.message.count", "{message}", "Messages that wait in System V message queues."
    )
    message_size = _detail(
        "vedette.ipc.message.size",
        "By",
        "Size of the messages that wait in System V message queues.",
    )

    def __init__(self, config: NoConfig) -> None:
        super().__init__(config)
        #: What the files held last, and what it gave.
        self._known: list[tuple[bytes, Instrument, dict[int, Instrument]]] = []
        self._samples: list[Sample] = []
        #: A file, what its lines are, and what its columns add up to.
        self._tables: tuple[tuple[KernelFile, Instrument, dict[int, Instrument]], ...] = (
            (KernelFile("sysvipc/sem"), self.arrays, {3: self.semaphores}),
            (KernelFile("sysvipc/shm"), self.segments, {3: self.segment_size}),
            (KernelFile("sysvipc/msg"), self.queues, {3: self.message_size, 4: self.messages}),
        )

    def probe(self) -> None:
        self._texts()

    def collect(self) -> list[Sample]:
        texts = self._texts()
        if texts != self._known:
            self._known, self._samples = texts, []
            for text, lines, columns in texts:
                count, sums = added_up(text, tuple(columns))
                self._samples.append(lines(count))
                self._samples += [
                    one(value) for one, value in zip(columns.values(), sums, strict=True)
                ]
        return self._samples

    def close(self) -> None:
        for file, _, _ in self._tables:
            file.close()

    def _texts(self) -> list[tuple[bytes, Instrument, dict[int, Instrument]]]:
        """Return what can be read; raises ``Unavailable`` when nothing can."""
        found = []
        for file, lines, columns in self._tables:
            try:
                found.append((file.read(self.host.proc), lines, columns))
            except (Unavailable, OSError):
                continue
        if not found:
            raise Unavailable(
                f"no System V IPC in this kernel: cannot read {self.host.proc}/sysvipc"
            )
        return found


def added_up(text: bytes, columns: tuple[int, ...]) -> tuple[int, list[int]]:
    """Return the number of lines below the heading, and the sum of each of these columns."""
    count, sums = 0, [0] * len(columns)
    for line in text.split(b"\n")[1:]:
        fields = line.split(None, 5)
        if len(fields) < 6:
            continue
        values = numbers([fields[column] for column in columns])
        if values is not None:
            count += 1
            sums = [old + new for old, new in zip(sums, values, strict=True)]
    return count, sums


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Ipc]
