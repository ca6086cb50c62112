"""Find plugin modules in the three places where they may lie, and import them.

Shipped: every module of ``vedette_plugins``. Installed: the entry-point group ``vedette`` of any
distribution. Dropped in: ``*.py`` in a folder, imported by path. Names that begin with ``_`` are
helpers of plugins and no plugins.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import stat
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec

from vedette.trust import distrust, open_to_everyone

__all__ = [
    "Origin",
    "Source",
    "UntrustedError",
    "dropped_in",
    "import_file",
    "installed",
    "shipped",
]

Origin = Literal["shipped", "installed", "drop-in"]

ENTRY_POINT_GROUP = "vedette"
#: Under these names drop-ins are found in ``sys.modules``.
DROP_IN_PREFIX = "_vedette_drop_in."


class UntrustedError(Exception):
    """A file must not be run; the text says why and what to do."""


class Source(msgspec.Struct, frozen=True):
    """A plugin that was found, not imported yet. ``load`` may raise anything."""

    name: str
    origin: Origin
    place: str
    load: Callable[[], object]


def shipped(package: str) -> Iterator[Source]:
    """Yield the modules of a package, in name order; no line anywhere registers them."""
    paths = importlib.import_module(package).__path__
    for module in sorted(pkgutil.iter_modules(paths), key=lambda module: module.name):
        if not module.name.startswith("_"):
            name = f"{package}.{module.name}"
            yield Source(module.name, "shipped", name, _importer(name))


def installed() -> Iterator[Source]:
    """Yield the entry points of all distributions, each once, in name order.

    A distribution whose metadata cannot be read is a source that fails, if it says that it has
    plugins at all.
    """
    found: dict[tuple[str, str], Source] = {}
    for distribution in distributions():
        name = "unknown"
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if f"[{ENTRY_POINT_GROUP}]" not in text.replace(" ", ""):
                continue
            name = distribution.metadata["Name"] or name
            points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception as error:  # noqa: BLE001 - one broken distribution stops no other
            reason = f"the entry points of distribution {name} cannot be read: {error}"
            found[name, ""] = Source(name, "installed", name, _failing(reason))
            continue
        for point in points:
            place = f"{point.value} of {name}"
            found.setdefault(
                (point.name, point.value), Source(point.name, "installed", place, point.load)
            )
    yield from (found[key] for key in sorted(found))


def dropped_in(folder: Path, uid: int) -> Iterator[Source]:
    """Yield the files of a folder, in name order; raises ``UntrustedError`` about the folder."""
    try:
        real = folder.resolve(strict=True)
        status = real.stat()
        names = sorted(file.name for file in real.iterdir())
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:
        raise UntrustedError(f"{folder} cannot be read: {error}") from error
    reason = distrust(status, uid) or (open_to_everyone(real) and "lies in a folder open to all")
    if reason:
        raise UntrustedError(f"{folder} {reason}")
    for name in names:
        if name.endswith(".py") and not name.startswith(("_", ".")):
            file = real / name
            yield Source(file.stem, "drop-in", str(folder / name), _file_importer(file, uid))


def _importer(name: str) -> Callable[[], object]:
    return lambda: importlib.import_module(name)


def _failing(reason: str) -> Callable[[], object]:
    def load() -> object:
        raise UntrustedError(reason)

    return load


def _file_importer(file: Path, uid: int) -> Callable[[], object]:
    return lambda: import_file(file, uid)


def import_file(file: Path, uid: int) -> ModuleType:
    """Import a drop-in under a private name, from the very bytes that were checked.

    No byte code is cached: nothing writes beside a drop-in. Raises ``UntrustedError`` for a file
    that must not be run, and whatever the file raises.
    """
    code = compile(_trusted_bytes(file, uid), str(file), "exec", dont_inherit=True)
    name = DROP_IN_PREFIX + file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # noqa: S101 - only for suffixes that are no Python
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - what a plugin is
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _trusted_bytes(file: Path, uid: int) -> bytes:
    try:
        real = file.resolve(strict=True)
        # Without O_NONBLOCK a fifo would hang the start.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, RuntimeError) as error:
        raise UntrustedError(f"{file} cannot be read: {error}") from error
    with open(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedError(f"{real} is not a regular file")
        reason = distrust(status, uid)
        if not reason and open_to_everyone(real):
            reason = "lies in a folder open to all"
        if reason:
            raise UntrustedError(f"{real} {reason}")
        return opened.read()
