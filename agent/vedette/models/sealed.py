"""Keep arrays in files, and know damage when they are read.

Arrays are a ``.npz`` (never a pickle) behind a line with the SHA-256 of all that
follows.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette import whole_file

#: Nothing this program saves comes near this; anything larger is not its own.
LARGEST = 256 << 20

_DIGEST = 64


class Damaged(ValueError):  # noqa: N818 - a state of the world, not a mistake
    """A file is not what was written."""


def write(path: Path, magic: bytes, parts: Mapping[str, NDArray[Any]]) -> int:
    """Write arrays; return the bytes of the file. ``magic`` says what it is, with a newline."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(parts))
    body = buffer.getvalue()
    head = magic + hashlib.sha256(body).hexdigest().encode() + b"\n"
    whole_file.put(path, head + body)
    return len(head) + len(body)


def read(path: Path, magic: bytes) -> dict[str, NDArray[Any]]:
    """Read arrays; raises ``Damaged`` when they are not what was written, and ``OSError``."""
    raw = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    length = len(magic) + _DIGEST + 1
    head, body = raw[:length], raw[length:]
    if head != magic + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise Damaged("the digest is not that of the content")
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise Damaged(f"no arrays: {error}") from error


def digest(path: Path, magic: bytes) -> str:
    """Return the first 16 digits of what a file's head says its digest is; empty without one."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(magic) + _DIGEST)
    except OSError:
        return ""
    return head[len(magic) :][:16].decode("ascii", "replace")
