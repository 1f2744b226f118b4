from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import NotFound
from nova.fleet.documents import Declaration
from workers.log_lines import Wanted
from workers.logfile import WorkerLog
from workers.logs import manager_log, texts, worker_log


class NothingMore(Exception):
    """The log was read to its end."""


@pytest.fixture
def log(nova: Nova) -> Iterator[WorkerLog]:
    nova.fleet.deploy(Declaration(name="mail", department="sales", agent="shell", config={"command": "true"}))
    opened = WorkerLog(nova.settings.logs_dir / "workers" / "mail.log", max_bytes=1000)
    yield opened
    opened.close()


def write(log: WorkerLog, *numbers: int) -> None:
    for number in numbers:
        log.write(f"line {number} {'x' * 80}\n".encode())


def tail(nova: Nova, name: str, n: int) -> list[str]:
    return texts(worker_log(nova, name).tail(n=n))


def follow(nova: Nova, name: str, n: int = 0, wait: Callable[[float], object] = time.sleep) -> Iterator[str]:
    return (text for line in worker_log(nova, name).follow(n=n, wait=wait) for text in line.text())


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines]


def stop(_: float) -> None:
    raise NothingMore


def rest_of(lines: Iterator[str]) -> list[str]:
    """Until there is nothing more for now."""
    found = []
    with pytest.raises(NothingMore):
        for line in lines:
            found.append(line)
    return found


def test_the_last_lines_come_oldest_first_and_out_of_older_pieces(nova: Nova, log: WorkerLog) -> None:
    write(log, *range(25))
    assert numbers(tail(nova, "mail", 3)) == [22, 23, 24]
    assert numbers(tail(nova, "mail", 15)) == list(range(10, 25))
    assert numbers(tail(nova, "mail", 1000)) == list(range(25))
    assert tail(nova, "mail", 0) == []


def test_lines_longer_than_a_block_and_a_line_without_end_are_whole(nova: Nova, home: Path) -> None:
    path = nova.settings.logs_dir / "workers" / "mail.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"first\n" + b"y" * 200_000 + b"\n\xff\nunfinished")
    assert tail(nova, "mail", 4) == ["first", "y" * 200_000, "\ufffd", "unfinished"]
    assert tail(nova, "mail", 1) == ["unfinished"]


def test_a_deployment_without_a_log_has_no_lines(nova: Nova, log: WorkerLog) -> None:
    assert tail(nova, "mail", 10) == []


@pytest.mark.parametrize("name", ["nobody", "../manager", "", "a\0b"])
def test_a_name_that_never_was_is_not_found(name: str, nova: Nova) -> None:
    (nova.settings.logs_dir / "workers").mkdir(parents=True)
    (nova.settings.logs_dir / "manager.log").write_text("secret\n")
    with pytest.raises(NotFound):
        tail(nova, name, 10)
    with pytest.raises(NotFound):
        next(follow(nova, name))


def test_the_log_of_what_was_retired_can_still_be_read(nova: Nova, log: WorkerLog) -> None:
    write(log, 1)
    nova.fleet.retire("mail")
    assert numbers(tail(nova, "mail", 10)) == [1]


def test_following_begins_with_the_last_lines_and_goes_through_rotations(nova: Nova, log: WorkerLog) -> None:
    write(log, 1, 2, 3)
    steps: list[Callable[[], None]] = [lambda: write(log, 4), lambda: write(log, *range(5, 12)), lambda: write(log, 12)]

    def wait(_: float) -> None:
        if not steps:
            raise NothingMore
        steps.pop(0)()

    assert numbers(rest_of(follow(nova, "mail", 2, wait))) == list(range(2, 13))


def test_following_waits_for_a_log_that_is_not_there_yet(nova: Nova, log: WorkerLog) -> None:
    steps = [lambda: write(log, 1)]

    def wait(_: float) -> None:
        if not steps:
            raise NothingMore
        steps.pop()()

    assert numbers(rest_of(follow(nova, "mail", wait=wait))) == [1]


def test_half_a_line_is_held_back_until_it_is_whole(nova: Nova, log: WorkerLog, clock: ManualClock) -> None:
    parts = [b"one ", b"line\nand ", b"another\n"]

    def wait(_: float) -> None:
        if not parts:
            raise NothingMore
        log.write(parts.pop(0))

    write(log, 0)
    assert rest_of(follow(nova, "mail", wait=wait)) == ["one line", "and another"]


def test_following_goes_through_several_rotations_between_two_looks(nova: Nova, log: WorkerLog) -> None:
    steps: list[Callable[[], None]] = [lambda: write(log, *range(2, 28)), lambda: write(log, 28)]

    def wait(_: float) -> None:
        if not steps:
            raise NothingMore
        steps.pop(0)()

    write(log, 1)
    assert numbers(rest_of(follow(nova, "mail", wait=wait))) == list(range(2, 29))


def test_following_chooses_as_the_last_lines_are_chosen(nova: Nova, log: WorkerLog) -> None:
    def event(level: str, instance: str) -> bytes:
        return f'{{"at":"2026-03-01T12:00:00Z","level":"{level}","instance":"{instance}","message":"x"}}\n'.encode()

    steps = [b"".join(event(level, f"mail#{n}") for level in ("INFO", "ERROR") for n in (1, 2))]

    def wait(_: float) -> None:
        if not steps:
            raise NothingMore
        log.write(steps.pop())

    log.write(event("ERROR", "mail#1") + event("ERROR", "mail#2"))
    found: list[tuple[str, str | None]] = []
    with pytest.raises(NothingMore):
        for line in worker_log(nova, "mail").follow(Wanted("mail#2", "WARNING"), n=5, wait=wait):
            found.append((line.level, line.instance))
    assert found == [("ERROR", "mail#2")] * 2


def test_a_traceback_belongs_to_its_event(nova: Nova) -> None:
    log = manager_log(nova)
    log.path.parent.mkdir(parents=True)
    log.path.write_text(
        "left from before\n"
        "2026-03-01T12:00:00.000Z INFO    nova.daemon manager_ready pid=7\n"
        "2026-03-01T12:00:01.000Z ERROR   workers.manager turn_failed\n"
        "Traceback (most recent call last):\n"
        "ValueError: no luck\n"
    )
    (error,) = log.tail(Wanted(level="ERROR"))
    assert error.message == "turn_failed\nTraceback (most recent call last):\nValueError: no luck"
    assert [line.message for line in log.tail()][:2] == ["left from before", "manager_ready pid=7"]
    assert texts(log.tail(n=1))[0] == "2026-03-01T12:00:01.000Z ERROR turn_failed logger=workers.manager"


def test_a_traceback_is_followed_with_its_event(nova: Nova) -> None:
    log = manager_log(nova)
    log.path.parent.mkdir(parents=True)
    log.path.write_text("")
    ready = "2026-03-01T12:00:00.000Z INFO    nova.daemon manager_ready pid=7\nignored\n"
    more = [ready + "2026-03-01T12:00:01.000Z ERROR   workers.manager turn_failed\nTraceback\n"]

    def wait(_: float) -> None:
        if not more:
            raise NothingMore
        log.path.write_text(more.pop())

    found: list[str] = []
    with pytest.raises(NothingMore):
        for line in log.follow(Wanted(level="ERROR"), wait=wait):
            found.append(line.message)
    assert found == ["turn_failed", "Traceback"]
