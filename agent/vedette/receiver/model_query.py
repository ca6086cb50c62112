"""Answer questions about models over the fleet: four statements, whatever the number of hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from vedette.receiver.batch import Heartbeat, ModelKey
from vedette.receiver.limits import MODELS_PER_AGENT
from vedette.receiver.model_figures import Place, figures, merged, tellable
from vedette.receiver.model_state import MINUTE_NS, SPAN, Told
from vedette.receiver.model_views import (
    EventView,
    InstanceView,
    ModelAnswer,
    ModelFigures,
    ModelsAnswer,
    ModelView,
    ServerFacts,
)
from vedette.receiver.query import INCIDENT, MS_NS, Reader, health_of, incident_view
from vedette.receiver.views import IncidentView, Open
from vedette.serving.vocabulary import ENDPOINT, LAYERS, MODEL

#: Open incidents that are looked through for models; the newest.
OPEN_MAX = 1_000
EVENTS_MAX, INCIDENTS_MAX = 200, 50

_MODELS = """
SELECT agent, endpoint, server, layer, model, version, newest, told FROM model WHERE %where%
"""
_HOSTS = """
SELECT agent, name, last_seen, heartbeat FROM host WHERE agent IN (SELECT agent FROM model)
"""
_SERVERS = "SELECT agent, endpoint, time, server, title, since, facts FROM model_server"
_ABOUT = f"""
{INCIDENT} JOIN json_each(?) agents ON agents.value = i.agent WHERE instr(i.series, ?)
ORDER BY i.opened DESC LIMIT ?
"""
_ENDPOINTS = re.compile(rf"{re.escape(ENDPOINT)}=([^,}}]*)")
_NAMES = re.compile(rf"{re.escape(MODEL)}=([^,}}]*)")

_told = msgspec.msgpack.Decoder(Told).decode


class _Server(msgspec.Struct, frozen=True):
    time_ns: int
    server: str
    title: str
    since_ns: int
    facts: dict[str, Any]

    def text(self, name: str) -> str:
        value = self.facts.get(name)
        return value if isinstance(value, str) else ""

    def names(self) -> tuple[str, ...]:
        value = self.facts.get("vedette.model.names")
        return (
            tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
        )


class _Fleet(msgspec.Struct, frozen=True):
    """What is known of all places at one moment."""

    places: list[Place]
    hosts: dict[str, tuple[str, bool]]
    servers: dict[tuple[str, str], _Server]
    incidents: dict[tuple[str, str], list[tuple[str, frozenset[str], IncidentView]]]
    full: tuple[str, ...]

    def is_silent(self, agent: str) -> bool:
        return self.hosts.get(agent, ("", True))[1]

    def about(self, place: Place) -> list[IncidentView]:
        """Return the open incidents that have a series of this place."""
        return [
            incident
            for _, names, incident in self.incidents.get((place.agent, place.key.endpoint), [])
            if not names or not place.key.model or place.key.model in names
        ]


class ModelReader:
    """Reads the tables of models; any thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def models(self, text: str, limit: int, agent: str = "") -> ModelsAnswer:
        """Return the models of the fleet, or of one host, that have all words of ``text``."""
        fleet = self._fleet()
        groups: dict[tuple[str, ...], list[Place]] = {}
        for place in fleet.places:
            if agent and place.agent != agent:
                continue
            key = place.key
            # A server that names no model is only the same as another that serves the same.
            names = () if key.model else self._names(fleet, place)
            groups.setdefault((key.model, key.version, key.server, key.layer, *names), []).append(
                place
            )
        rows = [_row(fleet, places) for places in groups.values()]
        words = text.casefold().split()
        found = [one for one in rows if _matches(one, words)]
        found.sort(key=_order)
        return ModelsAnswer(
            now_ms=self._reader.clock_ns() // MS_NS,
            span_s=SPAN * 60,
            line_step_s=MINUTE_NS // 10**9,
            matching=len(found),
            columns=_columns(one.figures for one in rows),
            full=fleet.full,
            models=found[:limit],
        )

    def model(self, model: str, server: str, limit: int) -> ModelAnswer | None:
        """Return one model wherever it runs; a ``server`` narrows it; None when it is not known."""
        fleet = self._fleet(model)
        places = [
            one
            for one in fleet.places
            if one.key.model == model and (not server or one.key.server == server)
        ]
        if not places:
            return None
        order: dict[str, int] = {layer: at for at, layer in enumerate(LAYERS)}
        places.sort(
            key=lambda one: (
                order.get(one.key.layer, len(LAYERS)), fleet.hosts.get(one.agent, ("",))[0],
                one.key.endpoint, one.key.version,
            )
        )  # fmt: skip
        shown = places[:limit]
        spots = {(one.agent, one.key.endpoint) for one in shown}
        return ModelAnswer(
            now_ms=self._reader.clock_ns() // MS_NS,
            span_s=SPAN * 60,
            line_step_s=MINUTE_NS // 10**9,
            matching=len(places),
            instances=[_instance(fleet, one) for one in shown],
            events=self._events(fleet, spots),
            incidents=self._incidents(spots, model),
        )

    def _names(self, fleet: _Fleet, place: Place) -> tuple[str, ...]:
        server = fleet.servers.get((place.agent, place.key.endpoint))
        return () if server is None else server.names()

    def _fleet(self, model: str | None = None) -> _Fleet:
        rows = self._reader.rows
        now_ns = self._reader.clock_ns()
        # What has no model may be of this one.
        where = "1" if model is None else "model IN ('', ?)"
        found = rows(_MODELS.replace("%where%", where), () if model is None else (model,))
        hosts = {
            agent: (name or agent, _is_silent(beat, last_seen, now_ns))
            for agent, name, last_seen, beat in rows(_HOSTS)
        }
        places = [
            Place(row[0], ModelKey(*row[1:6]), row[6], told)
            for row in found
            if (told := _decoded(row[7])) is not None
        ]
        kept: dict[str, int] = {}
        for one in places:
            kept[one.agent] = kept.get(one.agent, 0) + 1
        servers = {
            (agent, endpoint): _Server(time_ns, server, title, since, msgspec.json.decode(facts))
            for agent, endpoint, time_ns, server, title, since, facts in rows(_SERVERS)
        }
        for one in places:
            one.served = _is_served(one, servers.get((one.agent, one.key.endpoint)))
        return _Fleet(
            places=merged(places),
            hosts=hosts,
            servers=servers,
            incidents=_by_endpoint(
                incident_view(row)
                for row in rows(
                    f"{INCIDENT} WHERE i.state = 'open' AND instr(i.series, ?)"
                    " ORDER BY i.opened DESC LIMIT ?",
                    (ENDPOINT, OPEN_MAX),
                )
            ),
            full=tuple(
                hosts[agent][0]
                for agent, count in kept.items()
                if count >= MODELS_PER_AGENT and agent in hosts
            ),
        )

    def _events(self, fleet: _Fleet, spots: set[tuple[str, str]]) -> list[EventView]:
        rows = self._reader.rows(
            "SELECT time, agent, endpoint, text FROM model_event"
            " WHERE (agent, endpoint) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))"
            " ORDER BY time DESC LIMIT ?",
            (msgspec.json.encode(sorted(spots)).decode(), EVENTS_MAX),
        )
        return [
            EventView(
                at // MS_NS, agent, fleet.hosts.get(agent, (agent, True))[0], "model", place, text
            )
            for at, agent, place, text in rows
        ]

    def _incidents(self, spots: set[tuple[str, str]], model: str) -> list[IncidentView]:
        """Return the newest incidents that have a series of these places, open and resolved."""
        rows = self._reader.rows(
            _ABOUT,
            (
                msgspec.json.encode(sorted({agent for agent, _ in spots})).decode(), ENDPOINT,
                OPEN_MAX,
            ),
        )  # fmt: skip
        found = []
        for view in map(incident_view, rows):
            text = bytes(view.series).decode()
            names = frozenset(_NAMES.findall(text))
            here = any((view.agent, place) in spots for place in _ENDPOINTS.findall(text))
            if here and (not names or not model or model in names):
                found.append(view)
        return found[:INCIDENTS_MAX]


