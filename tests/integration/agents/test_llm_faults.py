"""What asking a language model does when the server, or the way to it, fails; and what that costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from nova.money import Money
from platforms.base import RateLimited, Unreachable, nothing_done
from platforms.line import Line, Patience
from tests.emulators.faults import FAULTS, Fault, Faulty, hold_reading, seconds_for
from tests.emulators.openai_chat import KEY, ChatServer
from tests.hands import QuickHands
from workers.agents.llm_model import PLATFORM, PaidModel, problem_of_request
from workers.agents.llm_prices import Declared

PRICES = Declared(Decimal(1), Decimal(10), Decimal(1), "USD")
FREE = Money.zero("USD")


class Run:
    """Its spending: what is settled, else what was set aside."""

    stopping = False

    def __init__(self) -> None:
        self.charged: list[Money] = []

    @contextmanager
    def spending(self, ceiling: Money, reason: str) -> Iterator[Any]:
        number = len(self.charged)
        self.charged.append(ceiling)
        settle = partial(self.charged.__setitem__, number)
        yield type("Spending", (), {"settle": staticmethod(settle)})


def of_models(fault: Fault) -> Fault:
    """An overloaded server has done nothing and is waited for; what may have been answered is not bought again."""
    if fault.status >= 500:
        return replace(fault, raises=RateLimited)
    raises = Unreachable if fault.act == "garbage" else fault.raises
    return replace(fault, raises=raises, passing=fault.status == 429)


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    said = lambda status: {"error": {"message": f"refused with {status}", "type": "error"}}  # noqa: E731
    with ChatServer() as server, Faulty(server.url, said) as between:
        yield between


@pytest.mark.parametrize("fault", [of_models(fault) for fault in FAULTS], ids=lambda fault: fault.name)
def test_a_question_is_asked_again_only_where_nothing_was_done(fault: Fault, faulty: Faulty) -> None:
    hands, run = QuickHands(), Run()
    hold_reading(fault, faulty, hands, asking(faulty.url, hands, run, seconds_for(fault)[1]))
    if nothing_done(fault.raises()):
        assert set(run.charged[1:]) <= {FREE} or fault.passing
        assert run.charged[-1] == FREE
    else:
        assert FREE not in run.charged


def asking(url: str, hands: QuickHands, run: Run, within_s: float) -> Callable[[], Any]:
    line = Line(PLATFORM, partial(problem_of_request, key="OPENAI_API_KEY", secret=KEY), hands, Patience(attempts=2))

    async def ask() -> Any:
        client = AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0, timeout=within_s)
        chat = OpenAIChatModel("tiny", provider=OpenAIProvider(openai_client=client))
        model = PaidModel(chat, run, PRICES, line, within_s)  # type: ignore[arg-type]
        async with client:
            return await model.request(
                [ModelRequest([UserPromptPart("hi")])], {"max_tokens": 20}, ModelRequestParameters()
            )

    return lambda: asyncio.run(ask())
