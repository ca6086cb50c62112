"""Keep what is normal for a model in a file that says so: JSON, with a version and a digest.

The digest is SHA-256 over the body as msgspec writes it, so the file may be laid out anew, and a
number that was changed is noticed. It is no signature: who can write the file can write the digest.
Nothing in it is run when it is read, and what cannot be is refused with the file and the reason.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from vedette.drift.compare import usual_of
from vedette.drift.sketch import ModelSketch, ModelState

__all__ = ["Baseline", "BaselineError", "read", "write"]

FORMAT, VERSION = "vedette-baseline", 1
#: A baseline of 128 fields has some 200 KB; larger files are none.
BYTES_MAX = 64 << 20


class BaselineError(Exception):
    """A baseline cannot be used; the text names the file and why."""


class _Model(msgspec.Struct, frozen=True):
    sketch: ModelState
    usual: dict[str, float] = {}


class _Body(msgspec.Struct, frozen=True):
    created_ns: int
    source: str
    models: dict[str, _Model]


class _Head(msgspec.Struct, frozen=True):
    format: str = ""
    version: int = 0


class _File(msgspec.Struct, frozen=True):
    format: str
    version: int
    digest: str
    body: _Body


class Baseline(msgspec.Struct, frozen=True, eq=False):
    """What is normal for some models; ``usual`` is by how much each field varied in it (PSI).

    ``source`` says what it was made of, ``created_ns`` when.
    """

    models: Mapping[str, ModelSketch]
    usual: Mapping[str, Mapping[str, float]]
    source: str
    created_ns: int

    @classmethod
    def of(cls, pieces: Mapping[str, list[ModelSketch]], source: str, created_ns: int) -> Baseline:
        """Make one of pieces of a good period, in order; those of one model have one grid."""
        models, usual = {}, {}
        for name, some in pieces.items():
            whole = some[0].like()
            for piece in some:
                whole.merge(piece, is_lenient=True)
            models[name], usual[name] = whole, usual_of(some, whole)
        return cls(models, usual, source, created_ns)


def write(path: Path, baseline: Baseline) -> str:
    """Write a file whole or not at all; return its digest. Raises ``OSError``."""
    models = {
        name: _Model(sketch.state(), dict(baseline.usual.get(name, {})))
        for name, sketch in baseline.models.items()
    }
    body = _Body(baseline.created_ns, baseline.source, models)
    digest = _digest(body)
    data = msgspec.json.encode(_File(FORMAT, VERSION, digest, body))
    aside = path.with_name(f"{path.name}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.format(data, indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    return digest


def read(path: Path) -> Baseline:
    """Read a file; raises ``BaselineError`` for one that cannot be used."""
    try:
        with open(path, "rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise BaselineError(f"{path}: {error.strerror or error}") from None
    if len(data) > BYTES_MAX:
        raise BaselineError(f"{path}: more than {BYTES_MAX >> 20} MiB, no baseline is so large")
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path}: no baseline: {error}") from None
    if head.format != FORMAT:
        raise BaselineError(f"{path}: no baseline (format {head.format!r}, not {FORMAT!r})")
    if head.version != VERSION:
        raise BaselineError(
            f"{path}: a baseline of version {head.version}, this reads version {VERSION}"
        )
    try:
        file_ = msgspec.json.decode(data, type=_File)
    except msgspec.MsgspecError as error:
        raise BaselineError(f"{path}: a damaged baseline: {error}") from None
    found = _digest(file_.body)
    if found != file_.digest:
        raise BaselineError(f"{path}: its digest is {found}, it should be {file_.digest}")
    models = {}
    for name, model in file_.body.models.items():
        try:
            models[name] = ModelSketch.of_state(model.sketch)
        except ValueError as error:
            raise BaselineError(f"{path}: model {name}: {error}") from None
    usual = {name: model.usual for name, model in file_.body.models.items()}
    return Baseline(models, usual, file_.body.source, file_.body.created_ns)


def _digest(body: _Body) -> str:
    return f"sha256:{hashlib.sha256(msgspec.json.encode(body)).hexdigest()}"
