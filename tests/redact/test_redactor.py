"""Masking one text: labels, policies, rounds and bounds."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from corpus import Positive, negatives, positives

from vedette.redact import (
    addresses,
    assigned,
    commands,
    credentials,
    entropy,
    keynames,
    mentions,
    personal,
    phrases,
    redactor,
    rules,
    tokens,
    values,
)
from vedette.redact.own_rules import BadRulesError, OwnRule
from vedette.redact.redactor import MOST_BYTES, WITHHELD, Redactor, Settings
from vedette.redact.rules import MOST_SPANS, Finds

PLAIN = Redactor()
STRICT = Redactor(
    Settings(
        addresses="mask",
        mask_hardware=True,
        mask_users=True,
        hash_key=b"host key",
        rules=(
            OwnRule("customer", r"CUST-[0-9]+"),
            OwnRule("seat", r"seat (?P<secret>\w+)", "***"),
        ),
    )
)
LINES = [one.line for one in positives()] + [line for _, line in negatives()]


def redacted(line: str, settings: Settings | None = None) -> str:
    one = PLAIN if settings is None else Redactor(settings)
    return one.redact(line.encode()).data.decode()


def test_an_ordinary_text_comes_back_as_the_same_object() -> None:
    data = b"Server started on port 8080"
    result = PLAIN.redact(data)
    assert result.data is data
    assert not result.hits


def test_labels_say_what_was_there() -> None:
    assert redacted("to bob@corp.example") == "to <email>"
    assert redacted("card 4111 1111 1111 1111.") == "card <card>."
    assert redacted("x gh" + "p_" + "a1B2" * 9) == "x <token:github>"
    assert redacted("login password=hunter2 ok") == "login password=<password> ok"


def test_hits_are_counted_by_rule() -> None:
    hits = PLAIN.redact(b"a@corp.example b@corp.example password=hunter2").hits
    assert dict(hits) == {"email": 2, "password": 1}


def test_text_with_letters_beyond_ascii_stays_whole() -> None:
    assert PLAIN.redact_text("naïve größe ☃ password=pässwörd-à-b z") == (
        "naïve größe ☃ password=<password> z"
    )
    assert PLAIN.redact_text("für jürgen@müller.example") == "für <email>"
    assert PLAIN.redact_text("lone \ud800 surrogate") == "lone \ud800 surrogate"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('{"password":"a\\"b c","n":1}', '{"password":"<password>","n":1}'),
        (
            r'{"log":"{\"password\":\"x y\",\"n\":1}"}',
            r'{"log":"{\"password\":\"<password>\",\"n\":1}"}',
        ),
        ("password='it is' n=1", "password='<password>' n=1"),
        ("password=a&b&n=1", "password=<password>&n=1"),
        ("(password=x1,y2)", "(password=<password>)"),
        ("<password>abc</password>", "<password><password></password>"),
        ("<email>a@b.io</email><pin>1234</pin>", "<email><email></email><pin><code></pin>"),
        ("password%3Dabc%26user%3Dbob", "password%3D<password>%26user%3Dbob"),
        ('"password": "cut off', '"password": "<password>'),
    ],
)  # fmt: skip
def test_a_value_ends_where_its_writer_ended_it(line: str, kept: str) -> None:
    assert redacted(line) == kept


def test_a_private_key_is_masked_over_lines_escapes_and_without_its_end() -> None:
    body = "MIIEpAIBAAKCAQEA7x1y2z3w4v5u6t7s8r9q0p1o2n3m4l5k6j7i8h9g0f1e2d3c"
    dashes = "-" * 5
    begin, end = f"{dashes}BEGIN RSA PRIVATE KEY{dashes}", f"{dashes}END RSA PRIVATE KEY{dashes}"
    for line_end in ("\n", "\\n", " ", "\\r\\n"):
        block = line_end.join([begin, body, body, end])
        assert redacted(f"got {block} done") == "got <private-key> done"
        assert body not in redacted(f"got {line_end.join([begin, body, body])}")
    two = f"{begin}\n{body}\n{begin}\n{body}\n{end}"
    assert body not in redacted(two)
    assert redacted(body) == "<base64>"


def test_a_web_token_is_known_by_its_header() -> None:
    header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
    assert redacted(f"t {header}.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end") == "t <token:jwt> end"
    assert redacted(f"cut {header}") == "cut <token:jwt>"
    cursor = "cursor eyJsYXN0X2lkIjo0MDB9"
    assert redacted(cursor) == cursor


def test_addresses_follow_the_policy() -> None:
    line = "client_ip=203.0.113.9 peer 198.51.100.7 via 10.1.2.3 and 2001:db8:1:2::5 lo 127.0.0.1"
    assert redacted(line, Settings(addresses="keep")) == line
    assert redacted(line) == line.replace("203.0.113.9", "203.0.113.x")
    assert redacted(line, Settings(addresses="truncate")) == (
        "client_ip=203.0.113.x peer 198.51.100.x via 10.1.2.3 and 2001:db8:1::x lo 127.0.0.1"
    )
    assert redacted(line, Settings(addresses="mask")) == (
        "client_ip=<ip> peer <ip> via <ip> and <ip> lo 127.0.0.1"
    )


def test_versions_and_times_are_no_addresses() -> None:
    line = "v1.2.3.4.5 at 12:34:56 build 6.1.7601.23505 0:0:0 a::b::c std::vector"
    assert redacted(line, Settings(addresses="mask")) == line


def test_hardware_addresses_and_users_are_masked_on_demand() -> None:
    line = "eth0 00:1a:2b:3c:4d:5e Invalid user jdoe from 10.0.0.1, session for user root"
    assert redacted(line) == line
    assert redacted(line, Settings(mask_hardware=True, mask_users=True)) == (
        "eth0 <mac> Invalid user <user> from 10.0.0.1, session for user root"
    )


def test_rules_can_be_switched_off_by_name() -> None:
    line = "bob@corp.example password=hunter2"
    assert redacted(line, Settings(off=("email",))) == "bob@corp.example password=<password>"


def test_allowed_values_stay() -> None:
    line = "card 4111111111111111 and 5555555555554444, ops@corp.example bob@corp.example"
    settings = Settings(allow=("4111111111111111",), allow_matching=(r"ops@[a-z.]+",))
    assert redacted(line, settings) == "card 4111111111111111 and <card>, ops@corp.example <email>"


def test_with_a_key_equal_values_have_equal_digits_and_no_others() -> None:
    one = Redactor(Settings(hash_key=b"k1"))
    data = b"a bob@corp.example b BOB@corp.example c eve@corp.example"
    words = one.redact(data).data.decode().split()
    assert words[1] == words[3]
    assert words[1] != words[5]
    assert words[1].startswith("<email:")
    other = Redactor(Settings(hash_key=b"k2")).redact(data).data.decode().split()
    assert other[1] != words[1]
    assert one.redact(one.redact(data).data).data == one.redact(data).data


def test_what_looks_masked_is_no_secret_and_hides_none() -> None:
    assert redacted("password=<password>") == "password=<password>"
    assert redacted("password=<password>rest1") == "password=<password><password>"


def test_settings_with_mistakes_are_refused_with_all_of_them() -> None:
    with pytest.raises(BadRulesError) as caught:
        Redactor(
            Settings(
                off=("emial",),
                rules=(OwnRule("Bad Name", "x"), OwnRule("nested", "(a+)+")),
                allow_matching=("(",),
            )
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in ("'emial'", "'Bad Name'", "'nested'", "'(a+)+'", "allow_matching"):
        assert part in text


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_and_twice_is_once(data: bytes) -> None:
    for one in (PLAIN, STRICT):
        once = one.redact(data)
        again = one.redact(once.data)
        assert again.data == once.data
        assert not again.hits
        assert one.redact(data).data == once.data


@given(
    st.lists(
        st.one_of(
            st.text(max_size=80),
            st.sampled_from([one.line for one in positives()]),
            st.sampled_from(["@", "password=", "ä@b.io", "é", "<email>", "\ud800"]),
        ),
        max_size=5,
    )
)
def test_text_in_utf_8_comes_out_in_utf_8(parts: list[str]) -> None:
    text = "".join(parts)
    for one in (PLAIN, STRICT):
        out = one.redact_text(text)
        assert one.redact_text(out) == out


def test_a_long_text_is_not_cut_within_a_letter() -> None:
    for before in range(4):
        out = PLAIN.redact_text("." * before + "☃" * MOST_BYTES)
        assert out.endswith("☃" + WITHHELD)


PIECES = st.one_of(
    st.sampled_from(LINES),
    st.sampled_from(LINES).flatmap(
        lambda line: st.integers(0, len(line)).map(lambda at: line[at:])
    ),
    st.sampled_from(["<", ">", '"', "\\", "=", ":", "@", " ", "\n", "%40", "<email>", "***", "\0"]),
    st.text(max_size=8),
)


@given(st.lists(PIECES, max_size=6))
def test_lines_cut_and_joined_are_still_after_one_redaction(parts: list[str]) -> None:
    data = "".join(parts).encode("utf-8", "surrogatepass")
    for one in (PLAIN, STRICT):
        once = one.redact(data)
        again = one.redact(once.data)
        assert again.data == once.data
        assert not again.hits


@given(st.sampled_from(positives()), st.text(max_size=10), st.text(max_size=10))
def test_a_key_found_in_a_line_is_found_after_other_text(
    one: Positive, before: str, after: str
) -> None:
    line, secrets = one.line, one.secrets
    if any(secret in PLAIN.redact_text(line) for secret in secrets):
        return
    text = f"{before.encode('utf-8', 'replace').decode()}\n{line}\n"
    out = PLAIN.redact_text(text + after.encode("utf-8", "replace").decode())
    assert not any(secret in out for secret in secrets)


def test_a_long_text_is_cut_between_words_and_the_rest_withheld() -> None:
    data = b"word " * (MOST_BYTES // 5 + 100)
    result = PLAIN.redact(data)
    assert MOST_BYTES - 20 < len(result.data) <= MOST_BYTES
    assert result.data.endswith(b"word " + WITHHELD.encode())
    assert result.hits == {"withheld": 1}
    assert PLAIN.redact(result.data).data == result.data


@pytest.mark.parametrize("unit", [b"a", b"pin=123 ", b"pin=123,", b"\xff", b"x@y.io "])
def test_what_is_left_of_a_long_text_is_short_enough_and_still(unit: bytes) -> None:
    pad = b"." * (MOST_BYTES - 900 * len(unit))
    result = PLAIN.redact(pad + unit * 900 + unit * MOST_BYTES)
    assert len(result.data) <= MOST_BYTES
    assert result.data.endswith(WITHHELD.encode())
    assert PLAIN.redact(result.data).data == result.data


def test_own_rules_see_8_kib_and_the_rest_is_withheld() -> None:
    result = STRICT.redact(b"CUST-17 " * 2000)
    assert result.data.endswith(WITHHELD.encode())
    assert b"CUST" not in result.data


def test_a_text_with_too_much_to_mask_is_withheld_whole() -> None:
    assert PLAIN.redact(b"a@corp.example " * (MOST_SPANS + 1)).data == WITHHELD.encode()
    assert PLAIN.redact(b"code=" * 5000).data == WITHHELD.encode()


HOSTILE = (
    *("a", "@", "0", "-", "=", ":", '"', "\\", "<", "/", "{", "(", "%", "eyJ", "a@", "@a.b", "sk-"),
    *("password=", 'password="', 'password=\\"', "key key ", "token: ", "pass:w@", "://a:b", "A-"),
    *("-----BEGIN PRIVATE KEY-----", "--password ", "curl -u ", "4111 1111 1111 1111 ", "0000-"),
    *("+1 ", "AA00 ", "AKIA-", "<password>", "$2a$", "Bearer ", "session_id=", "1.", "::"),
    *("key=[[", 'name="password" value=', "%22password%22%3A%22", "x=y&"),
    *("born 1", "mysql ", "a/", "\xff"),
)  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_costs_a_bounded_number_of_close_looks(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = {"adds": 0, "looks": 0}
    add, look = Finds.add, Finds.look

    def counted_add(self: Finds, *args: object) -> None:
        work["adds"] += 1
        add(self, *args)  # type: ignore[arg-type]

    def counted_look(self: Finds) -> None:
        work["looks"] += 1
        look(self)

    monkeypatch.setattr(Finds, "add", counted_add)
    monkeypatch.setattr(Finds, "look", counted_look)
    data = (unit.encode("latin-1") * (20_000 // len(unit) + 1))[:20_000]
    result = PLAIN.redact(data)
    rounds = redactor.MOST_ROUNDS
    assert work["adds"] <= rounds * (MOST_SPANS + 1)
    assert work["looks"] <= rounds * (MOST_SPANS + 1)
    assert PLAIN.redact(result.data).data == result.data


def patterns(value: object) -> list[str]:
    if isinstance(value, dict):
        return [form for one in value.values() for form in patterns(one)]
    if isinstance(value, list | tuple):
        return [form for one in value for form in patterns(one)]
    form = getattr(value, "pattern", None)
    return [form] if isinstance(form, str) else []


def nests(tree: object, within: bool = False) -> bool:
    """Say whether an endless repeat that can give back lies within another one."""
    for operation, argument in tree:  # type: ignore[attr-defined]
        endless = False
        if operation in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            inner, endless = [argument[2]], argument[1] > 1000
        elif operation is codes.SUBPATTERN:
            inner = [argument[3]]
        elif operation is codes.BRANCH:
            inner = argument[1]
        elif operation in (codes.ASSERT, codes.ASSERT_NOT):
            inner = [argument[1]]
        else:
            continue
        if (endless and within) or any(nests(one, within or endless) for one in inner):
            return True
    return False


def test_no_expression_of_ours_repeats_a_repeat_without_end() -> None:
    modules = (
        *(addresses, assigned, commands, credentials, entropy, keynames, mentions, personal),
        *(phrases, redactor, rules, tokens, values),
    )
    forms = {form for module in modules for one in vars(module).values() for form in patterns(one)}
    assert len(forms) > 150
    assert not [form for form in forms if nests(parser.parse(form))]


def test_the_same_text_gives_the_same_result_whatever_came_before() -> None:
    lines = LINES[:200]
    first = [PLAIN.redact(line.encode()).data for line in lines]
    random.Random(4).shuffle(lines)
    again = {line: Redactor().redact(line.encode()).data for line in lines}
    assert first == [again[line] for line in LINES[:200]]
