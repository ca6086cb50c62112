"""Who writes a log: real processes with real files open."""

from __future__ import annotations

import sys
from pathlib import Path

from vedette.logs.writers import Writer, writers

sys.path.insert(0, str(Path(__file__).parent))
from host_logs import opened


def test_who_has_it_open_for_writing_is_told_who_reads_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    with opened(path, "r"):
        assert writers(str(path)) == []
        with opened(path, "a") as child:
            name = Path(f"/proc/{child.pid}/comm").read_text().strip()
            assert writers(str(path)) == [Writer(child.pid, name)]
            with opened(path, "a"):  # a second worker of the same program
                (one,) = writers(str(path))
                assert one.name == name
    assert writers(str(path)) == []


def test_this_process_is_none_of_them(tmp_path: Path) -> None:
    with (tmp_path / "app.log").open("a"):
        assert writers(str(tmp_path / "app.log")) == []


def test_the_search_ends_when_its_time_is_up(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    moments = iter([0.0, *[1.0] * 100_000])
    with opened(path, "a"):
        assert writers(str(path), clock=lambda: next(moments)) == []


def test_without_a_proc_nobody_is_told(tmp_path: Path) -> None:
    assert writers("/var/log/app.log", str(tmp_path / "none")) == []
