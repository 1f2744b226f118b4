from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nova.bootstrap import Nova
from nova.clock import ManualClock
from nova.errors import NotFound
from nova.fleet.documents import Declaration
from workers.logfile import WorkerLog
from workers.logs import follow, tail


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
