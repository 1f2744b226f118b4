"""The agent `llm_agent`: a prompt with tools, asked on a schedule or once for each row of a file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nova.clock import iso
from nova.config import load_settings
from nova.errors import LedgerConflict, PlatformRefused, Unreachable, UsageProblem
from platforms.base import PlatformFailed
from workers.agents.llm_prices import Declared, Prices, published
from workers.agents.llm_rows import InputProblem, name_of, rows_of
from workers.agents.row_file import SUFFIXES
from workers.agents.row_keeper import RowKeeper, StateOf
from workers.base_worker import BaseWorker, RunResult
from workers.context import RunContext

if TYPE_CHECKING:
    from workers.agents.llm_talk import Talk

_TOPIC, _ROW = "row", "row_id"
_LAST_CHARS = 50_000  # of an answer that stands in the next prompt: a value of the state is bounded
ANSWER_FIELDS = ("answer", "model", "cost")


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) and "[" not in value else value


Names = Annotated[list[str], BeforeValidator(_listed)]


class LlmConfig(BaseModel):
    """What to ask which model, with what at hand, and where the answers go."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(
        min_length=1, description="What to ask. Jinja: {{ a field of the row }}, {{ last }}, {{ now }}, {{ worker }}."
    )
    system: str | None = Field(None, description="What the model is told first, in every conversation.")
    model: str = Field(min_length=1, description="As the server calls it, such as gpt-5-mini.")
    base_url: str = Field("https://api.openai.com/v1", description="Any server that speaks OpenAI's chat completions.")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="The variable that holds the server's key; empty for a server that wants none."
    )
    price_in: Decimal | None = Field(None, ge=0, description="For a million tokens read. Default: as published.")
    price_out: Decimal | None = Field(None, ge=0, description="For a million tokens written. Default: as published.")
    price_cached: Decimal | None = Field(
        None, ge=0, description="For a million tokens read that the server had seen before. Default: price_in."
    )
    price_currency: str = Field("USD", pattern=r"^[A-Z]{3}$", description="Of the prices.")
    max_tokens: int = Field(1024, gt=0, le=1_000_000, description="The longest answer of a request.")
    temperature: float | None = Field(None, ge=0, le=2, description="Default: the model's own.")
    max_steps: int = Field(8, gt=0, le=100, description="Requests of one conversation, those for tools included.")
    timeout_s: float = Field(120.0, gt=0, le=3600, description="For one request.")
    tools: Names = Field(
        [], description="fetch_page, remember, recall, or your own as module:function of NOVA_HOME/agents."
    )
    answer_schema: dict[str, Any] | None = Field(None, description="A JSON schema that each answer must fit.")
    inputs: str | None = Field(
        None, description="A .csv, .jsonl or text file: each row is asked about once. Relative to NOVA_HOME/data."
    )
    key: Names = Field([], description="The fields that make two rows the same; else all.")
    batch: int = Field(10, gt=0, le=1000, description="Rows of one run.")
    output: str | None = Field(
        None, description="A .csv or .jsonl file; relative to NOVA_HOME/data. Default: NAME.jsonl."
    )

    @field_validator("prompt", "system")
    @classmethod
    def _template(cls, text: str | None) -> str | None:
        from workers.agents.templates import compiled

        try:
            compiled(text or "")
        except UsageProblem as problem:
            raise ValueError(problem.message) from None
        return text

    @field_validator("output")
    @classmethod
    def _suffix(cls, output: str | None) -> str | None:
        if output is not None and Path(output).suffix.lower() not in SUFFIXES:
            raise ValueError(f"its name must end in one of {', '.join(SUFFIXES)}")
        return output

    @field_validator("answer_schema")
    @classmethod
    def _object(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None and schema.get("type") != "object":
            raise ValueError('its type must be "object"')
        return schema

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out come together")
        if self.price_cached is not None and (self.price_in is None or self.price_cached > self.price_in):
            raise ValueError("price_cached comes with price_in, and is at most as much")
        if self.key and self.inputs is None:
            raise ValueError("key is for the rows of inputs")
        try:
            self.prices  # noqa: B018 - a model without a price is refused when it is declared
        except UsageProblem as problem:
            raise ValueError(f"{problem.message}; {problem.hint}") from None
        return self

    @property
    def prices(self) -> Prices:
        if self.price_in is None or self.price_out is None:
            return published(self.model, self.base_url)
        cached = self.price_in if self.price_cached is None else self.price_cached
        return Declared(self.price_in, self.price_out, cached, self.price_currency)


class LlmAgent(BaseWorker):
    """Asks a language model, with tools, on a schedule or row by row. Tokens are reserved before each request."""

    Config: ClassVar[type[BaseModel]] = LlmConfig
    secrets: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    costs: ClassVar[str] = (
        "each request's tokens by price_in and price_out, or as published; its most is reserved before"
    )
    tunables: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "temperature": (0.0, 0.3, 0.7, 1.0),
        "max_tokens": (256, 512, 1024, 2048),
        "batch": (5, 10, 20, 50),
    }

    @classmethod
    def secrets_of(cls, config: LlmConfig) -> tuple[str, ...]:
        return (config.key_variable,) if config.key_variable else ()

    def run(self, ctx: RunContext) -> RunResult:
        from workers.agents.llm_talk import NoAnswer, Talk

        try:
            with Talk(ctx, ctx.config) as talk:
                return self._once(ctx, talk) if ctx.config.inputs is None else self._rows(ctx, talk)
        except (NoAnswer, InputProblem, UsageProblem, PlatformFailed, PlatformRefused, Unreachable) as problem:
            return RunResult(False, f"{problem.message} ({problem.hint})" if problem.hint else problem.message)

    def _once(self, ctx: RunContext, talk: Talk) -> RunResult:
        config: LlmConfig = ctx.config
        keeper = _keeper(ctx, "run", ())
        answer = talk.ask({"last": ctx.state.get("last", "")})
        keeper.add([{"run": ctx.run_id, **answer.fields}], iso(ctx.now()))
        ctx.state["last"] = answer.text[:_LAST_CHARS]
        return RunResult(message=f"{config.model} answered: {answer.told}")

    def _rows(self, ctx: RunContext, talk: Talk) -> RunResult:
        config: LlmConfig = ctx.config
        path = _data(config.inputs or "")
        keeper = _keeper(ctx, _ROW, next(rows_of(path), {}))
        self._feed(ctx, keeper, path)
        answered = 0
        for effect in ctx.outbox.due(_TOPIC):
            with effect:
                if not keeper.has({_ROW: effect.key}):
                    answer = talk.ask(effect.payload)
                    keeper.add([{_ROW: effect.key, **effect.payload, **answer.fields}], iso(ctx.now()))
            answered += effect.error is None
            if talk.down is not None:
                return RunResult(False, f"{answered} rows answered; then {talk.down.message}")
            if answered >= config.batch:
                break
        return RunResult(message=f"{answered} rows answered")

    def _feed(self, ctx: RunContext, keeper: RowKeeper, path: Path) -> None:
        """Puts the next rows that nobody was asked about into the outbox, where each is one replica's at a time."""
        config: LlmConfig = ctx.config
        put = 0
        for row in rows_of(path):
            name = name_of(row, config.key)
            put += not keeper.has({_ROW: name}) and _put(ctx, name, row)
            if put >= config.batch or ctx.stopping:
                return


def _put(ctx: RunContext, name: str, row: Mapping[str, str]) -> bool:
    """Whether the row is news. One that cannot be taken does not hold up the others."""
    try:
        return ctx.outbox.put(_TOPIC, name, dict(row))
    except LedgerConflict:
        ctx.log.info("the row %s was changed after it was taken: it is asked about as it was", name)
    except UsageProblem as problem:
        ctx.log.warning("a row is left out: %s", problem.message)
    return False


def _keeper(ctx: RunContext, name: str, fields: Mapping[str, str] | tuple[()]) -> RowKeeper:
    """Of this replica's own file: the first one's is named as declared, those of others have their number too."""
    path = _data(ctx.config.output or f"{ctx.worker}.jsonl")
    if ctx.index > 1:
        path = path.with_name(f"{path.stem}.{ctx.index}{path.suffix}")
    columns = [name, *fields, *ANSWER_FIELDS]
    keeper = RowKeeper(
        StateOf(ctx.state, f"{ctx.index}."), path, name=path.name, fields=columns, key=(name,), stamp="at"
    )
    keeper.recover()
    return keeper


def _data(path: str) -> Path:
    return load_settings().nova_home / "data" / Path(path).expanduser()