def _decoded(packed: bytes) -> Told | None:
    """Return figures; None as another version kept them, until the host reports again."""
    try:
        return _told(packed)
    except msgspec.DecodeError:
        return None


def _is_silent(beat: str | None, last_seen_ns: int, now_ns: int) -> bool:
    said = msgspec.json.decode(beat, type=Heartbeat) if beat else Heartbeat(0)
    return said.stopping or health_of(said, last_seen_ns, now_ns)[0] == "silent"


def _is_served(place: Place, server: _Server | None) -> bool:
    """Tell whether a model is one of those that the server's record names, or answered well."""
    key = place.key
    if not key.model or server is None or "ok" in place.told.seen:
        return True
    names = server.names()
    return not names or key.model in names or f"{key.model} {key.version}" in names


def _by_endpoint(
    incidents: Iterable[IncidentView],
) -> dict[tuple[str, str], list[tuple[str, frozenset[str], IncidentView]]]:
    found: dict[tuple[str, str], list[tuple[str, frozenset[str], IncidentView]]] = {}
    for one in incidents:
        text = bytes(one.series).decode()
        names = frozenset(_NAMES.findall(text))
        for endpoint in set(_ENDPOINTS.findall(text)):
            found.setdefault((one.agent, endpoint), []).append((endpoint, names, one))
    return found


