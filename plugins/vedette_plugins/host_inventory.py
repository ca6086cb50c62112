"""Describe this host: machine, processors, memory, disks, GPUs, system, network, what listens.

Everything is read from /proc, /sys and /etc/os-release. Nothing is asked of a network, no cloud
metadata service either: the provider shows in the firmware's tables. Serial numbers, hardware
addresses, IP addresses and command lines are left out.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping

from vedette.api import Host, Item, hookimpl
from vedette_plugins._attributes import names, number
from vedette_plugins._listeners import programs, sockets
from vedette_plugins._procfs import number_after, printable, whole

#: Of each kind; what is more is left out.
DISKS_MAX, INTERFACES_MAX, GPUS_MAX, SERVICES_MAX = 64, 64, 32, 100
KIB, SECTOR = 1024, 512
#: What the firmware of a virtual machine says, and whose it is: cloud providers by the names of
#: OpenTelemetry's ``cloud.provider``, else hypervisors.
CLOUDS = (
    ("Amazon EC2", "aws"),
    ("Google", "gcp"),
    ("Microsoft Corporation", "azure"),
    ("Alibaba Cloud", "alibaba_cloud"),
    ("Tencent Cloud", "tencent_cloud"),
    ("DigitalOcean", "digitalocean"),
    ("Hetzner", "hetzner"),
    ("OracleCloud", "oracle_cloud"),
    ("Scaleway", "scaleway"),
    ("OVHcloud", "ovh"),
    ("Vultr", "vultr"),
    ("Linode", "linode"),
)
HYPERVISORS = (
    ("KVM", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"),
    ("Xen", "xen"),
    ("Virtual Machine", "hyperv"),
    ("Parallels", "parallels"),
    ("Firecracker", "firecracker"),
    ("Bochs", "bochs"),
    ("BHYVE", "bhyve"),
)
FIRMWARE = (
    "sys_vendor",
    "product_name",
    "board_vendor",
    "board_name",
    "bios_vendor",
    "bios_version",
    "bios_date",
    "chassis_asset_tag",
)
GPU_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
#: PCI classes of display and 3D controllers and of processing accelerators.
GPU_CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")

#: The flag of a watchdog's boot status that says that it has reset the host.
CARD_RESET = 0x20

Facts = dict[str, str | int | float | bool]


@hookimpl
def describe_host(host: Host) -> Iterator[Item]:
    """Yield what this host is made of."""
    dmi = firmware(host)
    for part in (
        machine(dmi),
        processors(host),
        memory(host),
        operating_system(host),
        kernel(host),
        virtualization(host, dmi),
    ):
        if part is not None:
            yield part
    yield from cloud(dmi)
    yield from disks(host)
    yield from gpus(host)
    yield from interfaces(host)
    yield from services(host)


def firmware(host: Host) -> Mapping[str, str]:
    """Return what the firmware says of the machine, as far as anybody may know it."""
    base = f"{host.sys}/class/dmi/id"
    return {name: text for name in FIRMWARE if (text := read(f"{base}/{name}"))}


def machine(dmi: Mapping[str, str]) -> Item:
    """Return make and model."""
    facts: Facts = {
        "vendor": dmi.get("sys_vendor", ""),
        "board": f"{dmi.get('board_vendor', '')} {dmi.get('board_name', '')}".strip(),
        "firmware": " ".join(
            dmi[key] for key in ("bios_vendor", "bios_version", "bios_date") if key in dmi
        ),
    }
    name = dmi.get("product_name") or platform.machine()
    return Item("machine", name, {key: value for key, value in facts.items() if value})


def processors(host: Host) -> Item | None:
    """Return model and count of the processors, from /proc/cpuinfo."""
    text = whole(f"{host.proc}/cpuinfo").decode("utf-8", "replace")
    blocks = [block for block in text.split("\n\n") if block.strip()]
    cpus = [
        {
            key.strip(): value.strip()
            for key, found, value in (line.partition(":") for line in block.split("\n"))
            if found
        }
        for block in blocks
    ]
    logical = [one for one in cpus if "processor" in one]
    if not logical:
        return None
    first = logical[0]
    sockets = {one.get("physical id", "0") for one in logical}
    cores = {(one.get("physical id", "0"), one.get("core id", one["processor"])) for one in logical}
    facts: Facts = {
        "logical": len(logical),
        "cores": len(cores),
        "sockets": len(sockets),
        "architecture": platform.machine(),
    }
    for fact, key in (("vendor", "vendor_id"), ("cache", "cache size"), ("microcode", "microcode")):
        if first.get(key):
            facts[fact] = first[key]
    model = first.get("model name") or first.get("CPU part") or platform.machine()
    return Item("cpu", " ".join(model.split()), facts)


def memory(host: Host) -> Item | None:
    """Return how much RAM and swap there is."""
    text = b"\n" + whole(f"{host.proc}/meminfo")
    total = number_after(text, b"\nMemTotal:")
    if total is None:
        return None
    swap = number_after(text, b"\nSwapTotal:") or 0
    nodes = sum(
        one.startswith("node") and one[4:].isdigit()
        for one in names(f"{host.sys}/devices/system/node")
    )
    return Item(
        "memory",
        "ram",
        {"total": total * KIB, "swap_total": swap * KIB, "numa_nodes": max(1, nodes)},
    )


def operating_system(host: Host) -> Item | None:
    """Return the distribution, from os-release."""
    root = host.root.rstrip("/")
    text = whole(f"{root}/etc/os-release") or whole(f"{root}/usr/lib/os-release")
    if not text:
        return None
    told = {
        key: printable(value.strip("\"'").encode(), 200)
        for key, found, value in (
            line.partition("=") for line in text.decode("utf-8", "replace").split("\n")
        )
        if found
    }
    wanted = (("version", "VERSION_ID"), ("description", "PRETTY_NAME"), ("build", "BUILD_ID"))
    facts: Facts = {fact: told[key] for fact, key in wanted if told.get(key)}
    return Item("os", told.get("ID", "linux"), facts)


def kernel(host: Host) -> Item | None:
    """Return the kernel's release; its version changes with each build."""
    release = read(f"{host.proc}/sys/kernel/osrelease")
    if not release:
        return None
    facts: Facts = {"release": release}
    version = read(f"{host.proc}/sys/kernel/version")
    if version:
        facts["version"] = version
    clock = "devices/system/clocksource/clocksource0/current_clocksource"
    for fact, path in (("clock_source", clock), ("lsm", "kernel/security/lsm")):
        text = read(f"{host.sys}/{path}")
        if text:
            facts[fact] = text
    mode = selinux(host)
    if mode:
        facts["selinux"] = mode
    facts.update(watchdog(host))
    return Item("kernel", "linux", facts)


