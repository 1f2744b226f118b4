"""The agent `python`: a class of the operator's own, named as `module:Class` or as a file and a class."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import zlib
from pathlib import Path
from types import ModuleType

from nova.errors import UsageProblem
from workers.base_worker import BaseWorker

_loading = threading.RLock()


def load_target(target: str, directory: Path | None = None) -> type[BaseWorker]:
    """The class behind `package.module:Class`, or behind `file.py:Class` (relative to `directory`).

    `directory` (NOVA_HOME/agents) is searched for modules too. Raises UsageProblem with what is wrong.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UsageProblem(f"not a Python target: {target!r}", hint="write it as package.module:Class")
    found = getattr(load_module(place, directory), name, None)
    if found is None:
        raise UsageProblem(f"{place} has no class {name}")
    if not isinstance(found, type) or not issubclass(found, BaseWorker):
        raise UsageProblem(f"{target} is not a worker", hint="derive the class from workers.BaseWorker")
    return found


def load_module(place: str, directory: Path | None) -> ModuleType:
    """A module by its name, or a file. Raises UsageProblem."""
    return load_file(place, directory) if place.endswith(".py") else _load_module(place, directory)


def _load_module(name: str, directory: Path | None) -> ModuleType:
    if directory is not None and directory.is_dir() and str(directory) not in sys.path:
        sys.path.append(str(directory))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name is not None and (name == missing.name or name.startswith(f"{missing.name}.")):
            raise UsageProblem(
                f"there is no module {name}", hint="install it beside nova, or put it in NOVA_HOME/agents"
            ) from None
        raise UsageProblem(f"{name} needs the module {missing.name}, which is not installed") from missing
    except Exception as problem:
        raise UsageProblem(f"{name} cannot be imported: {type(problem).__name__}: {problem}") from problem


def load_file(place: str, directory: Path | None) -> ModuleType:
    path = Path(place)
    if not path.is_absolute() and directory is not None:
        path = directory / path
    path = path.resolve()
    if not path.is_file():
        raise UsageProblem(f"there is no file {path}")
    name = f"nova_agent_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    with _loading:  # several instances may come for it at once
        return sys.modules.get(name) or _execute(name, path)


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageProblem(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        raise UsageProblem(f"{path} cannot be loaded: {type(problem).__name__}: {problem}") from problem
    return module
