"""A language model whose every request is paid for: reserved before, settled by the tokens it took."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from nova.errors import NovaError, Unreachable
from nova.money import Money
from platforms.base import BadAnswer, RateLimited, Stopped, problem_of, retry_after_seconds, without
from platforms.line import Line
from workers.agents.llm_prices import Prices, Tokens

if TYPE_CHECKING:
    from workers.context import RunContext

PLATFORM = "llm"
_NAME = "the language model"
_OVERHEAD = 500  # tokens of a chat's own marks, generously
_UNCLEAR = (408, 502, 504, 520, 522, 524)  # told by what stands before a server, which may be at work or done
_LOOK_S, _LAST_S = 0.2, 3.0  # how often it is looked whether the run is to end; what an answer then has left


class PaidModel(WrapperModel):
    """Each attempt has a reservation of its own, so that no retry is for free.

    A request that the server refused costs nothing; one whose end nobody knows is charged in full. An answer is
    not waited for for long once the run is asked to end.
    """

    def __init__(self, wrapped: Model, ctx: RunContext, prices: Prices, line: Line, timeout_s: float) -> None:
        super().__init__(wrapped)
        self._ctx = ctx
        self._prices = prices
        self._line = line
        self._timeout_s = timeout_s
        self.tokens = Tokens()
        self.cost: Money | None = None

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        most = Tokens(_most_input(messages, model_request_parameters), (model_settings or {}).get("max_tokens", 0))
        loop = asyncio.get_running_loop()

        def attempt() -> ModelResponse:
            asked = self._ask(most, messages, model_settings, model_request_parameters)
            return asyncio.run_coroutine_threadsafe(asked, loop).result()

        return await asyncio.to_thread(self._line.call, "chat", attempt, repeatable=False)

    async def _ask(self, most: Tokens, *request: Any) -> ModelResponse:
        ceiling = self._prices.cost(most)
        with self._ctx.spending(ceiling, f"{self.model_name}, at most {most.output} tokens") as spending:
            try:
                async with asyncio.timeout(self._timeout_s):
                    response = await self._answer(*request)
            except ModelHTTPError as error:
                if error.status_code not in _UNCLEAR:
                    spending.settle(Money.zero(ceiling.currency))
                raise
            used = _used(response)
            actual = ceiling if used is None else self._prices.cost(used)
            spending.settle(actual)
        self._add(used or most, actual)
        return response

    async def _answer(self, *request: Any) -> ModelResponse:
        asked = asyncio.ensure_future(self.wrapped.request(*request))
        left_s = _LAST_S
        try:
            while not (await asyncio.wait({asked}, timeout=_LOOK_S))[0]:
                left_s -= _LOOK_S if self._ctx.stopping else 0.0
                if left_s <= 0:
                    raise Stopped(f"{_NAME} was not waited for: the run is to end")
            return asked.result()
        finally:
            asked.cancel()

    def _add(self, used: Tokens, cost: Money) -> None:
        before = self.tokens
        self.tokens = Tokens(before.input + used.input, before.output + used.output, before.cached + used.cached)
        self.cost = cost if self.cost is None else self.cost + cost


def problem_of_request(error: Exception, key: str, secret: str | None = None) -> NovaError | None:
    """What a failed request means. `key` is the variable that holds the key, `secret` the key itself.

    An overloaded server has done nothing and asks to be left alone for a while, so that it is waited for.
    """
    if isinstance(error, ModelHTTPError):
        retry_after = (error.headers or {}).get("retry-after")
        if error.status_code in _UNCLEAR:
            return Unreachable(f"{_NAME} did not answer (HTTP {error.status_code})", hint="try again later")
        if error.status_code >= 500:
            wait_s = retry_after_seconds(retry_after)
            said = f"{_NAME} failed with HTTP {error.status_code}"
            return RateLimited(said, retry_after_s=wait_s, hint="try again later")
        return problem_of(_NAME, error.status_code, _said(error.body, secret), key=key, retry_after=retry_after)
    if isinstance(error, TimeoutError | ModelAPIError):
        return Unreachable(f"{_NAME} did not answer", hint="check the network and base_url")
    if isinstance(error, UnexpectedModelBehavior | ValidationError):
        return BadAnswer(f"{_NAME} answered with something that is no answer", hint="check base_url")
    return None


def _said(body: object, secret: str | None) -> str:
    inner = body.get("error", body) if isinstance(body, dict) else body
    text = inner.get("message") if isinstance(inner, dict) else inner
    return " ".join(without(str(text or ""), [secret]).split())[:300]


def _most_input(messages: list[ModelMessage], parameters: ModelRequestParameters) -> int:
    """A token is a byte at least, so that the request's bytes bound its tokens from above."""
    tools = sum(len(repr(tool)) for tool in (*parameters.function_tools, *parameters.output_tools))
    return len(ModelMessagesTypeAdapter.dump_json(messages)) + 4 * tools + _OVERHEAD


def _used(response: ModelResponse) -> Tokens | None:
    """None where the server does not say."""
    usage = response.usage
    if not usage.input_tokens and not usage.output_tokens:
        return None
    return Tokens(usage.input_tokens, usage.output_tokens, min(usage.cache_read_tokens, usage.input_tokens))
