"""The collector ``openmetrics``: what becomes of a page, and of a target that misbehaves."""

from __future__ import annotations

import gzip
import http.server
import math
import queue
import socketserver
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.api import Duration, Event, Frame, HistogramSample, Observation, Sample, Secret, Size
from vedette.exposition.book import Book, Meaning, Told
from vedette.exposition.collector import OWN_SERIES, OpenMetrics
from vedette.exposition.meaning import attribute_names, attribute_value, metric_name, unit_of
from vedette.exposition.model import Family
from vedette.exposition.options import OpenMetricsConfig, names_of
from vedette.exposition.reading import Reader
from vedette.exposition.rows import Total
from vedette.lanes import Assignment, Lanes
from vedette.lanes.reading import Reader as LaneReader
from vedette.lanes.reading import is_distribution, is_reading
from vedette.table import SeriesTable
from vedette.testing import check_collector, readings

PAGES = Path(__file__).parent.parent / "fixtures" / "exposition"
S = 1_000_000_000
T0 = 1_795_183_200

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]

PAGE = """\
# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total{queue="a"} 10
jobs_total{queue="b"} 20
# TYPE memory_bytes gauge
memory_bytes 4096
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 1
wait_seconds_bucket{le="1"} 3
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 5
wait_seconds_count 4
"""


class Served:
    """A real server whose page is what a test says at the moment."""

    def __init__(self, path: str = "") -> None:
        self.page: str | bytes | Answer = PAGE
        self.content_type = "text/plain; version=0.0.4"
        self.authorization: list[str | None] = []
        self.ended = threading.Event()
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                served.authorization.append(self.headers.get("Authorization"))
                page = served.page
                if callable(page):
                    self.close_connection = True
                    page(self)
                    return
                body = page.encode() if isinstance(page, str) else page
                self.send_response(200)
                self.send_header("Content-Type", served.content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "here"

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self._server = UnixServer(path, Handler) if path else Server(("127.0.0.1", 0), Handler)
        self.port = 0 if path else self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.close()


class Target:
    """A collector with an id, whose seconds pass as a test says."""

    def __init__(self, served: Served, id_: str = "app", **options: object) -> None:
        options.setdefault("fetch_timeout", Duration(2))
        config = OpenMetricsConfig(url=served.url, **options)  # type: ignore[arg-type]
        self.collector = OpenMetrics(config)
        self.collector.state_dir = f"/nowhere/collectors/openmetrics.{id_}"
        self.now_s = 1000.0
        self.collector.monotonic = lambda: self.now_s
        self.collector.wall_ns = lambda: round((T0 + self.now_s) * S)

    def tick(self, seconds: float = 10) -> list[Observation]:
        self.now_s += seconds
        return list(self.collector.collect())

    def read(self, seconds: float = 10) -> dict[str, float]:
        return readings(self.tick(seconds))

    def why(self) -> str:
        return str(self.collector.answer("target", {})["reason"])


class Pages:
    """A book and a reader, page by page, without a server."""

    def __init__(self, meaning: Meaning | None = None) -> None:
        self.reader = Reader()
        self.book = Book(meaning or Meaning("app"))
        self.now_s = 0.0

    def take(self, text: str, seconds: float = 10) -> Told:
        self.now_s += seconds
        return self.book.take(self.reader.read(text.encode()), self.now_s, T0 + self.now_s)

    def read(self, text: str, seconds: float = 10) -> dict[str, float]:
        return readings(self.take(text, seconds).samples)


def counter(value: float, start: float = 5, name: str = "jobs_total") -> str:
    return (
        f"# TYPE {name} counter\n{name} {value:g}\n"
        f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start:f}\n"
    )


def rates(told: list[float], seconds: float = 10) -> list[float]:
    """Return what the agent's table makes of totals."""
    pages = Pages()
    series = pages.take(counter(1)).samples[0].series
    table = SeriesTable(ticks=64)
    found = []
    for number, value in enumerate(told):
        at_ns = (number + 1) * round(seconds * S)
        table.put(Frame("app", at_ns, at_ns, (series,), array("d", [value])))
        found.append(float(table.close_tick(at_ns)[table.row(series) or 0]))
    return found


