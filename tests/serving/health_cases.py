"""A vLLM whose state a test sets, and the way from its pages to incidents: all of it but a clock.

The page has the names, labels and bounds of the real one (``vllm-0.32.0``), with numbers of a
little simulation: it takes requests in, works on so many at once, and may stop doing so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vedette.api import Event, Incident, Sample, Series, Window
from vedette.correlate import Correlator
from vedette.decide import Decider
from vedette.exposition.scrape import Answer
from vedette.exposition.wire import NoPage
from vedette.serving.health import Health
from vedette.serving.served import Served
from vedette.serving.slo import Slo
from vedette_plugins.model_health import ModelHealth, ModelHealthConfig

S = 1_000_000_000
START_S = 1_795_183_200
TIMES = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
FIRSTS = (0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 40.0, 160.0)
GAPS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LENGTHS = (1.0, 10.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Buckets:
    """A histogram of a page."""

    def __init__(self, name: str, bounds: Sequence[float]) -> None:
        self.name, self.bounds = name, bounds
        self.counts = [0.0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, count: float = 1.0) -> None:
        at = next((i for i, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[at] += count
        self.sum += value * count

    def lines(self, label: str) -> Iterable[str]:
        yield f"# TYPE {self.name} histogram"
        running = 0.0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            running += count
            yield f'{self.name}_bucket{{{label},le="{bound}"}} {running}'
        yield f"{self.name}_sum{{{label}}} {self.sum}"
        yield f"{self.name}_count{{{label}}} {running}"


@dataclass
class Engine:
    """One vLLM: ``work`` lets requests come and be worked on for a while."""

    slots: int = 4
    work_s: float = 2.0
    model: str = "toy"
    started_s: float = START_S - 5_000
    waiting: float = 0.0
    running: float = 0.0
    kv: float = 0.1
    preempted: float = 0.0
    queries: float = 0.0
    hits: float = 0.0
    blocks: int = 1000
    tokens: float = 0.0
    ends: dict[str, float] = field(default_factory=dict)
    statuses: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times = Buckets("vllm:e2e_request_latency_seconds", TIMES)
        self.queued = Buckets("vllm:request_queue_time_seconds", TIMES)
        self.firsts = Buckets("vllm:time_to_first_token_seconds", FIRSTS)
        self.gaps = Buckets("vllm:inter_token_latency_seconds", GAPS)
        self.asked = Buckets("vllm:request_prompt_tokens", LENGTHS)
        self.made = Buckets("vllm:request_generation_tokens", LENGTHS)

    def work(
        self, seconds: float, arrivals: float, *, length: float = 80, gap: float = 0.02
    ) -> None:
        """Let requests arrive and be finished, first come first served."""
        room = self.slots * seconds / self.work_s
        there = self.waiting + arrivals
        done = min(there, room)
        waited = self.waiting / self.slots * self.work_s
        self.waiting = max(0.0, round(there - room))
        self.running = min(self.slots, round(there))
        self.finish(done, waited, length=length, gap=gap)

    def finish(
        self, done: float, waited: float = 0.0, *, length: float = 80, gap: float = 0.02
    ) -> None:
        self.ends["stop"] = self.ends.get("stop", 0.0) + done
        self.statuses["2xx"] = self.statuses.get("2xx", 0.0) + done
        self.tokens += done * length
        if done:
            self.times.observe(waited + self.work_s, done)
            self.queued.observe(waited, done)
            self.firsts.observe(waited + 0.08, done)
            self.gaps.observe(gap, done * length)
            self.asked.observe(60, done)
            self.made.observe(length, done)

    def refuse(self, status: str, count: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0.0) + count

    def page(self) -> bytes:
        label = f'engine="0",model_name="{self.model}"'
        gauges = {
            "num_requests_running": self.running,
            "num_requests_waiting": self.waiting,
            "kv_cache_usage_perc": self.kv,
        }
        counters = {
            "num_preemptions_total": self.preempted,
            "generation_tokens_total": self.tokens,
            "prefix_cache_queries_total": self.queries,
            "prefix_cache_hits_total": self.hits,
        }
        lines = ["# TYPE process_start_time_seconds gauge"]
        lines.append(f"process_start_time_seconds {self.started_s}")
        for name, value in gauges.items():
            lines += [f"# TYPE vllm:{name} gauge", f"vllm:{name}{{{label}}} {value}"]
        for name, value in counters.items():
            lines += [f"# TYPE vllm:{name} counter", f"vllm:{name}{{{label}}} {value}"]
        lines.append("# TYPE vllm:request_success_total counter")
        for reason in ("stop", "length", "abort", "error"):
            count = self.ends.get(reason, 0.0)
            lines.append(
                f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {count}'
            )
        lines.append("# TYPE vllm:admission_rejections_total counter")
        rejected = self.ends.get("rejected", 0.0)
        lines.append(
            f'vllm:admission_rejections_total{{model_name="{self.model}",reason="x"}} {rejected}'
        )
        lines.append("# TYPE vllm:cache_config_info gauge")
        lines.append(f'vllm:cache_config_info{{engine="0",num_gpu_blocks="{self.blocks}"}} 1')
        lines.append("# TYPE http_requests_total counter")
        for status, count in self.statuses.items():
            where = f'handler="/v1/completions",method="POST",status="{status}"'
            lines.append(f"http_requests_total{{{where}}} {count}")
        for one in (self.times, self.queued, self.firsts, self.gaps, self.asked, self.made):
            lines += one.lines(label)
        return ("\n".join(lines) + "\n").encode()


class Host:
    """Servers, read every ten seconds, and what is made of it up to incidents."""

    def __init__(self, *slos: Slo, state_dir: str = "", at_s: float = 0.0) -> None:
        self.now_s = at_s
        self.health = Health(slos, state_dir)
        self.pages: dict[str, bytes | NoPage] = {}
        self.servers: dict[str, Served] = {}
        self.detector = ModelHealth(ModelHealthConfig())
        self.decider, self.correlator = Decider(), Correlator()
        self.told: dict[Series, float] = {}
        self.events: list[str] = []
        self.opened: list[tuple[float, Incident]] = []
        self._rows: dict[Series, int] = {}

    def serve(self, page: bytes | NoPage, endpoint: str = "127.0.0.1:8000") -> None:
        """Set what a server answers."""
        self.pages[endpoint] = page
        if endpoint not in self.servers:
            self.start_again(endpoint)

    def start_again(self, endpoint: str = "127.0.0.1:8000") -> None:
        """Let another process take the place of a server."""

        def fetch() -> Answer:
            page = self.pages[endpoint]
            if isinstance(page, NoPage):
                raise page
            return Answer(page, False, "text/plain; version=0.0.4", len(page), 0.0)

        self.servers[endpoint] = Served(endpoint, fetch, lambda _: [], began_s=self.now_s)

    def tick(self, seconds: float = 10.0) -> dict[Series, float]:
        self.now_s += seconds
        wall_ns = round((START_S + self.now_s) * S)
        self.told = {}
        for one in self.servers.values():
            said = one.read(self.now_s, wall_ns)
            self.events += said.changes
            found = [*said.samples, *self.health.step(one, said, self.now_s, wall_ns)]
            for sample in found:
                if isinstance(sample, Sample):
                    self.told[sample.series] = sample.value
                elif isinstance(sample, Event):
                    self.events.append(sample.text)
            self.told[self._silence(one)] = 0.0 if one.up else self.now_s - one.page_s
        self._judge(wall_ns)
        return self.told

    @staticmethod
    def _silence(one: Served) -> Series:
        from vedette.serving.collector import ModelServers

        return ModelServers.silence.series(one.endpoint, one.server)

    def _judge(self, wall_ns: int) -> None:
        for series in self.told:
            self._rows.setdefault(series, len(self._rows))
        values = np.full((len(self._rows), 1), np.nan, dtype=np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
            for series, value in self.told.items():
                values[self._rows[series], 0] = value
        window = Window(np.array([wall_ns]), values, list(self._rows), len(self._rows))
        scores = self.detector.score(window, {})
        changes = self.decider.step(self.detector, scores, window, {})
        for change in self.correlator.step(wall_ns, changes):
            if change.change == "opened":
                self.opened.append((self.now_s, change.incident))

    def value(self, name: str, **more: str) -> float:
        """Return the only reading of a series; ``more`` are ends of attributes' names."""
        found = [
            value
            for series, value in self.told.items()
            if series.instrument.name == name
            and all(
                any(key.endswith(end) and text == want for key, text in _pairs(series))
                for end, want in more.items()
            )
        ]
        (value,) = found
        return value

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        return {s.values: v for s, v in self.told.items() if s.instrument.name == name}

    @property
    def titles(self) -> list[str]:
        return [one.title for one in self.correlator.incidents]


def _pairs(series: Series) -> Iterable[tuple[str, str]]:
    return zip(series.instrument.attributes, series.values, strict=True)
