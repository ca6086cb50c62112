"""Find the passwords of command lines and of SQL statements, by the program or the clause before them."""

# ruff: noqa: E501  (a line to each program)

from __future__ import annotations

import re
from collections.abc import Iterable

from vedette.redact import rules
from vedette.redact.keynames import Meaning, Value, meaning
from vedette.redact.rules import Finds, Piece, TooMuchError, expression
from vedette.redact.values import nothing

#: Times that the name of a program may stand in a text.
MOST_COMMANDS = 100
_ARGUMENT = r"[\"']?(?P<secret>[^\s\"'|;]+)"
_TO = r"[^\n|;]{0,240}?[ ]"
#: Words of which one must be in a text, and an option after which a password stands; group "secret".
_COMMANDS: tuple[tuple[str, str], ...] = (
    ("curl wget", rf"\b(?:curl|wget){_TO}(?:-u|--user|-U|--proxy-user)[ =]?[\"']?[^\s:\"']{{1,80}}+:(?P<secret>[^\s\"']+)"),
    ("mysql mysqldump mysqladmin mariadb", rf"\b(?:mysql|mysqldump|mysqladmin|mariadb(?:-dump)?){_TO}-p[\"']?(?P<secret>[^\s\"'-][^\s\"']*)"),
    ("sshpass", rf"\bsshpass[ ]+(?:-v[ ]+)?-p[ ]*{_ARGUMENT}"),
    ("redis", rf"\bredis-cli{_TO}(?:-a|--pass)[ ]+{_ARGUMENT}"),
    ("etcdctl", rf"\betcdctl{_TO}--user[ =]\w{{1,40}}+:(?P<secret>[^\s\"']+)"),
    ("rabbitmqctl", rf"\brabbitmqctl{_TO}(?:add_user|change_password|authenticate_user)[ ]+\S{{1,60}}+[ ]+{_ARGUMENT}"),
    ("community", r"\bcommunity[ ]+(?P<secret>[^\s\"']{3,})[ ]+(?:RO|RW|ro|rw)\b"),
    ("pragma", r"(?i:pragma)[ ]+(?i:re)?key[ ]*=[ ]*[\"'](?P<secret>[^\"']+)"),
    ("auth", r"\.auth\([\"'][^\"']{0,60}[\"'], ?[\"'](?P<secret>[^\"']+)"),
    ("redis auth", r"AUTH (?<![\w-]AUTH )[\"']?(?P<secret>(?=[^\s\"']*[0-9])[^\s\"']{6,})"),
    ("ldapsearch ldapmodify ldapadd ldapdelete ldapwhoami ldappasswd", rf"\bldap(?:search|modify|add|delete|whoami|passwd){_TO}-w[ ]+{_ARGUMENT}"),
    ("docker podman helm oras az buildah skopeo", rf"\b(?:docker|podman|helm|oras|az|buildah|skopeo){_TO}login{_TO}-p[ ]+{_ARGUMENT}"),
    ("mongo mongosh mongodump mongorestore mongoexport mongoimport", rf"\bmongo(?:sh|dump|restore|export|import)?{_TO}-p[ ]+{_ARGUMENT}"),
    ("sqlplus", rf"\bsqlplus[ ]+(?:-\w++[ ]++)*[^\s/]{{1,60}}+/{_ARGUMENT}@"),
    ("smbclient winexe rpcclient net", rf"\b(?:smbclient|winexe|rpcclient|net){_TO}-U[ ]*[\"']?[^\s%\"']{{1,60}}+%(?P<secret>[^\s\"']+)"),
    ("pass passin passout openssl", r"\bpass(?:in|out)?[ =]pass:(?P<secret>[^\s\"']+)"),
    ("htpasswd", rf"\bhtpasswd[ ]+-\w*b\w*[ ]+\S+[ ]+\S+[ ]+{_ARGUMENT}"),
    ("zip unzip", rf"\b(?:un)?zip{_TO}-P[ ]*{_ARGUMENT}"),
    ("snmpwalk snmpget snmpset snmpbulkwalk", rf"\bsnmp(?:walk|get|set|bulkwalk){_TO}-[AXc][ ]+{_ARGUMENT}"),
    ("ipmitool", rf"\bipmitool{_TO}-P[ ]+{_ARGUMENT}"),
    ("mosquitto", rf"\bmosquitto_(?:pub|sub){_TO}-P[ ]+{_ARGUMENT}"),
    ("net", rf"\bnet[ ]+use[ ]+\S+[ ]+(?:/user:\S+[ ]+{_ARGUMENT}|(?P<first>[^\s/]\S*)[ ]+/user:)"),
    ("xfreerdp rdesktop", rf"\b(?:xfreerdp|rdesktop){_TO}/p:{_ARGUMENT}"),
    ("beeline impala", rf"\b(?:beeline|impala-shell){_TO}-p[ ]+{_ARGUMENT}"),
    ("chpasswd", r"\becho[ ]+(?:-n[ ]+)?[\"']?[\w.-]{1,40}+:(?P<secret>[^\s\"'|]+)[\"']?[ ]*\|[ ]*(?:sudo[ ]+)?chpasswd"),
    ("echo", r"\becho[ ]+(?:-n[ ]+)?[\"']?(?P<secret>[^\s\"'|]+)[\"']?[ ]*\|[ ]*(?:docker|podman|sudo -S|passwd|gpg|kinit)\b"),
    (
        "requirepass masterauth bindpw rootpw rocommunity rwcommunity",
        r"\b(?:requirepass|masterauth|bindpw|rootpw|rocommunity|rwcommunity)[ ]+[\"']?(?P<secret>[^\s\"']+)",
    ),
)  # fmt: skip
_BY_COMMAND: dict[str, list[re.Pattern[str]]] = {}
for _words, _form in _COMMANDS:
    _compiled = expression(_form)
    for _one in _words.split():
        _BY_COMMAND.setdefault(_one, []).append(_compiled)
