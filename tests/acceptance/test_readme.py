"""The README's tour and the examples of docs/workers.md, as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Home, until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def _tour() -> str:
    section = (ROOT / "README.md").read_text().split("\n## A tour")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


@pytest.mark.serial
@pytest.mark.xdist_group("serial")
def test_the_tour_works_as_printed(home: Path, tmp_path: Path) -> None:
    environ = {"PATH": f"{BIN}:{os.environ['PATH']}", "NOVA_HOME": str(home), "LANG": "C.UTF-8"}
    tour = _tour()
    assert tour.count("\nnova ") > 15
    try:
        done = subprocess.run(
            ["/bin/sh", "-ec", tour],
            check=False,
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "2 rows read: 2 new" in done.stdout
        assert "has stopped" in done.stdout
    finally:
        subprocess.run([BIN / "nova", "workers", "stop"], check=False, env=environ, capture_output=True, timeout=60)


def test_every_page_that_is_named_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} names {target}"


def _block(language: str, holding: str) -> str:
    text = (ROOT / "docs" / "workers.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(next(block for block in blocks if holding in block))


def _runs_well(nova: Home, name: str) -> bool:
    row = nova.worker(name)
    assert not row["last_error"], row["last_error"]
    return bool(row["succeeded"])


def test_the_python_example_works_as_printed(nova: Home) -> None:
    agents = nova.path / "agents"
    agents.mkdir()
    (agents / "price_watch.py").write_text(_block("python", "class PriceWatch"))
    command = _block("console", "deploy research price_watch").removeprefix("$ nova ").split()
    nova.run(*command)
    nova.run("workers", "start")
    until("a run has succeeded", lambda: _runs_well(nova, "price_watch"))
    row = nova.worker("price_watch")
    assert (row["revenue"], row["cost"]) == ("3.50", "0.012")


def test_the_shell_example_that_awaits_its_answer_works_as_printed(nova: Home) -> None:
    nova.deploy("asker", _block("sh", "NOVA_REPLY_FD") + 'echo "told: $answer"', "--every", "1h", "--budget", "5/day")
    nova.run("workers", "start")
    until("a run has succeeded", lambda: _runs_well(nova, "asker"))
    assert 'told: {"n": 1, "ok": true}' in nova.run("workers", "logs", "asker").stdout
