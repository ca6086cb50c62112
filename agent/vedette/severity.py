"""Grade an incident by one rule, so that *warning* means that a person should look today.

Each finding is of one of four sorts, and the incident has the grade of its gravest finding:

1. *A rule of the operator's* (detector ``level``): the grade that the rule gives.
2. *A failure*: a series that moves only when something is broken. Critical where it is out of work
   (a mount that does not answer, a dead watched process, a model server that is down, a kernel
   oops), else a warning (an I/O error, an OOM kill, a failed unit, a degraded array).
3. *A shortage*: a share of a stock that can run out (memory, space, inodes, handles, a container's
   memory). A warning from ``FULL`` of its limit on (memory ``MEMORY_FULL``, temperatures ``HOT``)
   once it has lasted ``SHORT_FOR_NS``, critical from ``OUT`` on.
4. *Load*: everything else. Info, however strange: a machine that works is no trouble. A warning
   when it is at its limit for ``LOADED_FOR_NS`` (a GPU is meant to be); when it lasted
   ``SUFFERS_FOR_NS`` and shows in a family whose work it disturbs (``VICTIMS``); when threads are
   stuck in the kernel for ``STUCK_FOR_NS``; or, of what is no plain use of the machine, when it
   stayed far out (p at most ``FAR_P``) for ``STRANGE_FOR_NS`` in ``STRANGE_SERIES`` series that are
   not the same thing told twice.

An incident never becomes less grave while it is open. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vedette.api import Finding, Severity
from vedette.decide import worse
from vedette.entities import place_of

#: From this part of its limit a stock is short; memory is meant to be used.
FULL, MEMORY_FULL, HOT, OUT = 0.90, 0.95, 0.97, 0.99
SHORT_FOR_NS = 20_000_000_000
#: A compile takes minutes; half an hour at the limit is worth a look.
LOADED_FOR_NS = 1_800_000_000_000
AT_LIMIT = 0.95
SUFFERS_FOR_NS = 300_000_000_000
#: The kernel itself calls a task hung after this time (``hung_task_timeout_secs``).
STUCK_FOR_NS = 120_000_000_000
STRANGE_FOR_NS = 600_000_000_000
FAR_P = 1e-6
STRANGE_SERIES = 3
#: Families whose series turn strange when somebody's work is disturbed.
VICTIMS = frozenset({"model", "service", "container", "nfs"})
#: Families in which ordinary work shows.
WORK = frozenset(
    {"cpu", "memory", "disk", "filesystem", "network", "process", "gpu", "hardware", "log", "users"}
)
#: What has a limit and may well be at it: time, and memory that a program takes once for all.
_LOADS = (
    "busy",
    "hw.gpu.memory.utilization",
    "mig.memory.utilization",
    "pressure.time",
    "pressure.average",
    "cpu.utilization",
    "gpu.utilization",
    "disk.utilization",
)
#: A model fills the memory of its GPU, and training its time, for days.
_MEANT_TO_BE_FULL = frozenset({"gpu"})
#: Metrics that are broken when they move, by the end of their name: those out of work, the others.
_OUT_OF_WORK = (
    "filesystem.responding",
    "filesystem.read_only",
    "btrfs.devices.missing",
    "raid.running",
    "smart.healthy",
    "nvme.live",
    "kernel.oopses",
    "pci.errors.fatal",
    "gpu.count",
    "gpu.memory.repair.failed",
    "watch.process.count",
    "memory.hardware_corrupted",
)
_BROKEN = (
    "errors",
    "failed",
    "oom_kills",
    "hung_tasks",
    "process.stopped",
    "degraded",
    "kernel.events",
    "link.up",
    "link_downed",
    "carrier_changes",
    "infiniband.up",
    "nvlink.up",
    "bonding.active",
    "power_supply.online",
    "hw.alarms",
    "smart.critical_warnings",
    "smart.sectors",
    "smart.spare",
    "clock.synchronized",
    "repair.pending",
    "conntrack.drops",
    "neighbours.overflows",
    "errors.nonfatal",
    "systemd.restarts",
    "nfs.server.thread.count",
)
#: Of a plugin's metric, the word at its end that says whether something works at all.
_WORKS = frozenset({"up", "responding", "healthy", "live", "alive", "reachable"})
#: Kernel messages after which something is lost.
_WORST_MESSAGES = frozenset(
    {"panic", "machine_check", "memory_error", "filesystem_error", "lockup"}
)
#: Of these signals of a log the severity is that of lines that did not come, or come as always.
_NO_WORD = frozenset({"silence", "missing", "slot"})
#: States of units and processes of which one more is a failure.
_BAD_STATES = {"systemd.units": "failed", "process.count": "stopped"}


def grade(
    findings: Sequence[Finding], now_ns: int, twin: Callable[[str], str] = lambda key: key
) -> Severity:
    """Return the severity of an incident of these findings.

    ``twin`` maps the key of a series to that of the one it repeats, so that a thing told twice
    counts once.
    """
    found: Severity = "info"
    for finding in findings:
        found = worse(found, _of_one(finding, now_ns))
    if found == "info" and (_disturbs(findings, now_ns) or _far_out(findings, now_ns, twin)):
        return "warning"
    return found


def impact(finding: Finding) -> float:
    """Return how much of its limit a finding's series has reached, at most 1; 0 without limit."""
    limit = finding.series.instrument.limit
    return min(finding.observed / limit, 1.0) if limit else 0.0


