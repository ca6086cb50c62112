"""Rules of the operator's own: taken in, or refused with the reason."""

from __future__ import annotations

import pytest

from vedette.redact.own_rules import BadRulesError, OwnRule, compiled
from vedette.redact.redactor import Redactor, Settings

SLOW = (
    "(a+)+",
    "(a*)*b",
    "(?:a|ab)*c",
    "([a-z]+ ?)*x",
    "(.*,){11}P",
    r"(\w+)\1",
    r".*=.*;",
    r"\d+-?\d+",
    r"\w{1,200}\d{1,200}x",
    r"\d*[a-z]*\d*x",
    r"a?" * 20 + "a" * 20,
    r"(?=(a+)+b)x",
)
FINE = (
    r"CUST-\d{6}",
    r"\b[A-Z]{2}\d{4,12}\b",
    r"user_(?P<secret>\w+)@",
    r"\d{3}-\d{2}-\d{4}",
    r"(?:\d{4}-){3}\d{4}",
    r"order (?:no|number) \d+",
    r"(?i)employee id: \w+",
    r"[a-z]+\d+",
    r"https?://intranet/\S+",
    r"(?<=id=)\w{1,40}",
)


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_hostile_text_could_make_slow_is_refused(pattern: str) -> None:
    with pytest.raises(BadRulesError, match="mine") as caught:
        compiled([OwnRule("mine", pattern)], ())
    assert repr(pattern[:120]) in str(caught.value)


@pytest.mark.parametrize("pattern", FINE)
def test_a_pattern_without_such_repeats_is_taken(pattern: str) -> None:
    assert compiled([OwnRule("mine", pattern)], ())


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (OwnRule("Mine", "x"), "lower-case"),
        (OwnRule("email", "x"), "already"),
        (OwnRule("mine", "("), "not a regular expression"),
        (OwnRule("mine", ""), "1 to"),
        (OwnRule("mine", "x*"), "matches the empty text"),
        (OwnRule("mine", "x", "y"), "angle brackets"),
        (OwnRule("mine", "x", ""), ""),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_with_its_reason(rule: OwnRule, reason: str) -> None:
    if not reason:
        assert compiled([rule], ["email"])
        return
    with pytest.raises(BadRulesError, match=reason):
        compiled([rule], ["email"])


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(BadRulesError) as caught:
        compiled(
            [OwnRule("a", "("), OwnRule("b", "x"), OwnRule("b", "x"), OwnRule("c", "(a+)+")], ()
        )
    assert len(caught.value.problems) == 3


def test_own_rules_replace_what_they_match_or_their_group() -> None:
    settings = Settings(
        rules=(
            OwnRule("customer", r"CUST-\d+"),
            OwnRule("seat", r"seat (?P<secret>\w+)", "****"),
            OwnRule("umlaut", "Übergröße"),
        )
    )
    result = Redactor(settings).redact("CUST-17 on seat 12F, Übergröße".encode())
    assert result.data == b"<customer> on seat ****, <umlaut>"
    assert result.hits == {"customer": 1, "seat": 1, "umlaut": 1}
