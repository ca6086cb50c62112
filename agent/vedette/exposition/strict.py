"""Read one line of Prometheus or OpenMetrics text, character by character, and say what is wrong.

The slow path of ``reading``: it sees a line once, when its series is new, and whatever is
unusual. Accepted beyond both specifications, because servers write it: blanks anywhere between
tokens, a comma before ``}``, ``#HELP`` without a blank, CRLF, unknown escapes (kept as they are),
exemplars anywhere (dropped unread), and the UTF-8 names in quotes of Prometheus 3. ``pedantic``
refuses what the format at hand does not allow.

Every pattern here takes time linear in the line's length.
"""

from __future__ import annotations

import re
from math import nan

import msgspec

from vedette.exposition.model import Caps, Labels, Malformed

_BLANK = " \t"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_LABEL_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
_PAIR = re.compile(rf"[ \t]*(?:({_LABEL_NAME})|{_QUOTED})[ \t]*=[ \t]*{_QUOTED}[ \t]*(,?)")
_PAIR_START = re.compile(rf"(?:{_LABEL_NAME}|{_QUOTED})?[ \t]*")
_QUOTED_NAME = re.compile(rf"[ \t]*{_QUOTED}[ \t]*(,?)")
_CLOSE = re.compile(r"[ \t]*\}")
_TOKEN = re.compile(r"[^ \t]+")
_NAME_AHEAD = re.compile(rb"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*)(?=[ \t{])")
_GAP = re.compile(r"[ \t]*")
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)",
    re.IGNORECASE,
)
_MILLISECONDS = re.compile(r"-?[0-9]{1,18}")
_SECONDS = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][+-]?[0-9]{1,3})?")
_COMMENT = re.compile(rf"#[ \t]*(HELP|TYPE|UNIT|EOF)(?:[ \t]+(?:([^ \t\"]+)|{_QUOTED})[ \t]?(.*))?")
_TIDY_COMMENT = re.compile(r"# (?:EOF|(?:HELP|TYPE|UNIT) \S+(?: .*)?)")
_TIDY_SERIES = re.compile(rf'(?:{_NAME.pattern})?(?:\{{(?:[^" ]|{_QUOTED})*\}})?')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"\\": "\\", '"': '"', "n": "\n"}
_EXEMPLAR_CHARS = 128

DEFAULT = Caps()


class SampleLine(msgspec.Struct, frozen=True):
    """One line with a value. ``key`` is the raw text left of the value: what repeats."""

    key: bytes
    name: str
    labels: Labels
    value: float
    time_s: float = nan
    exemplar: bool = False


class CommentLine(msgspec.Struct, frozen=True):
    """A line that declares: ``word`` is HELP, TYPE, UNIT or EOF."""

    word: str
    name: str = ""
    text: str = ""


def read_sample(
    line: bytes, *, openmetrics: bool = False, pedantic: bool = False, caps: Caps = DEFAULT
) -> SampleLine:
    """Read a line that is neither empty nor a comment; raises ``Malformed``."""
    if len(line) > caps.line_bytes:
        raise Malformed(f"over {caps.line_bytes} bytes long")
    text = _decoded(line)
    if not pedantic:
        text = text.rstrip("\r \t")
    name, pairs, end = _series(text, pedantic, caps)
    start = _skip(text, end)
    value = _TOKEN.match(text, start)
    if value is None:
        raise Malformed("no value")
    if pedantic and openmetrics:
        _refuse_untidy(text, end, start)
    number = _number(value.group())
    time_s, exemplar = _rest(text, value.end(), openmetrics, pedantic)
    # Where one blank stands before the value, the fast path cuts there; else after the labels.
    cut = start - 1 if start > end and text[start - 1] == " " else end
    return SampleLine(
        text[:cut].encode(), name, tuple(sorted(pairs.items())), number, time_s, exemplar
    )


def read_comment(
    line: bytes, *, openmetrics: bool = False, pedantic: bool = False, caps: Caps = DEFAULT
) -> CommentLine | None:
    """Read a line that starts with ``#``; None when it declares nothing. Raises ``Malformed``."""
    if len(line) > caps.line_bytes:
        raise Malformed(f"over {caps.line_bytes} bytes long")
    text = _decoded(line)
    if not pedantic:
        text = text.rstrip("\r")
    found = _COMMENT.fullmatch(text.strip(_BLANK))
    if openmetrics and pedantic and (found is None or not _TIDY_COMMENT.fullmatch(text)):
        raise Malformed("OpenMetrics has no comments but # HELP, # TYPE, # UNIT and # EOF")
    if found is None:
        return None
    word, plain, quoted, rest = found.groups()
    name = plain or (unescape(quoted, pedantic) if quoted is not None else "")
    if word == "EOF":
        return CommentLine(word) if not name else None
    if not name:
        raise Malformed(f"{word} without a name")
    if plain and not _NAME.fullmatch(plain):
        raise Malformed(f"{plain!r} is not a metric name")
    rest = rest or ""
    return CommentLine(word, name, unescape(rest, False) if word == "HELP" else rest.strip())


def metric_name(line: bytes) -> str:
    """Return the unquoted name a line starts with, or an empty text: a look ahead."""
    found = _NAME_AHEAD.match(line)
    return found.group(1).decode() if found else ""


def unescape(text: str, pedantic: bool) -> str:
    """Undo the escapes of a label's value or of a help text."""
    if "\\" not in text:
        return text

    def undo(found: re.Match[str]) -> str:
        plain = _UNESCAPED.get(found.group(1))
        if plain is None:
            if pedantic:
                raise Malformed(f"unknown escape {found.group()!r}")
            return found.group()
        return plain

    return _ESCAPE.sub(undo, text)


