"""Where a session's key may stand: in the message, in the header, in the journal's fields."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from host_logs import HostLogs
from journal_files import needs_journalctl, needs_library, unpack_fixture

from vedette.commands.logs_mine_ledger import Ledger
from vedette.commands.logs_mine_sessions import key_of
from vedette.logs.columns import Columns
from vedette.logs.entry import Entry
from vedette.logs.framing import HEAD_MAX, Framer
from vedette.logs.joining import Joiner
from vedette.logs.journal_entry import at_time
from vedette.logs.journal_export import ExportReader, program
from vedette.logs.journal_lib import Library, LibraryReader
from vedette.logs.journal_places import Places
from vedette.logs.sessions import SessionKey

NOW = 1_795_183_200 * 10**9
SSHD = "Nov 20 14:00:0{} host sshd[{}]: {}"


def open_keys(host: HostLogs, source: str) -> list[bytes]:
    return sorted(host.logs._digest.watches[source].sessions._open)


def test_the_collector_finds_the_key_in_the_header_as_mining_a_file_does(tmp_path: Path) -> None:
    pattern = r"sshd\[(\d+)\]"
    lines = [
        SSHD.format(at, pid, text)
        for at, (pid, text) in enumerate(
            [(71, "Connection from 10.0.0.1"), (72, "Connection from 10.0.0.2"),
             (71, "Accepted publickey for root"), (73, "Connection closed"), (72, "Bye")]
        )
    ]  # fmt: skip
    host = HostLogs(tmp_path, sessions={"*auth.log": pattern})
    (tmp_path / "var/log/auth.log").write_text("".join(f"{line}\n" for line in lines))
    host.tick(5)
    (source,) = (one for one in host.logs._digest.watches if one.endswith("auth.log"))
    ledger = Ledger(lines=True, key=key_of(pattern))
    ledger.begin("auth.log", normal=False)
    ledger.read([line.encode() for line in lines])
    assert open_keys(host, source) == sorted(ledger.keys) == [b"71", b"72", b"73"]


def test_a_key_in_the_message_and_in_the_header_alike_is_one(tmp_path: Path) -> None:
    host = HostLogs(tmp_path, sessions={"*app.log": r"req=(\w+)"})
    host.write("app.log", "begin req=a1", "step", "end req=a1 ok req=b2")
    host.tick(5)
    (source,) = (one for one in host.logs._digest.watches if one.endswith("app.log"))
    assert open_keys(host, source) == [b"a1", b"b2"]


@pytest.mark.parametrize(
    ("line", "pattern", "keys"),
    [
        (b"2026-11-20 14:00:00,123 INFO [worker-7] app: hi", r"\[(worker-\d+)\]", [b"worker-7"]),
        (b'{"time":"2026-11-20T14:00:00Z","msg":"ok","req_id":"r-9"}', r'id":"([^"]+)', [b"r-9"]),
        (b'time=2026-11-20T14:00:00Z level=info msg="ok" request=r-9', r"request=(\S+)", [b"r-9"]),
        (b"2026-11-20T14:00:00.1Z stdout F Nov 20 14:00:00 h c[12]: go", r"\[(\d+)\]", [b"12"]),
        (b"<13>Nov 20 14:00:00 h app[4242]: hello", r"app\[(\d+)", [b"4242"]),
        (b"no header at all, job 17", r"job (\d+)", [b"17"]),
    ],
)  # fmt: skip
def test_what_stands_before_the_message_is_searched_too(
    line: bytes, pattern: str, keys: list[bytes]
) -> None:
    framer = Framer(keeps_heads=True)
    columns = framer.columns([line], NOW)
    assert SessionKey(pattern).of(columns.heads[0] + columns.bodies[0]) == keys
    # Learned layouts are taken a shorter way, which has to give the same.
    columns = framer.columns([line] * 200, NOW)
    assert {head + body for head, body in zip(columns.heads, columns.bodies, strict=True)} == {
        columns.heads[0] + columns.bodies[0]
    }
    assert SessionKey(pattern).of(columns.heads[-1] + columns.bodies[-1]) == keys


def test_heads_are_kept_only_where_they_are_asked_for_and_are_bounded() -> None:
    assert Framer().columns([SSHD.format(0, 1, "x").encode()], NOW).heads == [b""]
    line = b'{"msg":"ok","blob":"' + b"x" * 5000 + b'"}'
    (head,) = Framer(keeps_heads=True).columns([line], NOW).heads
    assert len(head) == HEAD_MAX


def test_a_joined_event_has_the_head_of_its_first_line_held_back_or_not() -> None:
    lines = [
        SSHD.format(0, 5, "Traceback (most recent call last):").encode(),
        b'  File "x.py", line 1, in <module>',
        b"ValueError: no",
    ]
    joiner, again = Joiner(), Joiner()
    joiner.join(Framer(keeps_heads=True).columns(lines, NOW), NOW)
    again.restore(joiner.save())
    heads = again.flush(NOW, everything=True).heads
    assert b"sshd[5]" in heads[0]


@needs_journalctl
@needs_library
def test_both_ways_into_the_journal_tell_the_process(tmp_path: Path) -> None:
    places = Places(directory=str(unpack_fixture(tmp_path / "journal").parent))
    library = LibraryReader(Library(), places, at_time(0), heads=True)
    by_library = library.read(5, 1 << 30).entries
    library.close()
    child = ExportReader(program(), places, at_time(0), heads=True)
    try:
        by_child: list[Entry] = []
        while len(by_child) < 5:
            by_child += child.read(5, 1 << 30).entries
    finally:
        child.close()
    assert [one.head for one in by_library] == [one.head for one in by_child[:5]]
    assert all(one.head.endswith(b": ") for one in by_library)


def test_an_entry_of_the_journal_reads_as_in_a_file() -> None:
    entry = Entry(b"Accepted publickey for root", NOW, unit="ssh.service", head=b"sshd[81]: ")
    columns = Framer(keeps_heads=True).refine([entry], NOW)
    assert columns.heads == [b"sshd[81]: "]
    assert Columns.of(columns.entries()).bodies == [b"Accepted publickey for root"]
