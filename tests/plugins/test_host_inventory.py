"""What a host is made of, read from trees of /proc and /sys."""

from __future__ import annotations

import platform
import socket
import tempfile
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette.api import Host, Item
from vedette.testing import fake_proc
from vedette_plugins._listeners import is_loopback
from vedette_plugins.host_inventory import describe_host

CPUINFO = """processor\t: {0}
vendor_id\t: GenuineIntel
model name\t: Intel(R)  Xeon(R) Gold 6130 CPU @ 2.10GHz
microcode\t: 0x2007006
cache size\t: 22528 KB
physical id\t: {1}
core id\t\t: {2}
flags\t\t: fpu vme
"""

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode\n"
)


def listener(address: str, port: int, inode: int, state: str = "0A") -> str:
    return (
        f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 "
        f"00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
    )


def dmi(**texts: str) -> dict[str, str]:
    return {f"sys/class/dmi/id/{key}": f"{value}\n" for key, value in texts.items()}


FILES = {
    "proc/cpuinfo": "\n".join(CPUINFO.format(n, n // 2 % 2, n // 4) for n in range(8)),
    "proc/meminfo": "MemTotal: 1024 kB\nSwapTotal: 2048 kB\n",
    "proc/sys/kernel/osrelease": "6.1.0-28-amd64\n",
    "proc/sys/kernel/version": "#1 SMP Debian 6.1.119-1\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/1/net/tcp": HEAD
    + listener("00000000", 443, 11)
    + listener("0100007F", 6379, 12)
    + listener("00000000", 45001, 13)
    + listener("0100007F", 8080, 14, state="01"),
    "proc/1/net/tcp6": HEAD + listener("0" * 32, 80, 15),
    "proc/7/comm": "nginx\n",
    "proc/8/comm": "redis-server\n",
    "root/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/kernel/security/lsm": "lockdown,capability,yama,apparmor",
    "sys/class/watchdog/watchdog0/identity": "iTCO_wdt\n",
    "sys/class/watchdog/watchdog0/bootstatus": "0\n",
    "sys/block/sda/size": "2097152\n",
    "sys/block/sda/device/model": "SAMSUNG MZ7LH960\n",
    "sys/block/sda/queue/rotational": "0\n",
    "sys/block/loop0/size": "8\n",
    "sys/class/net/eth0/mtu": "1500\n",
    "sys/class/net/eth0/speed": "10000\n",
    "sys/class/net/eth0/device/vendor": "0x8086\n",
    "sys/class/net/lo/mtu": "65536\n",
    "sys/bus/pci/devices/0000:65:00.0/class": "0x030200\n",
    "sys/bus/pci/devices/0000:65:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:65:00.0/device": "0x2330\n",
    "proc/driver/nvidia/gpus/0000:65:00.0/information": "Model: \t\t NVIDIA H100 80GB HBM3\n",
    "sys/bus/pci/devices/0000:00:1f.0/class": "0x060100\n",
    **dmi(sys_vendor="Dell Inc.", product_name="PowerEdge R740", board_name="0WGD1"),
}


@pytest.fixture
def server(tmp_path: Path) -> Host:
    host = fake_proc(tmp_path, FILES)
    for pid, inodes in ((7, (11, 15)), (8, (12,))):
        folder = tmp_path / "proc" / str(pid) / "fd"
        folder.mkdir(parents=True)
        for at, inode in enumerate(inodes):
            (folder / str(at)).symlink_to(f"socket:[{inode}]")
    return host


def described(host: Host) -> dict[tuple[str, str], Item]:
    return {(one.kind, one.name): one for one in describe_host(host)}


def test_a_server_is_described(server: Host) -> None:
    found = {key: dict(one.facts) for key, one in described(server).items()}
    assert found == {
        ("machine", "PowerEdge R740"): {"vendor": "Dell Inc.", "board": "0WGD1"},
        ("cpu", "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz"): {
            "logical": 8,
            "cores": 4,
            "sockets": 2,
            "architecture": platform.machine(),
            "vendor": "GenuineIntel",
            "cache": "22528 KB",
            "microcode": "0x2007006",
        },
        ("memory", "ram"): {"total": 1 << 20, "swap_total": 2 << 20, "numa_nodes": 1},
        ("os", "debian"): {"version": "12", "description": "Debian GNU/Linux 12"},
        ("kernel", "linux"): {
            "release": "6.1.0-28-amd64",
            "version": "#1 SMP Debian 6.1.119-1",
            "clock_source": "tsc",
            "lsm": "lockdown,capability,yama,apparmor",
            "watchdog": "iTCO_wdt",
            "started_by_watchdog": False,
        },
        ("disk", "sda"): {
            "size": 1 << 30,
            "rotational": False,
            "removable": False,
            "model": "SAMSUNG MZ7LH960",
        },
        ("gpu", "0000:65:00.0"): {
            "vendor": "NVIDIA",
            "device": "0x2330",
            "model": "NVIDIA H100 80GB HBM3",
        },
        ("interface", "eth0"): {"mtu": 1500, "speed_mbit": 10000},
        ("service", "nginx"): {"ports": "80, 443", "local_only": False},
        ("service", "redis-server"): {"ports": "6379", "local_only": True},
    }


def test_a_passing_port_and_a_connection_are_no_service(server: Host) -> None:
    assert not [one for one in described(server).values() if "45001" in str(one.facts)]
    assert not [one for one in described(server).values() if "8080" in str(one.facts)]


@pytest.mark.parametrize(
    ("texts", "virtual", "provider"),
    [
        ({"sys_vendor": "Amazon EC2", "product_name": "m7i.large"}, None, "aws"),
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, None, "gcp"),
        (
            {"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"},
            "hyperv",
            "azure",
        ),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Surface Laptop"}, None, None),
        ({"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9)"}, "qemu", None),
        ({"sys_vendor": "Hetzner", "product_name": "vServer"}, None, "hetzner"),
        ({"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R740"}, None, None),
    ],
)
def test_the_firmware_tells_cloud_and_hypervisor(
    tmp_path: Path, texts: dict[str, str], virtual: str | None, provider: str | None
) -> None:
    found = described(fake_proc(tmp_path, dmi(**texts)))
    kinds = dict(found.keys())
    assert kinds.get("virtualization") == virtual
    assert kinds.get("cloud") == provider


def test_a_container_says_so(tmp_path: Path) -> None:
    found = described(fake_proc(tmp_path, {"root/.dockerenv": ""}))
    assert ("virtualization", "docker") in found


def test_a_guest_without_firmware_tables_is_known_by_its_processor(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": "processor : 0\nflags : fpu hypervisor lahf_lm\n"}
    assert ("virtualization", "hypervisor") in described(fake_proc(tmp_path, files))


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({"sys/fs/selinux/enforce": "1"}, "enforcing"),
        ({"sys/fs/selinux/enforce": "0", "root/etc/selinux/config": ""}, "permissive"),
        ({"root/etc/selinux/config": "SELINUX=disabled\n"}, "disabled"),
        ({}, None),
    ],
)
def test_the_mode_of_selinux_is_what_the_kernel_does(
    tmp_path: Path, files: dict[str, str], mode: str | None
) -> None:
    found = described(fake_proc(tmp_path, {**FILES, **files}))
    assert found["kernel", "linux"].facts.get("selinux") == mode


