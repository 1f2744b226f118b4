from __future__ import annotations

import json
import signal

from .conftest import Home, until

SPEND = '{\\"nova\\":\\"spend\\",\\"amount\\":\\"0.25\\"}'
EARN = '{\\"nova\\":\\"earn\\",\\"amount\\":\\"2\\",\\"id\\":\\"o-1\\"}'


def test_one_run_in_the_terminal_is_made_as_the_manager_would(nova: Home) -> None:
    said = ["hello $NOVA_INDEX of $NOVA_REPLICAS", SPEND, EARN]
    nova.deploy("hi", "; ".join(f'echo "{one}"' for one in said), "--replicas", "3")
    done = nova.run("workers", "run", "hi")
    assert done.stdout == "hello 1 of 1\n"
    assert "succeeded after" in done.stderr and "spent $0.25" in done.stderr
    assert nova.worker("hi")["cost"] == "0.25"
    asked = nova.start("workers", "run", "hi", "--json")
    out, err = asked.communicate(timeout=30)
    document = json.loads(out)
    assert "hello 1 of 1" in err and document["status"] == "succeeded" and document["instance"] == "hi#0"
    assert (document["cost"], document["revenue"]) == ("0.25", "0.00")  # the sale was booked before


def test_its_exit_code_says_how_it_ended(nova: Home) -> None:
    nova.deploy("bad", "echo oops >&2; exit 3")
    assert "oops" in nova.run("workers", "run", "bad", code=1).stderr
    nova.deploy("rich", 'echo \'{"nova":"spend","amount":"3"}\'; sleep 60', "--budget", "1/day")
    assert nova.json("workers", "run", "rich", code=4)["status"] == "interrupted"
    assert nova.worker("rich")["pause_reason"] == "budget"
    nova.run("workers", "kill", "rich", "--yes")
    assert nova.json("workers", "run", "rich", code=4)["error"]["code"] == 4
    nova.run("workers", "run", "nobody", code=3)


def test_ctrl_c_ends_it_in_order_and_a_second_one_is_not_begun_beside_it(nova: Home) -> None:
    nova.deploy("slow", "echo begun; sleep 60")
    running = nova.start("workers", "run", "slow")
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    nova.run("workers", "run", "slow", code=75)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=20)
    assert running.returncode == 130
    assert nova.worker("slow")["interrupted"] == 1


def test_a_budget_that_is_lowered_while_it_runs_holds_for_it(nova: Home) -> None:
    nova.deploy("rich", """echo begun; while :; do echo '{"nova":"spend","amount":"0.01"}'; sleep 0.1; done""")
    running = nova.start("workers", "run", "rich")
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    nova.run("budgets", "set", "fleet", "0.01/total")
    running.communicate(timeout=20)
    assert running.returncode == 4 and nova.worker("rich")["pause_reason"] == "budget"


def test_a_kill_is_for_it_too_and_returns_when_it_is_over(nova: Home) -> None:
    nova.deploy("slow", "echo begun; sleep 60")
    running = nova.start("workers", "run", "slow")
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    nova.run("workers", "kill", "slow", "--yes")
    assert nova.worker("slow")["interrupted"] == 1
    running.communicate(timeout=20)
    assert running.returncode == 4


def test_it_goes_on_when_nobody_reads_what_it_prints_any_more(nova: Home) -> None:
    nova.deploy("loud", "echo begun; sleep 0.5; echo more; echo most")
    running = nova.start("workers", "run", "loud")
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    running.stdout.close()
    with running:
        assert running.wait(60) in (0, 1)
    assert nova.worker("loud")["succeeded"] == 1


def test_a_single_run_that_was_made_is_done(nova: Home) -> None:
    nova.deploy("import", "true", "--once")
    nova.run("workers", "start")
    until("its run is over", lambda: nova.worker("import")["finished"])
    assert "done" in nova.run("workers", "status").stdout
    nova.run("workers", "stop")
    assert nova.worker("import")["finished"]


def test_one_that_was_killed_leaves_nothing_and_is_put_in_order_by_the_next(nova: Home) -> None:
    nova.deploy("slow", 'echo \'{"nova":"spend","amount":"0.25"}\'; echo $$; exec sleep 60')
    running = nova.start("workers", "run", "slow")
    assert running.stdout is not None
    group = int(running.stdout.readline())
    running.kill()
    running.communicate(timeout=20)
    until("its command is gone", lambda: not _lives(group))
    nova.deploy("other", "true")
    nova.run("workers", "run", "other")
    assert (nova.worker("slow")["interrupted"], nova.worker("slow")["cost"]) == (1, "0.25")
    assert nova.json("ledger", "verify")["ok"]


def _lives(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