def selinux(host: Host) -> str:
    """Return the mode of SELinux; empty on a host that is not set up for it."""
    enforces = number(f"{host.sys}/fs/selinux/enforce")
    if enforces is not None:
        return "enforcing" if enforces else "permissive"
    is_set_up = os.path.exists(f"{host.root.rstrip('/')}/etc/selinux/config")
    return "disabled" if is_set_up else ""


def watchdog(host: Host) -> Facts:
    """Return the hardware watchdog, and whether it was what started the host the last time."""
    folder = f"{host.sys}/class/watchdog/watchdog0"
    name = read(f"{folder}/identity")
    if not name:
        return {}
    facts: Facts = {"watchdog": name}
    status = number(f"{folder}/bootstatus")
    if status is not None:
        facts["started_by_watchdog"] = bool(status & CARD_RESET)
    return facts


def virtualization(host: Host, dmi: Mapping[str, str]) -> Item | None:
    """Return under what this host runs; None on bare metal."""
    root = host.root.rstrip("/")
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if os.path.exists(root + path):
            return Item("virtualization", name, {"kind": "container"})
    texts = " ".join(dmi.get(key, "") for key in ("sys_vendor", "product_name", "bios_vendor"))
    for word, name in HYPERVISORS:
        if word in texts:
            return Item("virtualization", name, {"kind": "machine"})
    kind = read(f"{host.sys}/hypervisor/type")
    is_guest = b" hypervisor" in whole(f"{host.proc}/cpuinfo")
    if kind or is_guest:
        return Item("virtualization", kind or "hypervisor", {"kind": "machine"})
    return None


