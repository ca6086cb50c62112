"""Know the lines of a stack trace by their grammar: which begin one, and which go on with it.

Each language writes its traces in its own way, and most of their lines look like nothing else, as
``  File "x.py", line 3``, ``\tat com.foo.Bar(Bar.java:12)``, ``goroutine 1 [running]:``. A *mode*
is which trace is open and how far; ``opened_by`` tells the mode a line opens, ``follows`` the mode
after a further line, or None when that line does not belong to it.

Sources: CPython's traceback.py (carets, chains, groups), the JDK's Throwable.printStackTrace, Go's
runtime/traceback.go, V8's stack trace API, Rust's std::panicking, .NET's Exception.ToString, PHP
and Ruby as they print an uncaught exception.
"""

from __future__ import annotations

import re
from enum import Enum, auto


class Mode(Enum):
    """Which trace is open, and how far it is."""

    NONE = auto()
    INDENTED = auto()
    PYTHON = auto()
    PYTHON_END = auto()
    PYTHON_CHAIN = auto()
    FRAMES = auto()  # Java, .NET, Node: "at" lines
    GO = auto()
    RUST_MESSAGE = auto()
    RUST = auto()
    NODE_SOURCE = auto()
    NODE = auto()
    RUBY = auto()
    PHP = auto()
    KERNEL = auto()
    TOLD = auto()


#: A line is looked at so far.
LOOKED_AT = 512
_NAME = rb"[A-Za-z_][\w$]*"
_THROWN = (
    rb"(?:" + _NAME + rb"[.\\:]{1,2}){0,10}" + rb"\w{0,80}(?:Exception|Error|Throwable|Failure)"
)

_OPENINGS: tuple[tuple[re.Pattern[bytes], Mode], ...] = (
    (re.compile(rb".{0,400}Traceback \(most recent call last\):\s*\Z", re.DOTALL), Mode.PYTHON),
    (
        re.compile(rb"(?:panic|fatal error|runtime error): |SIG[A-Z]{3,4}: |goroutine \d+ \["),
        Mode.GO,
    ),
    (re.compile(rb"thread '[^']{0,80}'(?: \(\d+\))? panicked at .*:\s*\Z"), Mode.RUST_MESSAGE),
    (re.compile(rb"thread '[^']{0,80}'(?: \(\d+\))? panicked at "), Mode.RUST),
    (re.compile(rb"(?:PHP )?(?:Fatal error: +)?Uncaught .{0,500} in \S{1,200}:\d+\Z"), Mode.PHP),
    (re.compile(rb"PHP (?:Fatal|Parse|Recoverable fatal) error: +"), Mode.PHP),
    (re.compile(rb"\S{1,200}\.rb:\d+:in [`'].{1,400}\([\w:]{1,100}\)\Z"), Mode.RUBY),
    (re.compile(rb"(?:/|file://|node:|[A-Z]:\\)\S{1,300}\.?\w{0,5}:\d+\Z"), Mode.NODE_SOURCE),
    (re.compile(rb"(?:Call Trace|Backtrace|Call trace):\s*\Z"), Mode.KERNEL),
    (re.compile(rb"Exception in thread \"|Unhandled [Ee]xception|Uncaught "), Mode.FRAMES),
    (re.compile(_THROWN + rb"(?:: |:?\Z| \()"), Mode.FRAMES),
)
#: What an exception looks like that stands behind a message: "failed: java.io.IOException: x".
_MENTIONED = re.compile(rb"(?:\A|[\s:(\[])" + _THROWN + rb"(?:: |\Z|\))")
#: What any opening has, to pass over other lines quickly.
_HINT = re.compile(
    rb"Traceback|[Pp]anic|fatal error|runtime error|goroutine|SIG|Uncaught|PHP |\.rb:|Exception"
    rb"|Error|Throwable|Failure|all [Tt]race:|Backtrace:|exception|[\w/]:\d+\Z"
)

