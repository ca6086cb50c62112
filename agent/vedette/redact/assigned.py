"""Find the values of keys that say they are secret or personal: ``password=``, ``--token``, JSON.

One pass reads every name with a separator after it, and ``vedette.redact.keynames`` says what it
means. All that a key can be
written in (INI, JSON, YAML, XML, logfmt, URLs, headers, SQL, command lines, dumps of objects) is a
name, a separator and a value; they differ in where the value ends (``vedette.redact.values``).
"""

from __future__ import annotations

import re

from vedette.redact import rules
from vedette.redact.keynames import Meaning, Value, meaning
from vedette.redact.rules import BLANK, Finds, Piece, Rule, Span, expression, words
from vedette.redact.values import Found, accepts, nothing, shaped, value_at, whole

#: Parts of names that are looked for in any text, and words that are looked up in its words.
STEMS = ("pass", "pwd", "secret", "token")
WORDS = words(
    """
    key keys apikey accesskey privatekey authkey masterkey accountkey sharedkey sharedaccesskey
    appkey licensekey sshkey encryptionkey signingkey auth authorization sig signature hmac
    session sessionid sessid sid sess jwt bearer salt nonce credential credentials creds cookie
    cookies csrf xsrf crumb phpsessid jsessionid otp totp pin pincode mfa cvv cvc cvn psk seed
    mnemonic kennwort senha pw psw pswd pword contrasena motdepasse wachtwoord masterauth
    assertion verifier code phone phonenumber phoneno telephone telefon tel mobile mobilenumber
    msisdn cellphone cell fax whatsapp imsi imei ssn itin social iban card cardnumber cardno
    creditcard ccnum pan account accountnumber acct routing aba sort socialsecurity
    socialsecuritynumber passport nino nhs nin national identity identification licence license
    insurance dni nie nif cpf aadhaar aadhar pesel bsn curp medicare personnummer steuerid mrn
    patient patientid citizen samlresponse samlrequest saml security securityanswer dob birth
    birthdate birthday dateofbirth geburtsdatum born firstname lastname fullname givenname
    familyname surname cardholder cardholdername customername patientname street streetaddress
    postal billing shipping mailing billingaddress shippingaddress homeaddress address tax
    community personal contact contactnumber
    """
)
#: Compound names that have no word of their own are asked for by a part of them.
NAME_PARTS = ("_name", "cc_n")
#: Of a value, what is looked at to say whether it is one.
LOOKED_AT = 200
#: A name, what closes it, and what stands between it and its value.
_KEYED = expression(
    r"(?<![\w.\-])-{0,2}(?P<name>[A-Za-z_$][\w.\-]{1,200}+)(?:\\{0,7}[\"'`])?\]?[ \t\0]{0,8}"
    r"(?:\((?:base64|plain|hex)\)[ ]?)?"
    r"(?P<sep>=>|:=|={1,3}|::?|%3[dDaA]|>(?=[^<\s])|(?<=[\"'`]),(?=[ ]?\\*[\"'`]))[ \t\0]{0,8}"
    r"(?:\s{0,8}string\([0-9]+\) )?"
)
#: Last words of names that are written with spaces: "Date of Birth:", "API key:".
_SPACED = words(
    """
    number no key code id birth name address hash security token account card cookie
    pin license licence date phone insurance num material string answer
    """
)
_LEFT = expression(r"(?<![\w=:.\-\"'])(?:[A-Za-z']{2,20} (?=of ))?[A-Za-z']{2,20} \Z")
_LEFT_MOST = 44
_FLAG = expression(r"(?<![\w-])--?([A-Za-z][\w.\-]{1,40}+)(?:[\"'],[ ]?|[ \t]{1,4})(?=[^\s-])")
_PAIR = expression(
    r"(?:name|key|property|field|header"
    r"|id)\\{0,3}[\"']? ?[=:] ?\\{0,3}[\"']?(?P<name>[A-Za-z_][\w.\-]{1,60}+)\\{0,3}[\"']?,?(?:\s"
    r"|\\n){0,12}"
    r"\\{0,3}[\"']?(?:value|val|content|defaultValue)\\{0,3}[\"']? ?[=:] ?",
    any_case=True,
)
_URL_SIGNS = expression(r"%(?:22|27|3[aAdD]|2[cC]|7[bBdD]|26)")
_SCHEME = expression(
    r"(?:(?P<long>digest|aws4-hmac-sha256|oauth|hawk|signature|awsv4|sharedkeylite|sharedkey)"
    r"|bearer|basic|token|apikey|api-key|negotiate|ntlm|bot|splunk|key|jwt|ssws|genie-?key|aws"
    r"|zoho-oauthtoken|client)"
    r"[ \t:=]{1,3}",
    any_case=True,
)
_PARAMETERS = expression(
    r"(?:[\w-]++ ?= ?(?:\\?\"[^\"\n]*+\"|'[^'\n]*+'|[^\s,\"']++)[, ]*+|[\w.~+/-]++:[\w.~+/=-]++)++"
)
_CREDENTIALS = expression(r"[^\s\"',;<>\]})\\]{4,}")
_PADDED = expression(r"[A-Za-z0-9+/]{6,}={1,2}")
_SIGNED = expression(r"t=[0-9]+(?:,v[0-9]=[0-9a-f]{32,}+)+")
_COOKIES = expression(r"[^\s;,\"'<>=]{1,80}+=[^\s;\"'<>\\]*+(?:; ?[^\s;\"'<>\\]++)*")
_EMPTY_LATER = expression(r"[ \t]+[A-Za-z]")


