"""The hands of a run towards the platforms: what a client asks of whom it works for goes to the run's desk."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nova.errors import NovaError
from nova.ledger.effects import PLATFORM, EffectHeld, encode_payload, encode_result
from nova.money import Money
from nova.people import subject_of_email
from platforms.base import Conflicting, Declined, InDoubt, InvalidRequest, Missing, RateLimited, nothing_done
from platforms.health import told
from workers.spending import Spending

if TYPE_CHECKING:
    from nova.ledger.effects import Taken
    from platforms.hands import Bill, Find
    from workers.hosts.desk import Desk

_Kind = tuple[str, str]  # an operation, and a hash of its content
_SETTLING = (Declined, InvalidRequest, Missing)  # what a platform says that had not done it before either
_SHORT_S = 0.2  # waits that are not worth two writes
_KEY_CHARS = 40
_ERROR_CHARS = 2_000


class RunHands:
    """`Hands` of one run, in its manager's process or in its own. Once the run is over, calls raise LateRun."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._at = threading.local()
        self._asked: Counter[_Kind] = Counter()
        self._given: dict[str, tuple[_Kind, int]] = {}
        self._free: defaultdict[_Kind, list[int]] = defaultdict(list)  # numbers to be given again

    def pace(self, lane: str, every_s: float = 0.0) -> float:
        return self._desk.pace(lane, every_s)

    def hold(self, lane: str, seconds: float) -> None:
        self._desk.hold(lane, seconds)

    def wait(self, seconds: float) -> bool:
        return self._desk.wait(seconds)

    def rest(self, seconds: float) -> bool:
        """Lets go of the effect that is waited with, so that a run which is killed here leaves it as if never begun."""
        taken = self._taken
        if taken is None or taken.doubtful or seconds < _SHORT_S:
            return self.wait(seconds)
        self._desk.once_forget(taken.topic, taken.key)
        ending = self.wait(seconds)
        if not ending:
            self._take_again(taken)
        return ending

    def paying(self, ceiling: Money, reason: str) -> AbstractContextManager[Bill | None]:
        """As ctx.spending: what is not settled, because nobody knows how it ended, is charged in full."""
        reservation = self._desk.reserve(ceiling, False)
        return Spending(ceiling, lambda actual: self._desk.settle(reservation, actual, reason), release_on_error=False)

    def key(self, what: str, content: str) -> str:
        """Of worker, instance, lineage, operation, content, and how many of the same this run has asked for before.

        Other content is another effect: what changes by itself, such as the time, must not be in it.
        """
        kind = (what, hashlib.sha256(content.encode()).hexdigest())
        with self._lock:
            about, lineage, number = self._desk.about, self._lineage, self._number(kind)
            name = json.dumps([about.worker, about.instance, lineage, *kind, number])
            key = hashlib.sha256(name.encode()).hexdigest()[:_KEY_CHARS]
            self._given[key] = (kind, number)
        return key

    def unsure(self, key: str) -> None:
        with self._lock:
            if key in self._given:
                kind, number = self._given.pop(key)
                self._free[kind].append(number)

    def once(
        self,
        what: str,
        key: str,
        payload: Any,
        action: Callable[[str], Any],
        find: Find | None = None,
        *,
        known_s: float = 0.0,
    ) -> Any:
        """An error that proves that nothing was done leaves no trace; another one leaves the effect in doubt."""
        encode_payload(what, key, payload)
        try:
            taken = self._desk.once_begin(what, key, payload)
            if taken.done:
                return self._settled(key, find) if taken.result is None else taken.result
            if taken.doubtful and not 0 <= taken.age_s < known_s:
                result = self._found(taken, key, find)
                if result is not None:
                    return self._done(taken, result)
            return self._done(taken, self._acted(taken, key, action))
        except BaseException as problem:
            if not (known_s and nothing_done(problem)):
                self.unsure(key)
            raise

    def seen(self, platform: str, what: str, seconds: float, problem: Exception | None) -> None:
        with suppress(NovaError):  # of a run that is over
            self._desk.seen(platform, seconds, isinstance(problem, RateLimited), told(what, problem))

    def labels(self) -> Mapping[str, str]:
        about = self._desk.about
        return {"nova_worker": about.worker, "nova_run": about.run}

    def lineage(self) -> str:
        return self._lineage

    def suppressed(self, addresses: Sequence[str]) -> Mapping[str, str]:
        """The desk is asked for hashes of the addresses."""
        subjects = {address: subject_of_email(address) for address in addresses}
        reasons = self._desk.suppressed(list(subjects.values()))
        return {address: reasons[subject] for address, subject in subjects.items() if subject in reasons}

    @cached_property
    def _lineage(self) -> str:
        return self._desk.lineage()

    def _settled(self, key: str, find: Find | None) -> Any:
        """What the platform knows of what a person saw done; None where it cannot tell."""
        with suppress(InDoubt):
            return None if find is None else find(key)

    def _found(self, taken: Taken, key: str, find: Find | None) -> Any:
        """What the platform knows of an earlier attempt; None: nothing. Raises InDoubt where that cannot be told."""
        why = ""
        try:
            if find is not None:
                return find(key)
        except InDoubt as problem:
            why = problem.message
        except BaseException as problem:
            self._doubt(taken, problem)
            raise
        worker = self._desk.about.worker
        self._doubt(taken, InDoubt(why) if why else None)
        raise InDoubt(
            f"{taken.topic}: {why or 'an earlier attempt may have been carried out'}; it is not done again",
            hint=f"`nova workers outbox {worker} --done {key}` where it was done, `--retry {key}` where it was not",
        )

    def _acted(self, taken: Taken, key: str, action: Callable[[str], Any]) -> Any:
        before, self._at.taken = self._taken, taken
        try:
            return action(key)
        except BaseException as problem:
            if taken.doubtful and not isinstance(problem, _SETTLING):
                self._doubt(taken, None if nothing_done(problem) else problem)
            elif nothing_done(problem):
                with suppress(NovaError):
                    self._desk.once_forget(taken.topic, taken.key)
            else:
                self._doubt(taken, problem)
            raise
        finally:
            self._at.taken = before

    @property
    def _taken(self) -> Taken | None:
        """The effect that this thread is at."""
        return getattr(self._at, "taken", None)

    def _take_again(self, taken: Taken) -> None:
        """Raises Conflicting where another run took it meanwhile."""
        try:
            now = self._desk.once_begin(taken.topic.removeprefix(PLATFORM), taken.key, taken.payload)
        except EffectHeld as held:
            raise Conflicting(held.message) from None
        if now.done or now.doubtful:
            if now.doubtful:
                self._doubt(now, None)
            raise Conflicting(f"another run did {taken.topic} {taken.key!r} meanwhile", hint="run it again")

    def _done(self, taken: Taken, result: Any) -> Any:
        """A result that is no JSON is its author's mistake, told after the effect was marked, because it was done."""
        try:
            body = encode_result(taken.topic, taken.key, result)
        except NovaError:
            self._desk.outbox_done(taken.topic, taken.key, None)
            raise
        kept = json.loads(body)
        self._desk.outbox_done(taken.topic, taken.key, kept)
        return kept

    def _doubt(self, taken: Taken, problem: BaseException | None) -> None:
        """Where it cannot be written the row still names this run, which says the same once the run is over."""
        words = "" if problem is None else f"{type(problem).__name__}: {problem}"
        words = problem.message if isinstance(problem, NovaError) else words
        with suppress(NovaError):
            self._desk.once_doubt(taken.topic, taken.key, words[:_ERROR_CHARS])

    def _number(self, kind: _Kind) -> int:
        free = self._free[kind]
        if free:
            free.sort()
            return free.pop(0)
        self._asked[kind] += 1
        return self._asked[kind]
