"""The conversations of one run with a language model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from openai import AsyncOpenAI
from pydantic_ai import Agent, StructuredDict
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from nova.config import load_settings
from nova.errors import NovaError, PlatformNotConfigured, PlatformRefused, Unreachable
from nova.money import Money
from platforms.base import Missing
from workers.agents.llm_model import PLATFORM, PaidModel, problem_of_request
from workers.agents.llm_tools import tools_of
from workers.agents.templates import rendered

if TYPE_CHECKING:
    from workers.agents.llm_agent import LlmConfig
    from workers.context import RunContext

_OPENAI = "https://api.openai.com/"


class NoAnswer(NovaError):
    """The conversation ended without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`output` is a text, or what fits the schema."""

    output: Any
    model: str
    cost: Money
    input_tokens: int
    output_tokens: int

    @property
    def text(self) -> str:
        return self.output if isinstance(self.output, str) else json.dumps(self.output, ensure_ascii=False)

    @property
    def told(self) -> str:
        return f"{self.input_tokens} tokens read, {self.output_tokens} written, {self.cost} {self.cost.currency}"

    @property
    def fields(self) -> dict[str, str]:
        return {"answer": self.text, "model": self.model, "cost": str(self.cost)}


class Talk:
    """Over one connection. `down` is why it is of no use to ask anything else in this run."""

    def __init__(self, ctx: RunContext, config: LlmConfig) -> None:
        self._ctx = ctx
        self._config = config
        self._tools = tools_of(config.tools, ctx, load_settings().nova_home)
        self._prices = config.prices
        self._line = ctx.platforms.line(
            PLATFORM, partial(problem_of_request, key=config.key_variable, secret=self._key())
        )
        self._runner = asyncio.Runner()
        self.down: NovaError | None = None
        self._client = AsyncOpenAI(
            api_key=self._key(), base_url=config.base_url, max_retries=0, timeout=config.timeout_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with self._runner:
            self._runner.run(self._client.close())

    def ask(self, values: Mapping[str, Any]) -> Answer:
        """`values` are what the prompt's template is filled in with. Raises NovaErrors."""
        config = self._config
        given = {**values, "worker": self._ctx.worker, "now": self._ctx.now()}
        prompt, system = (rendered(text, given) for text in (config.prompt, config.system or ""))
        model = self._model()
        agent = Agent(
            model,
            deps_type=type(self._ctx),
            instructions=system or None,
            tools=self._tools,
            output_type=str if config.answer_schema is None else StructuredDict(config.answer_schema, name="answer"),
            model_settings=self._settings(),
        )
        talking = agent.run(prompt, deps=self._ctx, usage_limits=UsageLimits(request_limit=config.max_steps))
        try:
            result = self._runner.run(talking)
        except AgentRunError as problem:
            raise NoAnswer(f"{config.model} came to no answer: {problem}"[:500]) from problem
        except (Unreachable, PlatformRefused, Missing) as problem:
            self.down = problem
            raise
        cost = model.cost or Money.zero(config.price_currency)
        return Answer(result.output, config.model, cost, model.tokens.input, model.tokens.output)

    def _model(self) -> PaidModel:
        config = self._config
        profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=config.base_url.startswith(_OPENAI))
        chat = OpenAIChatModel(config.model, provider=OpenAIProvider(openai_client=self._client), profile=profile)
        return PaidModel(chat, self._ctx, self._prices, self._line, config.timeout_s)

    def _settings(self) -> ModelSettings:
        settings = ModelSettings(max_tokens=self._config.max_tokens)
        if self._config.temperature is not None:
            settings["temperature"] = self._config.temperature
        return settings

    def _key(self) -> str:
        name = self._config.key_variable
        if not name:
            return "none"
        key = self._ctx.environment.get(name)
        if not key:
            raise PlatformNotConfigured("the language model has no key", hint=f"set {name}")
        return key
