from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nova.errors import UsageProblem
from workers import BaseWorker
from workers.agents.python import load_target
from workers.agents.shell import Shell

SLOW = """
import threading
from workers import BaseWorker
threading.Event().wait(0.05)
class Mine(BaseWorker):
    pass
"""


def test_a_class_is_found_in_a_module_or_in_a_file(tmp_path: Path) -> None:
    assert load_target("workers.agents.shell:Shell") is Shell
    (tmp_path / "mine.py").write_text("from workers import BaseWorker\nclass Mine(BaseWorker): pass\n")
    found = load_target("mine.py:Mine", tmp_path)
    assert issubclass(found, BaseWorker)
    assert load_target(f"{tmp_path}/mine.py:Mine") is found


def test_many_threads_that_load_a_file_at_once_get_the_same_class(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    found: list[type[BaseWorker]] = []
    threads = [threading.Thread(target=lambda: found.append(load_target("slow.py:Mine", tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nothing", "not a Python target"),
        ("mod:", "not a Python target"),
        ("no_such_module_here:X", "no module"),
        ("workers.agents.shell:Nothing", "no class"),
        ("workers.agents.shell:CommandFailed", "not a worker"),
        ("gone.py:X", "no file"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(target: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=words):
        load_target(target, tmp_path)


def test_a_file_that_fails_to_load_says_why_and_may_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1/0\n")
    with pytest.raises(UsageProblem, match="ZeroDivisionError"):
        load_target("broken.py:X", tmp_path)
    path.write_text("from workers import BaseWorker\nclass X(BaseWorker): pass\n")
    assert load_target("broken.py:X", tmp_path).__name__ == "X"
