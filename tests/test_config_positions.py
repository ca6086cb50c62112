"""Every key of a TOML document has the line on which it stands."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.config.toml_positions import Path, positions
from vedette.config.toml_text import toml_key, toml_value


def line_of(text: str, *path: str | int) -> int:
    tomli.loads(text)
    return positions(text)[path]


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("# c\n\n[t]\nk = 1", ("t", "k"), 4),
        ("[t]\n\n  [t.u]\nk = 1", ("t", "u"), 3),
        ("[t.u]\n[t]\nk = 1", ("t",), 2),
        ("a.b.c = 1\na.b.d = 2", ("a", "b", "d"), 2),
        ("a . 'b' . \"c\" = 1", ("a", "b", "c"), 1),
        ("'a.b' = 1\n\"#\" = 2", ("#",), 2),
        ('"\\u0061\\"=" = 1', ('a"=',), 1),
        ("[[t]]\nk = 1\n[[t]]\nk = 2", ("t", 1, "k"), 4),
        ("[[t]]\n[[t.u]]\n[[t]]\n[[t.u]]\n[[t.u]]\nk = 1", ("t", 1, "u", 1, "k"), 6),
        ("[[t]]\n[t.s]\nk = 1\n[[t]]\n[t.s]\nk = 2", ("t", 1, "s", "k"), 6),
        ('a = """\nb = 1\n"""\nb = 2', ("b",), 4),
        ("a = '''\n]\n\"'''\nb = 2", ("b",), 4),
        ('a = """x"""""\nb = 1', ("b",), 2),
        ('a = """\\"""" # """\nb = 1', ("b",), 2),
        ("a = ''''''\nb = ''", ("b",), 2),
        ("a = [ # ]\n 1,\n '2]',\n]\nb = 1", ("b",), 5),
        ("a = [\n 1,\n { x = 1 },\n]", ("a", 1, "x"), 3),
        ("a = { x = [1,\n2], y = 3 }\nb = 1", ("a", "y"), 2),
        ("a = 1979-05-27 07:32:00 # at\nb = 1", ("b",), 2),
        ("a = 1\r\n\r\nb = 2\r\n", ("b",), 3),
        ("a = {}\nb = []\nc = [[]]\nd = 1", ("d",), 4),
    ],
)
def test_a_key_has_its_line(text: str, path: Path, line: int) -> None:
    assert line_of(text, *path) == line


KEYS = st.text(alphabet="ab.-# \"'=[]\\é\n", min_size=1, max_size=4)
TEXTS = st.text(alphabet="ab\"'\\#,]}=\n é", max_size=8)
SCALARS = TEXTS | st.integers(-9, 9) | st.booleans() | st.sampled_from([1.5, 1e30, -0.25])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(data=st.dictionaries(KEYS, VALUES, max_size=5))
def test_every_value_of_a_document_has_a_line(data: dict[str, Any]) -> None:
    lines: list[str] = []
    expected: dict[Path, int] = {}
    for key, value in data.items():
        lines.append('# a comment = [ { "')
        if isinstance(value, dict):
            lines.append(f"[{toml_key(key)}]")
            expected[(key,)] = len(lines)
            for inner, item in value.items():
                lines.append(f"  {toml_key(inner)} = {toml_value(item)} # ]")
                expected[(key, inner)] = len(lines)
    for key, value in data.items():
        if not isinstance(value, dict):
            lines.insert(0, f"{toml_key(key)} = {toml_value(value)}")
            expected = {path: line + 1 for path, line in expected.items()}
            expected[(key,)] = 1
    text = "\n".join(lines)
    assert tomli.loads(text) == data
    found = positions(text)
    assert {path: found[path] for path in expected} == expected
    assert set(places(data)) <= found.keys()


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="ab.=[]{}\"'#,\\\n 1", max_size=40))
def test_a_document_that_no_parser_takes_does_not_stop_the_scanner(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in positions(text).values())


def places(value: Any, path: Path = ()) -> list[Path]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [place for key, item in inner for place in [(*path, key), *places(item, (*path, key))]]