def is_ruled(finding: Finding) -> bool:
    """Say whether a rule of the operator's own is violated: nothing else grades a finding."""
    return finding.severity != "info"


def is_failure(finding: Finding) -> bool:
    """Say whether the series moves only when something is broken."""
    return _failure(finding) is not None


def is_shortage(finding: Finding) -> bool:
    """Say whether the series is a share of a stock that can run out."""
    instrument = finding.series.instrument
    return bool(instrument.limit) and not instrument.name.endswith(_LOADS)


def _of_one(finding: Finding, now_ns: int) -> Severity:
    if is_ruled(finding):
        return finding.severity
    failure = _failure(finding)
    if failure is not None:
        return failure
    lasted = now_ns - finding.since_ns
    reached = impact(finding)
    if is_shortage(finding):
        if reached >= _full(finding) and lasted >= SHORT_FOR_NS:
            return "critical" if reached >= max(OUT, _full(finding)) else "warning"
        return "info"
    if finding.series.instrument.name.endswith("process.blocked"):
        return "warning" if lasted >= STUCK_FOR_NS else "info"
    if place_of(finding.series).family in _MEANT_TO_BE_FULL:
        return "info"
    return "warning" if reached >= AT_LIMIT and lasted >= LOADED_FOR_NS else "info"


def _full(finding: Finding) -> float:
    name = finding.series.instrument.name
    if "temperature" in name:
        return HOT
    return MEMORY_FULL if name == "system.memory.utilization" else FULL


def _failure(finding: Finding) -> Severity | None:
    name = finding.series.instrument.name
    values = finding.series.values
    if name.endswith(_OUT_OF_WORK):
        return "critical"
    if name == "vedette.log.strangeness":
        return "warning" if "error" in values and values[1] not in _NO_WORD else None
    if name.endswith("kernel.events"):
        return "critical" if _WORST_MESSAGES & set(values) else "warning"
    for end, state in _BAD_STATES.items():
        if name.endswith(end) and state in values:
            return "warning"
    if name.endswith(_BROKEN):
        return "warning"
    low = finding.observed < finding.low or finding.observed == 0.0
    return "critical" if name.rpartition(".")[2] in _WORKS and low else None


def _disturbs(findings: Sequence[Finding], now_ns: int) -> bool:
    """Say whether a lasting load shows where somebody's work is disturbed."""
    families = {place_of(one.series).family for one in findings}
    lasts = any(now_ns - one.since_ns >= SUFFERS_FOR_NS for one in findings)
    return lasts and bool(families & VICTIMS) and bool(families - VICTIMS)


def _far_out(findings: Sequence[Finding], now_ns: int, twin: Callable[[str], str]) -> bool:
    """Say whether several series that are no plain use of the machine have long been far out."""
    far = {
        twin(one.series.key)
        for one in findings
        if one.p <= FAR_P
        and now_ns - one.since_ns >= STRANGE_FOR_NS
        and place_of(one.series).family not in WORK
    }
    return len(far) >= STRANGE_SERIES
