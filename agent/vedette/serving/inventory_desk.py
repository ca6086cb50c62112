"""Keep the inventories of all model servers of a host, and what they are made with.

It knows who listens, asks and looks for each server by its ``Watch``, and has the files' digests
reckoned. An inventory is known by its endpoint and outlives the process that serves there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vedette.serving.asking import Method, Reply, request
from vedette.serving.digests import Digests
from vedette.serving.discovery import TIMEOUT_S
from vedette.serving.inventory import Holder
from vedette.serving.inventory_asking import Questions, siblings
from vedette.serving.inventory_files import Files
from vedette.serving.inventory_holder import Whose, group, holder
from vedette.serving.inventory_watch import Watch
from vedette.serving.listening import Listener, Listening, Process
from vedette.serving.settings import ModelServersConfig


class Desk:
    """The inventories; one thread, but ``watch`` may be read from another."""

    def __init__(
        self,
        config: ModelServersConfig,
        proc: str,
        state_dir: str,
        whose: Whose,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._proc = proc
        self._whose = whose
        self._listening: Listening | None = None
        #: Who listened at the last look.
        self.listeners: list[Listener] = []
        self._watches: dict[str, Watch] = {}
        self._digests: Digests | None = None
        self._files: Files | None = None
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
            questions = Questions(endpoint, _fetched, index=self._config.repository_index)
            found = self._watches[endpoint] = Watch(endpoint, questions, self._files, self._held)
        return found

    def look(self) -> None:
        """Look who listens, where nobody else does."""
        self._listening = self._listening or Listening(self._proc)
        self.listeners = self._listening.look()

    def know_processes(self, wall_ns: int) -> None:
        """Find who has each endpoint, if not known yet, and where else that one listens."""
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
            watch.questions.siblings, watch.questions.others = mine, others

    def process_at(self, endpoint: str) -> Process | None:
        """Return who listens at an endpoint; None where that is not known."""
        return next((one.process for one in self.listeners if one.place == endpoint), None)

    def step(self) -> None:
        """Reckon digests a little further."""
        if self._digests is not None:
            self._digests.step()

    def forget(self, endpoint: str) -> None:
        """Let go of a server."""
        watch = self._watches.pop(endpoint, None)
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """Let go of files, and save what was reckoned."""
        if self._digests is not None:
            self._digests.close()

    def _held(self, process: Process, wall_ns: int) -> Holder:
        return holder(process, wall_ns, self._proc, self._whose)


def _fetched(base: str, path: str, method: Method) -> Reply:
    return request(base, path, method=method, timeout_s=TIMEOUT_S)
