"""The agent `shell`: a command of the operator's, metered through its environment and its standard output."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nova.errors import NovaError
from workers.base_worker import BaseWorker
from workers.context import RunContext
from workers.hosts.command_child import REPLY_FD


class CommandFailed(NovaError):
    """The command failed."""


class Shell(BaseWorker):
    """Runs a command by /bin/sh -c. Exit code 0 is success; anything else counts as a crash."""

    class Config(BaseModel):
        """`cwd` defaults to NOVA_HOME; `env` is added to the manager's environment without its secrets."""

        model_config = ConfigDict(extra="forbid")

        command: str = Field(min_length=1, description="What to run, as `sh -c` takes it.")
        cwd: str | None = Field(None, description="The folder to run it in; else NOVA_HOME.")
        env: dict[str, str] = Field(
            default_factory=dict, description='More variables for it, as a JSON object: {"LANG":"C"}.'
        )

    def run(self, ctx: RunContext) -> None:
        config: Shell.Config = ctx.config
        try:
            ended = ctx.command(config.command, cwd=config.cwd, env={**ctx.environment, **config.env, **_told(ctx)})
        except OSError as problem:
            raise CommandFailed(f"the command could not be started: {problem}") from problem
        if ended.refused is not None:
            raise ended.refused
        if ended.problem is not None:
            raise CommandFailed(_with_tail(ended.problem, ended.stderr))
        if ended.code != 0:
            how = f"exit code {ended.code}" if ended.code > 0 else f"killed by signal {-ended.code}"
            raise CommandFailed(_with_tail(f"the command failed: {how}", ended.stderr))


def _told(ctx: RunContext) -> dict[str, str]:
    return {
        "NOVA_WORKER": ctx.worker,
        "NOVA_RUN": ctx.run_id,
        "NOVA_INDEX": str(ctx.index),
        "NOVA_REPLICAS": str(ctx.replicas),
        "NOVA_REPLY_FD": str(REPLY_FD),
        "NOVA_MANAGER": ctx.manager,
    }


def _with_tail(what: str, stderr: str) -> str:
    return f"{what}\n{stderr}" if stderr else what
