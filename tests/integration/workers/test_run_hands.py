"""What a platform's client may ask of a run: the same in a thread and in a process of its own."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from nova.demo.storefront import Fault, Storefront
from nova.errors import Refused
from nova.ledger.limits import Limit
from nova.money import Money
from platforms.pace import Paces
from workers.hosts.base import Spec

from .conftest import Rig, booked


@pytest.fixture(params=["thread", "process"])
def runtime(request: pytest.FixtureRequest) -> Any:
    return request.param


# A vendor is a file: a line for each thing it has accepted.
PRELUDE = """
from pathlib import Path
from nova.errors import Unreachable
from nova.money import Money
from platforms.base import Declined, InDoubt, RateLimited, Stopped
from platforms.line import Line, Patience

vendor = Path({vendor!r})
hands = ctx.platforms._hands
line = Line("vendor", lambda error: None, hands, Patience(attempts=1))

def accept(key, answer=None):
    with vendor.open("a") as file:
        file.write(key + "\\n")
    if isinstance(answer, BaseException):
        raise answer
    return {{"id": key}}

def once(content, answer=None, find=None):
    def act(key):
        return line.call("send", lambda: accept(key, answer), repeatable=False)
    return hands.once("vendor send", hands.key("send", content), {{"to": content}}, act, find)
"""


class Vendor:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def accepted(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor(tmp_path / "vendor")


def spec(rig: Rig, runtime: str, vendor: Vendor, body: str, worker: str = "w", **more: Any) -> Spec:
    text = PRELUDE.format(vendor=str(vendor.path)) + dedent(body)
    found = rig.process(text, worker, **more)
    if runtime == "process":
        return found
    agents: Any = rig.services.agents
    agents[worker] = runpy.run_path(str(rig.agents / f"{worker}.py"))["Agent"]
    return rig.spec(worker, **more)


def again(rig: Rig, count: int) -> Any:
    """The next run, at once: it is the `count`-th that has ended."""
    rig.leap(4000)
    return rig.ended("w", count)


KEYS = """
keys = [hands.key("pay", "5"), hands.key("pay", "5"), hands.key("pay", "6")]
ctx.state[str(len(ctx.state))] = keys
return RunResult(len(ctx.state) > 2, "no luck")
"""


def test_a_run_made_again_repeats_its_keys_and_the_run_after_a_success_has_new_ones(
    rig: Rig, runtime: str, vendor: Vendor
) -> None:
    rig.sync(spec(rig, runtime, vendor, KEYS))
    rig.ended("w", 1)
    for count in (2, 3, 4):
        again(rig, count)
    first, second, third, after = (rig.ledger.state.all("w")[str(n)] for n in range(4))
    assert first == second == third
    assert len(set(first)) == 3, "the second of the same is another effect"
    assert not set(after) & set(first)


SELLS = """
from platforms.stripe_integration import Stripe

client = Stripe("sk_test_nevershown00000000000000", {url!r}, hands=hands)
paid = client.payments.create(Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True)
client.close()
ctx.state[str(len(ctx.state))] = [paid.id, paid.worker, paid.metadata["nova_run"]]
return RunResult(len(ctx.state) > 2, "no luck")
"""


def test_a_run_made_again_takes_a_payment_once_and_it_is_the_workers(rig: Rig, runtime: str, vendor: Vendor) -> None:
    with Storefront() as store:
        rig.sync(spec(rig, runtime, vendor, SELLS.format(url=store.url)))
        rig.ended("w", 1)
        for count in (2, 3, 4):
            again(rig, count)
        first, second, third, after = (rig.ledger.state.all("w")[str(n)] for n in range(4))
        assert first == second == third and first[1] == "w"
        assert after[0] != first[0] and after[2] != first[2]
        assert len(store.account.newest_first("charge")) == 2


CHARGES = """
from platforms.stripe_integration import Stripe

