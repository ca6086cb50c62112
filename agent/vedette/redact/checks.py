"""Say whether digits can be what they look like: checksums and ranges of numbers that people have.

A checksum is what tells a card from an order number. Every function takes the bare number (no
spaces, dashes or dots) and answers False for anything of the wrong length or alphabet; none raises.
Sources are the public specifications: ISO/IEC 7812 (cards), ISO 13616 (IBAN), and for the national
numbers the rules that the issuing offices publish.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Luhn's doubling of a digit, the digits of the product added.
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
#: Length of an IBAN by its country (IBAN registry of SWIFT).
IBAN_LENGTHS = {
    "AD": 24,
    "AE": 23,
    "AL": 28,
    "AT": 20,
    "AZ": 28,
    "BA": 20,
    "BE": 16,
    "BG": 22,
    "BH": 22,
    "BR": 29,
    "BY": 28,
    "CH": 21,
    "CR": 22,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "DO": 28,
    "EE": 20,
    "EG": 29,
    "ES": 24,
    "FI": 18,
    "FO": 18,
    "FR": 27,
    "GB": 22,
    "GE": 22,
    "GI": 23,
    "GL": 18,
    "GR": 27,
    "GT": 28,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IL": 23,
    "IQ": 23,
    "IS": 26,
    "IT": 27,
    "JO": 30,
    "KW": 30,
    "KZ": 20,
    "LB": 28,
    "LC": 32,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "LY": 25,
    "MC": 27,
    "MD": 24,
    "ME": 22,
    "MK": 19,
    "MR": 27,
    "MT": 31,
    "MU": 30,
    "NL": 18,
    "NO": 15,
    "PK": 24,
    "PL": 28,
    "PS": 29,
    "PT": 25,
    "QA": 29,
    "RO": 24,
    "RS": 22,
    "SA": 24,
    "SC": 31,
    "SD": 18,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "ST": 25,
    "SV": 28,
    "TL": 23,
    "TN": 24,
    "TR": 26,
    "UA": 29,
    "VA": 22,
    "VG": 24,
    "XK": 20,
}
#: Dihedral group of the pentagon and the permutation of Verhoeff's scheme (1969).
_DIHEDRAL = (
    *((0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5)),
    *((2, 3, 4, 0, 1, 7, 8, 9, 5, 6), (3, 4, 0, 1, 2, 8, 9, 5, 6, 7)),
    *((4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1)),
    *((6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3)),
    *((8, 7, 6, 5, 9, 3, 2, 1, 0, 4), (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)),
)
_VERHOEFF = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
#: What a character in an odd place of an Italian fiscal code counts (0-9, then A-Z).
_FISCAL_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_FISCAL_ODD_LETTERS = (
    *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18),
    *(20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
)


def _is_digits(text: str, *lengths: int) -> bool:
    return len(text) in lengths and text.isascii() and text.isdigit()


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def luhn(digits: str) -> bool:
    """Say whether the last digit is Luhn's check digit of the others."""
    if not (digits.isascii() and digits.isdigit()):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += _DOUBLED[int(digit)] if place & 1 else int(digit)
    return total % 10 == 0


def issued(digits: str) -> bool:
    """Say whether a card issuer uses this prefix with this length."""
    length = len(digits)
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)
    if length == 14:
        return two in (36, 38) or 300 <= three <= 305
    if length == 15:
        return two in (34, 37)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if 3528 <= four <= 3589 or two in (50, 56, 57, 58, 62, 63, 65, 67) or 644 <= three <= 649:
        return 16 <= length <= 19
    return four == 6011 and 16 <= length <= 19


def card(digits: str) -> bool:
    """Say whether this can be the number of a payment card."""
    return 13 <= len(digits) <= 19 and luhn(digits) and issued(digits)


def iban(text: str) -> bool:
    """Say whether this is an account number of a country that has them, with right check digits."""
    text = text.upper()
    if len(text) != IBAN_LENGTHS.get(text[:2], 0) or not (text.isascii() and text.isalnum()):
        return False
    turned = "".join(str(int(one, 36)) for one in text[4:] + text[:4])
    return int(turned) % 97 == 1


