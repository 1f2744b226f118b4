from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

from nova.clock import ManualClock
from workers.logfile import WorkerLog, WorkerLogs


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
    logs = WorkerLogs(tmp_path / "workers", ManualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    logs.write("mailer", "mailer#1", ["hello", "world"])
    logs.write("mailer", "mailer#2", ["other"])
    assert logs.tail("mailer", 2) == ["2026-03-01T00:00:00Z mailer#1 world", "2026-03-01T00:00:00Z mailer#2 other"]
    assert logs.tail("mailer", 5, "mailer#2") == ["2026-03-01T00:00:00Z mailer#2 other"]
    assert logs.tail("nobody", 5) == []
    assert stat.S_IMODE(logs.path("mailer").stat().st_mode) == 0o600
    logs.close()


def test_a_log_that_cannot_be_written_never_hurts_the_run(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("in the way")
    logs = WorkerLogs(tmp_path / "workers", ManualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    logs.write("mailer", "mailer#1", ["hello"])
    logs.close()


def test_many_deployments_keep_few_files_open(tmp_path: Path) -> None:
    logs = WorkerLogs(tmp_path, ManualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    for number in range(200):
        logs.write(f"w{number}", f"w{number}#1", ["x"])
    assert len(logs._open) <= 64
    logs.close()