client = Stripe("sk_test_nevershown00000000000000", {url!r}, hands=hands, patience=Patience(attempts=1))
paid = client.payments.create(Money.parse("9.00", "USD"), payment_method="pm_card_visa", confirm=True)
ctx.state[str(len(ctx.state))] = paid.id
return RunResult(False, "no luck")
"""


def test_a_payment_that_was_made_is_told_again_when_stripe_has_forgotten_its_key(
    rig: Rig, runtime: str, vendor: Vendor
) -> None:
    with Storefront() as store:
        rig.sync(spec(rig, runtime, vendor, CHARGES.format(url=store.url)))
        rig.ended("w", 1)
        store._replies.clear()
        again(rig, 2)
        first, second = rig.ledger.state.all("w").values()
        assert first == second and len(store.account.newest_first("charge")) == 1
    (effect,) = rig.ledger.outbox.of("w")
    assert (effect.state, effect.payload["amount"]) == ("done", 900)
    assert set(effect.result) == {"id", "content"}, "nothing of customers, and no secret"


def test_a_payment_that_was_cut_is_asked_for_again_while_stripe_knows_its_key(rig: Rig, vendor: Vendor) -> None:
    with Storefront() as store:
        store.fail(Fault("lost", path="/v1/payment_intents"))
        rig.sync(spec(rig, "thread", vendor, CHARGES.format(url=store.url)))
        rig.ended("w", 1)
        store.fail(Fault("rate_limit", path="/v1/payment_intents"))
        assert "less often" in again(rig, 2).error
        assert rig.ledger.outbox.counts("w")["doubtful"] == 1, "a limit tells nothing of the first attempt"
        assert again(rig, 3).error == "no luck"
        assert len(store.account.newest_first("charge")) == 1


def test_a_payment_that_was_cut_is_in_doubt_when_stripe_may_have_forgotten_its_key(
    rig: Rig, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platforms.stripe_requests._KNOWN_S", 0.0)
    with Storefront() as store:
        store.fail(Fault("lost", path="/v1/payment_intents"))
        rig.sync(spec(rig, "thread", vendor, CHARGES.format(url=store.url)))
        rig.ended("w", 1)
        assert "not done again" in again(rig, 2).error
        assert len(store.account.newest_first("charge")) == 1


UNSURE = """
first, second = hands.key("pay", "5"), hands.key("pay", "5")

def pay(key, problem):
    def request():
        raise problem
    try:
        line.call("pay", request, key=key)
    except type(problem):
        return hands.key("pay", "5")

assert pay(first, Unreachable("cut")) == first, "asked again, it may have been paid"
assert pay(second, Declined("no")) not in (first, second), "this was not paid: the next is another attempt"
ctx.state["done"] = True
"""


def test_an_agent_that_asks_again_for_what_was_cut_pays_once(rig: Rig, runtime: str, vendor: Vendor) -> None:
    rig.sync(spec(rig, runtime, vendor, UNSURE))
    assert rig.ended("w").error is None


SENDS = """
sent = [once("kim"), once("kim"), once("lee")]
ctx.state[str(len(ctx.state))] = sent
return RunResult(len(ctx.state) > 1, "no luck")
"""


def test_what_was_done_before_is_only_told_again(rig: Rig, runtime: str, vendor: Vendor) -> None:
    rig.sync(spec(rig, runtime, vendor, SENDS))
    rig.ended("w", 1)
    assert again(rig, 2).status == "succeeded"
    assert rig.ledger.state.all("w")["0"] == rig.ledger.state.all("w")["1"]
    assert len(vendor.accepted) == len(set(vendor.accepted)) == 3
    again(rig, 3)
    assert len(set(vendor.accepted)) == 6, "a run after a success means its effects anew"


DOUBT = 'once("kim", Unreachable("cut off"))'
SETTLED = 'ctx.state["told"] = once("kim")'
FOUND = 'ctx.state["told"] = once("kim", find=lambda key: {"id": "found"})'
NOT_FOUND = 'ctx.state["told"] = once("kim", find=lambda key: None)'


def doubted(rig: Rig, runtime: str, vendor: Vendor, then: str) -> Any:
    """Two runs: the first does not hear how it ended, the second is `then`."""
    body = f"if not vendor.exists():\n    {DOUBT}\nelse:\n    {then}"
    rig.sync(spec(rig, runtime, vendor, body))
    run = rig.ended("w", 1)
    assert (run.status, run.crash, run.error) == ("failed", False, "cut off")
    (effect,) = rig.ledger.outbox.of("w")
    assert (effect.state, effect.topic, effect.error) == ("doubtful", "platform:vendor send", "cut off")
    return again(rig, 2)


def test_what_may_have_been_done_is_not_repeated(rig: Rig, runtime: str, vendor: Vendor) -> None:
    run = doubted(rig, runtime, vendor, SETTLED)
    assert (run.status, run.crash) == ("failed", False)
    assert "not done again" in run.error
    assert len(vendor.accepted) == 1
    assert rig.ledger.outbox.counts("w")["doubtful"] == 1
    (effect,) = rig.ledger.outbox.of("w")
    assert (effect.attempts, effect.error) == (1, "cut off"), "it is still told why"
    assert rig.ledger.once.settle("w", effect.key, by="kim")[0].state == "done"
    with pytest.raises(Refused):
        rig.ledger.once.settle("w", effect.key, by="kim")
    assert again(rig, 3).status == "succeeded", "a person saw that it was done"
    assert (len(vendor.accepted), rig.ledger.state.all("w")["told"]) == (1, None)


def test_a_person_may_have_it_done_again(rig: Rig, runtime: str, vendor: Vendor) -> None:
    doubted(rig, runtime, vendor, SETTLED)
    (effect,) = rig.ledger.outbox.of("w")
    rig.ledger.outbox.retry("w", effect.key, by="kim")
    assert again(rig, 3).status == "succeeded"
    assert vendor.accepted == [effect.key, effect.key]


@pytest.mark.parametrize(
    ("runtime", "then", "accepted"), [("thread", FOUND, 1), ("process", FOUND, 1), ("thread", NOT_FOUND, 2)]
)
def test_the_vendor_is_asked_where_it_can_tell(
    then: str, accepted: int, rig: Rig, runtime: str, vendor: Vendor
) -> None:
    assert doubted(rig, runtime, vendor, then).status == "succeeded"
    assert len(vendor.accepted) == accepted
    (effect,) = rig.ledger.outbox.of("w", ["done"])
    assert effect.result == rig.ledger.state.all("w")["told"]


REFUSED = """
for problem in (Declined("no"), RateLimited(retry_after_s=0.2)):
    try:
        once("kim", problem)
    except type(problem) as caught:
        ctx.state[type(caught).__name__] = getattr(caught, "retry_after_s", 0)