def find_assigned(piece: Piece, found: Finds) -> None:
    """Add the values of all keys that mean something, however they are written."""
    text = shown = piece.text
    if "\\" in text:  # the n of a line break is no part of the name that follows
        shown = text.replace("\\n", "  ").replace("\\t", "  ").replace("\\r", "  ")
    if "%22" in text or "%27" in text:  # JSON within a URL
        text = shown = _URL_SIGNS.sub(_spelled, shown)
    match = _KEYED.search(shown)
    while match:
        at = match.end()
        meant = _meaning(shown, match)
        if meant and (match["sep"] != "," or _listed(meant, match["name"])):
            found.look()
            span = _span(text, match, meant)
            if span:
                found.add(*span)
                at = max(at, span.end)
        match = _KEYED.search(shown, at)


def _meaning(text: str, match: re.Match[str]) -> Meaning | None:
    """Return what a key means, with the words before it where its last one needs them."""
    name = match["name"]
    if name.rpartition(" ")[2].lower() in _SPACED:
        start = match.start()
        left = _LEFT.search(text, max(0, start - _LEFT_MOST), start)
        if left:
            name = f"{left.group()}{name}"
    return meaning(name)


def find_pairs(piece: Piece, found: Finds) -> None:
    """Add values whose key is a value itself, as in XML: ``name="password" value="x"``."""
    text = piece.text
    for match in _PAIR.finditer(text):
        meant = meaning(match["name"])
        if meant is None or meant.value in (Value.HEADER, Value.COOKIE):
            continue
        value = shaped(text, match.end(), meant.value)
        if value is None:
            continue
        if accepts(meant.value, text[value.start : value.end], quoted=value.quoted, told=True):
            found.add(value.start, whole(text, value), meant.rule)


def find_flags(piece: Piece, found: Finds) -> None:
    """Add the values that follow a flag of a command after a space."""
    text = piece.text
    for match in _FLAG.finditer(text):
        meant = meaning(match[1])
        if meant is None or meant.value not in (Value.ANY, Value.DRAWN):
            continue
        value = value_at(text, match.end())
        if value and accepts(meant.value, text[value.start : value.end], quoted=value.quoted):
            found.add(value.start, whole(text, value), meant.rule)


def _spelled(match: re.Match[str]) -> str:
    return chr(int(match.group()[1:], 16)) + BLANK * 2


def _listed(meant: Meaning, name: str) -> bool:
    """Say whether a key in a list may be followed by its value: headers and flags of commands."""
    return meant.value in (Value.HEADER, Value.COOKIE) or name.startswith(("x-", "X-"))


def _span(text: str, match: re.Match[str], meant: Meaning) -> Span | None:
    at = match.end()
    if meant.value is Value.HEADER:
        return _header(text, at, meant.rule)
    if meant.value is Value.COOKIE:
        return _cookies(text, at, meant.rule)
    value = shaped(text, at, meant.value)
    if value is None or (match["sep"] == ":" and _goes_on(text, match, value, meant)):
        return None
    if meant.rule is rules.SIGNATURE:
        signed = _SIGNED.match(text, value.start)
        if signed:
            return Span(value.start, signed.end(), meant.rule)
    secret = text[value.start : min(value.end, value.start + LOOKED_AT)]
    told = match["sep"] == "=" or value.quoted
    if told and secret.lower() == match["name"].lower():
        return None  # a variable that is passed on: password=password
    if meant.rule is rules.TOKEN and meant.value is Value.DRAWN and _short(secret, told=told):
        return Span(value.start, whole(text, value), meant.rule)
    if not accepts(meant.value, secret, quoted=value.quoted, told=told):
        return None
    start = value.start + len(secret) - len(secret.lstrip(BLANK))
    return Span(start, whole(text, value), meant.rule)


def _short(secret: str, *, told: bool) -> bool:
    """Say whether a value under the bare word "token" is one, though it is short or all letters."""
    if told and _PADDED.fullmatch(secret):
        return True
    if not secret.isalnum() or not secret.isascii() or secret.lower().startswith("0x"):
        return False
    if secret.isalpha():
        return told and len(secret) >= 12 and secret.islower()
    return len(secret) >= 6 and not secret.isdigit()


def _goes_on(text: str, match: re.Match[str], value: Found, meant: Meaning) -> bool:
    """Say whether what follows "password: " is a sentence: bare words, one after the other."""
    if value.quoted or match.end() == match.end("sep") or meant.value is not Value.ANY:
        return False
    bare = text[value.start : value.end]
    return bare.isalpha() and _EMPTY_LATER.match(text, value.end) is not None


def _header(text: str, at: int, rule: Rule) -> Span | None:
    value = value_at(text, at)
    if value is None:
        return None
    start, scheme = value.start, _SCHEME.match(text, value.start)
    if scheme:
        start = scheme.end()
        rest = (_PARAMETERS if scheme["long"] else _CREDENTIALS).match(text, start)
        if rest is None:
            return None
        credentials = rest.group()
        good = len(credentials) >= 8 and not nothing(credentials)
        return Span(start, rest.end(), rule) if good else None
    secret = text[start : value.end]
    good = accepts(Value.DRAWN, secret, quoted=value.quoted)
    return Span(start, whole(text, value), rule) if good else None


def _cookies(text: str, at: int, rule: Rule) -> Span | None:
    value = value_at(text, at)
    if value is None:
        return None
    cookies = _COOKIES.match(text, value.start)
    if cookies:
        return Span(value.start, max(cookies.end(), value.end if value.quoted else 0), rule)
    secret = text[value.start : value.end]
    good = accepts(Value.DRAWN, secret, quoted=value.quoted)
    return Span(value.start, whole(text, value), rule) if good else None
