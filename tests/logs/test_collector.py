"""The collector of logs: what it counts, keeps, tells and hides, on real files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from vedette.api import Host, Record, Unavailable
from vedette.logs.collector import Logs
from vedette.logs.options import Format, LogsConfig, Redaction
from vedette.testing import check_collector

sys.path.insert(0, str(Path(__file__).parent))
from host_logs import HostLogs, counts, opened

DRIVER = Path(__file__).parent / "host_logs.py"


@pytest.fixture
def host(tmp_path: Path) -> HostLogs:
    return HostLogs(tmp_path)


def test_what_it_tells_is_what_it_declares(tmp_path: Path) -> None:
    log = tmp_path / "var/log/app.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-24 14:00:00 INFO app: started\n" * 3)
    config = LogsConfig(begin="beginning", journal=False)
    rare = {"vedette.log.strangeness", "vedette.log.troubles"}
    check_collector(Logs, config, host=Host(root=str(tmp_path)), may_omit=rare)


def test_every_event_is_told_once_by_template(host: HostLogs) -> None:
    for number in range(100):
        host.write("app.log", f"request {number} took {number % 7} ms", "cache is warm")
        host.tick()
    host.tick(65)
    assert host.counts() == {"request <num> took <num> ms": 100, "cache is warm": 100}
    assert host.samples["vedette.log.lines"] == 200
    (first, *_) = host.records()
    assert first.attributes["vedette.log.source"] == f"{host.root}/var/log/app.log"
    assert first.severity == 9
    assert first.attributes["vedette.window.end"] % 60_000_000_000 == 0
    total = sum(one.attributes["vedette.log.events"] for one in host.records("vedette.log.window"))
    assert total == 200


def test_a_quiet_window_is_not_told_of(host: HostLogs) -> None:
    host.tick(200)
    assert host.told == []


def test_a_trace_is_one_event_and_its_lines_are_counted(host: HostLogs) -> None:
    with open(host.root / "var/log/app.log", "a") as file:
        file.write(f"{host.stamp()} ERROR app: request failed\n")
        file.write("Traceback (most recent call last):\n")
        file.write('  File "a.py", line 3, in run\n    go()\nValueError: no\n')
    host.tick(70)
    assert host.samples["vedette.log.lines"] == 5
    assert [one.attributes["vedette.log.count"] for one in host.records()] == [1]
    assert host.records()[0].severity == 17


def test_secrets_stay_on_the_host(host: HostLogs) -> None:
    host.write("app.log", "login of ann@example.com with password=hunter2secret ok")
    host.tick(70)
    (record,) = host.records()
    sent = msgspec.json.encode(record).decode()
    assert "hunter2secret" not in sent
    assert "ann@example.com" not in sent
    assert host.records("vedette.log.window")[0].attributes["vedette.log.redacted"]["touched"] > 0
    shown = host.logs.answer("tail", {"lines": 5})
    assert "hunter2secret" in shown["lines"][0]["text"]  # here, for whoever may read it anyway


def test_without_exemplars_no_line_is_sent(tmp_path: Path) -> None:
    host = HostLogs(tmp_path, exemplars=False)
    host.write("app.log", "job 7 of queue blue is done")
    host.tick(70)
    assert "vedette.log.exemplar" not in host.records()[0].attributes


def test_records_can_be_left_to_warnings_or_none(tmp_path: Path) -> None:
    for wanted, told in (("all", 2), ("warnings", 1), ("none", 0)):
        host = HostLogs(tmp_path / wanted, records=wanted)
        host.write("app.log", "all is well")
        host.write("app.log", "disk is slow", level="WARN")
        host.tick(70)
        assert len(host.records()) == told
        if told:
            (own,) = host.records("vedette.log.window")
            assert own.attributes["vedette.log.events"] == 2
            assert own.attributes["vedette.log.events.untold"] == 2 - told


def test_numbers_are_told_as_a_distribution_and_values_where_they_are_few(host: HostLogs) -> None:
    for at in range(57):
        host.write("app.log", f"GET /{'ab'[at % 2]}/index.html took {at} ms")
        host.tick()
    host.tick(10)
    path, took = host.records()[0].attributes["vedette.log.slots"]
    assert (took["form"], took["count"], took["min"], took["max"]) == ("num", 57, 0, 56)
    assert took["p50"] == pytest.approx(28, rel=0.1)
    assert {one["value"]: one["count"] for one in path["top"]} == {
        "/a/index.html": 29,
        "/b/index.html": 28,
    }


def test_counts_go_on_after_a_restart(host: HostLogs) -> None:
    host.write("app.log", *["tick"] * 10)
    host.tick(5)
    host.logs.close()
    host.write("app.log", *["tick"] * 5)
    host.start()
    host.tick(70)
    assert host.counts() == {"tick": 15}
    assert host.records()[-1].attributes["vedette.log.total"] == 15


def test_records_that_may_not_have_arrived_are_told_again_under_the_same_name(
    host: HostLogs,
) -> None:
    host.write("app.log", *["tick"] * 10)
    host.tick(61)
    before = host.records()
    host.start()  # without close: it was killed
    host.tick()
    assert [one.uid for one in host.records()] == [one.uid for one in before] * 2
    assert host.counts() == {"tick": 10}
    host.tick(400)
    host.start()
    host.tick()
    assert len(host.records()) == 2 * len(before)


def test_an_event_that_may_go_on_is_not_lost_by_a_kill(host: HostLogs) -> None:
    host.write("app.log", *["tick"] * 10)
    host.tick(59)
    host.write("app.log", "the last one before the window ends")
    host.tick()  # it is held back: more of it may come
    assert "the last one before the window ends" not in host.counts()
    host.start()
    host.tick(70)
    assert host.counts() == {"tick": 10, "the last one before the window ends": 1}


def test_nothing_is_told_that_the_disk_did_not_take(host: HostLogs) -> None:
    host.tick()
    host.write("app.log", "tick")
    state = host.root / "state"
    state.rename(host.root / "away")
    (host.root / "state").write_text("in the way")
    host.tick(70)
    assert host.told == []
    state.unlink()
    (host.root / "away").rename(state)
    host.tick(60)
    assert host.counts() == {"tick": 1}


def told_in(out: Path) -> dict[str, int]:
    """Return the counts of the records in a file, whose last line may not be whole yet."""
    whole = out.read_bytes().rpartition(b"\n")[0] if out.exists() else b""
    return counts([msgspec.json.decode(line, type=Record) for line in whole.splitlines()])


@pytest.mark.slow
def test_counts_are_exact_whenever_it_is_killed(tmp_path: Path) -> None:
    log, state, out = tmp_path / "var/log/app.log", tmp_path / "state", tmp_path / "out"
    log.parent.mkdir(parents=True)
    chance = random.Random(3)
    written = 0
    with open(log, "a", buffering=1) as file:
        for _ in range(8):
            child = subprocess.Popen([sys.executable, str(DRIVER), str(tmp_path), state, out])
            until = time.monotonic() + chance.uniform(0.6, 1.4)
            while time.monotonic() < until:
                for _ in range(chance.randint(1, 200)):
                    file.write(f"2026-11-24 14:00:00 INFO app: job {written} is done\n")
                    written += 1
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
            child.wait()
        child = subprocess.Popen([sys.executable, str(DRIVER), str(tmp_path), state, out])
        expected = {"job <num> is done": written}
        deadline = time.monotonic() + 60  # a busy machine takes its time
        while told_in(out) != expected and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1)  # nothing is told twice, either
        child.kill()
        child.wait()
    assert told_in(out) == expected


def test_damaged_state_is_said_and_begun_anew(
    host: HostLogs, caplog: pytest.LogCaptureFixture
) -> None:
    host.write("app.log", "tick")
    host.tick(70)
    host.logs.close()
    for slot in (host.root / "state").iterdir():
        slot.write_bytes(os.urandom(slot.stat().st_size))
    host.start()
    host.write("app.log", "tock")
    host.tick(70)
    assert host.counts()["tock"] == 1


def test_what_a_killed_agent_had_not_learned_costs_no_count(host: HostLogs) -> None:
    host.write("app.log", "first kind")
    host.tick(61)
    for slot in (host.root / "state").glob("learned*"):
        slot.unlink()
    host.start()
    host.write("app.log", "second kind", "first kind")
    host.tick(130)
    assert host.counts() == {"first kind": 2, "second kind": 1}


# ---------------------------------------------------------------- what is strange


def test_a_new_error_rings_and_is_told_in_words(host: HostLogs) -> None:
    for _ in range(1500):
        host.write("app.log", "request 1 took 3 ms")
        host.at += 4
        host.tick()
    with opened(host.root / "var/log/app.log", "a") as child:
        host.write("app.log", *["upstream db1 refused: no slots left"] * 5, level="ERROR")
        host.tick(4)
    (event,) = host.events
    (usage,) = host.usages
    assert (usage.resource, usage.id) == ("log", str(child.pid))
    assert usage.text == f"{host.root}/var/log/app.log"
    assert (event.kind, event.entity) == ("log", f"{host.root}/var/log/app.log")
    assert "app.log logged a line never seen before" in event.text
    key = (
        "vedette.log.strangeness{vedette.log.source="
        f"{host.root}/var/log/app.log,vedette.log.signal=new_template,"
        "vedette.log.severity=error,vedette.log.topic=}"
    )
    assert host.samples[key] >= 14
    host.tick(15)
    assert host.samples[key] == 0
    host.tick(60)
    assert key not in host.samples


def test_the_first_line_ever_of_an_error_log_rings_when_it_was_silent_long(
    host: HostLogs,
) -> None:
    (host.root / "var/log/error.log").touch()
    for at in range(1500):
        host.write("app.log", "request 1 took 3 ms")
        host.at += 4
        host.tick()
        if at == 700:
            host.logs.close()
            host.start()
    host.write("error.log", *["upstream db1 refused: no slots left"] * 3, level="ERROR")
    host.tick(4)
    assert [one.entity for one in host.events] == [f"{host.root}/var/log/error.log"]


def test_more_trouble_is_as_grave_as_its_lines(host: HostLogs) -> None:
    for at in range(1500):
        host.write("app.log", *["request 1 took 3 ms"] * 3)
        if at % 100 == 0:
            host.write("app.log", "request 1 failed", level="ERROR")
        host.at += 4
        host.tick()
    for _ in range(60):
        host.write("app.log", *["request 1 failed"] * 3, level="ERROR")
        host.at += 4
        host.tick()
    rings = {key: value for key, value in host.samples.items() if "signal=mix" in key and value}
    assert rings
    assert all("severity=error" in key for key in rings)


def test_what_was_written_long_ago_is_no_news(host: HostLogs) -> None:
    host.write("app.log", *["CUDA out of memory"] * 5, level="ERROR")
    host.at = 3600
    host.tick(70)
    assert host.events == []
    assert host.counts() == {"CUDA out of memory": 5}


def test_a_message_may_say_how_grave_it_is(host: HostLogs) -> None:
    with open(host.root / "var/log/plain.log", "a") as file:
        file.write("error: beginning MaxStartups throttling\nAccepted publickey for root\n" * 3)
    host.tick(70)
    found = {one.body: one.severity for one in host.records()}
    assert found["error: beginning MaxStartups throttling"] == 17
    assert found["Accepted publickey for root"] == 9
    (own,) = host.records("vedette.log.window")
    (counts,) = own.attributes["vedette.log.sources"].values()
    assert counts["errors"] == 3


def test_failed_requests_are_more_trouble_though_their_template_is_known(host: HostLogs) -> None:
    def requests(status: int) -> None:
        with open(host.root / "var/log/access.log", "a") as file:
            stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(host.now_ns() // 10**9))
            line = f'10.0.0.1 - - [{stamp}] "GET /item HTTP/1.1" {status} 12 "-" "curl"\n'
            file.write(line * 3)

    for at in range(1500):
        requests(502 if at % 200 == 0 else 200)
        host.at += 4
        host.tick()
    host.events.clear()
    for _ in range(40):
        requests(502)
        host.at += 4
        host.tick()
    assert any("logged more trouble than usual" in one.text for one in host.events)
    assert sum(host.counts().values()) <= 3 * 1540


def test_what_a_program_says_when_it_starts_is_no_news_unless_it_is_an_error(
    host: HostLogs,
) -> None:
    for _ in range(5000):
        host.write("app.log", "request 1 took 3 ms")
        host.at += 4
        host.tick()
    host.write("app.log", "server is starting up", level="INFO")
    host.write("app.log", "the cache directory is new", level="WARN")
    host.tick(5)
    assert host.events == []
    host.write("app.log", *["the licence cannot be read"] * 3, level="ERROR")
    host.tick(5)
    assert ["licence" in one.text for one in host.events] == [True]


def test_secrets_are_not_in_the_words_of_an_event(host: HostLogs) -> None:
    host.write("app.log", "out of memory for ann@example.com", level="ERROR")
    host.tick(4)
    (event,) = host.events
    assert "ann@example.com" not in event.text


# ---------------------------------------------------------------- what is read


def test_without_anything_to_read_it_rests(tmp_path: Path) -> None:
    logs = Logs(LogsConfig(journal=False))
    logs.host = Host(root=str(tmp_path))
    with pytest.raises(Unavailable, match="no directory of logs that may be read"):
        logs.probe()


def test_a_file_that_comes_after_the_start_is_read_from_its_beginning(tmp_path: Path) -> None:
    host = HostLogs(tmp_path, begin="end")
    host.logs.probe()
    host.tick(5)
    host.write("app.log", "the first line")
    host.tick(70)
    assert host.counts() == {"the first line": 1}


def test_files_are_left_out_and_added(tmp_path: Path) -> None:
    host = HostLogs(tmp_path, exclude=("noise.log",), also=("/srv/*.out",))
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/job.out").write_text("job done\n")
    host.write("noise.log", "much ado")
    host.write("app.log", "well")
    host.tick(70)
    assert set(host.counts()) == {"job done", "well"}


def test_a_format_is_used_for_the_files_it_is_of(tmp_path: Path) -> None:
    form = Format(header=r"\[(?P<time>[^]]+)\]\[(?P<level>\w+)\] ", start=r"\[")
    host = HostLogs(tmp_path, formats={"/var/log/odd*.log": form})
    with open(tmp_path / "var/log/odd1.log", "w") as file:
        file.write(f"[{host.stamp()}][ERROR] it broke\nand went on\n" * 3)
    host.tick(70)
    (record,) = host.records()
    assert record.body.startswith("it broke")
    assert record.attributes["vedette.log.count"] == 3
    assert record.severity == 17


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"files": ("logs/*.log",)}, "files: 'logs/\\*.log' is no absolute path"),
        ({"window": 1.0}, "window = 1s is not between 10s and 1h"),
        ({"recent": 1 << 40}, "recent = "),
        ({"sessions": {"*": "("}}, "sessions: '\\*': no regular expression"),
        ({"sessions": {"*": "((a+)+)x"}}, "repeats a repetition"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LogsConfig(**given)  # type: ignore[arg-type]


def test_rules_that_cannot_be_used_are_refused_with_their_name() -> None:
    with pytest.raises(ValueError, match="off: there is no rule 'nonsense'"):
        Redaction(off=("nonsense",))
    with pytest.raises(ValueError, match="header"):
        Format(header="(a+)+x")


# ---------------------------------------------------------------- questions


def test_lines_templates_and_one_template_can_be_asked_for(host: HostLogs) -> None:
    host.write("app.log", *(f"request {n} took {n} ms" for n in range(9)))
    host.write("web.log", "connection refused", level="ERROR")
    host.tick(5)
    told = host.logs.answer("tail", {"lines": 3, "grep": "request [78]"})
    assert [one["text"] for one in told["lines"]] == [f"request {n} took {n} ms" for n in (7, 8)]
    assert host.logs.answer("tail", {"since": told["next"]})["lines"] == []
    errors = host.logs.answer("tail", {"severity": 17})["lines"]
    assert [one["text"] for one in errors] == ["connection refused"]
    templates = host.logs.answer("templates", {"source": "app"})["templates"]
    assert [(one["text"], one["total"]) for one in templates] == [
        ("request <num> took <num> ms", 9)
    ]
    shown = host.logs.answer("show", {"id": templates[0]["id"][:6]})
    assert shown["slots"][0]["numbers"]["max"] == 8
    assert len(shown["lines"]) == 9


def test_what_nobody_can_answer_is_said(host: HostLogs) -> None:
    host.tick()
    for question, given, why in (
        ("nonsense", {}, "nobody can answer 'nonsense'"),
        ("show", {"id": "zz"}, "no template has an id that begins with 'zz'"),
        ("tail", {"grep": "("}, "no regular expression"),
    ):
        with pytest.raises(LookupError, match=why):
            host.logs.answer(question, given)
