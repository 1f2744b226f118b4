"""nova deploy and retire: what is declared."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.complete import agent_names
from nova.cli.output import emit, line
from nova.cli.params import AsJson, By, Worker, Yes, person
from nova.cli.session import session
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment

_MANY = "may be given several times"


def deploy(
    department: Annotated[str, typer.Argument(metavar="DEPARTMENT", help="A name of your choice, such as sales.")],
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT", help="`nova agents list` shows them; or module:Class.", autocompletion=agent_names
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="N", help="What to call it; else after the agent.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="DURATION", help="A run so often; else 60s.")] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", metavar="N", help="How many run at once; else 1.")
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option("--max-replicas", metavar="N", help="The most it may be scaled to; else 10.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="thread|process", help="Where a run lives; else in a thread.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="DURATION", help="The longest a run may take; else 5m.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="AMOUNT/PER", help=f"Such as 20/day; per run, day or month; {_MANY}."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=f"The agent's configuration; {_MANY}.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The agent's configuration as JSON or TOML.")
    ] = None,
    revive: Annotated[
        bool, typer.Option("--revive", help="Take a killed name again; its old evidence is forgotten.")
    ] = False,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Put a worker under nova's care, or change its declaration.

    The same declaration again changes nothing; a different one under the same name updates it and says what changed. A
    running manager notices within a second. The shell agent runs a command: its configuration is `command`, `cwd` and
    `env`.

    Example:
      nova deploy sales shell --name mailer --every 15m --budget 5/day --set command='python3 ~/mailer.py'
    """
    from nova.cli.agent_config import read_config
    from workers.deployments import declare

    given = read_config(config, settings or [])
    with session() as nova:
        done = declare(
            nova,
            department=department,
            agent=agent,
            name=name,
            every=every,
            replicas=replicas,
            max_replicas=max_replicas,
            runtime=runtime,
            timeout=timeout,
            budget=budget or [],
            config=given,
            revive=revive,
            by=person(by),
        )
    if json:
        emit(declaration(done.deployment))
        return
    _say(done.deployment.name, done.created, done.changes)
    _say_whether_it_runs()


def declaration(deployment: Deployment) -> dict[str, Any]:
    """As `deploy --json` shows it; what looks like a secret in the configuration is masked."""
    from workers.deployments import masked

    return {
        "name": deployment.name,
        "department": deployment.department,
        "agent": deployment.agent,
        "runtime": deployment.runtime,
        "state": deployment.state,
        "replicas": deployment.replicas,
        "max_replicas": deployment.max_replicas,
        "every_s": deployment.every_s,
        "timeout_s": deployment.timeout_s,
        "budget": [{"per": limit.per, "limit": limit.limit} for limit in deployment.budget],
        "config": masked(deployment.config),
        "revision": deployment.revision,
    }


def _say(name: str, created: bool, changes: Mapping[str, tuple[Any, Any]]) -> None:
    if created:
        line(f"{name} is deployed")
    elif not changes:
        line(f"{name} is deployed like this already; nothing changed")
    else:
        line(f"{name} is updated")
        for key, (old, new) in changes.items():
            line(f"  {key.removesuffix('_s')}: {_shown(key, old)} -> {_shown(key, new)}")


def _shown(key: str, value: Any) -> str:
    from nova.clock import format_duration
    from workers.deployments import masked

    if key.endswith("_s"):
        return format_duration(value)
    if key == "budget":
        return ", ".join(f"{limit.limit}/{limit.per}" for limit in value) or "none"
    if isinstance(value, Mapping):
        return json_text.dumps(masked(value), default=str, ensure_ascii=False)
    return str(value)


def _say_whether_it_runs() -> None:
    from nova.config import load_settings
    from workers.control import running_managers

    if not running_managers(load_settings()):
        note("no manager runs: nova workers start")


def retire(name: Worker, yes: Yes = False, by: By = None, json: AsJson = False) -> None:
    """Remove a deployment from the fleet; its history stays.

    Its runs are ended. `nova workers kill` keeps it listed instead, and `pause` keeps it ready.

    Example:
      nova retire mailer --yes
    """
    from workers.deployments import retire as remove

    with session() as nova:
        nova.fleet.get(name)
        confirm(f"Retire {name} and end its runs?", yes=yes)
        remove(nova, name, by=person(by))
    if json:
        emit({"name": name, "retired": True})
    else:
        line(f"{name} is retired; its history stays")
