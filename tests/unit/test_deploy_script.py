from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-build.lock")

# Stands in for every interpreter: it tells what it was called with, and makes a .venv of itself.
PYTHON = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
-V) echo "Python 3.11.9" ;;
*"sys.version_info"*) exit "${TOO_OLD:-0}" ;;
*"import venv"*) exit "${NO_VENV:-0}" ;;
"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/nova ;;
*"pip install"*) exit "${NO_NETWORK:-0}" ;;
"-m nova.config") mkdir -p "$NOVA_HOME" && echo "$NOVA_HOME" ;;
esac
"""


class Tree:
    """A copy of what deploy.sh needs, with a stand-in for Python."""

    def __init__(self, path: Path) -> None:
        self.path = path / "a tree"
        self.home = path / "nova home"
        self.calls = path / "calls"
        (self.path / "bin").mkdir(parents=True)
        for name in ("deploy.sh", "pyproject.toml", ".env.example", *LOCKS):
            shutil.copy2(ROOT / name, self.path / name)
        for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
            fake = self.path / "bin" / name
            fake.write_text(PYTHON)
            fake.chmod(0o755)

    def run(self, *args: str, code: int = 0, **environ: str) -> tuple[list[str], str]:
        """The calls of Python it made, and what it said."""
        self.calls.write_text("")
        done = subprocess.run(
            [str(self.path / "deploy.sh"), *args],
            env={
                "PATH": f"{self.path}/bin:{os.defpath}",
                "CALLS": str(self.calls),
                "NOVA_HOME": str(self.home),
                **environ,
            },
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return self.calls.read_text().splitlines(), done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def installs(calls: list[str]) -> list[str]:
    return [call for call in calls if "pip install" in call]


def test_local_installs_writes_settings_and_runs_the_demo(tree: Tree) -> None:
    calls, said = tree.run("local")
    assert [call.rpartition(" -r ")[2] for call in installs(calls)[:2]] == [
        "requirements-build.lock",
        "requirements.lock",
    ]
    assert all("--require-hashes" in call for call in installs(calls)[:2])
    assert calls[-1] == "demo --quick"
    settings = tree.home / ".env"
    assert settings.read_text() == (ROOT / ".env.example").read_text()
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert str(settings) in said


def test_local_again_installs_nothing_and_keeps_the_settings(tree: Tree) -> None:
    tree.run("local")
    (tree.home / ".env").write_text("NOVA_CURRENCY=EUR\n")
    calls, _ = tree.run("local")
    assert installs(calls) == []
    assert calls[-1] == "demo --quick"
    assert (tree.home / ".env").read_text() == "NOVA_CURRENCY=EUR\n"


def test_test_passes_its_arguments_on(tree: Tree) -> None:
    calls, _ = tree.run("test", "-k", "fleet")
    assert calls[-1].startswith("-m pytest ")
    assert calls[-1].endswith(" -k fleet")


def test_what_the_tests_installed_is_enough_for_local(tree: Tree) -> None:
    tree.run("test")
    assert installs(tree.run("local")[0]) == []


def test_what_local_installed_is_not_enough_for_the_tests(tree: Tree) -> None:
    tree.run("local")
    assert "requirements-test.lock" in " ".join(installs(tree.run("test")[0]))
    assert installs(tree.run("local")[0]) == []


def test_another_lock_installs_again(tree: Tree) -> None:
    tree.run("local")
    with (tree.path / "requirements.lock").open("a") as lock:
        lock.write("# another\n")
    assert installs(tree.run("local")[0])


def test_an_installation_that_failed_is_repeated(tree: Tree) -> None:
    _, said = tree.run("local", code=1, NO_NETWORK="1")
    assert "installation failed" in said
    assert not (tree.home / ".env").exists()
    assert installs(tree.run("local")[0])


def test_a_python_that_is_too_old_is_told_with_the_way_out(tree: Tree) -> None:
    _, said = tree.run("local", code=1, TOO_OLD="1")
    assert "Python 3.11 or newer is needed" in said
    assert "apt-get install python3" in said


def test_a_missing_venv_module_is_told_with_the_way_out(tree: Tree) -> None:
    _, said = tree.run("test", code=1, NO_VENV="1")
    assert "apt-get install python3-venv" in said


@pytest.mark.parametrize("target", ["docker", "aws"])
def test_targets_for_later_say_so(tree: Tree, target: str) -> None:
    calls, said = tree.run(target, code=2)
    assert "comes later" in said
    assert calls == []


@pytest.mark.parametrize("args", [(), ("moon",), ("local", "extra")])
def test_wrong_usage_shows_the_usage(tree: Tree, args: tuple[str, ...]) -> None:
    assert "usage: ./deploy.sh" in tree.run(*args, code=2)[1]


def test_the_scripts_pass_shellcheck() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, "deploy.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|--index|--find-links|--trusted|^/| /", text, re.MULTILINE)
    for package in re.split(r"^(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)[1:]:
        assert re.match(r"[a-z0-9.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", package), package


def test_the_locks_agree() -> None:
    pins = {name: dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)) for name in LOCKS}
    assert pins["requirements.lock"].items() <= pins["requirements-test.lock"].items()
    assert pins["requirements-build.lock"].items() <= pins["requirements.lock"].items()


def test_what_is_locked_runs_on_the_oldest_python_that_nova_takes() -> None:
    """Debian 12 has 3.11.2: a package that asks for a later patch cannot be installed there."""
    oldest = "3.11.0"
    pins = re.findall(r"^([a-z0-9.-]+)==\S+", (ROOT / "requirements-test.lock").read_text(), re.MULTILINE)
    asked = {dist.name.lower().replace("_", "-"): dist.metadata.get("Requires-Python", "") for dist in distributions()}
    assert [name for name in pins if name in asked and oldest not in SpecifierSet(asked[name] or "")] == []