def _row(fleet: _Fleet, places: Sequence[Place]) -> ModelView:
    key = places[0].key
    heard = [one for one in places if not fleet.is_silent(one.agent)]
    hosts = {one.agent for one in places}
    servers = [fleet.servers.get((one.agent, one.key.endpoint)) for one in places]
    known = [one for one in servers if one is not None]
    incidents = {(one.agent, one.id): one for place in places for one in fleet.about(place)}
    up = [one.told.gauges.get("up") for one in heard]
    names = {name for one in known for name in one.names()} if not key.model else set()
    releases = {
        one.text("vedette.model.version") or one.text("vedette.model.release") for one in known
    }
    return ModelView(
        model=key.model,
        version=key.version,
        server=key.server,
        layer=key.layer,
        names=tuple(sorted(names))[:20],
        releases=tuple(sorted(releases - {""}))[:20],
        hosts=len(hosts),
        endpoints=len({(one.agent, one.key.endpoint) for one in places}),
        silent=sum(fleet.is_silent(agent) for agent in hosts),
        up=sum(one == 1 for one in up),
        down=sum(one == 0 for one in up),
        served=any(one.served for one in places),
        since_ms=max((one.since_ns // MS_NS for one in known if one.since_ns), default=None),
        newest_ms=max(one.newest_ns for one in places) // MS_NS,
        open=_open(incidents.values()),
        figures=figures(heard),
    )


def _open(incidents: Iterable[IncidentView]) -> Open:
    counts = {"info": 0, "warning": 0, "critical": 0}
    for one in incidents:
        counts[one.severity] = counts.get(one.severity, 0) + 1
    return Open(counts["info"], counts["warning"], counts["critical"])


def _instance(fleet: _Fleet, place: Place) -> InstanceView:
    key = place.key
    up = place.told.gauges.get("up")
    return InstanceView(
        agent=place.agent,
        host=fleet.hosts.get(place.agent, (place.agent, True))[0],
        silent=fleet.is_silent(place.agent),
        endpoint=key.endpoint,
        server=key.server,
        layer=key.layer,
        model=key.model,
        version=key.version,
        up=None if up is None else up > 0,
        served=place.served,
        newest_ms=place.newest_ns // MS_NS,
        open=_open(fleet.about(place)),
        figures=figures([place]),
        facts=_facts(fleet.servers.get((place.agent, key.endpoint)), key),
    )


def _facts(server: _Server | None, key: ModelKey) -> ServerFacts | None:
    if server is None:
        return None
    said = server.facts.get("vedette.model.blind")
    blind = tuple(one for one in said if isinstance(one, str)) if isinstance(said, list) else ()
    return ServerFacts(
        time_ms=server.time_ns // MS_NS,
        title=server.title,
        since_ms=server.since_ns // MS_NS or None,
        facts=server.facts,
        blind=blind or tellable(key.server, key.layer).blind,
    )


def _columns(some: Iterable[ModelFigures]) -> tuple[str, ...]:
    names = ("ttft", "kv", "tokens_out", "drift", "burn", "budget")
    found: set[str] = set()
    for one in some:
        found.update(name for name in names if getattr(one, name) is not None)
    return tuple(name for name in names if name in found)


def _matches(one: ModelView, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = "\n".join((one.model, one.version, one.server, one.layer, *one.names, *one.releases))
    text = text.casefold()
    return all(word in text for word in words)


def _order(one: ModelView) -> tuple[bool, float, float, str, str, str]:
    """What needs attention first: incidents, servers that are down, errors, budgets.

    A name that is not served comes last, unless that is the server's own doing.
    """
    figured = one.figures
    trouble = one.open.critical * 1e6 + one.down * 1e5 + one.open.warning * 1e4 + one.silent * 1e3
    trouble += 1e3 * max(0.0, (figured.burn or 0.0) - 1.0)
    trouble += 1e4 * (figured.errors or 0.0) if (figured.errors or 0.0) >= 0.01 else 0.0
    trouble += one.open.info * 10
    idle = not one.served and not trouble
    return idle, -trouble, -(figured.rate or 0.0), one.model, one.server, one.layer
