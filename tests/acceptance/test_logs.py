"""`nova workers logs`: chosen lines, JSON lines, and an end when nobody reads any more."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .conftest import Home, until

AGENT = """
from workers import BaseWorker

class Clerk(BaseWorker):
    def run(self, ctx):
        print("printed by", ctx.instance)
        ctx.log.info("sent", extra={"to": "kim", "password": "hush"})
        ctx.log.warning("odd")
        raise ValueError("no luck")
"""


def _deployed(nova: Home) -> None:
    agents = nova.path / "agents"
    agents.mkdir()
    (agents / "clerk.py").write_text(AGENT)
    nova.run("deploy", "office", "clerk", "--replicas", "2", "--every", "1h")
    nova.run("workers", "start")
    for name in ("clerk#1", "clerk#2"):
        until(f"{name} has failed", lambda name=name: nova.run("workers", "logs", name, "--level", "error").stdout)
    nova.run("workers", "stop")


def test_lines_are_chosen_and_told_as_json(nova: Home) -> None:
    _deployed(nova)
    lines = [json.loads(line) for line in nova.run("workers", "logs", "clerk#2", "--json").stdout.splitlines()]
    assert {line["instance"] for line in lines} == {"clerk#2"}
    assert set(lines[0]) == {"at", "level", "instance", "run", "stream", "message", "fields"}
    told = [(line["level"], line["stream"], line["message"].splitlines()[0]) for line in lines[:3]]
    assert told == [("INFO", "stdout", "printed by clerk#2"), ("INFO", None, "sent"), ("WARNING", None, "odd")]
    assert lines[1]["fields"] == {"to": "kim", "password": "***"}
    assert lines[0]["run"] == lines[2]["run"] is not None
    words = nova.run("workers", "logs", "clerk", "--level", "warning", "-n", "1000").stdout
    assert "WARNING odd" in words and "printed" not in words and "ValueError: no luck" in words
    assert nova.run("workers", "logs", "clerk", "--since", "1h").stdout.count("WARNING odd") >= 2
    assert nova.run("workers", "logs", "clerk", "--until", "1h").stdout == ""
    assert "manager_started" in nova.run("workers", "logs", "--manager", "--level", "INFO").stdout
    events = nova.run("workers", "logs", "--manager", "--json").stdout.splitlines()
    assert all(set(json.loads(event)) == set(lines[0]) for event in events)


def test_what_makes_no_sense_is_refused(nova: Home) -> None:
    nova.deploy("tick", "true")
    for arguments in (("tick", "--level", "loud"), ("tick", "--since", "soon"), (), ("tick", "--manager")):
        assert "hint:" in nova.run("workers", "logs", *arguments, code=2).stderr
    nova.run("workers", "logs", "tick", "-f", "--until", "1h", code=2)
    nova.run("workers", "logs", "nobody", code=3)


def test_following_ends_when_its_reader_is_gone_though_nothing_more_is_logged(nova: Home) -> None:
    log: Path = nova.path / "logs" / "workers" / "quiet.log"
    nova.deploy("quiet", "true")
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\n")
    for option in ((), ("--json",)):
        following = nova.start("workers", "logs", "quiet", "-f", *option)
        head = subprocess.Popen(["head", "-1"], stdin=following.stdout, stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None and following.stderr is not None
        following.stdout.close()
        assert "one" in head.communicate(timeout=20)[0]
        assert following.wait(timeout=20) == 1
        assert following.stderr.read() == ""
        following.stderr.close()
