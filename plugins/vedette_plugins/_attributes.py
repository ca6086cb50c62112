"""Read attributes of sysfs: small files of one value each, opened, read and closed again.

For what is read every ten seconds or less often. Devices come and go, so a file that is not there
or cannot be read is a missing value, not an error.
"""

from __future__ import annotations

from vedette_plugins._procfs import (
    LONGEST_TEXT,
    beginning,
    beginning_if_any,
    first_number,
    listed,
    printable,
)


def attribute(path: str) -> bytes | None:
    """Return the text without the white space around it; None when it cannot be read."""
    text = beginning_if_any(path)
    return text.strip() if text is not None else None


def number(path: str) -> int | None:
    """Return the number that is the file's first word; None when there is none."""
    return first_number(beginning(path))


def word(path: str) -> str:
    """Return the text as it may be shown; empty when there is none."""
    return printable(attribute(path) or b"")


def names(folder: str, prefix: str = "") -> list[str]:
    """Return the sorted names in a folder that begin so; none when it cannot be listed.

    Left out is what could not be shown as it is, which no kernel makes.
    """
    return [
        name
        for name in listed(folder)
        if name.startswith(prefix) and name.isprintable() and len(name) <= LONGEST_TEXT
    ]
