"""The chained record of models: proved, mended, rotated."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest

from vedette.models import catalogue as catalogue_module
from vedette.models.catalogue import Catalogue, read
from vedette.models.history import FILE, NOTHING, Anchor, History, entries, verify
from vedette.models.version import Version


def written(directory: Path, count: int) -> History:
    history = History(directory)
    history.open(1, Anchor())
    for place in range(count):
        history.append(place, "trained", detector="d", version=f"d-{place}", why="because")
    return history


def lines(directory: Path) -> list[bytes]:
    return (directory / FILE).read_bytes().splitlines(keepends=True)


def test_each_entry_holds_the_hash_of_the_one_before_it(tmp_path: Path) -> None:
    written(tmp_path, 5)
    before = NOTHING
    for line in lines(tmp_path):
        # By hand, from the file's bytes alone.
        told = json.loads(line)
        body = line[: line.index(b',"hash":"')] + b"}"
        assert told["before"] == before
        before = hashlib.sha256(body).hexdigest()
        assert told["hash"] == before
    proof = verify(tmp_path)
    assert (proof.entries, proof.first, proof.last, proof.broken) == (5, 1, 5, None)


@pytest.mark.parametrize("changed", range(1, 6))
def test_the_first_entry_that_was_changed_is_named(tmp_path: Path, changed: int) -> None:
    written(tmp_path, 5)
    all_ = lines(tmp_path)
    all_[changed - 1] = all_[changed - 1].replace(b"because", b"because!")
    (tmp_path / FILE).write_bytes(b"".join(all_))
    assert verify(tmp_path).broken == changed


def test_a_changed_entry_with_a_hash_of_its_own_breaks_the_next_one(tmp_path: Path) -> None:
    written(tmp_path, 5)
    all_ = lines(tmp_path)
    body = all_[1][: all_[1].index(b',"hash":"')].replace(b"because", b"no") + b"}"
    digest = hashlib.sha256(body).hexdigest().encode()
    all_[1] = body[:-1] + b',"hash":"' + digest + b'"}\n'
    (tmp_path / FILE).write_bytes(b"".join(all_))
    assert verify(tmp_path).broken == 3


@pytest.mark.parametrize("gone", [0, 2])
def test_an_entry_that_was_taken_out_is_missed(tmp_path: Path, gone: int) -> None:
    written(tmp_path, 5)
    all_ = lines(tmp_path)
    (tmp_path / FILE).write_bytes(b"".join(all_[:gone] + all_[gone + 1 :]))
    assert verify(tmp_path).broken == gone + 1


def test_entries_cut_off_at_the_end_are_missed_by_those_who_know_of_them(tmp_path: Path) -> None:
    history = written(tmp_path, 5)
    (tmp_path / FILE).write_bytes(b"".join(lines(tmp_path)[:3]))
    assert verify(tmp_path).broken is None
    proof = verify(tmp_path, history.last)
    assert (proof.broken, proof.text) == (4, "entries 4 to 5 are missing")


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_end_is_cut_off_and_said_and_the_chain_goes_on(tmp_path: Path, cut: int) -> None:
    written(tmp_path, 5)
    path = tmp_path / FILE
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), path.stat().st_size - cut)
    proof = verify(tmp_path)
    assert proof.broken == 5
    assert "torn" in proof.text or "tore" in proof.text
    history = History(tmp_path)
    (said,) = [one for one in history.open(9, Anchor()) if one.event == "mended"]
    assert said.seq == 5
    assert "never finished" in said.why
    history.append(10, "trained", detector="d", version="d-9")
    assert verify(tmp_path).broken is None
    assert [one.seq for one in entries(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_file_goes_on_in_the_next_with_the_chain(tmp_path: Path) -> None:
    history = History(tmp_path, rotate_bytes=2_000)
    history.open(0, Anchor())
    for place in range(60):
        history.append(place, "trained", detector="d", version=f"d-{place}", why="because")
    assert len(list(tmp_path.glob("history-*.jsonl"))) == 4
    assert (tmp_path / FILE).stat().st_size < 4_000
    proof = verify(tmp_path, history.last)
    assert proof.broken is None
    assert proof.first > 1
    assert proof.last == history.last.seq
    again = History(tmp_path, rotate_bytes=2_000)
    again.open(0, Anchor())
    assert again.last == history.last
    oldest = min(tmp_path.glob("history-*.jsonl"))
    oldest.write_bytes(oldest.read_bytes().replace(b"because", b"becaus."))
    assert verify(tmp_path).broken == proof.first + 1  # the first says "continued"


def test_a_rotation_that_a_crash_interrupted_goes_on(tmp_path: Path) -> None:
    history = written(tmp_path, 5)
    (tmp_path / FILE).rename(tmp_path / "history-00000005.jsonl")
    again = History(tmp_path)
    assert [one.seq for one in again.open(0, Anchor())] == [1, 2, 3, 4, 5]
    assert again.last == history.last
    again.append(1, "trained")
    assert verify(tmp_path).entries == 6


# ---------------------------------------------------------------- the versions that it tells of


def champion(catalogue: Catalogue) -> Version:
    version = Version(catalogue.next_id("d"), "d", "champion", "c", "c", "1/1", 1, "first", 1)
    catalogue.commit(1, "started", [version], why="first")
    return version


def test_versions_are_known_from_the_history_alone(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.open(0)
    first = champion(catalogue)
    catalogue.commit(2, "retired", [catalogue.moved(first, "retired", 2)], why="x")
    (catalogue.directory / catalogue_module.SNAPSHOT).unlink()
    again = Catalogue(tmp_path)
    again.open(3)
    assert again.versions == catalogue.versions
    assert again.next_id("d") == "d-2"
    versions, _ = read(tmp_path)
    assert versions == list(catalogue.versions.values())


@pytest.mark.parametrize("content", [b"", b"{", b'{"seq": "x"}', b"\x00" * 100])
def test_a_damaged_snapshot_is_made_again(tmp_path: Path, content: bytes) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.open(0)
    champion(catalogue)
    (catalogue.directory / catalogue_module.SNAPSHOT).write_bytes(content)
    again = Catalogue(tmp_path)
    again.open(3)
    assert again.versions == catalogue.versions


def test_a_lost_history_leaves_the_versions_and_a_gap_to_be_seen(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.open(0)
    first = champion(catalogue)
    (catalogue.directory / FILE).unlink()
    again = Catalogue(tmp_path)
    again.open(3)
    assert again.versions == {"d-1": first}
    again.commit(4, "retired", [again.moved(first, "retired", 4)], why="x")
    proof = verify(again.directory, again.anchor())
    assert (proof.first, proof.broken) == (2, 1)


def test_what_a_crash_left_over_is_cleared_away(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.open(0)
    champion(catalogue)
    for name in ("d-1.state", "d-7.state", "d-1.state.new", "incoming-3.state"):
        (catalogue.directory / name).write_bytes(b"x")
    again = Catalogue(tmp_path)
    again.open(1)
    assert {path.name for path in again.directory.glob("*.state*")} == {"d-1.state"}


def test_a_history_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.open(0)
    first = champion(catalogue)
    (catalogue.directory / FILE).unlink()
    (catalogue.directory / FILE).mkdir()
    with pytest.raises(OSError, match="directory"):
        catalogue.commit(2, "retired", [catalogue.moved(first, "retired", 2)], why="x")
    assert catalogue.versions == {"d-1": first}


def test_a_version_goes_only_where_it_may(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.open(0)
    first = champion(catalogue)
    with pytest.raises(ValueError, match="cannot become shadow"):
        catalogue.moved(first, "shadow", 2)
    retired = msgspec.structs.replace(first, status="retired")
    assert catalogue.moved(retired, "shadow", 3).since_ns == 3
