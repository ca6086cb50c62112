"""Cutting lines into tokens (agent/vedette/logs/miner_masks.py, miner_tokens.py)."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vedette.logs.miner_masks import (
    ANY,
    FORM,
    MAX_BYTES,
    REST,
    clean,
    fold,
    fold_all,
    mask,
    mask_short,
)
from vedette.logs.miner_tokens import MAX_TOKENS, scan, scan_spans

LINES = st.one_of(
    st.binary(max_size=200),
    st.text(st.sampled_from("ab0 19.:/-_=()[]\"'<>@x\\\n\tKB,"), max_size=120).map(str.encode),
)


def parts(line: bytes) -> list[tuple[str, bytes]]:
    """Return what varies in a line by form, and what it is."""
    text, tokens = scan_spans(line)
    return [
        (FORM.get(token.code[:1], token.code.decode()), text[token.start : token.end])
        for token in tokens
        if token.key == ANY
    ]


@given(st.binary(max_size=300))
def test_folding_is_replacing_runs_of_digits(line):
    expected = re.sub(rb"[0-9]+", b"0", re.sub(rb"[\x00-\x1f\x7f]", b" ", line))
    assert fold(line.replace(b"\n", b" ")) == re.sub(
        rb"[0-9]+", b"0", expected.replace(b"\n", b" ")
    )


@given(st.lists(LINES, max_size=6))
@example([b"1\n2", b"3"])
@example([b"9" * (MAX_BYTES + 5), b"x"])
@example([])
def test_folding_many_lines_is_folding_each(lines):
    assert fold_all(lines) == [fold(line) for line in lines]


@given(LINES)
@example(b"0 bytes (1.0 KB) sent")
@example(b"12 bytes (1.0 KB)")
@example(b"a= b= c")
@example(b"x" * 20_000)
@example(b"1.2.3.4:5 66:77 -12.5%")
def test_spans_are_of_the_tokens_that_are_scanned_and_in_order(line):
    text, tokens = scan_spans(line)
    assert [token.key for token in tokens] == scan(fold(line))
    assert text == clean(line)
    for token, after in pairwise(tokens):
        assert token.start <= token.end <= after.start
    for token in tokens:
        assert 0 <= token.start <= token.end <= len(text)
        if token.key not in (ANY, REST) and not re.search(rb"[0-9\x1c]", token.key):
            assert text[token.start : token.end].startswith(token.key) or token.key in (
                b"B",
                b"sec",
            )


@given(st.binary(max_size=3000))
def test_the_number_of_tokens_is_bounded(line):
    assert len(scan(fold(line))) <= MAX_TOKENS + 2


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("10.0.0.1", "ip"),
        ("10.0.0.1:8080", "ip"),
        ("10.0.0.0/8", "ip"),
        ("fe80::1ff:fe23:4567:890a", "ip"),
        ("2001:db8:0:0:0:0:2:1", "ip"),
        ("00:1b:44:11:3a:b7", "mac"),
        ("123e4567-e89b-12d3-a456-426614174000", "uuid"),
        ("https://example.com/a?b=c&d=1", "url"),
        ("hdfs://n1:9000/x", "url"),
        ("someone.else@mail.example.org", "email"),
        ("api.example.com:443", "host"),
        ("0xdeadBEEF", "hex"),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "hex"),
        ("2026-03-04T05:06:07.123Z", "time"),
        ("2026-03-04 05:06:07,123", "time"),
        ("2026/03/04 05:06:07", "time"),
        ("Wed Mar  4 05:06:07 2026", "time"),
        ("04/Mar/2026:05:06:07 +0000", "time"),
        ("05:06:07", "time"),
        ("/var/log/syslog", "path"),
        ("C:\\Windows\\System32\\x.dll", "path"),
        ("../lib/x.so", "path"),
        ("-17.25", "num"),
        ("1e-05", "num"),
        ("99%", "num"),
        ("9f4ef63", "id"),
    ],
)
def test_a_variable_part_is_seen_whole_and_its_form_known(text, form):
    line = f"before {text} after".encode()
    assert parts(line) == [(form, text.encode())]
    assert scan(fold(line)) == [b"before", ANY, b"after"]


@pytest.mark.parametrize("text", ["12ms", "3.5s", "64KiB", "100Mbps"])
def test_a_number_with_a_unit_is_a_number(text):
    ((form, value),) = parts(f"took {text} so far".encode())
    assert (form, value) == ("num", text.encode())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("eth0", b"eth0"),
        ("node-246", b"node0"),
        ("blk_-1608999687919862906", b"blk0"),
        ("attempt_1445144423722_0020_m_000001_0", b"attempt0"),
        ("sshd[123]", b"sshd[0"),
        ("LOCAL(0)", b"LOCAL(0"),
        ("IPv6", b"IPv0"),
    ],
)
def test_a_name_with_numbers_behind_keeps_the_name(text, key):
    assert scan(fold(f"x {text} y".encode())) == [b"x", key, b"y"]


def test_words_without_digits_are_constant():
    assert scan(b"Link is up, all fine.") == [b"Link", b"is", b"up", b",", b"all", b"fine", b"."]


def test_an_empty_value_stands_where_others_have_one():
    assert scan(fold(b"user= host=")) == scan(fold(b"user=12 host=1.2.3.4"))
    assert scan(fold(b"from 1.2.3.4 () at")) == scan(fold(b"from 1.2.3.4 (1.2.3.4) at"))
    assert ANY not in scan(b"main() called")


def test_the_size_that_is_said_twice_is_said_once():
    assert scan(fold(b"1170 bytes (1.14 KB) sent")) == scan(fold(b"90 bytes sent"))


def test_of_several_lines_the_first_and_an_unindented_last_one_count():
    trace = b"Traceback (most recent call last):\n  File x\n    y\nValueError: no such thing"
    assert b"ValueError" in fold(trace)
    assert b"File" not in fold(trace)
    assert fold(b"java.lang.X: boom\n\tat a.b.c\n\tat d.e.f") == b"java.lang.X: boom"


LONG = st.lists(
    st.sampled_from(
        [b"a", b"f0", b" ", b".", b":", b"/", b"-", b"=", b"(", b")", b'"', b"<", b">", b"@", b",",
         b"?", b"\\", b"http://a.b/c?d=e,f", b"/var/x/y?z(=;", b"C:\\x(y", b"Jan 0 0:0:0 UTC 0",
         b"0 bytes (0.0 KB)", b"0-0-0 0:0:0.0 +0:0", b" <0 ms", b"host.name.x:0", b"a@b.c",
         b"aWordOfMoreThanSixteen", b"abcd::0:ab", b"deadbeef0", b"0x0f"]
    ),
    max_size=400,
).map(b"".join)  # fmt: skip


@given(LONG)
def test_what_a_line_becomes_does_not_depend_on_the_pieces_it_is_masked_in(line):
    folded = fold(line)
    pieces = list(mask(folded))
    assert b"".join(piece for piece, _, _ in pieces) == mask_short(folded)
    if folded:
        assert pieces[-1][2] == len(folded)


def test_of_a_long_line_no_more_is_masked_than_a_key_can_hold():
    assert len(list(mask(b"([{<" * 2000))) > 1
    assert scan(b"([{<" * 2000) == [b"(", b"[", b"{", b"<"] * (MAX_TOKENS // 4) + [REST]
    # Six words of 200 bytes: the first five are of the first kilobyte.
    words = [letter * 5 + b".x" * 90 for letter in (b"a", b"b", b"c", b"d", b"e", b"f")]
    keys = scan(b" ".join(words))
    assert keys[-1] == REST
    assert len(keys) < len(words) + 1


def test_paths_count_for_one_byte_of_what_is_looked_at():
    line = b" ".join([b"/usr/lib/jvm/some/where/a.jar"] * 60 + [b"started"])
    assert scan(fold(line)) == [ANY] * 60 + [b"started"]
