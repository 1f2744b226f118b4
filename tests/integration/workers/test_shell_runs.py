from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from nova.errors import NovaError
from nova.ledger.limits import Limit
from nova.money import Money
from workers.hosts.base import BudgetHit

from .conftest import Rig, booked, until


def usd(text: str) -> Money:
    return Money.parse(text, "USD")


def full_disk(*_: object) -> None:
    raise NovaError("no space is left for the ledger")


def alive(path: Path) -> list[int]:
    """Of the process ids a command wrote to `path`, those that live."""
    pids = [int(word) for word in path.read_text().split()]
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_a_command_that_succeeds_is_a_run_that_succeeded(rig: Rig) -> None:
    rig.sync(rig.shell("echo hello; echo $NOVA_WORKER $NOVA_INDEX/$NOVA_REPLICAS"))
    run = rig.ended()
    assert (run.status, run.error, run.crash) == ("succeeded", None, False)
    assert "hello" in rig.log()
    assert "sh 1/1" in rig.log()


def test_a_command_that_fails_is_a_crash_and_its_error_ends_with_stderr(rig: Rig) -> None:
    rig.sync(rig.shell("echo first >&2; echo no luck >&2; exit 3"))
    run = rig.ended()
    assert (run.status, run.crash) == ("failed", True)
    assert "exit code 3" in run.error
    assert run.error.endswith("no luck")


def test_a_command_that_cannot_be_started_says_why(rig: Rig) -> None:
    rig.sync(rig.shell("true", config={"cwd": "/no/such/place"}))
    assert "/no/such/place" in rig.ended().error


def test_its_messages_are_booked(rig: Rig) -> None:
    lines = [
        {"nova": "spend", "amount": "0.25", "reason": "tokens"},
        {"nova": "spent", "amount": "0.10"},
        {"nova": "earn", "amount": "9.00", "id": "order-17"},
        {"nova": "earn", "amount": "9.00", "id": "order-17"},
        {"nova": "claim", "source": "stripe", "id": "pi_1"},
    ]
    rig.sync(rig.shell("\n".join(f"echo '{json.dumps(line)}'" for line in lines)))
    assert rig.ended().status == "succeeded"
    assert booked(rig.ledger, "sh", "cost") == usd("0.35")
    assert booked(rig.ledger, "sh", "revenue") == usd("9.00")
    claim = rig.ledger.claims.get("stripe", "pi_1")
    assert claim is not None
    assert claim.worker == "sh"


def test_a_command_keeps_its_state(rig: Rig) -> None:
    values = {"seen": {"page": 3, "share": 0.5}, "ü": None}
    lines = [{"nova": "state", "key": key, "value": value} for key, value in values.items()]
    rig.sync(rig.shell("\n".join(f"echo '{json.dumps(line)}'" for line in lines)))
    assert rig.ended().status == "succeeded"
    assert rig.ledger.state.all("sh") == values


def test_what_no_state_can_hold_fails_the_run(rig: Rig) -> None:
    rig.sync(rig.shell("""echo '{"nova":"state","key":"seen","value":NaN}'"""))
    run = rig.ended()
    assert (run.status, run.crash) == ("failed", True)
    assert "cannot be kept as JSON" in run.error
    assert rig.ledger.state.all("sh") == {}


def test_a_refused_spend_ends_the_whole_group_and_is_no_crash(rig: Rig, home: Path) -> None:
    command = """
        sleep 300 & echo $$ $! > pids
        echo '{"nova":"spend","amount":"0.04"}'; echo '{"nova":"spend","amount":"0.02"}'; sleep 300"""
    rig.sync(rig.shell(command, limits=(Limit("worker:sh", "day", usd("0.05")),)))
    run = rig.ended()
    assert (run.status, run.crash) == ("interrupted", False)
    assert booked(rig.ledger, "sh", "cost") == usd("0.04")
    until(lambda: not alive(home / "pids"), "the group is gone")
    rig.look()
    hits = [fact for fact in rig.facts if isinstance(fact, BudgetHit) and fact.kind == "refused"]
    assert len(hits) == 1


def test_the_answer_comes_on_the_reply_descriptor(rig: Rig, home: Path) -> None:
    command = """
        trap '' TERM
        echo '{"nova":"spend","amount":"0.04"}'; read -r answer <&$NOVA_REPLY_FD; echo "$answer" >> answers
        echo '{"nova":"spend","amount":"0.02"}'; read -r answer <&$NOVA_REPLY_FD; echo "$answer" >> answers"""
    rig.sync(rig.shell(command, limits=(Limit("run", "run", usd("0.05")),)))
    rig.ended()
    yes, no = (json.loads(line) for line in (home / "answers").read_text().splitlines())
    assert yes == {"n": 1, "ok": True}
    assert (no["ok"], no["error"]) == (False, "BudgetExceeded")


def test_a_malformed_message_ends_the_run_which_failed(rig: Rig) -> None:
    rig.sync(rig.shell("""echo '{"nova":"spend","amount":"a lot"}'; sleep 300"""))
    run = rig.ended()
    assert (run.status, run.crash) == ("failed", True)
    assert "a lot" in run.error


def test_the_same_sale_with_another_amount_fails_the_run(rig: Rig) -> None:
    rig.sync(rig.shell("""for a in 1 2; do echo '{"nova":"earn","amount":"'$a'.00","id":"x"}'; done"""))
    run = rig.ended()
    assert run.status == "failed"
    assert "earned before as 1.00" in run.error
    assert booked(rig.ledger, "sh", "revenue") == usd("1.00")


