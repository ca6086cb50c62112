"""Keep the inventories of all model servers of a host, and what they are made with.

It knows who listens, asks and looks for each server by its ``Watch``, and has the files' digests
reckoned. An inventory is known by its endpoint and outlives the process that serves there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vedette.serving.asking import Method, Reply, request
from vedette.serving.digests import Digests
from vedette.serving.discovery import TIMEOUT_S
from vedette.serving.inventory import Holder, as_record, shown
from vedette.serving.inventory_asking import Questions, siblings
from vedette.serving.inventory_files import Files
from vedette.serving.inventory_holder import Whose, age_s, group, holder, is_stopped
from vedette.serving.inventory_kept import Kept
from vedette.serving.inventory_watch import Seen, Watch
from vedette.serving.listening import Listener, Process
from vedette.serving.served import Served
from vedette.serving.settings import ModelServersConfig

#: What is known is kept so often, and at the end.
SAVE_S = 120.0


class Desk:
    """The inventories; one thread, but ``watch`` may be read from another."""

    def __init__(
        self,
        config: ModelServersConfig,
        proc: str,
        state_dir: str,
        *,
        whose: Whose,
        is_ignored: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._proc = proc
        self._whose = whose
        self._is_ignored = is_ignored
        #: Who listened at the last look.
        self.listeners: Sequence[Listener] = ()
        self._watches: dict[str, Watch] = {}
        self._digests: Digests | None = None
        self._files: Files | None = None
        self._kept = Kept(Path(state_dir) if state_dir else None)
        self._before = self._kept.load() if config.inventory else {}
        self._saved_s = clock()
        self._clock = clock
        if config.inventory:
            if config.digests == "on":
                directory = Path(state_dir) if state_dir else None
                self._digests = Digests(directory, config.digest_rate, clock)
            self._files = Files(
                self._digests, config.digests, network=config.network_files, proc=proc
            )

    @property
    def left_bytes(self) -> int:
        """Bytes of files whose digest is still to be reckoned."""
        return self._digests.left_bytes if self._digests is not None else 0

    def watch(self, endpoint: str) -> Watch:
        """Return what is known of the server at an endpoint."""
        found = self._watches.get(endpoint)
        if found is None:
            questions = Questions(
                endpoint,
                _fetched,
                index=self._config.repository_index,
                is_ignored=self._is_ignored,
            )
            found = self._watches[endpoint] = Watch(
                endpoint, questions, self._files, self._held, self._before.pop(endpoint, None)
            )
        return found

    def know_processes(self, listeners: Sequence[Listener], wall_ns: int) -> None:
        """Find who has each endpoint, if not known yet, and where else that one listens."""
        self.listeners = listeners
        groups: dict[int, int] = {}

        def group_of(pid: int) -> int:
            if pid not in groups:
                groups[pid] = group(pid, self._proc)
            return groups[pid]

        for endpoint, watch in self._watches.items():
            process = self.process_at(endpoint)
            if watch.process is None and process is not None:
                watch.take(process, wall_ns)
            mine, others = siblings(self.listeners, watch.process, group_of)
            watch.questions.siblings = [one for one in mine if not self._is_ignored(one)]
            watch.questions.others = others

    def process_at(self, endpoint: str) -> Process | None:
        """Return who listens at an endpoint; None where that is not known."""
        return next((one.process for one in self.listeners if one.place == endpoint), None)

    def is_younger(self, process: Process | None, seconds: float) -> bool:
        """Say whether a process was started less than so long ago."""
        age = None if process is None else age_s(process, self._proc)
        return age is not None and age < seconds

    def is_stopped(self, endpoint: str) -> bool:
        """Say whether the process that serves there is stopped."""
        process = self.watch(endpoint).process
        return process is not None and is_stopped(process.pid, self._proc)

    def refresh(self, one: Served, now_s: float, wall_ns: int) -> list[str]:
        """Look what a server serves; return what changed."""
        if not self._config.inventory or one.who.adapter is None:
            return []
        watch = self.watch(one.endpoint)
        seen = Seen(one.models, one.kv_tokens)
        changes = watch.refresh(one.server, seen, now_s, wall_ns)
        one.version = watch.inventory.version
        return changes

    def names(self, one: Served) -> list[str]:
        """Return the names of a server's models, as it tells them, or as its page does."""
        models = self.watch(one.endpoint).inventory.models
        return [f"{x.name} {x.version}".strip() for x in models if x.is_served] or list(one.models)

    def as_record(self, endpoint: str) -> dict[str, Any]:
        """Return a server's inventory for a record."""
        return as_record(self.watch(endpoint).inventory)

    def shown(self, one: Served) -> dict[str, Any]:
        """Return all that is known of a server, for JSON."""
        return {
            "endpoint": one.endpoint,
            "server": one.server,
            "title": one.title,
            "up": one.up,
            "reason": one.reason,
            "since": one.since_ns,
            "models": self.names(one),
            "confidence": one.who.confidence,
            "evidence": list(one.who.evidence),
            "missing": list(one.missing),
            "blind": list(one.blind),
            "cut": one.cut,
            "inventory": shown(self.watch(one.endpoint).inventory),
        }

    def step(self) -> None:
        """Reckon digests a little further; keep what is known now and then."""
        if self._digests is not None:
            self._digests.step()
        if self._config.inventory and self._clock() - self._saved_s >= SAVE_S:
            self._save()

    def forget(self, endpoint: str) -> None:
        """Let go of a server."""
        watch = self._watches.pop(endpoint, None)
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Let go of files, and save what is known."""
        if self._digests is not None:
            self._digests.close()
        if self._config.inventory:
            self._save()

    def _save(self) -> None:
        self._saved_s = self._clock()
        # Those that were not found yet are still known.
        known = {place: one.inventory for place, one in self._watches.items()}
        self._kept.save({**self._before, **known})

    def _held(self, process: Process, wall_ns: int) -> Holder:
        return holder(process, wall_ns, self._proc, self._whose)


def _fetched(base: str, path: str, method: Method) -> Reply:
    return request(base, path, method=method, timeout_s=TIMEOUT_S)
