"""What keys mean, where values end, and what looks drawn at random."""

from __future__ import annotations

import random
import string

import pytest

from vedette.redact import rules
from vedette.redact.entropy import drawn
from vedette.redact.keynames import Value, meaning
from vedette.redact.values import nothing, phrased, secretive, value_at


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("DB_PASSWORD", rules.PASSWORD),
        ("spring.datasource.password", rules.PASSWORD),
        ("pgpassword", rules.PASSWORD),
        ("awsSecretAccessKey", rules.KEY),
        ("X-Api-Key", rules.KEY),
        ("API_KEY_2", rules.KEY),
        ("client_secret", rules.SECRET),
        ("SECRET_KEY_BASE", rules.KEY),
        ("accessToken", rules.TOKEN),
        ("password_hash", rules.HASHED),
        ("JSESSIONID", rules.SESSION),
        ("Set-Cookie", rules.COOKIE),
        ("Proxy-Authorization", rules.AUTHORIZATION),
        ("customerPhoneNumber", rules.PHONE),
        ("date of birth", rules.BIRTH),
        ("socialSecurityNumber", rules.SSN),
    ],
)
def test_a_name_says_what_its_value_is(name: str, rule: rules.Rule) -> None:
    meant = meaning(name)
    assert meant is not None
    assert meant.rule is rule


@pytest.mark.parametrize(
    "name",
    [
        *("password_file", "token_count", "max_tokens", "public_key", "cache_key", "secretName"),
        *(
            "keyboard",
            "monkey",
            "author",
            "PasswordAuthentication",
            "token_type",
            "passed",
            "n",
            "",
        ),
        *("session_timeout", "auth_method", "key_id", "prompt_tokens", "eos_token", "display_name"),
    ],
)
def test_a_name_that_ends_in_something_else_hides_nothing(name: str) -> None:
    assert meaning(name) is None


def test_what_one_word_leaves_open_needs_a_value_that_looks_secret() -> None:
    for name in ("key", "token", "auth", "signature", "session_id"):
        meant = meaning(name)
        assert meant is not None
        assert meant.value is Value.DRAWN


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("abc def", "abc"),
        ("abc,def=1", "abc"),
        ("abc,d3f ghi", "abc,d3f"),
        ('"a b\\"c" d', 'a b\\"c'),
        ('\\"a b\\",x', "a b"),
        ('\\\\\\"a\\\\\\" x', "a"),
        ("'a\"b' c", 'a"b'),
        ("[abc, def]", "abc"),
        ("abc)", "abc"),
        ("a&b=c", "a"),
        ("a&b", "a&b"),
        ("abc</x>", "abc"),
        ("abc%26d", "abc"),
        ("a%41d", "a%41d"),
        ('"cut off', "cut off"),
    ],
)
def test_where_a_value_ends(text: str, value: str) -> None:
    found = value_at(text, 0)
    assert found is not None
    assert text[found.start : found.end] == value


@pytest.mark.parametrize("text", ["", " x", ",", ")", '""x'])
def test_where_there_is_no_value(text: str) -> None:
    found = value_at(text, 0)
    assert found is None or found.start == found.end


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "***",
        "${DB_PASSWORD}",
        "[FILTERED]",
        "<redacted>",
        "incorrect",
        "%s",
        "{{ x }}",
        "-",
    ],
)
def test_what_stands_for_no_value(text: str) -> None:
    assert nothing(text)


def test_words_of_a_sentence_are_no_passwords() -> None:
    assert not any(map(phrased, ["authentication", "for", "expired.", "1.2.3.4", "/run/secret/x"]))
    assert all(map(phrased, ["hunter2", "Blue42Sky", "p@ssword", "S3cr3t!"]))


def test_ordinary_values_of_keys_are_not_secretive() -> None:
    for text in (
        "user:1842",
        "0x14ed93111f20027",
        "1.2.3-rc1",
        "2024-01-01",
        "PRIMARY",
        "12345678",
    ):
        assert not secretive(text)
    for text in (
        "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
        "aX9kLm2pQr7s",
        "0b3c1d2e-0000-4000-8000-123456789abc",
    ):
        assert secretive(text)


def test_drawn_words_are_told_from_names_of_the_same_length() -> None:
    rng = random.Random(7)
    for letters, least in (
        (string.ascii_letters + string.digits, 0.97),
        (string.ascii_lowercase + string.digits, 0.97),
    ):
        words = ["".join(rng.choice(letters) for _ in range(24)) for _ in range(2000)]
        assert sum(map(drawn, words)) >= least * len(words)
    names = (
        *("PacketResponderImplFactory", "appattempt_1445144423722_0020", "blk_38865049064139660"),
        *(
            "org.apache.hadoop.Utf8Writer",
            "container_e17_1410901929263_02",
            "WindowManagerService2",
        ),
        *("2015-10-18T18:01:47.978Z", "ip-10-0-1-23.ec2.internal", "x86_64-linux-gnu-libfoo"),
    )
    assert not [name for name in names if drawn(name)]
    hexadecimal = "9e107d9d372bb6826bd81d3542a419d6"
    assert not drawn(hexadecimal)
    assert drawn(hexadecimal, hexadecimal=True)
