from __future__ import annotations

import signal

import pytest

from nova.fleet.terms import Resources
from workers.hosts.base import Spec
from workers.hosts.confines import how_it_ended
from workers.hosts.environment import MissingSecret, demand, environment_of
from workers.processes import Row, descendants, table
from workers.worker_monitor import Used, excess

MB = 1024 * 1024
KNOWN = {"PATH": "/bin", "LC_ALL": "C", "https_proxy": "p", "FOO": "1", "A_TOKEN": "t", "STRIPE_API_KEY": "k"}


def spec(runtime: str, **more: object) -> Spec:
    return Spec("w", "d", "shell", runtime, 1, 1, 60.0, 60.0, {}, (), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "seen"),
    [
        (spec("thread"), {"PATH", "LC_ALL", "https_proxy", "FOO"}),
        (spec("thread", secrets=("A_TOKEN",)), {"PATH", "LC_ALL", "https_proxy", "FOO", "A_TOKEN"}),
        (spec("process"), {"PATH", "LC_ALL", "https_proxy"}),
        (spec("process", env=("FOO",), secrets=("A_TOKEN",)), {"PATH", "LC_ALL", "https_proxy", "FOO", "A_TOKEN"}),
    ],
)
def test_what_an_instance_sees(one: Spec, seen: set[str]) -> None:
    assert environment_of(one, KNOWN, KNOWN).keys() == seen


def test_the_address_of_a_platform_comes_with_its_secret() -> None:
    known = {**KNOWN, "STRIPE_API_BASE": "http://emulator", "GITHUB_API_BASE": "http://other"}
    seen = environment_of(spec("process", secrets=("STRIPE_API_KEY",)), known, known)
    assert seen["STRIPE_API_BASE"] == "http://emulator"
    assert "GITHUB_API_BASE" not in seen


def test_a_secret_that_is_empty_is_missing() -> None:
    demand(("A_TOKEN",), KNOWN)
    with pytest.raises(MissingSecret, match="no value is set for B_TOKEN"):
        demand(("A_TOKEN", "B_TOKEN"), {**KNOWN, "B_TOKEN": ""})


@pytest.mark.parametrize(
    ("code", "limits", "memory_ran_out", "words"),
    [
        (3, Resources(), False, "exit code 3"),
        (-signal.SIGSEGV, Resources(), False, "killed by SIGSEGV"),
        (-signal.SIGXCPU, Resources(cpu_s=90), False, "used more processor time than its limit of 90s"),
        (-signal.SIGKILL, Resources(), True, "ran out of memory"),
        (-signal.SIGKILL, Resources(), False, "killed by SIGKILL"),
    ],
)
def test_an_end_is_told_in_words(code: int, limits: Resources, memory_ran_out: bool, words: str) -> None:
    assert words in how_it_ended(code, limits, memory_ran_out=memory_ran_out)


def test_descendants_are_found_at_any_depth_and_of_each_root_its_own() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    rows = {pid: Row(parent, pid, 0.0, 0, 1) for pid, parent in parents.items()}
    assert {root: sorted(below) for root, below in descendants(rows, {10, 20, 99}).items()} == {
        10: [11, 12],
        20: [21],
        99: [],
    }


def test_the_table_has_this_very_process() -> None:
    import os

    row = table()[os.getpid()]
    assert (row.parent, row.group) == (os.getppid(), os.getpgid(0))
    assert row.memory_bytes > MB and row.threads >= 1


@pytest.mark.parametrize(
    ("limits", "used", "words"),
    [
        (Resources(), Used(1e6, 10**12, 99, (1, 2)), None),
        (Resources(cpu_s=1), Used(2.0, 0, 1, (1,)), "processor time"),
        (Resources(cpu_s=3), Used(2.0, 0, 1, (1,)), None),
        (Resources(memory_bytes=MB), Used(0.0, 2 * MB, 1, (-1,)), "more memory than its limit of 1 MB"),
        (Resources(processes=1), Used(0.0, 0, 2, (1, 2)), "more processes than its limit of 1"),
    ],
)
def test_what_goes_beyond_a_limit_is_told(limits: Resources, used: Used, words: str | None) -> None:
    told = excess(limits, used)
    assert told is None if words is None else told is not None and words in told
