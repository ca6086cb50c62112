"""Find the pages of model servers on this host, gently: few requests, to local addresses only.

Who listens is read from the kernel. A listener whose process is called like a model server, or a
Python, Java or Node program on a port that is usual for one, is asked for its metrics with one GET,
with a limit of time and size; what has no page of metrics is asked again ever more seldom, and
never again when it says that nobody may (401, 403). What has one that is not known yet is asked
again each minute: some say what they are only after their first request (LitServe). What has none
may be known by an info endpoint (Ollama). A process that was asked is known by its number and its
start, so a restart is asked anew at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from vedette.exposition.scrape import Answer, Scraper, Target
from vedette.exposition.wire import NoPage
from vedette.serving.asking import ask
from vedette.serving.candidates import Candidate, candidate
from vedette.serving.listening import Listener, Listening

#: A request's limits.
TIMEOUT_S, BYTES_MAX = 2.0, 4 << 20
#: Pauses between questions that found nothing: doubled from the first to the last.
FIRST_PAUSE_S, LAST_PAUSE_S = 10.0, 3600.0
#: The longest one where there is a page, of nobody that is known.
PAGE_PAUSE_S = 60.0
#: Info endpoints that are asked what a server is.
INFO_MAX = 2
#: Requests in one look, and seconds after which none is begun: a host full of listeners is asked
#: over several looks, and those that keep silent cannot make one of them long.
REQUESTS_MAX, REQUESTING_S = 12, 4.0
_FORBIDDEN = (401, 403)


class Found(msgspec.Struct, frozen=True):
    """A page: where it is, whose, and what led to it. ``server`` is a guess before it is read.

    ``has_page`` is False where only an info endpoint, which is the URL then, tells of it.
    """

    url: str
    candidate: Candidate
    has_page: bool = True

    @property
    def listener(self) -> Listener:
        """Who has it."""
        return self.candidate.listener


class Asked(msgspec.Struct):
    """What came of asking a listener: when it is asked again, why it was nothing, how often."""

    due_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    why: str = ""
    requests: int = 0


class Discovery:
    """What was found so far; one thread.

    ``fetch`` gets a page, ``is_wanted`` says if it is one; ``is_ignored`` places are not asked.
    ``confirm`` asks info endpoints and returns the path of the one that told what it is.
    Asked first are those that never were, on a usual port: a server opens many ports, and a host
    has many servers. One page of a process is enough: its other ports would count as errors what is
    asked of them (TorchServe does), or tell the same again.
    """

    def __init__(
        self,
        listening: Listening,
        is_wanted: Callable[[Answer, Candidate], bool],
        fetch: Callable[[str], Answer] | None = None,
        is_ignored: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
        confirm: Callable[[Candidate], str] = lambda _: "",
    ) -> None:
        self._listening = listening
        self._is_wanted = is_wanted
        self._fetch = fetch or _get
        self._is_ignored = is_ignored
        self._clock = clock
        self._confirm = confirm
        #: The last look ended at its bounds before all were asked that are due.
        self.is_unfinished = False
        self.found: dict[str, Found] = {}
        #: What was asked and is none, by its place, with the reason.
        self.refused: dict[str, str] = {}
        self._asked: dict[tuple[str, int, int], Asked] = {}

    def look(self, now_s: float) -> tuple[list[Found], list[Found]]:
        """Return what came and what went since the last look; ``now_s`` is monotonic."""
        self.is_unfinished = False
        candidates = [
            one
            for listener in self._listening.look()
            if (one := candidate(listener)) is not None and not self._is_ignored(listener.place)
        ]
        here = {_identity(one): one for one in candidates}
        gone = [one for one in self.found.values() if _identity(one.candidate) not in here]
        for lost in gone:
            del self.found[lost.url]
        self._asked = {key: asked for key, asked in self._asked.items() if key in here}
        places = {one.listener.place for one in candidates}
        self.refused = {place: why for place, why in self.refused.items() if place in places}
        known = {_identity(one.candidate) for one in self.found.values()}
        owners = {one.listener.process for one in self.found.values()} - {None}
        came: list[Found] = []
        left, ends_s = REQUESTS_MAX, self._clock() + REQUESTING_S
        for key, one in sorted(here.items(), key=self._turn):
            asked = self._asked.setdefault(key, Asked())
            if key in known or one.listener.process in owners or asked.due_s > now_s:
                continue
            if left <= 0 or self._clock() >= ends_s:
                self.is_unfinished = True
                break
            before = asked.requests
            new = self._ask(one, asked, now_s)
            left -= asked.requests - before
            if new is not None:
                came.append(new)
                self.found[new.url] = new
                owners |= {one.listener.process} - {None}
                self.refused.pop(one.listener.place, None)
            else:
                self.refused[one.listener.place] = asked.why
        return came, gone

    def _turn(self, item: tuple[tuple[str, int, int], Candidate]) -> tuple[float, bool, int]:
        """Return what sorts candidates: when each is due, then if a page there is likely."""
        key, one = item
        asked = self._asked.get(key)
        return asked.due_s if asked else 0.0, not one.usual, one.listener.port

    def _ask(self, one: Candidate, asked: Asked, now_s: float) -> Found | None:
        asked.why = "it has no page of metrics by itself" if not one.paths else ""
        forbidden = False
        # Without paths nobody knows yet whether HTTP is spoken there.
        speaks = not one.paths
        page = ""
        for path in one.paths:
            url = f"http://{one.listener.place}{path}"
            asked.requests += 1
            try:
                answer = self._fetch(url)
            except NoPage as error:
                asked.why = str(error)
                forbidden = forbidden or error.status in _FORBIDDEN
                speaks = speaks or bool(error.status)
                continue
            speaks = True
            if self._is_wanted(answer, one):
                return Found(url, one)
            page = page or url
            asked.why = "its page is none of a model server that is known"
        # A server's page may be on another of its ports, which may not be open yet.
        is_early = bool(one.server and one.paths) and asked.pause_s <= FIRST_PAUSE_S
        if one.info and speaks and not forbidden and not is_early:
            asked.requests += len(one.info[:INFO_MAX])
            told = self._confirm(one)
            if told:
                return Found(page or f"http://{one.listener.place}{told}", one, bool(page))
        asked.due_s = float("inf") if forbidden else now_s + asked.pause_s
        asked.pause_s = min(asked.pause_s * 2, PAGE_PAUSE_S if page else LAST_PAUSE_S)
        return None


def confirmed(candidate: Candidate) -> str:
    """Ask what has no page of metrics; return the path that tells what it is, empty for none."""
    base = f"http://{candidate.listener.place}"
    infos = [info for path in candidate.info[:INFO_MAX] if (info := ask(base, path)) is not None]
    if not infos:
        return ""
    from vedette.serving.recognise import recognise

    who = recognise(None, (), infos, near=False)
    if who.adapter is not None and candidate.server in ("", who.server):
        return infos[0].endpoint
    # It has no model yet, and is called like it: that it answers there is enough.
    return infos[0].endpoint if not candidate.paths else ""


def _identity(one: Candidate) -> tuple[str, int, int]:
    process = one.listener.process
    if process is None:
        return one.listener.place, 0, 0
    return one.listener.place, process.pid, process.started


def _get(url: str) -> Answer:
    scraper = Scraper(Target(url, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX))
    try:
        return scraper.fetch()
    finally:
        scraper.close()
