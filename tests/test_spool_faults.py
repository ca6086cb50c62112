"""The spool stopped at every single effect, by kill and by power loss, and against a model."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vedette.spool import Spool
from vedette.spool.disk import Disk

AGENT = "agent"
DESTINATIONS = ("one", "two")


class Crash(BaseException):
    """The process ends here."""


class FaultDisk(Disk):
    """Stop at the n-th effect, and forget at a power loss what was not synced.

    The n-th effect does not happen, or half of it when it is a write; none after it happens.
    """

    def __init__(self, stop_at: int = -1) -> None:
        self.effects = 0
        self.stop_at = stop_at
        self._unsynced: dict[str, list[tuple[int, bytes, int]]] = {}
        self._new: set[str] = set()
        self._gone: dict[str, bytes] = {}

    @property
    def stopped(self) -> bool:
        return 0 <= self.stop_at < self.effects

    def before(self, effect: str, target: str) -> None:
        self.effects += 1
        if self.stopped:
            raise Crash

    def write(self, fd: int, data: bytes, offset: int) -> None:
        size = os.fstat(fd).st_size
        overwritten = os.pread(fd, len(data), offset)
        self._unsynced.setdefault(_path(fd), []).append((offset, overwritten, size))
        try:
            super().write(fd, data, offset)
        except Crash:
            if self.effects == self.stop_at + 1:
                os.pwrite(fd, data[: len(data) // 2], offset)
            raise

    def truncate(self, fd: int, size: int) -> None:
        before = os.fstat(fd).st_size
        self.before("truncate", str(fd))
        cut = os.pread(fd, before - size, size)
        self._unsynced.setdefault(_path(fd), []).append((size, cut, before))
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        self.before("sync", str(fd))  # what is durable is played here, so the real one may rest
        self._unsynced.pop(_path(fd), None)

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._new.add(str(path))
        self._gone.pop(str(path), None)
        return fd

    def sync_directory(self, path: Path) -> None:
        self.before("sync_directory", str(path))
        for names in (self._new, self._gone):
            for name in [name for name in names if Path(name).parent == path]:
                names.discard(name) if isinstance(names, set) else names.pop(name)

    def unlink(self, path: Path) -> None:
        data = path.read_bytes() if path.is_file() else None
        super().unlink(path)
        if data is not None and str(path) not in self._new:
            self._gone[str(path)] = data
        self._new.discard(str(path))
        self._unsynced.pop(str(path), None)

    def lose_power(self, random: Random) -> None:
        """Undo unsynced effects: of each file a random number of the newest."""
        for name, effects in self._unsynced.items():
            if not os.path.exists(name):
                continue
            keep = random.randint(0, len(effects))
            with open(name, "r+b") as file:
                for offset, overwritten, size in reversed(effects[keep:]):
                    os.pwrite(file.fileno(), overwritten, offset)
                    os.ftruncate(file.fileno(), size)
        for name in self._new:
            if random.random() < 0.5:
                Path(name).unlink(missing_ok=True)
        for name, data in self._gone.items():
            if random.random() < 0.5:
                Path(name).write_bytes(data)
        self._unsynced, self._new, self._gone = {}, set(), {}


def _path(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def abandon(spool: Spool) -> None:
    """Let go of the descriptors as the kernel does when a process dies: nothing is written."""
    for fd in (spool._lock_fd, spool._journal._writer, spool._journal._file._fd):
        with contextlib.suppress(OSError):
            os.close(fd)
    for cursor in spool._destinations._cursors.values():
        with contextlib.suppress(OSError):
            os.close(cursor._file._fd)


class Ledger:
    """What was promised and what arrived, to be compared."""

    def __init__(self) -> None:
        self.durable: list[str] = []
        self.maybe: set[str] = set()
        self.received: dict[str, list[str]] = {name: [] for name in DESTINATIONS}
        self.acknowledged: dict[str, set[str]] = {name: set() for name in DESTINATIONS}
        self.bodies: dict[tuple[str, int], bytes] = {}

    def append(self, spool: Spool, texts: list[str]) -> None:
        self.maybe.update(texts)
        spool.append([("metrics", text.encode()) for text in texts])
        self.durable += texts
        self.maybe.difference_update(texts)

    def ship(self, spool: Spool, destination: str, limit: int = 1000) -> None:
        for _ in range(limit):
            shipment = spool.peek(destination)
            if shipment is None:
                return
            key = (shipment.epoch, shipment.sequence)
            assert self.bodies.setdefault(key, shipment.body) == shipment.body
            text = zlib.decompress(shipment.body, wbits=31).decode()
            assert text not in self.acknowledged[destination]
            self.received[destination].append(text)
            spool.acknowledge(destination, shipment.sequence)
            self.acknowledged[destination].add(text)

    def check(self) -> None:
        """Everything durable arrived, in order, nothing foreign, and no hole in the numbers."""
        for received in self.received.values():
            once = list(dict.fromkeys(received))
            assert [text for text in once if text not in self.maybe] == self.durable
        numbers: dict[str, set[int]] = {}
        for epoch, sequence in self.bodies:
            numbers.setdefault(epoch, set()).add(sequence)
        for present in numbers.values():
            assert present == set(range(1, len(present) + 1))


def script(spool: Spool, ledger: Ledger, prefix: str) -> None:
    """Use everything once: appends, rotation, both destinations, removal of segments, the cap."""
    spool.attach(DESTINATIONS)
    for number in range(6):
        ledger.append(spool, [f"{prefix}-{number}-{part}" for part in range(1 + number % 2)])
        if number % 2:
            ledger.ship(spool, "one", limit=2)
        if number == 3:
            ledger.ship(spool, "two")
    ledger.ship(spool, "one")


def run(directory: Path, ledger: Ledger, prefix: str, stop_at: int, power: Random | None) -> bool:
    """Run the script until the given effect; False when it came to its end before."""
    disk = FaultDisk(stop_at)
    spool = Spool.__new__(Spool)
    try:
        spool.__init__(  # type: ignore[misc]
            directory, agent_id=AGENT, segment_bytes=300, ballast_bytes=4096, disk=disk
        )
        script(spool, ledger, prefix)
        spool.close()
    except Crash:
        for fd in _open_below(directory):
            os.close(fd)
        if power is not None:
            disk.lose_power(power)
        return True
    return False


def _open_below(directory: Path) -> Iterator[int]:
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(directory):
                yield int(link.name)


def finish(directory: Path, ledger: Ledger) -> None:
    spool = Spool(directory, agent_id=AGENT, segment_bytes=300, ballast_bytes=4096)
    spool.attach(DESTINATIONS)
    ledger.append(spool, ["last"])
    for destination in DESTINATIONS:
        ledger.ship(spool, destination)
    assert spool.counters().missing == 0
    spool.close()
    ledger.check()


@pytest.mark.slow
@pytest.mark.parametrize("power", [False, True], ids=["kill", "power-loss"])
def test_a_stop_at_any_effect_loses_nothing_durable(tmp_path: Path, power: bool) -> None:
    stop_at = 0
    while True:
        directory = tmp_path / str(stop_at)
        ledger = Ledger()
        stopped = run(directory, ledger, "a", stop_at, Random(stop_at) if power else None)
        finish(directory, ledger)
        if not stopped:
            break
        stop_at += 1
    assert stop_at > 60  # the script reached most of what the spool does


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 80), min_size=2, max_size=5),
    st.builds(Random, st.integers(0, 2**32)),
    st.booleans(),
)
def test_several_stops_in_a_row_lose_nothing_durable(
    stops: list[int], random: Random, power: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "spool"
        ledger = Ledger()
        for number, stop_at in enumerate(stops):
            run(directory, ledger, str(number), stop_at, random if power else None)
        finish(directory, ledger)


class SpoolModel(RuleBasedStateMachine):
    """Append, ship, restart and damage in any order, against what a list would do."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name) / "spool"
        self.disk = FaultDisk()
        self.counter = 0
        self.appended: list[str] = []
        self.damaged: set[str] = set()
        self.received: dict[str, list[str]] = {name: [] for name in DESTINATIONS}
        self.bodies: dict[tuple[str, int], bytes] = {}
        self.open()

    def open(self) -> None:
        self.spool = Spool(
            self.directory, agent_id=AGENT, segment_bytes=400, ballast_bytes=0, disk=self.disk
        )
        self.spool.attach(DESTINATIONS)

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        texts = [f"text {self.counter + number}" for number in range(count)]
        self.counter += count
        sequences = self.spool.append([("logs", text.encode()) for text in texts])
        assert len(sequences) == count
        self.appended += texts

    @rule(destination=st.sampled_from(DESTINATIONS), count=st.integers(1, 5))
    def ship(self, destination: str, count: int) -> None:
        for _ in range(count):
            shipment = self.spool.peek(destination)
            if shipment is None:
                break
            assert self.spool.peek(destination) == shipment
            key = (shipment.epoch, shipment.sequence)
            assert self.bodies.setdefault(key, shipment.body) == shipment.body
            self.received[destination].append(zlib.decompress(shipment.body, wbits=31).decode())
            self.spool.acknowledge(destination, shipment.sequence)

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.open()

    @rule()
    def kill(self) -> None:
        abandon(self.spool)
        self.open()

    @rule(random=st.builds(Random, st.integers(0, 2**32)))
    def lose_power(self, random: Random) -> None:
        abandon(self.spool)
        self.disk.lose_power(random)
        self.open()

    @precondition(lambda self: any(self.directory.glob("*.seg")))
    @rule(data=st.data(), how=st.sampled_from(["flip", "zero", "cut"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        """Hurt one segment file while the spool is down; note which texts it can have cost."""
        self.spool.close()
        path = data.draw(st.sampled_from(sorted(self.directory.glob("*.seg"))))
        content = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        end = len(content) if how == "cut" else position + (1 if how == "flip" else 40)
        for text in self.appended:
            body = zlib.compress(text.encode(), 6, wbits=31)
            at = content.find(body)
            if at >= 0 and at - 32 < end and position < at + len(body):
                self.damaged.add(text)
        if how == "flip":
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "zero":
            content[position:end] = bytes(len(content[position:end]))
        else:
            del content[position:]
        path.write_bytes(content)
        self.open()

    @invariant()
    def what_arrives_is_what_was_appended(self) -> None:
        for destination, received in self.received.items():
            assert len(received) == len(set(received)), "an acknowledged batch came back"
            rest = iter(self.appended)
            assert all(text in rest for text in received), "out of order, or never appended"
            reached = self.appended.index(received[-1]) + 1 if received else 0
            lost = set(self.appended[:reached]) - set(received)
            assert lost <= self.damaged, f"{destination} never gets {lost - self.damaged}"

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        for destination in DESTINATIONS:
            self.ship(destination, 10_000)
            missing = set(self.appended) - set(self.received[destination])
            assert missing <= self.damaged
        self.what_arrives_is_what_was_appended()
        self.spool.close()
        self.folder.cleanup()


@pytest.mark.parametrize("position", [0, 4, 8, 9, 10, 12, 20, 28, 36, 44, 60, 72])
def test_zeros_anywhere_in_a_segment_s_head_cost_no_record(tmp_path: Path, position: int) -> None:
    spool = Spool(tmp_path / "spool", agent_id=AGENT)
    spool.attach(["one"])
    sequences = spool.append([("logs", f"text {number}".encode()) for number in range(5)])
    spool.close()
    (path,) = (tmp_path / "spool").glob("*.seg")
    content = bytearray(path.read_bytes())
    content[position : position + 40] = bytes(40)
    path.write_bytes(content)
    spool = Spool(tmp_path / "spool", agent_id=AGENT)
    spool.attach(["one"])
    received = []
    while (shipment := spool.peek("one")) is not None:
        received.append(shipment.sequence)
        spool.acknowledge("one", shipment.sequence)
    spool.close()
    assert tuple(received) == sequences


TestSpoolModel = SpoolModel.TestCase
TestSpoolModel = pytest.mark.slow(TestSpoolModel)
TestSpoolModel.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7), st.sampled_from(["flip", "zero", "cut"]))
def test_damage_anywhere_costs_only_what_it_hit_and_never_delivers_a_wrong_byte(
    place: int, bit: int, how: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        texts = [f"batch {number} " + "x" * number for number in range(40)]
        spool = Spool(directory, agent_id=AGENT, ballast_bytes=0)
        spool.append([("metrics", text.encode()) for text in texts])
        spool.close()
        (path,) = directory.glob("*.seg")
        content = bytearray(path.read_bytes())
        position = place % len(content)
        if how == "flip":
            content[position] ^= 1 << bit
        elif how == "zero":
            content[position : position + 100] = bytes(len(content[position : position + 100]))
        else:
            del content[position:]
        path.write_bytes(content)
        spool = Spool(directory, agent_id=AGENT, ballast_bytes=0)
        received = []
        while (shipment := spool.peek("out")) is not None:
            received.append(_text(shipment.body))
            assert shipment.sequence == texts.index(received[-1]) + 1
            spool.acknowledge("out", shipment.sequence)
        hit = {"flip": 1, "zero": 4, "cut": 40}[how]
        assert len(received) >= 40 - hit
        assert spool.append([("metrics", b"next")]) == (41,)
        spool.close()


def _text(body: bytes) -> str:
    return zlib.decompress(body, wbits=31).decode()
