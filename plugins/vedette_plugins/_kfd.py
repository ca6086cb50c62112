"""Read how much of an AMD GPU's memory each process of ROCm holds, from the compute driver, KFD.

``/sys/class/kfd/kfd/proc/PID/vram_ID`` is in bytes, and ``topology/nodes`` says which GPU has that
ID. Anybody may read both, so processes of other users and of containers are told as well.
"""

from __future__ import annotations

from vedette_plugins._gpu import GPUS_MAX
from vedette_plugins._procfs import beginning, first_number, listed, number_after

PROCESSES_MAX = 4_096
#: CPUs are nodes as well.
NODES_MAX = 4 * GPUS_MAX
PROPERTIES_MAX = 16 * 1024
_MOST = 1 << 50

Held = dict[str, dict[int, int]]


def held(sys: str) -> Held:
    """Return the bytes that each process holds, by pid, of each GPU by its PCI address."""
    base = f"{sys}/class/kfd/kfd"
    pids = [name for name in listed(f"{base}/proc") if name.isdecimal()][:PROCESSES_MAX]
    found: Held = {}
    addresses = _addresses(f"{base}/topology/nodes") if pids else {}
    for pid in pids:
        for identity, address in addresses.items():
            octets = first_number(beginning(f"{base}/proc/{pid}/vram_{identity}")) or 0
            if 0 < octets <= _MOST:
                found.setdefault(address, {})[int(pid)] = octets
    return found


def _addresses(nodes: str) -> dict[int, str]:
    """Return the PCI address of each GPU by KFD's number for it."""
    found: dict[int, str] = {}
    for node in listed(nodes)[:NODES_MAX]:
        identity = first_number(beginning(f"{nodes}/{node}/gpu_id"))
        if not identity:
            continue  # a CPU
        said = b"\n" + beginning(f"{nodes}/{node}/properties", PROPERTIES_MAX)
        place = number_after(said, b"\nlocation_id ")
        domain = number_after(said, b"\ndomain ") or 0
        if place is not None:
            bus, slot = place >> 8 & 0xFF, place & 0xFF
            found[identity] = f"{domain:04x}:{bus:02x}:{slot >> 3:02x}.{slot & 7}"
    return found
