"""Hold what a model server serves: models, adapters, files; and say in words what changed.

Pure. What is not known is empty or 0. Two readings are compared model by model; a model is known by
its name and version, its files by name, size and digest. Names that only pages of metrics tell are
no inventory: a page may name a model at its first request, and forget it at a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from vedette.sentences import amount

MODELS_MAX, FILES_TOLD_MAX, TEXT_MAX = 50, 24, 200
#: Bytes of one record's inventory; what is more is left out from the end, files first.
RECORD_BYTES = 48 << 10
#: Part by which the capacity of a KV cache has to differ: engines measure it anew at each start.
CAPACITY = 0.05
#: Files and changes that are told one by one.
NAMED_MAX = 3
#: Letters of a value that are told in a sentence.
SHORT_MAX = 32


class ModelFile(msgspec.Struct, frozen=True):
    """A file of a model.

    ``sha256`` is of all of it, ``head_sha256`` of its first MiB. ``source`` is ``content`` when it
    was reckoned, ``name`` when the store calls the file by it (Hugging Face, Ollama).
    """

    name: str
    size: int
    mtime_ns: int = 0
    sha256: str = ""
    source: str = ""
    head_sha256: str = ""
    note: str = ""
    #: Without links, as the process sees it.
    path: str = ""
    inode: int = 0


class Model(msgspec.Struct, frozen=True):
    """A model as a server has it; ``kind`` is model, adapter, application or route.

    ``since_ns`` is since when it is served so, ``since_by`` how that is known: ``server`` (it said
    so), ``seen`` (it came while this looked on), ``process`` (the start of the process: since then
    at the earliest). ``told_by`` is who told of it: an endpoint that lists models, one that was
    asked by its ``name``, a ``page`` of metrics, or ``files`` alone.
    """

    name: str
    version: str = ""
    kind: str = "model"
    base: str = ""
    root: str = ""
    revision: str = ""
    digest: str = ""
    architecture: str = ""
    parameters: str = ""
    quantisation: str = ""
    dtype: str = ""
    format: str = ""
    context: int = 0
    trained_context: int = 0
    license: str = ""
    tags: str = ""
    task: str = ""
    runtime: str = ""
    devices: str = ""
    state: str = ""
    reason: str = ""
    since_ns: int = 0
    since_by: str = ""
    first_seen_ns: int = 0
    told_by: Literal["list", "name", "page", "files"] = "list"
    path: str = ""
    files: tuple[ModelFile, ...] = ()
    omitted: int = 0
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others of its server."""
        return self.name, self.version

    @property
    def is_served(self) -> bool:
        """Whether its server said so itself."""
        return self.told_by in ("list", "name")

    @property
    def title(self) -> str:
        """Its name for a person."""
        text = f"{self.name} {self.version}".strip()
        return text if self.kind == "model" else f"{self.kind} {text}"


class Holder(msgspec.Struct, frozen=True):
    """The process that serves: since when (Unix ns), as what, called how (secrets masked)."""

    pid: int = 0
    started_ns: int = 0
    name: str = ""
    command: str = ""
    unit: str = ""
    container: str = ""


class Inventory(msgspec.Struct, frozen=True):
    """All that is known of one server. ``asked`` is what each endpoint came to, by its path.

    ``complete`` is whether an endpoint listed all models.
    """

    server: str = ""
    version: str = ""
    models: tuple[Model, ...] = ()
    complete: bool = False
    kv_tokens: int = 0
    devices: str = ""
    holder: Holder = Holder()
    asked: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- what changed


def changes(before: Inventory, after: Inventory) -> list[str]:
    """Say what is another now, in words that can follow the server's name."""
    told: list[str] = []
    if before.version and after.version and before.version != after.version:
        told.append(f"is release {after.version} and was {before.version}")
    old = {one.key: one for one in before.models if one.is_served}
    new = {one.key: one for one in after.models if one.is_served}
    if old and new:
        told += _came_and_went(old, new)
    for key, model in new.items():
        if key in old:
            told += _differences(old[key], model)
    was, now = before.kv_tokens, after.kv_tokens
    if was and now and abs(now - was) > CAPACITY * was:
        told.append(f"has a KV cache of {now} tokens and had {was}")
    return told


Models = Mapping[tuple[str, str], Model]


def _came_and_went(old: Models, new: Models) -> Iterator[str]:
    gone = {key: one for key, one in old.items() if key not in new}
    names = {one.name for one in old.values()}
    for key, model in new.items():
        if key in old:
            continue
        earlier = next((one for one in gone.values() if one.name == model.name), None)
        if earlier is not None and not (earlier.version and model.version):
            # Its version is known only now, or not at the moment.
            del gone[earlier.key]
            yield from _differences(earlier, model)
        elif earlier is not None:
            del gone[earlier.key]
            yield f"serves {model.title} in place of version {earlier.version}"
            yield from _differences(earlier, model)
        elif model.told_by == "name" and model.name not in names:
            continue  # it was served before, and is asked for only now
        elif model.kind == "adapter":
            of = f" of {model.base}" if model.base else ""
            yield f"loaded adapter {model.name}{of}"
        else:
            yield f"serves {model.title}"
    for model in gone.values():
        is_adapter = model.kind == "adapter"
        yield f"unloaded {model.title}" if is_adapter else f"no longer serves {model.title}"


