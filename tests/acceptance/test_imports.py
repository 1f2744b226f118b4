"""What a manager loads: nothing of a vendor's whose agents it does not run."""

from __future__ import annotations

import json

from .conftest import Home, until

TELLS = """
import json, sys
from pathlib import Path
from workers.base_worker import BaseWorker, RunResult


class Tells(BaseWorker):
    \"\"\"Tells what is loaded.\"\"\"

    def run(self, ctx):
        seen = Path({seen!r})
        seen.with_suffix(".new").write_text(json.dumps(sorted(sys.modules)))
        seen.with_suffix(".new").rename(seen)
        return RunResult(True, "told")
"""
HEAVY = [
    "stripe", "sendgrid", "tweepy", "httpx", "requests", "matplotlib", "statsmodels", "scipy", "numpy", "starlette",
    "uvicorn", "pydantic_ai", "jinja2", "openai", "bs4", "lxml", "textual", "apprise", "plotext",
]  # fmt: skip


def test_a_manager_whose_agents_need_no_vendor_loads_no_vendors_library(nova: Home) -> None:
    seen = nova.path / "seen.json"
    (nova.path / "agents").mkdir(exist_ok=True)
    (nova.path / "agents" / "tells.py").write_text(TELLS.format(seen=str(seen)))
    nova.run("deploy", "research", "tells:Tells", "--name", "tells", "--every", "1s")
    nova.run("workers", "start", "--with-autonomous", "1s")
    until("it ran", seen.exists)
    until("a cycle", lambda: nova.json("autonomous", "history"))
    seen.unlink()
    until("it ran again", seen.exists)
    nova.run("workers", "stop")
    assert sorted(set(json.loads(seen.read_text())) & set(HEAVY)) == []
