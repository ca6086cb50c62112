"""Stand for NVML with a library that is compiled here and answers from a text file."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vedette_plugins.nvidia import Nvidia

SOURCE = Path(__file__).parent / "fixtures" / "nvidia" / "stub.c"
LIBRARY = "libnvidia-ml.so.1"


def build(folder: Path) -> Path:
    """Compile it; skips the test without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stub of NVML")
    path = folder / LIBRARY
    options = ["-shared", "-fPIC", "-O1", f"-Wl,-soname,{LIBRARY}"]
    subprocess.run([compiler, *options, "-o", str(path), str(SOURCE)], check=True)
    return path


def put_in_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make pynvml call the stub; returns it."""
    pynvml = pytest.importorskip("pynvml")
    library = ctypes.CDLL(str(path))
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(Staged, "library", library)
    return library


class Staged(Nvidia):
    """The collector, with the stub answering from the tree it is put on."""

    library: Any = None

    def probe(self) -> None:
        if self._nvml is None:
            self.library.stub_use(f"{self.host.proc}/driver/nvidia/stub".encode())
        super().probe()
