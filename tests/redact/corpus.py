"""Lines with something to hide and ordinary lines, invented for the tests of the redaction.

Keys are drawn, seeded, and put together from parts: nothing here is or was anyone's, and no scanner of
repositories takes the file for a leak. ``positives()`` are ``Positive``s: the kind, the line, and the
text that must not come out again. ``negatives()`` are lines that must come out as they are: the
identifiers, hashes, versions, numbers and prose that logs are full of. What is written out by hand
is in ``corpus_lines.py`` and ``corpus_more.py``.
"""

# ruff: noqa: E501

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable
from typing import NamedTuple

from corpus_lines import ORDINARY, TOLD
from corpus_more import MORE, MORE_ORDINARY

LOWER, UPPER, DIGITS, HEX = (
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.digits,
    "0123456789abcdef",
)
#: Taken out of lines by hand.
BREAK = "¦"
ALNUM = LOWER + UPPER + DIGITS
URLSAFE = ALNUM + "-_"


class Positive(NamedTuple):
    """A line that hides something; none of ``secrets`` may come out."""

    kind: str
    line: str
    secrets: tuple[str, ...]


def drawn(rng: random.Random, letters: str, length: int) -> str:
    return "".join(rng.choice(letters) for _ in range(length))


def luhn_end(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(rng: random.Random) -> str:
    head = b64url(json.dumps({"alg": rng.choice(["HS256", "RS256"]), "typ": "JWT"}).encode())
    body = b64url(json.dumps({"sub": str(rng.randrange(10**9)), "iat": 1700000000}).encode())
    return f"{head}.{body}.{b64url(rng.randbytes(32))}"


def pem(rng: random.Random, what: str, line_end: str) -> str:
    body = base64.b64encode(rng.randbytes(400)).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    dashes = "-" * 5
    return line_end.join(
        [f"{dashes}BEGIN {what} KEY{dashes}", *lines, f"{dashes}END {what} KEY{dashes}"]
    )


def card(rng: random.Random, prefix: str, length: int) -> str:
    return luhn_end(prefix + drawn(rng, DIGITS, length - len(prefix) - 1))


def iban(rng: random.Random, country: str, bank: str, length: int) -> str:
    account = bank + drawn(rng, DIGITS, length - 4 - len(bank))
    turned = "".join(str(int(one, 36)) for one in account + country + "00")
    return f"{country}{98 - int(turned) % 97:02d}{account}"


def spaced(text: str, size: int = 4) -> str:
    return " ".join(text[at : at + size] for at in range(0, len(text), size))


Maker = Callable[[random.Random], str]

#: Keys that a form of their own gives away, wherever they stand.
KEYS: dict[str, Maker] = {
    "aws key id": lambda r: "AK" + "IA" + drawn(r, UPPER + "234567", 16),
    "aws temporary key id": lambda r: "AS" + "IA" + drawn(r, UPPER + "234567", 16),
    "gcp api key": lambda r: "AI" + "za" + drawn(r, URLSAFE, 34) + "k",
    "gcp oauth": lambda r: "ya" + "29." + drawn(r, URLSAFE, 60) + "x",
    "gcp client secret": lambda r: "GOC" + "SPX-" + drawn(r, URLSAFE, 27) + "q",
    "github": lambda r: "gh" + r.choice("pousr") + "_" + drawn(r, ALNUM, 36),
    "github fine-grained": lambda r: "github" + "_pat_" + drawn(r, ALNUM, 22) + "_" + drawn(r, ALNUM, 59),
    "gitlab": lambda r: "gl" + "pat-" + drawn(r, URLSAFE, 19) + "a",
    "gitlab runner": lambda r: "gl" + "rt-" + drawn(r, URLSAFE, 19) + "b",
    "slack bot": lambda r: "xo" + "xb-" + drawn(r, DIGITS, 12) + "-" + drawn(r, DIGITS, 13) + "-" + drawn(r, ALNUM, 24),
    "slack user": lambda r: "xo" + "xp-" + "-".join(drawn(r, DIGITS, 12) for _ in range(3)) + "-" + drawn(r, HEX, 32),
    "slack app": lambda r: "xa" + "pp-1-A" + drawn(r, UPPER + DIGITS, 10) + "-" + drawn(r, DIGITS, 13) + "-" + drawn(r, HEX, 64),
    "slack webhook": lambda r: "https://hooks.slack" + ".com/services/T" + drawn(r, UPPER + DIGITS, 8) + "/B" + drawn(r, UPPER + DIGITS, 8) + "/" + drawn(r, ALNUM, 24),
    "stripe": lambda r: "sk" + "_live_" + drawn(r, ALNUM, 24),
    "stripe restricted": lambda r: "rk" + "_live_" + drawn(r, ALNUM, 24),
    "stripe webhook": lambda r: "wh" + "sec_" + drawn(r, ALNUM, 32),
    "openai": lambda r: "sk" + "-" + drawn(r, ALNUM, 48),
    "openai project": lambda r: "sk" + "-proj-" + drawn(r, URLSAFE, 63) + "A",
    "anthropic": lambda r: "sk" + "-ant-api03-" + drawn(r, URLSAFE, 93) + "AA",
    "hugging face": lambda r: "h" + "f_" + drawn(r, LOWER + UPPER, 34),
    "npm": lambda r: "np" + "m_" + drawn(r, ALNUM, 36),
    "pypi": lambda r: "py" + "pi-AgEIcHlwaS5vcmc" + drawn(r, URLSAFE, 80) + "c",
    "sendgrid": lambda r: "S" + "G." + drawn(r, URLSAFE, 21) + "a." + drawn(r, URLSAFE, 42) + "b",
    "mailgun": lambda r: "ke" + "y-" + drawn(r, HEX, 32),
    "mailchimp": lambda r: drawn(r, HEX, 32) + "-us" + str(r.randrange(1, 22)),
    "twilio": lambda r: "S" + "K" + drawn(r, HEX, 32),
    "digitalocean": lambda r: "do" + "p_v1_" + drawn(r, HEX, 64),
    "telegram": lambda r: drawn(r, "123456789", 10) + ":A" + "A" + drawn(r, URLSAFE, 32) + "x",
    "discord": lambda r: "M" + drawn(r, ALNUM, 23) + "." + drawn(r, ALNUM, 6) + "." + drawn(r, URLSAFE, 26) + "z",
    "discord webhook": lambda r: "https://discord" + ".com/api/webhooks/" + drawn(r, "123456789", 18) + "/" + drawn(r, URLSAFE, 67) + "m",
    "jwt": jwt,
    "azure ad secret": lambda r: drawn(r, ALNUM, 3) + "8Q~" + drawn(r, ALNUM + "_.-", 33) + "a",
    "azure storage key": lambda r: drawn(r, ALNUM + "+/", 76) + "+AS" + "t" + drawn(r, ALNUM, 6) + "==",
    "vault": lambda r: "hv" + "s." + drawn(r, URLSAFE, 90) + "a",
    "terraform cloud": lambda r: drawn(r, ALNUM, 14) + ".atlas" + "v1." + drawn(r, ALNUM, 65),
    "databricks": lambda r: "da" + "pi" + drawn(r, HEX, 32),
    "shopify": lambda r: "shp" + "at_" + drawn(r, HEX, 32),
    "square": lambda r: "sq" + "0atp-" + drawn(r, URLSAFE, 21) + "e",
    "grafana": lambda r: "gl" + "sa_" + drawn(r, ALNUM, 32) + "_" + drawn(r, HEX, 8),
    "new relic": lambda r: "NR" + "AK-" + drawn(r, UPPER + DIGITS, 27),
    "docker hub": lambda r: "dckr" + "_pat_" + drawn(r, URLSAFE, 26) + "r",
    "doppler": lambda r: "d" + "p.pt." + drawn(r, ALNUM, 43),
    "pulumi": lambda r: "pu" + "l-" + drawn(r, HEX, 40),
    "linear": lambda r: "lin" + "_api_" + drawn(r, ALNUM, 40),
    "figma": lambda r: "fi" + "gd_" + drawn(r, URLSAFE, 39) + "g",
    "atlassian": lambda r: "ATA" + "TT3xFfGF0" + drawn(r, URLSAFE, 170) + "=" + drawn(r, HEX.upper(), 8),
    "postman": lambda r: "PM" + "AK-" + drawn(r, HEX, 24) + "-" + drawn(r, HEX, 34),
    "groq": lambda r: "gs" + "k_" + drawn(r, ALNUM, 52),
    "replicate": lambda r: "r" + "8_" + drawn(r, ALNUM, 37),
    "rubygems": lambda r: "rubygems" + "_" + drawn(r, HEX, 48),
    "airtable": lambda r: "pa" + "t" + drawn(r, ALNUM, 14) + "." + drawn(r, HEX, 64),
    "alibaba": lambda r: "LT" + "AI5t" + drawn(r, ALNUM, 20),
    "tailscale": lambda r: "ts" + "key-auth-" + drawn(r, ALNUM, 12) + "-" + drawn(r, ALNUM, 32),
    "sentry": lambda r: "snt" + "ryu_" + drawn(r, HEX, 64),
    "supabase": lambda r: "sb" + "p_" + drawn(r, HEX, 40),
    "age": lambda r: "AGE-SECRET" + "-KEY-1" + drawn(r, UPPER + DIGITS, 58),
    "firebase": lambda r: "AAAA" + drawn(r, ALNUM, 7) + ":APA" + "91b" + drawn(r, URLSAFE, 134),
    "teams webhook": lambda r: "https://corp.webhook.office" + ".com/webhookb2/" + drawn(r, HEX, 36),
    "paypal": lambda r: "access" + "_token$production$" + drawn(r, LOWER + DIGITS, 16) + "$" + drawn(r, HEX, 32),
    "razorpay": lambda r: "rzp" + "_live_" + drawn(r, ALNUM, 14),
    "flutterwave": lambda r: "FLW" + "SECK-" + drawn(r, HEX, 32) + "-X",
    "plaid": lambda r: "access" + "-sandbox-" + str(uuid.UUID(int=r.getrandbits(128))),
    "openrouter": lambda r: "sk" + "-or-v1-" + drawn(r, HEX, 64),
    "xai": lambda r: "xa" + "i-" + drawn(r, ALNUM, 80),
    "perplexity": lambda r: "pp" + "lx-" + drawn(r, ALNUM, 48),
    "langsmith": lambda r: "ls" + "v2_pt_" + drawn(r, HEX, 32) + "_" + drawn(r, HEX, 10),
    "pinecone": lambda r: "pc" + "sk_" + drawn(r, ALNUM, 6) + "_" + drawn(r, ALNUM, 60),
    "nvidia": lambda r: "nv" + "api-" + drawn(r, URLSAFE, 63) + "a",
    "nuget": lambda r: "oy" + "2" + drawn(r, LOWER + DIGITS, 43),
    "clojars": lambda r: "CLO" + "JARS_" + drawn(r, LOWER + DIGITS, 60),
    "brevo": lambda r: "xkey" + "sib-" + drawn(r, HEX, 64) + "-" + drawn(r, ALNUM, 16),
    "heroku": lambda r: "HR" + "KU-" + drawn(r, URLSAFE, 59) + "a",
    "planetscale": lambda r: "pscale" + "_tkn_" + drawn(r, ALNUM, 43),
    "netlify": lambda r: "nf" + "p_" + drawn(r, ALNUM, 36),
    "vercel": lambda r: "vc" + "p_" + drawn(r, ALNUM, 56),
    "fly": lambda r: "fo" + "1_" + drawn(r, URLSAFE, 42) + "a",
    "render": lambda r: "rn" + "d_" + drawn(r, ALNUM, 32),
    "dynatrace": lambda r: "dt0" + "c01." + drawn(r, UPPER + DIGITS, 24) + "." + drawn(r, UPPER + DIGITS, 64),
    "sonar": lambda r: "sq" + "p_" + drawn(r, HEX, 40),
    "circleci": lambda r: "CCI" + "PAT_" + drawn(r, ALNUM, 22) + "_" + drawn(r, HEX, 40),
    "buildkite": lambda r: "bk" + "ua_" + drawn(r, HEX, 40),
    "launchdarkly": lambda r: "sd" + "k-" + str(uuid.UUID(int=r.getrandbits(128))),
    "notion": lambda r: "nt" + "n_" + drawn(r, ALNUM, 46),
    "hubspot": lambda r: "pa" + "t-eu1-" + str(uuid.UUID(int=r.getrandbits(128))),
    "typeform": lambda r: "tf" + "p_" + drawn(r, URLSAFE, 58) + "a",
    "contentful": lambda r: "CF" + "PAT-" + drawn(r, URLSAFE, 42) + "a",
    "mapbox": lambda r: "sk" + ".ey" + "J" + drawn(r, ALNUM, 60) + "." + drawn(r, ALNUM, 22),
    "sourcegraph": lambda r: "sg" + "p_" + drawn(r, HEX, 40),
    "prefect": lambda r: "pn" + "u_" + drawn(r, ALNUM, 36),
    "1password": lambda r: "ops" + "_ey" + "J" + drawn(r, ALNUM, 250),
    "shippo": lambda r: "shippo" + "_live_" + drawn(r, HEX, 40),
    "okta": lambda r: "SS" + "WS 00" + drawn(r, URLSAFE, 39) + "a",
    "gitea": lambda r: "gt" + "a_" + drawn(r, ALNUM, 40),
    "bedrock": lambda r: "AB" + "SK" + drawn(r, ALNUM, 128) + "=",
    "bitbucket": lambda r: "AT" + "BB" + drawn(r, ALNUM, 32),
    "facebook": lambda r: "EA" + "AC" + drawn(r, ALNUM, 170),
    "crates": lambda r: "ci" + "o" + drawn(r, ALNUM, 32),
    "artifactory": lambda r: "AK" + "Cp" + drawn(r, ALNUM, 69),
    "twitter": lambda r: "A" * 22 + drawn(r, ALNUM + "%", 80) + "a",
    "tencent": lambda r: "AK" + "ID" + drawn(r, ALNUM, 32),
    "adobe": lambda r: "p8" + "e-" + drawn(r, ALNUM, 32),
    "yandex": lambda r: "AQ" + "VN" + drawn(r, URLSAFE, 36) + "a",
    "ssh public key": lambda r: "AAAA" + "B3NzaC1yc2E" + drawn(r, ALNUM + "+/", 200),
    "easypost": lambda r: "EZ" + "AK" + drawn(r, ALNUM, 54),
    "jenkins": lambda r: "11" + drawn(r, HEX, 32),
    "cloudflare": lambda r: "v1" + ".0-" + drawn(r, HEX, 24) + "-" + drawn(r, HEX, 146),
    "salesforce": lambda r: "00" + "D" + drawn(r, ALNUM, 12) + "!A" + drawn(r, ALNUM + "._", 96),
    "bcrypt": lambda r: "$2" + "b$12$" + drawn(r, ALNUM + "./", 53),
    "sha-crypt": lambda r: "$" + "6$" + drawn(r, ALNUM, 16) + "$" + drawn(r, ALNUM + "./", 86),
    "argon2": lambda r: "$argon2" + "id$v=19$m=65536,t=3,p=4$" + drawn(r, ALNUM, 22) + "$" + drawn(r, ALNUM, 43),
    "private key": lambda r: pem(r, r.choice(["RSA PRIVATE", "PRIVATE", "EC PRIVATE", "OPENSSH PRIVATE"]), r.choice(["\\n", "\n", " ", "\\r\\n", "\\\\n"])),
}  # fmt: skip
KEY_LINES = (
    "2024-03-11T09:14:02.113Z INFO  config loaded: {}",
    "Mar 11 09:14:02 web-3 app[2214]: using {} for upstream",
    '{{"level":"debug","ts":1710148442.11,"msg":"dump","value":"{}"}}',
    'level=warn caller=client.go:88 msg="retry" cred={} attempt=3',
    "ERROR Unhandled exception: ValueError: invalid credential '{}'",
    "+ export VALUE={}",
    "DEBUG request headers: {{'X-Custom': '{}', 'Accept': '*/*'}}",
    "GET /v1/items?api={}&limit=10 HTTP/1.1 403 12",
    "stdout: line=\\n{}\\n",
    '[pid 33] write(2, "{}", 64) = 64',
    "the value was ({}), rotate it",
    "args: [deploy --with {} --force]",
    "<config><item>{}</item></config>",
    "curl -s https://host.corp/api -H 'Auth: {}'",
    "\tat run(/srv/app.js:10) arg={}; next",
    "\x1b[33m{}\x1b[0m",
    "redirect=https%3A%2F%2Fx.corp%2Fcb%3Fv%3D{}%26s%3D1",
    "{}",
)

#: How a key and its value are written; {k} and {v}.
WRITTEN = (
    "{k}={v}",
    "{k}: {v}",
    '"{k}": "{v}"',
    '"{k}":"{v}"',
    "'{k}': '{v}'",
    '\\"{k}\\":\\"{v}\\"',
    '{k}="{v}"',
    "{k} = {v}",
    "{k} => {v}",
    ':{k}=>"{v}"',
    "<{k}>{v}</{k}>",
    "--{k} {v}",
    "--{k}={v}",
    "?{k}={v}&page=2",
    "id=7&{k}={v}",
    "[{k}={v}, retries=3]",
    "Server=db1;{k}={v};Timeout=3",
    "{k}='{v}'",
    "export {k}={v}",
    "set {k} {v}".replace("set {k} {v}", "{k} := {v}"),
)
KEYED_LINES = (
    "2024-05-02 10:00:01,004 DEBUG [pool-1] c.a.Settings - {}",
    "{}",
    "May  2 10:00:01 host app[77]: starting with {}",
    '{{"lvl":"info","msg":"effective config","detail":{{{}}}}}',
    "env: PATH=/usr/bin {} HOME=/root",
    'POST /login HTTP/1.1 200 {} "Mozilla/5.0"',
    "Traceback (most recent call last): ConnectionError: refused ({})",
    "config.yml:12 {}",
)


def password(r: random.Random) -> str:
    return r.choice(
        [
            *(
                "hunter2",
                "S3cr3t!",
                "correcthorse",
                "Tr0ub4dor&3",
                "pa$$w0rd",
                "letmein99",
                "Winter2024!",
            ),
            *(
                "qwerty",
                "dragon",
                "zaq12wsx",
                "P@ssw0rd",
                "monkey77",
                "iloveyou",
                "Xy7#kq",
                "trustno1",
            ),
        ]
    )


def opaque(r: random.Random) -> str:
    return r.choice(
        [
            drawn(r, HEX, 32),
            drawn(r, ALNUM, 24),
            drawn(r, ALNUM + "+/", 39) + "a",
            drawn(r, URLSAFE, 42) + "b",
            str(uuid.UUID(int=r.getrandbits(128))),
        ]
    )


#: Keys whose value is secret, with what makes a value.
KEYED: dict[str, tuple[tuple[str, ...], Maker]] = {
    "password": (("password", "DB_PASSWORD", "spring.datasource.password", "userPassword", "passwd", "PGPASSWORD", "adminPwd", "pwd", "MYSQL_ROOT_PASSWORD", "smtp_pass", "new-password", "Passphrase", "keystorePassword"), password),
    "api key": (("api_key", "apikey", "API_KEY", "X-Api-Key", "apiKey", "DATADOG_API_KEY", "api-key", "x-functions-key", "Ocp-Apim-Subscription-Key"), opaque),
    "secret": (("secret", "client_secret", "clientSecret", "SECRET_KEY", "app.secret", "webhook_secret", "JWT_SECRET", "aws_secret_access_key", "consumerSecret", "SECRET_KEY_BASE"), opaque),
    "token": (("token", "access_token", "refresh_token", "authToken", "X-Auth-Token", "VAULT_TOKEN", "id_token", "csrf_token", "session_token", "GITHUB_TOKEN", "bot-token", "X-Amz-Security-Token"), opaque),
    "key": (("private_key", "encryption_key", "ACCOUNT_KEY", "signing-key", "masterKey", "AccountKey", "SharedAccessKey", "storage_account_key"), opaque),
    "session": (("session_id", "sessionid", "PHPSESSID", "JSESSIONID", "session_key", "connect.sid"), opaque),
    "signature": (("sig", "signature", "X-Amz-Signature", "X-Hub-Signature"), lambda r: drawn(r, HEX, 64)),
}  # fmt: skip

PERSONAL: dict[str, Maker] = {
    "email": lambda r: r.choice(["john.doe", "a.b", "maria_lopez", "k8s.admin", "x", "bob+news", "o'neil".replace("'", ""), "anna-lena.s"]) + "@" + r.choice(["example.com", "mail.corp.internal", "uni-x.de", "foo.co.uk", "sub.dom.example.org", "gmail.com"]),
    "card visa": lambda r: card(r, "4", 16),
    "card visa spaced": lambda r: spaced(card(r, "4", 16)),
    "card mastercard dashed": lambda r: spaced(card(r, str(r.randrange(51, 56)), 16)).replace(" ", "-"),
    "card mastercard 2": lambda r: card(r, "2" + str(r.randrange(300, 700)), 16),
    "card amex": lambda r: card(r, r.choice(["34", "37"]), 15),
    "card discover": lambda r: card(r, "6011", 16),
    "card jcb": lambda r: card(r, "3530", 16),
    "iban de": lambda r: iban(r, "DE", "", 22),
    "iban gb spaced": lambda r: spaced(iban(r, "GB", "NWBK", 22)),
    "iban fr": lambda r: iban(r, "FR", "", 27),
    "iban nl": lambda r: iban(r, "NL", "ABNA", 18),
    "ssn": lambda r: f"{r.randrange(100, 665)}-{r.randrange(10, 99)}-{r.randrange(1000, 9999)}",
    "phone e164": lambda r: "+" + r.choice(["1415", "4930", "4420", "3361", "9198"]) + drawn(r, "23456789", 7),
    "phone world": lambda r: r.choice(["+49 30 901820", "+44 20 7946 0", "+33 1 42 68 53 ", "+1-415-555-2", "+1 (212) 555-0"]) + drawn(r, "23456789", 3),
    "phone us": lambda r: f"({r.randrange(201, 989)}) {r.randrange(200, 999)}-{r.randrange(1000, 9999)}",
    "phone us dashed": lambda r: f"{r.randrange(201, 989)}-{r.randrange(200, 999)}-{r.randrange(1000, 9999)}",
}  # fmt: skip
PERSONAL_LINES = (
    "2024-01-09 12:00:00 INFO order 8813 shipped to {}",
    '{{"event":"signup","contact":"{}","plan":"pro"}}',
    "user_action customer={} action=refund",
    "mail: status=sent to=<{}>",
    "Failed to process payment for {}: declined",
    "INSERT INTO t (id, v) VALUES (17, '{}');",
    "GET /lookup?q={} HTTP/1.1 200",
    "WARN  validation error: value [{}] rejected",
    "{}",
    "callback for {}, retrying in 5 s",
    "row: 12|{}|ok",
    "<contact>{}</contact>",
)
#: Numbers that a key or a phrase names.
NAMED = {
    "ssn keyed": (("ssn", "SSN", "social_security_number", "socialSecurityNumber"), lambda r: drawn(r, "123456789", 9)),
    "phone keyed": (("phone", "mobile", "phoneNumber", "tel", "msisdn", "contact_number", "home_phone"), lambda r: "0" + drawn(r, "123456789", 10)),
    "birth": (("dob", "date_of_birth", "birthDate", "birthday"), lambda r: f"{r.randrange(1940, 2009)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}"),
    "passport": (("passport", "passport_number", "passportNo"), lambda r: "C" + drawn(r, DIGITS, 8)),
    "licence": (("driver_license", "drivers_license_number", "licence_number"), lambda r: "D" + drawn(r, DIGITS, 7)),
    "account": (("account_number", "bank_account", "accountNumber"), lambda r: drawn(r, "123456789", 10)),
    "cvv": (("cvv", "cvc", "CVV2"), lambda r: drawn(r, "123456789", 3)),
    "pin": (("pin", "PIN", "otp", "mfa_code", "verification_code"), lambda r: drawn(r, "123456789", 6)),
    "name": (("full_name", "firstName", "last_name", "customerName", "surname"), lambda r: r.choice(["Eleonora", "Gutierrez", "Okonkwo", "Yamamoto"])),
    "card keyed": (("card_number", "cardNumber", "pan", "cc_number"), lambda r: drawn(r, "123456789", 16)),
    "national id": (("national_id", "nhs_number", "pesel", "cpf", "aadhaar", "tax_id"), lambda r: drawn(r, "123456789", 11)),
}  # fmt: skip
#: Of the ways to write, those that keys of people are written in.
NAMED_WRITTEN = WRITTEN[:11] + WRITTEN[13:16]


def positives(seed: int = 11) -> list[Positive]:
    """Return the lines with something to hide, the same for the same seed."""
    rng = random.Random(seed)
    found = [Positive(kind, line, secrets) for kind, line, secrets in TOLD]
    found.extend(
        Positive(kind, line.replace(BREAK, ""), (secret.replace(BREAK, ""),))
        for kind, line, secret in MORE
    )
    for kind, maker in KEYS.items():
        found.extend(_placed(kind, maker, KEY_LINES, 6, rng))
    for kind, maker in PERSONAL.items():
        found.extend(_placed(kind, maker, PERSONAL_LINES, 8, rng))
    for kind, (keys, maker) in KEYED.items():
        found.extend(_keyed(kind, keys, maker, WRITTEN, 40, rng))
    for kind, (keys, maker) in NAMED.items():
        found.extend(_keyed(kind, keys, maker, NAMED_WRITTEN, 14, rng))
    return found


def _placed(
    kind: str, maker: Maker, lines: tuple[str, ...], count: int, rng: random.Random
) -> list[Positive]:
    found = []
    for line in rng.sample(lines, count):
        secret = maker(rng)
        found.append(Positive(kind, line.format(secret), (_core(secret),)))
    return found


def _core(secret: str) -> str:
    """Return what must not come out: of a webhook the last part, of a key block the body."""
    if secret.startswith("-----"):
        return secret[60:120]
    return secret.rpartition("/")[2] if secret.startswith("https://") else secret


def _keyed(
    kind: str,
    keys: tuple[str, ...],
    maker: Maker,
    written: tuple[str, ...],
    count: int,
    rng: random.Random,
) -> list[Positive]:
    found = []
    for place in range(count):
        secret = maker(rng)
        form = written[place % len(written)]
        pair = form.replace("{k}", rng.choice(keys)).replace(
            "{v}", secret.replace("&", "and") if "&" in form else secret
        )
        secret = secret.replace("&", "and") if "&" in form else secret
        found.append(Positive(kind, rng.choice(KEYED_LINES).format(pair), (secret,)))
    return found


def negatives(seed: int = 12) -> list[tuple[str, str]]:
    """Return ordinary lines with their kinds."""
    rng = random.Random(seed)
    found = [("by hand", line) for line in (*ORDINARY, *MORE_ORDINARY)]
    for kind, (maker, lines) in _ORDINARY_KINDS.items():
        found.extend(
            (kind, lines[place % len(lines)].format(maker(rng), maker(rng)))
            for place in range(COUNT_PER_KIND)
        )
    return found


COUNT_PER_KIND = 40
_ID_LINES = (
    "2024-02-01T00:00:01Z INFO request {} done in 12 ms",
    "[{}] started processing",
    '{{"request_id":"{}","status":200,"path":"/health"}}',
    'trace_id={} span={} msg="ok"',
    "DEBUG o.a.k.Consumer - assigned {} previous {}",
    "deleted object {} after 3 retries",
    "pull complete {}",
    "Feb  1 00:00:01 node-7 kubelet[811]: pod {} is ready",
    "commit {} merged into main, parent {}",
    "cache miss for key {} in shard 3",
)
_NUMBER_LINES = (
    "INFO  processed {} records in {} ms",
    "block {} terminated, offset {}",
    "rx bytes:{} tx bytes:{}",
    "sequence {} acknowledged up to {}",
    "job_{} finished (exit 0), wrote {} bytes",
    "heap: used {} of {}",
    '{{"ts":{},"dur":{}}}',
)
_PATH_LINES = (
    "open {}: no such file or directory",
    "loaded {} in 3 ms",
    "WARN stat({}) failed, using {}",
    "watching {} for changes",
    "\tat {} (line 31)",
)
_ORDINARY_KINDS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "uuid": (lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)), _ID_LINES),
    "git sha": (lambda r: drawn(r, HEX, 40), _ID_LINES),
    "short sha": (lambda r: drawn(r, HEX, 8), _ID_LINES),
    "container id": (lambda r: drawn(r, HEX, 64), _ID_LINES),
    "image digest": (lambda r: "registry.corp:5000/app@sha256:" + drawn(r, HEX, 64), _ID_LINES),
    "md5": (lambda r: drawn(r, HEX, 32), _ID_LINES),
    "etag": (lambda r: 'W/"' + drawn(r, HEX, 12) + "-" + drawn(r, ALNUM, 27) + '"', ("GET /a.js 304 etag={}", "If-None-Match: {}")),
    "aws request id": (lambda r: drawn(r, UPPER + DIGITS, 16), ("RequestId: {}, HostId: z", "S3 error NoSuchKey RequestId={}")),
    "pod": (lambda r: f"checkout-{drawn(r, 'bcdf456789', 9)}-{drawn(r, 'bcdfghjklmnpqrstvwxz2456789', 5)}", _ID_LINES),
    "ulid": (lambda r: "01" + drawn(r, "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24), _ID_LINES[:6]),
    "block id": (lambda r: f"blk_{r.randrange(-(2**63), 2**63)}", _ID_LINES),
    "build id": (lambda r: f"build-{r.randrange(10**4)}.{r.randrange(10**8)}-{drawn(r, HEX, 7)}", _ID_LINES),
    "application id": (lambda r: f"application_{r.randrange(10**12, 10**13)}_{r.randrange(1000):04d}", _ID_LINES),
    "milliseconds": (lambda r: str(r.randrange(1_300_000_000_000, 1_900_000_000_000)), _NUMBER_LINES),
    "microseconds": (lambda r: str(r.randrange(1_300_000_000_000_000, 1_900_000_000_000_000)), _NUMBER_LINES),
    "nanoseconds": (lambda r: str(r.randrange(13 * 10**17, 19 * 10**17)), _NUMBER_LINES),
    "big number": (lambda r: str(r.randrange(10**9, 10**12)), _NUMBER_LINES),
    "snowflake": (lambda r: str(r.randrange(10**17, 10**18)), _NUMBER_LINES),
    "float": (lambda r: f"{r.random() * 10**5:.6f}", _NUMBER_LINES),
    "hex address": (lambda r: "0x" + drawn(r, HEX, 16), _ID_LINES),
    "mac": (lambda r: ":".join(drawn(r, HEX, 2) for _ in range(6)), ("eth0: link up, hw {}", "DHCPDISCOVER from {} via br0")),
    "hex dump": (lambda r: " ".join(drawn(r, HEX, 2) for _ in range(16)), ("0000: {}", "pkt[16]: {}")),
    "private ip": (lambda r: f"10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(1, 255)}", ("connect {}:8080 refused", "peer {} left, {} elected", "client_ip={} status=200")),
    "public ip": (lambda r: f"{r.randrange(11, 100)}.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(1, 255)}", ("Connection closed by {} port 4431 [preauth]", "{} - - [01/Feb/2024:00:00:01 +0000] \"GET / HTTP/1.1\" 200 612", "Did not receive identification string from {}")),
    "version": (lambda r: f"{r.randrange(20)}.{r.randrange(30)}.{r.randrange(99)}-{r.choice(['rc.1', 'beta2', 'SNAPSHOT', '1.el9'])}", ("upgrading lib from {} to {}", "agent version={} ready", "python {}")),
    "timestamp": (lambda r: f"20{r.randrange(10, 30)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}T{r.randrange(24):02d}:{r.randrange(60):02d}:00.{r.randrange(1000):03d}+02:00", ("{} tick", "next run at {} (last {})")),
    "path": (lambda r: "/" + "/".join(r.choice(["usr", "var", "lib", "x86_64-linux-gnu", "site-packages", "node_modules", "log", "run", "app-1.2.3"]) for _ in range(5)) + "/" + drawn(r, LOWER, 7) + ".so.1", _PATH_LINES),
    "class": (lambda r: "org.apache." + r.choice(["hadoop", "kafka", "spark"]) + "." + r.choice(["TokenCacheImpl", "KeyValueStoreBuilder", "SessionManagerFactory2", "AuthenticationFilterChain", "PasswordEncoderProvider"]) + "$" + str(r.randrange(9)), _PATH_LINES),
    "thread": (lambda r: f"[http-nio-8080-exec-{r.randrange(99)}]", ("{} ERROR c.a.Web - timeout", "INFO {} pool resized")),
    "device": (lambda r: f"ata-ST{r.randrange(1000, 9999)}DM{r.randrange(100):03d}-{drawn(r, UPPER + DIGITS, 6)}_{drawn(r, UPPER + DIGITS, 8)}", ("smartd: {} temperature 34", "by-id/{} -> ../../sda")),
    "tokens of models": (lambda r: str(r.randrange(1, 9000)), ("prompt_tokens={} completion_tokens={}", "max_tokens: {}, total tokens {}", '{{"input_tokens": {}, "output_tokens": {}}}', "decode: {} tokens in {} ms", "KV cache: {} keys, {} slots")),
    "key of data": (lambda r: r.choice(["user:1842:profile", "orders/2024/05", "idx_customer_id", "feature.new-checkout", "PRIMARY", "node-17"]), ("cache hit key={}", "Duplicate entry '7' for key '{}'", "key: {} value: 3", "lock key={} acquired by {}", "partition_key={} lag=0")),
    "base64 of small things": (lambda r: base64.b64encode(drawn(r, LOWER, 9).encode()).decode(), ("payload {} decoded", "cursor={} limit=50", "etag {} unchanged")),
    "integrity": (lambda r: "sha512-" + base64.b64encode(r.randbytes(64)).decode(), ("npm http fetch ok integrity {}", "resolved left-pad, integrity={}")),
    "fingerprint": (lambda r: "SHA256:" + base64.b64encode(r.randbytes(32)).decode().rstrip("="), ("Accepted publickey for deploy from 10.0.0.8 port 50412 ssh2: RSA {}", "host key fingerprint is {}")),
    "arn": (lambda r: f"arn:aws:sqs:eu-west-1:{r.randrange(10**11, 10**12)}:jobs-{drawn(r, LOWER, 5)}", ("polling {}", "assume role failed for {}")),
}  # fmt: skip
