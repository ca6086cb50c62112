"""Find what sentences mention of a person: numbers, birth dates, codes and links for them alone."""

from __future__ import annotations

from vedette.redact import rules
from vedette.redact.phrases import LINK
from vedette.redact.rules import Finds, Piece, expression, words
from vedette.redact.values import DATE, secretive

#: Numbers of people that a sentence names.
_NUMBERED = expression(
    r"\b(?:(?P<ssn>ssn|social security)|(?P<account>(?:bank )?account(?= n|#)|bank account"
    r"|routing|aba|sort code|bsb)"
    r"|(?P<card>credit card|debit card|card(?= n| ending)|pan(?= n))"
    r"|(?P<phone>phone|telephone|mobile|fax|whatsapp"
    r"|(?:sms|texted|call(?:ed|ing)?|dial(?:ed|led|ing)?)(?: to| from)?(?= [+0][0-9 ]{9}))"
    r"|passport|(?:driver'?s?|driving) licen[cs]e|national insurance|nino|national id(?:entity)?"
    r"|tax id|medicare|nhs|mrn|medical record|personal id|id card)"
    r"(?:,? (?:number|no\.?|num\.?|nr\.?|id|code|card))*(?: (?:is|was|of"
    r"|for \w+))?[ :#]{1,3}(?=[+(]?[a-z]{0,4}[ -]?[0-9])"
)
_NUMBER = expression(r"[+(]?[A-Za-z]{0,4}[ -]?[0-9][0-9A-Za-z]*(?:[ -]?[0-9][0-9A-Za-z]*){0,6}")
_LINK_TO = expression(
    r"/(?:reset|verify|confirm|confirmation|activate|activation|invite|invitation|magic"
    r"|unsubscribe|recover"
    r"|(?:password|reset|email)[_-](?:reset|password|confirm"
    r"|verify))/(?P<secret>[A-Za-z0-9_=.-]{16,})"
)
LINK_WORDS = frozenset(
    [
        "reset",
        "verify",
        "confirm",
        "confirmation",
        "activate",
        "activation",
        "invite",
        "invitation",
        "magic",
        "unsubscribe",
        "recover",
    ]
)
_BORN = expression(
    r"\b(?:born|d\.?o\.?b\.?|date of birth|birthday|birthdate)(?: (?:on|is"
    r"|was))?:? {1,2}(?=[0-9a-z])"
)
_CODES = expression(
    r"\b(?:pin|otp|passcode|one[- ]time password|(?:verification|security|login|confirmation"
    r"|one-time|2fa|mfa|authentication|access) (?:code|pin)"
    r"|(?:mfa|2fa|otp|one-time) (?:token|passcode))" + LINK
)
_CODE = expression(r"[0-9]{4,10}(?![\w-])|[0-9]{3}[ -][0-9]{3}(?![\w-])")
#: Words that send a text to ``find_codes``, ``find_numbers`` and ``find_births``.
CODE_WORDS = frozenset(["pin", "otp", "passcode", "code", "mfa"])
NUMBER_WORDS = words(
    """
    ssn social account routing aba sort bsb card pan phone telephone mobile fax passport driver
    drivers driving national nino tax medicare nhs mrn medical personal
    whatsapp sms texted call called calling dial dialed dialled dialing
    """
)
BIRTH_WORDS = frozenset(["born", "dob", "birth", "birthday", "birthdate"])


def find_codes(piece: Piece, found: Finds) -> None:
    """Add one-time codes and PINs that a sentence tells."""
    for match in _CODES.finditer(piece.lower):
        code = _CODE.match(piece.text, match.end())
        if code:
            found.add(code.start(), code.end(), rules.CODE)


def find_links(piece: Piece, found: Finds) -> None:
    """Add what makes a link of the kind that is mailed to one person: /reset/TOKEN."""
    for match in _LINK_TO.finditer(piece.text):
        if secretive(match["secret"]):
            found.add(match.start("secret"), match.end("secret"), rules.TOKEN)


def find_births(piece: Piece, found: Finds) -> None:
    """Add dates of birth that a sentence tells."""
    for match in _BORN.finditer(piece.lower):
        date = DATE.match(piece.text, match.end())
        if date:
            found.add(date.start(), date.end(), rules.BIRTH)


def find_numbers(piece: Piece, found: Finds) -> None:
    """Add numbers that a sentence names: "passport no. X12345678"."""
    for match in _NUMBERED.finditer(piece.lower):
        number = _NUMBER.match(piece.text, match.end())
        if number and sum(one.isdigit() for one in number.group()) >= 6:
            rule = _NUMBER_RULES.get(match.lastgroup or "", rules.NATIONAL)
            found.add(number.start(), number.end(), rule)


_NUMBER_RULES = {
    "ssn": rules.SSN,
    "account": rules.ACCOUNT,
    "card": rules.CARD,
    "phone": rules.PHONE,
}
