"""What the user says of a file: used as said, or refused with key and reason."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.logs.entry import Severity
from vedette.logs.framing import Framer
from vedette.logs.joining import Joiner
from vedette.logs.patterns import MATCHED_MAX, PatternError, compile_patterns, compile_safe

NOW = 1_718_452_800 * 10**9


def test_a_header_pattern_names_what_is_where() -> None:
    patterns = compile_patterns(header=r"(?P<unit>\w+)!(?P<level>\w+)!(?P<time>\S+)! (?P<body>.*)")
    framer = Framer(patterns=patterns)
    lines = [b"shop!WARN!2024-01-02T03:04:05Z! stock is low", b"2024-01-02 03:04:05 INFO ordinary"]
    first, second = framer.frame(lines, NOW)
    assert (first.unit, first.severity, first.body) == ("shop", Severity.WARN, b"stock is low")
    assert first.time_ns == 1_704_164_645 * 10**9
    assert (second.body, second.severity) == (b"ordinary", Severity.INFO)


def test_a_body_longer_than_what_is_matched_is_kept_whole() -> None:
    framer = Framer(patterns=compile_patterns(header=r"\w+! (?P<body>.*)"))
    (entry,) = framer.frame([b"x! " + b"a" * 5000], NOW)
    assert entry.body == b"a" * 5000


def test_start_and_continue_join_as_told() -> None:
    lines = [b"BEGIN one", b"more", b"  and more", b"BEGIN two", b"BEGIN three", b"tail"]
    joined = run(lines, compile_patterns(start="BEGIN"))
    assert joined == [b"BEGIN one\nmore\n  and more", b"BEGIN two", b"BEGIN three\ntail"]
    lines = [b"a", b"> b", b"> c", b"d"]
    assert run(lines, compile_patterns(continued="> ")) == [b"a\n> b\n> c", b"d"]


def run(lines: list[bytes], patterns: object) -> list[bytes]:
    framer, joiner = Framer(patterns=patterns), Joiner()  # type: ignore[arg-type]
    first = joiner.join(framer.columns(lines, NOW), NOW)
    return first.bodies + joiner.flush(NOW, everything=True).bodies


def test_patterns_hold_inside_a_container_too() -> None:
    lines = [b"2024-01-02T03:04:05Z stdout F " + text for text in (b"BEGIN a", b"b", b"BEGIN c")]
    assert run(lines, compile_patterns(start="BEGIN")) == [b"BEGIN a\nb", b"BEGIN c"]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a+)+$", "repeats a repetition"),
        ("(a*)*b", "repeats a repetition"),
        ("(a|aa)+$", "repeats alternatives"),
        (r"(\w+\s?)*$", "repeats a repetition"),
        (r"(a{0,16}){0,16}$", "compete"),
        (r"(a?){16}(a?){16}$", "compete"),
        (r"(a|aa|b){16}$", "compete"),
        (r".*.*.*x", "compete"),
        (r"\w+\w+\w+!", "compete"),
        (r"(?:.*,){9}.*x", "compete"),
        (r"(a)\1", "refers back"),
        ("(unclosed", "no regular expression"),
        ("", "every line"),
        ("a" * 2000, "longer"),
    ],
)
def test_a_dangerous_or_broken_pattern_is_refused_by_key(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason) as refused:
        compile_patterns(start=pattern)
    assert refused.value.key == "start"
    assert str(refused.value).startswith("start: ")
    assert repr(pattern[:20])[1:-1] in str(refused.value)


def test_a_group_that_means_nothing_is_refused() -> None:
    with pytest.raises(PatternError, match="header: no such group: levle"):
        compile_patterns(header=r"(?P<levle>\w+) ")


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d\d-\d\d \S+ \[.*?\] (?P<body>.*)",
        r"\[\w+ \w+ +\d+ [\d:]+ \d+\]",
        r"(INFO|WARN|ERROR) ",
        r"[^|]*\|[^|]*\|[^|]*\|",
        r"\S+ \S+ \S+ ",
        r"(?:\d+\.){3}\d+ ",
    ],
)
def test_patterns_as_people_write_them_are_taken(pattern: str) -> None:
    assert compile_safe("header", pattern).pattern == pattern.encode()


ATOMS = st.sampled_from(
    [
        *("a", "b", r"\w", ".", "[ab]", "[^a]", "a+", "b*", r"\w+", ".*", "[ab]+", r"\d+", "(a+)"),
        *("(a|b)", "(?:ab)+", "(a+b)*", "(a?){16}", "(a|aa){9}", "a?", "(.*)", ".*?", "$"),
        *("(a|.*)", "a{0,30}"),
    ]
)


@given(
    st.lists(ATOMS, min_size=1, max_size=6).map("".join), st.sampled_from(["a", "ab", "b", "aab"])
)
def test_what_is_taken_ends_soon_on_the_worst_of_lines(pattern: str, unit: str) -> None:
    try:
        compiled = compile_safe("start", pattern + "!")
    except PatternError:
        return
    line = (unit * MATCHED_MAX).encode()[:MATCHED_MAX]
    before = time.process_time()
    compiled.match(line)
    assert time.process_time() - before < 1.0, "seconds are backtracking, not a slow machine"


@given(st.text(max_size=30))
def test_any_pattern_is_taken_or_refused(pattern: str) -> None:
    try:
        taken: object = compile_safe("continue", pattern)
    except PatternError as refused:
        taken = refused.reason
    assert isinstance(taken, re.Pattern) or taken
