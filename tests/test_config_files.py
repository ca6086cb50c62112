"""agent.toml and agent.d are one configuration, in which nothing is set twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vedette.config.files import DEPTH_MAX, SIZE_MAX, Tree, read


def texts(tree: Tree, folder: Path) -> list[str]:
    return [
        f"{Path(p.file).relative_to(folder)}:{p.line}: {p.text}".replace(f"{folder}/", "")
        for p in tree.in_order()
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "agent.d").mkdir()
    return tmp_path


def test_files_of_the_folder_continue_the_main_file_in_name_order(folder: Path) -> None:
    (folder / "agent.toml").write_text("[agent]\ninterval = '1s'\n[[rules]]\nn = 1\n")
    (folder / "agent.d" / "20-b.toml").write_text("[[rules]]\nn = 3\n")
    (folder / "agent.d" / "10-a.toml").write_text("[agent]\nwindow = '60s'\n[[rules]]\nn = 2\n")
    (folder / "agent.d" / "ignored.toml.bak").write_text("nonsense")
    (folder / "agent.d" / ".hidden.toml").write_text("nonsense")
    tree = read(folder / "agent.toml")
    assert tree.problems == []
    assert tree.data == {
        "agent": {"interval": "1s", "window": "60s"},
        "rules": [{"n": 1}, {"n": 2}, {"n": 3}],
    }


def test_a_place_is_found_in_the_file_that_it_came_from(folder: Path) -> None:
    (folder / "agent.toml").write_text("[agent]\ninterval = '1s'\n[[rules]]\nn = 1\n")
    (folder / "agent.d" / "a.toml").write_text("\n[[rules]]\n\nn = 2\n[agent]\nwindow = '60s'\n")
    tree = read(folder / "agent.toml")
    for place in [("rules", 1, "n"), ("agent", "window"), ("rules", 0, "gone"), ("agent",)]:
        tree.report(place, "x")
    assert texts(tree, folder) == [
        "agent.toml:1: x",
        "agent.toml:3: x",
        "agent.d/a.toml:4: x",
        "agent.d/a.toml:6: x",
    ]


def test_what_is_set_twice_is_told_with_both_places(folder: Path) -> None:
    (folder / "agent.toml").write_text("[agent]\ninterval = '1s'\nlist = [1]\nempty = []\n")
    (folder / "agent.d" / "a.toml").write_text(
        "[agent]\n\ninterval = '1s'\nlist = [2]\nempty.x = 1"
    )
    tree = read(folder / "agent.toml")
    assert texts(tree, folder) == [
        "agent.d/a.toml:3: [agent] 'interval' is set already at agent.toml:2",
        "agent.d/a.toml:4: [agent] 'list' is set already at agent.toml:3",
        "agent.d/a.toml:5: [agent] 'empty' is set already at agent.toml:4",
    ]
    assert tree.data["agent"]["interval"] == "1s"


def test_a_broken_file_does_not_hide_the_problems_of_the_others(folder: Path) -> None:
    (folder / "agent.toml").write_text("[agent]\nx = 1\n[agent]\n")
    (folder / "agent.d" / "a.toml").write_text("a = \n")
    (folder / "agent.d" / "b.toml").write_text("ok = 1\n")
    tree = read(folder / "agent.toml")
    assert texts(tree, folder) == [
        "agent.toml:3: syntax error in column 7: cannot declare [agent] twice",
        "agent.d/a.toml:1: syntax error in column 5: invalid value",
    ]
    assert tree.data == {"ok": 1}


def test_a_file_that_is_not_utf8_names_the_line(folder: Path) -> None:
    (folder / "agent.toml").write_bytes(b"# fine\n# \xff\n")
    assert texts(read(folder / "agent.toml"), folder) == ["agent.toml:2: not UTF-8 text"]


def test_a_byte_order_mark_and_windows_line_ends_are_taken(folder: Path) -> None:
    (folder / "agent.toml").write_bytes(b"\xef\xbb\xbf[agent]\r\n\r\nx = 1\r\n")
    tree = read(folder / "agent.toml")
    tree.report(("agent", "x"), "x")
    assert texts(tree, folder) == ["agent.toml:3: x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a = {'[' * 100_000}", "nested more than the allowed"),
        (f"a = {'[' * DEPTH_MAX}{']' * DEPTH_MAX}", f"tables nested more than {DEPTH_MAX} deep"),
        (".".join("a" * 900) + " = 1", f"tables nested more than {DEPTH_MAX} deep"),
        ("a = " + "1" * 5_000, "Exceeds the limit"),
        ("#" * (SIZE_MAX + 1), "larger than"),
    ],
)
def test_a_file_made_to_hurt_is_a_problem(folder: Path, text: str, expected: str) -> None:
    (folder / "agent.toml").write_text(text)
    (found,) = texts(read(folder / "agent.toml"), folder)
    assert expected in found
    assert len(found) < 600


def test_a_fifo_or_folder_in_place_of_the_file_does_not_hang(folder: Path) -> None:
    os.mkfifo(folder / "agent.toml")
    (folder / "agent.d" / "a.toml").mkdir()
    found = texts(read(folder / "agent.toml"), folder)
    assert found[0] == "agent.toml:0: cannot be read: not a regular file"
    assert found[1].startswith("agent.d/a.toml:0: cannot be read: ")


def test_a_file_that_any_user_may_write_is_refused(folder: Path) -> None:
    path = folder / "agent.toml"
    path.write_text("[agent]\n")
    path.chmod(0o664)
    assert read(path).problems == []
    path.chmod(0o666)
    assert "any user may write to this file" in read(path).problems[0].text


def test_a_folder_that_any_user_may_write_is_refused(folder: Path) -> None:
    (folder / "agent.toml").write_text("[agent]\n")
    (folder / "agent.d" / "a.toml").write_text("x = 1\n")
    (folder / "agent.d").chmod(0o777)
    tree = read(folder / "agent.toml")
    assert "any user may put a file into this folder" in tree.problems[0].text
    assert tree.data == {"agent": {}}
