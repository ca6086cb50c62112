"""Where the journal is, which files matter, and what counts as a change."""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from journal_files import BOOT, LINE_AT, START_US, TAIL_NUMBER_AT, unpack_fixture

from vedette.logs import journal_places
from vedette.logs.journal_entry import CLOCKS_APART_MAX_US, at_time
from vedette.logs.journal_places import Places

MACHINE = "a" * 32
#: The fixture's: entries and time of the last one.
NUMBER, LAST_US = 208, START_US + 207_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place in ("var", "run"):
        unpack_fixture(tmp_path / place / "log/journal" / MACHINE)
    return tmp_path


def names(files: list[str]) -> list[str]:
    return sorted(Path(file).name for file in files)


def cursor(path: Path, number: int, realtime_us: int = LAST_US) -> str:
    line = path.read_bytes()[LINE_AT : LINE_AT + 16].hex()
    return f"s={line};i={number:x};b={BOOT};m=1;t={realtime_us:x};x=1"


def test_both_places_of_a_host_are_found(root: Path) -> None:
    look = Places(str(root)).look()
    assert (look.readable, look.denied) == (2, 0)
    assert [place.path for place in look.places] == [
        f"{root}/var/log/journal",
        f"{root}/var/log/journal/{MACHINE}",
        f"{root}/run/log/journal",
        f"{root}/run/log/journal/{MACHINE}",
    ]


def test_other_machines_of_this_host_are_left_out() -> None:
    paths = [place.path for place in Places().now()]
    assert len(paths) <= 4
    assert str(Places()) == "/var/log/journal or /run/log/journal"


def test_nothing_is_no_error(tmp_path: Path) -> None:
    look = Places(str(tmp_path / "none")).look()
    assert (look.places, look.readable, look.denied) == ((), 0, 0)


def test_files_that_come_go_or_are_renamed_are_a_change(root: Path) -> None:
    places, file = Places(str(root)), root / "var/log/journal" / MACHINE / "entries.journal"
    looks = [places.now()]
    assert places.now() == looks[0]
    (file.parent / "notes.txt").touch()
    assert places.now() == looks[0]
    archived = file.rename(file.parent / "entries@1.journal")
    looks.append(places.now())
    shutil.copy(archived, file)
    looks.append(places.now())
    archived.unlink()
    looks.append(places.now())
    # Another file of the same name.
    shutil.copy(file, file.parent / "new")
    (file.parent / "new").rename(file)
    looks.append(places.now())
    shutil.rmtree(root / "run")
    looks.append(places.now())
    assert all(looks[n] != looks[n + 1] for n in range(len(looks) - 1))


def test_what_is_written_to_an_open_file_is_no_change(root: Path) -> None:
    places, file = Places(str(root)), root / "var/log/journal" / MACHINE / "entries.journal"
    before = places.now()
    with file.open("r+b") as writing:
        writing.write(b"LPKSHHRH")
    assert places.now() == before


def test_a_directory_of_ones_own_is_looked_into_with_its_machines(root: Path) -> None:
    places = Places(directory=str(root / "var/log/journal"))
    assert len(places.now()) == 2
    assert names(places.files_from("")) == ["entries.journal"]


def test_what_is_archived_matters_only_if_there_may_be_more_in_it(tmp_path: Path) -> None:
    active = unpack_fixture(tmp_path)
    archived = Path(shutil.copy(active, tmp_path / "system@1.journal"))
    broken = Path(shutil.copy(active, tmp_path / "user-1000@2.journal~"))
    other = bytearray(active.read_bytes())
    other[LINE_AT] ^= 255
    broken.write_bytes(other)
    places = Places(directory=str(tmp_path))
    all_of_them = ["entries.journal", "system@1.journal", "user-1000@2.journal~"]
    margin = CLOCKS_APART_MAX_US
    for place, expected in [
        ("", all_of_them[:1]),
        (at_time(0), all_of_them),
        (cursor(active, NUMBER), all_of_them),
        # Of the same line the number decides, of another one the time.
        (cursor(active, NUMBER + 1), [all_of_them[0], all_of_them[2]]),
        (cursor(active, NUMBER + 1, LAST_US + margin), [all_of_them[0], all_of_them[2]]),
        (cursor(active, NUMBER + 1, LAST_US + margin + 1), all_of_them[:1]),
        (cursor(active, NUMBER, LAST_US + margin + 1), all_of_them[:2]),
        (at_time(LAST_US + margin), all_of_them),
        (at_time(LAST_US + margin + 1), all_of_them[:1]),
    ]:
        assert names(places.files_from(place)) == expected, place
    archived.write_bytes(_with_number(archived, 7))
    assert names(places.files_from(cursor(active, 8))) == [all_of_them[0], all_of_them[2]]


def _with_number(path: Path, number: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[TAIL_NUMBER_AT : TAIL_NUMBER_AT + 8] = struct.pack("<Q", number)
    return bytes(data)


def test_what_is_no_journal_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "empty.journal").touch()
    (tmp_path / "short.journal").write_bytes(b"LPKSHHRH")
    (tmp_path / "other.journal").write_bytes(b"x" * 500)
    (tmp_path / "lost.journal").symlink_to(tmp_path / "none")
    (tmp_path / "directory.journal").mkdir()
    places = Places(directory=str(tmp_path))
    assert places.files_from(at_time(0)) == []
    look = places.look()
    assert (look.readable, look.denied) == (3, 2)


def test_the_machines_id_is_read_again_when_it_becomes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "machine-id"
    monkeypatch.setattr(journal_places, "MACHINE_ID", str(file))
    places = Places()
    top = f"/{journal_places.PERSISTENT}"
    assert places._directories()[0] == top
    assert len(places._directories()) == 2
    for digit in "ab":
        (tmp_path / "new").write_text(digit * 32 + "\n")
        (tmp_path / "new").replace(file)
        assert places._directories()[1] == f"{top}/{digit * 32}"
    file.unlink()
    assert len(places._directories()) == 2
