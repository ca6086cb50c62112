"""Keep the list of the model servers that are read: which there are, and which are gone.

Who listens is looked at each ``LOOK_S``, and at the next tick where a look ended before all were
asked. A server whose process is gone is still read, for ``MISSED_S``, unless another takes its
place: one that was killed has to be seen. One that answered for less than ``SETTLED_S`` is not
missed, a trial or a test, unless it was started again before. What reads and tells servers (the
teller) is called for with the first one: on a host without any it is never loaded.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vedette.exposition.scrape import Answer
from vedette.serving.candidates import Candidate
from vedette.serving.discovery import Discovery, Found, confirmed
from vedette.serving.listening import Listener, Listening
from vedette.serving.settings import ModelServersConfig

if TYPE_CHECKING:
    from vedette.serving.served import Served
    from vedette.serving.teller import Teller

log = logging.getLogger(__name__)

LOOK_S = 30.0
SERVERS_MAX = 32
MISSED_S = 1_800.0
SETTLED_S = 120.0


class Roster:
    """The servers, by the address of their page; one thread, but ``servers`` may be read by others.

    ``clock`` is monotonic.
    """

    def __init__(
        self,
        config: ModelServersConfig,
        listening: Listening,
        teller: Callable[[], Teller],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._listening = listening
        self._teller = teller
        self._clock = clock
        self._ignored = [re.compile(fnmatch.translate(one)) for one in config.ignore]
        self._discovery = Discovery(
            listening, _is_wanted, is_ignored=self.is_ignored, confirm=confirmed
        )
        self._began_s = clock()
        self._look_s = float("-inf")
        self._served: dict[str, Served] = {}
        self._gone_s: dict[str, float] = {}
        #: Servers that are gone and not missed, and those that came again.
        self._brief: set[str] = set()
        self._again: set[str] = set()
        #: Why servers that are only told of may be some, by the address of their page.
        self.proposed: dict[str, str] = {}

    @property
    def servers(self) -> list[Served]:
        """All that are read."""
        return list(self._served.values())

    @property
    def missed(self) -> list[Served]:
        """Those whose state is told: all but those that are gone and were there only briefly."""
        return [one for url, one in self._served.items() if url not in self._brief]

    @property
    def refused(self) -> dict[str, str]:
        """What was asked and is no model server, with the reason."""
        return dict(self._discovery.refused)

    def is_ignored(self, place: str) -> bool:
        """Say whether a place is not to be asked for anything."""
        return any(one.match(place) for one in self._ignored)

    def is_due(self, now_s: float) -> bool:
        """Say whether it is time to look."""
        return self._discovery.is_unfinished or now_s - self._look_s >= LOOK_S

    def look(self, now_s: float) -> None:
        """See which servers there are."""
        self._look_s = now_s
        for url in self._config.pages:
            if url not in self._served:
                self._served[url] = self._teller().take(url, "", now_s)
        if self._config.discover != "off":
            self._discover(now_s)
        for url, gone_s in list(self._gone_s.items()):
            if now_s - gone_s > MISSED_S:
                self._forget(url)
        if self._served:
            self._teller().know_processes(self._listeners())

    def close(self) -> None:
        """Let go of all of them."""
        for url in list(self._served):
            self._drop(url)

    def _listeners(self) -> Sequence[Listener]:
        """Return who listens, which discovery has just looked at, where it does."""
        if self._config.discover != "off":
            return self._listening.newest
        return self._listening.look() if self._config.inventory else ()

    def _discover(self, now_s: float) -> None:
        came, gone = self._discovery.look(now_s)
        for found in gone:
            served = self._served.get(found.url)
            if served is not None:
                self._gone_s[found.url] = now_s
                if self._was_brief(served, found):
                    self._brief.add(found.url)
        for found in came:
            if self._config.discover == "propose":
                self.proposed[found.url] = found.candidate.why
                log.info("model server found url=%s why=%r", found.url, found.candidate.why)
            else:
                self._add(found, now_s)

    def _was_brief(self, served: Served, found: Found) -> bool:
        """Say whether a server that ended had just been started, for the first time."""
        process = found.listener.process
        if found.url in self._again:
            return False
        young = process is None or self._teller().desk.is_younger(process, SETTLED_S)
        return young and served.answered_s < SETTLED_S

    def _add(self, found: Found, now_s: float) -> None:
        """Take up a server; one that is new where another was is a restart."""
        url = found.url
        again = self._gone_s.pop(url, None) is not None
        self._brief.discard(url)
        if again:
            self._again.add(url)
        before = self._served.get(url)
        if before is not None:
            self._drop(url)
        if len(self._served) >= SERVERS_MAX:
            log.warning("model server left out, there are too many url=%s", url)
            return
        server = found.candidate.server
        teller = self._teller()
        served = self._served[url] = teller.take(url, server, now_s, has_page=found.has_page)
        if before is not None and server in ("", before.server):
            served.who = before.who  # until its page says who it is now
        log.info("model server found url=%s why=%r", url, found.candidate.why)
        looking_s = self._clock() - self._began_s
        teller.note_found(served.endpoint, found.listener.process, looking_s, again=again)

    def _drop(self, url: str) -> None:
        served = self._served.pop(url, None)
        self._gone_s.pop(url, None)
        if served is not None:
            served.close()

    def _forget(self, url: str) -> None:
        served = self._served.get(url)
        self._drop(url)
        self._brief.discard(url)
        self._again.discard(url)
        if served is not None:
            self._teller().forget(served.endpoint)


def _is_wanted(answer: Answer, candidate: Candidate) -> bool:
    """Say whether a page is one of a model server."""
    from vedette.serving.recognise import recognise, seen

    page, names = seen(answer.body, openmetrics=answer.openmetrics)
    who = recognise(page, names, near=False)
    # A page may be empty before the first request; who has it says what it is.
    return who.adapter is not None or (bool(candidate.server) and not page.sizes.series)
