"""Which agents there are: those that ship, files in NOVA_HOME/agents, packages' entry points, any module:Class."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nova.errors import NotFound, NovaError, UsageProblem
from workers.agents.python import load_target
from workers.base_worker import BaseWorker

if TYPE_CHECKING:
    from pydantic import BaseModel

GROUP = "nova.agents"
PYTHON = "python"
_SHIPPED = {
    "shell": ("workers.agents.shell:Shell", "Runs a command; its output lines tell what it spends and earns."),
    PYTHON: ("", "Runs a class of yours: target=module:Class and the class's own settings."),
    "scraper_agent": (
        "workers.agents.scraper:ScraperAgent",
        "Turns pages into rows of a CSV or JSONL file, on a schedule.",
    ),
}
_ALIASES = {"scraper": "scraper_agent"}

Resolver = Callable[[str, Mapping[str, Any]], tuple[type[BaseWorker], Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """An agent and where it comes from; `load` imports it."""

    name: str
    source: str
    load: Callable[[], type[BaseWorker]]


def resolver(home: Path) -> Resolver:
    """From an agent's name and a configuration to its class and the validated configuration.

    Raises NotFound for an unknown agent, UsageProblem naming every wrong setting.
    """

    def resolve(agent: str, config: Mapping[str, Any]) -> tuple[type[BaseWorker], Any]:
        settings = dict(config)
        if agent == PYTHON:
            target = settings.pop("target", None)
            if not isinstance(target, str):
                raise UsageProblem("the python agent needs a target", hint="--set target=package.module:Class")
            worker = load_target(target, _folder(home))
        else:
            worker = find(agent, home).load()
        return worker, validated(agent, worker, settings)

    return resolve


def find(agent: str, home: Path) -> Found:
    """Raises NotFound."""
    name = _ALIASES.get(agent, agent)
    if ":" in name:
        return Found(name, "module", lambda: load_target(name, _folder(home)))
    found = next((one for one in _all(home) if one.name == name), None)
    if found is None:
        raise NotFound(
            f"there is no agent {agent!r}",
            hint="`nova agents list` shows what there is; a class of yours is package.module:Class",
        )
    return found


def names(home: Path) -> list[str]:
    return [found.name for found in _all(home)]


def validated(agent: str, worker: type[BaseWorker], config: Mapping[str, Any]) -> Any:
    """The class's `Config` made of `config`, or a plain mapping where it declares none. Raises UsageProblem."""
    model = worker.Config
    if model is None:
        return dict(config)
    from pydantic import ValidationError

    known = _keys(model)
    unknown = [] if model.model_config.get("extra") == "allow" else [key for key in config if key not in known]
    if unknown:
        said = f"it takes {', '.join(known)}" if known else "it takes none"
        raise UsageProblem(f"{agent} has no setting {', '.join(unknown)}", hint=said)
    try:
        return model.model_validate(dict(config))
    except ValidationError as problem:
        wrong = [_wrong(error) for error in problem.errors(include_url=False, include_input=False)]
        raise UsageProblem(
            f"the configuration of {agent} is wrong: {'; '.join(wrong)}",
            hint=f"nova agents show {agent} lists its settings",
        ) from None


def describe_all(home: Path) -> list[dict[str, Any]]:
    """One row an agent; what cannot be imported says why."""
    return [_row(found) for found in _all(home)]


def describe(agent: str, home: Path) -> dict[str, Any]:
    """An agent with the settings it takes. Raises NotFound, UsageProblem where it cannot be imported."""
    if agent == PYTHON:
        target = {"name": "target", "type": "str", "required": True, "default": None, "help": "package.module:Class"}
        return {"name": PYTHON, "source": "nova", "help": _SHIPPED[PYTHON][1], "scalable": True, "config": [target]}
    found = find(agent, home)
    worker = found.load()
    return {
        "name": found.name,
        "source": found.source,
        "help": _help(worker),
        "scalable": worker.scalable,
        "tunables": {key: list(values) for key, values in worker.tunables.items()},
        "config": list(_settings(worker.Config)) if worker.Config is not None else [],
    }


def _all(home: Path) -> Iterator[Found]:
    for name, (target, _) in _SHIPPED.items():
        yield Found(name, "nova", _loader(target, home))
    for path in sorted(_folder(home).glob("*.py")) if _folder(home).is_dir() else []:
        if not path.name.startswith("_"):
            yield Found(path.stem, str(path), lambda path=path: _only_class(path, home))  # type: ignore[misc]
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.value
        yield Found(entry.name, package, _loader(entry.value, home))


def _loader(target: str, home: Path) -> Callable[[], type[BaseWorker]]:
    def load() -> type[BaseWorker]:
        if not target:
            raise UsageProblem("the python agent needs a target", hint="--set target=package.module:Class")
        return load_target(target, _folder(home))

    return load


def _only_class(path: Path, home: Path) -> type[BaseWorker]:
    """The worker that a file defines, and not those it imports."""
    from workers.agents.python import load_file

    try:
        module = load_file(str(path), _folder(home))
    except UsageProblem as problem:
        raise _placed(problem, path) from problem
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, BaseWorker) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        hint = f"name one: {path.name}:Class" if own else "derive one from workers.BaseWorker"
        raise UsageProblem(f"{path} defines {len(own)} workers, not one", hint=hint)
    return own[0]


def _placed(problem: UsageProblem, path: Path) -> UsageProblem:
    """With the line of the operator's file where it went wrong."""
    cause = problem.__cause__
    if isinstance(cause, SyntaxError):
        return UsageProblem(f"{problem.message} (line {cause.lineno})", hint=problem.hint)
    frames = traceback.extract_tb(cause.__traceback__) if cause else []
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    return UsageProblem(f"{problem.message} (line {line})" if line else problem.message, hint=problem.hint)


def _row(found: Found) -> dict[str, Any]:
    row: dict[str, Any] = {"name": found.name, "source": found.source, "help": None}
    if found.source == "nova":
        return {**row, "help": _SHIPPED[found.name][1]}
    try:
        return {**row, "help": _help(found.load())}
    except NovaError as problem:
        return {**row, "error": problem.message}


def _help(worker: type[BaseWorker]) -> str:
    return (inspect.getdoc(worker) or "").partition("\n")[0]


def _settings(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        required = field.is_required()
        yield {
            "name": field.alias or name,
            "type": str(field.annotation).replace("typing.", "")
            if not inspect.isclass(field.annotation)
            else field.annotation.__name__,
            "required": required,
            "default": None if required else field.get_default(call_default_factory=True),
            "help": field.description,
        }


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _wrong(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    said = error["msg"].removeprefix("Value error, ")
    return f"{place}: {said[:1].lower()}{said[1:]}" if place else said


def _folder(home: Path) -> Path:
    return home / "agents"
