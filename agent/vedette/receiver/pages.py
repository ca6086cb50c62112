"""The JSON API and the page: plain functions from a request to an answer, run in a few threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from vedette.receiver.charts import RANGE_MAX_NS, Charts, TooWideError
from vedette.receiver.happened import happened
from vedette.receiver.log_query import GRADES, ORDERS, LogFilter, LogReader
from vedette.receiver.model_query import ModelReader
from vedette.receiver.query import MS_NS, Reader
from vedette.receiver.store import Store
from vedette.receiver.views import (
    CompletenessAnswer,
    ErrorAnswer,
    HostAnswer,
    HostsAnswer,
    HostView,
    IncidentAnswer,
    IncidentsAnswer,
    SeriesAnswer,
)

_Choice = TypeVar("_Choice", bound=str)

STATIC = Path(__file__).parent / "static"
HOUR_MS = 3_600_000
#: The largest integer JavaScript counts exactly.
MS_MAX = (1 << 53) - 1
POINTS_DEFAULT = 1_500
POINTS_MOST = 5_000
INCIDENTS_MOST = 1_000
KEYS_MOST = 200
TEMPLATES_DEFAULT = 200
TEMPLATES_MOST = 5_000
MODELS_DEFAULT, MODELS_MOST = 300, 2_000
INSTANCES_DEFAULT, INSTANCES_MOST = 100, 1_000


class BadQueryError(ValueError):
    """A query parameter that makes no sense; the text names it."""


def answer(value: object, status: int = 200) -> Response:
    """Encode an answer as JSON; not-a-number becomes null."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error(text: str, status: int) -> Response:
    """Encode an error the way all of the API does."""
    return answer(ErrorAnswer(text), status)


