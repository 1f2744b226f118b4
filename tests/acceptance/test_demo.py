from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from .conftest import until

NOVA = Path(sys.executable).with_name("nova")
ACTS = (
    "a winner scaled",
    "a loser killed",
    "a spender stopped at its budget",
    "a crasher parked",
    "a big decision waiting for approval",
)


def _left_behind(environ: dict[str, str]) -> list[str]:
    """The processes that were started with this folder for temporary files."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get("TMPDIR") == environ["TMPDIR"] and one.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(one.cmdline()))
    return found


@pytest.mark.serial
@pytest.mark.xdist_group("serial")
def test_the_quick_demo_shows_the_whole_job_and_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "NOVA_HOME": str(home), "LANG": "C.UTF-8"}
    (tmp_path / ".env").write_text("STRIPE_API_KEY=sk_live_the_operators_own\nMAX_DAILY_BUDGET=1\n")

    done = subprocess.run(
        [NOVA, "demo", "--quick"], check=False, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=100
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert [f"  yes  {act}" in done.stdout for act in ACTS] == [True] * len(ACTS)
    assert "equal to the cent" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]
    assert "\x1b" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("nova-demo-*"))
    assert not list(home.iterdir())
    assert not _left_behind(environ)


@pytest.mark.serial
@pytest.mark.xdist_group("serial")
def test_a_demo_that_is_told_to_end_takes_its_manager_with_it(home: Path, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "NOVA_HOME": str(home), "LANG": "C.UTF-8"}
    demo = subprocess.Popen([NOVA, "demo"], env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    with demo:
        until("it tells where to look", lambda: "another terminal" in demo.stdout.readline())
        demo.send_signal(signal.SIGTERM)
        said = demo.stdout.read()

    assert demo.returncode == 1
    assert "it was ended before everything was seen" in said
    assert not list(tmp_path.glob("nova-demo-*"))
    assert not _left_behind(environ)
