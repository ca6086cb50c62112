"""One model server: its page is fetched, recognised and mapped, and what changed is said.

Who it is is asked again when names that should be there are not, when it was restarted, or while
its page was too empty to tell. A page that cannot be had is a state, not an error: it is asked
again at the next tick, after ``PATIENCE`` failures at each third one, so that a server that hangs
does not take the time of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite, nan

import msgspec

from vedette.api import HistogramSample, Sample
from vedette.exposition.change import HistogramChange
from vedette.exposition.choice import Choice
from vedette.exposition.follow import START
from vedette.exposition.reading import Reader
from vedette.exposition.scrape import Answer
from vedette.exposition.wire import NoPage
from vedette.serving.derived import DERIVED
from vedette.serving.mapping import Mapper, mappers
from vedette.serving.recognise import Info, Recognition, recognise, seen
from vedette.serving.rows import Mapped, Row, samples
from vedette.serving.vocabulary import MODEL, OUTCOME, VERSION

PATIENCE, SELDOM = 3, 3
#: Rows of one server: models and outcomes come from labels, of which there may be any number.
ROWS_MAX = 2_000
#: Seconds between two times that a server is asked who it is because of what its page lacks.
AGAIN_S = 60.0
MODELS_MAX = 50
#: What a server may have of a model that it has not.
ASKED = (
    "vedette.model.requests",
    "vedette.model.request.duration",
    "gen_ai.server.request.duration",
)

_BLOCK_SIZE, _BLOCKS = "vedette.model.kv_cache.block.size", "vedette.model.kv_cache.block.limit"


class Said(msgspec.Struct, frozen=True):
    """What a reading brought: samples, and a few words for each thing that changed.

    The words follow the server's name. ``models`` are those about models, which count where no
    endpoint lists them. ``restarted`` its counters tell; ``returned``: it answers again.
    """

    samples: tuple[Sample | HistogramSample, ...] = ()
    changes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    restarted: bool = False
    returned: bool = False
    rows: tuple[Row, ...] = ()


class Served:
    """One server at one address. One thread.

    ``fetch`` gets its page (``NoPage`` when there is none), ``ask`` what info endpoints
    answer, of a server if it is known which. ``close`` lets go of what fetches.
    """

    def __init__(
        self,
        endpoint: str,
        fetch: Callable[[], Answer],
        ask: Callable[[str], list[Info]],
        *,
        began_s: float,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._fetch = fetch
        self._ask = ask
        self._close = close
        self.who = Recognition("unknown")
        self.models: tuple[str, ...] = ()
        #: What the inventory knows better than the page.
        self.version = ""
        self.kv_tokens = 0
        self.up = False
        self.reason = "not asked yet"
        self.trouble = ""
        self.started_s = nan
        self.page_s = self._began_s = began_s
        self.since_ns = 0
        self.missing: tuple[str, ...] = ()
        self.blind: tuple[str, ...] = ()
        self.cut = 0
        self._failures = 0
        self._skips = 0
        self._looked_s = float("-inf")
        self._mappers: tuple[Mapper, ...] = ()
        self._reader = Reader()

    @property
    def server(self) -> str:
        """What it is, as far as is known."""
        return self.who.server

    @property
    def answered_s(self) -> float:
        """How long it is known to have been answering, until it did last."""
        return self.page_s - self._began_s

    @property
    def is_new(self) -> bool:
        """Whether it was not read yet."""
        return not self.since_ns and not self._failures

    @property
    def title(self) -> str:
        """What it is, for a person."""
        adapter = self.who.adapter
        name = adapter.title if adapter is not None else "a model server"
        release = self.who.release.name if self.who.release else ""
        version = self.version or self.who.version or release
        return f"{name} {version}".strip()

    def close(self) -> None:
        """Let go of it."""
        if self._close is not None:
            self._close()

    def read(self, now_s: float, wall_ns: int) -> Said:
        """Read it once; ``now_s`` is monotonic."""
        if self._failures >= PATIENCE and self._skips:
            self._skips -= 1
            return Said()
        try:
            answer = self._fetch()
        except NoPage as error:
            self.trouble = error.trouble
            return self._note_down(str(error))
        if not self._mappers:
            self._recognise(answer, now_s)
        page = self._reader.read(answer.body, openmetrics=answer.openmetrics)
        mapped = [one.read(page, now_s, wall_s=wall_ns / 1e9) for one in self._mappers]
        restarted = any(one.restarted for one in mapped)
        if self._is_doubtful(mapped, now_s) or restarted:
            self._recognise(answer, now_s)
        rows = [row for one in mapped for row in one.rows]
        self.cut = max(0, len(rows) - ROWS_MAX)
        rows = rows[:ROWS_MAX]
        started = page.numbers(START)
        self.started_s = started[0].value if started else nan
        returned = not self.up and bool(self.since_ns)
        models = self._note_up(mapped, rows, now_s, wall_ns, anew=restarted)
        found = (*samples(rows), *_scalars(rows))
        return Said(found, (), tuple(models), restarted, returned, tuple(rows))

    def _recognise(self, answer: Answer, now_s: float) -> None:
        """Say who it is; the mapping begins anew where that is another than before."""
        self._looked_s = now_s
        page, names = seen(answer.body, openmetrics=answer.openmetrics)
        known = self.server if self.who.adapter is not None else ""
        who = recognise(page, names, self._ask(known), near=False)
        same = (who.server, who.release) == (self.who.server, self.who.release)
        if who.adapter is None or (same and self._mappers):
            if who.adapter is not None:
                self.who = who
            return
        self.who = who
        self._mappers = mappers(who, endpoint=self.endpoint)
        families = frozenset().union(*(one.families for one in self._mappers))
        self._reader = Reader(Choice(allow=families))

    def _is_doubtful(self, mapped: list[Mapped], now_s: float) -> bool:
        lacks = any(one.missing for one in mapped) or not self._mappers
        return lacks and now_s - self._looked_s >= AGAIN_S

    def _note_up(
        self, mapped: list[Mapped], rows: list[Row], now_s: float, wall_ns: int, *, anew: bool
    ) -> list[str]:
        """Note that it answers; return which models came and went."""
        if not self.up:
            self.since_ns = wall_ns
        self.up, self.reason, self.trouble, self.page_s = True, "", "", now_s
        self._failures = self._skips = 0
        self.missing = tuple(one.signal for each in mapped for one in each.missing)
        self.blind = tuple(one.text for each in mapped for one in each.blind)
        self.kv_tokens = _kv_tokens(rows)
        before, self.models = self.models, _models(rows)
        return _model_changes(before, self.models, rows, anew=anew) if before else []

    def _note_down(self, reason: str) -> Said:
        self._failures += 1
        self._skips = SELDOM - 1 if self._failures >= PATIENCE else 0
        was_up, self.up, self.reason = self.up, False, reason
        if was_up:
            return Said(changes=(f"stopped answering: {reason}",))
        return Said()


def _models(rows: list[Row]) -> tuple[str, ...]:
    """Return the models that a page tells of, with their versions.

    One whose requests ended in every way but well is none: what a client asks for by a wrong name
    is counted under that name (MLServer, LiteLLM).
    """
    found, asked, answered = set(), set(), set()
    for row in rows:
        model, version = row.attribute(MODEL), row.attribute(VERSION)
        if not model:
            continue
        name = f"{model} {version}".strip()
        found.add(name)
        if row.signal.name in ASKED:
            asked.add(name)
        if row.attribute(OUTCOME) == "ok":
            answered.add(name)
    wrong = asked - answered if answered else set()
    return tuple(sorted(found - wrong))[:MODELS_MAX]


def _model_changes(
    before: tuple[str, ...], after: tuple[str, ...], rows: list[Row], *, anew: bool
) -> list[str]:
    """Say which models a page names that it did not, and the other way round.

    Some pages name a model from its first request on: one that was asked already when it was first
    named, beside those that were there, says nothing. After a restart a page may be empty.
    """
    came = [one for one in after if one not in before]
    gone = [one for one in before if one not in after]
    if not gone:
        came = [one for one in came if not _is_asked(one, rows)]
    elif not came and anew:
        gone = []
    return [f"serves {one}" for one in came] + [f"no longer serves {one}" for one in gone]


def _is_asked(name: str, rows: list[Row]) -> bool:
    """Say whether a page counts any request of a model."""
    for row in rows:
        if row.signal.name not in ASKED:
            continue
        if f"{row.attribute(MODEL)} {row.attribute(VERSION)}".strip() == name:
            count = row.value.count if isinstance(row.value, HistogramChange) else row.value
            if count > 0:
                return True
    return False


def _kv_tokens(rows: list[Row]) -> int:
    """Return how many tokens the KV cache holds; 0 where the page does not tell."""
    sizes: dict[str, float] = {}
    for row in rows:
        if row.signal.name in (_BLOCK_SIZE, _BLOCKS) and not isinstance(row.value, HistogramChange):
            sizes[row.signal.name] = max(sizes.get(row.signal.name, 0.0), row.value)
    tokens = sizes.get(_BLOCK_SIZE, 0.0) * sizes.get(_BLOCKS, 0.0)
    return int(tokens) if isfinite(tokens) and tokens > 0 else 0


def _scalars(rows: list[Row]) -> Iterator[Sample]:
    """Yield mean and 95th percentile of the distributions that gained something."""
    for row in rows:
        gain = row.gain
        if not isinstance(gain, HistogramChange) or not gain.counts or gain.count <= 0:
            continue
        derived = DERIVED[row.signal.name]
        mean, p95 = gain.mean, gain.quantile(0.95).value
        if isfinite(mean):
            yield derived["mean"](mean, *row.values)
        if isfinite(p95):
            yield derived["p95"](p95, *row.values)