try:
    once("lee", Unreachable("cut off"))
except Unreachable:
    ctx.state["same run"] = once("lee", find=lambda key: {"id": key})
"""


def test_what_was_surely_not_done_leaves_nothing_behind(rig: Rig, runtime: str, vendor: Vendor) -> None:
    rig.sync(spec(rig, runtime, vendor, REFUSED))
    assert rig.ended("w").status == "succeeded"
    state = rig.ledger.state.all("w")
    assert (state["Declined"], state["RateLimited"]) == (0, 0.2)
    (effect,) = rig.ledger.outbox.of("w")
    assert (effect.state, effect.payload) == ("done", {"to": "lee"}), "asked for again, it is the same effect"
    assert len(vendor.accepted) == 3


def test_a_killed_process_may_have_done_it(rig: Rig, vendor: Vendor) -> None:
    rig.sync(
        spec(
            rig,
            "process",
            vendor,
            "def die(key):\n    accept(key)\n    os.kill(os.getpid(), 9)\n"
            """
if vendor.exists():
    once("kim")
hands.once("vendor send", hands.key("send", "kim"), {}, die)
""",
        )
    )
    assert rig.ended("w", 1).crash
    assert "not done again" in rig.ended("w", 2).error, "a crash is made again by itself"
    assert rig.ledger.outbox.counts("w")["doubtful"] == 1
    assert len(vendor.accepted) == 1


def test_a_process_that_is_killed_while_it_waits_for_its_turn_leaves_no_doubt(rig: Rig, vendor: Vendor) -> None:
    body = """
if not vendor.exists():
    vendor.touch()
    hands.pace = lambda lane, every_s: 60.0
    hands._desk.wait = lambda seconds: os.kill(os.getpid(), 9)
once("kim")
"""
    rig.sync(spec(rig, "process", vendor, body))
    assert rig.ended("w", 1).crash
    assert rig.ended("w", 2).status == "succeeded", "a crash is made again by itself"
    assert len(vendor.accepted) == 1


def test_after_a_wait_the_effect_is_taken_again_or_left_to_who_took_it(rig: Rig, vendor: Vendor) -> None:
    body = """
waits = [0, 1.0]
hands.pace = lambda lane, every_s: waits.pop()
once("kim")
hands._desk.wait = lambda seconds: hands._desk._ledger.once.begin("w", ctx.run_id, "vendor send", key, None) and False
waits, key = [0, 1.0], hands.key("send", "kim")
hands.once("vendor send", key, {}, lambda key: line.call("send", lambda: accept(key), repeatable=False))
"""
    rig.sync(spec(rig, "thread", vendor, body))
    run = rig.ended("w", 1)
    assert (run.status, len(vendor.accepted)) == ("failed", 1)
    assert "is at platform:vendor send" in run.error


PAYS = """
try:
    line.call("post", lambda: accept("post"), price=Money.parse(ctx.config["price"], "USD"))