def cloud(dmi: Mapping[str, str]) -> Iterator[Item]:
    """Yield the cloud provider the firmware names, if any."""
    texts = " ".join(
        dmi.get(key, "")
        for key in ("sys_vendor", "product_name", "bios_vendor", "chassis_asset_tag")
    )
    is_virtual = any(word in texts for word in ("Virtual Machine", "EC2", "Compute Engine"))
    for word, provider in CLOUDS:
        if word not in texts:
            continue
        # Google and Microsoft also make machines that stand in an office.
        if provider in ("gcp", "azure") and not is_virtual:
            continue
        yield Item("cloud", provider, {"instance_type": dmi.get("product_name", "")})
        return


def disks(host: Host) -> Iterator[Item]:
    """Yield the block devices that are hardware, or look like it to a guest."""
    count = 0
    for name in names(f"{host.sys}/block"):
        folder = f"{host.sys}/block/{name}"
        size = number(f"{folder}/size")
        if not size or not os.path.exists(f"{folder}/device") or count >= DISKS_MAX:
            continue
        count += 1
        facts: Facts = {
            "size": size * SECTOR,
            "rotational": number(f"{folder}/queue/rotational") == 1,
            "removable": number(f"{folder}/removable") == 1,
        }
        for fact in ("model", "vendor"):
            text = read(f"{folder}/device/{fact}")
            if text:
                facts[fact] = text
        yield Item("disk", name, facts)


def gpus(host: Host) -> Iterator[Item]:
    """Yield the graphics and compute accelerators on the PCI bus."""
    base = f"{host.sys}/bus/pci/devices"
    count = 0
    for address in names(base):
        kind = read(f"{base}/{address}/class")
        if kind[:6] not in GPU_CLASSES or count >= GPUS_MAX:
            continue
        count += 1
        vendor = read(f"{base}/{address}/vendor")
        facts: Facts = {
            "vendor": GPU_VENDORS.get(vendor, vendor),
            "device": read(f"{base}/{address}/device"),
        }
        driver = os.path.basename(os.path.realpath(f"{base}/{address}/driver"))
        if os.path.exists(f"{base}/{address}/driver"):
            facts["driver"] = driver
        told = whole(f"{host.proc}/driver/nvidia/gpus/{address}/information")
        model = told.partition(b"Model:")[2].partition(b"\n")[0].strip()
        if model:
            facts["model"] = printable(model)
        yield Item("gpu", address, facts)


def interfaces(host: Host) -> Iterator[Item]:
    """Yield the network interfaces with a device behind them."""
    base = f"{host.sys}/class/net"
    count = 0
    for name in names(base):
        if not os.path.exists(f"{base}/{name}/device") or count >= INTERFACES_MAX:
            continue
        count += 1
        facts: Facts = {"mtu": number(f"{base}/{name}/mtu") or 0}
        driver = f"{base}/{name}/device/driver"
        if os.path.exists(driver):
            facts["driver"] = os.path.basename(os.path.realpath(driver))
        speed = number(f"{base}/{name}/speed")
        if speed:
            facts["speed_mbit"] = speed
        yield Item("interface", name, facts)


def services(host: Host) -> Iterator[Item]:
    """Yield which programs listen for connections, and on which TCP ports."""
    listening = sockets(host)
    owners = programs(host, listening.keys())
    found: dict[str, set[int]] = {}
    is_open: Counter[str] = Counter()
    for inode, (port, is_local) in listening.items():
        program = owners.get(inode, "unknown")
        found.setdefault(program, set()).add(port)
        is_open[program] += not is_local
    for program in sorted(found)[:SERVICES_MAX]:
        ports = sorted(found[program])
        shown = ", ".join(map(str, ports[:20])) + (", ..." if len(ports) > 20 else "")
        yield Item("service", program, {"ports": shown, "local_only": not is_open[program]})


def read(path: str) -> str:
    """Return the first line of a small file as it may be shown; empty when there is none."""
    return printable(whole(path)[:1024].partition(b"\n")[0].strip(), 200)
