"""Collector systemd, against a real bus on which a stand-in answers as systemd 252 did."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.api import Host, Sample, Unavailable
from vedette_plugins import _dbus
from vedette_plugins.systemd import (
    BOOTED,
    SOCKET,
    STATES,
    SYSTEMD,
    Systemd,
    SystemdConfig,
    register_collectors,
    units_of,
)

jeepney = pytest.importorskip("jeepney")
blocking = pytest.importorskip("jeepney.io.blocking")
RECORDED = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "systemd" / "recorded.json").read_text()
)
BUS_CONFIG = """<busconfig><type>session</type><listen>unix:path={path}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"""


def unit(
    name: str, state: str = "active", sub: str = "running", loaded: str = "loaded"
) -> list[Any]:
    path = "/org/freedesktop/systemd1/unit/" + name.replace(".", "_2e").replace("-", "_2d")
    return [name, name, loaded, state, sub, "", path, 0, "", "/"]


class StandIn:
    """Owns the name of systemd on a bus and answers what it is told to."""

    def __init__(self, path: str) -> None:
        self.state: str = RECORDED["state"]
        self.units: list[list[Any]] = RECORDED["units"]
        self.restarts: dict[str, int] = dict(RECORDED["restarts"])
        self.asked: list[str] = []
        self.is_silent = False
        self._connection = blocking.open_dbus_connection(f"unix:path={path}")
        blocking.Proxy(jeepney.message_bus, self._connection).RequestName(SYSTEMD)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    def _serve(self) -> None:
        while True:
            try:
                call = self._connection.receive()
                is_call = call.header.message_type is jeepney.MessageType.method_call
                if is_call and not self.is_silent:
                    self._connection.send(self._answer(call))
            except OSError:
                return

    def _answer(self, call: Any) -> Any:
        fields = jeepney.HeaderFields
        if call.header.fields[fields.member] == "ListUnits":
            rows = [tuple(row) for row in self.units]
            return jeepney.new_method_return(call, "a(ssssssouso)", (rows,))
        assert call.header.fields[fields.member] == "Get"
        if call.body == (f"{SYSTEMD}.Manager", "SystemState"):
            return jeepney.new_method_return(call, "v", (("s", self.state),))
        assert call.body == (f"{SYSTEMD}.Service", "NRestarts")
        path = call.header.fields[fields.path]
        self.asked.append(path.rpartition("/")[2].replace("_2e", ".").replace("_2d", "-"))
        if path not in self.restarts:
            return jeepney.new_error(call, "org.freedesktop.DBus.Error.UnknownProperty")
        return jeepney.new_method_return(call, "v", (("u", self.restarts[path]),))


class Stage:
    """A host whose root has a booted systemd and a bus."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = str(root / SOCKET)
        (root / BOOTED).mkdir(parents=True)
        (root / SOCKET).parent.mkdir(parents=True)
        self.collectors: list[Systemd] = []
        self._daemon: subprocess.Popen[str] | None = None

    def start_bus(self) -> None:
        if shutil.which("dbus-daemon") is None:
            pytest.skip("no dbus-daemon on this host")
        config = self.root / "bus.conf"
        config.write_text(BUS_CONFIG.format(path=self.path))
        self._daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline().startswith("unix:")  # it listens now

    def stop_bus(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.communicate()
            self._daemon = None
        Path(self.path).unlink(missing_ok=True)

    def collector(self, **options: Any) -> Systemd:
        collector = Systemd(SystemdConfig(**options))
        collector.host = Host(root=str(self.root))
        self.collectors.append(collector)
        return collector


@pytest.fixture
def host() -> Iterator[Stage]:
    # Not tmp_path: the path of a socket is at most 108 bytes long.
    with tempfile.TemporaryDirectory(prefix="vedette-") as folder:
        stage = Stage(Path(folder))
        yield stage
        for collector in stage.collectors:
            collector.close()
            collector.close()
        stage.stop_bus()


@pytest.fixture
def systemd(host: Stage) -> Iterator[StandIn]:
    host.start_bus()
    stand_in = StandIn(host.path)
    yield stand_in
    stand_in.stop()


def values(collector: Systemd) -> dict[str, float]:
    samples = [one for one in collector.collect() if isinstance(one, Sample)]
    array("d", (one.value for one in samples))
    read = {one.series.key: one.value for one in samples}
    assert len(read) == len(samples), "a series was read twice"
    return read


def named(read: dict[str, float], metric: str) -> dict[str, float]:
    return {
        key.rpartition("=")[2].rstrip("}"): value
        for key, value in read.items()
        if key.partition("{")[0] == metric
    }


def test_the_plugin_registers_the_collector() -> None:
    assert register_collectors() == [Systemd]


def test_a_recorded_answer_reads_as_it_should(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    collector.probe()
    read = values(collector)
    assert named(read, "vedette.systemd.units") == {
        "active": 23,
        "activating": 1,
        "deactivating": 0,
        "failed": 1,
        "inactive": 4,
    }
    assert named(read, "vedette.systemd.unit.failed") == {"broken.service": 1}
    assert named(read, "vedette.systemd.unit.restarts") == {"flapping.service": 578}
    assert read["vedette.systemd.running"] == 0
    assert read["vedette.systemd.restarts"] == 0


def test_every_declared_instrument_is_emitted_and_no_other(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    emitted = {id(one.series.instrument) for one in collector.collect() if isinstance(one, Sample)}
    assert emitted == {id(one) for one in Systemd.instruments()}


def test_a_unit_that_recovers_is_0_and_no_longer_counted(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    systemd.units = [unit("a.service", "failed", "failed"), unit("b.service")]
    assert named(values(collector), "vedette.systemd.unit.failed") == {"a.service": 1}
    systemd.units, systemd.state = [unit("a.service"), unit("b.service")], "running"
    read = values(collector)
    assert named(read, "vedette.systemd.unit.failed") == {"a.service": 0}
    assert named(read, "vedette.systemd.units")["failed"] == 0
    assert read["vedette.systemd.running"] == 1


def test_so_many_failed_units_are_named_and_all_are_counted(host: Stage, systemd: StandIn) -> None:
    collector = host.collector(max_named=3)
    systemd.units = [unit(f"{letter}.service", "failed", "failed") for letter in "abcde"]
    read = values(collector)
    assert set(named(read, "vedette.systemd.unit.failed")) == {
        "a.service",
        "b.service",
        "c.service",
    }
    assert named(read, "vedette.systemd.units")["failed"] == 5


def test_a_recovered_unit_gives_its_place_to_one_that_fails(host: Stage, systemd: StandIn) -> None:
    collector = host.collector(max_named=2)
    systemd.units = [unit("a.service", "failed"), unit("b.service", "failed")]
    values(collector)
    systemd.units = [unit("a.service"), unit("b.service", "failed"), unit("c.service", "failed")]
    failed = named(values(collector), "vedette.systemd.unit.failed")
    assert failed == {"b.service": 1, "c.service": 1}


def test_restarts_of_all_services_add_up_from_the_first_reading(
    host: Stage, systemd: StandIn
) -> None:
    collector = host.collector()
    a, b = unit("a.service"), unit("b.service")
    systemd.units, systemd.restarts = [a, b], {a[6]: 5, b[6]: 0}
    assert values(collector)["vedette.systemd.restarts"] == 0
    systemd.restarts[a[6]] = 7
    assert values(collector)["vedette.systemd.restarts"] == 2
    systemd.restarts[a[6]] = 0  # stopped and started by hand
    assert values(collector)["vedette.systemd.restarts"] == 2
    systemd.restarts[a[6]] = 1
    b[4], systemd.restarts[b[6]] = "auto-restart", 1
    read = values(collector)
    assert read["vedette.systemd.restarts"] == 3
    assert named(read, "vedette.systemd.unit.restarts") == {"b.service": 1}
    assert values(collector)["vedette.systemd.restarts"] == 4  # all are asked again


def test_services_that_never_restarted_are_asked_each_fourth_time(
    host: Stage, systemd: StandIn
) -> None:
    collector = host.collector()
    a, b = unit("a.service"), unit("b.service")
    systemd.units = [a, b, unit("c.socket"), unit("d.service", "active", "exited")]
    systemd.restarts = {a[6]: 5, b[6]: 0}
    turns = []
    for _ in range(5):
        systemd.asked.clear()
        values(collector)
        turns.append(sorted(systemd.asked))
    both, known = ["a.service", "b.service"], ["a.service"]
    assert turns == [both, known, known, known, both]


def test_a_service_whose_restarts_are_not_known_is_left_out(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    systemd.units, systemd.restarts = [unit("a.service")], {}
    assert named(values(collector), "vedette.systemd.unit.restarts") == {}


def test_hundreds_of_services_are_asked_in_portions(host: Stage, systemd: StandIn) -> None:
    collector = host.collector(max_named=7)
    systemd.units = [unit(f"u{number}.service") for number in range(300)]
    systemd.restarts = {row[6]: number for number, row in enumerate(systemd.units)}
    restarts = named(values(collector), "vedette.systemd.unit.restarts")
    assert restarts == {f"u{number}.service": number for number in range(293, 300)}
    assert len(systemd.asked) == 300


def test_units_that_are_only_mentioned_do_not_count(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    systemd.units = [unit("a.service"), unit("gone.service", "inactive", "dead", "not-found")]
    assert named(values(collector), "vedette.systemd.units")["inactive"] == 0


def test_excluded_units_are_neither_counted_nor_named(host: Stage, systemd: StandIn) -> None:
    collector = host.collector(include=["my-*"], exclude=["*.service"])
    systemd.units = [
        unit("my-own.service", "failed"),
        unit("other.service", "failed"),
        unit("x.timer"),
    ]
    read = values(collector)
    assert named(read, "vedette.systemd.units")["failed"] == 1
    assert named(read, "vedette.systemd.unit.failed") == {"my-own.service": 1}


def test_a_bus_that_was_restarted_is_found_again(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    before = values(collector)
    host.stop_bus()
    host.start_bus()
    again = StandIn(host.path)
    assert values(collector) == before
    again.stop()


def test_a_bus_that_is_gone_is_unavailable(host: Stage, systemd: StandIn) -> None:
    collector = host.collector()
    values(collector)
    host.stop_bus()
    with pytest.raises(Unavailable, match="no system bus"):
        values(collector)


def test_a_bus_without_systemd_is_unavailable(host: Stage) -> None:
    host.start_bus()
    with pytest.raises(Unavailable, match="not on the system bus"):
        host.collector().probe()


def test_a_systemd_that_does_not_answer_is_given_up(
    host: Stage, systemd: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dbus, "TIMEOUT_S", 0.2)
    collector = host.collector()
    systemd.is_silent = True
    with pytest.raises(TimeoutError):
        values(collector)
    systemd.is_silent = False
    assert values(collector)["vedette.systemd.running"] == 0


def test_a_host_without_systemd_is_unavailable(tmp_path: Path) -> None:
    collector = Systemd(SystemdConfig())
    collector.host = Host(root=str(tmp_path))
    with pytest.raises(Unavailable, match="does not run"):
        collector.probe()


def test_without_jeepney_it_says_what_is_missing(
    host: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jeepney", None)
    with pytest.raises(Unavailable, match="needs the library jeepney"):
        host.collector().probe()


class FalseBus:
    """Lets a client log in, then answers every message with the same bytes."""

    def __init__(self, path: str, answer: bytes) -> None:
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen(4)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                try:
                    client.recv(4096)
                    client.sendall(b"OK 0123456789abcdef\r\n")
                    while client.recv(4096):
                        client.sendall(self._answer)
                except OSError:
                    continue


@settings(deadline=None, max_examples=20)
@given(answer=st.binary(min_size=1, max_size=200).map(lambda raw: b"l\2\0\1" + raw) | st.just(b""))
def test_a_bus_that_speaks_garbage_is_unavailable(answer: bytes) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="vedette-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(_dbus, "TIMEOUT_S", 0.05)
        stage = Stage(Path(folder))
        bus = FalseBus(stage.path, answer)
        try:
            with pytest.raises((Unavailable, OSError)):
                stage.collector().probe()
        finally:
            bus.stop()


@pytest.mark.parametrize(
    "answer", [None, (), ([],), ([("a.service",)],), ("units",), ([[1] * 10],)]
)
def test_an_answer_that_lists_no_units_is_an_error(answer: Any) -> None:
    if answer == ([],):
        assert list(units_of(answer)) == []
        return
    with pytest.raises(OSError, match="lists no units"):
        list(units_of(answer))


@given(name=st.text(min_size=1, max_size=300), state=st.sampled_from([*STATES, "reloading", "x"]))
def test_names_of_units_are_printable_and_bounded(name: str, state: str) -> None:
    row = (name, "", "loaded", state, "", "", "/", 0, "", "/")
    for one in units_of(([row],)):
        assert one.state in STATES
        assert one.name.isprintable()
        assert len(one.name) <= 128