# ---------------------------------------------------------------- what becomes of a page


def test_a_page_is_told_under_its_own_names_with_the_target_as_attribute(served: Served) -> None:
    target = Target(served)
    found = target.read()
    assert found["jobs_total{vedette.target=app,queue=a}"] == 10
    assert found["memory_bytes{vedette.target=app}"] == 4096
    assert found["wait_seconds.count{vedette.target=app}"] == 4
    assert found["vedette.target.up{vedette.target=app}"] == 1
    assert found["vedette.target.silence{vedette.target=app}"] == 0
    assert found["vedette.target.faults{vedette.target=app}"] == 0
    assert found["vedette.target.series{vedette.target=app}"] == 4
    assert 0 < found["vedette.target.duration{vedette.target=app}"] < 2
    kinds = {
        one.series.instrument.name: (one.series.instrument.kind, one.series.instrument.unit)
        for one in target.tick()
        if isinstance(one, Sample)
    }
    assert kinds["jobs_total"] == ("counter", "1")
    assert kinds["memory_bytes"] == ("gauge", "By")
    assert kinds["wait_seconds.count"] == ("counter", "1")


def test_it_keeps_the_contract(served: Served) -> None:
    config = OpenMetricsConfig(url=served.url)
    check_collector(OpenMetrics, config, may_omit=())
    served.page = "not metrics"
    check_collector(
        OpenMetrics,
        config,
        may_omit=["vedette.target.series", "vedette.target.faults", "vedette.target.cut"],
    )


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.prom")), ids=lambda path: path.stem)
def test_everything_on_a_real_page_is_told_once_and_can_be_held(path: Path) -> None:
    pages = Pages(Meaning("app", info=True))
    body = path.read_text()
    first = pages.take(body)
    second = pages.take(body)
    assert len(first.samples) == len({one.series for one in first.samples}) == first.series
    for before, after in zip(first.samples, second.samples, strict=True):
        assert before.series is after.series
    for one in first.samples:
        assert is_reading(one.value)
        assert len(one.series.values) == len(one.series.instrument.attributes)
    assert (first.cut, second.cut) == (0, 0)
    assert not first.restarted
    assert not second.restarted


def test_the_lanes_know_its_series_again_by_identity(served: Served) -> None:
    target = Target(served)
    reader = LaneReader(
        target.collector,
        target.collector.instruments(),
        name="openmetrics.app",
        max_series=100,
        monotonic_ns=lambda: 0,
    )
    frames = []
    for step in range(4):
        target.now_s += 10
        served.page = PAGE.replace("jobs_total", "jobs_total", 1).replace("} 1\n", f"}} {step}\n")
        frames.append(reader.read(step, step, 10**18).frame)
    assert frames[2].series is frames[3].series is frames[1].series


def test_a_histogram_is_told_in_its_own_buckets_and_as_numbers() -> None:
    pages = Pages()
    first = pages.take(PAGE)
    assert first.histograms == []
    assert not [one for one in first.samples if ".p95" in one.series.key]
    later = PAGE.replace('le="1"} 3', 'le="1"} 7').replace('"+Inf"} 4', '"+Inf"} 8')
    later = later.replace("_sum 5", "_sum 7").replace("_count 4", "_count 8")
    told = pages.take(later)
    (one,) = told.histograms
    assert one.series.key == "wait_seconds{vedette.target=app}"
    assert (one.series.instrument.kind, one.series.instrument.unit) == ("histogram", "s")
    assert (one.bounds, one.counts, one.sum) == ((0.1, 1.0), (0, 4, 0), 2.0)
    assert is_distribution(one)
    found = readings(told.samples)
    assert found["wait_seconds.count{vedette.target=app}"] == 8
    assert found["wait_seconds.mean{vedette.target=app}"] == 0.5
    assert found["wait_seconds.p50{vedette.target=app}"] == pytest.approx(0.55)
    assert found["wait_seconds.p95{vedette.target=app}"] == pytest.approx(0.955)
    assert told.samples[-1].series.key == "wait_seconds.p95{vedette.target=app}"
    quiet = pages.take(later)
    assert quiet.histograms == []
    assert math.isnan(readings(quiet.samples)["wait_seconds.p95{vedette.target=app}"])
    assert [one.series for one in quiet.samples] == [one.series for one in told.samples]


