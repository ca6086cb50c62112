"""A drop-in runs with the agent's rights, so only root or the agent's user may have written it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vedette.api import hookimpl  # noqa: F401 - the drop-ins use it
from vedette.registry import PluginInfo, discover

PLUGIN = """\
from vedette.api import hookimpl

@hookimpl
def incident_changed(incident):
    pass
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins.d"
    folder.mkdir(mode=0o755)
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "mine.py").chmod(0o644)
    return folder


def only(folder: Path, owner_uid: int | None = None) -> PluginInfo:
    (info,) = discover(plugins_dir=folder, package=None, owner_uid=owner_uid).plugins
    return info


def test_a_file_of_the_own_user_is_imported(folder: Path) -> None:
    assert only(folder).status == "active"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o777])
def test_a_file_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    (folder / "mine.py").chmod(mode)
    info = only(folder)
    assert info.status == "refused"
    assert f"is writable by its group or by others (mode {mode:04o}): chmod go-w" in info.reason


@pytest.mark.parametrize("mode", [0o775, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused_as_a_whole(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    info = only(folder)
    assert (info.name, info.status, info.source) == ("plugins.d", "refused", str(folder))
    assert "is writable by its group or by others" in info.reason


def test_a_folder_inside_one_that_is_open_to_all_is_refused(folder: Path) -> None:
    folder.parent.chmod(0o777)
    assert only(folder).reason == f"{folder} lies in a folder open to all"
    folder.parent.chmod(0o1777)  # sticky: only the owner can replace what lies there
    assert only(folder).status == "active"


@needs_root
def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder / "mine.py", 12345, -1)
    assert "is owned by uid 12345, must be owned by root or uid 0" in only(folder).reason
    assert only(folder, owner_uid=12345).status == "active"


@needs_root
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder, 12345, -1)
    assert "is owned by uid 12345" in only(folder).reason


@needs_root
def test_a_file_of_root_is_good_for_every_user(folder: Path) -> None:
    assert only(folder, owner_uid=12345).status == "active"


def test_a_link_is_judged_by_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "mine.py").rename(elsewhere / "real.py")
    (folder / "mine.py").symlink_to(elsewhere / "real.py")
    assert only(folder).name == "mine"
    assert only(folder).status == "active"
    (elsewhere / "real.py").chmod(0o666)
    assert f"{elsewhere / 'real.py'} is writable" in only(folder).reason
    (elsewhere / "real.py").chmod(0o644)
    elsewhere.chmod(0o777)
    assert "lies in a folder open to all" in only(folder).reason


def test_a_linked_folder_is_judged_by_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.d"
    link.symlink_to(folder)
    assert only(link).status == "active"
    folder.chmod(0o777)
    assert only(link).status == "refused"


def test_what_is_no_regular_file_does_not_hang(folder: Path) -> None:
    (folder / "mine.py").unlink()
    os.mkfifo(folder / "mine.py", 0o644)
    assert only(folder).reason.endswith("mine.py is not a regular file")
    (folder / "mine.py").unlink()
    (folder / "mine.py").symlink_to("mine.py")
    assert only(folder).status == "refused"
    (folder / "mine.py").unlink()
    (folder / "mine.py").mkdir()
    assert only(folder).status == "refused"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plugins.d"
    path.write_text("")
    assert "cannot be read" in only(path).reason
