"""nova ledger: the book itself, moved, checked, copied and corrected."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from nova.cli.output import emit, facts, line
from nova.cli.params import AsJson, By, Yes, person
from nova.cli.progress import progress, spinner
from nova.cli.render import count, money, when
from nova.cli.session import session
from nova.cli.terminal import confirm, note, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nova.ledger.transfer import Imported

_SHOWN = 20
EntryRef = Annotated[str, typer.Argument(metavar="ENTRY", help="SOURCE/ID, or an ID that only one source has.")]


def export(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to; standard output if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json: AsJson = False,
) -> None:
    """Write every entry and run as one JSON object a line.

    The export of one moment, in the order it was recorded. `nova ledger import` reads it, here or in another home.

    Example:
      nova ledger export all.jsonl
    """
    from nova.errors import UsageProblem

    if json and file is None:
        raise UsageProblem("with --json the lines need a FILE to go to")
    with session() as nova, _written(file, force=force) as out:
        transfer = nova.ledger.transfer
        with progress("exporting", transfer.size(), unit="lines") as tick:
            done = transfer.export(out, tick.more)
    if json:
        emit({"file": file, "entries": done.entries, "runs": done.runs})
    else:
        note(f"{count(done.entries, 'entry', 'entries')} and {count(done.runs, 'run')} written")


@contextmanager
def _written(file: Path | None, *, force: bool) -> Iterator[Any]:
    """Standard output, or a file that is there whole or not at all."""
    import os

    from nova.errors import UsageProblem

    if file is None or str(file) == "-":
        yield sys.stdout
        return
    if file.exists() and not force:
        raise UsageProblem(f"{file} exists", hint="pass --force to replace it")
    scratch = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with scratch.open("w", encoding="utf-8") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def import_lines(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What an export wrote; - for standard input.")],
    json: AsJson = False,
) -> None:
    """Read what an export wrote; what is there already stays.

    The same key with the same content is a duplicate and does nothing; with another content that line is refused,
    as is a line that makes no sense: the others land, and the exit code is 1.

    Example:
      nova ledger import all.jsonl
    """
    from nova.errors import NotFound

    if str(file) != "-" and not file.exists():
        raise NotFound(f"there is no file {file}")
    size = None if str(file) == "-" else file.stat().st_size
    with session() as nova, _read(file) as source, progress("importing", size, unit="bytes") as tick:
        done = nova.ledger.transfer.import_lines(source, tick.more)
    if json:
        emit(_document(done))
    else:
        _report(done)
    if done.rejections:
        raise typer.Exit(1)


@contextmanager
def _read(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
    else:
        with file.open("rb") as source:
            yield source


def _document(done: Imported) -> dict[str, Any]:
    return {
        "lines": done.lines,
        "entries": done.entries,
        "runs": done.runs,
        "new": done.new,
        "duplicate": done.duplicate,
        "rejections": done.rejections,
        "rejected": [{"line": number, "reason": reason} for number, reason in done.rejected],
    }


def _report(done: Imported) -> None:
    read = f"{count(done.entries, 'entry', 'entries')} and {count(done.runs, 'run')} read"
    line(f"{read}: {done.new:,} new, {done.duplicate:,} duplicate, {done.rejections:,} refused")
    for number, reason in done.rejected[:_SHOWN]:
        note(f"line {number}: {printable(reason)}")
    if done.rejections > _SHOWN:
        note(f"... and {done.rejections - _SHOWN:,} more; --json names up to a thousand")


def verify(json: AsJson = False) -> None:
    """Recount the ledger and say whether it is whole.

    Every sum is counted again from the entries and runs; the first row that does not agree is named. The exit code is 1
    when something is wrong.

    Example:
      nova ledger verify
    """
    with session() as nova, spinner("verifying"):
        found = nova.ledger.verify()
    if json:
        emit(found)
    else:
        sound = "the ledger is whole" if found.ok else f"the ledger is not whole: {found.first_bad}"
        line(f"{sound} ({count(found.entries, 'entry', 'entries')}, {count(found.runs, 'run')})")
        if not found.ok:
            note(f"hint: {found.advice}")
    if not found.ok:
        raise typer.Exit(1)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the copy.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json: AsJson = False,
) -> None:
    """Copy the ledger into a file while it is in use.

    Example:
      nova ledger backup ledger-2026-11-21.db
    """
    with session() as nova:
        nova.ledger.backup(file, force=force)
    if json:
        emit({"file": file, "bytes": file.stat().st_size})
    else:
        line(f"the ledger is copied to {file}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `nova ledger backup` wrote.")],
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Put a backup in the place of the ledger.

    The backup is checked first. What the ledger held is kept beside it, and the manager must be stopped.

    Example:
      nova ledger restore ledger-2026-11-21.db --yes
    """
    from nova.config import load_settings
    from nova.errors import LockHeld
    from nova.ledger.backup import restore as put_back
    from workers.control import running_managers

    settings = load_settings()
    managers = running_managers(settings)
    if managers:
        raise LockHeld(f"the manager with process id {managers[0].pid} uses the ledger", hint="nova workers stop")
    confirm(f"Replace the ledger of {settings.nova_home} by {file}?", yes=yes)
    kept = put_back(file, settings.ledger_path)
    if json:
        emit({"file": file, "kept": kept})
    else:
        line(f"the ledger is that of {file}" + (f"; the one before is {kept}" if kept else ""))


def adjust(
    entry: EntryRef,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="How much more it was: 2.50, or -2.50 for less.")],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for the record.")],
    by: By = None,
    json: AsJson = False,
) -> None:
    """Correct an entry by a new one; nothing is changed.

    Example:
      nova ledger adjust stripe/txn_1 -4.20 --note "charged twice"
    """
    from nova.money import Money

    with session() as nova:
        found = nova.ledger.entries.find(entry)
        added = nova.ledger.entries.adjust(
            found.ref, Money.parse(amount, found.entry.amount.currency), note=note, by=person(by)
        )
    made = added.entry
    if json:
        emit(
            {
                "source": made.source,
                "id": made.id,
                "corrects": made.corrects,
                "worker": made.worker,
                "amount": made.amount,
                "currency": made.amount.currency,
                "at": made.at,
                "note": made.note,
            }
        )
    else:
        facts(
            [
                ("entry", made.ref),
                ("corrects", made.corrects or ""),
                ("amount", money(made.amount)),
                ("at", when(made.at)),
            ]
        )