finally:
    ctx.state["asked"] = len(vendor.read_text()) if vendor.exists() else 0
"""


def test_a_call_is_paid_for_or_not_made(rig: Rig, runtime: str, vendor: Vendor) -> None:
    limits = (Limit("worker:w", "day", Money.parse("1", "USD")),)
    rig.sync(spec(rig, runtime, vendor, PAYS, config={"price": "0.25"}, limits=limits))
    assert rig.ended("w").status == "succeeded"
    assert booked(rig.ledger, "w", "cost") == Money.parse("0.25", "USD")
    rig.sync(spec(rig, runtime, vendor, PAYS, config={"price": "5"}, limits=limits))
    assert again(rig, 2).status == "interrupted"
    assert vendor.accepted == ["post"]
    assert booked(rig.ledger, "w", "cost") == Money.parse("0.25", "USD")


def test_a_price_that_cannot_be_counted_leaves_nothing_in_doubt(rig: Rig, vendor: Vendor) -> None:
    body = """
price = Money.parse("0.25", "CHF")
def act(key):
    return line.call("send", lambda: accept(key), repeatable=False, price=price)
hands.once("vendor send", hands.key("send", "kim"), {}, act)
"""
    rig.sync(spec(rig, "thread", vendor, body))
    assert "there is no rate" in rig.ended("w").error
    assert (vendor.accepted, rig.ledger.outbox.of("w")) == ([], [])


ENDS = {
    "limited": ('RateLimited("slowly", retry_after_s=3)', "failed", False),
    "down": ('Unreachable("vendor is down")', "failed", False),
    "declined": ('Declined("no")', "failed", True),
    "stopped": ('Stopped("asked to end")', "interrupted", False),
}


def test_how_a_run_ends_that_a_platform_failed(rig: Rig, runtime: str, vendor: Vendor) -> None:
    rig.sync(*(spec(rig, runtime, vendor, f"raise {raised}", worker) for worker, (raised, *_) in ENDS.items()))
    for worker, (raised, status, crash) in ENDS.items():
        run = rig.ended(worker)
        assert (worker, run.status, run.crash) == (worker, status, crash)
        assert run.error in raised


def test_threads_and_processes_of_a_manager_share_limits_and_holds(rig: Rig, vendor: Vendor) -> None:
    exchange = rig.services.exchange
    assert exchange is not None
    exchange.paces.hold("vendor/write", 500.0)
    body = 'ctx.state["wait"] = [hands.pace("vendor/write"), hands.pace("vendor")]\nhands.hold("vendor", 90.0)'
    for runtime in ("thread", "process"):
        rig.sync(spec(rig, runtime, vendor, body, runtime))
        assert rig.ended(runtime).status == "succeeded"
    (in_thread, free), (in_process, held) = (rig.ledger.state.all(name)["wait"] for name in ("thread", "process"))
    assert (400 < in_thread <= 500, 400 < in_process <= 500, free) == (True, True, 0)
    assert 50 < held <= 90, "what a thread was asked to wait, the process waits too"
    assert 50 < exchange.paces.take("vendor") <= 90


def test_replicas_share_what_the_platform_allows(rig: Rig, vendor: Vendor) -> None:
    assert rig.services.exchange is not None
    rig.services.exchange.paces = Paces({"vendor": ((5, 3600),)})
    body = 'ctx.state[ctx.instance] = [hands.pace("vendor") == 0 for _ in range(4)]'
    one = spec(rig, "process", vendor, body, replicas=2)
    rig.sync(one, replace(one, index=2))
    rig.ended("w", 2)
    assert sum(sum(went) for went in rig.ledger.state.all("w").values()) == 5


def test_calls_of_every_run_are_counted(rig: Rig, runtime: str, vendor: Vendor) -> None:
    body = 'line.call("send", lambda: accept("a"))\nline.call("send", lambda: accept("b", Unreachable("down")))'
    rig.sync(spec(rig, runtime, vendor, body))
    rig.ended("w")
    assert rig.services.exchange is not None
    (counted,) = rig.services.exchange.health.take()
    assert (counted.platform, counted.calls, counted.errors, counted.limited) == ("vendor", 2, 1, 0)
    assert counted.last_error == "send: down"
