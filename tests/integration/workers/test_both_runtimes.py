"""What an agent's author is given is the same in a thread and in a process of its own."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from nova.money import Money
from workers.hosts.base import Spec
from workers.log_lines import LogLine, parse
from workers.logs import Log
from workers.printed import captured

from .conftest import Rig, booked, until


@pytest.fixture(params=["thread", "process"])
def runtime(request: pytest.FixtureRequest) -> Any:
    return request.param


def spec(rig: Rig, runtime: str, body: str, **more: Any) -> Spec:
    """The same file in either: for the thread the rig is told of its class."""
    found = rig.process(body, **more)
    if runtime == "process":
        return found
    agents: Any = rig.services.agents
    agents["w"] = runpy.run_path(str(rig.agents / "w.py"))["Agent"]
    return rig.spec("w", **more)


def ended(rig: Rig, one: Spec) -> Any:
    """Its first run, as in a manager, where what an agent prints is its log."""
    with captured():
        rig.sync(one)
        return rig.ended("w")


def log_of(rig: Rig, *messages: str) -> list[LogLine]:
    """Once it has all of these, as the first lines of what was printed or logged."""

    def found() -> list[LogLine] | None:
        lines = Log(rig.services.logs.path("w"), parse).tail()
        return lines if {line.message.splitlines()[0] for line in lines} >= set(messages) else None

    lines: list[LogLine] = until(found, f"{messages} in the log")
    return lines


EFFECTS = """
    from nova.errors import LedgerConflict, UsageProblem

    assert ctx.outbox.put("mail", "ä", {"to": "kim", "n": 0.5})
    assert not ctx.outbox.put("mail", "ä", {"n": 0.5, "to": "kim"})
    ctx.outbox.put("mail", "bad")
    for payload in (2, object()):
        try:
            ctx.outbox.put("mail", "ä", payload)
        except (LedgerConflict, UsageProblem) as problem:
            ctx.state[type(problem).__name__] = problem.message
    action = lambda effect: (effect.attempts, effect.payload)
    ctx.state["once"] = [ctx.outbox.once("charge", "1", 5, action) for _ in range(2)]
    for effect in ctx.outbox.due("mail"):
        with effect:
            if effect.key == "bad":
                raise ValueError("no such address")
            effect.result = effect.idempotency_key
"""


def test_effects_are_done_and_failures_are_told(rig: Rig, runtime: str) -> None:
    run = ended(rig, spec(rig, runtime, EFFECTS))
    assert (run.status, run.crash) == ("failed", False)
    assert run.error == "1 of 2 effects failed, first mail 'bad': ValueError: no such address"
    state = rig.ledger.state.all("w")
    assert state["once"] == [[1, 5], [1, 5]]
    assert "another payload" in state["LedgerConflict"]
    assert "cannot be kept as JSON" in state["UsageProblem"]
    effects = {effect.key: effect for effect in rig.ledger.outbox.of("w")}
    assert {key: effect.state for key, effect in effects.items()} == {"ä": "done", "1": "done", "bad": "pending"}
    assert effects["ä"].result == effects["ä"].idempotency_key
    (warned,) = [line for line in log_of(rig, run.error) if line.level == "WARNING"]
    assert "attempt 1 of 10" in warned.message
    assert "Traceback" in warned.message


LOGGING = r"""
    print("printed")
    ctx.log.debug("hidden")
    ctx.log.info("sent %d", 2, extra={"to": "kim", "day": ctx.now().date(), "token": "x", "share": float("inf")})
    ctx.log.warning("odd", extra={"page": "x" * 5_000_000})
    ctx.log.critical("two\nlines \ud800 ü")
