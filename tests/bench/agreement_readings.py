"""Read this host by hand and with psutil, for ``agreement.py`` to compare with.

A reading is a flat dictionary of numbers under the source's own words, in base units (bytes,
seconds, events). ``hand`` takes nothing from the collectors and, where the kernel says the same
thing twice, reads it in another file than they do: per CPU instead of the sum,
``/sys/block/DISK/stat`` instead of ``/proc/diskstats``, ``/proc/PID/status`` instead of ``stat``.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

Reading = dict[str, float]

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KIB, SECTOR = 1024, 512
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
#: Columns of /sys/block/DISK/stat: sectors become bytes, milliseconds seconds.
BLOCK = (
    *("reads", "reads_merged", "read_bytes", "read_s"),
    *("writes", "writes_merged", "write_bytes", "write_s"),
    *("pending", "busy_s", "weighted_s"),
    *("discards", "discards_merged", "discard_bytes", "discard_s", "flushes", "flush_s"),
)
#: States of /proc/net/tcp by their number, in the words of ``ss``. The last is one half open too.
TCP = {
    1: "ESTAB",
    2: "SYN-SENT",
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "UNCONN",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN-RECV",
}
#: The same states in psutil's words.
PSUTIL_TCP = {
    psutil.CONN_ESTABLISHED: "ESTAB",
    psutil.CONN_SYN_SENT: "SYN-SENT",
    psutil.CONN_SYN_RECV: "SYN-RECV",
    psutil.CONN_FIN_WAIT1: "FIN-WAIT-1",
    psutil.CONN_FIN_WAIT2: "FIN-WAIT-2",
    psutil.CONN_TIME_WAIT: "TIME-WAIT",
    psutil.CONN_CLOSE: "UNCONN",
    psutil.CONN_CLOSE_WAIT: "CLOSE-WAIT",
    psutil.CONN_LAST_ACK: "LAST-ACK",
    psutil.CONN_LISTEN: "LISTEN",
    psutil.CONN_CLOSING: "CLOSING",
}
#: Named so that block devices and interfaces which stand on others, or lead inside, are left out.
STACKED = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|veth|docker|br-|virbr|ifb|cni|cali)")


def disks() -> list[str]:
    """Return the whole disks that were used."""
    names = [one for one in _names("/sys/block") if not STACKED.match(one)]
    return [name for name in names if any(_ints(f"/sys/block/{name}/stat")[:8:4])]


def interfaces() -> list[str]:
    """Return the interfaces that carried a packet, without the inner ends of containers."""
    found = []
    for name in _names("/sys/class/net"):
        folder = f"/sys/class/net/{name}/statistics"
        with suppress(OSError):
            carried = _ints(f"{folder}/rx_packets") + _ints(f"{folder}/tx_packets")
            if any(carried) and not STACKED.match(name):
                found.append(name)
    return found


def mounts() -> list[tuple[str, str, str]]:
    """Return device, mount point and type of what is mounted from a disk, once per device."""
    found: dict[str, tuple[str, str, str]] = {}
    for line in _text("/proc/self/mounts").splitlines():
        device, point, kind = line.split()[:3]
        is_disk = device.startswith("/dev/") and not STACKED.match(device.removeprefix("/dev/"))
        if is_disk and len(point) < len(found.get(device, ("", point + " "))[1]):
            found[device] = (device, point, kind)
    return list(found.values())


# ---------------------------------------------------------------- by hand


def hand() -> Reading:
    """Read the kernel's files without any helper of the collectors."""
    found: Reading = {}
    parts = (_cpu, _pressure, _memory, _disk, _interfaces, _protocols, _sockets, _kernel)
    for part in (*parts, _processes, _timex):
        with suppress(OSError):  # what this kernel does not have
            for name, value in part():
                found[name] = value
    return found


def _cpu() -> Iterator[tuple[str, float]]:
    sums = [0] * len(MODES)
    for line in _text("/proc/stat").splitlines():
        words = line.split()
        if re.fullmatch(r"cpu\d+", words[0]):
            ticks = [int(word) for word in words[1 : len(MODES) + 1]]
            sums = [old + new for old, new in zip(sums, ticks, strict=True)]
            for mode, new in zip(MODES, ticks, strict=True):
                yield f"{words[0].removeprefix('cpu')} {mode}", new * TICK
        else:
            yield f"stat {words[0]}", int(words[1])
    yield from ((f"cpu {mode}", ticks * TICK) for mode, ticks in zip(MODES, sums, strict=True))
    for file in ("interrupts", "softirqs"):
        total = 0
        for row in _text(f"/proc/{file}").splitlines()[1:]:
            name, _, rest = row.strip().partition(":")
            count = sum(int(word) for word in re.match(r"[\s\d]*", rest)[0].split())  # type: ignore[index]
            total += count if name not in ("ERR", "MIS") else 0
            yield f"{file} {name}", count
        yield f"{file} total", total
    for minutes, load in zip((1, 5, 15), os.getloadavg(), strict=True):
        yield f"load {minutes}", load
    online = _text("/sys/devices/system/cpu/online").strip().split(",")
    ends = [[int(end) for end in part.split("-")] for part in online]
    yield "cpus", sum(part[-1] - part[0] + 1 for part in ends)


