"""Join models with their files on disk: where they are, what they say of themselves, their digests.

A model's files are looked for where its server's API says (``root``, ``model_path``), where its
process's arguments say, in the layout that its server has for a repository of models, and in the
caches of Hugging Face and Ollama, by the name that is served. Each description and header is read
once as long as its file is the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from vedette.serving import files_headers as headers
from vedette.serving.digests import HEAD_BYTES, Digests, Identity
from vedette.serving.files import File, Listing, Root, file_of, listed, reason
from vedette.serving.files_named import Named, absolute, named, root_of, snapshot
from vedette.serving.files_release import release
from vedette.serving.inventory import Model, ModelFile, count
from vedette.serving.listening import Process

#: Settings of MLServer that are looked for; what was read of files that is kept.
SETTINGS_MAX, READ_MAX = 32, 1_024
#: Shards whose headers are read.
SHARDS_MAX = 64
How = Literal["on", "headers", "off"]
_REGISTRY = "registry.ollama.ai"


class Read(msgspec.Struct, frozen=True):
    """What was read of a file: the digest of its beginning, and what it says."""

    head_sha256: str = ""
    facts: dict[str, Any] = {}
    numbers: dict[str, int] = {}


class Files:
    """The files of models; one thread. ``digests`` is None where none are wanted."""

    def __init__(self, digests: Digests | None, how: How, *, network: bool, proc: str) -> None:
        self._digests = digests
        self._how = how
        self._network = network
        self._proc = proc
        self._read: OrderedDict[Identity, Read] = OrderedDict()
        self._wanted: dict[str, dict[Identity, str]] = {}
        #: Releases that packages told, by endpoint, when the process was seen first: what is
        #: installed later is not what runs.
        self._releases: dict[str, tuple[Process, str]] = {}

    def look(
        self, endpoint: str, server: str, process: Process, models: Sequence[Model]
    ) -> tuple[tuple[Model, ...], str]:
        """Return the models with their files, and a word for what cannot be had.

        Models that only files tell of are added, as not listed.
        """
        root, trouble = root_of(process, self._proc)
        said = named(process, server, self._proc)
        if trouble:
            return tuple(models), trouble
        if self._releases.get(endpoint, (None, ""))[0] != process:
            told = release(root, server, said.words, said.variables)
            self._releases[endpoint] = process, told
        wanted: dict[Identity, str] = {}
        found = []
        for model in self._settled(root, server, said, models):
            listing = self._listing(root, server, said, model, alone=len(models) == 1)
            if listing is None:
                found.append(model)
                continue
            found.append(self._joined(root, model, listing))
            wanted |= {one.identity: one.place for one in listing.files}
        self._wanted[endpoint] = wanted
        self._want()
        return tuple(found), said.note

    def again(self, models: Sequence[Model]) -> tuple[Model, ...]:
        """Return models with what was reckoned of their files meanwhile."""
        if self._digests is None:
            return tuple(models)
        return tuple(
            msgspec.structs.replace(one, files=tuple(self._newer(file) for file in one.files))
            if any(file.source != "content" for file in one.files)
            else one
            for one in models
        )

    def release(self, endpoint: str) -> str:
        """Return the release that a server's package tells; empty where there is none."""
        return self._releases.get(endpoint, (None, ""))[1]

    def forget(self, endpoint: str) -> None:
        """Let go of a server's files."""
        self._releases.pop(endpoint, None)
        if self._wanted.pop(endpoint, None) is not None:
            self._want()

    def _want(self) -> None:
        if self._digests is not None and self._how == "on":
            self._digests.want(pair for one in self._wanted.values() for pair in one.items())

    def _newer(self, file: ModelFile) -> ModelFile:
        if self._digests is None or file.source == "content":
            return file
        identity = Identity(file.path, file.size, file.mtime_ns, file.inode)
        sha256 = self._digests.get(identity)
        if sha256:
            return _reckoned(file, sha256)
        why = self._digests.failed.get(identity, "")
        return msgspec.structs.replace(file, note=why) if why else file

    # ------------------------------------------------------------ where they are

    def _listing(
        self, root: Root, server: str, said: Named, model: Model, *, alone: bool
    ) -> Listing | None:
        """Return the first place that has files; else the first with a note."""
        if server == "ollama":
            return _ollama(root, said.ollama, model.name)
        noted = None
        for path in dict.fromkeys(self._places(root, server, said, model, alone=alone)):
            if not path.startswith("/"):
                continue
            found = listed(root, path, network=self._network)
            if found.files:
                return _of_version(found, model) if server == "triton" else found
            if found.note and "no such file" not in found.note:
                noted = noted or found
        return noted

    def _places(
        self, root: Root, server: str, said: Named, model: Model, *, alone: bool
    ) -> Iterator[str]:
        paths = [absolute(one, said.cwd) for one in said.paths]
        if model.root and server in ("torchserve", "triton", "kserve"):
            yield from (f"{one}/{model.root}" for one in paths if one)
        if model.path:
            yield model.path
        for own in (model.root, dict(said.adapters).get(model.name, "")):
            if own:
                yield absolute(own, said.cwd)
                yield snapshot(root, own, model.revision or said.revision, said.hub)
        if server in ("triton", "tf-serving", "kserve"):
            yield from (f"{one}/{model.name}" for one in paths if one)
        if server == "tf-serving":
            yield from (f"{one}/{model.version}" for one in paths if one and model.version)
        if server in ("mlserver", "torchserve", "triton", "tf-serving") or model.kind == "adapter":
            return
        if alone or model.name in (*said.names, *said.paths) or not model.root:
            for path, raw in zip(paths, said.paths, strict=True):
                yield path
                yield snapshot(root, raw, said.revision, said.hub)

    def _settled(
        self, root: Root, server: str, said: Named, models: Sequence[Model]
    ) -> Iterator[Model]:
        """Yield the models, those of MLServer with their place, and what else is in its folder."""
        if server != "mlserver":
            yield from models
            return
        settings = list(self._settings(root, said))
        places = {name: path for name, _, path in settings}
        known = {one.name for one in models}
        for model in models:
            path = places.get(model.name, "")
            yield msgspec.structs.replace(model, path=path) if path else model
        for name, version, path in settings:
            if name not in known:
                note = "named by model-settings.json; whether it is served is not told"
                yield Model(name, version, told_by="files", path=path, notes=(note,))

    def _settings(self, root: Root, said: Named) -> Iterator[tuple[str, str, str]]:
        for path in (absolute(one, said.cwd) for one in said.paths[:1] or (".",)):
            if not path:
                continue
            listing = listed(root, path, network=self._network)
            settings = [one for one in listing.files if one.name.endswith("model-settings.json")]
            for file in settings[:SETTINGS_MAX]:
                folder = file.identity.path.rpartition("/")[0]
                try:
                    body = headers.parsed(root.read(file.identity.path, headers.JSON_BYTES))
                except OSError:
                    continue
                if not isinstance(body, dict) or not isinstance(body.get("name"), str):
                    continue
                parameters = body.get("parameters")
                parameters = parameters if isinstance(parameters, dict) else {}
                version = parameters.get("version")
                yield body["name"], version if isinstance(version, str) else "", folder

    # ------------------------------------------------------------ what they say

    def _joined(self, root: Root, model: Model, listing: Listing) -> Model:
        facts: dict[str, Any] = {}
        numbers: Counter[str] = Counter()
        files = []
        for at, file in enumerate(listing.files):
            read = self._look_into(root, file, at)
            for fact, value in read.facts.items():
                facts.setdefault(fact, value)
            numbers.update(read.numbers)
            files.append(self._told(file, read))
        if listing.repository:
            facts.setdefault("base", "")
            facts["revision"] = listing.revision
        if numbers and "quantisation" not in facts:
            facts.setdefault("parameters", count(sum(numbers.values())))
            facts.setdefault("dtype", numbers.most_common(1)[0][0].lower())
        given = {
            fact: value if fact == "trained_context" else str(value)
            for fact, value in facts.items()
            if fact in Model.__struct_fields__ and not getattr(model, fact) and value
        }
        if facts.get("kind") == "adapter" and model.kind == "model":
            given["kind"] = "adapter"
        notes = (*model.notes, *((listing.note,) if listing.note else ()))
        return msgspec.structs.replace(
            model, **given, path=listing.path, files=tuple(files), omitted=listing.omitted,
            notes=tuple(dict.fromkeys(notes)),
        )  # fmt: skip

    def _told(self, file: File, read: Read) -> ModelFile:
        identity = file.identity
        told = ModelFile(
            file.name, identity.size, identity.mtime_ns, file.called,
            "name" if file.called else "", read.head_sha256, path=identity.path,
            inode=identity.inode,
        )  # fmt: skip
        sha256 = self._digests.get(identity) if self._digests is not None else ""
        return _reckoned(told, sha256) if sha256 else told

    def _look_into(self, root: Root, file: File, number: int) -> Read:
        """Read the beginning of a file, once."""
        known = self._read.get(file.identity)
        if known is not None:
            self._read.move_to_end(file.identity)
            return known
        real, base = file.identity.path, file.name.rpartition("/")[2]
        try:
            head = b""
            if self._how != "off" or base in _DESCRIBES:
                head = root.read(real, HEAD_BYTES)
            read = self._understood(root, file, base, head, number)
        except OSError:
            read = Read()
        self._read[file.identity] = read
        while len(self._read) > READ_MAX:
            self._read.popitem(last=False)
        return read

    def _understood(self, root: Root, file: File, base: str, head: bytes, number: int) -> Read:
        sha256 = hashlib.sha256(head).hexdigest() if self._how != "off" else ""
        if base in _DESCRIBES:
            return Read(sha256, _DESCRIBES[base](head))
        if head[:4] == b"GGUF":
            return Read(sha256, headers.gguf(head))
        if base.endswith(".safetensors") and number < SHARDS_MAX:
            length = headers.safetensors_length(head)
            if length > len(head):
                head = root.read(file.identity.path, length)
            numbers, whole = headers.safetensors(head) if length else (Counter[str](), False)
            return Read(sha256, {"format": "safetensors"} if whole else {}, dict(numbers))
        return Read(sha256)


