"""A model server that gets slow, as a child process makes it: a page, and a queue behind it.

No model runs and no request comes in: requests arrive in the reckoning, at an even rate, and are
served at a rate that falls while the fault is on, so that the queue and with it the latency rise,
and fall again afterwards. The page has the names and labels that vLLM's has, and the process says
on its command line what it is like, so that whoever finds and reads those finds and reads this.
"""

from __future__ import annotations

import http.server
import time

from vedette.drills.task import Phase, Task

__all__ = ["Queue", "page", "serve"]

#: Requests a second: that come, that are served when all is well, and when not.
ARRIVALS, SERVED, SERVED_SLOW = 8.0, 24.0, 2.0
#: Most that wait: what comes then is turned away.
LONGEST = 500.0
#: Requests served at the same time, so a request takes so many times the pace of the server.
AT_ONCE = 4.0
TOKENS = 120
#: Seconds, the bounds of the latency's histogram.
BOUNDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
STEP_S = 0.5
LABELS = 'engine="0",model_name="vedette-drill"'


class Queue:
    """Requests that wait and were served, reckoned as a flow, step by step."""

    def __init__(self) -> None:
        self.waiting = 0.0
        self.served = 0.0
        self.refused = 0.0
        self.latency_sum = 0.0
        self.buckets = [0.0] * (len(BOUNDS) + 1)

    def pass_time(self, seconds: float, *, slow: bool) -> None:
        """Let requests come and go for so long; those of one step are given one latency."""
        pace = SERVED_SLOW if slow else SERVED
        room = self.waiting + ARRIVALS * seconds
        done = min(room, pace * seconds)
        self.waiting = min(room - done, LONGEST)
        self.refused += room - done - self.waiting
        latency = (AT_ONCE + self.waiting) / pace
        self.served += done
        self.latency_sum += done * latency
        place = sum(1 for bound in BOUNDS if latency > bound)
        self.buckets[place] += done


def page(queue: Queue) -> str:
    """Return the queue as a Prometheus page."""
    running = min(AT_ONCE, queue.waiting + AT_ONCE * ARRIVALS / SERVED)
    lines = [
        *_metric("num_requests_running", "gauge", round(running)),
        *_metric("num_requests_waiting", "gauge", round(queue.waiting)),
        *_metric("kv_cache_usage_perc", "gauge", 0.2 + 0.7 * queue.waiting / LONGEST),
        *_metric("generation_tokens_total", "counter", int(queue.served) * TOKENS),
        *_metric("request_success_total", "counter", int(queue.served), 'finished_reason="stop"'),
        "# TYPE vllm:e2e_request_latency_seconds histogram",
    ]
    total = 0.0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), queue.buckets, strict=True):
        total += count
        bucket = f'{{{LABELS},le="{bound}"}}'
        lines.append(f"vllm:e2e_request_latency_seconds_bucket{bucket} {int(total)}")
    lines.append(f"vllm:e2e_request_latency_seconds_sum{{{LABELS}}} {queue.latency_sum:.6f}")
    lines.append(f"vllm:e2e_request_latency_seconds_count{{{LABELS}}} {int(total)}")
    return "\n".join(lines) + "\n"


def serve(task: Task) -> None:
    """Show the page on a port of 127.0.0.1; be slow while the fault is on."""
    phase, queue = Phase(), Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 2

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = page(queue).encode() if found else b"see /metrics\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Write no access log."""

    class Server(http.server.HTTPServer):
        request_queue_size = 128  # that two may wait is no trouble of this host's

    with Server(("127.0.0.1", task.port), Handler) as server:
        server.timeout = 0
        before = time.monotonic()
        while task.left():
            phase.wait(min(STEP_S, task.left()), server.fileno())
            now = time.monotonic()
            queue.pass_time(now - before, slow=phase.on)
            before = now
            server.handle_request()


def _metric(name: str, kind: str, value: float, *labels: str) -> list[str]:
    return [f"# TYPE vllm:{name} {kind}", f"vllm:{name}{{{','.join((LABELS, *labels))}}} {value}"]