def _pressure() -> Iterator[tuple[str, float]]:
    for path in Path("/proc/pressure").glob("*"):
        for kind, total_us in re.findall(r"^(\w+) .*total=(\d+)", path.read_text(), re.MULTILINE):
            yield f"pressure {path.name} {kind}", int(total_us) / 1e6


def _memory() -> Iterator[tuple[str, float]]:
    for name, amount, unit in re.findall(
        r"^(\S+):\s+(\d+)( kB)?$", _text("/proc/meminfo"), re.MULTILINE
    ):
        yield name, int(amount) * (KIB if unit else 1)
    for name, amount in re.findall(r"^(\w+) (\d+)$", _text("/proc/vmstat"), re.MULTILINE):
        yield name, int(amount)


def _disk() -> Iterator[tuple[str, float]]:
    for disk in disks():
        for name, count in zip(BLOCK, _ints(f"/sys/block/{disk}/stat"), strict=False):
            factor = SECTOR if name.endswith("bytes") else 0.001 if name.endswith("_s") else 1
            yield f"{disk} {name}", count * factor


def _interfaces() -> Iterator[tuple[str, float]]:
    for name in interfaces():
        folder = Path(f"/sys/class/net/{name}")
        for path in (folder / "statistics").iterdir():
            yield f"{name} {path.name}", int(path.read_text())
        yield f"{name} up", (folder / "operstate").read_text().strip() in ("up", "unknown")
        yield f"{name} mtu", int((folder / "mtu").read_text())
        yield f"{name} carrier_changes", int((folder / "carrier_changes").read_text())


def _protocols() -> Iterator[tuple[str, float]]:
    for file in ("snmp", "netstat"):
        lines = iter(_text(f"/proc/net/{file}").splitlines())
        for names, values in zip(lines, lines, strict=True):
            table, *columns = names.split()
            for column, value in zip(columns, values.split()[1:], strict=True):
                yield table.rstrip(":") + column, int(value)
    for name, value in re.findall(r"^(\w+)\s+(\d+)$", _text("/proc/net/snmp6"), re.MULTILINE):
        yield name, int(value)


def _sockets() -> Iterator[tuple[str, float]]:
    for line in (_text("/proc/net/sockstat") + _text("/proc/net/sockstat6")).splitlines():
        table, rest = line.split(":")
        for name, value in re.findall(r"(\w+) (\d+)", rest):
            yield f"{table} {name}", int(value) * (PAGE if name == "mem" else 1)
    states: Counter[str] = Counter(dict.fromkeys(TCP.values(), 0))
    for line in _text("/proc/net/tcp").splitlines()[1:] + _text("/proc/net/tcp6").splitlines()[1:]:
        states[TCP[int(line.split()[3], 16)]] += 1
    yield from states.items()
    columns = zip(
        *(line.split() for line in _text("/proc/net/softnet_stat").splitlines()), strict=True
    )
    for name, column in zip(("processed", "dropped", "squeezed"), columns, strict=False):
        yield f"softnet {name}", sum(int(one, 16) for one in column)


def _kernel() -> Iterator[tuple[str, float]]:
    yield "uptime", time.clock_gettime(time.CLOCK_BOOTTIME)
    given, unused, most = _ints("/proc/sys/fs/file-nr")
    yield from {"files": given - unused, "files most": most}.items()
    inodes, dentries = _ints("/proc/sys/fs/inode-nr"), _ints("/proc/sys/fs/dentry-state")
    yield from {"inodes": inodes[0] - inodes[1], "dentries unused": dentries[1]}.items()
    yield "entropy", _ints("/proc/sys/kernel/random/entropy_avail")[0]
    for name in ("count", "max"):
        with suppress(OSError):
            yield f"conntrack {name}", _ints(f"/proc/sys/net/netfilter/nf_conntrack_{name}")[0]