_FRAME = re.compile(
    rb"(?:#011|[ \t])+(?:at \S|\.\.\. \d+ |Suppressed: |Caused by: |-{3}|\[CIRCULAR|\[cause\])"
)
_FRAMES_MORE = re.compile(
    rb"(?:Caused by|Suppressed|Wrapped by|Causing): |--- End of |---> |\.\.\. \d+ |[\]})]+[;,]?\Z"
    rb"|[\w./ ()-]{1,200}\.rb:\d+:in "
)
_PYTHON_ERROR = re.compile(rb"[A-Za-z_][\w.]{0,120}(?:: |:?\Z)")
_PYTHON_LINK = re.compile(
    rb"During handling of the above exception, another exception occurred:"
    rb"|The above exception was the direct cause of the following exception:"
)
_PYTHON_AGAIN = re.compile(rb"Traceback \(most recent call last\):")
_GO_MORE = re.compile(
    rb"\t|goroutine \d+ \[|created by |\[signal |\[recovered|exit status \d|panic: "
    rb"|r[a-z0-9]{1,4} +0x|\.\.\.(?:additional|\d+) |runtime stack:"
    rb"|[\w./*()\[\]{}<>,-]+\([^()]*(?:\(\w*\)[^()]*)?\)\Z"
)
_RUST_MORE = re.compile(rb"stack backtrace:| +\d+: | +at |note: |error: test failed")
_NODE_MORE = re.compile(rb"throw |" + _THROWN + rb"\b|Node\.js v|Thrown at|[\]{}]|Error\b")
_RUBY_MORE = re.compile(rb"\s+from |\s*\d+: from |[\w./ ()-]{1,200}:\d+:in [`']")
_PHP_MORE = re.compile(rb"(?:PHP )?Stack trace:|(?:PHP +)?#?\d+[. ]|\s+thrown in |Next ")
_KERNEL_MORE = re.compile(rb"\s|\[<[0-9a-f]+>\]|RIP: |R[A-Z0-9]{2}: |Code: |CR2: |---\[ end")

#: Modes in which indented lines belong to the trace whatever they are.
TRACES = frozenset(
    (Mode.PYTHON, Mode.PYTHON_END, Mode.FRAMES, Mode.GO, Mode.RUST, Mode.NODE, Mode.NODE_SOURCE,
     Mode.RUBY, Mode.PHP, Mode.KERNEL)
)  # fmt: skip
#: What goes on with an open trace of a mode, and what mode it is then.
_MORE: dict[Mode, tuple[re.Pattern[bytes], Mode]] = {
    Mode.FRAMES: (_FRAMES_MORE, Mode.FRAMES),
    Mode.GO: (_GO_MORE, Mode.GO),
    Mode.RUST: (_RUST_MORE, Mode.RUST),
    Mode.NODE: (_NODE_MORE, Mode.NODE),
    Mode.RUBY: (_RUBY_MORE, Mode.RUBY),
    Mode.PHP: (_PHP_MORE, Mode.PHP),
    Mode.KERNEL: (_KERNEL_MORE, Mode.KERNEL),
}


def is_frame(line: bytes) -> bool:
    """Tell whether a line is one of a trace whose first line came before: ``    at foo()``."""
    return _FRAME.match(line) is not None


def opened_by(line: bytes) -> Mode:
    """Return which trace a line begins, ``NONE`` for most."""
    line = line[:LOOKED_AT]
    if _HINT.search(line) is None:
        return Mode.NONE
    for pattern, mode in _OPENINGS:
        if pattern.match(line) is not None:
            return mode
    return Mode.FRAMES if _MENTIONED.search(line) is not None else Mode.NONE


def follows(mode: Mode, line: bytes, after: bytes) -> Mode | None:
    """Return the mode after a further line, None when it does not belong to the open trace.

    ``after`` is the line before it.
    """
    line = line[:LOOKED_AT]
    if not line:
        return _after_blank(mode)
    if is_frame(line):
        return mode if mode in (Mode.RUST, Mode.NODE, Mode.PYTHON) else Mode.FRAMES
    if mode is Mode.PYTHON:
        return _in_python(line, after)
    if mode in (Mode.PYTHON_END, Mode.PYTHON_CHAIN) and _PYTHON_LINK.match(line) is not None:
        return Mode.PYTHON_CHAIN
    if mode is Mode.PYTHON_CHAIN:
        return Mode.PYTHON if _PYTHON_AGAIN.match(line) is not None else None
    if mode is Mode.RUST_MESSAGE:
        return Mode.RUST
    if mode is Mode.NODE_SOURCE:
        return Mode.NODE
    if mode in TRACES and line[:1] in (b" ", b"\t"):
        return mode
    more = _MORE.get(mode)
    if more is not None and more[0].match(line) is not None:
        return more[1]
    return None


def _after_blank(mode: Mode) -> Mode | None:
    if mode is Mode.PYTHON_END:
        return Mode.PYTHON_CHAIN
    return mode if mode in (Mode.GO, Mode.NODE, Mode.PYTHON_CHAIN, Mode.FRAMES) else None


def _in_python(line: bytes, after: bytes) -> Mode | None:
    """Return the mode after a line within a traceback: its frames are indented, its end is not."""
    if line[:1] in (b" ", b"\t", b"|", b"+"):
        return Mode.PYTHON
    indented = after[:1] in (b" ", b"\t", b"|", b"+")
    return Mode.PYTHON_END if indented and _PYTHON_ERROR.match(line) is not None else None
