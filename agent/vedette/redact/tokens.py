"""Keys and tokens that say by their form whose they are.

A service that gives its keys a prefix wants them to be found. Each line of the two tables is a public
fact about one form; lengths are as short as the service ever made them, since a cut-off key is still
a secret. ``$X`` and ``$H`` stand for the digits of URL-safe base 64 and of hexadecimal.

``NAMED`` forms hold a word: what is between two characters that are not letters. A text's words are
looked up once for all rules (``vedette.redact.screen``), and each form found so is searched by its
literal prefix, at the speed of ``memchr``. ``GLUED`` forms run into their key without a break; they
are looked for at the beginning of long runs of letters and digits alone. So what a text costs does
not grow with the number of forms: one expression of all hundred took 150 µs for a line.
"""

# ruff: noqa: E501  (a line to each form)

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from vedette.redact.rules import Finds, Piece, Rule, expression

#: Shortest run of letters, digits, - and _ in which a glued form is looked for.
LONG_RUN = 16
#: Shortest run of a text in which a key is looked for that shows what it is in the middle.
LONGER_RUN = 24
#: Rule, words, form. With several forms to a rule, the label is the first part of the rule's name.
_NAMED = (
    ("gcp-oauth", "ya", r"ya29\.$X{20,}"),
    ("gcp-oauth", "gocspx", r"GOCSPX-$X{20,}"),
    ("firebase", "apa", r"[\w-]{0,11}+:APA91b$X{60,}"),
    ("github", "ghp gho ghu ghs ghr", r"gh[pousr]_[A-Za-z0-9]{20,}"),
    ("github", "github", r"github_pat_\w{20,}"),
    (
        "gitlab",
        "glpat gldt glrt glcbt glptt glft glimt glagent gloas glsoat glffct",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[\w.-]{16,}",
    ),
    ("slack", "xoxa xoxb xoxp xoxo xoxr xoxs xoxe xoxc xoxd", r"xox[a-eo-s](?:\.xox[bp])?-[\w%.-]{10,}"),
    ("slack", "xapp", r"xapp-[\w.-]{10,}"),
    ("slack-webhook", "slack", r"hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[\w/-]{20,}"),
    ("discord-webhook", "discord discordapp", r"discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d{10,20}/[\w-]{20,}"),
    ("teams-webhook", "webhook", r"webhook\.office\.com/webhookb2/[^\s\"'<>]{20,}"),
    ("teams-webhook", "logic", r"logic\.azure\.com(?::443)?/workflows/[^\s\"'<>]{20,}"),
    ("stripe", "sk", r"sk_(?:live|test|prod)_\w{8,}"),
    ("stripe", "rk", r"rk_(?:live|test|prod)_\w{8,}"),
    ("stripe", "whsec", r"whsec_[A-Za-z0-9+/]{16,}=*"),
    ("square", "sq", r"sq0[a-z]{3}-$X{20,}"),
    ("paypal", "access", r"access_token\$(?:production|sandbox)\$[0-9a-z]{8,}\$$H{16,}"),
    ("shopify", "shpat shpss shpca shppa", r"shp(?:at|ss|ca|pa)_[0-9a-fA-F]{20,}"),
    ("razorpay", "rzp", r"rzp_(?:live|test)_[A-Za-z0-9]{14,}"),
    ("flutterwave", "flwseck", r"FLWSECK(?:_TEST)?-$X{12,}"),
    ("plaid", "access", r"access-(?:sandbox|development|production)-$H{8}-[0-9a-f-]{20,}"),
    ("openai", "sk", r"sk-(?:(?:proj|svcacct|admin|None|service)-$X{20,}|[A-Za-z0-9]{20,})"),
    ("openai", "sess", r"sess-[A-Za-z0-9]{30,}"),
    ("anthropic", "sk", r"sk-ant-$X{16,}"),
    ("openrouter", "sk", r"sk-or-(?:v1-)?$H{20,}"),
    ("huggingface", "hf", r"hf_[A-Za-z0-9]{20,}"),
    ("huggingface", "api", r"api_org_[A-Za-z0-9]{20,}"),
    ("groq", "gsk", r"gsk_[A-Za-z0-9]{20,}"),
    ("xai", "xai", r"xai-[A-Za-z0-9]{30,}"),
    ("perplexity", "pplx", r"pplx-[A-Za-z0-9]{20,}"),
    ("langsmith", "lsv", r"lsv2_(?:pt|sk)_\w{20,}"),
    ("langsmith", "ls", r"ls__\w{20,}"),
    ("pinecone", "pcsk", r"pcsk_\w{20,}"),
    ("nvidia", "nvapi", r"nvapi-$X{20,}"),
    ("npm", "npm", r"npm_[A-Za-z0-9]{20,}"),
    ("pypi", "pypi", r"pypi-A$X{20,}"),
    ("rubygems", "rubygems", r"rubygems_$H{20,}"),
    ("nuget", "oy", r"oy2[a-z0-9]{43}(?![A-Za-z0-9])"),
    ("clojars", "clojars", r"CLOJARS_[a-z0-9]{30,}"),
    ("docker", "dckr", r"dckr_(?:pat|oat)_$X{20,}"),
    ("sendgrid", "sg", r"SG\.$X{16,}\.$X{20,}"),
    ("mailgun", "key", r"key-$H{32}(?![A-Za-z0-9])"),
    ("brevo", "xkeysib", r"xkeysib-$X{30,}"),
    ("brevo", "xsmtpsib", r"xsmtpsib-$X{30,}"),
    ("digitalocean", "dop doo dor", r"do[por]_v1_$H{20,}"),
    ("heroku", "hrku", r"HRKU-$X{20,}"),
    ("vault", "hvs hvb hvr", r"hv[sbr]\.$X{20,}"),
    ("pulumi", "pul", r"pul-$H{30,}"),
    ("doppler", "dp", r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{20,}"),
    ("planetscale", "pscale", r"pscale_(?:tkn|pw|oauth)_[\w.=-]{20,}"),
    ("supabase", "sbp", r"sbp_$H{30,}"),
    ("supabase", "sb", r"sb_secret_$X{20,}"),
    ("netlify", "nfp", r"nfp_[A-Za-z0-9]{20,}"),
    ("vercel", "vcp vci vca vcr vck", r"vc[piark]_[A-Za-z0-9]{20,}"),
    ("fly", "fm", r"fm[12][ar]?_[A-Za-z0-9+/=,_-]{30,}"),
    ("fly", "fo", r"fo1_$X{30,}"),
    ("render", "rnd", r"rnd_[A-Za-z0-9]{20,}"),
    ("tailscale", "tskey", r"tskey-(?:[a-z]+-)?$X{12,}"),
    ("grafana", "glsa", r"glsa_\w{20,}"),
    ("grafana", "glc", r"glc_[A-Za-z0-9+/]{20,}=*"),
    ("newrelic", "nrak nrjs nrii nral nraa", r"NR(?:AK|JS|II|AL|AA|RA)-[A-Za-z0-9-]{16,}"),
    ("sentry", "sntrys sntryu", r"sntry[su]_[A-Za-z0-9+/=_-]{20,}"),
    ("dynatrace", "dt", r"dt0[a-z]\d\d\.[A-Z0-9]{20,}\.[A-Z0-9]{30,}"),
    ("postman", "pmak", r"PMAK-$H{20,}(?:-$H{20,})?"),
    ("sonar", "squ sqp sqa", r"sq[upa]_$H{30,}"),
    ("circleci", "ccipat ccip", r"CCIP(?:AT|RJ)_\w{20,}"),
    ("buildkite", "bkua bkat", r"bk(?:ua|at)_$H{20,}"),
    ("launchdarkly", "sdk", r"sdk-$H{8}-(?:$H{4}-){3}$H{12}"),
    ("launchdarkly", "api", r"api-$H{8}-(?:$H{4}-){3}$H{12}"),
    ("linear", "lin", r"lin_(?:api|oauth)_[A-Za-z0-9]{20,}"),
    ("notion", "ntn", r"ntn_[A-Za-z0-9]{30,}"),
    ("notion", "secret", r"secret_[A-Za-z0-9]{40,}"),
    ("figma", "figd figu", r"fig[du]_$X{20,}"),
    ("hubspot", "pat", r"pat-(?:na|eu|ap)\d-$H{8}-[0-9a-f-]{20,}"),
    ("typeform", "tfp", r"tfp_$X{30,}"),
    ("contentful", "cfpat", r"CFPAT-$X{30,}"),
    ("mapbox", "sk", r"sk\.eyJ$X{20,}\.$X{10,}"),
    ("sourcegraph", "sgp", r"sgp_\w{30,}"),
    ("prefect", "pnu pnb", r"pn[ub]_[A-Za-z0-9]{30,}"),
    ("onepassword", "ops", r"ops_eyJ$X{40,}={0,3}"),
    ("age", "age", r"AGE-SECRET-KEY-1[0-9A-Z]{40,}"),
    ("shippo", "shippo", r"shippo_(?:live|test)_$H{30,}"),
    ("okta", "ssws", r"SSWS 00$X{36,}"),
    ("gitea", "gta", r"gta_[A-Za-z0-9]{30,}"),
    ("kubernetes", "token", r"(?<=token )[a-z0-9]{6}\.[a-z0-9]{16}(?![a-z0-9])"),
)  # fmt: skip
#: Rule, first characters, form from there on.
_GLUED = (
    *(
        ("aws-key-id", head, head + r"[A-Z2-7]{16}(?![A-Za-z0-9])")
        for head in ["AKIA", "ASIA", "ABIA", "ACCA", "AROA", "AIDA", "AGPA", "ANPA", "AIPA"]
    ),
    ("aws-bedrock", "ABSK", r"ABSK[A-Za-z0-9+/]{100,}={0,2}"),
    ("gcp-key", "AIza", r"AIza$X{30,}"),
    ("gitlab", "GR1348941", r"GR1348941$X{16,}"),
    *(("bitbucket", head, head + r"$X{20,}={0,2}\w*") for head in ("ATBB", "ATCTT3")),
    *(("atlassian", head, head + r"$X{20,}={0,2}\w*") for head in ("ATATT3", "ATOATT3")),
    *(("discord", head, r"[MNO][\w-]{22,28}\.[\w-]{6,7}\.[\w-]{27,40}") for head in "MNO"),
    ("square", "EAAA", r"EAAA[\w-]{56,}"),
    ("facebook", "EAA", r"EAA[A-Z][A-Za-z0-9]{60,}"),
    ("crates", "cio", r"cio[A-Za-z0-9]{32}(?![A-Za-z0-9])"),
    ("artifactory", "AKCp", r"AKCp[A-Za-z0-9]{20,}"),
    ("artifactory", "cmVmdGtu", r"cmVmdGtu[A-Za-z0-9]{30,}"),
    *(("twilio", head, head + r"$H{32}(?![A-Za-z0-9])") for head in ("SK", "AC")),
    ("databricks", "dapi", r"dapi$H{32}(?:-\d)?(?![A-Za-z0-9])"),
    ("airtable", "pat", r"pat[A-Za-z0-9]{14}\.$H{40,}"),
    ("twitter", "AAAAAAAAAAAAAAAAAAAAA", r"AAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%]{30,}"),
    ("alibaba", "LTAI", r"LTAI[A-Za-z0-9]{12,26}(?![A-Za-z0-9])"),
    ("tencent", "AKID", r"AKID[A-Za-z0-9]{32}(?![A-Za-z0-9])"),
    ("replicate", "r8_", r"r8_[A-Za-z0-9]{20,}"),
    ("adobe", "p8e-", r"p8e-[A-Za-z0-9]{30,}"),
    *(("yandex", head, head + r"$X{30,}") for head in ("y0_", "y1_", "y2_", "y3_")),
    ("yandex", "AQVN", r"AQVN$X{30,}"),
    *(("wallet", head, head + r"[1-9A-HJ-NP-Za-km-z]{100,}") for head in ("xprv", "yprv", "zprv")),
    *(("ssh-public", "AAAA" + head, f"AAAA{head}[A-Za-z0-9+/]{{30,}}={{0,3}}") for head in ("B3NzaC1", "C3NzaC1", "E2VjZHNh", "GnNr")),
    *(("easypost", head, head + r"[A-Za-z0-9]{50,}") for head in ("EZAK", "EZTK")),
    *(("wallet", head, head + r"[1-9A-HJ-NP-Za-km-z]{49}(?![A-Za-z0-9])") for head in ("5H", "5J", "5K")),
    ("kubernetes", "K10", r"K10$H{40,}::(?:server|node)?:?$H{16,}"),
    ("jenkins", "11", r"11$H{32}(?![A-Za-z0-9])"),
)  # fmt: skip
#: Rule, what is found inside of the key, form from there on; what is left of it belongs to the key.
_INNER = (
    ("azure-secret", "Q~", r"Q~[A-Za-z0-9_~.-]{30,34}"),
    ("azure-key", "+A", r"\+(?:ASt|AEh|ARm)[A-Za-z0-9+/]{4,12}={0,2}"),
    ("azure-key", "Az", r"Az(?:Fu|Ca)[A-Za-z0-9+/]{4,12}={0,2}"),
    ("azure-key", "AC", r"ACDb[A-Za-z0-9+/]{4,12}={0,2}"),
    ("terraform", "atlasv1", r"\.atlasv1\.$X{30,}"),
    ("gcp-oauth", "1//0", r"(?<![\w/])1//0[0-9a-z]$X{20,}"),
    (
        "vault-old",
        "s.",
        r"(?<![\w.])s\.(?=[A-Za-z]*\d)(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{24}(?![A-Za-z0-9])",
    ),
    ("yandex", "t1.", r"(?<![\w.])t1\.[A-Z0-9]$X{20,}\.$X{30,}"),
    ("cloudflare", "v1.0-", r"(?<![\w.])v1\.0-$H{24}-$H{100,}"),
    ("telegram", ":A", r"(?<=[0-9]):A[A-Z]$X{31,}"),
    ("salesforce", "!A", r"!A[\w.]{40,}"),
    ("mailchimp", "-us", r"(?<=$H{32})-us[0-9]{1,2}(?![A-Za-z0-9])"),
)
_OF_KEYS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_~."
_LEFT_MOST = 90


class _Form(NamedTuple):
    rule: Rule
    form: re.Pattern[str]


def _compiled(form: str) -> re.Pattern[str]:
    spelled = form.replace("$X", "[A-Za-z0-9_-]").replace("$H", "[0-9a-fA-F]")
    return expression(spelled)


def _rules() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for name, *_ in (*_NAMED, *_GLUED, *_INNER):
        service = name.partition("-")[0]
        found.setdefault(name, Rule(name, f"token:{service}", f"keys and tokens of {service}", 1))
    return found


_RULES = _rules()
TOKENS = tuple(_RULES.values())
_BY_WORD: dict[str, list[_Form]] = {}
for _name, _words, _form in _NAMED:
    for _word in _words.split():
        _BY_WORD.setdefault(_word, []).append(_Form(_RULES[_name], _compiled(_form)))
_BY_HEAD: dict[str, list[_Form]] = {}
for _name, _head, _form in _GLUED:
    _BY_HEAD.setdefault(_head, []).append(_Form(_RULES[_name], _compiled(_form)))
_INSIDE = [(_inner, _Form(_RULES[_name], _compiled(_form))) for _name, _inner, _form in _INNER]
#: Words that send a text to ``find_named``, lower case.
WORDS = frozenset(_BY_WORD)
_RUN = expression(rf"[A-Za-z0-9_-]{{{LONG_RUN},}}+")
#: Of short beginnings, what has to follow them.
_FOLLOWING = {
    **dict.fromkeys(("SK", "AC", "11"), "(?=[0-9a-f]{32})"),
    **dict.fromkeys("MNO", r"(?=[A-Za-z0-9_-]{22})"),
    "pat": "(?=[A-Za-z0-9]{14})",
}
_HEADS = "|".join(
    head + _FOLLOWING.get(head, "") for head in sorted(_BY_HEAD, key=lambda one: (-len(one), one))
)
_HEAD = expression(f"(?<![A-Za-z0-9])(?:{_HEADS})")
#: Whether a run can hold a glued form, as bytes: what decides for a text.
may_be_glued = re.compile(f"(?:^|[_-])(?:{_HEADS})".encode()).search
#: What inner forms are asked for by.
INNER = tuple(dict.fromkeys(inner for _, inner, _ in _INNER if inner != "s."))
#: Behind the two characters that old tokens of Vault begin with, and ordinary text is full of.
OLD_VAULT_RUN = 24


def find_named(piece: Piece, words: Iterable[str], found: Finds) -> None:
    """Add the keys whose prefix is one of ``words``."""
    text = piece.plain
    for word in words:
        for rule, form in _BY_WORD[word]:
            for match in form.finditer(text):
                start = match.start()
                if start and text[start - 1].isalnum() and text[start].isalnum():
                    continue
                found.add(start, match.end(), rule)


def find_glued(piece: Piece, found: Finds) -> None:
    """Add the keys that begin a long run of letters and digits, or show inside of one."""
    text = piece.plain
    for run in _RUN.finditer(text):
        for head in _HEAD.finditer(text, run.start(), run.end()):
            for rule, form in _BY_HEAD[head.group()]:
                match = form.match(text, head.start())
                if match:
                    found.add(match.start(), match.end(), rule)


def find_inner(piece: Piece, found: Finds) -> None:
    """Add the keys that show what they are in the middle."""
    text = piece.plain
    for inner, (rule, form) in _INSIDE:
        if inner in text:
            _find_inside(text, rule, form, found)


def _find_inside(text: str, rule: Rule, form: re.Pattern[str], found: Finds) -> None:
    for match in form.finditer(text):
        left = text[max(0, match.start() - _LEFT_MOST) : match.start()]
        start = match.start() - len(left) + len(left.rstrip(_OF_KEYS))
        if match.end() - start >= 26:
            found.add(start, match.end(), rule)