def test_a_histogram_that_began_anew_is_counted_from_zero() -> None:
    pages = Pages()
    pages.take(PAGE)
    fresh = PAGE.replace('"0.1"} 1', '"0.1"} 0').replace('"1"} 3', '"1"} 1')
    fresh = fresh.replace('Inf"} 4', 'Inf"} 1').replace("_sum 5", "_sum 0.5")
    told = pages.take(fresh.replace("_count 4", "_count 1"))
    (one,) = told.histograms
    assert (one.counts, one.sum) == ((0, 1, 0), 0.5)


def test_a_summary_is_its_quantiles_count_sum_and_mean() -> None:
    text = (
        "# TYPE rpc_seconds summary\n"
        'rpc_seconds{quantile="0.5"} NaN\nrpc_seconds{quantile="0.9"} %s\n'
        "rpc_seconds_sum %s\nrpc_seconds_count %s\n"
    )
    pages = Pages()
    pages.take(text % (0.25, 10, 100))
    found = pages.read(text % (0.5, 14, 108))
    assert found == {
        "rpc_seconds.count{vedette.target=app}": 108,
        "rpc_seconds.sum{vedette.target=app}": 14,
        "rpc_seconds.mean{vedette.target=app}": 0.5,
        "rpc_seconds{vedette.target=app,quantile=0.9}": 0.5,
    }


def test_a_gauge_histogram_is_how_much_there_is_and_its_mean() -> None:
    found = Pages().read(
        "# TYPE waiting gaugehistogram\n"
        'waiting_bucket{le="1"} 2\nwaiting_bucket{le="+Inf"} 4\nwaiting_gcount 4\nwaiting_gsum 6\n'
    )
    assert found == {
        "waiting.count{vedette.target=app}": 4,
        "waiting.mean{vedette.target=app}": 1.5,
    }


def test_without_a_type_the_name_says_whether_it_counts() -> None:
    told = Pages().take("a_total 1\nb 2\n")
    kinds = {one.series.instrument.name: one.series.instrument.kind for one in told.samples}
    assert kinds == {"a_total": "counter", "b": "gauge"}


def test_a_gauge_that_counts_is_a_counter_when_somebody_says_so() -> None:
    text = "# TYPE lmdeploy:num_requests_failed gauge\nlmdeploy:num_requests_failed %d\n"
    pages = Pages(Meaning("app", counts=names_of(("lmdeploy:*",))))
    told = pages.take(text % 5)
    assert told.samples[0].series.instrument.kind == "counter"
    assert pages.take(text % 7).samples[0].value == 7


def test_a_family_that_changes_its_type_is_another_one() -> None:
    pages = Pages()
    before = pages.take("# TYPE a gauge\na 5\n# TYPE b counter\nb 1\n").samples[0].series
    after = pages.take("# TYPE a counter\na 6\n# TYPE b counter\nb 1\n").samples[0].series
    assert (before.instrument.kind, after.instrument.kind) == ("gauge", "counter")


@pytest.mark.parametrize(
    "text",
    ["# TYPE build info\nbuild_info{version=\"1\"} 1\n", '# TYPE x_info gauge\nx_info{v="1"} 1\n'],
)  # fmt: skip
def test_what_is_always_1_is_told_only_when_asked_for(text: str) -> None:
    assert Pages().take(text).samples == []
    assert [one.value for one in Pages(Meaning("app", info=True)).take(text).samples] == [1]


def test_values_that_no_table_holds_are_not_numbers() -> None:
    told = Pages().take("# TYPE a gauge\na +Inf\n# TYPE b gauge\nb NaN\n# TYPE c counter\nc +Inf\n")
    assert [math.isnan(one.value) for one in told.samples] == [True, True, True]


