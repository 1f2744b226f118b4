"""What can be deployed: agents that ship, files of NOVA_HOME/agents, what packages publish, and any module:Class."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nova.errors import NotFound, NovaError, UsageProblem
from workers.agents.configuration import ConfigField, checked, fields_of
from workers.agents.sources import line_of, only_worker, workers_in

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from workers.base_worker import BaseWorker

GROUP = "nova.agents"
ALIASES = {"scraper": "scraper_agent"}
PYTHON = "python"
BUILT_IN = {
    "shell": "shell.py:Shell",
    PYTHON: "",
    "email_agent": "email_agent.py:EmailAgent",
    "llm_agent": "llm_agent.py:LlmAgent",
    "product_agent": "product_agent.py:ProductAgent",
    "scraper_agent": "scraper.py:ScraperAgent",
    "subscription_agent": "subscription_agent.py:SubscriptionAgent",
    "social_agent": "social_agent.py:SocialAgent",
}
COMMANDS = ("shell",)  # agents of nova's own whose runs are commands: process groups, whatever runtime is declared
_PYTHON_SUMMARY = "Runs a class of your own: target=package.module:Class, and the settings of that class."

Resolver = Callable[[str, Mapping[str, Any]], "tuple[type[BaseWorker], Any]"]


class HasHome(Protocol):
    @property
    def nova_home(self) -> Path: ...


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An agent as far as it can be told without running it. `error` says why it cannot be deployed."""

    name: str
    source: str
    summary: str
    load: Callable[[], type[BaseWorker]]
    error: str | None = None


def find(agent: str, home: Path) -> AgentInfo:
    """By name, by `module:Class`, or by `file.py:Class` in NOVA_HOME/agents. Raises NotFound or UsageProblem."""
    name = ALIASES.get(agent, agent)
    if name in BUILT_IN:
        return _built_in(name)
    if ":" in name:
        return AgentInfo(name, "module", "", lambda: _target(name, home))
    path = _folder(home) / f"{name}.py"
    if name.isidentifier() and path.is_file():
        return _of_file(path)
    for entry in _entries():
        if entry.name == name:
            return _of_entry(entry)
    near = difflib.get_close_matches(name, [one.name for one in everything(home)], n=1)
    hint = f"did you mean {near[0]}?" if near else "`nova agents list` shows them; `nova agents new` writes one"
    raise NotFound(f"no agent is called {agent!r}", hint=hint)


def everything(home: Path) -> list[AgentInfo]:
    """Every agent that has a name. One that is broken is listed with its error. None is imported."""
    found = {name: _built_in(name) for name in BUILT_IN}
    folder = _folder(home)
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else ():
        if path.stem.isidentifier() and not path.stem.startswith("_"):
            found.setdefault(path.stem, _listed(path))
    for entry in _entries():
        found.setdefault(entry.name, _of_entry(entry))
    return list(found.values())


def names(settings: HasHome) -> list[str]:
    return [one.name for one in everything(settings.nova_home)]


def load(agent: str, config: Mapping[str, Any], home: Path) -> tuple[type[BaseWorker], Mapping[str, Any]]:
    """The class behind an agent, and the part of the configuration that is for the class. Runs the author's code."""
    if agent != PYTHON:
        return find(agent, home).load(), config
    target = config.get("target")
    if not isinstance(target, str) or not target:
        raise UsageProblem("the agent python needs a target", hint="--set target=package.module:Class")
    return _target(target, home), {key: value for key, value in config.items() if key != "target"}


def resolver(home: Path) -> Resolver:
    """What a manager asks for the class of a deployment and its `ctx.config`."""

    def resolve(agent: str, config: Mapping[str, Any]) -> tuple[type[BaseWorker], Any]:
        worker, own = load(agent, config, home)
        return worker, checked(agent, worker, own, strict=False)

    return resolve


def describe_all(home: Path) -> list[dict[str, Any]]:
    """Without importing any of them."""
    listed = []
    for one in everything(home):
        told = {"name": one.name, "source": one.source, "help": one.summary}
        listed.append(told if one.error is None else {**told, "error": one.error})
    return listed


