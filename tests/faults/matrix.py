"""The fault matrix: what is done to nova, what it promises then, and what the test looks at.

`python tests/faults/matrix.py` prints the tables as docs/supervision.md has them.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """`test` is the function, in the file of the section it stands in, that fails when the promise is broken."""

    fault: str
    promise: str
    check: str
    test: str


MATRIX: dict[str, tuple[Row, ...]] = {
    "test_manager_death.py": (
        Row(
            "`kill -9` of the manager, again and again, at random moments",
            "nothing that was confirmed is lost, nothing is booked twice, no command outlives it; "
            "the next start interrupts what was left open",
            "every sale once, none missing; budgets kept; no failed run; no run twice at once; the ledger verifies",
            "test_a_manager_killed_again_and_again_loses_nothing_and_leaves_nothing",
        ),
        Row(
            "`kill -9` of the leash, and then of the manager",
            "the leash is started again with every group it is to end",
            "no process of the commands lives 5 s later, one that left its group neither",
            "test_commands_die_with_a_manager_that_is_killed_and_its_leash_restarts_when_it_is",
        ),
        Row(
            "`kill -9` of manager and leash at once",
            "the next manager ends what is left before it starts anything",
            "no process of the first manager's commands lives when the second is up",
            "test_without_a_leash_the_next_manager_ends_what_is_left",
        ),
    ),
    "test_managers.py": (
        Row(
            "`kill -9` of one of two managers",
            "the other takes over within ten seconds; nothing runs twice at once, no payment is lost",
            "every worker pays again, in another run; its processes are dead; journals and ledger agree",
            "test_a_living_manager_takes_over_from_a_killed_one_within_ten_seconds",
        ),
        Row(
            "SIGSTOP of a manager for a moment, and for longer than its leases last; SIGCONT",
            "a nap changes nothing; after that its processes end by themselves, another takes over, and what wakes "
            "books nothing and begins anew",
            "who ran what; no payment and no run of the fenced one after it woke; its new identity in the same process",
            "test_a_frozen_manager_is_taken_over_from_and_books_nothing_when_it_wakes",
        ),
        Row(
            "another process holds the ledger's lock for longer than a manager may be silent",
            "all wait, nobody looks dead, no run is ended by it",
            "the same managers, leases and runs after it; journals and ledger agree",
            "test_a_locked_ledger_makes_all_wait_and_nobody_look_dead",
        ),
        Row(
            "threads hang, more than are allowed",
            "the manager begins anew in the same process and says which hung; what hangs again soon is parked",
            "process id, identity, the audit trail, the deployment's state; a late payment is refused",
            "test_a_manager_whose_threads_hang_begins_anew_and_says_why",
        ),
    ),
    "test_effects.py": (
        Row(
            "`kill -9` of the manager when an effect is recorded, asked for, or done and not marked yet",
            "the effect takes place once; what is repeated bears the same idempotency key",
            "the receiver has one key and one effect for each order of a thread and a process; none is missing",
            "test_an_effect_takes_place_once_whenever_its_manager_is_killed",
        ),
        Row(
            "`kill -9` of a worker's process at the same moments",
            "the same",
            "the same",
            "test_an_effect_takes_place_once_whenever_its_process_is_killed",
        ),
    ),
    "test_platform_effects.py": (
        Row(
            "`kill -9` of the manager between the yes of a platform that takes no keys and the mark",
            "nothing is done twice: it is looked for there, or kept in doubt until a person decides, and told",
            "every post of a thread and two processes once; the one in doubt is named, settled, and the worker goes on",
            "test_nothing_is_posted_twice_whenever_the_manager_is_killed",
        ),
    ),
    "test_disk.py": (
        Row(
            "the disk is full",
            "no money goes that cannot be recorded; no crash is counted for it; with space it goes on by itself",
            "no spending is granted meanwhile; what the ledger has equals the worker's own journal",
            "test_a_full_disk_holds_up_what_cannot_be_recorded_and_loses_nothing",
        ),
        Row(
            "the disk turns read-only",
            "commands and new managers say so in a line and change nothing; a running manager lives on",
            "exit code, words and no traceback; it goes on when the disk can be written again",
            "test_a_read_only_disk_is_said_in_one_line_and_ends_nothing",
        ),
        Row(
            "the manager is out of file descriptors",
            "what cannot begin says why; what runs goes on; later it works again, with no descriptor left over",
            "a run under way succeeds; the count of descriptors afterwards",
            "test_out_of_descriptors_holds_up_new_runs_only_and_leaks_none",
        ),
        Row(
            "power is cut at a random instant, with a torn end of the write-ahead log",
            "the ledger opens, agrees with itself, and holds all that was confirmed to a worker",
            "copies of the files while everything is frozen, also amid a checkpoint: each opens and verifies",
            "test_the_files_of_a_power_cut_open_and_hold_all_that_was_confirmed",
        ),
    ),
    "test_clock.py": (
        Row(
            "the clock jumps days forward and back",
            "runs keep their pace, no flood, no standstill; times of a cron schedule that were passed over are one run",
            "as many runs of a thread and a command as before, within each span after a jump; the runs by cron",
            "test_runs_keep_their_pace_when_the_clock_jumps_and_what_was_passed_over_is_one_run",
        ),
        Row(
            "the change to and from summer time, under cron",
            "a time that is left out comes right after the change, one that comes twice comes once",
            "the runs of `30 2 * * *` on both days in Vienna, and when they began",
            "test_half_past_two_comes_once_on_the_days_on_which_the_hour_is_changed",
        ),
        Row(
            "the clock is set back to a day whose budget is used up",
            "a day has one budget however often it comes",
            "what was spent after three returns to either day",
            "test_a_day_has_one_budget_however_often_it_comes",
        ),
    ),
    "test_processes.py": (
        Row(
            "`kill -9` of a worker's process, of the warden that guards it, of the fork server",
            "all that the worker had started goes with it, what left its group too; its run has crashed; "
            "the next one begins; other workers do not notice",
            "the processes of each family, the next family, zombies; nothing below the manager lives after its stop",
            "test_whoever_is_killed_takes_the_whole_family_along_and_is_replaced",
        ),
        Row(
            "`kill -9` of a manager with processes under it",
            "none of them outlives it, nor what they had started",
            "everything that descended from it; the same after an orderly stop of the next one",
            "test_a_killed_manager_leaves_no_process_behind_nor_does_one_that_stops",
        ),
        Row(
            "a worker out of memory, a fork bomb, out of descriptors, in an endless loop, within declared limits",
            "its run ends and says which limit it met; nobody else is hurt",
            "the words of each error, the bomb's processes, the pace of another worker",
            "test_limits_end_what_takes_too_much_and_nobody_else",
        ),
        Row(
            "a worker closes its channel, writes half a message, garbage, calls there are not, a message without end, "
            "or one in another's name",
            "its run fails, its process is ended, and nothing is booked, for others neither",
            "how each run ended, what was booked",
            "test_a_worker_that_breaks_the_talk_with_its_manager_fails_alone_and_books_for_nobody_else",
        ),
    ),
    "test_unruly_workers.py": (
        Row(
            "a worker ignores TERM at its timeout",
            "it is killed with all its processes after its grace, and only then reported",
            "none of its processes lives when its end is in the ledger; no zombie; others go on",
            "test_a_worker_that_ignores_term_is_killed_and_only_then_reported",
        ),
        Row(
            "SIGSTOP of a worker, with and without SIGCONT",
            "woken in time it goes on as if nothing was; else it is killed at its timeout",
            "the one succeeds and is charged once; the other is dead when it is reported",
            "test_a_frozen_worker_is_killed_at_its_timeout_and_a_woken_one_goes_on",
        ),
        Row(
            "`kill -9` of a worker",
            "its run says which signal ended it and counts as a crash; another takes its place",
            "the error's words, the next process, no zombie",
            "test_a_killed_worker_is_told_so_and_replaced",
        ),
        Row(
            "a worker closes its pipes, or writes half a line and ends",
            "closed pipes hurt nobody; half a line fails the run, and nothing is booked of it",
            "the first run succeeds, the other fails with the line's words; nothing was earned",
            "test_a_worker_that_closes_its_pipe_can_still_end_and_earns_nothing_unheard",
        ),
        Row(
            "a worker writes 100 MB as fast as it can",
            "its log is bounded, the manager's memory too, and nobody else waits for it",
            "the size of its logs, the manager's growth, the pace of another worker",
            "test_a_flood_of_output_is_bounded_and_holds_nobody_up",
        ),
        Row(
            "a worker forks a daemon that leaves its group and its parent",
            "a command's daemon ends with its run, a process's with the worker",
            "the daemon's process after a success, after a failure, and after a kill",
            "test_a_daemon_that_a_worker_forks_ends_with_it",
        ),
        Row(
            "a worker ends at once, for ever, with 0 or with 1",
            "success is repeated as often as declared and no more; crashes are delayed and then cool down",
            "the number of runs, and the processor time of the manager",
            "test_a_worker_that_ends_at_once_for_ever_is_run_no_more_often_than_declared",
        ),
    ),
}
_TITLES = {
    "test_manager_death.py": "The manager is killed",
    "test_managers.py": "Several managers",
    "test_effects.py": "Effects on the outside world",
    "test_platform_effects.py": "Effects at platforms that know no keys",
    "test_disk.py": "The disk and the ledger",
    "test_clock.py": "The clock",
    "test_processes.py": "Workers in processes of their own",
    "test_unruly_workers.py": "Workers that misbehave, commands and processes",
}


def tables() -> str:
    """As docs/supervision.md has them."""
    return "\n\n".join(_table(file, rows) for file, rows in MATRIX.items())


def _table(file: str, rows: tuple[Row, ...]) -> str:
    lines = [
        f"### {_TITLES[file]} (`tests/faults/{file}`)",
        "",
        "| fault | promise | what is looked at |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {row.fault} | {row.promise} | {row.check} |" for row in rows)])


if __name__ == "__main__":
    print(tables())