def test_names_are_the_sources_own_less_what_could_break_a_line() -> None:
    assert metric_name(":tensorflow:serving:request_count") == ":tensorflow:serving:request_count"
    assert metric_name("http.server duration\n") == "http.server_duration_"
    assert metric_name("vedette.target.up") == "exported_vedette.target.up"
    labels = (("a b", "1"), ("a_b", "2"), ("vedette.target", "3"), ("z", "4"))
    assert attribute_names(labels) == ("a_b", "exported_a_b", "exported_vedette.target", "z")
    assert attribute_value("a\nb") == "a\\nb"
    assert attribute_value("größe") == "größe"


@pytest.mark.parametrize(
    ("name", "declared", "unit"),
    [
        ("process_cpu_seconds_total", "", "s"),
        ("go_memstats_alloc_bytes", "", "By"),
        ("ray_latency_ms", "", "ms"),
        ("up", "", "1"),
        ("disk_usage_ratio", "", "1"),
        ("x_seconds", "seconds", "s"),
        ("x_parsecs", "parsecs", "{parsecs}"),
        ("x_bad", "a b", "1"),
    ],
)
def test_a_unit_is_what_the_page_declares_or_the_name_ends_in(
    name: str, declared: str, unit: str
) -> None:
    assert unit_of(Family(name, "gauge", declared)) == unit


# ---------------------------------------------------------------- what is left out


def test_who_asked_is_dropped_and_what_becomes_one_is_added(served: Served) -> None:
    served.page = (
        "# TYPE asked_total counter\n"
        'asked_total{user_email="a@x",model="m"} 1\nasked_total{user_email="b@x",model="m"} 2\n'
    )
    assert Target(served).read()["asked_total{vedette.target=app,model=m}"] == 3
    kept = Target(served, keep_labels=("user_email",)).read()
    assert kept["asked_total{vedette.target=app,model=m,user_email=b@x}"] == 2


def test_metrics_series_and_labels_are_chosen_by_name(served: Served) -> None:
    served.page = (
        '# TYPE http_total counter\nhttp_total{path="/healthz",code="200"} 9\n'
        'http_total{path="/v1",code="200"} 5\n# TYPE http_old gauge\nhttp_old 1\n'
        "# TYPE go_gc gauge\ngo_gc 1\n"
    )
    target = Target(
        served,
        allow=("http_*",),
        deny=("/http_o.*/",),
        deny_series={"path": ("/health*",)},
        drop_labels=("code",),
    )
    found = {key for key in target.read() if not key.startswith("vedette.")}
    assert found == {"http_total{vedette.target=app,path=/v1}"}


def test_over_the_cap_the_first_ones_stay_and_the_rest_is_counted(served: Served) -> None:
    def page(first: int) -> str:
        lines = [f'many{{n="{n}"}} {n}' for n in range(first, first + 40)]
        return "# TYPE many gauge\n" + "\n".join(lines) + "\n"

    served.page = page(0)
    target = Target(served, series=30)
    room = 30 - OWN_SERIES
    found = target.read()
    assert sum(key.startswith("many{") for key in found) == room
    assert f"many{{vedette.target=app,n={room - 1}}}" in found
    assert found["vedette.target.cut{vedette.target=app,vedette.target.limit=series}"] == 20
    assert len(found) <= 30
    assert {key for key in target.read() if key.startswith("many{")} == {
        key for key in found if key.startswith("many{")
    }
    served.page = page(100)  # when the old ones are forgotten there is room for others
    for _ in range(12):
        found = target.read()
    assert sum(key.startswith("many{") for key in found) == room


def test_a_page_that_is_cut_says_so(served: Served) -> None:
    served.page = "# TYPE a gauge\n" + "".join(f'a{{n="{n}"}} 1\n' for n in range(300))
    target = Target(served, series=20)
    found = target.read()
    assert found["vedette.target.cut{vedette.target=app,vedette.target.limit=texts}"] == 100
    served.page = '# TYPE a gauge\na{n="0"} 1\n'
    found = target.read()
    assert found["vedette.target.cut{vedette.target=app,vedette.target.limit=texts}"] == 0


