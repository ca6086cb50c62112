"""Watch over what one server serves: ask, join with its process and files, say what changed.

An inventory outlives its process: after a restart the next one is compared with what was before. A
model that an answer lacks is gone when the next answer lacks it too, or another has come in its
place; without an answer what was known stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from vedette.serving.inventory import MODELS_MAX, Holder, Inventory, Model, changes
from vedette.serving.inventory_asking import Answers, Questions
from vedette.serving.inventory_files import Files
from vedette.serving.listening import Process

#: Seconds between two rounds of questions, and between two looks at the files.
ROUND_S, FILES_S = 30.0, 300.0
#: After a start, files are looked at again so soon: what is still being written changes.
SOON_S = 30.0


class Seen(msgspec.Struct, frozen=True):
    """What a page of metrics tells: models with their versions, tokens that the KV cache holds."""

    models: tuple[str, ...] = ()
    kv_tokens: int = 0


class Watch:
    """One server. ``files`` is None where they are not looked at; one thread.

    ``before`` is what an earlier run of the agent knew.
    """

    def __init__(
        self,
        endpoint: str,
        questions: Questions,
        files: Files | None,
        held: Callable[[Process, int], Holder],
        before: Inventory | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.questions = questions
        self.inventory = before or Inventory()
        self.process: Process | None = None
        self._files = files
        self._held = held
        self._holder = Holder()
        self._due_s = self._files_due_s = float("-inf")
        self._missed: set[tuple[str, str]] = set()
        self._asked_files: tuple[tuple[str, str], ...] = ()
        self._began = False

    def take(self, process: Process | None, wall_ns: int) -> None:
        """Take another process for the one that serves; all is asked anew."""
        if process == self.process and self._began:
            return
        self.process = process
        self._holder = self._held(process, wall_ns) if process is not None else Holder()
        self._due_s = self._files_due_s = float("-inf")
        self.questions.renew()

    def hasten(self) -> None:
        """Ask at the next occasion: something may have changed."""
        self._due_s = float("-inf")

    def refresh(self, server: str, seen: Seen, now_s: float, wall_ns: int) -> list[str]:
        """Return what changed since the last time, in words that can follow the server's name."""
        before = self.inventory
        if now_s >= self._due_s:
            self._due_s = now_s + ROUND_S
            self._round(server, seen, now_s, wall_ns)
        elif self._files is not None and self.inventory.models:
            self.inventory = msgspec.structs.replace(
                self.inventory, models=self._files.again(self.inventory.models)
            )
        self._began = True
        return changes(before, self.inventory) if before.server == server else []

    def close(self) -> None:
        """Let go of what is kept for it."""
        if self._files is not None:
            self._files.forget(self.endpoint)

    # ------------------------------------------------------------ one round

    def _round(self, server: str, seen: Seen, now_s: float, wall_ns: int) -> None:
        before = self.inventory
        names = tuple(one.partition(" ")[0] for one in seen.models)
        answers = self.questions.round(server, names, now_s)
        models = self._listed(before.models, answers)
        if not answers.complete:
            models += _only_seen(models, seen.models)
        models, notes = self._with_files(server, models, now_s)
        models = self._dated(models, before.models, wall_ns)
        packaged = self._files.release(self.endpoint) if self._files is not None else ""
        self.inventory = Inventory(
            server,
            answers.version or packaged or (before.version if before.server == server else ""),
            tuple(models[:MODELS_MAX]),
            answers.complete or before.complete,
            answers.kv_tokens or seen.kv_tokens,
            answers.devices,
            self._holder,
            dict(answers.asked),
            notes,
        )

    def _listed(self, before: Sequence[Model], answers: Answers) -> list[Model]:
        """Return the models that are served, with those whose going is not certain yet."""
        versioned = {one.name for one in before if one.version and one.told_by == "list"}
        bare = {one.name for one in answers.models if not one.version} & versioned
        # Of what was told with its version, this time only the name came.
        models = [one for one in answers.models if one.version or one.name not in bare]
        models += [one for one in before if one.name in bare and one.version]
        known = {one.key for one in models}
        listed = [one for one in before if one.told_by == "list" and one.key not in known]
        if not answers.complete:
            # Nobody told of all: what was known stays known, under a name that still has answers.
            names = {one.name for one in models}
            return models + [one for one in listed if one.name not in names]
        came = known - {one.key for one in before}
        lacking = {one.key for one in listed}
        gone = lacking & self._missed if not came else lacking
        self._missed = lacking - gone
        return models + [one for one in listed if one.key not in gone]

    def _with_files(
        self, server: str, models: list[Model], now_s: float
    ) -> tuple[list[Model], tuple[str, ...]]:
        if self._files is None or self.process is None:
            return models, ()
        keys = tuple(one.key for one in models)
        known = {one.key: one for one in self.inventory.models}
        if now_s < self._files_due_s and keys == self._asked_files:
            merged = [_filed(one, known.get(one.key)) for one in models]
            extra = [one for one in self.inventory.models if one.told_by == "files"]
            return [*self._files.again([*merged, *extra])], self.inventory.notes
        first = keys != self._asked_files or self._files_due_s == float("-inf")
        self._asked_files = keys
        self._files_due_s = now_s + (SOON_S if first else FILES_S)
        found, note = self._files.look(self.endpoint, server, self.process, models)
        return list(self._files.again(found)), (note,) if note else ()

    def _dated(self, models: Iterable[Model], before: Sequence[Model], wall_ns: int) -> list[Model]:
        """Return models with since when they are served, and when they were first seen."""
        known = {one.key: one for one in before}
        started_ns = self._holder.started_ns
        dated = []
        for one in models:
            was = known.get(one.key)
            first = was.first_seen_ns if was is not None else wall_ns
            since, by = one.since_ns, one.since_by
            if by != "server":
                if was is not None and was.since_by == "seen" and was.since_ns >= started_ns:
                    since, by = was.since_ns, "seen"
                elif was is None and self._began and before:
                    since, by = wall_ns, "seen"
                else:
                    since, by = started_ns, "process" if started_ns else ""
            dated.append(
                msgspec.structs.replace(one, first_seen_ns=first, since_ns=since, since_by=by)
            )
        return dated


def _only_seen(models: Sequence[Model], seen: Iterable[str]) -> list[Model]:
    """Return what a page alone names: a name that no answer lists."""
    names = {one.name for one in models} | {f"{one.name} {one.version}".strip() for one in models}
    found = []
    for text in seen:
        name, _, version = text.rpartition(" ") if " " in text else (text, "", "")
        if text not in names and name not in names:
            found.append(Model(name, version, told_by="page"))
    return found


def _filed(model: Model, known: Model | None) -> Model:
    """Return a model with what its files told at the last look."""
    if known is None or not known.path:
        return model
    given = {
        field: getattr(known, field)
        for field in model.__struct_fields__
        if field not in ("reason", "state", "since_ns", "since_by") and not getattr(model, field)
    }
    kind = known.kind if model.kind == "model" else model.kind
    given.pop("kind", None)
    return msgspec.structs.replace(model, **given, kind=kind)