@pytest.mark.parametrize(
    ("status", "by_it"), [("0", False), ("32", True), ("33", True), ("1", False)]
)
def test_a_host_that_its_watchdog_has_reset_says_so(
    tmp_path: Path, status: str, by_it: bool
) -> None:
    files = {**FILES, "sys/class/watchdog/watchdog0/bootstatus": status}
    facts = described(fake_proc(tmp_path, files))["kernel", "linux"].facts
    assert (facts["watchdog"], facts["started_by_watchdog"]) == ("iTCO_wdt", by_it)


def test_a_watchdog_that_tells_no_status_is_named_all_the_same(tmp_path: Path) -> None:
    files = {**FILES, "sys/class/watchdog/watchdog0/bootstatus": ""}
    facts = described(fake_proc(tmp_path, files))["kernel", "linux"].facts
    assert facts["watchdog"] == "iTCO_wdt"
    assert "started_by_watchdog" not in facts


def test_an_empty_host_has_a_machine_and_no_more(tmp_path: Path) -> None:
    assert [one.kind for one in describe_host(fake_proc(tmp_path, {}))] == ["machine"]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (b"0100007F", True),
        (b"3500007F", True),
        (b"00000000", False),
        (b"0101A8C0", False),
        (b"0" * 32, False),
        (b"0" * 24 + b"01000000", True),
        (b"0000000000000000FFFF00000100007F", True),
        (b"0000000000000000FFFF00000101A8C0", False),
    ],
)
def test_loopback_is_told_from_the_rest(address: bytes, local: bool) -> None:
    assert is_loopback(address) is local


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_do_not_crash_it(data: st.DataObject) -> None:
    from tests.plugins.conftest import garbled  # type: ignore[import-not-found]

    files = {
        name: garbled(data, text.encode())
        for name, text in FILES.items()
        if data.draw(st.integers(0, 9))
    }
    with tempfile.TemporaryDirectory() as folder:
        for item in describe_host(fake_proc(Path(folder), files)):
            assert item.name.isprintable()


def test_this_host_is_described_as_psutil_sees_it() -> None:
    found = described(Host())
    (cpu,) = (one for one in found.values() if one.kind == "cpu")
    assert cpu.facts["logical"] == psutil.cpu_count()
    assert found["memory", "ram"].facts["total"] == psutil.virtual_memory().total
    assert found["kernel", "linux"].facts["release"] == platform.release()
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source.exists():
        assert found["kernel", "linux"].facts["clock_source"] == source.read_text().strip()


def test_a_server_of_this_process_is_found() -> None:
    with socket.socket() as server:
        for port in range(20100, 20200):  # below the ports of outgoing connections
            try:
                server.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
        server.listen()
        own = Path("/proc/self/comm").read_text().strip()
        service = described(Host())["service", own]
    assert str(port) in str(service.facts["ports"]).split(", ")
