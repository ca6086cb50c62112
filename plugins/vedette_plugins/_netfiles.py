"""Read the network stack's files: whose network they show, and its ways of writing tables.

``/proc/net`` is the network of the process that looks, so in a container with the host's /proc the
files of the host's first process are read. ``Columns`` picks counters out of tables that name their
columns, ``Tables`` finds such tables among others; ``added_up`` reads the tables in hexadecimal
with a line per CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import add

from vedette.api import Host, Sample, Series, Unavailable
from vedette_plugins._procfs import WIDEST, KernelFile, numbers, picker

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

#: By a column's name: its series, and the factor to the series' unit.
Wanted = dict[bytes, tuple[Series, float]]


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

    Where the wanted columns are is remembered while the names stay the same, and the samples while
    the numbers do.
    What may alarm is read from the start; other series begin when they are not zero for the first
    time, as most of a kernel's counters never are.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._names: bytes | Sequence[bytes] = b""
        self._texts_of: Callable[[Sequence[bytes]], tuple[bytes, ...]] = picker(())
        self._rows: list[tuple[Series, float, int]] = []
        self._line = b""
        self._texts: tuple[bytes, ...] = ()
        self._samples: list[Sample] = []
        self._begun: set[Series] = {
            series for series, _ in wanted.values() if series.instrument.alarm != "never"
        }

    def of_line(self, names: bytes, line: bytes) -> Sequence[Sample]:
        """Return the wanted samples of a line of fields below a line of names."""
        if line == self._line and names == self._names:
            return self._samples
        found = self.samples(names, line.split())
        self._line = line if found is self._samples else b""
        return found

    def samples(self, names: bytes | Sequence[bytes], fields: Sequence[bytes]) -> Sequence[Sample]:
        """Return the wanted samples of ``fields``; none when one of them is garbled.

        ``names`` are the names of all fields, as a list or as the line of text they are on.
        """
        if names != self._names:
            self._locate(names)
        try:
            texts = self._texts_of(fields)
        except IndexError:
            return ()
        if texts != self._texts:
            self._texts, self._samples = texts, self._read(texts)
        return self._samples

    def _locate(self, names: bytes | Sequence[bytes]) -> None:
        self._names = names
        self._rows, self._texts, self._samples = [], (), []
        places = []
        left = dict(self._wanted)
        for at, name in enumerate(names.split() if isinstance(names, bytes) else names):
            if name in left:
                series, factor = left.pop(name)
                below = WIDEST if series.instrument.kind == "counter" else ABSURD
                places.append(at)
                self._rows.append((series, factor, below))
        self._texts_of = picker(places)

    def _read(self, texts: Sequence[bytes]) -> list[Sample]:
        found = []
        for (series, factor, below), value in zip(self._rows, numbers(texts) or (), strict=False):
            if value < below and (value or series in self._begun):
                if value:
                    self._begun.add(series)
                found.append(Sample(series, value * factor))
        return found


class Tables:
    """Tables that are a line of names above a line of numbers, one below the other.

    Both lines begin with the table's name and a colon. Where the wanted ones are is remembered
    while the lines of names stay the same.
    """

    def __init__(self, wanted: Mapping[bytes, Wanted]) -> None:
        self._tables = {name + b":": Columns(columns) for name, columns in wanted.items()}
        self._names: list[bytes] = []
        self._count = 0
        self._places: list[tuple[int, bytes, Columns]] = []

    def samples(self, text: bytes) -> list[Sample]:
        """Return the wanted samples; those of the first of twins."""
        lines = text.split(b"\n")
        names, fields = lines[::2], lines[1::2]
        if (
            names != self._names
            or len(fields) != self._count
            or not all(fields[at].startswith(begin) for at, begin, _ in self._places)
        ):
            self._locate(names, fields)
        samples: list[Sample] = []
        for at, _, columns in self._places:
            samples += columns.of_line(names[at], fields[at])
        return samples

    def _locate(self, names: list[bytes], fields: list[bytes]) -> None:
        """Find the tables; they are not remembered where a line of numbers is another's."""
        left = dict(self._tables)
        self._places, self._count = [], len(fields)
        self._names = names
        for at, (line, below) in enumerate(zip(names, fields, strict=False)):
            begin = line[: line.find(b":") + 1]
            if begin not in left:
                continue
            if below.startswith(begin):
                self._places.append((at, begin, left.pop(begin)))
            else:
                self._names = []


def added_up(text: bytes, names: Sequence[bytes]) -> dict[bytes, int]:
    """Return the columns' sums over all CPUs of a table of /proc/net/stat, in hexadecimal.

    The first line names the columns; names it lacks are left out. ``entries`` is the whole table's
    on every line and is not added up. Lines that are garbled are left out.
    """
    head, *lines = text.split(b"\n")
    columns = head.split()
    present = [name for name in names if name in columns]
    texts_of = picker([columns.index(name) for name in present])
    sums: list[int] = []
    values: list[int] = []
    for line in lines:
        fields = line.split()
        if len(fields) != len(columns):
            continue
        try:
            row = [int(field, 16) for field in texts_of(fields)]
        except ValueError:
            continue
        if row and min(row) >= 0 and max(row) < WIDEST:
            values = row
            sums = list(map(add, sums, row)) if sums else row
    found = dict(zip(present, sums, strict=False))
    if b"entries" in found:
        found[b"entries"] = values[present.index(b"entries")]
    return found
