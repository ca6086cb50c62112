"""Ask how full a filesystem is: in this process, or as the helper process of ``_mount_reader``.

As a helper it is run by its path, isolated and without site packages, and so imports nothing that
an interpreter has not loaded anyway: it stays at the size of a bare one. It reads paths from
standard input, each ended by a NUL, and writes a line for each: the ten numbers of
``os.statvfs_result``, or one, the error number. It ends when its input does.
"""

import os

READY = b"ready"


def statvfs(path: bytes) -> os.statvfs_result:
    """Return the figures of what is mounted at a path, and never cause a mount there.

    ``statvfs`` makes an automounter mount what lies at the path; opening the path with ``O_PATH``
    does not, and what was opened is what is asked then.
    """
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return os.fstatvfs(descriptor)
    finally:
        os.close(descriptor)


def _answer(path: bytes) -> bytes:
    try:
        return b" ".join(b"%d" % number for number in statvfs(path)) + b"\n"
    except OSError as error:
        return b"%d\n" % (error.errno or 0)


def _main() -> None:
    os.closerange(3, 4096)  # a helper that never ends must hold nothing of the agent's
    os.write(1, READY + b"\n")
    rest = b""
    while data := os.read(0, 8192):
        *paths, rest = (rest + data).split(b"\0")
        for path in paths:
            os.write(1, _answer(path))


if __name__ == "__main__":
    try:
        _main()
    except OSError:  # whoever asked is gone
        os._exit(1)
