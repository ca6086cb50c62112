"""Name every fault there is: what it does, which family it shows in, who is to be suspected.

A fault's process calls itself ``drill-NAME`` (the kernel keeps 15 characters), so that the suspect
an incident names can be checked. A fault with a ``lead_s`` needs something healthy to spoil: its
process works normally for so long first, and is told on its standard input when to turn bad.
"""

from __future__ import annotations

import msgspec

__all__ = ["FAULTS", "Fault", "family_of"]


class Fault(msgspec.Struct, frozen=True):
    """What a drill stands for.

    ``families`` are the families of series in which an incident about it may speak. ``suspected``
    is whether its process is to blame; where it only suffers, no suspect is right or wrong.
    ``named`` are words for what is to blame where that is no process; the incident has to say them.
    """

    name: str
    text: str
    families: frozenset[str]
    suspected: bool = True
    lead_s: float = 0.0
    named: str = ""

    @property
    def comm(self) -> str:
        """The name of the process that makes it."""
        return f"drill-{self.name}"


def _fault(
    name: str,
    families: str,
    text: str,
    lead_s: float = 0.0,
    *,
    suspected: bool = True,
    named: str = "",
) -> Fault:
    return Fault(name, text, frozenset(families.split()), suspected, lead_s, named)


#: Seconds of normal work first, so that most series have a minute of readings to be judged by.
_LEAD_S = 75.0
FAULTS: dict[str, Fault] = {
    one.name: one
    for one in (
        _fault("cpu", "cpu", "a busy process for every core"),
        _fault("cpu-one", "cpu", "one busy process"),
        _fault("memory", "memory", "a process that takes 20 to 50 MB of memory a second"),
        _fault("disk", "disk", "small writes, each synced to the disk"),
        _fault("disk-fill", "filesystem", "a file that takes a part of the free space"),
        _fault("inodes", "filesystem disk", "thousands of small files, made and removed"),
        _fault("files", "kernel process", "a process that opens files and closes none"),
        _fault("sockets", "network", "connections on 127.0.0.1 that are never closed"),
        _fault("forks", "process cpu", "75 processes a second that end at once"),
        _fault("network", "network", "TCP traffic between two processes on 127.0.0.1"),
        _fault(
            "net-delay",
            "network",
            "a link to a network namespace gets 200 ms slower",
            _LEAD_S,
            suspected=False,
        ),
        _fault(
            "net-loss",
            "network",
            "a link to a network namespace loses a tenth of its packets",
            _LEAD_S,
            suspected=False,
        ),
        _fault("log", "log logs", "errors written to a log file"),
        _fault("stuck", "process", "a busy process that is stopped", 20.0),
        _fault(
            "model",
            "model",
            "a model server whose latency and queue rise",
            _LEAD_S,
            named="model vedette-drill",
        ),
    )
}

#: Families of metrics whose name has another word in the family's place.
_FAMILIES = {
    "conntrack": "network",
    "interrupts": "cpu",
    "load": "cpu",
    "neighbours": "network",
    "paging": "memory",
    "softnet": "network",
    "tcp": "network",
    "udp": "network",
    "watch": "process",
}
#: The attribute that says which resource a metric about pressure is about.
_RESOURCE = "resource="


def family_of(series: str) -> str:
    """Return the family that a series speaks of, from its key alone: ``cpu``, ``disk``.

    The agent knows it from the declared instrument; who asks from outside has the name only.
    """
    name, _, attributes = series.partition("{")
    if name == "vedette.process.blocked" or "cpu.mode=iowait" in attributes:
        return "disk"
    words = name.split(".")
    word = words[1] if words[0] in ("system", "vedette") and len(words) > 1 else words[0]
    if word == "pressure" and _RESOURCE in attributes:
        said = attributes.partition(_RESOURCE)[2].partition(",")[0].rstrip("}")
        return {"io": "disk", "irq": "cpu"}.get(said, said)
    return _FAMILIES.get(word, word)
