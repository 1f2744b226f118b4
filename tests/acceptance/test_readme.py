"""The README's tour, line by line as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
