"""A language model that is asked with real runs, a real ledger, and a server that holds requests to OpenAI's types."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nova.errors import UsageProblem
from nova.ledger.limits import Limit
from nova.money import Money
from tests.emulators.openai_chat import KEY, ChatServer, Reply
from tests.integration.workers.conftest import Agents, Rig, booked, until
from workers.agents.configuration import checked
from workers.agents.llm_agent import LlmAgent
from workers.instance import Intent

PRICES = {"price_in": "1.00", "price_out": "10.00"}  # 100 tokens read and 20 written are 0.0003


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, agents: Agents) -> Iterator[ChatServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    agents["llm_agent"] = LlmAgent
    with ChatServer() as opened:
        yield opened


@pytest.fixture
def ask(rig: Rig, server: ChatServer) -> Callable[..., Any]:
    """Runs the agent once more with this configuration and returns the run."""
    count = 0

    def run(limits: tuple[Limit, ...] = (), runtime: str = "thread", **config: Any) -> Any:
        nonlocal count
        count += 1
        settings = {"prompt": "Say something.", "model": "tiny", "base_url": server.url, **PRICES, **config}
        rig.sync(
            rig.spec(
                agent="llm_agent", config=settings, limits=limits, secrets=("OPENAI_API_KEY",), due_now=True,
                runtime=runtime, generation=count,
            )
        )  # fmt: skip
        ended = rig.ended("w", count)
        rig.sync()
        until(lambda: not rig.states(), "the end of the instance")
        return ended

    return run


def data(home: Path, name: str = "w.jsonl") -> list[dict[str, Any]]:
    path = home / "data" / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def inputs(home: Path, text: str, name: str = "rows.csv") -> str:
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / name).write_text(text)
    return name


def usd(amount: str) -> Money:
    return Money.parse(amount, "USD")


def test_an_answer_is_written_and_its_tokens_are_booked_by_the_price_list(
    ask: Callable[..., Any], rig: Rig, home: Path, server: ChatServer
) -> None:
    ended = ask(system="You are {{ worker }}.", temperature=0.3)
    assert (ended.status, ended.error) == ("succeeded", None)
    (row,) = data(home)
    assert (row["answer"], row["model"], row["cost"], row["run"]) == ("fine", "tiny", "0.0003", ended.id)
    assert booked(rig.ledger, "w", "cost") == usd("0.0003")
    (request,) = server.requests
    assert (request["max_tokens"], request["temperature"]) == (1024, 0.3)
    assert request["messages"][0]["content"] == "You are w."


def test_a_process_asks_as_well(ask: Callable[..., Any], rig: Rig, home: Path) -> None:
    assert ask(runtime="process").status == "succeeded"
    assert len(data(home)) == 1
    assert booked(rig.ledger, "w", "cost") == usd("0.0003")


def test_the_last_answer_stands_in_the_next_prompt(ask: Callable[..., Any], server: ChatServer) -> None:
    ask(prompt="Go on from: {{ last }}")
    ask(prompt="Go on from: {{ last }}")
    assert server.prompts() == ["Go on from: ", "Go on from: fine"]


def test_what_a_budget_does_not_cover_is_never_asked(ask: Callable[..., Any], rig: Rig, server: ChatServer) -> None:
    ended = ask(limits=(Limit("worker:w", "day", usd("0.005")),))  # 1,024 tokens may cost 0.01
    assert ended.status == "interrupted"
    assert server.requests == []
    assert booked(rig.ledger, "w", "cost") == usd("0")


def test_every_step_of_a_conversation_with_tools_is_paid(ask: Callable[..., Any], rig: Rig, server: ChatServer) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        told = [m["content"] for m in request["messages"] if m["role"] == "tool"]
        steps = [Reply(tool=("remember", {"name": "a", "value": "blue"})), Reply(tool=("recall", {"name": "a"}))]
        return steps[len(told)] if len(told) < 2 else Reply(text=f"it is {told[-1]}")

    server.answer = answer
    assert ask(tools="remember, recall").status == "succeeded"
    assert rig.ledger.state.all("w")["last"] == "it is blue"
    assert booked(rig.ledger, "w", "cost") == usd("0.0009")


def test_tools_may_be_the_operators_own(ask: Callable[..., Any], rig: Rig, home: Path, server: ChatServer) -> None:
    (home / "agents").mkdir(exist_ok=True)
    (home / "agents" / "stock.py").write_text(
        'def stock(article: str) -> int:\n    """How many are there."""\n    return {"lamp": 7}[article]\n'
    )

    def answer(request: dict[str, Any]) -> Reply:
        told = [m["content"] for m in request["messages"] if m["role"] == "tool"]
        return Reply(text=told[-1]) if told else Reply(tool=("stock", {"article": "lamp"}))

    server.answer = answer
    assert ask(tools="stock.py:stock").status == "succeeded"
    assert rig.ledger.state.all("w")["last"] == "7"


def test_a_page_of_a_private_address_is_not_fetched_for_a_model(
    ask: Callable[..., Any], rig: Rig, server: ChatServer
) -> None:
    def answer(request: dict[str, Any]) -> Reply:
        told = [m["content"] for m in request["messages"] if m["role"] == "tool"]
        return Reply(text=told[-1]) if told else Reply(tool=("fetch_page", {"url": server.url}))

    server.answer = answer
    ask(tools="fetch_page")
    assert "cannot be read" in rig.ledger.state.all("w")["last"]


def test_an_answer_must_fit_its_schema(ask: Callable[..., Any], home: Path, server: ChatServer) -> None:
    server.answer = lambda request: Reply(tool=("final_result", {"price": 7}))
    schema = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}
    assert ask(answer_schema=schema).status == "succeeded"
    assert json.loads(data(home)[0]["answer"]) == {"price": 7}


def test_each_row_is_asked_about_once(ask: Callable[..., Any], rig: Rig, home: Path, server: ChatServer) -> None:
    name = inputs(home, "id,what\n" + "".join(f"{n},thing {n}\n" for n in range(5)))
    asked = {"inputs": name, "key": "id", "batch": 3, "prompt": "Price {{ what }}", "output": "prices.csv"}
    assert [ask(**asked).status for _ in range(3)] == ["succeeded"] * 3
    assert sorted(server.prompts()) == [f"Price thing {n}" for n in range(5)]
    lines = (home / "data" / "prices.csv").read_text().splitlines()
    assert lines[0] == "row_id,id,what,answer,model,cost,at"
    assert len(lines) == 6
    inputs(home, "id,what\n4,thing 4 renamed\n5,thing 5\n")
    ask(**asked)
    assert server.prompts()[5:] == ["Price thing 5"]
    assert booked(rig.ledger, "w", "cost") == usd("0.0018")


def test_a_row_without_an_answer_does_not_hold_up_the_others(
    ask: Callable[..., Any], home: Path, server: ChatServer
) -> None:
    server.answer = lambda request: (
        Reply(status=400, text="too long") if "2" in request["messages"][-1]["content"] else Reply()
    )
    ended = ask(inputs=inputs(home, "1\n2\n3\n", "rows.txt"), prompt="{{ line }}")
    assert ended.status == "failed"
    assert "too long" in ended.error
    assert not ended.crash
    assert sorted(row["line"] for row in data(home)) == ["1", "3"]


def test_a_server_that_is_down_ends_the_run_and_no_row_is_lost(
    ask: Callable[..., Any], home: Path, server: ChatServer
) -> None:
    server.answer = lambda request: Reply(status=401)
    ended = ask(inputs=inputs(home, "1\n2\n", "rows.txt"), prompt="{{ line }}")
    assert (ended.status, ended.crash, len(server.requests)) == ("failed", False, 1)
    assert "refused the key" in ended.error
    assert data(home) == []


@pytest.mark.parametrize(
    ("reply", "cost", "says"),
    [
        (Reply(status=401, text=f"Incorrect API key provided: {KEY}"), "0", "refused the key"),
        (Reply(status=403, text="no"), "0", "does not let this key"),
        (Reply(status=404, text="no such model"), "0", "no such model"),
        (Reply(status=422, text="odd"), "0", "odd"),
        (Reply(status=429, headers={"retry-after": "3600"}), "0", "less often"),
        (Reply(status=503, headers={"retry-after": "3600"}), "0", "HTTP 503"),
        (Reply(status=504), None, "HTTP 504"),
        (Reply(slow_s=1.0), None, "did not answer"),
        (Reply(raw=b"no json"), None, "did not answer"),
        (Reply(raw=b"<html>", headers={"content-type": "text/html"}), None, "no answer"),
    ],
    ids=["401", "403", "404", "422", "429", "503", "504", "timeout", "not json", "html"],
)
def test_what_fails_costs_nothing_unless_nobody_knows_its_end(
    ask: Callable[..., Any], rig: Rig, server: ChatServer, reply: Reply, cost: str | None, says: str
) -> None:
    server.answer = lambda request: reply
    ended = ask(timeout_s=0.5)
    assert ended.status == "failed"
    assert says in ended.error
    assert KEY not in ended.error + rig.log("w")
    charged = booked(rig.ledger, "w", "cost")
    assert charged == usd(cost) if cost is not None else charged > usd("0.01")


def test_a_limit_is_waited_out(ask: Callable[..., Any], rig: Rig, server: ChatServer) -> None:
    replies = iter([Reply(status=429, headers={"retry-after": "0"}), Reply(status=503, headers={"retry-after": "0"})])
    server.answer = lambda request: next(replies, Reply())
    assert ask().status == "succeeded"
    assert len(server.requests) == 3
    assert booked(rig.ledger, "w", "cost") == usd("0.0003")


def test_tokens_that_are_not_told_are_charged_in_full(ask: Callable[..., Any], rig: Rig, server: ChatServer) -> None:
    server.answer = lambda request: Reply(usage=None)
    assert ask(max_tokens=1000).status == "succeeded"
    assert booked(rig.ledger, "w", "cost") > usd("0.01")


def test_a_conversation_that_goes_in_circles_ends(ask: Callable[..., Any], server: ChatServer) -> None:
    server.answer = lambda request: Reply(tool=("recall", {"name": "x"}))
    ended = ask(tools="recall", max_steps=3)
    assert ended.status == "failed"
    assert "no answer" in ended.error
    assert len(server.requests) == 3


def test_two_replicas_ask_about_every_row_once(rig: Rig, home: Path, server: ChatServer) -> None:
    name = inputs(home, "".join(f"row {n}\n" for n in range(12)), "rows.txt")
    config = {
        "prompt": "{{ line }}", "model": "tiny", "base_url": server.url, **PRICES, "inputs": name, "batch": 4,
    }  # fmt: skip
    both = [
        rig.spec(agent="llm_agent", config=config, secrets=("OPENAI_API_KEY",), every_s=0.01, index=n, replicas=2)
        for n in (1, 2)
    ]
    rig.sync(*both)
    until(lambda: len(data(home) + data(home, "w.2.jsonl")) >= 12, "an answer to every row")
    rig.sync()
    until(lambda: not rig.states(), "the end of all runs")
    rows = data(home) + data(home, "w.2.jsonl")
    assert sorted(server.prompts()) == sorted(row["line"] for row in rows) == sorted(f"row {n}" for n in range(12))
    until(lambda: booked(rig.ledger, "w", "cost") == usd("0.0036"), "every answer to be booked once")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model": "nobody-knows"}, "no price is known"),
        ({"price_in": "1"}, "come together"),
        ({"prompt": "{{ open", **PRICES}, "in line 1"),
        ({"answer_schema": {"type": "array"}, **PRICES}, "object"),
        ({"output": "answers.xml", **PRICES}, "must end in"),
        ({"price_in": "-1", "price_out": "1"}, "greater than or equal"),
    ],
)
def test_a_wrong_declaration_is_refused_with_what_to_do(config: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageProblem, match=says):
        checked("llm_agent", LlmAgent, {"prompt": "x", "model": "tiny", **config})


def test_a_published_price_needs_no_declaration() -> None:
    config = checked("llm_agent", LlmAgent, {"prompt": "x", "model": "gpt-5-mini"})
    from workers.agents.llm_prices import Tokens

    assert config.prices.cost(Tokens(1_000_000, 1_000_000)).currency == "USD"
    assert config.prices.cost(Tokens(1, 0)) == usd("0.000001"), "rounded up"


def test_the_key_that_is_needed_follows_from_the_configuration() -> None:
    assert LlmAgent.secrets_of(checked("llm_agent", LlmAgent, {"prompt": "x", "model": "gpt-5-mini"})) == (
        "OPENAI_API_KEY",
    )
    local = {"prompt": "x", "model": "t", "key_variable": "", "base_url": "http://localhost:11434/v1", **PRICES}
    assert LlmAgent.secrets_of(checked("llm_agent", LlmAgent, local)) == ()


def test_a_row_that_was_changed_while_it_waits_holds_up_nothing(
    ask: Callable[..., Any], home: Path, server: ChatServer
) -> None:
    server.answer = lambda request: Reply(status=400, text="too long")
    asked = {"inputs": inputs(home, "id,what\n4,thing\n"), "key": "id", "prompt": "{{ what }}"}
    ask(**asked)
    server.answer = lambda request: Reply()
    inputs(home, "id,what\n4,another\n5,five\n")
    assert ask(**asked).status == "succeeded"
    assert [row["what"] for row in data(home)] == ["five"]


def test_a_row_that_is_too_large_holds_up_nothing(ask: Callable[..., Any], rig: Rig, home: Path) -> None:
    rows = "".join(json.dumps({"a": text}) + "\n" for text in ("x" * 1_100_000, "fine"))
    assert ask(inputs=inputs(home, rows, "rows.jsonl"), prompt="{{ a }}").status == "succeeded"
    assert [row["a"] for row in data(home)] == ["fine"]
    assert "a row is left out" in rig.log("w")


def test_a_line_without_an_end_is_not_read_whole(ask: Callable[..., Any], home: Path) -> None:
    ended = ask(inputs=inputs(home, "x" * 5_000_000, "rows.txt"), prompt="{{ line }}")
    assert (ended.status, ended.crash) == ("failed", False)
    assert "line 1 of" in ended.error


def test_a_long_answer_is_asked_for_once(ask: Callable[..., Any], rig: Rig, home: Path, server: ChatServer) -> None:
    server.answer = lambda request: Reply(text="🐝" * 300_000)
    assert ask().status == "succeeded"
    assert len(server.requests) == len(data(home)) == 1


def test_a_template_that_lacks_a_value_is_no_crash(ask: Callable[..., Any], server: ChatServer) -> None:
    ended = ask(prompt="{{ nope }}")
    assert (ended.status, ended.crash, server.requests) == ("failed", False, [])
    assert "'nope' is undefined" in ended.error


@pytest.mark.parametrize("runtime", ["thread", "process"])
def test_a_run_that_is_to_end_waits_for_no_answer_and_pays_for_it(
    rig: Rig, home: Path, server: ChatServer, runtime: str
) -> None:
    release = threading.Event()

    def never(request: dict[str, Any]) -> Reply:
        release.wait(30.0)
        return Reply()

    server.answer = never
    config = {
        "prompt": "{{ line }}", "model": "tiny", "base_url": server.url, **PRICES,
        "inputs": inputs(home, "one\n", "rows.txt"),
    }  # fmt: skip
    spec = rig.spec(agent="llm_agent", config=config, secrets=("OPENAI_API_KEY",), due_now=True, runtime=runtime)
    rig.sync(spec)
    until(lambda: server.requests, "the request")
    began = time.monotonic()
    rig.sync(replace(spec, intent=Intent.END))
    ended = rig.ended("w")
    assert time.monotonic() - began < 10.0
    release.set()
    assert (ended.status, data(home)) == ("interrupted", [])
    until(lambda: booked(rig.ledger, "w", "cost") > usd("0.01"), "what nobody knows the end of is charged")
    (effect,) = rig.ledger.outbox.of("w")
    assert (effect.state, effect.error) == ("pending", None)