_DESCRIBES = {
    "config.json": headers.config,
    "adapter_config.json": headers.adapter_config,
    "README.md": headers.card,
}


def _reckoned(file: ModelFile, sha256: str) -> ModelFile:
    """Return a file with its digest; one that its store calls by another is not what it was."""
    note = file.note
    if file.source == "name" and file.sha256 != sha256:
        note = f"its content is not what its name says ({file.sha256[:12]})"
    return msgspec.structs.replace(file, sha256=sha256, source="content", note=note)


def _of_version(listing: Listing, model: Model) -> Listing:
    """Return of a Triton model's folder what is of one version, or of all."""
    if not model.version:
        return listing
    files = tuple(
        one
        for one in listing.files
        if "/" not in one.name or one.name.partition("/")[0] == model.version
    )
    return msgspec.structs.replace(listing, files=files)


def _ollama(root: Root, store: str, name: str) -> Listing | None:
    """Return the blobs that an Ollama manifest names."""
    path = _manifest(store, name)
    if not path.startswith("/"):
        return None
    files = []
    try:
        body = root.read(root.real(path), headers.JSON_BYTES)
        for layer in headers.manifest(body):
            algorithm, _, digest = layer.digest.partition(":")
            if algorithm == "sha256" and re.fullmatch("[0-9a-f]{64}", digest):
                real = root.real(f"{store}/blobs/sha256-{digest}")
                status = os.lstat(root.place(real))
                if stat.S_ISREG(status.st_mode):
                    files.append(file_of(root, layer.mediaType.rpartition(".")[2], real, status))
    except OSError as error:
        return Listing(path, note=reason(error))
    return Listing(path, tuple(files))


def _manifest(models: str, name: str) -> str:
    """Return where Ollama keeps the manifest of a model."""
    bare, _, tag = name.partition(":")
    parts = bare.split("/")
    if ".." in parts or not all(parts):
        return ""
    if len(parts) == 1:
        parts = [_REGISTRY, "library", *parts]
    elif len(parts) == 2:
        parts = [_REGISTRY, *parts]
    return f"{models}/manifests/{'/'.join(parts)}/{tag or 'latest'}"