def describe(agent: str, home: Path) -> dict[str, Any]:
    """An agent with the settings it takes; its code is imported for that."""
    info = find(agent, home)
    if info.name == PYTHON:
        target = ConfigField(
            "target", "str", True, None, "package.module:Class; the class's own settings stand beside it"
        )
        return {
            **_told(info),
            "scalable": True,
            "tunables": {},
            "secrets": [],
            "imputed_cost": None,
            "costs": "",
            "config": [asdict(target)],
        }
    worker = info.load()
    tunables = {name: list(values) for name, values in worker.tunables.items()}
    described = _told(info) if info.summary else {**_told(info), "help": _first_line(worker)}
    fields = [asdict(field) for field in fields_of(worker)]
    told = {"scalable": worker.scalable, "tunables": tunables, "secrets": list(worker.secrets)}
    return {**described, **told, "imputed_cost": worker.imputed_cost, "costs": worker.costs, "config": fields}


def _told(info: AgentInfo) -> dict[str, Any]:
    return {"name": info.name, "source": info.source, "help": info.summary}


def _built_in(name: str) -> AgentInfo:
    place = BUILT_IN[name]
    if not place:
        return AgentInfo(name, "nova", _PYTHON_SUMMARY, _no_target)
    file, _, worker = place.partition(":")
    path = Path(__file__).with_name(file)
    summary = next(found.summary for found in workers_in(path) if found.name == worker)
    return AgentInfo(name, "nova", summary, lambda: _imported(path.stem, worker))


def _imported(module: str, worker: str) -> type[BaseWorker]:
    from importlib import import_module

    found: type[BaseWorker] = getattr(import_module(f"workers.agents.{module}"), worker)
    return found


def _no_target() -> type[BaseWorker]:
    raise UsageProblem("the agent python needs a target", hint="--set target=package.module:Class")


def _listed(path: Path) -> AgentInfo:
    try:
        return _of_file(path)
    except NovaError as problem:
        error = problem.message

        def refuse() -> type[BaseWorker]:
            raise UsageProblem(error)

        return AgentInfo(path.stem, str(path), "", refuse, error)


def _of_file(path: Path) -> AgentInfo:
    found = only_worker(path)
    return AgentInfo(path.stem, str(path), found.summary, lambda: _target(f"{path}:{found.name}", path.parent.parent))


def _of_entry(entry: EntryPoint) -> AgentInfo:
    package = entry.dist.metadata if entry.dist is not None else None
    source = f"package {package['Name']}" if package is not None else "package"
    summary = package["Summary"] if package is not None and "Summary" in package else ""
    return AgentInfo(entry.name, source, summary, lambda: _loaded(entry))


def _loaded(entry: EntryPoint) -> type[BaseWorker]:
    from workers.base_worker import BaseWorker

    try:
        found = entry.load()
    except Exception as problem:
        words = f"{type(problem).__name__}: {problem}"
        raise UsageProblem(f"the agent {entry.name} ({entry.value}) cannot be loaded: {words}") from problem
    if not isinstance(found, type) or not issubclass(found, BaseWorker):
        raise UsageProblem(f"the agent {entry.name} ({entry.value}) is not a worker")
    return found


def _target(target: str, home: Path) -> type[BaseWorker]:
    """An error in the author's file is told with its line."""
    from workers.agents.python import load_target

    try:
        return load_target(target, _folder(home))
    except UsageProblem as problem:
        path = (_folder(home) / target.rpartition(":")[0]).resolve()
        line = line_of(problem.__cause__, path) if problem.__cause__ is not None else None
        if line is None:
            raise
        raise UsageProblem(f"{problem.message} (line {line})", hint=problem.hint) from problem.__cause__
    except SystemExit as left:
        raise UsageProblem(f"{target} ends the process when it is imported") from left


def _first_line(worker: type[BaseWorker]) -> str:
    lines = (worker.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""


def _folder(home: Path) -> Path:
    return home / "agents"


def _entries() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