#: Words of programs and of SQL that send a text to ``find_commands``.
WORDS = frozenset({*_BY_COMMAND, *("identified", "encrypted", "crypt", "values")})
_SQL = expression(
    r"(?:identified[ ]+(?:with[ ]+[\w\"'`]+[ ]+)?(?:by|as)[ ]+(?:password[ ]+)?|(?<![\w'\"])(?:encrypted[ ]+)?password(?:[ ]+|[ ]*\([ ]*)|crypt[ ]*\([ ]*)'"
)
_INSERT = expression(r"\(([^()'\"]{1,1000}+)\)[ ]*values[ ]*(?=\()")
_ROW = expression(
    r"[(,][ ]*(?:'((?:[^'\\]|''|\\.)*+)'|\"((?:[^\"\\]|\\.)*+)\"|([^,()'\"]*+))[ ]*(?=[,)])"
)


def find_commands(piece: Piece, words: Iterable[str], found: Finds) -> None:
    """Add the passwords of the command lines that ``words`` tell of."""
    words = tuple(words)
    if any(piece.lower.count(word) > MOST_COMMANDS for word in words):
        raise TooMuchError
    forms = {form: None for word in words for form in _BY_COMMAND.get(word, ())}
    for form in forms:
        for match in form.finditer(piece.text):
            group = "secret" if match["secret"] else "first"
            if not nothing(match[group]):
                found.add(match.start(group), match.end(group), rules.PASSWORD)


def find_sql(piece: Piece, found: Finds) -> None:
    """Add the passwords of SQL statements."""
    text, lower = piece.text, piece.lower
    for match in _SQL.finditer(lower):
        end = text.find("'", match.end(), match.end() + 500)
        if end > match.end():
            found.add(match.end(), end, rules.PASSWORD)
    for match in _INSERT.finditer(lower):
        columns = [
            meaning(name.strip(' `"[]')) for name in text[match.start(1) : match.end(1)].split(",")
        ]
        if any(columns):
            _rows(text, match.end(), columns, found)


def _rows(text: str, at: int, columns: list[Meaning | None], found: Finds) -> None:
    """Add the values of an INSERT whose columns mean something."""
    while True:
        for meant in columns:
            value = _ROW.match(text, at)
            if value is None:
                return
            at = value.end()
            group = value.lastindex or 3
            secret = value.group(group)
            if meant and meant.value is not Value.DRAWN and secret and not nothing(secret):
                found.add(value.start(group), value.end(group), meant.rule)
        following = expression(r"\)[ ]*,[ ]*(?=\()").match(text, at)
        if following is None:
            return
        at = following.end()
