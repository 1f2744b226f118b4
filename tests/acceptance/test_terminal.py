"""What a person at a terminal sees: questions, colour, hidden input; and completion."""

from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import time
from collections.abc import Callable

from .conftest import NOVA, Home, until


class Terminal:
    """A command on a pseudo terminal."""

    def __init__(self, nova: Home, *args: str, **env: str) -> None:
        self._master, slave = pty.openpty()
        environment = {**nova.environment, "TERM": "xterm-256color", "COLUMNS": "100", **env}
        self.process = subprocess.Popen(
            [str(NOVA), *args],
            env=environment,
            cwd=nova.path,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def read_until(self, word: str, seconds: float = 20.0) -> str:
        self._read(lambda: word in self.text, seconds)
        assert word in self.text, self.text
        return self.text

    def answer(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        os.close(self._master)

    def end(self, seconds: float = 20.0) -> int:
        self._read(lambda: False, seconds)
        code = self.process.wait(timeout=seconds)
        os.close(self._master)
        return code

    def _read(self, enough: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not enough() and time.monotonic() < deadline:
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if not ready:
                if self.process.poll() is not None:
                    return
                continue
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            self.text += data.decode("utf-8", "replace")


def test_what_destroys_asks_and_takes_no_for_an_answer(nova: Home) -> None:
    nova.deploy("tick", "true", "--every", "1h")
    asked = Terminal(nova, "workers", "kill", "tick")
    asked.read_until("[y/N]")
    asked.answer("n")
    assert asked.end() == 4
    assert nova.worker("tick")["state"] == "active"
    asked = Terminal(nova, "workers", "kill", "tick")
    asked.read_until("[y/N]")
    asked.answer("y")
    assert asked.end() == 0
    assert nova.worker("tick")["state"] == "killed"


def test_colour_only_where_it_is_wanted(nova: Home) -> None:
    nova.deploy("tick", "true", "--every", "1h")
    nova.run("workers", "kill", "tick", "--yes")
    coloured = Terminal(nova, "workers", "status")
    assert coloured.end() == 0
    assert "\x1b[31mkilled" in coloured.text
    plain = Terminal(nova, "workers", "status", NO_COLOR="1")
    assert plain.end() == 0
    assert "\x1b[3" not in plain.text
    assert "killed" in plain.text


def test_init_asks_for_keys_without_showing_them(nova: Home) -> None:
    asked = Terminal(nova, "init")
    asked.read_until("STRIPE_API_KEY (empty for none): ")  # the blank is written when echo is off
    asked.answer("sk_test_hidden")
    for name in ("GUMROAD_ACCESS_TOKEN", "SENDGRID_API_KEY", "TWITTER_BEARER_TOKEN", "GITHUB_TOKEN", "NOVA_ALERT_URLS"):
        asked.read_until(f"{name} (empty for none): ")
        asked.answer("")
    assert asked.end() == 0
    assert "sk_test_hidden" not in asked.text
    file = nova.path / ".env"
    assert file.read_text() == "STRIPE_API_KEY=sk_test_hidden\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rows = {row["name"]: row for row in nova.json("platforms", "list")["platforms"]}
    assert rows["stripe"]["configured"] is True
    assert rows["github"]["configured"] is False


def test_init_without_a_terminal_says_what_to_do_instead(nova: Home) -> None:
    assert "--set" in nova.run("init", code=2).stderr
    nova.run("init", "--set", "GITHUB_TOKEN=ghp_x", "--set", "NOVA_TIMEZONE=Europe/Berlin")
    assert "GITHUB_TOKEN=ghp_x" in (nova.path / ".env").read_text()
    nova.run("init", "--set", "NOVA_TIMEZONE=Mars", code=78)
    nova.run("init", "--set", "NO_SUCH=1", code=2)
    assert "Europe/Berlin" in (nova.path / ".env").read_text()


def test_watch_shows_it_again_until_ctrl_c(nova: Home) -> None:
    nova.deploy("tick", "true", "--every", "1h")
    watched = Terminal(nova, "workers", "status", "--watch")
    watched.read_until("tick")
    nova.deploy("tock", "true", "--every", "1h")
    watched.read_until("tock")
    watched.process.send_signal(2)
    assert watched.end() == 130
    assert "Traceback" not in watched.text


def complete(nova: Home, line: str) -> list[str]:
    words = line.split(" ")
    environment = {"_NOVA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [str(NOVA)], env={**nova.environment, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_names(nova: Home) -> None:
    nova.deploy("mailer", "true", "--every", "1h")
    nova.deploy("miner", "true", "--every", "1h")
    assert complete(nova, "nova work") == ["workers"]
    assert complete(nova, "nova workers st") == ["start", "stop", "status"]
    assert complete(nova, "nova workers pause m") == ["mailer", "miner"]
    assert "--json" in complete(nova, "nova workers status --j")
    (nova.path / "fleet.json").write_text("{")
    assert complete(nova, "nova workers pause m") == []


def test_the_completion_script_is_shown(nova: Home) -> None:
    nova.env["SHELL"] = "/bin/bash"
    shown = Terminal(nova, "--show-completion")
    until("it ends", lambda: shown.end() in (0, 1))
    assert shown.text


def test_the_timeline_is_drawn_in_colour_or_told_apart_by_marks(nova: Home) -> None:
    nova.deploy("mailer", "true", "--every", "1h")
    nova.run("revenue", "record", "mailer", "12.00")
    nova.run("costs", "record", "mailer", "3.00")
    plain = nova.run("revenue", "timeline", "--plot").stdout
    assert "* revenue" in plain
    assert ". cost" in plain
    coloured = Terminal(nova, "revenue", "timeline", "--plot")
    assert coloured.end() == 0
    assert "\x1b[38" in coloured.text