class Pages:
    """Answers from one database."""

    def __init__(self, store: Store, static: Path = STATIC) -> None:
        self._store = store
        self._static = static
        self.reader = Reader(store.path, store.clock_ns)
        self.charts = Charts(self.reader)
        self.log_reader = LogReader(self.reader)
        self.model_reader = ModelReader(self.reader)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the API, the page and its files."""
        api = "/api/v1"
        return [
            Route("/healthz", self.healthz),
            Route(f"{api}/hosts", _guarded(self.hosts)),
            Route(f"{api}/hosts/{{agent:path}}/series", _guarded(self.series)),
            Route(f"{api}/hosts/{{agent:path}}/metrics", _guarded(self.metrics)),
            Route(f"{api}/hosts/{{agent:path}}/inventory", _guarded(self.inventory)),
            Route(f"{api}/hosts/{{agent:path}}/logs/template", _guarded(self.log_template)),
            Route(f"{api}/hosts/{{agent:path}}/logs", _guarded(self.logs)),
            Route(f"{api}/hosts/{{agent:path}}", _guarded(self.host)),
            Route(f"{api}/incidents", _guarded(self.incidents)),
            Route(f"{api}/incidents/{{agent:path}}/{{id:str}}/logs", _guarded(self.incident_logs)),
            Route(
                f"{api}/incidents/{{agent:path}}/{{id:str}}/events",
                _guarded(self.incident_events),
            ),
            Route(f"{api}/incidents/{{agent:path}}/{{id:str}}", _guarded(self.incident)),
            Route(f"{api}/models", _guarded(self.models)),
            Route(f"{api}/model", _guarded(self.model)),
            Route(f"{api}/completeness", _guarded(self.completeness)),
            Route("/", self.index),
            Mount("/static", StaticFiles(directory=self._static, check_dir=False)),
        ]

    async def healthz(self, request: Request) -> Response:
        """Say whether batches can be stored."""
        failing = self._store.failing
        return answer({"ok": not failing}, 503 if failing else 200)

    async def index(self, request: Request) -> Response:
        """Send the page."""
        page = self._static / "index.html"
        return FileResponse(page) if page.is_file() else error("the page is not installed", 404)

    def hosts(self, request: Request) -> Response:
        """Answer with all hosts."""
        return answer(HostsAnswer(self._now_ms(), self.reader.hosts()))

    def host(self, request: Request) -> Response:
        """Answer with one host and its numberings."""
        host = self._host(request)
        return answer(HostAnswer(self._now_ms(), host, self.reader.epochs(host.agent)))

    def series(self, request: Request) -> Response:
        """Answer with the series of a host."""
        return answer(SeriesAnswer(self.charts.series(self._host(request).agent)))

    def metrics(self, request: Request) -> Response:
        """Answer with the points of one metric of a host."""
        agent = self._host(request).agent
        query = request.query_params
        name = query.get("name", "")
        keys = query.getlist("key")
        if not name or len(name) > 256:
            raise BadQueryError("name is missing or longer than 256 characters")
        if len(keys) > KEYS_MOST:
            raise BadQueryError(f"more than {KEYS_MOST} keys")
        to_ms = _integer(request, "to_ms", self._now_ms(), 0, MS_MAX)
        from_ms = _integer(request, "from_ms", max(to_ms - HOUR_MS, 0), 0, MS_MAX)
        if not from_ms < to_ms or (to_ms - from_ms) * MS_NS > RANGE_MAX_NS:
            raise BadQueryError("from_ms must be before to_ms, by 31 days at most")
        if to_ms * MS_NS >= 1 << 63:
            raise BadQueryError("to_ms is out of range")
        limit = _integer(request, "limit", POINTS_DEFAULT, 1, POINTS_MOST)
        return answer(
            self.charts.lines(agent, name, frozenset(keys), from_ms * MS_NS, to_ms * MS_NS, limit)
        )

    def inventory(self, request: Request) -> Response:
        """Answer with what a host is made of and what changed."""
        return answer(self.reader.inventory(self._host(request).agent))

    def logs(self, request: Request) -> Response:
        """Answer with the templates of what a host logged, filtered and sorted."""
        agent = self._host(request).agent
        query = request.query_params
        text = query.get("text", "")
        if len(text) > 256:
            raise BadQueryError("text is longer than 256 characters")
        wanted = LogFilter(
            text=text,
            source=query.get("source", ""),
            grade=_choice(request, "severity", GRADES),
            new=query.get("new", "") == "1",
        )
        order = _choice(request, "sort", ORDERS) or "severity"
        limit = _integer(request, "limit", TEMPLATES_DEFAULT, 1, TEMPLATES_MOST)
        down = query.get("reverse", "") == "1"
        return answer(self.log_reader.logs(agent, wanted, order, down, limit))

    def log_template(self, request: Request) -> Response:
        """Answer with one template at one source, its example and its history."""
        agent = self._host(request).agent
        query = request.query_params
        found = self.log_reader.template(agent, query.get("source", ""), query.get("uid", ""))
        if found is None:
            raise HTTPException(404, "no such template")
        return answer(found)

    def incidents(self, request: Request) -> Response:
        """Answer with incidents, newest first."""
        state = request.query_params.get("state") or None
        if state not in (None, "open", "resolved"):
            raise BadQueryError(f"state is {state[:40]!r}, expected open or resolved")
        agent = request.query_params.get("agent") or None
        limit = _integer(request, "limit", 100, 1, INCIDENTS_MOST)
        found = self.reader.incidents(agent, state, limit)
        return answer(IncidentsAnswer(self._now_ms(), found))

    def incident(self, request: Request) -> Response:
        """Answer with one incident, its evidence and its history."""
        found = self.reader.incident(request.path_params["agent"], request.path_params["id"])
        if found is None:
            raise HTTPException(404, "no such incident")
        return answer(IncidentAnswer(found))

    def incident_logs(self, request: Request) -> Response:
        """Answer with what the logs said around an incident."""
        agent, identity = request.path_params["agent"], request.path_params["id"]
        found = self.log_reader.incident(agent, identity)
        if found is None:
            raise HTTPException(404, "no such incident")
        return answer(found)

    def incident_events(self, request: Request) -> Response:
        """Answer with what happened on the host around an incident."""
        found = happened(self.reader, request.path_params["agent"], request.path_params["id"])
        if found is None:
            raise HTTPException(404, "no such incident")
        return answer(found)

    def models(self, request: Request) -> Response:
        """Answer with the models of the fleet, what needs attention first."""
        text = request.query_params.get("text", "")
        if len(text) > 256:
            raise BadQueryError("text is longer than 256 characters")
        limit = _integer(request, "limit", MODELS_DEFAULT, 1, MODELS_MOST)
        return answer(self.model_reader.models(text, limit, request.query_params.get("agent", "")))

    def model(self, request: Request) -> Response:
        """Answer with one model wherever it runs."""
        query = request.query_params
        limit = _integer(request, "limit", INSTANCES_DEFAULT, 1, INSTANCES_MOST)
        found = self.model_reader.model(query.get("name", ""), query.get("server", ""), limit)
        if found is None:
            raise HTTPException(404, "no such model")
        return answer(found)

    def completeness(self, request: Request) -> Response:
        """Answer with what arrived of each numbering and what did not."""
        agent = request.query_params.get("agent") or None
        return answer(CompletenessAnswer(self.reader.epochs(agent)))

    def close(self) -> None:
        """Let go of the database; safe twice."""
        self.reader.close()

    def _host(self, request: Request) -> HostView:
        found = self.reader.hosts(request.path_params["agent"])
        if not found:
            raise HTTPException(404, "no such host")
        return found[0]

    def _now_ms(self) -> int:
        return self._store.clock_ns() // MS_NS


def _guarded(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Turn what a handler raises into the API's errors."""

    def guarded(request: Request) -> Response:
        try:
            return handler(request)
        except (BadQueryError, TooWideError) as problem:
            return error(str(problem), 400)
        except sqlite3.Error as problem:
            return error(f"the database cannot be read: {problem}", 503)

    return guarded


def _choice(request: Request, name: str, choices: tuple[_Choice, ...]) -> _Choice | None:
    text = request.query_params.get(name)
    if not text:
        return None
    for one in choices:
        if one == text:
            return one
    raise BadQueryError(f"{name} is {text[:40]!r}, expected one of {', '.join(choices)}")


def _integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 17 or not low <= int(text) <= high:
        raise BadQueryError(f"{name} is {text[:40]!r}, expected an integer from {low} to {high}")
    return int(text)
