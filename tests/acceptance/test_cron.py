"""A shell script in cron's style: no terminal, no HOME, JSON parsed by `python -c`, every exit code reached."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import NOVA, SYSTEM_PATH, Home

SCRIPT = r"""
set -u
expect() {                       # expect CODE COMMAND...
    wanted=$1; shift
    "$@" >"$NOVA_HOME/out" 2>"$NOVA_HOME/err"
    code=$?
    if [ "$code" -ne "$wanted" ]; then
        echo "$*: exit $code, expected $wanted"; cat "$NOVA_HOME/out" "$NOVA_HOME/err"; exit 99
    fi
    if grep -q "$(printf '\033')" "$NOVA_HOME/out" "$NOVA_HOME/err"; then echo "$*: colour in a pipe"; exit 98; fi
}
field() {
    python -c 'import json, sys; print(eval("d" + sys.argv[1], {"d": json.load(sys.stdin)}))' "$1" <"$NOVA_HOME/out"
}

expect 0 nova deploy research shell --name tick --every 1h --set command=true --json
[ "$(field '["state"]')" = active ] || { echo "not active"; exit 97; }
expect 0 nova workers status --json
[ "$(field '["manager"]["running"]')" = False ] || { echo "a manager runs"; exit 97; }

echo 'no line of a ledger' >"$NOVA_HOME/bad.jsonl"
expect 1 nova ledger import "$NOVA_HOME/bad.jsonl"
expect 2 nova workers kill tick
expect 3 nova workers scale nobody --replicas 2 --json
[ "$(field '["error"]["code"]')" = 3 ] || { echo "no error document"; exit 97; }
expect 0 nova workers kill tick --yes
expect 4 nova deploy research shell --name tick --every 1h --set command=true
expect 5 nova revenue sync stripe
STRIPE_API_KEY=sk_test_x; STRIPE_API_BASE=http://127.0.0.1:9; export STRIPE_API_KEY STRIPE_API_BASE
expect 69 nova platforms check stripe
expect 0 nova workers start
expect 75 nova workers start
expect 0 nova workers stop
SCALE_ROI_THRESHOLD=lots; export SCALE_ROI_THRESHOLD
expect 78 nova workers status --json
[ "$(field '["error"]["code"]')" = 78 ] || { echo "no error document"; exit 97; }
echo all reached
"""


def test_a_cron_script_reaches_every_exit_code(nova: Home, tmp_path: Path) -> None:
    script = tmp_path / "nightly.sh"
    script.write_text(SCRIPT)
    done = subprocess.run(
        ["/bin/sh", str(script)],
        env={"PATH": f"{NOVA.parent}:{Path(sys.executable).parent}:{SYSTEM_PATH}", "NOVA_HOME": str(nova.path)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "all reached\n", "")


@pytest.mark.parametrize(
    "command",
    [
        ("workers", "status"), ("workers", "health"), ("autonomous", "status"), ("autonomous", "run"),
        ("autonomous", "approvals"), ("autonomous", "history"), ("autonomous", "policy", "show"), ("revenue", "report"),
        ("revenue", "top"), ("revenue", "timeline"), ("revenue", "reinvest"), ("revenue", "reconcile"),
        ("revenue", "sync"), ("revenue", "rates", "list"), ("costs", "report"), ("ledger", "verify"), ("audit", "log"),
        ("audit", "verify"), ("budgets", "list"), ("agents", "list"), ("agents", "show", "shell"),
        ("platforms", "list"),
        ("platforms", "check"), ("status",), ("doctor",), ("version",), ("workers", "stop"), ("stop", "--all", "--yes"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_home_answers_in_json_and_in_words(nova: Home, command: tuple[str, ...]) -> None:
    assert isinstance(nova.json(*command), dict)
    done = nova.run(*command)
    assert done.stdout or done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_home_that_cannot_be_written_is_one_clear_message(nova: Home, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")
    nova.env["NOVA_HOME"] = str(occupied / "home")
    done = nova.run("workers", "status", code=78)
    assert "occupied" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_into_a_closed_pipe_is_quiet(nova: Home) -> None:
    line = f"'{NOVA}' autonomous policy show | head -1; '{NOVA}' --help | head -1"
    done = subprocess.run(["/bin/sh", "-c", line], env=nova.environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("key")
    assert done.stderr == ""