def social_security(digits: str) -> bool:
    """Say whether the USA could have given out this number, also as a taxpayer's (9...)."""
    if not _is_digits(digits, 9):
        return False
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000":
        return False
    return area < "900" or group[0] in "56789"


def nhs(digits: str) -> bool:
    """Say whether this is a patient's number of the British NHS."""
    if not _is_digits(digits, 10):
        return False
    check = 11 - _weighted(digits, range(10, 1, -1)) % 11
    return check % 11 == int(digits[9]) and check != 10


def aadhaar(digits: str) -> bool:
    """Say whether this is an Indian Aadhaar number (Verhoeff's check digit)."""
    if not _is_digits(digits, 12) or digits[0] in "01":
        return False
    check = 0
    for place, digit in enumerate(reversed(digits)):
        turned = int(digit)
        for _ in range(place % 8):
            turned = _VERHOEFF[turned]
        check = _DIHEDRAL[check][turned]
    return check == 0


def cpf(digits: str) -> bool:
    """Say whether this is a Brazilian taxpayer's number."""
    if not _is_digits(digits, 11) or digits == digits[0] * 11:
        return False
    first = _weighted(digits, range(10, 1, -1)) * 10 % 11 % 10
    second = _weighted(digits, range(11, 1, -1)) * 10 % 11 % 10
    return digits[9:] == f"{first}{second}"


def dni(text: str) -> bool:
    """Say whether this is a Spanish identity number, a foreigner's (X, Y, Z) too."""
    number, letter = text[:-1].upper(), text[-1:].upper()
    if number[:1] in ("X", "Y", "Z"):
        number = str("XYZ".index(number[0])) + number[1:]
    return _is_digits(number, 8) and "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == letter


def fiscal_code(text: str) -> bool:
    """Say whether this is an Italian fiscal code."""
    text = text.upper()
    if len(text) != 16 or not (text.isascii() and text.isalnum()):
        return False
    total = 0
    for place, one in enumerate(text[:15]):
        value = int(one, 36)
        plain = value if value < 10 else value - 10
        odd = _FISCAL_ODD[value] if value < 10 else _FISCAL_ODD_LETTERS[plain]
        total += plain if place % 2 else odd
    return chr(ord("A") + total % 26) == text[15]


def chinese_identity(text: str) -> bool:
    """Say whether this is a Chinese resident's number (ISO 7064, MOD 11-2, over a birth date)."""
    if len(text) != 18 or not _is_digits(text[:17], 17) or not _day(text[10:12], text[12:14]):
        return False
    check = _weighted(text[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)) % 11
    return text[6:8] in ("19", "20") and "10X98765432"[check] == text[17].upper()


def french_identity(digits: str) -> bool:
    """Say whether this is a French social security number with its key."""
    if not _is_digits(digits, 15) or digits[0] not in "12347":
        return False
    month = int(digits[3:5])
    return (1 <= month <= 12 or month >= 20) and 97 - int(digits[:13]) % 97 == int(digits[13:])


def swedish_identity(digits: str) -> bool:
    """Say whether this is a Swedish personal number of ten digits."""
    return _is_digits(digits, 10) and _day(digits[2:4], digits[4:6]) and luhn(digits)


def finnish_identity(text: str) -> bool:
    """Say whether this is a Finnish personal code without its sign for the century."""
    if not _is_digits(text[:9], 9) or not _day(text[2:4], text[:2]):
        return False
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:9]) % 31] == text[9:].upper()


def nordic_identity(text: str) -> bool:
    """Say whether this is a Swedish or a Finnish number, with its century or sign or without."""
    return swedish_identity(text[-10:]) or finnish_identity(text[:6] + text[-4:])


def belgian_identity(digits: str) -> bool:
    """Say whether this is a Belgian national number, of someone born before or since 2000."""
    if not _is_digits(digits, 11):
        return False
    number, check = int(digits[:9]), int(digits[9:])
    return check in (97 - number % 97, 97 - (2_000_000_000 + number) % 97)


def korean_identity(digits: str) -> bool:
    """Say whether this is a Korean resident's number."""
    if not _is_digits(digits, 13) or not _day(digits[2:4], digits[4:6]) or digits[6] in "09":
        return False
    check = (11 - _weighted(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return check == int(digits[12])


def _day(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31
