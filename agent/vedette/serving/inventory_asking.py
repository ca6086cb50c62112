"""Ask one model server what it serves, at the right ports and ever more seldom where it says no.

A server often has its API and its metrics on different ports. Where it has, a listening socket of
the same process or process group on the port that is usual is asked first, then that port on the
same address when nobody else is known to have it, then the process's other sockets, the nearest
first (TorchServe and Triton have three ports in a row), then the page's own. Where an answer came
from is remembered. What answers 401 or 403 is not asked again before the process was started anew;
404 and all else after pauses that double.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from vedette.serving.asking import Method, Reply
from vedette.serving.inventory import MODELS_MAX, TEXT_MAX, Model, count
from vedette.serving.inventory_holder import masked
from vedette.serving.inventory_table import ASKS, STATES, UNNAMED, Ask
from vedette.serving.listening import Listener, Process
from vedette.serving.recognise import Info, at

#: Pauses after an answer that was none.
FIRST_PAUSE_S, LAST_PAUSE_S = 60.0, 3_600.0
#: Questions about single models in one round, and sockets tried for one question.
NAMED_MAX, NEAR_MAX = 16, 4
#: Questions whose answers are remembered.
STATES_MAX = 64
_FORBIDDEN = (401, 403)
#: What servers say for nothing.
_NOTHING = frozenset({"", "None", "null", "none", "unknown", "N/A"})
#: Facts of a model that are its numbers.
_NUMBERS = frozenset({"context", "trained_context"})
#: What may be secret of an address: who asks, and all after the path.
_CREDENTIALS = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]*@|(?<=[^\s?#])[?#][^\s\"']*", re.IGNORECASE
)

Fetch = Callable[[str, str, Method], Reply]


class Answers(msgspec.Struct, frozen=True):
    """What one round brought: the models, what is known of the engine, and each question's end.

    ``complete`` is whether an endpoint that lists all models answered.
    """

    models: tuple[Model, ...] = ()
    version: str = ""
    kv_tokens: int = 0
    devices: str = ""
    complete: bool = False
    asked: tuple[tuple[str, str], ...] = ()


class _State(msgspec.Struct):
    """How a question fared: where it is asked, when again, and what was said last."""

    place: str = ""
    due_s: float = float("-inf")
    pause_s: float = FIRST_PAUSE_S
    why: str = ""
    body: object = None
    had: bool = False
    ports: tuple[int, ...] = ()


class Questions:
    """The questions to one server; one thread.

    ``place`` is the page's own authority, ``siblings`` the sockets of the same process, ``others``
    places that are known to be another's.
    """

    def __init__(
        self,
        place: str,
        fetch: Fetch,
        *,
        index: bool,
        is_ignored: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._place = place
        self._fetch = fetch
        self._index = index
        self._is_ignored = is_ignored
        self._states: dict[str, _State] = {}
        self.siblings: Sequence[str] = ()
        self.others: frozenset[str] = frozenset()

    def renew(self) -> None:
        """Forget what was answered: the process is another."""
        self._states.clear()

    def infos(self, server: str, now_s: float) -> list[Info]:
        """Return answers that tell which server it is."""
        asks = ASKS.get(server) or tuple(Ask(path) for path in UNNAMED)
        found = []
        for one in asks:
            if one.method == "GET" and "{" not in one.path:
                body = self._answer(one, one.path, now_s)
                if body is not None:
                    found.append(Info(one.path, body))
        return found

    def round(self, server: str, names: Iterable[str], now_s: float) -> Answers:
        """Ask all there is to ask; ``names`` are models that are known otherwise."""
        models: dict[tuple[str, str], dict[str, Any]] = {}
        engine: dict[str, Any] = {}
        complete = False
        for one in ASKS.get(server, ()):
            if one.method == "POST" and not self._index:
                continue
            known = list(dict.fromkeys((*(name for name, _ in models), *names)))
            for name in known[:NAMED_MAX] if "{name}" in one.path else ("",):
                path = one.path.replace("{name}", quote(name, safe=""))
                body = self._answer(one, path, now_s)
                if body is None:
                    continue
                complete = complete or one.lists
                for fact, where in one.engine.items():
                    engine.setdefault(fact, _value(body, where))
                if one.facts:
                    by = "name" if name else "list"
                    _merge(models, ({"told_by": by, **x} for x in _models(one, body, name)))
        kept = set(list(models)[:MODELS_MAX])
        return Answers(
            tuple(_model(facts) for key, facts in models.items() if key in kept),
            _text(engine.get("version")).removeprefix("v"),
            _number(engine.get("kv_tokens")),
            _text(engine.get("devices")),
            complete,
            tuple((path, one.why or "answered") for path, one in self._states.items()),
        )

    # ------------------------------------------------------------ one question

    def _answer(self, ask: Ask, path: str, now_s: float) -> object:
        state = self._states.get(path)
        if state is None:
            if len(self._states) >= STATES_MAX:
                self._states.pop(next(iter(self._states)))
            state = self._states[path] = _State(ports=ask.ports)
        if state.due_s > now_s:
            # What was answered a moment ago, or is asked only once.
            return state.body if state.had else None
        forbidden = False
        state.why = ""
        for place in (state.place,) if state.place else self._places(ask):
            reply = self._fetch(f"http://{place}", path, ask.method)
            if not reply.why and self._is_meant(ask, reply.body):
                state.place, state.body, state.had, state.why = place, reply.body, True, ""
                state.due_s = float("inf") if ask.once else now_s + 1.0
                state.pause_s = FIRST_PAUSE_S
                return reply.body
            # The likeliest place says why.
            state.why = state.why or reply.why or "its answer is not of this server"
            forbidden = forbidden or reply.status in _FORBIDDEN
        state.had, state.body = False, None
        # It may be on another port by now.
        state.place = ""
        state.due_s = float("inf") if forbidden else now_s + state.pause_s
        state.pause_s = min(state.pause_s * 2, LAST_PAUSE_S)
        return None

    def _is_meant(self, ask: Ask, body: object) -> bool:
        path, word = ask.must
        if not path:
            return True
        found = list(at(body, path.split(".")))
        return word in found if word else bool(found)

    def _places(self, ask: Ask) -> list[str]:
        """Return where to ask, the likeliest first."""
        if not ask.ports:
            return [self._place]
        host = self._place.rpartition(":")[0]
        usual = tuple(f":{port}" for port in ask.ports)
        proven = [one.place for one in self._states.values() if one.had and one.ports == ask.ports]
        likely = [one for one in self.siblings if one.endswith(usual)]
        guessed = (f"{host}{port}" for port in usual)
        free = [one for one in guessed if one not in self.others and not self._is_ignored(one)]
        own = _port(self._place)
        near = sorted(self.siblings, key=lambda one: (abs(_port(one) - own), one))
        near = [one for one in near if one != self._place]
        return list(dict.fromkeys((*proven, *likely, *free, *near[:NEAR_MAX], self._place)))


def _port(place: str) -> int:
    return int(place.rpartition(":")[2] or 80)


def siblings(
    listeners: Iterable[Listener], process: Process | None, group: Callable[[int], int]
) -> tuple[list[str], frozenset[str]]:
    """Return the places where a process, or one of its group, listens, and those of all others."""
    mine: list[str] = []
    others: set[str] = set()
    own = group(process.pid) if process is not None else 0
    for one in listeners:
        if one.process is None:
            continue
        theirs = process is not None and (
            one.process.pid == process.pid or (own > 1 and group(one.process.pid) == own)
        )
        if theirs:
            mine.append(one.place)
        else:
            others.add(one.place)
    return mine, frozenset(others)


# ---------------------------------------------------------------- answers


def _models(ask: Ask, body: object, name: str) -> Iterator[dict[str, Any]]:
    """Yield the facts of each model of an answer."""
    items = at(body, ask.each.split(".")) if ask.each else iter((body,))
    for item in items:
        facts: dict[str, Any] = dict(ask.given)
        for fact, where in ask.facts.items():
            value = _values(item, where) if fact == "versions" else _value(item, where)
            if value not in (None, "", []):
                facts[fact] = value
        facts.setdefault("name", name)
        if not facts["name"]:
            continue
        if facts.get("base") and "kind" not in facts:
            facts["kind"] = "adapter"
        versions = facts.pop("versions", [])
        for version in versions or [facts.get("version", "")]:
            yield {**facts, "version": version}


def _merge(models: dict[tuple[str, str], dict[str, Any]], more: Iterable[dict[str, Any]]) -> None:
    """Add facts; those without a version are of every version of their model."""
    for facts in more:
        name, version = _text(facts["name"]), _text(facts.get("version"))
        same = {key: known for key, known in models.items() if key[0] == name}
        if any(known["told_by"] == "list" for known in same.values()):
            facts["told_by"] = "list"
        if same and not version:
            for known in same.values():
                known.update({**known, **facts, "version": known["version"]})
            continue
        bare = models.pop((name, ""), {})
        known = models.setdefault((name, version), {})
        known.update({**bare, **known, **facts, "name": name, "version": version})
        if len(models) > 4 * MODELS_MAX:
            return


def _model(facts: dict[str, Any]) -> Model:
    told: dict[str, Any] = {}
    for fact, value in facts.items():
        if fact in _NUMBERS:
            told[fact] = _number(value)
        elif fact == "since":
            told["since_ns"], told["since_by"] = _moment(value), "server"
        elif fact == "state":
            word = _text(value).lower()
            told["state"] = STATES.get(word, word)
        elif fact == "reason":
            told["reason"] = masked(_text(value))
        elif fact == "parameters" and isinstance(value, int):
            told["parameters"] = count(value)
        elif fact in Model.__struct_fields__:
            told[fact] = _text(value)
    if not told.get("since_ns"):
        told.pop("since_ns", None)
        told.pop("since_by", None)
    return Model(**told)


def _value(body: object, where: str) -> object:
    """Return the first value there is; several of one place are put in a row."""
    found = list(dict.fromkeys(_values(body, where)))
    if not found:
        return None
    return found[0] if len(found) == 1 else ", ".join(str(one) for one in found[:8])


def _values(body: object, where: str) -> list[Any]:
    where, _, like = where.partition("~")
    for path in where.split("|"):
        found = [
            one
            for one in at(body, path.split("."))
            if isinstance(one, str | int | float) and str(one) not in _NOTHING
        ]
        if like:
            matches = (re.search(like, str(one)) for one in found)
            found = [one[1] for one in matches if one is not None]
        if found:
            return found
    return []


def _text(value: object) -> str:
    if value is None or isinstance(value, list | dict):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
    if "://" in text:
        # Where something was loaded from is told, and not with whose credentials or signature.
        text = _CREDENTIALS.sub(r"\1", text[: 8 * TEXT_MAX])
    shown = (one if one.isprintable() else " " for one in text[:TEXT_MAX])
    return "".join(shown).strip()


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return 0
    return number if 0 < number < 1 << 53 else 0


def _moment(value: object) -> int:
    """Return Unix ns of seconds, or of the earliest of some times; 0 for none."""
    if isinstance(value, int | float):
        return int(value * 1e9) if 0 < value < 1e11 else 0
    found = []
    for text in str(value).split(", "):
        try:
            found.append(int(datetime.fromisoformat(text).timestamp() * 1e9))
        except ValueError:
            continue
    return min(found, default=0)
