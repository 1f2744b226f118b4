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
        typer.Option("--budget", metavar="AMOUNT/PER", help=f"Such as 20/day; per run, day, month or total; {_MANY}."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=f"The agent's configuration; {_MANY}.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The agent's configuration as JSON or TOML.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="EXPRESSION", help="Run by the clock instead, as '0 9 * * mon-fri'.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="Of --cron and --window; else NOVA_TIMEZONE.")
    ] = None,
    at_most: Annotated[
        int, typer.Option("--at-most", metavar="N", min=0, help="Missed runs of --cron to make up for: 1, 0 or more.")
    ] = 1,
    jitter: Annotated[
        str | None, typer.Option("--jitter", metavar="DURATION", help="Begin each run up to so much later.")
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option("--window", metavar="SPAN", help=f"Begin runs only then: 'mon-fri 09:00-17:00'; {_MANY}."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One run, and then no more.")] = False,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", metavar="SIZE", help="Of each process, such as 512MB.")
    ] = None,
    cpu_limit: Annotated[
        str | None, typer.Option("--cpu-limit", metavar="DURATION", help="Processor time of one run, such as 5m.")
    ] = None,
    open_files: Annotated[
        int | None, typer.Option("--open-files", metavar="N", min=16, help="The most files a process may have open.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", metavar="N", min=1, help="The most processes an instance may be.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="VARIABLE", help=f"A secret that its processes are given; {_MANY}."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="VARIABLE", help=f"A variable that its processes are given; {_MANY}."),
    ] = None,
    health: Annotated[
        list[str] | None,
        typer.Option(
            "--health", metavar="RULE=VALUE", help=f"When a run is ended or its breaker opens, as velocity=5; {_MANY}."
        ),
    ] = None,
    imputed: Annotated[
        str | None,
        typer.Option("--imputed", metavar="AMOUNT/PER", help="Costs it does not meter: 0.02/run or 0.50/hour."),
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
    from nova.clock import parse_duration
    from nova.fleet.terms import Resources, Schedule, parse_size
    from workers.deployments import declare

    given = read_config(config, settings or [])
    schedule = Schedule(
        cron=cron,
        timezone=timezone or "",
        at_most=at_most,
        jitter_s=parse_duration(jitter) if jitter else 0.0,
        windows=tuple(window or ()),
        once=once,
    )
    resources = Resources(
        memory_bytes=parse_size(memory_limit) if memory_limit else None,
        cpu_s=parse_duration(cpu_limit) if cpu_limit else None,
        open_files=open_files,
        processes=processes,
    )
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
            schedule=schedule,
            resources=resources,
            health=health or [],
            imputed=imputed,
            secrets=secret or [],
            env=env or [],
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
    from nova.fleet.terms import plain
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
        "schedule": plain(deployment.schedule),
        "resources": plain(deployment.resources),
        "health": plain(deployment.health),
        "imputed": plain(deployment.imputed) if deployment.imputed else None,
        "secrets": list(deployment.secrets),
        "env": list(deployment.env),
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
    if key in ("schedule", "resources", "health", "imputed"):
        return _terms(value)
    if key == "budget":
        return ", ".join(f"{limit.limit}/{limit.per}" for limit in value) or "none"
    if isinstance(value, Mapping):
        return json_text.dumps(masked(value), default=str, ensure_ascii=False)
    return str(value)


def _terms(value: Any) -> str:
    """Only what differs from the default, as the options would say it."""
    from nova.fleet.terms import ImputedCost, plain

    if value is None or isinstance(value, ImputedCost):
        return str(value or "none")
    usual = plain(type(value)())
    given = {key: one for key, one in plain(value).items() if usual[key] != one}
    return ", ".join(_term(key, one) for key, one in given.items()) or "the default"


def _term(key: str, value: Any) -> str:
    from nova.cli.render import size
    from nova.clock import format_duration

    name = key.removesuffix("_s").removesuffix("_bytes").replace("_", "-")
    if key.endswith("_s") and value is not None:
        return f"{name}={format_duration(value)}"
    if key == "memory_bytes" and value is not None:
        return f"{name}={size(value)}"
    if isinstance(value, list):
        return f"{name}={'; '.join(map(str, value))}"
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


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