def is_number(text: str) -> bool:
    """Say whether a text is a number of the format; Python's own ``float`` takes ``1_0`` too."""
    return _NUMBER.fullmatch(text) is not None


def time_of(text: str, openmetrics: bool) -> float:
    """Return a timestamp as Unix seconds: text format writes ms, OpenMetrics s."""
    if openmetrics:
        if _SECONDS.fullmatch(text):
            return float(text)
    elif _MILLISECONDS.fullmatch(text):
        return int(text) / 1000
    raise Malformed(f"timestamp {text[:40]!r} is not {'seconds' if openmetrics else 'whole ms'}")


# ---------------------------------------------------------------- a series


def _series(text: str, pedantic: bool, caps: Caps) -> tuple[str, dict[str, str], int]:
    """Return the name, the labels, and where they end."""
    start = _skip(text, 0)
    found = _NAME.match(text, start)
    name = found.group() if found else ""
    end = found.end() if found else start
    brace = _skip(text, end)
    pairs: dict[str, str] = {}
    if text[brace : brace + 1] == "{":
        if not name:
            quoted = _QUOTED_NAME.match(text, brace + 1)
            if quoted is None:
                raise Malformed("no metric name")
            name = unescape(quoted.group(1), pedantic)
            brace = quoted.end() - 1
            if not quoted.group(2) and not _CLOSE.match(text, brace + 1):
                raise Malformed(f"column {brace + 2}: expected , or }} after the name")
        end = _labels(text, brace + 1, pairs, pedantic, caps)
    elif not name:
        raise Malformed("no metric name")
    elif end < len(text) and text[end] not in _BLANK:
        raise Malformed(f"column {end + 1}: {text[end]!r} in a metric name")
    if not name or len(name) > caps.label_chars:
        raise Malformed("metric name empty or too long")
    return name, pairs, end


def _labels(text: str, at: int, pairs: dict[str, str], pedantic: bool, caps: Caps) -> int:
    """Fill ``pairs`` from what follows the opening brace; return where the labels end."""
    comma = True
    while (close := _CLOSE.match(text, at)) is None:
        found = _PAIR.match(text, at) if comma else None
        if found is None:
            raise Malformed(_label_trouble(text, at, comma))
        plain, quoted, raw, separator = found.groups()
        name = plain or unescape(quoted, pedantic)
        value = unescape(raw, pedantic)
        if name in pairs:
            raise Malformed(f"label {name!r} twice")
        if not name or len(name) > caps.label_chars or len(value) > caps.label_chars:
            raise Malformed(f"label {name[:40]!r} empty or over {caps.label_chars} characters")
        if len(pairs) >= caps.labels:
            raise Malformed(f"over {caps.labels} labels")
        pairs[name] = value
        comma = bool(separator)
        at = found.end()
    return close.end()


def _label_trouble(text: str, at: int, comma: bool) -> str:
    at = _skip(text, at)
    if at >= len(text):
        return "the labels do not end"
    if not comma:
        return f"column {at + 1}: expected , or }} after a label"
    start = _PAIR_START.match(text, at)
    named = start is not None and start.end() > at
    at = start.end() if start else at
    if named and text[at : at + 1] == "=":
        at = _skip(text, at + 1)
        if text[at : at + 1] == '"':
            return f"column {at + 1}: a label's value does not end"
        return f"column {at + 1}: expected a label's value in double quotes"
    return f'column {at + 1}: expected name="value"'


# ---------------------------------------------------------------- what follows it


def _rest(text: str, at: int, openmetrics: bool, pedantic: bool) -> tuple[float, bool]:
    """Read what follows the value: a timestamp, an exemplar, both or nothing."""
    time_s = nan
    start = _skip(text, at)
    token = _TOKEN.match(text, start)
    if token is not None and token.group() != "#":
        time_s = time_of(token.group(), openmetrics)
        at = token.end()
        start = _skip(text, at)
        token = _TOKEN.match(text, start)
    if token is None:
        if pedantic and openmetrics and at < len(text):
            raise Malformed("blanks at the end")
        return time_s, False
    after = _skip(text, token.end())
    if token.group() != "#" or text[after : after + 1] != "{":
        raise Malformed(f"column {start + 1}: unexpected {text[start : start + 40]!r}")
    if pedantic:
        if not openmetrics:
            raise Malformed("an exemplar, which text format 0.0.4 has not")
        _exemplar(text, after)
    return time_s, True


def _exemplar(text: str, at: int) -> None:
    pairs: dict[str, str] = {}
    end = _labels(text, at + 1, pairs, True, DEFAULT)
    if sum(len(name) + len(value) for name, value in pairs.items()) > _EXEMPLAR_CHARS:
        raise Malformed(f"an exemplar's labels over {_EXEMPLAR_CHARS} characters")
    tokens = text[end:].split(" ")
    if not 2 <= len(tokens) <= 3 or tokens[0]:
        raise Malformed("an exemplar is { labels }, a value, and perhaps a timestamp")
    _number(tokens[1])
    if len(tokens) == 3:
        time_of(tokens[2], True)


def _number(text: str) -> float:
    if not is_number(text):
        raise Malformed(f"value {text[:40]!r} is not a number")
    return float(text)


def _skip(text: str, at: int) -> int:
    """Return where the blanks that may stand at a place end."""
    found = _GAP.match(text, at)
    return found.end() if found else at


def _refuse_untidy(text: str, end: int, start: int) -> None:
    if text[end:start] != " " or not _TIDY_SERIES.fullmatch(text[:end]):
        raise Malformed("blanks where OpenMetrics has none")
    if text[:end].endswith(",}"):
        raise Malformed("a comma before }, which OpenMetrics has not")


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"byte {error.start + 1} is not UTF-8") from None
