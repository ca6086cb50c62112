"""Know which agent on which host this is, and that it is alone in its state directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import uuid
from pathlib import Path

import msgspec

FILE_NAME = "agent.json"
LOCK_NAME = "agent.lock"


class StateDirError(Exception):
    """The state directory cannot be used; the text says why and what to do."""


class Identity(msgspec.Struct, frozen=True):
    """The agent's id, made once per state directory and host, and the host it was made on."""

    id: str
    machine: str


def prepare(directory: Path) -> None:
    """Make the state directory, for its owner only; raises ``StateDirError``."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StateDirError(
            f"cannot use the state directory {directory}: {error.strerror}; "
            "give another one with --state-dir or [agent] state_dir"
        ) from error


def lock(directory: Path) -> int:
    """Return a descriptor that holds the directory until it is closed.

    Raises ``StateDirError`` naming the process that holds it already.
    """
    descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise StateDirError(
            f"another agent (pid {owner}) runs on the state directory {directory}; "
            "stop it first, or give this one its own with --state-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def identify(directory: Path, machine: str) -> Identity:
    """Return the identity kept in the directory, a new one when there is none.

    A directory that came from another machine (a cloned disk) gets a new id, so that two hosts
    never speak with one name. Raises ``StateDirError`` when it cannot be kept.
    """
    path = directory / FILE_NAME
    with contextlib.suppress(OSError, msgspec.DecodeError, ValueError):
        known = msgspec.json.decode(path.read_bytes(), type=Identity)
        if known.machine == machine and uuid.UUID(known.id):
            return known
    identity = Identity(str(uuid.uuid4()), machine)
    temporary = path.with_name(path.name + ".new")
    try:
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(identity))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StateDirError(f"cannot write {path}: {error.strerror}") from error
    return identity


def machine_id() -> str:
    """Return this machine's id (machine-id(5)), its host name where there is none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            text = Path(path).read_text(encoding="ascii", errors="replace").strip()
            if text and text != "uninitialized":
                return text
    return socket.gethostname()
