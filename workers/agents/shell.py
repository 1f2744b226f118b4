"""The agent `shell`: a command of the operator's, metered through its environment and its standard output."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from nova.errors import NovaError
from workers.base_worker import BaseWorker
from workers.context import RunContext
from workers.hosts.shell_run import REPLY_FD

# What the manager knows and a command has no business with, unless its own configuration gives it.
_SECRET = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|^NOVA_DATABASE_URL$|^NOVA_ALERT_URLS$|_DSN$", re.IGNORECASE)


class CommandFailed(NovaError):
    """The command failed."""


class Shell(BaseWorker):
    """Runs a command by /bin/sh -c. Exit code 0 is success; anything else counts as a crash."""

    class Config(BaseModel):
        """`cwd` defaults to NOVA_HOME; `env` is added to the manager's environment without its secrets."""

        model_config = ConfigDict(extra="forbid")

        command: str = Field(min_length=1)
        cwd: str | None = None
        env: dict[str, str] = Field(default_factory=dict)

    kills: ClassVar[bool] = True

    def run(self, ctx: RunContext) -> None:
        config: Shell.Config = ctx.config
        try:
            ended = ctx.command(
                config.command, cwd=config.cwd, env={**clean_environment(os.environ), **config.env, **_told(ctx)}
            )
        except OSError as problem:
            raise CommandFailed(f"the command could not be started: {problem}") from problem
        if ended.refused is not None:
            raise ended.refused
        if ended.problem is not None:
            raise CommandFailed(_with_tail(ended.problem, ended.stderr))
        if ended.code != 0:
            how = f"exit code {ended.code}" if ended.code > 0 else f"killed by signal {-ended.code}"
            raise CommandFailed(_with_tail(f"the command failed: {how}", ended.stderr))


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what looks like a secret."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}


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
