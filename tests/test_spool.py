"""The spool on a real directory: what it keeps, in which order, and what it survives."""

from __future__ import annotations

import errno
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from vedette.api import Shipment
from vedette.spool import Spool, SpoolError, SpoolFullError, SpoolLockedError
from vedette.spool.disk import Disk
from vedette.spool.segment import HEADER_SIZE, RECORD_SIZE

AGENT = "0192d3a0-0000-7000-8000-000000000001"


class Clock:
    def __init__(self) -> None:
        self.ns = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        self.ns += 1_000_000_000
        return self.ns


class CountingDisk(Disk):
    """Count effects; ``fail`` maps an effect to the errors its next calls raise."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.fail: dict[str, list[int]] = {}

    def before(self, effect: str, target: str) -> None:
        self.effects.append(effect)
        errors = self.fail.get(effect)
        if errors:
            number = errors.pop(0)
            if number:
                raise OSError(number, os.strerror(number))


class UnsyncedDisk(Disk):
    """Skip the waits, where a test opens very many spools."""

    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def make(directory: Path, **options: object) -> Spool:
    settings: dict[str, object] = {"agent_id": AGENT, "ballast_bytes": 0, "clock_ns": Clock()}
    return Spool(directory, **(settings | options))  # type: ignore[arg-type]


def put(spool: Spool, *texts: str) -> tuple[int, ...]:
    return spool.append([("metrics", text.encode()) for text in texts])


def drain(spool: Spool, destination: str = "out") -> list[Shipment]:
    shipments = []
    while (shipment := spool.peek(destination)) is not None:
        shipments.append(shipment)
        spool.acknowledge(destination, shipment.sequence)
    return shipments


def texts(shipments: list[Shipment]) -> list[str]:
    return [zlib.decompress(shipment.body, wbits=31).decode() for shipment in shipments]


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def damage_record(path: Path, text: str, change: Callable[[bytearray, int, int], None]) -> None:
    """Change the bytes of the record that holds ``text``: ``change(data, begin, end)``."""
    body = zlib.compress(text.encode(), 6, wbits=31)
    data = bytearray(path.read_bytes())
    begin = data.index(body)
    change(data, begin - RECORD_SIZE, begin + len(body))
    path.write_bytes(data)


def test_batches_come_back_in_order_and_byte_identical(tmp_path: Path) -> None:
    spool = make(tmp_path)
    assert spool.append([("metrics", b"one"), ("logs", b"two")]) == (1, 2)
    assert put(spool, "three") == (3,)
    first = spool.peek("out")
    assert first is not None
    assert first == spool.peek("out")
    assert (first.agent, first.epoch, first.sequence) == (AGENT, spool.epoch, 1)
    shipments = drain(spool)
    assert shipments[0] == first
    assert [each.signal for each in shipments] == ["metrics", "logs", "metrics"]
    assert texts(shipments) == ["one", "two", "three"]
    assert spool.peek("out") is None


def test_one_append_is_one_write_and_one_sync_however_many_batches(tmp_path: Path) -> None:
    disk = CountingDisk()
    spool = make(tmp_path, disk=disk)
    put(spool, "first")
    disk.effects.clear()
    put(spool, *(str(number) for number in range(50)))
    assert disk.effects.count("sync") == 1
    assert disk.effects == ["write", "sync", "write"]  # the last is the unsynced high-water mark


def test_a_new_segment_has_its_name_synced_before_its_batches_are_visible(tmp_path: Path) -> None:
    disk = CountingDisk()
    spool = make(tmp_path, disk=disk)
    disk.effects.clear()
    put(spool, "first")
    assert disk.effects == ["create", "write", "sync", "sync_directory", "write"]


def test_acknowledged_batches_stay_away_after_a_restart(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "a", "b", "c")
    shipment = spool.peek("out")
    assert shipment is not None
    spool.acknowledge("out", shipment.sequence)
    epoch = spool.epoch
    spool.close()
    spool = make(tmp_path)
    assert spool.epoch == epoch
    assert texts(drain(spool)) == ["b", "c"]
    assert put(spool, "d") == (4,)


def test_each_destination_has_its_own_place(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.attach(["one", "two"])
    put(spool, "a", "b")
    assert texts(drain(spool, "one")) == ["a", "b"]
    assert spool.backlog("one").batches == 0
    assert spool.backlog("two").batches == 2
    assert texts(drain(spool, "two")) == ["a", "b"]


def test_the_backlog_knows_number_bytes_and_age(tmp_path: Path) -> None:
    clock = Clock()
    spool = make(tmp_path, segment_bytes=200, clock_ns=clock)
    put(spool, "a" * 100)
    oldest_ns = clock.ns
    for number in range(9):
        put(spool, f"{number}" * 100)
    assert len(segments(tmp_path)) > 2
    total = sum(len(zlib.compress(text.encode() * 100, 6, wbits=31)) for text in "a012345678")
    backlog = spool.backlog("out")
    assert (backlog.batches, backlog.bytes, backlog.oldest_ns) == (10, total, oldest_ns)
    drain(spool)
    assert spool.backlog("out").oldest_ns is None


def test_a_new_destination_begins_at_the_oldest_batch_still_there(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    spool.attach(["old"])
    put(spool, "a")
    put(spool, "b")
    put(spool, "c")
    shipment = spool.peek("old")
    assert shipment is not None
    spool.acknowledge("old", shipment.sequence)
    spool.attach(["old", "new"])
    assert texts(drain(spool, "new")) == ["b", "c"]


def test_a_removed_destination_holds_nothing_back_and_keeps_its_place(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    spool.attach(["stays", "goes"])
    for text in "abc":
        put(spool, text)
    first = spool.peek("goes")
    assert first is not None
    spool.acknowledge("goes", first.sequence)
    drain(spool, "stays")
    assert len(segments(tmp_path)) == 2
    spool.attach(["stays"])
    assert len(segments(tmp_path)) == 1  # the one being written on
    spool.attach(["stays", "goes"])
    assert texts(drain(spool, "goes")) == ["c"]


def test_without_a_destination_nothing_is_kept_but_what_is_there_stays(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "before")
    spool.attach([])
    assert put(spool, "nobody wants it") == ()
    assert spool.counters().unkept == 1
    spool.attach(["out"])
    assert put(spool, "after") == (2,)
    assert texts(drain(spool)) == ["before", "after"]


def test_nothing_is_removed_before_the_destinations_are_known(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for text in "abc":
        put(spool, text)
    drain(spool, "one")
    assert len(segments(tmp_path)) == 3
    assert texts(drain(spool, "two")) == ["a", "b", "c"]


def test_a_segment_is_unlinked_only_after_the_cursor_is_durable(tmp_path: Path) -> None:
    disk = CountingDisk()
    spool = make(tmp_path, segment_bytes=1, disk=disk)
    spool.attach(["out"])
    put(spool, "a")
    put(spool, "b")
    spool.peek("out")
    disk.effects.clear()
    spool.acknowledge("out", 1)
    assert disk.effects == ["write", "sync", "unlink"]
    put(spool, "c")
    spool.peek("out")
    disk.effects.clear()
    disk.fail["sync"] = [errno.EIO]
    with pytest.raises(SpoolError):
        spool.acknowledge("out", 2)
    assert "unlink" not in disk.effects
    assert texts(drain(spool)) == ["b", "c"]


def test_acknowledging_twice_does_nothing_and_an_unknown_batch_is_an_error(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "a", "b", "c")
    spool.peek("out")
    with pytest.raises(ValueError, match="2 is not what out was handed"):
        spool.acknowledge("out", 2)
    spool.acknowledge("out", 1)
    spool.acknowledge("out", 1)
    assert spool.counters().acknowledged == 1
    assert texts(drain(spool)) == ["b", "c"]


def test_sequences_go_on_after_every_segment_was_unlinked(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.attach(["out"])
    put(spool, "a", "b")
    drain(spool)
    epoch = spool.epoch
    spool.close()
    for path in segments(tmp_path):
        path.unlink()
    spool = make(tmp_path)
    assert spool.epoch == epoch
    assert put(spool, "c") == (3,)
    assert spool.counters().missing == 0


@pytest.mark.parametrize("lost", ["identity", "everything"])
def test_a_spool_without_its_identity_begins_a_new_epoch(tmp_path: Path, lost: str) -> None:
    spool = make(tmp_path)
    put(spool, "a", "b")
    spool.peek("out")
    old = spool.epoch
    spool.close()
    for path in tmp_path.iterdir():
        if path.is_file() and (lost == "everything" or path.name == "identity"):
            path.unlink()
    spool = make(tmp_path)
    assert spool.epoch != old
    assert len(spool.epoch) == 16
    assert put(spool, "c") == (1,)
    shipments = drain(spool)
    if lost == "identity":
        assert [(each.epoch, each.sequence) for each in shipments] == [
            (old, 1),
            (old, 2),
            (spool.epoch, 1),
        ]
    else:
        assert texts(shipments) == ["c"]


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    spool = make(tmp_path)
    with pytest.raises(SpoolLockedError, match="another process"):
        make(tmp_path)
    assert put(spool, "a") == (1,)
    spool.close()
    make(tmp_path).close()


def test_a_closed_spool_says_so(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.close()
    spool.close()
    with pytest.raises(SpoolError, match="closed"):
        spool.peek("out")


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot open the spool"):
        make(tmp_path / "file" / "spool")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a\n"])
def test_a_destination_is_never_a_path(tmp_path: Path, name: str) -> None:
    spool = make(tmp_path)
    with pytest.raises(ValueError, match="cannot be the name"):
        spool.peek(name)


# ---------------------------------------------------------------- the cap


def test_over_the_cap_the_oldest_segments_go_and_are_counted(tmp_path: Path) -> None:
    spool = make(tmp_path, cap_bytes=2000, segment_bytes=500)
    spool.attach(["out"])
    payloads = [os.urandom(200).hex() for _ in range(30)]
    for payload in payloads:
        put(spool, payload)
    counters = spool.counters()
    assert counters.bytes <= 2000
    left = drain(spool)
    assert texts(left) == payloads[-len(left) :]
    assert counters.dropped == 30 - len(left)
    # The receiver can tell: what was dropped is a hole in the numbers.
    assert [each.sequence for each in left] == list(range(31 - len(left), 31))


def test_a_batch_in_doubt_is_not_dropped_at_the_cap(tmp_path: Path) -> None:
    spool = make(tmp_path, cap_bytes=2000, segment_bytes=1)
    spool.attach(["out"])
    put(spool, "in doubt")
    shipment = spool.peek("out")
    for _ in range(30):
        put(spool, os.urandom(200).hex())
    spool.close()
    spool = make(tmp_path, cap_bytes=2000, segment_bytes=1)  # it is in doubt after a restart too
    spool.attach(["out"])
    for _ in range(30):
        put(spool, os.urandom(200).hex())
    assert spool.peek("out") == shipment


def test_what_one_destination_has_is_not_counted_as_dropped(tmp_path: Path) -> None:
    spool = make(tmp_path, cap_bytes=400, segment_bytes=1)
    put(spool, "a")
    put(spool, "b")
    drain(spool)
    for text in "cdefghijkl":
        put(spool, text)
        drain(spool)
    assert spool.counters().dropped == 0


# ---------------------------------------------------------------- dead letters


def test_a_refused_batch_goes_to_the_dead_letters_and_the_next_one_comes(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "poison", "fine")
    shipment = spool.peek("out")
    assert shipment is not None
    spool.refuse("out", shipment, "status 400 / ../..")
    (letter,) = (tmp_path / "dead").iterdir()
    assert letter.read_bytes() == shipment.body
    assert letter.name.endswith(f"-out-{spool.epoch}-1-metrics-status-400.gz")
    assert texts(drain(spool)) == ["fine"]
    counters = spool.counters()
    assert (counters.refused, counters.acknowledged) == (1, 1)


def test_at_most_200_dead_letters_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, *(str(number) for number in range(205)))
    while (shipment := spool.peek("out")) is not None:
        spool.refuse("out", shipment, "status 400")
    letters = sorted((tmp_path / "dead").iterdir())
    assert len(letters) == 200
    assert spool.counters().dead_letters_evicted == 5
    assert "-6-metrics-" in letters[0].name


def test_a_dead_letter_that_cannot_be_kept_does_not_block_the_rest(tmp_path: Path) -> None:
    spool = make(tmp_path)
    (tmp_path / "dead").write_text("in the way")
    put(spool, "poison", "fine")
    shipment = spool.peek("out")
    assert shipment is not None
    spool.refuse("out", shipment, "status 400")
    assert spool.counters().dead_letters_lost == 1
    assert texts(drain(spool)) == ["fine"]


# ---------------------------------------------------------------- damage


def flip(data: bytearray, begin: int, end: int) -> None:
    data[(begin + end) // 2] ^= 0x10


def flip_length(data: bytearray, begin: int, end: int) -> None:
    data[begin + 4 : begin + 8] = b"\xff\xff\xff\xff"


def shorter_length(data: bytearray, begin: int, end: int) -> None:
    data[begin + 4] -= 1


def zero(data: bytearray, begin: int, end: int) -> None:
    data[begin:end] = bytes(end - begin)


def cut_out(data: bytearray, begin: int, end: int) -> None:
    del data[begin:end]


@pytest.mark.parametrize("change", [flip, flip_length, shorter_length, zero])
def test_a_damaged_batch_in_the_middle_is_skipped_kept_and_counted(
    tmp_path: Path, change: Callable[[bytearray, int, int], None]
) -> None:
    spool = make(tmp_path)
    put(spool, "one", "two", "three")
    spool.close()
    damage_record(segments(tmp_path)[0], "two", change)
    spool = make(tmp_path)
    shipments = drain(spool)
    assert texts(shipments) == ["one", "three"]
    assert [each.sequence for each in shipments] == [1, 3]
    counters = spool.counters()
    assert (counters.damaged, counters.missing) == (1, 1)
    (kept,) = (tmp_path / "damaged").iterdir()
    assert "-at-" in kept.name
    assert put(spool, "four") == (4,)
    spool.close()
    spool = make(tmp_path)  # the same damage is not news at the next start
    assert spool.counters().damaged == 0


def test_a_batch_cut_out_of_the_file_is_a_hole(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one", "two", "three")
    spool.close()
    damage_record(segments(tmp_path)[0], "two", cut_out)
    assert texts(drain(make(tmp_path))) == ["one", "three"]


def test_damage_that_comes_while_running_is_found_before_it_is_sent(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one", "two", "three")
    damage_record(segments(tmp_path)[0], "two", flip)
    assert texts(drain(spool)) == ["one", "three"]
    assert spool.counters().damaged == 1


def test_a_truncated_last_batch_costs_only_itself_at_every_byte(tmp_path: Path) -> None:
    spool = make(tmp_path / "origin", disk=UnsyncedDisk())
    put(spool, "one", "two")
    epoch = spool.epoch
    spool.close()
    files = {path.name: path.read_bytes() for path in (tmp_path / "origin").iterdir()}
    (name,) = (path.name for path in segments(tmp_path / "origin"))
    whole = len(files[name])
    begin = whole - RECORD_SIZE - len(zlib.compress(b"two", 6, wbits=31))
    for size in range(begin, whole):
        directory = tmp_path / str(size)
        directory.mkdir()
        for other, data in files.items():
            (directory / other).write_bytes(data)
        (directory / name).write_bytes(files[name][:size])
        spool = make(directory, disk=UnsyncedDisk())
        assert spool.epoch == epoch
        # Two was durable, so its number is spent: the receiver must see that it is missing.
        assert put(spool, "three") == (3,)
        assert texts(drain(spool)) == ["one", "three"]
        assert spool.counters().missing == 1
        assert spool.counters().torn == (size > begin)
        spool.close()
        spool = make(directory, disk=UnsyncedDisk())
        assert (spool.counters().torn, spool.counters().damaged) == (0, 0)
        spool.close()


def test_a_torn_tail_is_cut_off_the_file(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one")
    size = segments(tmp_path)[0].stat().st_size
    put(spool, "a much longer batch than the first one was")
    spool.close()
    torn = segments(tmp_path)[0].read_bytes()[:-1]
    segments(tmp_path)[0].write_bytes(torn)
    make(tmp_path).close()
    assert segments(tmp_path)[0].stat().st_size == size
    (kept,) = (tmp_path / "damaged").iterdir()
    assert kept.read_bytes() == torn[size:]


def test_a_number_a_destination_has_seen_is_not_used_again(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one")
    old_mark = (tmp_path / "identity").read_bytes()
    put(spool, "two")
    drain_one = spool.peek("out")
    assert drain_one is not None
    spool.acknowledge("out", 1)
    assert spool.peek("out") is not None  # on its way, not acknowledged
    spool.close()
    # What a power loss may leave: the unsynced high-water mark is old; and the record is hurt too.
    (tmp_path / "identity").write_bytes(old_mark)
    os.truncate(segments(tmp_path)[0], segments(tmp_path)[0].stat().st_size - 1)
    spool = make(tmp_path)
    assert put(spool, "three") == (3,)


def test_a_file_truncated_within_its_header_does_not_stop_the_start(tmp_path: Path) -> None:
    for size in (0, 1, 8, 10, HEADER_SIZE - 1, HEADER_SIZE):
        directory = tmp_path / str(size)
        spool = make(directory)
        put(spool, "one")
        spool.close()
        os.truncate(segments(directory)[0], size)
        spool = make(directory)
        assert put(spool, "two") == (2,)
        assert texts(drain(spool)) == ["two"]
        assert spool.counters().missing == 1


def test_a_damaged_segment_header_costs_no_batch(tmp_path: Path) -> None:
    for position in range(HEADER_SIZE):
        directory = tmp_path / str(position)
        spool = make(directory, disk=UnsyncedDisk())
        put(spool, "one", "two")
        spool.close()
        path = segments(directory)[0]
        data = bytearray(path.read_bytes())
        data[position] ^= 0x01
        path.write_bytes(data)
        spool = make(directory, disk=UnsyncedDisk())
        assert put(spool, "three") == (3,)
        assert texts(drain(spool)) == ["one", "two", "three"]
        assert spool.counters().damaged == 1
        spool.close()


def test_another_version_and_another_agent_are_moved_out_of_the_way(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for text in "abc":
        put(spool, text)
    spool.close()
    newer, foreign, _ = segments(tmp_path)
    data = bytearray(newer.read_bytes())
    data[8:10] = (7).to_bytes(2, "little")
    data[HEADER_SIZE - 4 : HEADER_SIZE] = zlib.crc32(data[: HEADER_SIZE - 4]).to_bytes(4, "little")
    newer.write_bytes(data)
    other = make(tmp_path / "other", agent_id="somebody-else")
    put(other, "x")
    other.close()
    foreign.write_bytes(segments(tmp_path / "other")[0].read_bytes())
    spool = make(tmp_path)
    assert texts(drain(spool)) == ["c"]
    assert spool.counters().damaged == 2
    kept = sorted(path.name for path in (tmp_path / "damaged").iterdir())
    assert kept[0].endswith("-version")
    assert kept[1].endswith("-foreign-agent")


def test_a_spool_copied_to_another_agent_sends_nothing_of_the_first(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "belongs to the first")
    old = spool.epoch
    spool.close()
    spool = make(tmp_path, agent_id="the-clone")
    assert spool.epoch != old
    assert put(spool, "own") == (1,)
    (shipment,) = drain(spool)
    assert (shipment.agent, shipment.epoch) == ("the-clone", spool.epoch)


def test_strange_things_with_a_segments_name_do_not_stop_the_start(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one")
    spool.close()
    (real,) = segments(tmp_path)
    secret = tmp_path.parent / "secret"
    secret.write_bytes(b"not to be touched")
    (tmp_path / f"00000001-{5:020d}.seg").symlink_to(secret)
    os.mkfifo(tmp_path / f"00000001-{6:020d}.seg")
    (tmp_path / f"00000001-{7:020d}.seg").mkdir()
    (tmp_path / f"00000001-{8:020d}.seg").write_bytes(b"")
    (tmp_path / f"00000001-{9:020d}.seg").write_bytes(real.read_bytes())
    (tmp_path / f"99999999-{'9' * 20}.seg").write_bytes(os.urandom(5000))
    (tmp_path / "unrelated.txt").write_text("left alone")
    spool = make(tmp_path)
    assert texts(drain(spool)) == ["one"]
    assert put(spool, "two") == (2,)
    assert texts(drain(spool)) == ["two"]
    assert secret.read_bytes() == b"not to be touched"
    assert (tmp_path / "unrelated.txt").exists()


def test_a_segment_replaced_by_a_link_while_running_is_not_followed(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one")
    (path,) = segments(tmp_path)
    copy = tmp_path.parent / "elsewhere"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(copy)
    assert spool.peek("out") is None
    assert spool.counters().damaged == 1


def test_a_damaged_cursor_resends_rather_than_loses(tmp_path: Path) -> None:
    spool = make(tmp_path)
    put(spool, "one", "two")
    spool.peek("out")
    spool.acknowledge("out", 1)
    spool.close()
    (tmp_path / "out.cursor").write_bytes(os.urandom(8192))
    spool = make(tmp_path)
    assert put(spool, "three") == (3,)
    assert texts(drain(spool)) == ["one", "two", "three"]
    spool.close()
    spool = make(tmp_path)
    assert drain(spool) == []


@pytest.mark.parametrize("slot", [0, 1])
def test_one_damaged_slot_of_a_cursor_steps_back_at_most_one_value(
    tmp_path: Path, slot: int
) -> None:
    spool = make(tmp_path)
    put(spool, *"abcdef")
    for _ in range(3):
        shipment = spool.peek("out")
        assert shipment is not None
        spool.acknowledge("out", shipment.sequence)
    spool.close()
    path = tmp_path / "out.cursor"
    data = bytearray(path.read_bytes())
    data[slot * 4096 : (slot + 1) * 4096] = bytes(4096)
    path.write_bytes(data)
    left = texts(drain(make(tmp_path)))
    assert left in (list("def"), list("cdef"))


@pytest.mark.parametrize("kind", ["link", "directory", "pipe", "empty"])
@pytest.mark.parametrize("name", ["identity", "out.cursor"])
def test_a_strange_identity_or_cursor_is_replaced(tmp_path: Path, name: str, kind: str) -> None:
    spool = make(tmp_path)
    put(spool, "one")
    spool.close()
    path = tmp_path / name
    path.unlink(missing_ok=True)
    target = tmp_path.parent / "target"
    target.write_bytes(b"untouched")
    match kind:
        case "link":
            path.symlink_to(target)
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.write_bytes(b"")
        case "directory":
            path.mkdir()
    spool = make(tmp_path)
    put(spool, "two")
    assert texts(drain(spool)) == ["one", "two"]
    assert target.read_bytes() == b"untouched"


# ---------------------------------------------------------------- a disk that fails


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("effect", ["create", "write"])
def test_a_full_disk_fails_cleanly_and_the_call_can_be_repeated(
    tmp_path: Path, effect: str, number: int
) -> None:
    disk = CountingDisk()
    spool = make(tmp_path, disk=disk, segment_bytes=1 if effect == "create" else 4096)
    put(spool, "one")
    epoch = spool.epoch
    disk.fail[effect] = [number] * 3
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            put(spool, "two")
    assert spool.counters().failed_appends == 3
    assert put(spool, "two") == (2,)
    assert spool.epoch == epoch
    assert texts(drain(spool)) == ["one", "two"]


def test_a_partly_written_batch_is_taken_back(tmp_path: Path) -> None:
    class ShortDisk(CountingDisk):
        def write(self, fd: int, data: bytes, offset: int) -> None:
            if self.fail.get("short") and len(data) > 100:
                self.fail["short"].pop()
                super().write(fd, data[: len(data) // 2], offset)
                raise OSError(errno.ENOSPC, "full")
            super().write(fd, data, offset)

    disk = ShortDisk()
    spool = make(tmp_path, disk=disk)
    put(spool, "one")
    size = segments(tmp_path)[0].stat().st_size
    disk.fail["short"] = [1]
    with pytest.raises(SpoolFullError):
        put(spool, os.urandom(500).hex())
    assert segments(tmp_path)[0].stat().st_size == size
    put(spool, "two")
    assert texts(drain(spool)) == ["one", "two"]


def test_after_a_failed_sync_numbers_are_not_used_again(tmp_path: Path) -> None:
    disk = CountingDisk()
    spool = make(tmp_path, disk=disk)
    put(spool, "one")
    old = spool.epoch
    disk.fail["sync"] = [errno.EIO]
    with pytest.raises(SpoolError):
        put(spool, "two")
    assert put(spool, "two again") == (1,)
    assert spool.epoch != old
    assert texts(drain(spool)) == ["one", "two again"]
    spool.close()
    assert make(tmp_path).epoch == spool.epoch


def test_the_ballast_gets_acknowledgements_through_a_full_disk(tmp_path: Path) -> None:
    disk = CountingDisk()
    spool = make(tmp_path, disk=disk, ballast_bytes=4096)
    spool.attach(["out"])
    put(spool, "one", "two")
    assert (tmp_path / "ballast").stat().st_size == 4096
    spool.peek("out")
    disk.fail["write"] = [errno.ENOSPC]
    spool.acknowledge("out", 1)
    assert not (tmp_path / "ballast").exists()
    assert texts(drain(spool)) == ["two"]
    put(spool, "three")  # there is room again, so the reserve is taken first
    assert (tmp_path / "ballast").exists()


def test_a_start_on_a_full_disk_succeeds_and_waits_for_room(tmp_path: Path) -> None:
    disk = CountingDisk()
    disk.fail["create"] = [errno.ENOSPC] * 3
    spool = make(tmp_path, disk=disk, ballast_bytes=4096)
    with pytest.raises(SpoolFullError):
        put(spool, "one")
    epoch = spool.epoch
    assert put(spool, "one") == (1,)
    spool.close()
    assert make(tmp_path).epoch == epoch


def test_a_batch_that_no_receiver_takes_is_refused_at_once(tmp_path: Path) -> None:
    spool = make(tmp_path)
    with pytest.raises(ValueError, match="limit"):
        spool.append([("metrics", os.urandom(17 * 1024 * 1024))])


def test_appending_and_shipping_threads_share_the_spool(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=2000)
    spool.attach(["one", "two"])
    received: dict[str, list[int]] = {"one": [], "two": []}
    done = threading.Event()

    def ship(name: str) -> None:
        while True:
            finished = done.is_set()
            for shipment in drain(spool, name):
                received[name].append(shipment.sequence)
            if finished:
                return

    threads = [threading.Thread(target=ship, args=(name,)) for name in received]
    for thread in threads:
        thread.start()
    for number in range(100):
        put(spool, f"{number}", f"{number} more")
    done.set()
    for thread in threads:
        thread.join(30)
    assert received == {"one": list(range(1, 201)), "two": list(range(1, 201))}
    assert len(segments(tmp_path)) == 1