def test_only_what_is_watched_can_alarm(served: Served) -> None:
    target = Target(served, watch=("wait_seconds.p95", "/jobs_.*/"), resource="gpu")
    target.tick()
    served.page = PAGE.replace('"+Inf"} 4', '"+Inf"} 5').replace("_count 4", "_count 5")
    alarms = {
        one.series.instrument.name: (one.series.instrument.alarm, one.series.instrument.resource)
        for one in target.tick()
        if isinstance(one, Sample) and not one.series.instrument.name.startswith("vedette.")
    }
    assert alarms["jobs_total"] == ("both", "gpu")
    assert alarms["wait_seconds.p95"] == ("high", "gpu")
    assert alarms["wait_seconds.p50"] == alarms["memory_bytes"] == ("never", "gpu")


# ---------------------------------------------------------------- from page to page


def test_a_reset_at_the_source_is_a_counter_that_starts_anew() -> None:
    pages = Pages()
    told = [pages.take(counter(value)).samples[0].value for value in (100, 150, 20, 70)]
    assert told == [100, 150, 20, 70]
    assert rates(told) == pytest.approx([math.nan, 5, math.nan, 5], nan_ok=True)


def test_a_restart_that_counted_more_than_before_is_no_spike() -> None:
    pages = Pages()
    told = [
        pages.take(counter(value, start)).samples[0].value
        for value, start in ((10, 5), (11, 5), (500, T0 + 25), (510, T0 + 25))
    ]
    assert told == [10, 11, 0, 10]
    assert rates(told) == pytest.approx([math.nan, 0.1, math.nan, 1], nan_ok=True)


def test_workers_that_answer_in_turn_give_no_counters_until_one_does_alone() -> None:
    pages = Pages()
    for value, start in ((1000, 5), (1010, 5), (10, 1), (1020, 5), (20, 1)):
        last = pages.take(counter(value, start)).samples[0].value
    assert math.isnan(last)
    assert pages.book.mixed
    told = [pages.take(counter(2000 + 10 * n, 5)).samples[0].value for n in range(14)]
    known = [one for one in told if one == one]
    assert known[:3] == [0, 10, 20]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), min_size=2, max_size=20)
)
def test_no_rate_is_ever_more_than_was_counted(steps: list[tuple[int, bool, bool]]) -> None:
    total = Total()
    value, last = 0.0, math.nan
    for gained, restarts, lost in steps:
        value = gained if restarts else value + gained
        note = "workers" if lost else "restart" if restarts else ""
        told = total.told(value, note)  # type: ignore[arg-type]
        if told - last > 0:
            assert told - last <= gained
        if told == told:
            assert told >= 0
            last = told
        elif not lost:
            last = math.nan


def test_a_series_that_vanishes_and_comes_back_goes_on() -> None:
    pages = Pages()
    both = '# TYPE a counter\na{m="x"} %d\na{m="y"} %d\n'
    one = '# TYPE a counter\na{m="x"} %d\n'
    first = pages.take(both % (1, 10))
    assert len(pages.take(one % 2).samples) == 1
    back = pages.take(both % (3, 12))
    assert [sample.value for sample in back.samples] == [3, 12]
    assert back.samples[1].series is first.samples[1].series


def test_a_series_that_stays_away_is_forgotten_with_all_that_was_made_for_it() -> None:
    pages = Pages()
    for number in range(400):
        told = pages.take(f'# TYPE a gauge\na{{l{number}="x"}} 1\n# TYPE b gauge\nb 1\n')
        assert len(told.samples) == 2
    assert len(pages.book._rows) <= 13
    assert pages.book._size <= 13
    assert len(pages.book._instruments) <= 8 * 13 + 66
    assert len(pages.book._missing) <= 13


def test_a_restart_is_told_as_an_event(served: Served) -> None:
    target = Target(served)
    served.page = counter(100)
    target.tick()
    served.page = counter(1, T0 + 1015)
    (event,) = [one for one in target.tick() if isinstance(one, Event)]
    assert (event.kind, event.entity, event.text) == ("restart", "app", "app restarted")
    assert not [one for one in target.tick() if isinstance(one, Event)]


