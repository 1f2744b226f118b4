"""nova workers scale|pause|resume|kill: one deployment, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.commands.fleet import declaration
from nova.cli.output import emit, line
from nova.cli.params import AsJson, By, SomeWorker, Worker, Yes, person
from nova.cli.render import count
from nova.cli.session import session
from nova.cli.terminal import confirm, note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nova.fleet.documents import Deployment

Everything = Annotated[bool, typer.Option("--all", help="Every deployment.")]


def scale(
    name: Worker,
    replicas: Annotated[int | None, typer.Option("--replicas", metavar="N", help="Exactly so many.")] = None,
    multiplier: Annotated[
        float | None, typer.Option("--multiplier", metavar="M", help="So many times what it has, rounded up.")
    ] = None,
    by: By = None,
    json: AsJson = False,
) -> None:
    """Set how many replicas of a deployment run.

    Example:
      nova workers scale mailer --replicas 3
    """
    from nova.errors import UsageProblem
    from workers.deployments import scale as change

    if (replicas is None) == (multiplier is None):
        raise UsageProblem("give either --replicas or --multiplier", hint="nova workers scale mailer --replicas 3")
    with session() as nova:
        deployment = change(nova, name, replicas=replicas, multiplier=multiplier, by=person(by))
    if json:
        emit(declaration(deployment))
    else:
        line(f"{deployment.name}: {count(deployment.replicas, 'replica')} of at most {deployment.max_replicas}")


def pause(name: SomeWorker = None, everything: Everything = False, by: By = None, json: AsJson = False) -> None:
    """Start no new run; a running one ends by itself.

    It ends at the latest at its timeout. `nova workers kill` ends it now.

    Example:
      nova workers pause mailer
    """
    from workers.deployments import pause as pause_one
    from workers.deployments import pause_all

    _check(name, everything)
    with session() as nova:
        who = person(by)
        done = pause_all(nova, by=who) if name is None else [pause_one(nova, name, by=who)]
    _answer(done, all_of=name is None, json=json)


def resume(name: SomeWorker = None, everything: Everything = False, by: By = None, json: AsJson = False) -> None:
    """Let a paused, cooling or parked deployment run again.

    Of one that was paused by ROI or budget this is your override: its evidence counts from now on.

    Example:
      nova workers resume mailer
    """
    from workers.deployments import resume as resume_one
    from workers.deployments import resume_all

    _check(name, everything)
    with session() as nova:
        who = person(by)
        done = resume_all(nova, by=who) if name is None else [resume_one(nova, name, by=who)]
    _answer(done, all_of=name is None, json=json)


def _check(name: str | None, everything: bool) -> None:
    from nova.errors import UsageProblem

    if (name is None) != everything:
        raise UsageProblem("give either a NAME or --all", hint="`nova workers status` lists the names")


def _answer(done: Iterable[Deployment], *, all_of: bool, json: bool) -> None:
    rows = list(done)
    if json:
        emit({"workers": [_row(row) for row in rows]} if all_of else _row(rows[0]))
        return
    for row in rows:
        line(f"{row.name}: {row.state}")
    if not rows:
        note("nothing to change")


def _row(deployment: Deployment) -> dict[str, Any]:
    return {**declaration(deployment), "pause_reason": deployment.pause_reason}


def kill(
    name: Worker,
    yes: Yes = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="How long to wait for its runs to be gone.")
    ] = "30s",
    by: By = None,
    json: AsJson = False,
) -> None:
    """End a deployment's runs now and never run it again.

    Returns when its runs are gone. It stays listed as killed; `nova deploy … --revive` takes the name again.

    Example:
      nova workers kill mailer --yes
    """
    from nova.clock import parse_duration
    from workers.deployments import kill as end

    timeout_s = parse_duration(timeout)
    with session() as nova:
        nova.fleet.get(name)
        confirm(f"Kill {name} and end its runs?", yes=yes)
        deployment = end(nova, name, by=person(by), timeout_s=timeout_s)
    if json:
        emit(_row(deployment))
    else:
        line(f"{deployment.name}: {deployment.state}")
