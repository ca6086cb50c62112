"""Start the agent on an interpreter that keeps neither docstrings nor columns of its code.

A docstring, an assertion and the column of every instruction stay in memory as long as the process,
and nothing in a running agent asks for them: without them it is 5 MiB lighter (``-OO`` and ``-X
no_debug_ranges``; what is lost is the line of carets in a traceback). Both are set when Python
starts, so the process replaces itself, under its own pid and with its own arguments.

It does so only when the bytecode is at hand: code without docstrings has bytecode files of its own,
which neither pip nor a distribution writes, and to compile everything at each start costs seconds
and more memory than is won. They are kept in a directory of the environment's own, beside the code
and no less trusted, so that nothing is written into the places of the system's Python. Whoever may
write there makes them at the first start; an installer does so with ``python -m vedette.lean``.

numpy asks the kernel for huge pages for each array from 4 MiB on. They come when the kernel gets
round to it, two megabytes at a time whether needed or not: memory would grow by steps for hours,
for nothing in an agent that looks at each number once a second. So it is told not to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec
from pathlib import Path

FLAGS = ("-OO", "-X", "no_debug_ranges")
#: Modules that tell for all: of Python's own, of each large library, and of our own. When one was
#: upgraded its bytecode is out of date. To compile ours at a start costs less than is won.
TELLING = ("logging", "numpy", "msgspec", "google.protobuf", "apscheduler")
OURS = ("vedette.agent", "vedette.pipeline")
#: What a running agent imports later than at its start.
LATER = (
    *("httpx", "httpcore", "encodings.idna"),
    *("vedette.serving.teller", "vedette.serving.gpus"),
)
#: What numpy takes for a no when it is 0.
NO_HUGE_PAGES = "NUMPY_MADVISE_HUGEPAGE"
#: A slow disk and a slow CPU; it takes 4 s on a usual one.
PREPARE_S = 40.0

_IMPORT_ALL = """
import contextlib, importlib, sys
import vedette.agent
from vedette.registry import discover
discover(plugins_dir=None)
for name in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
"""


def run_lean() -> None:
    """Replace this process by a lean one; returns where that cannot be or already is."""
    os.environ.setdefault(NO_HUGE_PAGES, "0")
    if sys.flags.optimize >= 2 or not _is_program(sys.argv[0]):
        return
    directory = place()
    if not ready(directory, TELLING + OURS):
        made = not sys.dont_write_bytecode and prepare(directory)
        if not made and not ready(directory):
            return
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, *flags(directory), *sys.orig_argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very program, and no shell


def place() -> Path:
    """Return the directory of the bytecode."""
    return Path(sys.pycache_prefix or Path(sys.prefix) / "lib" / "vedette" / "bytecode")


def flags(directory: Path) -> tuple[str, ...]:
    """Return what Python is to be started with."""
    return (*FLAGS, "-X", f"pycache_prefix={directory}")


def ready(directory: Path, modules: Sequence[str] = TELLING) -> bool:
    """Whether the bytecode is there and of the modules that are installed now."""
    return all(_fresh(name, directory) for name in modules)


def prepare(directory: Path) -> bool:
    """Write the bytecode of everything an agent imports; returns whether it is there now."""
    import subprocess  # a lean agent, which imports this module, has no use for it

    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError:
        return False
    if not os.access(directory, os.W_OK):
        return False
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # -P: whatever lies in the directory this was started from is not to be imported.
    path = [] if sys.flags.safe_path else [one for one in sys.path if one]
    environment["PYTHONPATH"] = os.pathsep.join(path) or environment.get("PYTHONPATH", "")
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and text
            [sys.executable, *flags(directory), "-P", "-c", _IMPORT_ALL, *LATER],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PREPARE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and ready(directory)


def _is_program(path: str) -> bool:
    """Whether what Python runs is ``vedette``, and not another that called its function."""
    ours = Path(__file__).with_name("__main__.py")
    return Path(path).name == "vedette" or Path(path) == ours


def _fresh(name: str, directory: Path) -> bool:
    try:
        spec = find_spec(name)
        source = spec.origin if spec is not None else None
        if source is None:
            return False
        file = os.stat(source)
        header = _compiled(source, directory).read_bytes()[:16]
    except (OSError, ImportError, ValueError):
        return False
    # As the interpreter judges it: its version, no hash, the time and the size of the source.
    times = (int(file.st_mtime) & 0xFFFFFFFF, file.st_size & 0xFFFFFFFF)
    return header == MAGIC_NUMBER + bytes(4) + b"".join(one.to_bytes(4, "little") for one in times)


def _compiled(source: str, directory: Path) -> Path:
    before, sys.pycache_prefix = sys.pycache_prefix, str(directory)
    try:
        return Path(cache_from_source(source, optimization=2))
    finally:
        sys.pycache_prefix = before


if __name__ == "__main__":
    if not prepare(place()):
        sys.exit(f"vedette: the bytecode cannot be written into {place()}")