def test_without_a_start_time_most_counters_beginning_anew_are_a_restart() -> None:
    names = ("a_total", "b_total", "c_total", "d_total")

    def page(*values: int) -> str:
        lines = (f"# TYPE {name} counter\n{name} {value}" for name, value in zip(names, values))  # noqa: B905
        return "\n".join(lines) + "\n"

    pages = Pages()
    pages.take(page(5, 5, 5, 0))
    assert not pages.take(page(6, 1, 6, 0)).restarted
    assert pages.take(page(1, 0, 2, 0)).restarted


# ---------------------------------------------------------------- targets that misbehave


def status(code: int) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def html(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.wfile.write(b"<html>log in</html>")


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    line = b"a 1\n" * 16384
    for _ in range(1 << 14):  # a gigabyte
        handler.wfile.write(line)


def needs_token(handler: http.server.BaseHTTPRequestHandler) -> None:
    status(200 if handler.headers.get("Authorization") else 401)(handler)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (status(404), "status 404"),
        (status(503), "status 503"),
        (html, "answered a web page, not metrics: a wrong path, or a login"),
        (endless, "over 65536 bytes"),
        (needs_token, "status 401: credentials are needed"),
        ("everything is fine here", "no line is a metric: "),
        ('{"status": "ok"}', "answered JSON, not a metrics page"),
    ],
)
def test_a_target_without_a_page_is_down_with_a_reason_and_back_at_the_next_tick(
    served: Served, page: str | Answer, reason: str
) -> None:
    target = Target(served, page_max=Size(65536))
    served.page = page
    found = target.read()
    assert found["vedette.target.up{vedette.target=app}"] == 0
    assert not [key for key in found if not key.startswith("vedette.target.")]
    assert target.why().startswith(reason)
    assert target.read(10)["vedette.target.silence{vedette.target=app}"] == 10
    served.page = PAGE
    found = target.read()
    assert found["vedette.target.up{vedette.target=app}"] == 1
    assert found["memory_bytes{vedette.target=app}"] == 4096
    assert target.why() == ""


@pytest.mark.parametrize("drips", [False, True])
def test_a_target_that_hangs_or_drips_costs_no_more_than_its_timeout(
    served: Served, drips: bool
) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.end_headers()
        while drips and not served.ended.wait(0.05):
            handler.wfile.write(b"a")
        served.ended.wait(10)

    served.page = answer
    target = Target(served, fetch_timeout=Duration(0.4))
    began = time.monotonic()
    assert target.read()["vedette.target.up{vedette.target=app}"] == 0
    assert time.monotonic() - began < 5
    assert target.why() == "no whole page within 0.4 s"
    served.page = PAGE
    assert target.read()["vedette.target.up{vedette.target=app}"] == 1


