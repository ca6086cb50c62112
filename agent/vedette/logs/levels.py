"""Read how grave a line says it is: level words, letters, syslog priorities and numbers.

A level in a line's header is the writer's word. ``severity_of_body`` is the careful fallback for
lines without one: only what stands at the very beginning and can mean nothing else counts, because
"0 errors" and "error rate is low" are no errors. It is meant to be asked once per template.
"""

from __future__ import annotations

import re

from vedette.logs.entry import Severity

_T, _D, _I = Severity.TRACE, Severity.DEBUG, Severity.INFO
_W, _E, _F = Severity.WARN, Severity.ERROR, Severity.FATAL

_SPELLINGS: dict[Severity, str] = {
    _T: "trace trc trce finest finer verbose verb vrb silly",
    _D: "debug dbg dbug deb fine debug1 debug2 debug3 debug4 debug5",
    _I: "info inf information informational notice ntc note config log system audit success",
    _W: "warn warning wrn warnings",
    _E: "error err eror severe failure fail failed fehler",
    _F: "fatal ftl critical crit crt emergency emerg alert panic dpanic fatl",
}
#: Words that are no other word of a sentence: these may stand bare in any spelling of case.
_PLAIN = frozenset(
    b"trace trc trce debug dbg dbug info inf information notice warn warning wrn error err eror "
    b"severe fatal ftl critical crit crt emerg alert panic dpanic".split()
)

#: Every spelling, in lower case, capitalised and upper case.
WORDS: dict[bytes, Severity] = {}
for _severity, _words in _SPELLINGS.items():
    for _word in _words.encode().split():
        WORDS.update({_word: _severity, _word.capitalize(): _severity, _word.upper(): _severity})
#: PostgreSQL's lines about the line before, only ever in upper case.
for _word in b"STATEMENT DETAIL HINT CONTEXT LOCATION QUERY".split():
    WORDS[_word] = _I

#: One letter, where a level has its column: Android, klog, MongoDB, Ruby's Logger.
LETTERS: dict[bytes, Severity] = {
    b"T": _T, b"V": _T, b"D": _D, b"I": _I, b"N": _I, b"W": _W, b"E": _E,
    b"S": _E, b"C": _F, b"F": _F, b"A": _F,
}  # fmt: skip
#: Redis writes a sign: ``.`` debug, ``-`` verbose, ``*`` notice, ``#`` warning.
SIGNS: dict[bytes, Severity] = {b".": _D, b"-": _D, b"*": _I, b"#": _W}
ALL: dict[bytes, Severity] = {**WORDS, **LETTERS, **SIGNS}

#: The eight of syslog, from emergency to debug.
PRIORITIES = (_F, _F, _F, _E, _W, _I, _I, _D)

_STARTS = re.compile(
    rb"""\W{0,3}(?:
        (?P<word>[A-Z]{3,9}|Error|Warning|Fatal|Critical|Severe|error|warning|fatal|critical|panic)
            (?:(?:\]|\)|>)?(?:[:!]|[ ]-|[ ]?\[E?\d+\]:|[ ]{2})|[\])>][ ])
      | (?P<bare>ERROR|FATAL|CRITICAL|WARNING|WARN|PANIC|EMERG|SEVERE)[ ]
      | (?P<key>[Ll](?:evel|vl|oglevel)|severity)["']?[=:][ ]?["']?(?P<value>\w{1,11})
      | (?P<trace>Traceback[ ]\(most[ ]recent|Exception[ ]in[ ]thread|Unhandled[ ]exception
            |Uncaught[ ]|[Uu]nhandled[ ]rejection|PHP[ ](?:Fatal|Parse)[ ]error
            |[\w.$]{0,128}(?:Exception|Error)(?::[ ]|$|[ ]\())
      | (?P<fatal>fatal[ ]error:|goroutine[ ]\d|thread[ ]'.{0,64}'[ ]panicked|Kernel[ ]panic
            |Segmentation[ ]fault|BUG:|Oops:|Out[ ]of[ ]memory:)
    )""",
    re.VERBOSE,
)


def severity_of_priority(priority: int) -> Severity:
    """Return the severity in a syslog PRI value (facility times 8 plus severity)."""
    return PRIORITIES[priority & 7]


def severity_of_number(level: float) -> Severity:
    """Return the severity of a numeric level as pino, bunyan and the logging module count.

    Up to 7 it is taken as syslog's (smaller is graver); from 10 on as tens: 10 trace (or Python's
    debug), 20 debug (Python's info is not told from it), 30 info, 40 warning, 50 error, 60 fatal.
    """
    if 0 <= level <= 7:
        return PRIORITIES[int(level)]
    for least, severity in ((60, _F), (50, _E), (40, _W), (30, _I), (20, _D), (8, _T)):
        if least <= level < 100:
            return severity
    return Severity.UNKNOWN


def severity_of_word(word: bytes) -> Severity:
    """Return the severity a level field says, in any case, a letter or a number; else unknown."""
    word = word.strip()
    known = ALL.get(word) or WORDS.get(word[:16].lower()) or LETTERS.get(word.upper())
    if known is not None:
        return known
    if word.isdigit() and len(word) <= 3:
        return severity_of_number(int(word))
    return Severity.UNKNOWN


def is_plain(word: bytes) -> bool:
    """Tell whether a level word is no other word, so that it may stand in any case."""
    return word.lower() in _PLAIN


def severity_of_body(body: bytes) -> Severity:
    """Return the severity that the first words of a message say, unknown if they do not."""
    found = _STARTS.match(body[:256])
    if found is None:
        return Severity.UNKNOWN
    word = found["word"] or found["bare"] or found["value"]
    if word is not None:
        return severity_of_word(word)
    return _F if found["fatal"] else _E
