"""What the page of models costs the receiver: 100 hosts with 10 models each, all of them different.

    PYTHONPATH=agent python tests/bench/models_page.py [--same]

Reports are made by the agent's encoder and stored by the receiver's store. ``--same``: the hosts
serve the same ten models. Told are CPU times: of storing a request, and of an answer of all rows.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "receiver"))

from model_teller import UP, ModelTeller

from vedette.receiver import wire
from vedette.receiver.assemble import Origin, assemble
from vedette.receiver.limits import Limits
from vedette.receiver.pages import Pages, answer
from vedette.receiver.store import Store

HOSTS, MODELS, WINDOWS, ANSWERS = 100, 10, 7, 9
NOW = 1_800_000_000 * 10**9
BOUNDS = tuple(0.01 * 1.4**step for step in range(22))
LIMITS = Limits()


class Sink:
    """Stores requests as the receiver does, and counts the CPU that this takes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.spent_s = 0.0
        self.requests = 0

    def __call__(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        signal = "metrics" if path.endswith("metrics") else "logs"
        parsed = wire.decode(signal, wire.PROTOBUF, gzip.decompress(body), LIMITS)
        identity = wire.parse_batch_header(headers["vedette-batch"])
        batches = assemble(parsed, Origin(signal, identity, NOW, None, body), LIMITS)
        began_s = time.process_time()
        self.store.submit(*batches).result()
        self.spent_s += time.process_time() - began_s
        self.requests += 1
        return 200, ""


def report(host: ModelTeller, number: int, same: bool) -> None:
    """Post all windows of a host and the records of its servers."""
    for back in range(WINDOWS - 1, -1, -1):
        for at in range(MODELS):
            name = f"model-{at}" if same else f"model-{number}-{at}"
            place = {"model": name, "endpoint": f"127.0.0.1:{8000 + at}"}
            done = float((WINDOWS - back) * (at + 1))
            host.say("vedette.model.requests", done * 10, outcome="ok", **place)
            host.say("vedette.model.requests", done, outcome="server_error", **place)
            host.say("vedette.model.tokens", done * 100, type="output", **place)
            host.say("vedette.model.requests.waiting", done % 7, **place)
            host.say("vedette.model.kv_cache.utilization", 0.1 * at, **place)
            host.say(UP, 1, **place)
            for timed in ("gen_ai.server.time_to_first_token", "gen_ai.server.request.duration"):
                host.time(timed, [at + 1] * (len(BOUNDS) + 1), BOUNDS, **place)
        host.report(back)
    for at in range(MODELS):
        host.record(endpoint=f"127.0.0.1:{8000 + at}")


def main() -> None:
    """Store, answer, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--same", action="store_true", help="the same models on all hosts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "r.db", clock_ns=lambda: NOW, commit_delay_s=0)
        sink = Sink(store)
        for number in range(HOSTS):
            agent = str(uuid.UUID(int=number))
            report(ModelTeller(sink, agent, NOW, f"gpu-{number}"), number, given.same)
        (size,) = store.connection.execute("SELECT avg(length(state)) FROM model_state").fetchone()
        pages = Pages(store)
        spent = []
        for _ in range(ANSWERS):
            began_s = time.process_time()
            body = answer(pages.model_reader.models("", 2_000)).body
            spent.append((time.process_time() - began_s) * 1e3)
        spent.sort()
        pages.close()
        store.close()
    print(f"store: {sink.spent_s / sink.requests * 1e3:.2f} ms a request, {size:.0f} B a model")
    print(f"answer: {spent[len(spent) // 2]:.0f} ms ({spent[0]:.0f} to {spent[-1]:.0f})")
    print(f"its size: {len(body) // 1024} KiB before gzip")


if __name__ == "__main__":
    main()
