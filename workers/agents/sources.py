"""What a file of Python says of its workers, read without running it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from nova.errors import UsageProblem


@dataclass(frozen=True, slots=True)
class Found:
    """A class by name, and the first line of its docstring."""

    name: str
    summary: str


def workers_in(path: Path) -> list[Found]:
    """The classes that are workers as far as the text tells: derived from BaseWorker, or from one that is.

    Raises UsageProblem naming the file and the line that cannot be read.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as problem:
        raise UsageProblem(f"{path} line {problem.lineno or 1}: {problem.msg}") from problem
    except (OSError, ValueError) as problem:
        raise UsageProblem(f"{path} cannot be read: {problem}") from problem
    known = {"BaseWorker"}
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_last_name(base) in known for base in node.bases):
            known.add(node.name)
            lines = (ast.get_docstring(node) or "").splitlines()
            found.append(Found(node.name, lines[0] if lines else ""))
    return found


def only_worker(path: Path) -> Found:
    """The worker a file is deployed as: its only one, or the one that is named as the file. Raises UsageProblem."""
    found = [one for one in workers_in(path) if not one.name.startswith("_")]
    named = [one for one in found if one.name.casefold() == path.stem.replace("_", "").casefold()]
    if len(found) == 1 or len(named) == 1:
        return (named or found)[0]
    if not found:
        raise UsageProblem(f"{path} has no worker", hint="write a class that derives from workers.BaseWorker")
    names = ", ".join(one.name for one in found)
    hint = f"deploy one as {path.name}:{found[0].name}"
    raise UsageProblem(f"{path} has several workers ({names}), and none is named as the file", hint=hint)


def line_of(problem: BaseException, path: Path) -> int | None:
    """The last line of the file that an error came through."""
    if isinstance(problem, SyntaxError) and problem.filename == str(path):
        return problem.lineno
    line, trace = None, problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _last_name(base: ast.expr) -> str:
    return base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
