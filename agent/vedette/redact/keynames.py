"""Say from the name of a key what its value is: a password, a telephone number, or nothing to mask.

``AWS_SECRET_ACCESS_KEY``, ``db.password``, ``accessToken`` and ``X-Api-Key`` are taken apart into
words; the last ones decide, as English puts what a thing is at the end: a ``password_file`` is a
file, a ``token_count`` a count. What one word alone does not settle (``key``, ``token``, ``auth``:
a cache has keys, a parser tokens) is *weak*: the value must then look like a secret.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from vedette.redact import rules
from vedette.redact.rules import Rule, expression, words


class Value(Enum):
    """What a value must be, to be masked under a key."""

    ANY = "any"  #: whatever is not a word such as "null" or "incorrect"
    DRAWN = "drawn"  #: what looks like a secret
    HEADER = "header"  #: a scheme and credentials
    COOKIE = "cookie"  #: names and values
    DIGITS = "digits"  #: has four digits or more
    CODE = "code"  #: three to ten digits or letters
    DATE = "date"  #: a date
    PROSE = "prose"  #: words with spaces between


class Meaning(NamedTuple):
    """What a key stands for."""

    rule: Rule
    value: Value


#: Longest name that is looked at.
LONGEST_NAME = 64
_WORDS = expression(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

#: One word that says password, at the end of a name or of a word run together (``dbpassword``).
_PASSWORDS = (
    *("password", "passwd", "passphrase", "passwort", "kennwort", "passcode", "pword", "passwrd"),
    *("passw", "pwd", "userpass", "dbpass", "rootpass", "contrasena", "senha", "motdepasse"),
)
_PASSWORD_WORDS = frozenset(
    {*_PASSWORDS, *("pass", "pw", "psw", "pswd", "passwords", "wachtwoord")}
)
_SECRETS = ("secret", "secretkey", "clientsecret", "credential", "credentials", "creds")
_KEYS = (
    *("apikey", "accesskey", "privatekey", "authkey", "masterkey", "encryptionkey", "signingkey"),
    *("accountkey", "sharedkey", "sharedaccesskey", "licensekey", "appkey", "apisecret", "sshkey"),
)
#: What makes a key of it, before the word ``key``.
_KEY_OF = words(
    """
    api access secret private encryption encrypt signing sign account shared master auth license
    licence subscription storage admin application consumer deploy integration webhook hmac aes
    jwt authentication cipher crypto decryption recovery transit unseal preshared psk wep wpa
    """
)
#: What makes an index of it, before the word ``key``.
_KEYS_ELSE = words(
    """
    public partition foreign cache sort row object lock idempotency lookup config registry s3
    redis bucket dedup shard unique index message duplicate composite natural surrogate group
    hash map range job task queue metric
    """
)
#: What makes a secret of it, before the word ``token``.
_TOKEN_OF = words(
    """
    access refresh auth id identity session bearer api csrf xsrf oauth oauth2 reset bot push
    device security personal verification verify invite login user app deploy deployment
    registration runner service account github gitlab gh gl slack npm pypi vault admin secret
    private client jwt sso saml web remember confirmation activation magic link join bootstrap
    discord telegram hf huggingface consul nomad digitalocean cloudflare do cf heroku sentry
    grafana influx influxdb k8s kubernetes kube azure aws gcp google ci build registry docker
    upload download webhook authenticity authentication authorization unsubscribe twilio stripe
    fcm apns mapbox x
    """
)
#: What makes a count, a place or a kind of it: a name that ends so is no secret.
_NEUTRAL = words(
    """
    file files path paths dir directory folder len length size count counts id ids name names
    type types policy policies expiry expires expired expiration ttl age min max url uri
    endpoint ring space spaces store map set list index field fields column columns manager
    provider service class version status state error errors attempts attempt retries required
    enabled disabled changed change strength reset usage usages limit limits rate rates prompt
    location source ref reference format algorithm alg mode method methods scope scopes audience
    issuer request requests response valid validity validation invalid hint rotation rotated
    created updated used created_at at bits cache pool hits misses per total sec seconds ms time
    date timeout info level number num no verified check checks checker encoder generator
    factory filter handler helper util utils client server plugin module backend realm domain
    group groups event events op ops range ranges bytes prefix suffix mask label labels pattern
    regex position offset start end exists present missing authentication env var variable arn
    """
)
#: Before the word ``token``: not a secret.
_TOKENS_ELSE = words(
    """
    max prompt completion total input output num n page next continuation sync eos bos pad unk
    sep cls stop special first last lock fencing window unexpected current previous end start
    cached reasoning generated new lexer parse
    """
)
_WEAK: dict[str, Meaning] = {
    "secrets": Meaning(rules.SECRET, Value.DRAWN),
    "token": Meaning(rules.TOKEN, Value.DRAWN),
    "tokens": Meaning(rules.TOKEN, Value.DRAWN),
    "key": Meaning(rules.KEY, Value.DRAWN),
    "keys": Meaning(rules.KEY, Value.DRAWN),
    "auth": Meaning(rules.SECRET, Value.DRAWN),
    "sig": Meaning(rules.SIGNATURE, Value.DRAWN),
    "signature": Meaning(rules.SIGNATURE, Value.DRAWN),
    "hmac": Meaning(rules.SIGNATURE, Value.DRAWN),
    "session": Meaning(rules.SESSION, Value.DRAWN),
    "sid": Meaning(rules.SESSION, Value.DRAWN),
    "sess": Meaning(rules.SESSION, Value.DRAWN),
    "jwt": Meaning(rules.TOKEN, Value.DRAWN),
    "bearer": Meaning(rules.TOKEN, Value.DRAWN),
    "salt": Meaning(rules.SECRET, Value.DRAWN),
    "nonce": Meaning(rules.SECRET, Value.DRAWN),
    "code": Meaning(rules.CODE, Value.DRAWN),
    "assertion": Meaning(rules.TOKEN, Value.DRAWN),
    "verifier": Meaning(rules.SECRET, Value.DRAWN),
    "psk": Meaning(rules.KEY, Value.ANY),
    "seed": Meaning(rules.SECRET, Value.DRAWN),
    "mnemonic": Meaning(rules.SECRET, Value.PROSE),
    "requirepass": Meaning(rules.PASSWORD, Value.ANY),
    "masterauth": Meaning(rules.PASSWORD, Value.ANY),
    "cookie": Meaning(rules.COOKIE, Value.COOKIE),
    "cookies": Meaning(rules.COOKIE, Value.COOKIE),
    "authorization": Meaning(rules.AUTHORIZATION, Value.HEADER),
    "csrf": Meaning(rules.TOKEN, Value.DRAWN),
    "xsrf": Meaning(rules.TOKEN, Value.DRAWN),
    "csrfmiddlewaretoken": Meaning(rules.TOKEN, Value.ANY),
    "authenticitytoken": Meaning(rules.TOKEN, Value.ANY),
    "crumb": Meaning(rules.TOKEN, Value.DRAWN),
    "phpsessid": Meaning(rules.SESSION, Value.ANY),
    "jsessionid": Meaning(rules.SESSION, Value.ANY),
    "aspsessionid": Meaning(rules.SESSION, Value.ANY),
    "sessionid": Meaning(rules.SESSION, Value.DRAWN),
    "sessid": Meaning(rules.SESSION, Value.DRAWN),
    "cfid": Meaning(rules.SESSION, Value.DRAWN),
    "pin": Meaning(rules.CODE, Value.CODE),
    "pincode": Meaning(rules.CODE, Value.CODE),
    "otp": Meaning(rules.CODE, Value.CODE),
    "totp": Meaning(rules.CODE, Value.CODE),
    "mfa": Meaning(rules.CODE, Value.CODE),
    "cvv": Meaning(rules.CODE, Value.CODE),
    "cvv2": Meaning(rules.CODE, Value.CODE),
    "cvc": Meaning(rules.CODE, Value.CODE),
    "cvc2": Meaning(rules.CODE, Value.CODE),
    "cvn": Meaning(rules.CODE, Value.CODE),
    "phone": Meaning(rules.PHONE, Value.DIGITS),
    "phonenumber": Meaning(rules.PHONE, Value.DIGITS),
    "phoneno": Meaning(rules.PHONE, Value.DIGITS),
    "telephone": Meaning(rules.PHONE, Value.DIGITS),
    "telefon": Meaning(rules.PHONE, Value.DIGITS),
    "tel": Meaning(rules.PHONE, Value.DIGITS),
    "mobile": Meaning(rules.PHONE, Value.DIGITS),
    "msisdn": Meaning(rules.PHONE, Value.DIGITS),
    "cellphone": Meaning(rules.PHONE, Value.DIGITS),
    "fax": Meaning(rules.PHONE, Value.DIGITS),
    "whatsapp": Meaning(rules.PHONE, Value.DIGITS),
    "imsi": Meaning(rules.PHONE, Value.DIGITS),
    "imei": Meaning(rules.PHONE, Value.DIGITS),
    "ssn": Meaning(rules.SSN, Value.DIGITS),
    "itin": Meaning(rules.SSN, Value.DIGITS),
    "iban": Meaning(rules.IBAN, Value.DIGITS),
    "cardnumber": Meaning(rules.CARD, Value.DIGITS),
    "cardno": Meaning(rules.CARD, Value.DIGITS),
    "creditcard": Meaning(rules.CARD, Value.DIGITS),
    "ccnum": Meaning(rules.CARD, Value.DIGITS),
    "pan": Meaning(rules.CARD, Value.DIGITS),
    "accountnumber": Meaning(rules.ACCOUNT, Value.DIGITS),
    "passport": Meaning(rules.NATIONAL, Value.DIGITS),
    "nino": Meaning(rules.NATIONAL, Value.DIGITS),
    "nhs": Meaning(rules.NATIONAL, Value.DIGITS),
    "nin": Meaning(rules.NATIONAL, Value.DIGITS),
    "dni": Meaning(rules.NATIONAL, Value.DIGITS),
    "nie": Meaning(rules.NATIONAL, Value.DIGITS),
    "nif": Meaning(rules.NATIONAL, Value.DIGITS),
    "cpf": Meaning(rules.NATIONAL, Value.DIGITS),
    "aadhaar": Meaning(rules.NATIONAL, Value.DIGITS),
    "aadhar": Meaning(rules.NATIONAL, Value.DIGITS),
    "pesel": Meaning(rules.NATIONAL, Value.DIGITS),
    "bsn": Meaning(rules.NATIONAL, Value.DIGITS),
    "curp": Meaning(rules.NATIONAL, Value.DIGITS),
    "personnummer": Meaning(rules.NATIONAL, Value.DIGITS),
    "steuerid": Meaning(rules.NATIONAL, Value.DIGITS),
    "mrn": Meaning(rules.NATIONAL, Value.DIGITS),
    "dob": Meaning(rules.BIRTH, Value.DATE),
    "birthdate": Meaning(rules.BIRTH, Value.DATE),
    "birthday": Meaning(rules.BIRTH, Value.DATE),
    "birth": Meaning(rules.BIRTH, Value.DATE),
    "dateofbirth": Meaning(rules.BIRTH, Value.DATE),
    "geburtsdatum": Meaning(rules.BIRTH, Value.DATE),
    "born": Meaning(rules.BIRTH, Value.DATE),
    "firstname": Meaning(rules.NAME, Value.PROSE),
    "lastname": Meaning(rules.NAME, Value.PROSE),
    "fullname": Meaning(rules.NAME, Value.PROSE),
    "givenname": Meaning(rules.NAME, Value.PROSE),
    "familyname": Meaning(rules.NAME, Value.PROSE),
    "surname": Meaning(rules.NAME, Value.PROSE),
    "cardholder": Meaning(rules.NAME, Value.PROSE),
    "street": Meaning(rules.STREET, Value.PROSE),
    "streetaddress": Meaning(rules.STREET, Value.PROSE),
}
#: The last two words of a name, where the last alone would mislead.
_PAIRS: dict[tuple[str, str], Meaning] = {
    **dict.fromkeys(
        [("session", "id"), ("sess", "id"), ("session", "key"), ("session", "cookie")],
        Meaning(rules.SESSION, Value.DRAWN),
    ),
    **dict.fromkeys(
        [(word, "hash") for word in ("password", "passwd", "pass", "pw")],
        Meaning(rules.HASHED, Value.ANY),
    ),
    **dict.fromkeys(
        [
            *((word, "code") for word in ("verification", "otp", "mfa", "2fa", "security", "pin")),
            *((word, "code") for word in ("auth", "sms", "confirmation", "backup", "recovery")),
            *((word, "pin") for word in ("card", "user", "new", "old")),
            ("one", "time"),
        ],
        Meaning(rules.CODE, Value.CODE),
    ),
    **dict.fromkeys(
        [("security", "answer"), ("secret", "answer")], Meaning(rules.PASSWORD, Value.ANY)
    ),
    **dict.fromkeys([("saml", "response"), ("saml", "request")], Meaning(rules.TOKEN, Value.DRAWN)),
    ("key", "material"): Meaning(rules.KEY, Value.DRAWN),
    ("community", "string"): Meaning(rules.PASSWORD, Value.ANY),
    ("authorization", "code"): Meaning(rules.CODE, Value.DRAWN),
    **dict.fromkeys(
        [(word, "number") for word in ("phone", "mobile", "telephone", "contact", "fax", "cell")]
        + [(word, "no") for word in ("phone", "mobile", "tel")]
        + [(word, "phone") for word in ("home", "work", "cell", "contact")],
        Meaning(rules.PHONE, Value.DIGITS),
    ),
    **dict.fromkeys(
        [("security", "number"), ("social", "security"), ("tax", "id")],
        Meaning(rules.SSN, Value.DIGITS),
    ),
    **dict.fromkeys(
        [
            *(("card", "number"), ("card", "no"), ("card", "num"), ("cc", "number")),
            *(("credit", "card"), ("debit", "card"), ("cc", "num"), ("card", "pan")),
        ],
        Meaning(rules.CARD, Value.DIGITS),
    ),
    **dict.fromkeys(
        [
            *(("account", "number"), ("account", "no"), ("acct", "number"), ("acct", "no")),
            *(("bank", "account"), ("routing", "number"), ("sort", "code"), ("acct", "num")),
            *(("routing", "no"), ("aba", "number")),
        ],
        Meaning(rules.ACCOUNT, Value.DIGITS),
    ),
    **dict.fromkeys(
        [
            *(
                ("national", "id"),
                ("passport", "number"),
                ("passport", "no"),
                ("identity", "number"),
            ),
            *(
                ("license", "number"),
                ("licence", "number"),
                ("drivers", "license"),
                ("nhs", "number"),
            ),
            *(
                ("driver", "license"),
                ("driving", "licence"),
                ("insurance", "number"),
                ("id", "card"),
            ),
            *(("aadhaar", "number"), ("medicare", "number"), ("patient", "id"), ("tax", "number")),
            *(
                ("citizen", "id"),
                ("personal", "number"),
                ("identification", "number"),
                ("nhs", "no"),
            ),
            *(("medicare", "no"), ("license", "no"), ("licence", "no"), ("passport", "id")),
        ],
        Meaning(rules.NATIONAL, Value.DIGITS),
    ),
    **dict.fromkeys(
        [("birth", "date"), ("of", "birth"), ("birth", "day")], Meaning(rules.BIRTH, Value.DATE)
    ),
    **dict.fromkeys(
        [
            (word, "name")
            for word in (
                *("first", "last", "full", "given", "family", "middle", "maiden", "customer"),
                *("patient", "holder", "cardholder", "employee", "beneficiary", "passenger"),
                *("legal", "contact", "sur", "recipient"),
            )
        ],
        Meaning(rules.NAME, Value.PROSE),
    ),
    **dict.fromkeys(
        [
            (word, "address")
            for word in ("street", "postal", "home", "billing", "shipping", "mailing", "delivery")
        ]
        + [("address", "line")],
        Meaning(rules.STREET, Value.PROSE),
    ),
}
_MEANT = {
    "password": Meaning(rules.PASSWORD, Value.ANY),
    "secret": Meaning(rules.SECRET, Value.ANY),
    "key": Meaning(rules.KEY, Value.ANY),
    "token": Meaning(rules.TOKEN, Value.ANY),
}


@lru_cache(maxsize=2048)
def meaning(name: str) -> Meaning | None:
    """Return what the value of a key of this name is; None when it is nothing to mask."""
    parts = [word.lower() for word in _WORDS.findall(name[-LONGEST_NAME:])]
    while parts and parts[-1].isdigit() and len(parts) > 1 and (parts[-2], parts[-1]) not in _PAIRS:
        parts.pop()  # SECRET_KEY_2
    if not parts:
        return None
    last = parts[-1]
    before = parts[-2] if len(parts) > 1 else ""
    pair = _PAIRS.get((before, last))
    if pair:
        return pair
    if last in (
        "value",
        "plain",
        "plaintext",
        "text",
        "base64",
        "b64",
        "raw",
        "string",
        "data",
        "base",
    ):
        return meaning("_".join(parts[:-1]))
    if last in _NEUTRAL or (last in ("key", "keys") and before in _KEYS_ELSE):
        return None
    if last == "tokens" or (last == "token" and before in _TOKENS_ELSE):
        return None
    return _of_secrets(last, before) or _WEAK.get("".join(parts[-2:])) or _WEAK.get(last)


def _of_secrets(last: str, before: str) -> Meaning | None:
    if last in _PASSWORD_WORDS or last.endswith(_PASSWORDS):
        return _MEANT["password"]
    if last.endswith(_SECRETS):
        return _MEANT["secret"]
    if last.endswith(_KEYS) or (last in ("key", "keys") and before in _KEY_OF):
        return _MEANT["key"]
    if last in ("token", "tokens"):
        return _MEANT["token"] if before in _TOKEN_OF else None
    if last.endswith("token") and last[:-5] in _TOKEN_OF:
        return _MEANT["token"]
    return None
