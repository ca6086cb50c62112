"""Simulated sessions of three very different kinds, normal and broken, for ``logs_watch.py``.

``blocks``   the life of a block of a distributed file system: allocated, received and stored by
             three replicas in any interleaving, read, verified, replicated, deleted
``orders``   a visitor of a shop: log in, look around, put into the basket, pay, leave at any time
``jobs``     a batch job: queued, started, tasks in parallel, some retried, cleaned up

Written from how such systems work and before any detector saw them; no recorded session is in here.
Each kind is a pair of functions: a normal session, and one of several broken ones with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

Session = list[int]


class Kind(NamedTuple):
    """A kind of session."""

    normal: Callable[[Random], Session]
    broken: Callable[[Random], tuple[str, Session]]


def geometric(random: Random, mean: float) -> int:
    """Return a number that is geometrically distributed, 0 or more."""
    count = 0
    while random.random() < mean / (mean + 1):
        count += 1
    return count


def interleave(random: Random, *threads: Session) -> Session:
    """Return the lines of several threads, each in its order."""
    left = [list(one) for one in threads if one]
    merged = []
    while left:
        one = random.choice(left)
        merged.append(one.pop(0))
        left = [thread for thread in left if thread]
    return merged


# ---------------------------------------------------------------- blocks

(
    ALLOCATE,
    RECEIVING,
    RECEIVED,
    RESPONDER,
    STORED,
    SERVED,
    SERVE_FAILED,
    VERIFIED,
    ASK,
    TRANSFER,
    TRANSMITTED,
    RECEIVED_FROM,
    INVALID,
    DELETING,
    WRITE_FAILED,
    RECEIVE_FAILED,
    MIRROR_FAILED,
    INTERRUPTED,
    REDUNDANT,
    NO_FILE,
    DELETE_FAILED,
    TIMED_OUT,
    EMPTY,
    ALREADY,
) = range(1, 25)


def written(random: Random, replicas: int = 3, stored: int | None = None) -> Session:
    """Return how a block is written: allocation and the first lines in any order, then the rest."""
    begin = [RECEIVING] * replicas
    begin.insert(random.choice((0, 0, 0, 1, 1, 2, replicas)), ALLOCATE)
    threads = []
    for _ in range(replicas):
        ends = [RESPONDER, RECEIVED]
        if random.random() < 0.15:
            ends.reverse()
        threads.append(ends)
    middle = interleave(random, *threads)
    for _ in range(replicas if stored is None else stored):
        first = 1 if random.random() < 0.3 else len(middle) // 2
        middle.insert(random.randint(first, len(middle)), STORED)
    return begin + middle


def copied(random: Random, copies: int) -> Session:
    """Return how a block gets more replicas."""
    threads = [
        [ASK, TRANSFER, RECEIVING, TRANSMITTED, RECEIVED_FROM, STORED] for _ in range(copies)
    ]
    for one in threads:
        if random.random() < 0.3:
            one[3], one[4] = one[4], one[3]
    return interleave(random, *threads)


def read(random: Random) -> Session:
    """Return how a block is read; clients that leave early are an ordinary nuisance."""
    served = [SERVED] * (1 + geometric(random, 3))
    if random.random() < 0.5:
        served += [SERVE_FAILED] * (1 + geometric(random, 2))
    random.shuffle(served)
    return served


def deleted(random: Random, replicas: int = 3) -> Session:
    """Return how a block is deleted."""
    if random.random() < 0.85:
        return [INVALID] * replicas + [DELETING] * replicas
    return [INVALID, *interleave(random, [INVALID] * (replicas - 1), [DELETING] * replicas)]


def later(random: Random, replicas: int = 3) -> Session:
    """Return what may happen to a block that was written."""
    lines: Session = []
    if random.random() < 0.3:
        lines += read(random)
    if random.random() < 0.15:
        lines += [VERIFIED] * random.choice((1, 1, 1, 2))
    if random.random() < 0.01:
        copies = random.choice((1, 1, 1, 2))
        lines += copied(random, copies)
        replicas += copies
    if random.random() < 0.6:
        lines += deleted(random, replicas)
    return lines


def normal_block(random: Random) -> Session:
    replicas = 10 if random.random() < 0.007 else 3
    lines = written(random, replicas) + later(random, replicas)
    chance = random.random()
    if chance < 0.002:
        return lines[random.randint(1, 4) :]
    if chance < 0.003:
        return lines[: random.randint(4, 8)]
    return lines


def broken_block(random: Random) -> tuple[str, Session]:
    kinds = {
        "write failed": 35,
        "exception, recovered": 10,
        "a replica not stored": 10,
        "redundant": 8,
        "delete failed": 12,
        "of no file": 12,
        "stored after deletion": 5,
        "a replica missing": 4,
        "timed out": 2,
        "other": 2,
    }
    kind = random.choices(list(kinds), list(kinds.values()))[0]
    lines = written(random)
    if kind == "write failed":
        begin = lines[: lines.index(RESPONDER)] if RESPONDER in lines[:5] else lines[:4]
        fail = [WRITE_FAILED] * random.choice((1, 1, 2))
        return kind, begin[: random.randint(2, 4)] + [*fail, RECEIVE_FAILED][: random.randint(1, 3)]
    if kind == "exception, recovered":
        extra = random.sample((RECEIVE_FAILED, MIRROR_FAILED, INTERRUPTED, WRITE_FAILED), 2)
        lines[5:5] = extra
        return kind, lines + copied(random, 1) + later(random)
    if kind == "a replica not stored":
        return kind, written(random, stored=2) + later(random)
    if kind == "redundant":
        return kind, [*lines, *[REDUNDANT] * random.choice((1, 1, 3)), *later(random)]
    if kind == "delete failed":
        end = deleted(random)
        end[-1:] = [DELETE_FAILED] * random.choice((1, 2))
        return kind, lines + end
    if kind == "of no file":
        lines.remove(STORED)
        return kind, [*lines, *deleted(random), NO_FILE]
    if kind == "stored after deletion":
        lines.remove(STORED)
        end = deleted(random)
        end.insert(random.randint(4, 6), STORED)
        return kind, lines + end
    if kind == "a replica missing":
        return kind, written(random, 2) + later(random, 2)
    if kind == "timed out":
        return kind, [*lines, ASK, TIMED_OUT, *copied(random, 1), *later(random)]
    return kind, [*lines[:6], random.choice((EMPTY, ALREADY)), *lines[6:], *later(random)]


# ---------------------------------------------------------------- orders

(
    LOGIN_PAGE,
    AUTH_OK,
    AUTH_FAILED,
    VIEW,
    SEARCH,
    ADD,
    REMOVE,
    CHECKOUT,
    PAY,
    PAID,
    PAY_TIMEOUT,
    ORDER,
    MAIL,
    LOGOUT,
    NOT_FOUND,
    SLOW,
    EXPIRED,
    EXCEPTION,
    ADMIN,
    ROLLBACK,
) = range(101, 121)


def browse(random: Random, mean: float) -> Session:
    kinds = (VIEW, SEARCH, NOT_FOUND, SLOW)
    return random.choices(kinds, (70, 25, 3, 2), k=geometric(random, mean))


def payment(random: Random) -> Session:
    tries = [PAY, PAY_TIMEOUT] * (1 if random.random() < 0.03 else 0)
    return [CHECKOUT, *tries, PAY, PAID, *interleave(random, [ORDER], [MAIL])]


def normal_order(random: Random) -> Session:
    lines = browse(random, 3)
    if random.random() < 0.7:
        failed = random.choices((0, 1, 2, 3), (80, 14, 5, 1))[0]
        lines += [LOGIN_PAGE, *[AUTH_FAILED] * failed, AUTH_OK]
        lines += browse(random, 6)
        if random.random() < 0.5:
            basket = [ADD] * (1 + geometric(random, 1.5))
            basket += [REMOVE] * (random.random() < 0.15)
            lines += interleave(random, basket, browse(random, 4))
            if random.random() < 0.6:
                lines += payment(random)
                if random.random() < 0.05:
                    lines += [*browse(random, 2), ADD, *payment(random)]
        if random.random() < 0.4:
            lines.append(LOGOUT)
        elif random.random() < 0.1:
            lines.append(EXPIRED)
    return lines or [VIEW]


def bought(random: Random) -> Session:
    """Return a session with a payment."""
    while True:
        lines = normal_order(random)
        if PAID in lines:
            return lines


def broken_order(random: Random) -> tuple[str, Session]:
    kind = random.choice(
        (
            "paid, no order",
            "order, not paid",
            "guessing",
            "exception",
            "admin",
            "paid twice",
            "late",
        )
    )
    lines = bought(random)
    if kind == "paid, no order":
        lines = [one for one in lines if one not in (ORDER, MAIL)]
        return kind, lines + [ROLLBACK] * (random.random() < 0.3)
    if kind == "order, not paid":
        return kind, [one for one in lines if one != PAID]
    if kind == "guessing":
        return kind, [LOGIN_PAGE, *[AUTH_FAILED] * random.randint(8, 60)]
    if kind == "exception":
        at = random.randrange(len(lines))
        return kind, [*lines[:at], EXCEPTION]
    if kind == "admin":
        lines.insert(random.randrange(len(lines)), ADMIN)
        return kind, lines
    if kind == "paid twice":
        lines.insert(lines.index(PAID) + 1, PAID)
        return kind, lines
    lines.remove(ORDER)
    return kind, [*lines[: lines.index(PAY)], ORDER, *lines[lines.index(PAY) :]]


# ---------------------------------------------------------------- jobs

(
    QUEUED,
    SCHEDULED,
    STARTED,
    TASK,
    DONE,
    RETRY,
    CHECKPOINT,
    FINISHED,
    CLEANED,
    PREEMPTED,
    KILLED,
    BAD_CHECKPOINT,
    LOST,
    ARCHIVED,
    HEARTBEAT,
) = range(201, 216)


def job(random: Random, retries: float = 0.03) -> Session:
    """Return a job: its tasks in parallel, each done, some at the second try."""
    tasks = random.choice((2, 4, 8, 8, 16, 16, 64))
    threads = []
    for _ in range(tasks):
        again = [RETRY, TASK] * (random.random() < retries)
        threads.append([TASK, *again, DONE])
    beats = [HEARTBEAT] * geometric(random, tasks / 2)
    body = interleave(random, *threads, beats, [CHECKPOINT] * (tasks // 8))
    begin = [QUEUED, SCHEDULED, STARTED]
    if random.random() < 0.02:
        begin = [QUEUED, SCHEDULED, STARTED, PREEMPTED, SCHEDULED, STARTED]
    return [*begin, *body, FINISHED, *interleave(random, [CLEANED], [ARCHIVED])]


def normal_job(random: Random) -> Session:
    return job(random)


def broken_job(random: Random) -> tuple[str, Session]:
    kind = random.choice(
        ("never ends", "task lost", "killed", "not cleaned", "retries", "checkpoint", "early end")
    )
    lines = job(random)
    if kind == "never ends":
        return kind, lines[: lines.index(FINISHED)]
    if kind == "task lost":
        lines.remove(DONE)
        return kind, lines
    if kind == "killed":
        at = random.randint(4, lines.index(FINISHED))
        return kind, [*lines[:at], KILLED, CLEANED]
    if kind == "not cleaned":
        lines.remove(CLEANED)
        return kind, lines
    if kind == "retries":
        return kind, job(random, retries=0.9)
    if kind == "checkpoint":
        lines.insert(random.randint(4, lines.index(FINISHED)), BAD_CHECKPOINT)
        return kind, lines
    lines.remove(FINISHED)
    lines.insert(random.randint(4, len(lines) // 2 + 2), FINISHED)
    return kind, lines


KINDS = {
    "blocks": Kind(normal_block, broken_block),
    "orders": Kind(normal_order, broken_order),
    "jobs": Kind(normal_job, broken_job),
}


def many(kind: str, count: int, broken: float, seed: int) -> list[tuple[str, Session]]:
    """Return sessions with what is broken in each (empty: nothing)."""
    random, (normal, bad) = Random(seed), KINDS[kind]
    return [bad(random) if random.random() < broken else ("", normal(random)) for _ in range(count)]
