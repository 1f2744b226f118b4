from __future__ import annotations

import fcntl
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nova.clock import ManualClock
from nova.secrecy import Scrubber
from workers.log_lines import Wanted, parse
from workers.logfile import WorkerLog, WorkerLogs
from workers.logs import Log, texts


def worker_logs(folder: Path, *secrets: str) -> WorkerLogs:
    return WorkerLogs(folder, ManualClock(datetime(2026, 3, 1, tzinfo=UTC)), Scrubber(secrets))


def test_the_log_is_bounded_however_much_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    log = WorkerLog(folder / "w.log", max_bytes=1000, pieces=3)
    for number in range(1000):
        log.write(f"line {number:04d} {'x' * 40}\n".encode())
    log.close()
    assert sorted(path.name for path in folder.iterdir()) == ["w.log", "w.log.1", "w.log.2"]
    assert all(path.stat().st_size <= 1000 for path in folder.iterdir())
    assert "line 0999" in (folder / "w.log").read_text()


def test_lines_carry_time_and_instance_and_the_file_is_private(tmp_path: Path) -> None:
    logs = worker_logs(tmp_path / "workers")
    logs.write("mailer", "mailer#1", ["hello", "world"])
    logs.write("mailer", "mailer#2", ["other"], run="r1", level="ERROR", stream=None, fields={"to": "kim"})
    log = Log(logs.path("mailer"), parse)
    assert texts(log.tail(n=2)) == [
        "2026-03-01T00:00:00Z mailer#1 world",
        "2026-03-01T00:00:00Z mailer#2 ERROR other to=kim",
    ]
    assert [(line.run, line.fields) for line in log.tail(Wanted("mailer#2"))] == [("r1", {"to": "kim"})]
    assert Log(logs.path("nobody"), parse).tail() == []
    assert stat.S_IMODE(logs.path("mailer").stat().st_mode) == 0o600
    logs.close()


def test_a_flood_is_kept_in_few_large_objects(tmp_path: Path) -> None:
    logs = worker_logs(tmp_path)
    logs.write("w", "w#1", [f"line {number}" for number in range(20_000)])
    logs.write("w", "w#1", ["x" * 1_000_000])
    logs.write("w", "w#1", [])
    logs.close()
    raw = logs.path("w").read_bytes().splitlines()
    assert len(raw) <= 6
    assert max(map(len, raw)) < 150_000
    log = Log(logs.path("w"), parse)
    assert [line.message for line in log.tail(n=3)][:2] == ["line 19998", "line 19999"]
    assert len(log.tail()) == 20_001


def test_no_secret_is_written(tmp_path: Path) -> None:
    logs = worker_logs(tmp_path, "hunter2-hunter2")
    logs.write(
        "w", "w#1", ["the key is hunter2-hunter2", "and sk_live_abc"], fields={"api_key": "x", "url": "hunter2-hunter2"}
    )
    logs.close()
    written = logs.path("w").read_text()
    assert "hunter2" not in written
    assert "sk_live" not in written
    assert [line.fields for line in Log(logs.path("w"), parse).tail()] == [{"api_key": "***", "url": "***"}] * 2


def test_a_log_that_cannot_be_written_never_hurts_the_run(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("in the way")
    logs = worker_logs(tmp_path / "workers")
    logs.write("mailer", "mailer#1", ["hello"])
    logs.close()


def test_half_a_line_that_was_left_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    path.write_bytes(b"whole\nhal")
    log = WorkerLog(path)
    log.write(b"next\n")
    log.write(b"last\n")
    log.close()
    assert path.read_bytes() == b"whole\nhal\nnext\nlast\n"


def test_several_processes_share_a_log_and_lose_no_piece(tmp_path: Path) -> None:
    """Each has its own descriptor, as two threads with a log of their own have."""
    path = tmp_path / "logs" / "w.log"
    logs = [WorkerLog(path, max_bytes=2000, pieces=100) for _ in range(4)]

    def write(log: WorkerLog, name: int) -> None:
        for number in range(200):
            log.write(f"{name}:{number} {'x' * 60}\n".encode())
        log.close()

    threads = [threading.Thread(target=write, args=(log, name)) for name, log in enumerate(logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    lines = [line.split(" ")[0] for one in path.parent.iterdir() for line in one.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name}:{number}" for name in range(4) for number in range(200))
    assert len(list(path.parent.iterdir())) <= 800 * 66 // 2000 + 5


def test_what_an_agent_forked_holds_up_no_rotation_of_others(tmp_path: Path) -> None:
    log, path = WorkerLog(tmp_path / "w.log", max_bytes=100), tmp_path / "w.log.1"
    log.write(b"x" * 90 + b"\n")
    inherited = os.dup(log._fd)
    log.write(b"y" * 90 + b"\n")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(inherited)
    log.close()


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "w.log")
    log.write(b"one\n")
    (tmp_path / "w.log").rename(tmp_path / "elsewhere")
    log.write(b"two\n")
    log.close()
    assert (tmp_path / "w.log").read_bytes() == b"two\n"


def test_many_deployments_keep_few_files_open(tmp_path: Path) -> None:
    logs = worker_logs(tmp_path)
    for number in range(200):
        logs.write(f"w{number}", f"w{number}#1", ["x"])
    assert len(logs._open) <= 64
    evicted = WorkerLog(tmp_path / "w0.log")
    evicted.close()
    evicted.write(b"late\n")
    assert evicted._fd == -1
    logs.close()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072])
def test_lines_are_read_backwards_across_blocks(tmp_path: Path, size: int) -> None:
    path = tmp_path / "w.log"
    lines = ["first", "x" * size, "", "last"]
    path.write_text("".join(f"{line}\n" for line in lines))
    log = Log(path, parse)
    assert [line.message for line in log.tail()] == lines
    assert [line.message for line in log.tail(n=2)] == ["", "last"]
    path.write_text("\n".join(lines))
    assert [line.message for line in log.tail()] == lines