def _processes() -> Iterator[tuple[str, float]]:
    states: Counter[str] = Counter(dict.fromkeys("RSDTZ", 0))
    threads = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError, IndexError):
            text = path.read_text(errors="replace")
            states[re.findall(r"^State:\s+(\w)", text, re.MULTILINE)[0]] += 1
            threads += int(re.findall(r"^Threads:\s+(\d+)", text, re.MULTILINE)[0])
    yield from by_state(states)
    yield "threads", threads


def by_state(letters: Counter[str]) -> Iterator[tuple[str, float]]:
    """Yield how many processes there are per state, from the kernel's letters."""
    known = {"running": "R", "blocked": "D", "stopped": "Tt", "defunct": "ZX"}
    for state, ones in known.items():
        yield f"processes {state}", sum(letters[one] for one in ones)
    yield "processes sleeping", sum(n for one, n in letters.items() if one not in "RDTtZX")
    yield "processes", letters.total()


def _timex() -> Iterator[tuple[str, float]]:
    class Timex(ctypes.Structure):
        _fields_ = [
            ("modes", ctypes.c_uint),
            *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
            ("status", ctypes.c_int),
            *((f"long{at}", ctypes.c_long) for at in range(8)),
            ("shift", ctypes.c_int),
            *((f"more{at}", ctypes.c_long) for at in range(5)),
            ("tai", ctypes.c_int),
            ("rest", ctypes.c_int * 11),
        ]

    told = Timex()
    state = ctypes.CDLL(None).ntp_adjtime(ctypes.byref(told))
    yield "timex offset", told.offset / (1e9 if told.status & 0x2000 else 1e6)
    yield "timex frequency", told.freq / 65536e6
    yield "timex maxerror", told.maxerror / 1e6
    yield "timex esterror", told.esterror / 1e6
    yield "timex tai", told.tai
    yield "timex synchronized", state != 5  # TIME_ERROR


# ---------------------------------------------------------------- by psutil


def by_psutil() -> Reading:
    """Ask psutil, which has parsers of its own."""
    found: Reading = {f"cpu {k}": v for k, v in psutil.cpu_times()._asdict().items()}
    for told in (psutil.cpu_stats(), psutil.virtual_memory()):
        found |= told._asdict()
    found |= {f"swap {k}": v for k, v in psutil.swap_memory()._asdict().items()}
    for disk, told in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
        found |= {
            f"{disk} {k}": v / (1000 if k.endswith("time") else 1)
            for k, v in told._asdict().items()
        }
    for name, told in psutil.net_io_counters(pernic=True, nowrap=False).items():
        found |= {f"{name} {k}": v for k, v in told._asdict().items()}
    for name, told in psutil.net_if_stats().items():
        found |= {f"{name} up": told.isup, f"{name} mtu": told.mtu}
    for _, point, _ in mounts():
        told = psutil.disk_usage(point)
        found |= {f"{point} {k}": v for k, v in told._asdict().items()}
        found[f"{point} share"] = told.percent / 100
    found |= {f"load {m}": v for m, v in zip((1, 5, 15), psutil.getloadavg(), strict=True)}
    found |= {"boot time": psutil.boot_time(), "cpus": psutil.cpu_count() or 0}
    found["users"] = len({one.name for one in psutil.users()})
    found["sessions"] = len(psutil.users())
    letters: Counter[str] = Counter()
    known = {"running": "R", "disk-sleep": "D", "stopped": "T", "tracing-stop": "t", "zombie": "Z"}
    found["threads"] = 0
    for one in psutil.process_iter(["status", "num_threads"]):
        letters[known.get(one.info["status"], "S")] += 1
        found["threads"] += one.info["num_threads"] or 0
    found |= dict(by_state(letters))
    states = Counter(PSUTIL_TCP[one.status] for one in psutil.net_connections("tcp"))
    return found | {state: states[state] for state in PSUTIL_TCP.values()}


def of_process(pid: int) -> Reading:
    """Return what one process has used, for what is told by executable."""
    one = psutil.Process(pid)
    times, moved = one.cpu_times(), one.io_counters()
    listing = 1 if pid == os.getpid() else 0  # which psutil holds open while it counts
    return {
        "cpu": times.user + times.system + times.children_user + times.children_system,
        "written": moved.write_bytes,
        "resident": one.memory_info().rss,
        "files": one.num_fds() - listing,
        "threads": one.num_threads(),
    }


def _names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def _text(path: str) -> str:
    return Path(path).read_text()


def _ints(path: str) -> list[int]:
    return [int(word) for word in _text(path).split()]
