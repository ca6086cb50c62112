"""Read logs of inferences of any size into pieces of sketches, model by model."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence

from vedette.commands.logs_mine_source import batches
from vedette.drift.generic import FieldsConfig
from vedette.drift.joining import Joined, Joiner
from vedette.drift.quality import Outcome
from vedette.drift.reading import Format, Reader
from vedette.drift.rows import Row
from vedette.drift.sketch import ModelSketch
from vedette.drift.watching import record_of

__all__ = ["Collected", "collected", "fields_of"]

#: Records of a piece at first; when there are more than so many pieces, two become one.
PIECE, PIECES_MAX = 250, 16
#: A log names more models than this only by mistake.
MODELS_MAX = 100
UNNAMED = "model"
#: Answers that wait for their label: as many as there may be in a file.
JOINS = 1_000_000


class _Model:
    """The pieces of one model, of even size."""

    def __init__(self, base: ModelSketch | None) -> None:
        self._shape = base.like() if base is not None else ModelSketch()
        self.pieces = [self._shape.like()]
        self._size = PIECE

    def add(self, records: list[dict[str, object]]) -> None:
        while records:
            piece = self.pieces[-1]
            room = self._size - piece.records
            piece.add(records[:room], 0)
            records = records[room:]
            if piece.records >= self._size:
                self._next(piece)

    def judge(self, outcomes: list[Outcome]) -> None:
        self.pieces[-1].quality.add(outcomes)

    def _next(self, piece: ModelSketch) -> None:
        for name, one in piece.features.items():
            if name not in self._shape.features:
                self._shape.features[name] = one.like()
        if len(self.pieces) >= PIECES_MAX:
            joined = self.pieces[::2]
            for first, second in zip(joined, self.pieces[1::2], strict=True):
                first.merge(second, is_lenient=True)
            self.pieces, self._size = joined, self._size * 2
        self.pieces.append(self._shape.like())


class Collected:
    """What was read."""

    def __init__(self, base: Mapping[str, ModelSketch] | None) -> None:
        self._base = base or {}
        self._models: dict[str, _Model] = {}
        self.malformed: Counter[str] = Counter()
        self.last_reason = ""
        self.lines = 0

    @property
    def pieces(self) -> dict[str, list[ModelSketch]]:
        """The pieces of each model, in order."""
        return {
            name: [one for one in model.pieces if one.records or one.quality.labels]
            or model.pieces[:1]
            for name, model in self._models.items()
        }

    def whole(self, name: str) -> ModelSketch:
        """Return all of a model as one sketch."""
        pieces = self.pieces[name]
        made = pieces[0].like()
        for piece in pieces:
            made.merge(piece, is_lenient=True)
        return made

    def take(self, joined: Joined, unnamed: str) -> None:
        """Count what is whole."""
        of_model: dict[str, list[Row]] = {}
        for row in joined.rows:
            of_model.setdefault(row.model or unnamed, []).append(row)
        for name, rows in of_model.items():
            model = self._model(name)
            if model is not None:
                model.add([record_of(row) for row in rows])
        judged: dict[str, list[Outcome]] = {}
        for name, outcome in joined.outcomes:
            judged.setdefault(name or unnamed, []).append(outcome)
        for name, outcomes in judged.items():
            model = self._model(name)
            if model is not None:
                model.judge(outcomes)

    def _model(self, name: str) -> _Model | None:
        found = self._models.get(name)
        if found is None:
            if len(self._models) >= MODELS_MAX:
                self.malformed["of too many models"] += 1
                return None
            found = self._models[name] = _Model(self._base.get(name))
        return found


def collected(
    files: Sequence[str],
    format: Format,
    fields: FieldsConfig,
    model: str = "",
    base: Mapping[str, ModelSketch] | None = None,
) -> Collected:
    """Read files, the oldest first; ``base`` has the sketches that others are to be like.

    ``model`` is that of lines that name none. Raises ``CommandError`` for what is unreadable.
    """
    found = Collected(base)
    reader, joiner = Reader(format, fields), Joiner(JOINS, float("inf"))
    unnamed = model or UNNAMED
    for name in files:
        for lines in batches(name):
            found.take(joiner.take(reader.read(lines), 0.0), unnamed)
    found.take(Joined(joiner.flush(), []), unnamed)
    found.malformed += reader.malformed
    found.last_reason, found.lines = reader.last_reason, reader.lines
    return found


def fields_of(options: argparse.Namespace) -> FieldsConfig:
    """Return where things are in a line, as the command line says."""
    return FieldsConfig(
        features=tuple(options.features),
        prediction=options.prediction,
        score=options.score,
        label=options.label,
        id=options.id,
        model=options.model_field,
    )
