"""Make the /proc and /sys of a large host: 256 CPUs, 5,000 processes, 2,000 mounts.

    python tests/bench/large_tree.py FOLDER

Everything is computed from ``LargeHost``'s numbers, nothing is random: the same numbers give the
same tree. ``advance`` moves the counters that move on a busy host by one second, in place, so that
descriptors kept open see it. Formats are those of a Linux 6.1 kernel; what a real host of that size
has in the way of other files (cgroups of 300 containers, 64 disks, 520 interfaces) is there too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

MEMORY_KIB = 2_000_000_000
MEMINFO = (
    "MemTotal MemFree MemAvailable Buffers Cached SwapCached Active Inactive Active(anon) "
    "Inactive(anon) Active(file) Inactive(file) Unevictable Mlocked SwapTotal SwapFree Zswap "
    "Zswapped Dirty Writeback AnonPages Mapped Shmem KReclaimable Slab SReclaimable "
    "SUnreclaim KernelStack PageTables SecPageTables NFS_Unstable Bounce WritebackTmp "
    "CommitLimit Committed_AS VmallocTotal VmallocUsed VmallocChunk Percpu HardwareCorrupted "
    "AnonHugePages ShmemHugePages ShmemPmdMapped FileHugePages FilePmdMapped"
)
VMSTAT = (
    "nr_free_pages nr_zone_inactive_anon nr_zone_active_anon nr_zone_inactive_file "
    "nr_zone_active_file nr_mlock numa_hit numa_miss numa_foreign numa_interleave numa_local "
    "numa_other nr_dirty nr_writeback workingset_refault_anon workingset_refault_file "
    "workingset_activate_anon workingset_activate_file pgpgin pgpgout pswpin pswpout "
    "pgalloc_dma pgalloc_dma32 pgalloc_normal allocstall_normal allocstall_movable pgfree "
    "pgactivate pgdeactivate pglazyfree pgfault pgmajfault pgrefill pgreuse pgsteal_kswapd "
    "pgsteal_direct pgdemote_kswapd pgscan_kswapd pgscan_direct pgscan_anon pgscan_file "
    "pgsteal_anon pgsteal_file zone_reclaim_failed pginodesteal slabs_scanned "
    "kswapd_inodesteal drop_pagecache drop_slab oom_kill numa_pte_updates numa_hint_faults "
    "numa_pages_migrated pgmigrate_success pgmigrate_fail thp_migration_success "
    "compact_migrate_scanned compact_free_scanned compact_isolated compact_stall compact_fail "
    "compact_success htlb_buddy_alloc_success unevictable_pgs_culled thp_fault_alloc "
    "thp_fault_fallback thp_collapse_alloc thp_split_page thp_zero_page_alloc balloon_inflate "
    "balloon_deflate swap_ra swap_ra_hit zswpin zswpout"
)
SNMP = {
    "Ip": "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams "
    "InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout "
    "ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
    "Icmp": "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InEchos OutMsgs OutErrors "
    "OutDestUnreachs OutEchoReps",
    "Tcp": "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets "
    "CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors",
    "Udp": "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
    "IgnoredMulti MemErrors",
}
NETSTAT = {
    "TcpExt": "SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled "
    "RcvPruned OfoPruned TW TWRecycled TWKilled DelayedACKs ListenOverflows ListenDrops "
    "TCPHPHits TCPPureAcks TCPLostRetransmit TCPFastRetrans TCPSlowStartRetrans TCPTimeouts "
    "TCPBacklogDrop TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout "
    "TCPAbortOnLinger TCPAbortFailed TCPMemoryPressures TCPOFOQueue TCPOFODrop TCPSynRetrans "
    "TCPReqQFullDoCookies TCPReqQFullDrop TCPRcvCollapsed",
    "IpExt": "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts "
    "InOctets OutOctets InMcastOctets OutMcastOctets InCsumErrors InNoECTPkts InCEPkts",
}
NET_DEV_HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|"
    "bytes    packets errs drop fifo colls carrier compressed\n"
)
SOFTIRQS = "HI TIMER NET_TX NET_RX BLOCK IRQ_POLL TASKLET SCHED HRTIMER RCU"
ARCH_ROWS = "NMI LOC SPU PMI IWI RTR RES CAL TLB TRM THR DFR MCE MCP HYP ERR MIS PIN NPI PIW"
STATE = ["S", "S", "S", "S", "I", "S", "S", "S", "S", "R"]


class LargeHost(msgspec.Struct, frozen=True):
    """How large."""

    cpus: int = 256
    processes: int = 5000
    mounts: int = 2000
    disks: int = 64
    partitions: int = 4
    interfaces: int = 20
    veths: int = 500
    containers: int = 300
    services: int = 80
    nodes: int = 8
    interrupts: int = 1000


def make(root: Path, host: LargeHost = LargeHost()) -> None:  # noqa: B008 - frozen
    """Write the whole tree as it is at second 0."""
    for name, text in (*_fixed(host), *_moving(host, 0), *_processes(host, 0)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for disk in range(host.disks):
        (root / "data" / str(disk)).mkdir(parents=True, exist_ok=True)
    for link, target in (("self", "1"), ("net", "1/net"), ("mounts", "1/mounts")):
        place = root / "proc" / link
        if not place.is_symlink():
            place.symlink_to(target)


def advance(root: Path, second: int, host: LargeHost = LargeHost()) -> None:  # noqa: B008
    """Let the host be at this second: rewrite, in place, everything that moves but processes."""
    for name, text in _moving(host, second):
        _rewrite(root / name, text)


def advance_processes(root: Path, second: int, host: LargeHost = LargeHost()) -> None:  # noqa: B008
    """Let one process in ten have used some CPU since the second before."""
    for name, text in _processes(host, second, only_active=True):
        _rewrite(root / name, text)


def _rewrite(path: Path, text: str) -> None:
    with path.open("r+", encoding="ascii") as file:
        file.write(text)
        file.truncate()


# ---------------------------------------------------------------- what moves


def _moving(host: LargeHost, t: int) -> Iterator[tuple[str, str]]:
    yield "proc/stat", _stat(host, t)
    yield (
        "proc/meminfo",
        "".join(
            f"{key + ':':<16}{MEMORY_KIB if not at else MEMORY_KIB // (at + 8) + 97 * t:>8} kB\n"
            for at, key in enumerate(MEMINFO.split())
        )
        + "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n",
    )
    yield (
        "proc/vmstat",
        "".join(f"{key} {1000 * at + t * (at % 7)}\n" for at, key in enumerate(VMSTAT.split())),
    )
    yield "proc/loadavg", f"{120 + t % 3}.50 118.20 101.70 97/41234 {90000 + t}\n"
    yield "proc/uptime", f"{864000 + t}.00 {221184000 + 250 * t}.00\n"
    yield "proc/diskstats", _diskstats(host, t)
    yield "proc/1/net/dev", _net_dev(host, t)
    yield "proc/1/net/snmp", _columns(SNMP, t)
    yield "proc/1/net/netstat", _columns(NETSTAT, t)
    yield (
        "proc/1/net/sockstat",
        (
            f"sockets: used {9000 + t % 50}\nTCP: inuse 4000 orphan 3 tw {700 + t % 90} alloc 5000 "
            "mem 900\n"
            "UDP: inuse 40 mem 12\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
        ),
    )
    yield (
        "proc/1/net/sockstat6",
        (
            "TCP6: inuse 900\nUDP6: inuse 20\nUDPLITE6: inuse 0\nRAW6: inuse 1\n"
            "FRAG6: inuse 0 memory 0\n"
        ),
    )
    yield (
        "proc/1/net/softnet_stat",
        "".join(
            f"{(cpu * 7919 + t * 40) & 0xFFFFFFFF:08x} 00000000 {t % 5:08x} "
            + "00000000 " * 9
            + f"{cpu:08x}\n"
            for cpu in range(host.cpus)
        ),
    )
    for resource in ("cpu", "io", "memory"):
        yield (
            f"proc/pressure/{resource}",
            "".join(
                f"{kind} avg10=1.20 avg60=0.80 avg300=0.40 total={t * 12000 + 500_000_000}\n"
                for kind in ("some", "full")
            ),
        )
    yield (
        "proc/softirqs",
        _table(
            host.cpus,
            {f"{kind}": 1000 * at + t * (at + 1) for at, kind in enumerate(SOFTIRQS.split())},
        ),
    )
    yield "proc/schedstat", _schedstat(host, t)


def _stat(host: LargeHost, t: int) -> str:
    def line(name: str, count: int, offset: int) -> str:
        ticks = (
            60000 + 31 * t + offset,
            20,
            20000 + 11 * t,
            900000 + 55 * t,
            400 + t,
            0,
            100 + t,
            0,
        )
        return f"{name} " + " ".join(str(value * count) for value in (*ticks, 0, 0)) + "\n"

    cores = "".join(line(f"cpu{core}", 1, core + t * (core % 5)) for core in range(host.cpus))
    interrupts = " ".join(str(at * 3) for at in range(host.interrupts))
    return (
        line("cpu ", host.cpus, 0)
        + cores
        + f"intr {10**9 + 50000 * t} {interrupts}\nctxt {10**10 + 90000 * t}\nbtime 1700000000\n"
        + f"processes {10**6 + 50 * t}\nprocs_running {40 + t % 20}\nprocs_blocked {t % 3}\n"
        + f"softirq {10**9 + 30000 * t} 1 2 3 4 5 6 7 8 9 10\n"
    )


def _diskstats(host: LargeHost, t: int) -> str:
    lines = []
    for disk in range(host.disks):
        for part in range(host.partitions + 1):
            name = f"nvme{disk}n1" + (f"p{part}" if part else "")
            base = (disk + 1) * 100_000 + t * (disk % 9) * 10
            counts = (
                base, 5, base * 16, base // 3, base * 2, 9, base * 32, base, t % 4, base // 2,
                base * 2, base // 50, 0, base // 10, 7, base // 90, 3,
            )  # fmt: skip
            lines.append(f"{259:4d} {disk * 8 + part:7d} {name} " + " ".join(map(str, counts)))
    return "\n".join(lines) + "\n"


def _net_dev(host: LargeHost, t: int) -> str:
    names = ["lo", *(f"eth{at}" for at in range(host.interfaces))]
    names += [f"veth{at:07x}" for at in range(host.veths)]
    rows = []
    for at, name in enumerate(names):
        octets, packets = 10**9 + 125_000 * t * (at % 11), 10**6 + 900 * t * (at % 11)
        half = f"{octets} {packets} 0 {at % 2} 0 0 0 0"
        rows.append(f"{name:>6}: {half} {half}\n")
    return NET_DEV_HEAD + "".join(rows)


def _columns(tables: dict[str, str], t: int) -> str:
    text = ""
    for name, keys in tables.items():
        count = len(keys.split())
        values = " ".join(str(100 * at + t * (at % 5)) for at in range(count))
        text += f"{name}: {keys}\n{name}: {values}\n"
    return text


def _table(cpus: int, rows: dict[str, int]) -> str:
    head = " " * 12 + "".join(f"{'CPU' + str(cpu):>11}" for cpu in range(cpus)) + "\n"
    return head + "".join(
        f"{name:>12}:" + "".join(f" {value + cpu:>10}" for cpu in range(cpus)) + "\n"
        for name, value in rows.items()
    )


def _schedstat(host: LargeHost, t: int) -> str:
    lines = [f"version 15\ntimestamp {4_300_000_000 + 250 * t}\n"]
    for cpu in range(host.cpus):
        lines.append(f"cpu{cpu} 0 0 0 0 0 0 {10**13 + t * 10**8} {10**12 + t * 10**6} {t}\n")
        lines += [f"domain{level} {'f' * 64} " + "0 " * 36 + "\n" for level in range(3)]
    return "".join(lines)


def _processes(host: LargeHost, t: int, *, only_active: bool = False) -> Iterator[tuple[str, str]]:
    for at in range(host.processes):
        is_active = at % 10 == 0
        if only_active and not is_active:
            continue
        pid = at + 1
        used = (5000 + t * 3) if is_active else at % 400
        flags = 0x00200040 if 1 < pid <= 400 else 0x00400000
        name = f"kworker/{pid}:0-events" if 1 < pid <= 400 else f"service-{at % 150}"
        resident = 0 if 1 < pid <= 400 else 500 + at % 9000
        yield (
            f"proc/{pid}/stat",
            (
                f"{pid} ({name}) {STATE[at % 10]} {min(at, 1)} {pid} {pid} 0 -1 {flags} 900 0 3 0 "
                f"{used} {used // 3} 0 0 20 0 {1 + at % 8} 0 {100 + at} {resident * 40960} "
                f"{resident} 18446744073709551615 "
                "1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
            ),
        )
        if is_active and not only_active:
            yield (
                f"proc/{pid}/io",
                (
                    f"rchar: {used}\nwchar: {used}\nsyscr: 1\nsyscw: 1\nread_bytes: {used * 4096}\n"
                    f"write_bytes: {used * 512}\ncancelled_write_bytes: 0\n"
                ),
            )


# ---------------------------------------------------------------- what stays


def _fixed(host: LargeHost) -> Iterator[tuple[str, str]]:
    yield "proc/filesystems", "nodev\tsysfs\nnodev\ttmpfs\nnodev\toverlay\n\text4\n\txfs\n"
    yield "proc/1/mounts", _mounts(host)
    yield "proc/1/mountinfo", _mountinfo(_mounts(host))
    yield "proc/interrupts", _interrupts(host)
    yield "proc/sys/fs/file-nr", "41234\t0\t9223372036854775807\n"
    yield "proc/sys/fs/inode-nr", "900000\t1200\n"
    yield "proc/sys/kernel/pid_max", "4194304\n"
    yield "proc/sys/kernel/threads-max", "2060000\n"
    yield "proc/sys/kernel/random/entropy_avail", "256\n"
    yield "proc/sys/net/ipv4/tcp_mem", "190000 250000 380000\n"
    yield "proc/sys/net/netfilter/nf_conntrack_count", "31000\n"
    yield "proc/sys/net/netfilter/nf_conntrack_max", "262144\n"
    yield "sys/block/.keep", ""
    for disk in range(host.disks):
        yield f"sys/block/nvme{disk}n1/dev", f"259:{disk * 8}\n"
    for cpu in range(host.cpus):
        yield f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", "2400000\n"
        yield f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count", "0\n"
    for name in [f"eth{at}" for at in range(host.interfaces)]:
        for key, value in (("speed", 25000), ("carrier", 1), ("operstate", "up"), ("mtu", 9000)):
            yield f"sys/class/net/{name}/{key}", f"{value}\n"
        yield f"sys/class/net/{name}/carrier_changes", "2\n"
    for node in range(host.nodes):
        folder = f"sys/devices/system/node/node{node}"
        yield (
            f"{folder}/numastat",
            (
                "numa_hit 9\nnuma_miss 1\nnuma_foreign 1\ninterleave_hit 1\n"
                "local_node 9\nother_node 1\n"
            ),
        )
        yield (
            f"{folder}/meminfo",
            "".join(
                f"Node {node} {key}: {1_000_000 - at} kB\n"
                for at, key in enumerate(MEMINFO.split()[:2])
            ),
        )
    yield from _cgroups(host)


def _mounts(host: LargeHost) -> str:
    lines = [
        "/dev/nvme0n1p1 / ext4 rw,relatime 0 0",
        "proc /proc proc rw 0 0",
        "sysfs /sys sysfs rw 0 0",
        "tmpfs /run tmpfs rw 0 0",
    ]
    lines += [f"/dev/nvme{at}n1p2 /data/{at} xfs rw,relatime 0 0" for at in range(host.disks)]
    at = 0
    while len(lines) < host.mounts:
        folder = f"/var/lib/docker/overlay2/{at:064x}"
        lines.append(f"overlay {folder}/merged overlay rw,lowerdir={folder}/l 0 0")
        lines.append(f"tmpfs /var/lib/kubelet/pods/{at:032x}/volumes/token tmpfs rw 0 0")
        lines.append(f"nsfs /run/docker/netns/{at:012x} nsfs rw 0 0")
        lines.append(f"/dev/loop{at} /snap/core{at}/1 squashfs ro,nodev 0 0")
        at += 1
    return "\n".join(lines[: host.mounts]) + "\n"


def _mountinfo(mounts: str) -> str:
    lines = []
    for at, line in enumerate(mounts.splitlines(), 20):
        device, point, kind, options, *_ = line.split()
        flag = options.split(",")[0]
        lines.append(f"{at} 1 0:{at} / {point} {flag} shared:{at} - {kind} {device} {options}")
    return "\n".join(lines) + "\n"


def _interrupts(host: LargeHost) -> str:
    head = " " * 12 + "".join(f"CPU{cpu:<8}" for cpu in range(host.cpus)) + "\n"
    row = "".join(f" {cpu % 9:>10}" for cpu in range(host.cpus))
    lines = [
        f"{at:>4}:{row}  PCI-MSI {at}-edge nvme{at % 64}q{at % 99}\n"
        for at in range(host.interrupts)
    ]
    lines += [
        f"{name:>4}: {0:>10}\n" if name in ("ERR", "MIS") else f"{name:>4}:{row}   Kind of {name}\n"
        for name in ARCH_ROWS.split()
    ]
    return head + "".join(lines)


def _cgroups(host: LargeHost) -> Iterator[tuple[str, str]]:
    root = "sys/fs/cgroup"
    yield f"{root}/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"
    groups = [f"system.slice/service-{at}.service" for at in range(host.services)]
    groups += [f"system.slice/docker-{at:064x}.scope" for at in range(host.containers)]
    for at, group in enumerate(groups):
        folder = f"{root}/{group}"
        yield (
            f"{folder}/cpu.stat",
            (
                f"usage_usec {at * 1000}\nuser_usec {at * 700}\nsystem_usec {at * 300}\n"
                "nr_periods 0\nnr_throttled 0\nthrottled_usec 0\n"
            ),
        )
        yield f"{folder}/cpu.max", "max 100000\n"
        yield f"{folder}/memory.current", f"{(at + 1) << 20}\n"
        yield f"{folder}/memory.max", "max\n" if at % 2 else f"{1 << 30}\n"
        yield f"{folder}/memory.swap.current", "0\n"
        yield (
            f"{folder}/memory.stat",
            f"anon {at << 19}\nfile {at << 18}\ninactive_file {at << 17}\n",
        )
        yield f"{folder}/memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"
        yield f"{folder}/pids.current", f"{at % 50 + 1}\n"
        yield f"{folder}/pids.max", "max\n"
        yield f"{folder}/io.stat", f"259:0 rbytes={at * 4096} wbytes={at * 512} rios=1 wios=1\n"
        yield f"{folder}/cgroup.procs", ""


if __name__ == "__main__":
    make(Path(sys.argv[1]))
