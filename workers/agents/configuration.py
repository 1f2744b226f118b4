"""An agent's configuration against its class: what is wrong in it, what is typed in it, and what it takes."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from nova.errors import UsageProblem

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from workers.base_worker import BaseWorker


@dataclass(frozen=True, slots=True)
class ConfigField:
    """A setting as an operator sees it. `default` is None where it is `required`."""

    name: str
    type: str
    required: bool
    default: Any
    help: str | None


def checked(agent: str, worker: type[BaseWorker], config: Mapping[str, Any], *, strict: bool = True) -> Any:
    """What `ctx.config` will be: the class's Config, or the mapping itself where it has none.

    Texts are converted; where that fails they are read as JSON. Raises UsageProblem naming each setting that is wrong,
    and, if `strict`, each that the class does not know.
    """
    model = worker.Config
    if model is None:
        return dict(config)
    if strict:
        _refuse_unknown(agent, model, config)
    from pydantic import ValidationError

    try:
        return model.model_validate(config)
    except ValidationError as refused:
        read = _read_texts(config, refused)
        problem = refused
    if read is not None:
        try:
            return model.model_validate(read)
        except ValidationError as refused:
            problem = refused
    told = list(_told(problem))
    many = "setting is" if len(told) == 1 else "settings are"
    raise UsageProblem(
        f"{len(told)} {many} wrong for the agent {agent}:\n" + "\n".join(f"  {line}" for line in told),
        hint=f"`nova agents show {agent}` explains them",
    ) from None


def typed(worker: type[BaseWorker], config: Mapping[str, Any], valid: Any) -> dict[str, Any]:
    """What is declared of a `valid` configuration: JSON with its types, so that "3" and 3 are the same declaration.

    Where the class cannot be had back from its JSON, as with secrets, it is what was given.
    """
    if worker.Config is None:
        return dict(config)
    try:
        told: dict[str, Any] = valid.model_dump(mode="json", exclude_unset=True)
        same = set(told) == set(config) and worker.Config.model_validate(told) == valid
    except Exception:  # noqa: BLE001 - validators and serializers are the author's own
        same = False
    return told if same else dict(config)


def fields_of(worker: type[BaseWorker]) -> tuple[ConfigField, ...]:
    model = worker.Config
    return () if model is None else tuple(_fields(model))


def _fields(model: type[BaseModel]) -> Iterator[ConfigField]:
    for name, field in model.model_fields.items():
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True, validated_data={})
        shown = default if _is_plain(default) else str(default)
        yield ConfigField(field.alias or name, _type_name(field.annotation), required, shown, field.description)


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _type_name(annotation: Any) -> str:
    """Short, and of a model its name alone: what stands in it is told by the setting's own words."""
    inner = [_type_name(one) for one in get_args(annotation) if one not in (NoneType, ...)]
    origin = get_origin(annotation)
    if origin is Annotated:
        return inner[0]
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(inner))
    if origin is Literal:
        return " | ".join(map(str, get_args(annotation)))
    name = getattr(origin or annotation, "__name__", str(annotation))
    return f"{name}[{', '.join(inner)}]" if origin is not None and inner else name


def _refuse_unknown(agent: str, model: type[BaseModel], config: Mapping[str, Any]) -> None:
    if model.model_config.get("extra") == "allow":
        return
    known = set(model.model_fields) | {field.alias for field in model.model_fields.values() if field.alias}
    unknown = [key for key in config if key not in known]
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    takes = f"it takes {', '.join(model.model_fields)}" if model.model_fields else "it takes none"
    raise UsageProblem(f"the agent {agent} has no setting {', '.join(unknown)}", hint=f"{guess}{takes}")


def _read_texts(config: Mapping[str, Any], refused: ValidationError) -> dict[str, Any] | None:
    """The configuration with the texts that were refused read as JSON; None where there is none to read."""
    read = copy.deepcopy(dict(config))
    changed = False
    for error in refused.errors(include_url=False, include_input=False, include_context=False):
        inner: Any = read
        for step in error["loc"]:
            value = inner.get(step) if isinstance(inner, dict) else None
            if isinstance(value, str):
                try:
                    inner[step] = json.loads(value)
                    changed = True
                except ValueError:
                    break
            inner = value
    return read if changed else None


def _told(refused: ValidationError) -> Iterator[str]:
    """Without what was given: it may be a secret."""
    for error in refused.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(step) for step in error["loc"])
        words = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
        yield f"{name}: {words}" if name else words
