"""Read the network stack's files: whose network they show, and its ways of writing tables.

``/proc/net`` is the network of the process that looks, so in a container with the host's /proc the
files of the host's first process are read. ``Columns`` picks counters out of tables that name their
columns; ``added_up`` reads the tables in hexadecimal with a line per CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vedette.api import Host, Sample, Series, Unavailable
from vedette_plugins._procfs import WIDEST, KernelFile, numbers

#: Interfaces that are the inner ends of containers and virtual machines.
INNER = (
    "br-*",
    "cali*",
    "cni*",
    "docker*",
    "flannel*",
    "ifb*",
    "lxc*",
    "veth*",
    "virbr*",
    "vnet*",
)
#: Readings until a file that was not there is looked for again.
PATIENCE = 60
#: No host has as many sockets or messages as this: a counter of theirs that slipped below zero.
ABSURD = 1 << 31


def net_owner(host: Host) -> str:
    """Return the process below /proc whose ``net`` is the host's: ``self``, or ``1``."""
    return "self" if host.root == "/" else "1"


class NetFile:
    """One file of ``/proc/net`` of the host."""

    def __init__(self, name: str, *, one_record: bool = False) -> None:
        self._name = name
        self._one_record = one_record
        self._file: KernelFile | None = None
        self._rest = 0

    def read(self, host: Host) -> bytes:
        """Return the whole text; raises as ``KernelFile.read`` does."""
        if self._file is None:
            name = f"{net_owner(host)}/net/{self._name}"
            self._file = KernelFile(name, one_record=self._one_record)
        return self._file.read(host.proc)

    def read_if_there(self, host: Host) -> bytes:
        """Return the whole text; empty without the file, which is then looked for again rarely."""
        if self._rest > 0:
            self._rest -= 1
            return b""
        try:
            return self.read(host)
        except (Unavailable, OSError):
            self._rest = PATIENCE
            return b""

    def close(self) -> None:
        """Let go of the descriptor; safe twice."""
        if self._file is not None:
            self._file.close()


class Columns:
    """The wanted columns of a table that names them.

    ``wanted`` gives for a column's name the series and the factor to the series' unit. Where the
    columns are is remembered while the names stay the same, and the samples while the numbers do.
    What may alarm is read from the start; other series begin when they are not zero for the first
    time, as most of a kernel's counters never are.
    """

    def __init__(self, wanted: Mapping[bytes, tuple[Series, float]]) -> None:
        self._wanted = wanted
        self._names: bytes | Sequence[bytes] = b""
        self._at: list[int] = []
        self._rows: list[tuple[Series, float, int]] = []
        self._texts: list[bytes] = []
        self._samples: list[Sample] = []
        self._begun: set[Series] = {
            series for series, _ in wanted.values() if series.instrument.alarm != "never"
        }

    def samples(self, names: bytes | Sequence[bytes], fields: Sequence[bytes]) -> Sequence[Sample]:
        """Return the wanted samples of ``fields``; none when one of them is garbled.

        ``names`` are the names of all fields, as a list or as the line of text they are on.
        """
        if names != self._names:
            self._locate(names)
        try:
            texts = [fields[at] for at in self._at]
        except IndexError:
            return ()
        if texts != self._texts:
            self._texts, self._samples = texts, self._read(texts)
        return self._samples

    def _locate(self, names: bytes | Sequence[bytes]) -> None:
        self._names = names
        self._at, self._rows, self._texts, self._samples = [], [], [], []
        left = dict(self._wanted)
        for at, name in enumerate(names.split() if isinstance(names, bytes) else names):
            if name in left:
                series, factor = left.pop(name)
                below = WIDEST if series.instrument.kind == "counter" else ABSURD
                self._at.append(at)
                self._rows.append((series, factor, below))

    def _read(self, texts: Sequence[bytes]) -> list[Sample]:
        found = []
        for (series, factor, below), value in zip(self._rows, numbers(texts) or (), strict=False):
            if value < below and (value or series in self._begun):
                self._begun.add(series)
                found.append(Sample(series, value * factor))
        return found


def added_up(text: bytes, names: Sequence[bytes]) -> dict[bytes, int]:
    """Return the columns' sums over all CPUs of a table of /proc/net/stat, in hexadecimal.

    The first line names the columns; names it lacks are left out. ``entries`` is the whole table's
    on every line and is not added up. Lines that are garbled are left out.
    """
    head, *lines = text.split(b"\n")
    columns = head.split()
    at = {name: columns.index(name) for name in names if name in columns}
    sums = dict.fromkeys(at, 0)
    rows = 0
    for line in lines:
        fields = line.split()
        if len(fields) != len(columns):
            continue
        try:
            values = {name: int(fields[place], 16) for name, place in at.items()}
        except ValueError:
            continue
        if not all(0 <= value < WIDEST for value in values.values()):
            continue
        rows += 1
        for name, value in values.items():
            sums[name] = value if name == b"entries" else sums[name] + value
    return sums if rows else {}