def test_a_command_that_never_ends_is_bounded_by_its_timeout(rig: Rig, home: Path) -> None:
    rig.sync(rig.shell("test -e pids && exit; sleep 300 & echo $$ $! > pids; sleep 300"))
    until(lambda: (home / "pids").exists() and (home / "pids").read_text(), "it is under way")
    rig.leap(60)
    first = until(rig.runs, "the end")[-1]
    assert (first.status, first.crash) == ("failed", True)
    assert "timed out" in first.error
    until(lambda: not alive(home / "pids"), "the group is gone")


def test_background_children_end_with_their_leader(rig: Rig, home: Path) -> None:
    rig.sync(rig.shell("sleep 300 & echo $! > pids"))
    assert rig.ended().status == "succeeded"
    until(lambda: not alive(home / "pids"), "the child is gone")


@pytest.mark.serial
def test_a_hundred_megabytes_of_output_grow_neither_memory_nor_the_log(rig: Rig, home: Path) -> None:
    before = psutil.Process().memory_info().rss
    rig.sync(rig.shell("yes '{ not nova, just a lot of output }' | head -c 100000000; printf '%070000000d' 7"))
    run = until(lambda: rig.runs() and rig.runs()[0], "the end", 120)
    assert run.status == "succeeded"
    assert psutil.Process().memory_info().rss - before < 40_000_000
    logs = list((home / "logs" / "workers").iterdir())
    assert sum(path.stat().st_size for path in logs) <= 31_000_000


def test_secrets_of_the_manager_do_not_reach_the_command(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRIPE_API_KEY", "AWS_SECRET_ACCESS_KEY", "NOVA_DATABASE_URL", "MY_PASSWORD"):
        monkeypatch.setenv(name, "hush-hush")
    monkeypatch.setenv("HARMLESS", "yes")
    rig.sync(rig.shell("env", config={"env": {"GIVEN_TOKEN": "given"}}))
    rig.ended()
    assert "hush-hush" not in rig.log()
    assert "HARMLESS=yes" in rig.log()
    assert "GIVEN_TOKEN=given" in rig.log()


def test_killing_ends_the_group_now_and_reports_it_gone_only_then(
    rig: Rig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.instance.GRACE_S", 0.5)
    rig.sync(rig.shell("trap '' TERM; sleep 300 & echo $$ $! > pids; while :; do sleep 1; done"))
    until(lambda: (home / "pids").exists() and (home / "pids").read_text().split(), "the command runs")
    rig.sync()
    rig.host.kill("sh#1")
    assert rig.states().get("sh#1") in ("stopping", "running")
    until(lambda: "sh#1" not in rig.states(), "it is gone")
    until(lambda: not alive(home / "pids"), "the group is gone")
    assert rig.ended().status == "interrupted"


def test_cpu_of_a_command_is_seen_while_it_runs(rig: Rig) -> None:
    rig.sync(rig.shell("while :; do :; done"))
    until(lambda: rig.host.report().states["sh#1"].cpu_s > 0.1, "CPU is counted")
    seen = rig.host.report().states["sh#1"]
    assert seen.memory_bytes
    rig.host.kill("sh#1")
    rig.ended()


def test_money_is_exact_over_many_messages(rig: Rig) -> None:
    rig.sync(
        rig.shell("""i=0; while [ $i -lt 100 ]; do echo '{"nova":"spend","amount":"0.000007"}'; i=$((i+1)); done""")
    )
    assert rig.ended().status == "succeeded"
    assert booked(rig.ledger, "sh", "cost").to_decimal() == Decimal("0.0007")


def test_money_that_cannot_be_booked_because_the_ledger_is_out_of_reach_is_no_crash(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.ledger.entries, "record", full_disk)
    rig.sync(rig.shell("""echo '{"nova":"earn","amount":"1","id":"o-1"}'; read -r answer <&3; echo "told $answer" """))
    run = rig.ended()
    assert (run.status, run.crash, run.error) == ("interrupted", False, "no space is left for the ledger")
    assert '"ok": false' in rig.log()


def test_a_heartbeat_follows_the_output(rig: Rig) -> None:
    rig.sync(rig.shell("while :; do echo tick; sleep 0.05; done"))
    first: datetime = until(lambda: rig.look().states["sh#1"].heartbeat_at)
    until(lambda: (rig.look().states["sh#1"].heartbeat_at or first) > first, "the heartbeat moves")
    rig.host.kill("sh#1")
    rig.ended()


@pytest.mark.parametrize(
    ("how", "held"),
    [("setsid", ""), ("setsid", ">/dev/null 2>&1 </dev/null"), ("env -i setsid", ">/dev/null 2>&1 </dev/null 3<&-")],
)
def test_what_a_command_leaves_outside_its_group_is_gone_when_its_run_has_ended(
    how: str, held: str, rig: Rig, home: Path
) -> None:
    """It may have cleared its environment and closed what it was given: then nothing about it tells of nova."""
    rig.sync(
        rig.shell(
            f"({how} sh -c 'echo $$ >> pids; exec sleep 300' {held} &) &\nwhile [ ! -s pids ]; do sleep 0.01; done"
        )
    )
    assert rig.ended().status == "succeeded"
    assert not alive(home / "pids")


def test_who_kills_the_warden_of_a_command_ends_the_command_too(rig: Rig, home: Path) -> None:
    rig.sync(rig.shell("env -i setsid sh -c 'echo $$ >> pids; exec sleep 300' & echo $$ >> pids; wait"))
    until(lambda: (home / "pids").exists() and len((home / "pids").read_text().split()) == 2)
    first = alive(home / "pids")
    next(one for one in psutil.Process(first[0]).parents() if "workers.hosts.nursery" in one.cmdline()).kill()
    assert "what guarded the command was killed" in rig.ended().error
    assert not set(first) & set(alive(home / "pids"))