#: Fields whose change is worth an event, with how they are called.
_TELLING = (
    ("base", "base model"),
    ("root", "path"),
    ("revision", "revision"),
    ("digest", "digest"),
    ("quantisation", "quantisation"),
    ("dtype", "type of numbers"),
    ("context", "context length"),
    ("parameters", "parameters"),
)
#: States that come and go with requests, or on the way to another.
_ROUTINE = frozenset({"", "loaded", "stored", "loading", "unloading"})


def _differences(old: Model, new: Model) -> Iterator[str]:
    for field, words in _TELLING:
        was, now = getattr(old, field), getattr(new, field)
        if was and now and was != now:
            yield f"changed {words} of {new.name}: {_short(was)} → {_short(now)}"
    if old.state != new.state and not {old.state, new.state} & _ROUTINE:
        because = f" ({new.reason[:60]})" if new.reason and new.state != "ready" else ""
        yield f"has {new.title} {new.state}, which was {old.state}{because}"
    names = different(old.files, new.files) if old.path == new.path else []
    if names:
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        yield f"changed files of {new.name}: {', '.join(names[:NAMED_MAX])}{more}"


def different(old: Sequence[ModelFile], new: Sequence[ModelFile]) -> list[str]:
    """Return the names of the files whose content is another, that came, or that went.

    A file that was only touched is the same; what is not reckoned yet is taken for the same.
    """
    if not old or not new:
        return []
    before = {one.name: one for one in old}
    after = {one.name: one for one in new}
    found = [name for name in after if name not in before]
    found += [name for name in before if name not in after]
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            continue
        if (
            was.size != now.size
            or _differ(was.head_sha256, now.head_sha256)
            or _differ(was.sha256, now.sha256)
        ):
            found.append(name)
    return sorted(found)


def _differ(was: str, now: str) -> bool:
    return bool(was and now and was != now)


def _short(value: object) -> str:
    """Return a value fit for a sentence: of a digest its beginning, of a path its end."""
    text = str(value)
    if len(text) <= SHORT_MAX:
        return text
    return f"…{text[1 - SHORT_MAX :]}" if "/" in text else f"{text[:12]}…"


# ---------------------------------------------------------------- what is told


def as_record(inventory: Inventory) -> dict[str, Any]:
    """Return it as what a record can hold, bounded; ``omitted`` counts what was left out."""
    told = shown(inventory)
    models: list[dict[str, Any]] = told["models"]
    omitted = max(0, len(inventory.models) - MODELS_MAX)
    del models[MODELS_MAX:]
    for model in models:
        files = model.get("files", [])
        for file in files:
            file.pop("inode", None)
            file.pop("path", None)
        if len(files) > FILES_TOLD_MAX:
            # What weighs most says most.
            files.sort(key=lambda one: -one.get("size", 0))
            model["omitted"] = model.get("omitted", 0) + len(files) - FILES_TOLD_MAX
            del files[FILES_TOLD_MAX:]
    for at in range(len(models) - 1, -1, -1):
        if len(msgspec.json.encode(told)) <= RECORD_BYTES:
            break
        models[at]["omitted"] = models[at].get("omitted", 0) + len(models[at].pop("files", ()))
    while models and len(msgspec.json.encode(told)) > RECORD_BYTES:
        models.pop()
        omitted += 1
    if omitted:
        told["omitted"] = omitted
    return told


def shown(inventory: Inventory) -> dict[str, Any]:
    """Return all of it without what is empty, for JSON."""
    told: dict[str, Any] = _full(msgspec.to_builtins(inventory))
    told.setdefault("models", [])
    return told


def _full(value: Any) -> Any:
    """Return a structure without what is empty; texts are bounded."""
    if isinstance(value, dict):
        return {key: _full(one) for key, one in value.items() if one or one is False}
    if isinstance(value, list | tuple):
        return [_full(one) for one in value]
    return value[:TEXT_MAX] if isinstance(value, str) else value


def summary(model: Model) -> str:
    """Say the main facts of a model in one line."""
    parts = [model.quantisation or model.dtype]
    if model.context:
        parts.append(f"context {model.context}")
    if model.state and model.state != "ready":
        parts.append(model.state)
    size = sum(one.size for one in model.files)
    if size:
        parts.append(amount(float(size), "By"))
    digest = model.revision or model.digest
    if digest:
        parts.append(digest.removeprefix("sha256:")[:12])
    facts = ", ".join(part for part in parts if part)
    return f"{model.title} ({facts})" if facts else model.title


def count(number: int) -> str:
    """Return a count of parameters as people write it: ``8.03B``."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
