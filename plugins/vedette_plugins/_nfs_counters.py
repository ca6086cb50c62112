"""The kernel's counters of NFS, and the names of what they count in their order.

Versions 2 and 3 and the operations of version 4 have the numbers of RFC 1094, 1813, 7530, 5661,
7862 and 8276. What the client does in version 4 has numbers of Linux's own (include/linux/nfs4.h).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vedette.api import Instrument, Sample
from vedette_plugins._procfs import numbers

#: The counters of each line by its first word.
Lines = dict[bytes, list[int]]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VERSION2 = _names(
    """
    NULL GETATTR SETATTR ROOT LOOKUP READLINK READ WRITECACHE WRITE CREATE REMOVE RENAME LINK
    SYMLINK MKDIR RMDIR READDIR STATFS
    """
)
VERSION3 = _names(
    """
    NULL GETATTR SETATTR LOOKUP ACCESS READLINK READ WRITE CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR
    RENAME LINK READDIR READDIRPLUS FSSTAT FSINFO PATHCONF COMMIT
    """
)
VERSION4 = _names("NULL COMPOUND")
#: First words of the lines of procedures, versions, and names.
VERSIONS = ((b"proc2", "2", VERSION2), (b"proc3", "3", VERSION3), (b"proc4", "4", VERSION4))
SERVER_OPERATIONS = _names(
    """
    UNUSED0 UNUSED1 UNUSED2 ACCESS CLOSE COMMIT CREATE DELEGPURGE DELEGRETURN GETATTR GETFH LINK
    LOCK LOCKT LOCKU LOOKUP LOOKUPP NVERIFY OPEN OPENATTR OPEN_CONFIRM OPEN_DOWNGRADE PUTFH PUTPUBFH
    PUTROOTFH READ READDIR READLINK REMOVE RENAME RENEW RESTOREFH SAVEFH SECINFO SETATTR SETCLIENTID
    SETCLIENTID_CONFIRM VERIFY WRITE RELEASE_LOCKOWNER BACKCHANNEL_CTL BIND_CONN_TO_SESSION
    EXCHANGE_ID CREATE_SESSION DESTROY_SESSION FREE_STATEID GET_DIR_DELEGATION GETDEVICEINFO
    GETDEVICELIST LAYOUTCOMMIT LAYOUTGET LAYOUTRETURN SECINFO_NO_NAME SEQUENCE SET_SSV TEST_STATEID
    WANT_DELEGATION DESTROY_CLIENTID RECLAIM_COMPLETE ALLOCATE COPY COPY_NOTIFY DEALLOCATE IO_ADVISE
    LAYOUTERROR LAYOUTSTATS OFFLOAD_CANCEL OFFLOAD_STATUS READ_PLUS SEEK WRITE_SAME CLONE GETXATTR
    SETXATTR LISTXATTRS REMOVEXATTR
    """
)
_CLIENT_ALWAYS = _names(
    """
    NULL READ WRITE COMMIT OPEN OPEN_CONFIRM OPEN_NOATTR OPEN_DOWNGRADE CLOSE SETATTR FSINFO RENEW
    SETCLIENTID SETCLIENTID_CONFIRM LOCK LOCKT LOCKU ACCESS GETATTR LOOKUP LOOKUP_ROOT REMOVE RENAME
    LINK SYMLINK CREATE PATHCONF STATFS READLINK READDIR SERVER_CAPS DELEGRETURN GETACL SETACL
    FS_LOCATIONS RELEASE_LOCKOWNER SECINFO
    """
)
_CLIENT_SINCE = _names(
    """
    FSID_PRESENT EXCHANGE_ID CREATE_SESSION DESTROY_SESSION SEQUENCE GET_LEASE_TIME RECLAIM_COMPLETE
    LAYOUTGET GETDEVICEINFO LAYOUTCOMMIT LAYOUTRETURN SECINFO_NO_NAME TEST_STATEID FREE_STATEID
    GETDEVICELIST BIND_CONN_TO_SESSION DESTROY_CLIENTID SEEK ALLOCATE DEALLOCATE LAYOUTSTATS CLONE
    COPY OFFLOAD_CANCEL LOOKUPP LAYOUTERROR COPY_NOTIFY GETXATTR SETXATTR LISTXATTRS REMOVEXATTR
    READ_PLUS
    """
)
#: Kernels before 3.13 have fewer counters, without the first of the later ones.
_CLIENT_COUNTERS_SINCE = 54


def client_operations(counters: int) -> tuple[str, ...]:
    """Return the names of a client's version 4 counters in a kernel that has so many.

    Older kernels have the later ones in another order: those get no name.
    """
    is_later = counters >= _CLIENT_COUNTERS_SINCE
    return _CLIENT_ALWAYS + _CLIENT_SINCE if is_later else _CLIENT_ALWAYS


def parse_lines(text: bytes) -> Lines:
    """Return the counters of each line by its first word; garbled lines are left out.

    Of the line ``th`` only the number of threads: the shares behind it are no longer counted.
    """
    lines: Lines = {}
    for line in text.split(b"\n"):
        words = line.split(None, 200)
        if not words:
            continue
        values = numbers(words[1:2] if words[0] == b"th" else words[1:])
        if values is not None:
            lines.setdefault(words[0], values)
    return lines


def exactly(lines: Lines, word: bytes, many: int) -> list[int] | None:
    """Return a line's counters if there are so many; None for a line that was cut off."""
    values = lines.get(word)
    return values if values is not None and len(values) == many else None


def moved(
    lines: Lines,
    word: bytes,
    version: str,
    known: Sequence[str],
    single: Instrument,
    together: Instrument | None = None,
) -> Iterator[Sample]:
    """Yield the sum of a line and its counters that are not zero and have a name."""
    values = lines.get(word)
    if values is None or values[0] != len(values) - 1:
        return
    if (total := sum(values[1:])) and together is not None:
        yield together(total, version)
    for name, value in zip(known, values[1:], strict=False):
        if value:
            yield single(value, version, name)
