"""Find the services and containers of a host in its tree of control groups.

A group is known by its path: what systemd, Docker, containerd, CRI-O, Podman, LXC and libvirt call
theirs. Nothing below a container is looked at, nor below user.slice. The tree is walked by folder;
one whose number of subfolders is what it was is not listed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, NamedTuple

#: Folders looked at in one walk, levels below the root, and groups taken.
FOLDERS_MAX = 4000
DEPTH_MAX = 8
GROUPS_MAX = 2000
#: What stands before the id of a container in the name of its group, and whose it is.
RUNTIMES = {
    "": "",
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
#: Groups of which all below belongs to a container, a helper of one, or a user's sessions.
CLOSED = ("crio-conmon-", "libpod-conmon-", "lxc.monitor", "lxc.pivot")
ID_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


class Group(NamedTuple):
    """A service or a container; ``name`` is a container's id where ``runtime`` names it by one."""

    path: str
    kind: Literal["service", "container"]
    name: str
    runtime: str = ""
    has_id: bool = False


class Folder(NamedTuple):
    """A group's subfolders: path, the group that it is if any, and whether to look into it."""

    links: int
    children: tuple[tuple[str, Group | None, bool], ...]


class Tree:
    """The groups below a root; ``wanted`` says which other paths are containers."""

    def __init__(self, root: str, wanted: Callable[[str], bool]) -> None:
        self.root = root
        self._wanted = wanted
        self._known: dict[str, Folder] = {}

    def groups(self, *, anew: bool = False) -> list[Group]:
        """Return the groups there are; ``anew`` lists every folder again."""
        before = {} if anew else self._known
        known: dict[str, Folder] = {}
        found: list[Group] = []
        pending = [("", 0)]
        for path, depth in pending:
            if len(known) >= FOLDERS_MAX or len(found) >= GROUPS_MAX:
                break
            folder = known[path] = self._folder(path, before.get(path))
            for below, group, is_open in folder.children:
                if group is not None:
                    found.append(group)
                if is_open and depth < DEPTH_MAX:
                    pending.append((below, depth + 1))
        self._known = known
        return found[:GROUPS_MAX]

    def _folder(self, path: str, before: Folder | None) -> Folder:
        place = f"{self.root}/{path}"
        try:
            links = os.stat(place).st_nlink
            # A folder has one link more for each folder in it, where the filesystem counts so.
            if links >= 2:
                if before is not None and before.links == links:
                    return before
                if links == 2:
                    return Folder(links, ())
            with os.scandir(place) as entries:
                names = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError:
            return Folder(0, ())
        return Folder(
            links, tuple(self._look(f"{path}/{name}".lstrip("/")) for name in sorted(names))
        )

    def _look(self, path: str) -> tuple[str, Group | None, bool]:
        group = recognise(path)
        if group is None and self._wanted(path):
            group = Group(path, "container", path)
        is_leaf = group is not None and (group.kind == "container" or path == "user.slice")
        return path, group, not is_leaf and not path.rpartition("/")[2].startswith(CLOSED)


def recognise(path: str) -> Group | None:
    """Return the service or container whose group has this path below the root."""
    parent, _, leaf = path.rpartition("/")
    if len(leaf) >= ID_LENGTH:
        bare = leaf.removesuffix(".scope")
        identity = bare[-ID_LENGTH:]
        # In containerd's own group the names of systemd's slices stand before it, with colons.
        prefix = bare[:-ID_LENGTH].rstrip("-:").rpartition(":")[2]
        if len(identity) == ID_LENGTH and _HEX.issuperset(identity) and prefix in RUNTIMES:
            return Group(path, "container", identity, RUNTIMES[prefix] or _owner(parent), True)
    if path == "user.slice" or leaf.endswith(".service"):
        return Group(path, "service", leaf)
    if leaf.startswith("lxc.payload."):
        return Group(path, "container", leaf.removeprefix("lxc.payload."), "lxc")
    if parent in ("lxc", "lxc.payload"):
        return Group(path, "container", leaf, "lxc")
    if parent == "machine.slice" and leaf.startswith("machine-") and leaf.endswith(".scope"):
        return Group(path, "container", _machine(leaf[8:-6]), "machine")
    return None


def _owner(parent: str) -> str:
    first = parent.partition("/")[0]
    return {"docker": "docker", "libpod_parent": "podman"}.get(first, "")


def _machine(escaped: str) -> str:
    """Return the name of a virtual machine: ``web`` of ``qemu\\x2d3\\x2dweb``."""
    first, *others = escaped.split("\\x")
    name = first
    for piece in others:
        try:
            name += chr(int(piece[:2], 16)) + piece[2:]
        except ValueError:
            name += piece
    driver, _, rest = name.partition("-")
    number, _, own = rest.partition("-")
    return own if driver in ("qemu", "lxc") and number.isdecimal() and own else name
