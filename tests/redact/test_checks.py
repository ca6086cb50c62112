"""Checksums and ranges: numbers known to be right are, with any one digit changed they are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.redact import checks

#: Published specimens. Where one check digit in 97, 31 or 11 may agree by chance, `most` may pass.
RIGHT: tuple[tuple[Callable[[str], bool], str, int], ...] = (
    (checks.luhn, "4111111111111111", 0),
    (checks.card, "378282246310005", 0),
    (checks.card, "6011111111111117", 0),
    (checks.card, "2223003122003222", 0),
    (checks.iban, "GB82WEST12345698765432", 0),
    (checks.iban, "DE89370400440532013000", 0),
    (checks.iban, "NO9386011117947", 0),
    (checks.iban, "MT84MALT011000012345MTLCAST001S", 0),
    (checks.nhs, "9434765919", 0),
    (checks.aadhaar, "234123412346", 0),
    (checks.cpf, "52998224725", 0),
    (checks.dni, "12345678Z", 0),
    (checks.dni, "X1234567L", 3),
    (checks.fiscal_code, "RSSMRA85T10A562S", 0),
    (checks.chinese_identity, "11010519491231002X", 0),
    (checks.french_identity, "185057800608491", 0),
    (checks.swedish_identity, "8112289874", 0),
    (checks.finnish_identity, "131052308T", 0),
    (checks.belgian_identity, "85073003328", 0),
)


@pytest.mark.parametrize(("check", "number", "most"), RIGHT)
def test_one_changed_digit_is_noticed(check: Callable[[str], bool], number: str, most: int) -> None:
    assert check(number)
    passed = []
    for place, digit in enumerate(number):
        if not digit.isdigit():
            continue
        for other in "0123456789":
            changed = number[:place] + other + number[place + 1 :]
            if other != digit and check(changed):
                passed.append(changed)
    assert len(passed) <= most, passed


@pytest.mark.parametrize(
    "number", ["4111111111111112", "1234567812345670", "411111111111111", "0" * 16]
)
def test_what_no_issuer_gives_out_is_no_card(number: str) -> None:
    assert not checks.card(number)


@pytest.mark.parametrize(
    "number", ["000123456", "666123456", "123006789", "123450000", "900123456"]
)
def test_what_the_usa_never_gave_out_is_no_social_security_number(number: str) -> None:
    assert not checks.social_security(number)


def test_numbers_of_people_and_taxpayers_are_told_by_their_ranges() -> None:
    assert checks.social_security("078051120")
    assert checks.social_security("912701234")


def test_korean_numbers_need_a_day_and_a_check_digit() -> None:
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    start = "850730123456"
    last = (11 - sum(int(a) * b for a, b in zip(start, weights, strict=True)) % 11) % 10
    assert checks.korean_identity(f"{start}{last}")
    assert not checks.korean_identity(f"{start}{(last + 1) % 10}")
    assert not checks.korean_identity(f"851730123456{last}")


@given(st.text(max_size=40))
def test_any_text_is_taken(text: str) -> None:
    for check, _, _ in RIGHT:
        assert check(text) in (True, False)
    for check in (checks.social_security, checks.korean_identity, checks.nordic_identity):
        assert check(text) in (True, False)


@given(st.from_regex(r"[0-9]{1,18}", fullmatch=True))
def test_luhn_is_the_sum_of_the_digits_doubled_from_the_right(digits: str) -> None:
    total = 0
    for place, digit in enumerate(digits[::-1]):
        total += sum(map(int, str(int(digit) * (1 + place % 2))))
    assert checks.luhn(digits) == (total % 10 == 0)