def test_nobody_listens_is_down_and_said_once(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    target = Target(served)
    target.tick()
    served.close()
    target.collector.close()  # the connection that was kept
    target.tick()
    target.tick()
    said = [one.getMessage() for one in caplog.records if one.name.startswith("vedette")]
    assert said == [
        "target=app state=up series=4",
        "target=app state=down reason='ECONNREFUSED'",
    ]


def test_bad_lines_cost_none_of_the_others_and_are_counted(served: Served) -> None:
    served.page = PAGE.replace("memory_bytes 4096", "memory_bytes 4096\nbroken{ 7\nalso bad\n")
    target = Target(served)
    found = target.read()
    assert found["memory_bytes{vedette.target=app}"] == 4096
    assert found["wait_seconds.count{vedette.target=app}"] == 4
    assert found["vedette.target.faults{vedette.target=app}"] == 2
    (first, _) = target.collector.answer("target", {})["faults"]
    assert first.startswith("line 7: ")


def test_an_empty_page_is_a_page(served: Served) -> None:
    served.page = ""
    found = Target(served).read()
    assert found["vedette.target.up{vedette.target=app}"] == 1
    assert found["vedette.target.series{vedette.target=app}"] == 0


def test_a_compressed_page_is_read_and_a_bomb_is_not(served: Served) -> None:
    def packed(body: bytes) -> Answer:
        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", "text/plain")
            handler.send_header("Content-Encoding", "gzip")
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        return answer

    target = Target(served, page_max=Size(1 << 20))
    served.page = packed(gzip.compress(PAGE.encode()))
    assert target.read()["memory_bytes{vedette.target=app}"] == 4096
    served.page = packed(gzip.compress(b"a 1\n" * (1 << 20)))
    assert target.read()["vedette.target.up{vedette.target=app}"] == 0
    assert target.why() == "over 1048576 bytes when decompressed"


def test_a_token_is_read_anew_each_time(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    target = Target(served, token=Secret(file=str(file)))
    target.tick()
    assert target.why() == f"cannot read {file}: No such file or directory"
    for token in ("first", "second"):
        file.write_text(token + "\n")
        assert target.read()["vedette.target.up{vedette.target=app}"] == 1
    assert served.authorization == ["Bearer first", "Bearer second"]


def test_a_unix_socket_is_a_target(tmp_path: Path) -> None:
    served = Served(str(tmp_path / "app.sock"))
    try:
        config = OpenMetricsConfig(url="http://app/metrics", socket=str(tmp_path / "app.sock"))
        collector = OpenMetrics(config)
        found = readings(collector.collect())
        assert found["memory_bytes{vedette.target=app}"] == 4096
        collector.close()
    finally:
        served.close()


def test_it_can_be_closed_and_begun_again(served: Served) -> None:
    target = Target(served)
    target.tick()
    target.collector.close()
    target.collector.close()
    assert target.read()["vedette.target.up{vedette.target=app}"] == 1
    with pytest.raises(LookupError, match="'target'"):
        target.collector.answer("else", {})


# ---------------------------------------------------------------- in their lanes


def test_two_targets_at_once_keep_apart_and_a_hung_one_costs_the_other_nothing() -> None:
    one, other = Served(), Served()
    other.page = lambda handler: other.ended.wait(20) and None
    frames: queue.SimpleQueue[tuple[Frame, ...]] = queue.SimpleQueue()
    targets = [Target(one, "one"), Target(other, "other", fetch_timeout=Duration(0.5))]
    for target in targets:
        target.collector.monotonic = time.monotonic
    lanes = Lanes(
        [
            Assignment(target.collector, 1.0, name=f"openmetrics.{name}")
            for target, name in zip(targets, ("one", "other"), strict=True)
        ],
        frames.put,
        base_interval_s=1.0,
        max_series=100,
    )
    seen: dict[str, dict[str, float]] = {}
    ups: dict[str, set[float]] = {"one": set(), "other": set()}
    lanes.start()
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not ups["other"] >= {0.0, 1.0}:
            for frame in frames.get(timeout=10):
                name = frame.collector.partition(".")[2]
                if name not in ups:
                    continue
                keys = [series.key for series in frame.series]
                seen[name] = dict(zip(keys, frame.values, strict=True))
                ups[name].add(seen[name][f"vedette.target.up{{vedette.target={name}}}"])
                if name == "other":
                    other.page = PAGE
    finally:
        lanes.stop(5)
        one.close()
        other.close()
    assert ups == {"one": {1.0}, "other": {0.0, 1.0}}
    assert not seen["one"].keys() & seen["other"].keys()
    assert seen["one"]["memory_bytes{vedette.target=one}"] == 4096
    assert seen["other"]["memory_bytes{vedette.target=other}"] == 4096
    assert {status.state for status in lanes.status()} == {"stopped"}


def test_distributions_go_with_the_frame(served: Served) -> None:
    target = Target(served)
    reader = LaneReader(
        target.collector,
        target.collector.instruments(),
        name="openmetrics.app",
        max_series=100,
        monotonic_ns=lambda: 0,
    )
    reader.read(1, 1, 10**18)
    target.now_s += 10
    served.page = PAGE.replace('"+Inf"} 4', '"+Inf"} 5').replace("_count 4", "_count 5")
    reading = reader.read(2, 2, 10**18)
    assert [one.counts for one in reading.frame.histograms] == [(0, 0, 1)]
    assert isinstance(reading.frame.histograms[0], HistogramSample)
    assert (reading.invalid, reading.duplicates, reading.cut) == (0, 0, 0)
