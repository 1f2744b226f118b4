"""A key that shows anywhere fails the test that showed it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLANTED = """
import logging, subprocess, sys
from pathlib import Path
import pytest

KEY = "sk_test_never" + "shown00"

@pytest.fixture
def late(tmp_path):
    yield
    (tmp_path / "last.log").write_text(KEY)

def test_printed():
    print(KEY)

def test_taken(capsys):
    print(KEY, file=sys.stderr)
    capsys.readouterr()

def test_logged():
    logging.getLogger("nova").warning("refused %s", KEY)

def test_a_program(tmp_path):
    subprocess.run([sys.executable, "-c", f"print({KEY!r})"], capture_output=True)

def test_a_file(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.db").write_bytes(bytes(9000) + KEY.encode() + bytes(9000))

def test_at_the_end(late):
    assert KEY

def test_kept(tmp_path):
    (tmp_path / ".env").write_text(f"STRIPE_API_KEY={KEY}")
    print(KEY[:8])

@pytest.mark.shows_keys("it is asked to")
def test_on_purpose():
    print(KEY)
"""


@pytest.mark.shows_keys("it plants them")
def test_a_key_that_shows_anywhere_fails_the_test_that_showed_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.leaks import pytest_runtest_makereport")
    (tmp_path / "test_planted.py").write_text(PLANTED)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  shows_keys: on purpose\n")
    asked = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    done = subprocess.run(
        [*asked, "-q", "--tb=no", "-rE", "--basetemp", str(tmp_path / "temp"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        check=False,
    )
    caught = {line.split("::")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("ERROR")}
    leaked = {"test_printed", "test_taken", "test_logged", "test_a_program", "test_a_file", "test_at_the_end"}
    assert caught == leaked, done.stdout
