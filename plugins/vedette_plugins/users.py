"""Collector ``users``: how many people are logged in, from utmp or else from systemd-logind.

Only numbers leave here, never a name. Hosts whose C library no longer writes utmp have the files
that logind keeps of its sessions. Both lie in /run, which is memory and cannot wait.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from itertools import islice

from vedette.api import Collector, Sample, Unavailable, hookimpl, updown

#: Length of a record of utmp (type, process, line, id, user, host, ...) with 32-bit times, which is
#: x86 and most others, and with 64-bit times, which is ARM.
RECORDS = (384, 400)
USER = slice(44, 76)
#: The type of a record of a session, and the highest there is; others are of boots and terminals.
USER_PROCESS, TYPE_MAX = 7, 9
#: The files of logind are far shorter.
SESSION_FILE_MAX = 8192
#: Records and sessions beyond this are not looked at.
SESSIONS_MAX = 4096
UTMP = ("run/utmp", "var/run/utmp")
LOGIND = "run/systemd/sessions"
#: Classes logind gives to what people do: user, user-early, user-light, ...
CLASS = b"user"


class Users(Collector):
    """Sessions of logged-in users."""

    name = "users"
    source = "/run/utmp or /run/systemd/sessions"
    interval_s = 60.0
    may_block = False

    sessions = updown(
        "vedette.user.sessions",
        "{session}",
        "Sessions of logged-in users.",
        resource="users",
        alarm="never",
    )
    users = updown(
        "vedette.user.count",
        "{user}",
        "Different users that are logged in.",
        resource="users",
        alarm="never",
    )

    def probe(self) -> None:
        self._owners()

    def collect(self) -> Iterator[Sample]:
        owners = self._owners()
        yield self.sessions(len(owners))
        yield self.users(len(set(owners)))

    def _owners(self) -> list[bytes]:
        """Return the user of each session; raises ``Unavailable`` when nothing lists them."""
        root = self.host.root.rstrip("/")
        for name in UTMP:
            data = read(f"{root}/{name}", SESSIONS_MAX * RECORDS[0])
            if data is not None:
                return owners_in_utmp(data)
        folder = f"{root}/{LOGIND}"
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in islice(entries, SESSIONS_MAX)]
        except OSError as error:
            reason = f"neither utmp nor sessions of logind: {folder}: {error.strerror}"
            raise Unavailable(reason) from error
        texts = (read(f"{folder}/{name}", SESSION_FILE_MAX) for name in names)
        owners = (owner_in_session(text) for text in texts if text is not None)
        return [owner for owner in owners if owner is not None]


def owners_in_utmp(data: bytes) -> list[bytes]:
    """Return the user of each session record, in order."""
    records = split(data, RECORDS[0])
    for length in RECORDS:
        if len(data) % length == 0 and all(kind_of(one) <= TYPE_MAX for one in split(data, length)):
            records = split(data, length)
            break
    users = (one[USER].partition(b"\0")[0] for one in records if kind_of(one) == USER_PROCESS)
    return [user for user in users if user]


def split(data: bytes, length: int) -> list[bytes]:
    """Return the whole records of this length."""
    return [data[end - length : end] for end in range(length, len(data) + 1, length)]


def kind_of(record: bytes) -> int:
    """Return the type of a record of utmp."""
    return int.from_bytes(record[:2], sys.byteorder)


def owner_in_session(text: bytes) -> bytes | None:
    """Return whose session a file of logind tells of; None when it is no person's or is closing."""
    pairs = dict(line.split(b"=", 1) for line in text.split(b"\n") if b"=" in line)
    owner = pairs.get(b"UID") or pairs.get(b"USER")
    is_personal = pairs.get(b"CLASS", CLASS).startswith(CLASS)
    return owner if is_personal and pairs.get(b"STATE") != b"closing" else None


def read(path: str, most: int) -> bytes | None:
    """Return the begin of a regular file; None for anything else, a pipe of logind for one."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return os.read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


@hookimpl
def register_collectors() -> list[type[Collector]]:
    return [Users]
