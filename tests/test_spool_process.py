"""The spool in real processes that are killed, limited, or run out of disk."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from vedette.spool import Spool, SpoolFullError, SpoolLockedError

AGENT = "agent"

# Appends numbered batches and prints each number once it is durable.
WRITER = """
import sys, pathlib
from vedette.spool import Spool
spool = Spool(pathlib.Path(sys.argv[1]), agent_id="agent", segment_bytes=20000, ballast_bytes=0)
spool.attach(["out"])
for number in range(int(sys.argv[2]), 10**9):
    spool.append([("metrics", b"%d " % number + bytes(range(256)) * (number % 9))])
    if number % 3 == 0:
        shipment = spool.peek("out")
        print("sent", shipment.sequence, flush=True)
        spool.acknowledge("out", shipment.sequence)
        print("acknowledged", shipment.sequence, flush=True)
    print("durable", number, flush=True)
"""


def drain(spool: Spool) -> list[int]:
    numbers = []
    while (shipment := spool.peek("out")) is not None:
        numbers.append(int(zlib.decompress(shipment.body, wbits=31).split()[0]))
        spool.acknowledge("out", shipment.sequence)
    return numbers


@pytest.mark.slow
def test_kill_9_in_mid_append_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    random = Random(7)
    durable: list[int] = []
    acknowledged = 0
    begin = 1
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(begin)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = random.randint(20, 200)
        for _ in range(lines):  # killed wherever it is after so many lines
            line = process.stdout.readline()
            begin, acknowledged = note(line, durable, begin, acknowledged)
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            begin, acknowledged = note(line, durable, begin, acknowledged)
        process.wait(30)
        process.stdout.close()
        begin += 1  # the number in hand when it died may or may not be there
    spool = Spool(tmp_path, agent_id=AGENT, ballast_bytes=0)
    spool.attach(["out"])
    left = drain(spool)
    assert left == sorted(set(left))
    # What was acknowledged is the oldest part; everything durable behind it is still there.
    assert set(durable[acknowledged + 8 :]) <= set(left)
    assert len(set(durable) - set(left)) <= acknowledged + 8
    assert spool.counters().missing == 0
    spool.close()


def note(line: str, durable: list[int], begin: int, acknowledged: int) -> tuple[int, int]:
    match line.split():
        case ["durable", number]:
            durable.append(int(number))
            return int(number) + 1, acknowledged
        case ["acknowledged", _]:
            return begin, acknowledged + 1
    return begin, acknowledged


def test_another_process_cannot_open_the_spool_until_the_first_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", WRITER.replace("10**9", "2") + "\ninput()", str(tmp_path), "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "durable 1\n"
    with pytest.raises(SpoolLockedError):
        Spool(tmp_path, agent_id=AGENT)
    holder.kill()
    holder.wait(30)
    for stream in (holder.stdin, holder.stdout):
        assert stream is not None
        stream.close()
    spool = Spool(tmp_path, agent_id=AGENT, ballast_bytes=0)
    assert drain(spool) == [1]
    spool.close()


def test_a_file_size_limit_fails_cleanly(tmp_path: Path) -> None:
    spool = Spool(tmp_path, agent_id=AGENT, ballast_bytes=0)
    spool.append([("metrics", b"1 before")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(SpoolFullError):
            spool.append([("metrics", b"2 " + os.urandom(20_000))])
        spool.append([("metrics", b"3 small")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    spool.append([("metrics", b"4 " + os.urandom(20_000))])
    assert drain(spool) == [1, 3, 4]
    spool.close()


@contextlib.contextmanager
def small_disk(size: str, *more: str) -> Iterator[Path]:
    """Mount a small file system; skip where that is not allowed."""
    with tempfile.TemporaryDirectory() as name:
        options = ",".join((f"size={size}", "mode=700", *more))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("mounting a tmpfs is not allowed here")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def fill(spool: Spool) -> int:
    """Append numbered batches until one does not fit; return its number."""
    random = Random(1)
    for number in range(1, 100):
        try:
            spool.append([("metrics", b"%d " % number + random.randbytes(9_000))])
        except SpoolFullError:
            return number
    return 0


def test_a_full_disk_keeps_everything_and_goes_on_when_there_is_room() -> None:
    with small_disk("1m") as disk:
        hog = disk / "hog"
        hog.write_bytes(bytes(500_000))
        spool = Spool(disk / "spool", agent_id=AGENT, segment_bytes=50_000, ballast_bytes=100_000)
        spool.attach(["out"])
        number = fill(spool)
        assert 10 < number < 100
        with pytest.raises(SpoolFullError):  # the released ballast is not for new batches
            spool.append([("metrics", b"%d again" % number)])
        assert spool.backlog("out").batches == number - 1
        spool.close()
        spool = Spool(disk / "spool", agent_id=AGENT, segment_bytes=50_000, ballast_bytes=100_000)
        spool.attach(["out"])
        for expected in range(1, 4):  # acknowledging works at 0 bytes free
            shipment = spool.peek("out")
            assert shipment is not None
            assert shipment.sequence == expected
            spool.acknowledge("out", expected)
        hog.unlink()
        assert spool.append([("metrics", b"%d at last" % number)]) == (number,)
        assert drain(spool) == list(range(4, number + 1))
        spool.close()


def test_no_room_even_for_a_name_does_not_stop_the_start() -> None:
    with small_disk("1m", "nr_inodes=6") as disk:
        names = [disk / f"hog{number}" for number in range(3)]
        spool = Spool(disk / "spool", agent_id=AGENT, ballast_bytes=0)  # directory, lock, identity
        spool.close()
        with contextlib.suppress(OSError):
            for name in names:
                name.touch()
        spool = Spool(disk / "spool", agent_id=AGENT, ballast_bytes=0)
        with pytest.raises(SpoolFullError):
            spool.append([("metrics", b"1 no inode")])
        for name in names:
            name.unlink(missing_ok=True)
        assert spool.append([("metrics", b"1 room")]) == (1,)
        assert drain(spool) == [1]
        spool.close()
