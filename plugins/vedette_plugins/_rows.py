"""Read a large table of the kernel row by row, without ever holding all of it.

/proc/interrupts and /proc/schedstat grow with cores times devices: megabytes on a large host, of
which a collector wants a few rows.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator

from vedette.api import Unavailable

#: The kernel hands out a page or one row at a time, so a larger buffer saves nothing.
BUFFER = 16 * 1024
#: A row with a column per CPU, 8192 of them at most, is shorter.
ROW_MAX = 256 * 1024
#: No table is larger; 2048 cores with 4096 interrupts make 90 MB.
TABLE_MAX = 128 * 1024 * 1024


def rows(path: str) -> Generator[list[bytes], None, None]:
    """Yield the rows of the file without their line breaks, some at a time, never none.

    Raises ``Unavailable`` when it cannot be opened, ``OSError`` when it cannot be read or is
    absurdly large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    length, rest = 0, b""
    try:
        while data := os.read(descriptor, BUFFER):
            length += len(data)
            *whole, rest = (rest + data).split(b"\n")
            if length > TABLE_MAX or len(rest) >= ROW_MAX:
                raise OSError(errno.EFBIG, f"{path} is larger than a table of the kernel can be")
            if whole:
                yield whole
        if rest:
            yield [rest]
    finally:
        os.close(descriptor)