"""


def test_levels_fields_and_runs_are_kept(rig: Rig, runtime: str) -> None:
    run = ended(rig, spec(rig, runtime, LOGGING))
    assert (run.status, run.error) == ("succeeded", None)
    found = {line.message.splitlines()[0]: line for line in log_of(rig, "printed", "two")}
    assert set(found) == {"printed", "sent 2", "odd", "two"}
    assert {line.run for line in found.values()} == {run.id}
    assert (found["printed"].level, found["printed"].stream) == ("INFO", "stdout")
    sent = found["sent 2"]
    assert (sent.level, sent.stream) == ("INFO", None)
    assert {name: sent.fields[name] for name in ("to", "token", "share")} == {
        "to": "kim",
        "token": "***",
        "share": "inf",
    }
    assert "too_large" in found["odd"].fields
    assert (found["two"].level, found["two"].message) == ("CRITICAL", "two\nlines ? ü")


def test_what_ends_a_run_is_an_error_of_its_log(rig: Rig, runtime: str) -> None:
    run = ended(rig, spec(rig, runtime, "raise ValueError('no luck')"))
    (error,) = [line for line in Log(rig.services.logs.path("w"), parse).tail() if line.run == run.id]
    assert error.level == "ERROR"
    assert error.message.startswith("Traceback")
    assert error.message.endswith("ValueError: no luck")


UNTELLABLE = r"""
class Odd(Exception):
    def __str__(self):
        raise SystemExit(3)

class Agent(BaseWorker):
    def run(self, ctx):
        ctx.spend("0.25")
        HOW
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise ValueError('half \\ud800 a character')", "half ? a character"),
        ("return RunResult(False, 'half \\ud800 a character')", "half ? a character"),
        ("return RunResult(False, 17)", "17"),
        ("return RunResult(False, 'y' * 6_000_000)", "yyyy"),
        ("raise Odd", "Odd: <exception str() failed>"),
    ],
)
def test_whatever_a_run_says_of_its_end_it_ends_and_is_paid_for(how: str, words: str, rig: Rig, runtime: str) -> None:
    run = ended(rig, spec(rig, runtime, UNTELLABLE.replace("HOW", how)))
    assert run.status == "failed"
    assert words in run.error
    assert booked(rig.ledger, "w", "cost") == Money.parse("0.25", "USD")


SECRETIVE = """
    secret = os.environ["SHOP_KEY"]
    print("printed", secret)
    ctx.log.info("logged %s", secret, extra={"url": "http://x/?k=" + secret})
    raise ValueError("refused: " + secret)
"""
CUT_IN_TWO = """
    secret = os.environ["SHOP_KEY"]
    ctx.log.info("x", extra={secret: 1})
    raise ValueError(secret + "v" * 3990)
"""


def test_declared_secrets_are_neither_logged_nor_recorded(
    rig: Rig, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "hunter2-hunter2")
    run = ended(rig, spec(rig, runtime, SECRETIVE, secrets=("SHOP_KEY",)))
    assert run.error == "ValueError: refused: ***"
    log_of(rig, "printed ***", "logged ***")
    assert "hunter2" not in rig.services.logs.path("w").read_text()


def test_a_secret_is_hidden_before_its_error_is_cut(rig: Rig, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "hunter2-hunter2")
    run = ended(rig, spec(rig, runtime, CUT_IN_TWO, secrets=("SHOP_KEY",)))
    assert "***v" in run.error
    assert "hunter2" not in rig.services.logs.path("w").read_text()


def test_an_effect_in_whose_middle_the_process_dies_is_tried_again_under_the_same_key(rig: Rig, home: Path) -> None:
    body = f"""
        ctx.outbox.put("mail", "a", 1)
        for effect in ctx.outbox.due():
            with effect:
                open("{home}/sent", "a").write(effect.idempotency_key + "\\n")
                if effect.attempts == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
        """
    rig.sync(rig.process(body, every_s=0.01))
    until(lambda: [effect.state for effect in rig.ledger.outbox.of("w")] == ["done"], "the effect is done")
    first, second = (home / "sent").read_text().split()
    assert first == second
    assert rig.runs("w")[-1].crash
