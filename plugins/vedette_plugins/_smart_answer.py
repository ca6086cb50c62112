"""Take from smartctl's JSON what disks of all kinds have in common.

Nothing of it is trusted: firmware writes nonsense, and the shape differs from version to version.
Attributes of ATA disks have no standard; taken are those few that makers agree on.
"""

from __future__ import annotations

from typing import Any

#: Numbers from here on are a maker's bit fields.
LARGEST = 1 << 48
NVME = "nvme_smart_health_information_log"
#: ATA attributes: which count sectors or errors, and whose value is the percentage of life left.
SECTORS = (("reallocated", 5), ("pending", 197), ("uncorrectable", 198))
ERRORS = (("uncorrected", 187), ("crc", 199))
LIFE_LEFT = frozenset(
    {
        "Media_Wearout_Indicator",
        "Perc_Rated_Life_Remain",
        "Percent_Life_Remaining",
        "Percent_Lifetime_Remain",
        "Remaining_Lifetime_Perc",
        "SSD_Life_Left",
        "Wear_Leveling_Count",
    }
)
#: Where other disks say how much of their endurance is used, in percent.
WORN = (
    ("endurance_used", "current_percent"),
    (NVME, "percentage_used"),
    ("scsi_percentage_used_endurance_indicator",),
)
SCSI_LOGS = ("read", "write", "verify")


def find(data: Any, *path: str) -> Any:
    """Return what is at a path of keys; None where there is no such thing."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def amount(value: Any) -> float | None:
    """Return a number as it is; None when it is none, below zero or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < LARGEST else None


def percent(value: Any) -> float | None:
    """Return a percentage as a share, at most 1."""
    number = amount(value)
    return None if number is None else min(1.0, number / 100.0)


def ata_table(data: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the attributes of an ATA disk by their number."""
    table = find(data, "ata_smart_attributes", "table")
    rows = table if isinstance(table, list) else []
    return {
        row["id"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), int)
    }


def raw(row: Any) -> float | None:
    """Return the raw value of an attribute.

    The first number of its text, as smartctl knows which bits of it a maker means; else the value.
    """
    text = find(row, "raw", "string")
    words = text.split(None, 1) if isinstance(text, str) else []
    if words and words[0].isascii() and words[0].isdigit() and len(words[0]) < 20:
        return amount(int(words[0]))
    return amount(find(row, "raw", "value"))


def bad_sectors(data: dict[str, Any], table: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Return the bad sectors by state, of an ATA or a SCSI disk."""
    counts = {state: raw(table.get(attribute)) for state, attribute in SECTORS}
    if counts["reallocated"] is None:
        counts["reallocated"] = amount(find(data, "scsi_grown_defect_list"))
    if counts["pending"] is None:
        counts["pending"] = amount(find(data, "scsi_pending_defects", "count"))
    return {state: count for state, count in counts.items() if count is not None}


def failures(data: dict[str, Any], table: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Return the errors by kind, of any disk."""
    counts = {kind: raw(table.get(attribute)) for kind, attribute in ERRORS}
    if counts["uncorrected"] is None:
        counts["uncorrected"] = amount(find(data, NVME, "media_errors"))
    log = find(data, "scsi_error_counter_log")
    if counts["uncorrected"] is None and isinstance(log, dict):
        parts = [amount(find(log, how, "total_uncorrected_errors")) for how in SCSI_LOGS]
        known = [part for part in parts if part is not None]
        counts["uncorrected"] = sum(known) if known else None
    return {kind: count for kind, count in counts.items() if count is not None}


def wear(data: dict[str, Any], table: dict[int, dict[str, Any]]) -> float | None:
    """Return the share of a flash disk's endurance that is used."""
    for path in WORN:
        used = percent(find(data, *path))
        if used is not None:
            return used
    for row in table.values():
        name = row.get("name")
        if isinstance(name, str) and name in LIFE_LEFT:
            left = percent(row.get("value"))
            return None if left is None else 1.0 - left
    return None
