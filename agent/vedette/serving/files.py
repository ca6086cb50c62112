"""Find the files of a model below a path that its process has named, and nothing else.

Paths are resolved as the process sees them: below its own root, so that those of a container are
found and a link of it leads nowhere else. Links are followed within what was named, and within one
repository of a Hugging Face cache (its snapshots are links into ``blobs``). What is not a regular
file, or not of a model by its ending, is passed over. Every walk has bounds, and says when it met
one. File systems of a network are left alone unless asked for: a server that hangs would hold up
the readings.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator

import msgspec

from vedette.serving.digests import Identity

#: Levels below what was named, entries looked at, files kept of one path, links in one path.
DEPTH_MAX, ENTRIES_MAX, FILES_MAX, LINKS_MAX = 4, 4_000, 64, 40
#: Endings of weights, and of what says which model it is.
WEIGHTS = frozenset({
    ".bin", ".cbm", ".ckpt", ".engine", ".ggml", ".gguf", ".h5", ".joblib", ".keras", ".llamafile",
    ".mar", ".model", ".msgpack", ".npz", ".onnx", ".pb", ".pickle", ".pkl", ".plan", ".pt", ".pth",
    ".safetensors", ".tflite", ".ubj",
    ".data", ".index", ".json", ".md", ".pbtxt", ".py", ".so", ".txt", ".xml",
})  # fmt: skip
#: Of which the content is read as a description.
DESCRIPTIONS = frozenset(
    {
        "config.json",
        "adapter_config.json",
        "README.md",
        "model-settings.json",
        "config.pbtxt",
        "model.safetensors.index.json",
    }
)
#: Endings that count as a model's only with one of the descriptions' names, or beside weights.
_PLAIN = frozenset({".json", ".txt", ".md", ".py", ".pbtxt", ".xml", ".data", ".so", ".index"})
_NETWORK = frozenset({
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.goofys", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs",
    "lustre", "nfs", "nfs4", "smb3", "smbfs",
})  # fmt: skip
_SNAPSHOT = re.compile(r"(.*/models--(?P<name>[^/]+))/snapshots/(?P<revision>[0-9a-f]{40})(?:/|$)")
_BLOB = re.compile(r"(?:^|/)(?:sha256-)?([0-9a-f]{64})$")


class File(msgspec.Struct, frozen=True):
    """A file: its name below what was named, who it is, and the digest that its store calls it by.

    ``place`` is where this process opens it.
    """

    name: str
    identity: Identity
    place: str
    called: str = ""


class Listing(msgspec.Struct, frozen=True):
    """The files below a path; ``note`` says why there are none, or not all."""

    path: str
    files: tuple[File, ...] = ()
    note: str = ""
    omitted: int = 0
    #: Of a Hugging Face cache.
    repository: str = ""
    revision: str = ""


class Root:
    """The files as one process sees them. ``prefix`` is what stands before its paths here.

    ``mounts`` is its mountinfo; raises nothing.
    """

    def __init__(self, prefix: str = "", mounts: str = "/proc/self/mountinfo") -> None:
        self.prefix = prefix
        self._mounts = mounts
        self._remote: tuple[str, ...] | None = None

    def place(self, real: str) -> str:
        """Return where a path without links is opened here."""
        return f"{self.prefix}{real}"

    def real(self, path: str) -> str:
        """Return a path without links, as its process sees it. Raises ``OSError``."""
        pending = [part for part in reversed(path.split("/")) if part]
        real = ""
        links = 0
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                real = real.rpartition("/")[0]
                continue
            here = f"{real}/{part}"
            try:
                target = os.readlink(self.place(here))  # noqa: PTH115 - not of this root
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                real = here
                continue
            links += 1
            if links > LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            pending += [one for one in reversed(target.split("/")) if one]
            if target.startswith("/"):
                real = ""
        return real or "/"

    def is_remote(self, real: str) -> str:
        """Return the type of the network file system that a path is on; empty for none."""
        if self._remote is None:
            self._remote = tuple(self._points())
        best, kind = "", ""
        for one in self._remote:
            of, _, point = one.partition(" ")
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, kind = point, of
        return kind if kind in _NETWORK else ""

    def read(self, real: str, most: int) -> bytes:
        """Return the beginning of a regular file. Raises ``OSError``."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self.place(real), flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file", real)
            body = bytearray()
            while len(body) < most and (
                piece := os.read(descriptor, min(most - len(body), 1 << 20))
            ):
                body += piece
            return bytes(body)
        finally:
            os.close(descriptor)

    def _points(self) -> Iterator[str]:
        """Yield ``type point`` of each mount."""
        try:
            with open(self._mounts, encoding="utf-8", errors="replace") as file:
                text = file.read(4 << 20)
        except OSError:
            return
        for line in text.splitlines():
            fields = line.split(" ")
            if " - " in line and len(fields) > 6:
                yield f"{line.split(' - ', 1)[1].split(' ')[0]} {_unescaped(fields[4])}"


