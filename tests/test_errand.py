"""Errands to another thread: done, failed, withdrawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from vedette import errand
from vedette.control import ControlError


class Elsewhere:
    """A thread for each errand."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def submit(self, command: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=command))
        self.threads[-1].start()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    one = Elsewhere()
    yield one
    for thread in one.threads:
        thread.join(10.0)


def test_the_answer_comes_from_the_other_thread(elsewhere: Elsewhere) -> None:
    assert errand.run(elsewhere.submit, threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("kind", [ValueError, OSError, TimeoutError])
def test_what_the_errand_raises_is_raised(elsewhere: Elsewhere, kind: type[Exception]) -> None:
    def fail() -> NoReturn:
        raise kind("its own")

    with pytest.raises(kind, match="its own"):
        errand.run(elsewhere.submit, fail)


def test_what_was_not_begun_in_time_is_never_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "PATIENCE_S", 0.01)
    waiting: list[Callable[[], None]] = []
    done: list[str] = []
    with pytest.raises(ControlError, match="nothing was done, try again"):
        errand.run(waiting.append, lambda: done.append("done"))
    waiting[0]()
    assert done == []


def test_what_was_begun_and_takes_long_is_not_called_undone(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "PATIENCE_S", 0.01)
    begun, gate = threading.Event(), threading.Event()

    def take_long() -> None:
        begun.set()
        gate.wait(10.0)

    def submit(command: Callable[[], None]) -> None:
        elsewhere.submit(command)
        begun.wait(10.0)

    with pytest.raises(ControlError, match="begun it and is not done yet"):
        errand.run(submit, take_long)
    gate.set()
