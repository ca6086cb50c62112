"""Read ``agreement.txt``: which series of Vedette is which number of the other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from string import Template
from typing import NamedTuple

from agreement_readings import PAGE, TICK, Reading, disks, interfaces, mounts

TABLE = Path(__file__).with_name("agreement.txt")


class Quantity(NamedTuple):
    """One thing that is compared, and the expression for it per source (see ``agreement.txt``)."""

    name: str
    ours: str
    kind: str
    step: float
    others: dict[str, str]

    @property
    def per(self) -> str:
        """Return of what series a ``mean`` is the mean."""
        return self.others["per"]

    @property
    def instruments(self) -> set[str]:
        names = [name for _, _, name in (*terms(self.ours), *terms(self.others.get("per", "")))]
        return {name.partition("{")[0] for name in names if name}


def totals(cpus: int) -> list[Quantity]:
    """Return what is compared before and after the interval: totals, and what is now."""
    # The kernel truncates to ticks per CPU, so the sum of the CPUs may be less than its own sum.
    # It counts resident pages of three kinds per CPU and adds them up in batches; /proc/PID/stat
    # says the sum without what is not yet added up, other files do the sum anew.
    pages = 3 * cpus * max(32, 2 * cpus)
    found = [*records("host", ticks=TICK * cpus, pages=PAGE * pages)]
    for disk in disks():
        found += records("disk", disk=disk)
    for name in interfaces():
        found += records("interface", interface=name)
        found += records("link", interface=name) if name != "lo" else ()
    for device, point, kind in mounts():
        found += records(
            "filesystem",
            point=point,
            place=f"system.device={device},system.filesystem.mountpoint={point},"
            f"system.filesystem.type={kind}",
            labels=f'device="{device}",fstype="{kind}",mountpoint="{point}"',
        )
    return found


def increases(cpus: int, seconds: int) -> list[Quantity]:
    """Return what is compared over the interval: increases, and shares of time."""
    # A tick per CPU, and the last digit of a percentage; of a process two ticks, as the kernel
    # truncates user and system time.
    tick, own = TICK / seconds + 1e-4, 2 * TICK / seconds
    # What the programs print is rounded to whole numbers, or to hundredths, per second.
    per_s = {"whole": seconds, "cents": 0.01 * seconds, "cent": 1e-4 * seconds}
    per_s |= {"kibs": 1024 * seconds, "kib": 10.24 * seconds}
    found = [*records("host over the interval", tick=tick, own=own, **per_s)]
    for cpu in range(cpus):
        found += records("core over the interval", cpu=cpu, tick=tick)
    for disk in disks():
        found += records("disk over the interval", disk=disk, **per_s)
    for name in interfaces():
        found += records("interface over the interval", interface=name, **per_s)
    return found


def records(section: str, **things: object) -> Iterator[Quantity]:
    """Yield the records of a section of the table, with its variables filled in."""
    text = TABLE.read_text().partition(f"\n== {section}\n")[2].partition("\n== ")[0]
    kind, step = "", 0.0
    quantity = None
    for line in Template(text).substitute(things).splitlines():
        if line.startswith("["):
            kind, _, number = line.strip("[]").partition(" ")
            step = float(number)
        elif line.startswith(" ") and quantity:
            for part in line.split(" | "):
                source, _, expression = part.strip().partition(": ")
                quantity.others.update(named(source, expression))
        elif line:
            if quantity:
                yield quantity
            name, _, ours = line.partition(" = ")
            quantity = Quantity(name, ours, kind, step, {})
    if quantity:
        yield quantity


def named(source: str, expression: str) -> dict[str, str]:
    """Return an expression by source; that of a file of /proc for all that use its names."""
    if source == "meminfo":
        plain = expression.replace("(", "_").replace(")", "")
        return {"hand": expression, "node": re.sub(r"(\w{3,})", r"node_memory_\1_bytes", plain)}
    if source == "vmstat_file":
        return {"hand": expression, "node": re.sub(r"([a-z]\w+)", r"node_vmstat_\1", expression)}
    if source == "snmp":
        table, column = expression.split(" ")
        name = table + column
        return {"hand": name, "nstat": name, "node": f"node_netstat_{table}_{column}"}
    return {source: expression}


def terms(expression: str) -> Iterator[tuple[int, float, str]]:
    """Yield sign, factor and name of each term; of a plain number the name is empty."""
    parts = ["+", *re.split(r" ([+-]) ", expression)]
    for sign, term in zip(parts[::2], parts[1::2], strict=True):
        factor, name = re.fullmatch(r"(?:([\d.]+)(?: \* |$))?(.*)", term).groups()  # type: ignore[union-attr]
        yield int(sign + "1"), float(factor or 1), name


def value(expression: str, reading: Reading) -> float | None:
    """Work out an expression; None when the reading lacks a name."""
    total = 0.0
    for sign, factor, name in terms(expression):
        found = [reading[name]] if name in reading else []
        if "*" in name and not found:
            found = [one for key, one in reading.items() if fnmatchcase(key, name)]
        if name and not found:
            return None
        total += sign * factor * (sum(found) if name else 1)
    return total
