"""A process that becomes its own program anew: the lock stays held, what was asked of it by signals is not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.image import Image
from workers.lock import HANDED, ManagerInfo, ManagerLock, is_held, managers

PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from workers.image import Image, hold_signals, let_signals_in, reap
from workers.lock import ManagerInfo, ManagerLock

place = Path(sys.argv[1])
again = "NOVA_LOCK_FD" in os.environ
image = Image.of_this_process()
reap()
lock = ManagerLock(place)
left = lock.acquire()
assert "NOVA_LOCK_FD" not in os.environ
if not again:
    hold_signals()
    os.posix_spawn("/bin/true", ["true"], {})  # a child that nobody waits for
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    os.environ["LEFT_BY_AN_AGENT"] = "1"
    os.chdir("/")
    os.kill(os.getpid(), signal.SIGTERM)
    image.again(lock.hand_over(ManagerInfo(os.getpid(), "m1", "now", "", restarting="why", restarted_s=1.5)))
assert left.restarting == "why" and left.restarted_s == 1.5
assert "LEFT_BY_AN_AGENT" not in os.environ
assert Path.cwd() == place.parent
assert threading.active_count() == 1
assert "--ready-fd" not in sys.orig_argv
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
caught = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: caught.set())
let_signals_in()
assert caught.wait(5)
print("asked to stop", os.get_inheritable(lock._lock._fd))
lock.release()
"""


def test_it_keeps_its_process_id_its_lock_and_its_signals_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path / "run"), "--ready-fd", "7"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["no child is left", "asked to stop False"]


def test_a_lock_that_is_handed_over_is_never_free_and_says_what_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ManagerLock(tmp_path)
    lock.acquire()
    told = lock.hand_over(ManagerInfo(os.getpid(), "m1", "now", "", restarting="its threads hang"))
    assert [(info.restarting, alive) for info, alive in managers(tmp_path)] == [("its threads hang", True)]
    monkeypatch.setenv(HANDED, told[HANDED])
    heir = ManagerLock(tmp_path)
    assert heir.acquire() is not None
    assert HANDED not in os.environ
    heir.release()
    assert not is_held(tmp_path / "manager.lock")


@pytest.mark.parametrize("said", ["999:{lock}", "x:{lock}", ":{lock}", "0:{lock}", "3:/elsewhere", "nonsense"])
def test_a_descriptor_that_is_not_the_lock_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    lock = ManagerLock(tmp_path)
    monkeypatch.setenv(HANDED, said.format(lock=lock.path))
    assert lock.acquire() is None
    assert is_held(lock.path)
    lock.release()
    assert not is_held(lock.path)


def test_the_descriptor_on_which_it_was_ready_is_not_told_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "-P", "-m", "nova.daemon", "--ready-fd", "4", "--x"])
    assert Image.of_this_process().argv == ("-P", "-m", "nova.daemon", "--x")


def test_a_stop_that_a_thread_takes_just_before_is_not_lost(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, threading\n"
        "from workers.image import hold_signals\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "hold_signals()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Event().wait(10)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, str(program)], env=environ, timeout=30, check=False)
    assert done.returncode == -signal.SIGTERM


def test_a_working_directory_that_is_gone_is_no_reason_to_stay(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\nfrom workers.image import Image\n"
        "if 'AGAIN' in os.environ: sys.exit(7)\n"
        "image = Image.of_this_process()\nos.rmdir(os.getcwd())\nimage.again({'AGAIN': '1'})\n"
    )
    (tmp_path / "gone").mkdir()
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(program)]
    assert subprocess.run(command, cwd=tmp_path / "gone", env=environ, timeout=30, check=False).returncode == 7
