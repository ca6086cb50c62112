"""Ask a service on the system bus, never waiting longer than allowed.

The protocol is jeepney's, imported when a bus is opened; jeepney's own
connection could wait for ever for a bus that does not answer the first call. Questions of one call
are sent together, so that fifty of them are two turns of both processes and not fifty.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vedette.api import Unavailable

if TYPE_CHECKING:
    import socket

#: An answer takes milliseconds; the bus is given this long for all of one call.
TIMEOUT_S = 5.0
#: Questions sent before the first answer: the bus lets a client wait for 128.
AT_ONCE = 32
#: Answers of one call; a listing of 20 000 units fits.
ANSWERS_MAX = 8 * 1024 * 1024
PROPERTIES = "org.freedesktop.DBus.Properties"


class Question(NamedTuple):
    """A method call; ``arguments`` are texts."""

    path: str
    interface: str
    method: str
    arguments: tuple[str, ...] = ()


HELLO = Question("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")


class Bus:
    """A connection to the bus whose socket is at a path, to ask one service of it."""

    def __init__(self, path: str, service: str) -> None:
        """Connect; raises ``Unavailable`` when there is no bus, or no jeepney."""
        try:
            from jeepney import auth, low_level
        except ImportError:
            raise Unavailable("needs the library jeepney, which is not installed") from None
        import socket

        self.service = service
        self._jeepney = low_level
        self._parser = low_level.Parser()
        self._serial = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._deadline = time.monotonic() + TIMEOUT_S
        try:
            self._timed().connect(path)
            login = auth.Authenticator()
            for line in login:
                self._timed().sendall(line)
                login.feed(self._received())
            self._timed().sendall(auth.BEGIN)
            self._exchange([HELLO], "org.freedesktop.DBus")
        except (OSError, ValueError) as error:
            self.close()
            raise Unavailable(f"no system bus at {path}: {error}") from error

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """Return the answers, each a tuple; None where the service answered with an error.

        Raises ``OSError`` when the bus does not answer in time or not in its protocol; the
        connection is of no use then.
        """
        self._deadline = time.monotonic() + TIMEOUT_S
        answers: list[Any] = []
        for begin in range(0, len(questions), AT_ONCE):
            answers += self._exchange(questions[begin : begin + AT_ONCE], self.service)
        return answers

    def close(self) -> None:
        """Hang up; safe twice."""
        self._socket.close()

    def _exchange(self, questions: Sequence[Question], whom: str) -> list[Any]:
        first = self._serial + 1
        self._timed().sendall(b"".join([self._request(one, whom) for one in questions]))
        answers: list[Any] = [None] * len(questions)
        waiting = set(range(len(questions)))
        answered = self._jeepney.MessageType.method_return
        reply_to = self._jeepney.HeaderFields.reply_serial
        received = 0
        while waiting:
            data = self._received()
            received += len(data)
            if received > ANSWERS_MAX:
                raise OSError(errno.EFBIG, f"the bus answered more than {ANSWERS_MAX} bytes")
            for message in self._parsed(data):
                index = message.header.fields.get(reply_to, 0) - first
                if index in waiting:
                    waiting.remove(index)
                    if message.header.message_type is answered:
                        answers[index] = message.body
        return answers

    def _request(self, question: Question, whom: str) -> bytes:
        protocol = self._jeepney
        field = protocol.HeaderFields
        fields = {
            field.path: question.path,
            field.destination: whom,
            field.interface: question.interface,
            field.member: question.method,
        }
        if question.arguments:
            fields[field.signature] = "s" * len(question.arguments)
        self._serial += 1
        header = protocol.Header(
            protocol.Endianness.little,
            protocol.MessageType.method_call,
            protocol.MessageFlag.no_auto_start,
            1,
            -1,
            self._serial,
            fields,
        )
        return bytes(protocol.Message(header, question.arguments).serialise())

    def _parsed(self, data: bytes) -> list[Any]:
        try:
            return list(self._parser.feed(data))
        except Exception as error:
            raise OSError(errno.EPROTO, f"the bus sent no D-Bus message: {error!r}") from error

    def _received(self) -> bytes:
        data = self._timed().recv(65536)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the bus hung up")
        return data

    def _timed(self) -> socket.socket:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(errno.ETIMEDOUT, f"the bus did not answer within {TIMEOUT_S:g} s")
        self._socket.settimeout(left_s)
        return self._socket
