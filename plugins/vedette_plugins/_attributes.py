"""Read attributes of sysfs: small files of one value each, opened, read and closed again.

For what is read every ten seconds or less often. Devices come and go, so a file that is not there
or cannot be read is a missing value, not an error.
"""

from __future__ import annotations

import os

from vedette_plugins._procfs import LONGEST_TEXT, numbers, printable

#: sysfs hands out a page at most.
PAGE = 4096


def attribute(path: str) -> bytes | None:
    """Return the text without the white space around it; None when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, PAGE).strip()
        finally:
            os.close(descriptor)
    except OSError:
        return None


def number(path: str) -> int | None:
    """Return the number that is the file's first word; None when there is none."""
    text = attribute(path)
    values = numbers(text.split(None, 1)[:1]) if text else None
    return values[0] if values else None


def word(path: str) -> str:
    """Return the text as it may be shown; empty when there is none."""
    return printable(attribute(path) or b"")


def names(folder: str, prefix: str = "") -> list[str]:
    """Return the sorted names in a folder that begin so; none when it cannot be listed.

    Left out is what could not be shown as it is, which no kernel makes.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(prefix)]
    except OSError:
        return []
    return sorted(name for name in found if name.isprintable() and len(name) <= LONGEST_TEXT)
