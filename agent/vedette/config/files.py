"""Read agent.toml and the folder beside it into one tree that knows where everything stands.

``agent.toml`` comes first, then ``agent.d/*.toml`` in name order. Tables of the same name are one
table, arrays of tables are continued, and anything else may be set once: nothing is overridden by
a file that somebody forgot.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
import tomli

from vedette.api import Problem
from vedette.config import toml_positions
from vedette.config.toml_positions import Path as Place
from vedette.config.wording import label

__all__ = ["Tree", "find", "read"]

SIZE_MAX = 1 << 20
DEPTH_MAX = 16
TEXT_MAX = 500


class Document(msgspec.Struct, eq=False):
    """One file: what it says, and the lines of its keys once somebody asks."""

    file: str
    text: str = ""
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    _lines: dict[Place, int] | None = None

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest table around it."""
        if self._lines is None:
            self._lines = toml_positions.positions(self.text)
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)


class Tree:
    """The merged configuration, and all problems found in it."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._documents: list[Document] = []
        self._first_elements: dict[Place, list[tuple[int, Document]]] = {}

    def report(
        self, place: Place, text: str, severity: Literal["error", "warning"] = "error"
    ) -> None:
        """Record a problem at the file and line of a place."""
        document, local = self._origin(place)
        if document is None:
            self.problems.append(Problem(severity, text[:TEXT_MAX]))
        else:
            line = document.line(local)
            self.problems.append(Problem(severity, text[:TEXT_MAX], document.file, line))

    def where(self, place: Place) -> str:
        """Return ``file:line`` of a place, to mention it in a text."""
        document, local = self._origin(place)
        return f"{document.file}:{document.line(local)}" if document else "the defaults"

    def in_order(self) -> list[Problem]:
        """Return the problems as a person reads the files: by file, then by line."""
        files = {document.file: number for number, document in enumerate(self._documents)}
        return sorted(self.problems, key=lambda p: (files.get(p.file, -1), p.line))

    def add(self, document: Document) -> None:
        """Merge a document; what is set a second time is a problem that names both places."""
        self._documents.append(document)
        self._merge(self.data, document.data, (), document)

    def _merge(
        self, into: dict[str, Any], new: dict[str, Any], place: Place, document: Document
    ) -> None:
        for key, value in new.items():
            here = (*place, key)
            old: Any = into.get(key)
            if key not in into:
                into[key] = _copied(value)
                if _is_array_of_tables(value):
                    self._first_elements[here] = [(0, document)]
            elif isinstance(old, dict) and isinstance(value, dict):
                self._merge(old, value, here, document)
            elif _is_array_of_tables(old) and _is_array_of_tables(value):
                self._first_elements[here].append((len(old), document))
                old.extend(value)
            else:
                text = f"{label(here)} is set already at {self.where(here)}"
                line = document.line(here)
                self.problems.append(Problem("error", text[:TEXT_MAX], document.file, line))

    def _origin(self, place: Place) -> tuple[Document | None, Place]:
        """Return the first document with a place, and the place within that document."""
        for cut, part in enumerate(place):
            parts = self._first_elements.get(place[:cut])
            if parts is not None and isinstance(part, int):
                first, document = [entry for entry in parts if entry[0] <= part][-1]
                return document, (*place[:cut], part - first, *place[cut + 1 :])
        while place:
            for document in self._documents:
                if _has(document.data, place):
                    return document, place
            place = place[:-1]
        return (self._documents[0] if self._documents else None), ()


def find(path: Path | None, places: Iterable[Path]) -> Path | None:
    """Return the file to read: ``path`` itself when given, else the first place with a file."""
    if path is not None:
        return path
    return next((place for place in places if place.exists()), None)


def read(path: Path | None) -> Tree:
    """Read the file and its folder; None reads nothing. Problems are in the tree."""
    tree = Tree()
    if path is None:
        return tree
    for file in [path, *_folder(path, tree)]:
        document = Document(str(file))
        problem = _load(file, document)
        tree.add(document)
        if problem is not None:
            tree.problems.append(problem)
    return tree


def _folder(path: Path, tree: Tree) -> list[Path]:
    """Return the files of ``agent.d`` beside ``agent.toml``."""
    folder = path.parent / f"{path.stem}.d"
    try:
        names = sorted(file.name for file in folder.iterdir() if file.suffix == ".toml")
        mode = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        tree.problems.append(Problem("error", f"cannot be read: {error}", str(folder)))
        return []
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        text = "any user may put a file into this folder: chmod o-w"
        tree.problems.append(Problem("error", text, str(folder)))
        return []
    return [folder / name for name in names if not name.startswith(".")]


def _load(file: Path, document: Document) -> Problem | None:
    """Fill the document; return why that failed."""
    try:
        raw = _bytes(file)
        document.text = raw.decode("utf-8-sig")
        data = tomli.loads(document.text)
        if _depth(data) > DEPTH_MAX:
            return Problem("error", f"tables nested more than {DEPTH_MAX} deep", document.file)
    except OSError as error:
        return Problem("error", f"cannot be read: {error.strerror or error}", document.file)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return Problem("error", "not UTF-8 text", document.file, line)
    except tomli.TOMLDecodeError as error:
        return Problem("error", _syntax(error), document.file, error.lineno)
    except (ValueError, RecursionError) as error:
        return Problem("error", f"cannot be read: {error}"[:TEXT_MAX], document.file)
    document.data = data
    return None


def _bytes(file: Path) -> bytes:
    """Read a regular file of bearable size that not everybody may write; raises ``OSError``."""
    # Without O_NONBLOCK a fifo in place of the file would hang the start.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if status.st_mode & stat.S_IWOTH:
            raise OSError("any user may write to this file: chmod o-w")
        raw = opened.read(SIZE_MAX + 1)
    if len(raw) > SIZE_MAX:
        raise OSError(f"larger than {SIZE_MAX} bytes")
    return raw


def _syntax(error: tomli.TOMLDecodeError) -> str:
    """Word the parser's message; it shows keys as Python tuples."""

    def dotted(match: re.Match[str]) -> str:
        return "[" + ".".join(re.findall(r"'([^']*)'", match[0])) + "]"

    text = re.sub(r"\('.*?'(?:, '.*?')*,?\)", dotted, error.msg)
    return f"syntax error in column {error.colno}: {text[:1].lower()}{text[1:]}"[:TEXT_MAX]


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _copied(value: Any) -> Any:
    """Copy the containers that merging changes, so that a document keeps what it said."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _has(data: Any, place: Place) -> bool:
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _depth(data: dict[str, Any]) -> int:
    """Return how deep the containers are nested, without recursion."""
    deepest = 0
    todo: list[tuple[Any, int]] = [(data, 1)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, dict | list):
            deepest = max(deepest, depth)
            inner = value.values() if isinstance(value, dict) else value
            todo.extend((item, depth + 1) for item in inner)
    return deepest