def listed(root: Root, path: str, *, network: bool = False) -> Listing:
    """Return the files of a model below a path; one of them when it is a file."""
    try:
        real = root.real(path)
        remote = "" if network else root.is_remote(real)
        if remote:
            return Listing(path, note=f"on a network file system ({remote}), not looked at")
        status = os.lstat(root.place(real))
    except OSError as error:
        return Listing(path, note=reason(error))
    snapshot = _SNAPSHOT.match(real) or _SNAPSHOT.match(path)
    named = snapshot["name"].replace("--", "/", 1) if snapshot else ""
    revision = snapshot["revision"] if snapshot else ""
    if stat.S_ISREG(status.st_mode):
        base = path.rpartition("/")[2]
        return Listing(path, (file_of(root, base, real, status),), "", 0, named, revision)
    if not stat.S_ISDIR(status.st_mode):
        return Listing(path, note="it is neither a file nor a directory")
    walk = _Walk(root, real, snapshot[1] if snapshot else "")
    walk.look(real, "", 0)
    files = sorted(_of_models(walk.files), key=lambda one: -one.identity.size)
    omitted = max(0, len(files) - FILES_MAX)
    kept = sorted(files[:FILES_MAX], key=lambda one: one.name)
    return Listing(path, tuple(kept), "; ".join(walk.notes), omitted, named, revision)


class _Walk:
    """One walk through a directory."""

    def __init__(self, root: Root, top: str, repository: str) -> None:
        self._root = root
        self._inside = tuple(f"{one.rstrip('/')}/" for one in (top, repository) if one)
        self._entries = 0
        self.files: list[File] = []
        self.notes: dict[str, None] = {}

    def look(self, real: str, below: str, depth: int) -> None:
        try:
            with os.scandir(self._root.place(real)) as entries:
                found = sorted(entry.name for entry in self._some(entries))
        except OSError as error:
            self.notes[f"{below or '.'}: {reason(error)}"] = None
            return
        for name in found:
            self._entry(f"{real}/{name}", f"{below}{name}", depth)

    def _some(self, entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
        for entry in entries:
            if self._entries >= ENTRIES_MAX:
                self.notes[f"only the first {ENTRIES_MAX} entries were looked at"] = None
                return
            self._entries += 1
            yield entry

    def _entry(self, at: str, name: str, depth: int) -> None:
        try:
            status = os.lstat(self._root.place(at))
            real = at
            if stat.S_ISLNK(status.st_mode):
                real = self._root.real(at)
                if not f"{real}/".startswith(self._inside):
                    self.notes[f"{name}: a link that leads elsewhere, not followed"] = None
                    return
                status = os.lstat(self._root.place(real))
        except OSError as error:
            self.notes[f"{name}: {reason(error)}"] = None
            return
        if stat.S_ISREG(status.st_mode):
            if _ending(name) in WEIGHTS:
                self.files.append(file_of(self._root, name, real, status))
        elif stat.S_ISDIR(status.st_mode) and real == at:
            if name.rpartition("/")[2].startswith("."):
                return
            if depth + 1 >= DEPTH_MAX:
                self.notes[f"nothing below {DEPTH_MAX} levels was looked at"] = None
                return
            self.look(real, f"{name}/", depth + 1)


def _of_models(files: list[File]) -> list[File]:
    """Return what belongs to models: a plain ending counts with a description's name, or weights.

    A directory of programs, such as one that a server was started in, has none.
    """
    with_weights = {
        one.name.rpartition("/")[0] for one in files if _ending(one.name) not in _PLAIN
    } | {one.name.rpartition("/")[0] for one in files if one.name.endswith("/model.py")}
    return [
        one
        for one in files
        if _ending(one.name) not in _PLAIN
        or one.name.rpartition("/")[2] in DESCRIPTIONS
        or (one.name.rpartition("/")[0] in with_weights and _ending(one.name) in (".json", ".py"))
    ]


def file_of(root: Root, name: str, real: str, status: os.stat_result) -> File:
    """Return a regular file; ``real`` is its path without links."""
    identity = Identity(real, status.st_size, status.st_mtime_ns, status.st_ino)
    called = _BLOB.search(real)
    return File(name, identity, root.place(real), called[1] if called else "")


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def reason(error: OSError) -> str:
    """Say why something could not be had, in the middle of a sentence."""
    if isinstance(error, PermissionError):
        return "may not be read by this agent"
    return (error.strerror or str(error)).lower()


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
