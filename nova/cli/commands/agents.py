"""nova agents: what can be deployed."""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any

import typer

from nova.cli.complete import agent_names
from nova.cli.output import Column, emit, facts, line, plain, table
from nova.cli.params import AsJson
from nova.cli.session import session
from nova.cli.terminal import note


def list_agents(json: AsJson = False) -> None:
    """Show what can be deployed.

    The agents that ship, those in NOVA_HOME/agents, and those of installed packages.

    Example:
      nova agents list
    """
    from workers.agents.registry import describe_all

    with session() as nova:
        agents = describe_all(nova.settings.nova_home)
    if json:
        emit({"agents": agents})
        return
    table((Column("agent"), Column("from"), Column("what it does", wrap=True)), [_row(agent) for agent in agents])
    note("nova agents show AGENT explains one; nova agents new NAME writes your own")


def _row(agent: dict[str, Any]) -> list[str]:
    return [agent["name"], agent["source"], agent["help"] or agent.get("error") or ""]


def show(
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="As listed, or module:Class.", autocompletion=agent_names)
    ],
    json: AsJson = False,
) -> None:
    """Show an agent and the configuration it takes.

    Example:
      nova agents show shell
    """
    from workers.agents.registry import describe

    with session() as nova:
        found = describe(agent, nova.settings.nova_home)
    if json:
        emit(found)
        return
    facts(
        [
            ("agent", found["name"]),
            ("from", found["source"]),
            ("does", found["help"]),
            ("scalable", str(found["scalable"]).lower()),
            *([("secrets", ", ".join(found["secrets"]))] if found["secrets"] else []),
            *([("costs", found["costs"])] if found["costs"] else []),
            *([("imputed cost", found["imputed_cost"])] if found["imputed_cost"] else []),
            *(("tunable", _tunable(name, values)) for name, values in found["tunables"].items()),
        ]
    )
    if found["config"]:
        line()
        columns = (Column("--set"), Column("type"), Column("default"), Column("meaning", wrap=True))
        table(columns, [_field(field) for field in found["config"]])


def _tunable(name: str, values: list[Any]) -> str:
    return f"{name}: {' | '.join(map(str, values)) or 'as each deployment is configured'}"


def _field(field: dict[str, Any]) -> list[str]:
    value = field["default"]
    default = "required" if field["required"] else "-" if value is None else json_text.dumps(value, default=plain)
    return [field["name"], field["type"], default, field["help"] or ""]


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as price_watch.")],
    json: AsJson = False,
) -> None:
    """Write the file of a new agent, ready to be deployed.

    Example:
      nova agents new price_watch
    """
    from workers.agents.scaffold import scaffold

    with session() as nova:
        path = scaffold(nova.settings.nova_home, name)
    if json:
        emit({"name": name, "path": path})
    else:
        line(f"{path} is written")
        note(f"try it: nova deploy research {name} --every 1m; nova workers start")
