"""Gathers the evidence of all deployments from the ledger in a handful of statements, whatever their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from nova.autonomous.background import (
    NO_DEEDS,
    Deeds,
    Life,
    Syncs,
    read_deeds,
    read_lives,
    read_syncs,
    sale_sizes,
)
from nova.autonomous.budget import DayBudget, day_budgets, least_left
from nova.autonomous.engine import POOR_WINDOWS
from nova.autonomous.evidence import Change, Evidence, SaleSize, StepEvidence, Window
from nova.autonomous.figures import largest_sales, read_windows
from nova.autonomous.interval import outlier_hides_more
from nova.autonomous.policy import Policy
from nova.autonomous.served import Turn, read_turns, served_us
from nova.autonomous.spans import Span, floor_hour
from nova.clock import HOUR_US, from_us, to_us
from nova.money import Money

if TYPE_CHECKING:
    from nova.fleet.documents import Deployment, FleetSnapshot
    from nova.ledger.ledger import Ledger

_DAY = timedelta(days=1)
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Traits:
    """What a deployment's agent says of itself."""

    scalable: bool = True
    tunables: Mapping[str, Sequence[Any]] | None = None


TraitsOf = Callable[["Deployment"], Traits]


@dataclass(frozen=True, slots=True)
class Gathered:
    """`evidence` is in the order of the names; `budgets` are those of a day, by scope."""

    evidence: tuple[Evidence, ...]
    budgets: Mapping[str, DayBudget]

    @property
    def budget(self) -> DayBudget:
        """The fleet's."""
        return self.budgets["fleet"]


def gather(
    ledger: Ledger,
    snapshot: FleetSnapshot,
    policy: Policy,
    now: datetime,
    configured: frozenset[str],
    traits_of: TraitsOf,
) -> Gathered:
    """`configured` are the platform sources that are synced; killed deployments are left out."""
    deployments = [one for _, one in sorted(snapshot.deployments.items()) if one.state != "killed"]
    currency = policy.currency
    with ledger.read() as conn:
        lives, syncs, deeds = read_lives(conn), read_syncs(conn, configured), read_deeds(conn, now)
        sizes = sale_sizes(lives, {one.name: one.department for one in deployments})
        looks = [
            _Look(one, lives.get(one.name) or Life(), syncs, deeds.get(one.name, NO_DEEDS), policy, now)
            for one in deployments
        ]
        spans = [look.span() for look in looks]
        windows = read_windows(conn, spans, currency)
        turns = read_turns(conn, min((span.start_us for span in spans), default=0))
        seen = [
            look.evidence(window, sizes[look.name], turns.get(look.name, ()))
            for look, window in zip(looks, windows, strict=True)
        ]
        seen = _with_steps(conn, looks, seen, currency)
        seen = _with_earlier_windows(conn, looks, seen, currency)
        seen = _with_outliers(conn, looks, seen)
    seen = [_with_traits(one, evidence, policy, traits_of) for one, evidence in zip(deployments, seen, strict=True)]
    budgets = day_budgets(ledger, snapshot, policy, seen, now)
    return Gathered(tuple(least_left(evidence, budgets) for evidence in seen), budgets)


@dataclass(frozen=True, slots=True)
class _Look:
    """Where to look for the evidence of one deployment."""

    deployment: Deployment
    life: Life
    syncs: Syncs
    deeds: Deeds
    policy: Policy
    now: datetime

    @property
    def name(self) -> str:
        return self.deployment.name

    def probing_since(self) -> datetime | None:
        """When the engine let it run again; forgotten when a person has resumed it since, or it was paused again."""
        resumed, override = self.deeds.at("resume"), self.deployment.evidence_since
        if resumed is None or self.deployment.state not in ("active", "cooling_down"):
            return None
        return None if override is not None and override >= resumed else resumed

    def fresh_us(self) -> int:
        """Before it nothing counts."""
        since = [at for at in (self.deployment.evidence_since, self.probing_since()) if at is not None]
        return max(map(to_us, since), default=0)

    def end_us(self) -> int:
        """The earlier of now − attribution lag and the last good sync of each platform involved."""
        ends = [self.now - self.policy.attribution_lag]
        covered = self.syncs.covered(self.syncs.involved(self.life))
        if covered is not None:
            ends.append(covered)
        paused = self.deployment.state == "paused" and self.deployment.pause_reason == "roi"
        if paused and self.deployment.state_since is not None:
            ends.append(self.deployment.state_since)
        return to_us(min(ends))

    def window_us(self) -> int:
        return self.policy.window // _US

    def span(self) -> Span:
        end = self.end_us()
        return self._until(max(self._grain(end - self.window_us()), min(self.fresh_us(), end)), end)

    def _until(self, start_us: int, end_us: int) -> Span:
        beyond, runs_beyond = self.life.reaches_beyond(end_us), self.life.runs_beyond(to_us(self.now))
        return Span(self.name, start_us, end_us, whole_end=not beyond, whole_runs=not runs_beyond)

    def step_spans(self) -> tuple[Span, Span] | None:
        """Before and after the last step; of windows of days without the hour it was taken in."""
        step = self.deployment.last_step
        if step is None:
            return None
        end, at, length = self.end_us(), to_us(step.at), self.window_us()
        until = self._grain(at)
        since = at if until == at else until + HOUR_US
        begun = max(self._grain(until - length), self._grain(self._born_us()), self.fresh_us())
        close = max(end, at)
        after = min(max(since, self._grain(end - length), self.fresh_us()), close)
        return Span(self.name, min(begun, until), until), self._until(after, close)

    def _grain(self, us: int) -> int:
        """Windows of days begin with whole hours, which the ledger has sums of."""
        return floor_hour(us) if self.policy.window >= _DAY else us

    def earlier_spans(self) -> list[Span]:
        """The windows of fresh evidence before the first one, newest first.

        Time paused for ROI is left out: a window that reaches back to a probe begins with it, the one before ends with
        the pause.
        """
        end, length = self.span().start_us, self._grain(self.window_us())
        probing, paused = self.probing_since(), self.deeds.at("pause")
        probe_us = to_us(probing) if probing is not None else None
        pause_us = self._grain(min(probe_us, to_us(paused))) if probe_us is not None and paused else probe_us
        since = [at for at in (self.deployment.evidence_since, self.deeds.at("optimize")) if at is not None]
        oldest, spans = max([self._born_us(), *map(to_us, since)]), []
        for _ in range(POOR_WINDOWS - 1):
            start = end - length
            if probe_us is not None and pause_us is not None:
                if end > probe_us:
                    start = max(start, probe_us)
                else:
                    end = min(end, pause_us)
                    start = end - length
            if start < oldest:
                break
            spans.append(Span(self.name, start, end))
            end = start
        return spans

    def _born_us(self) -> int:
        begun = self.life.begun_us()
        return begun if begun is not None else to_us(self.now)

    def _begun_us(self) -> int:
        return max(self.fresh_us(), self._born_us())

    def evidence(self, window: Window, size: SaleSize | None, turns: Sequence[Turn]) -> Evidence:
        one, life = self.deployment, self.life
        unbooked = life.unbooked_between(to_us(window.start), to_us(window.end))
        if unbooked:
            window = replace(window, cost=window.cost + Money(unbooked, window.cost.currency))
        return Evidence(
            worker=one.name,
            department=one.department,
            state=one.state,
            replicas=one.replicas,
            max_replicas=one.max_replicas,
            window=window,
            replica_time=self._replica_time(window, turns),
            budget_left=Money.zero(self.policy.currency),
            pause_reason=one.pause_reason,
            state_since=one.state_since,
            evidence_since=one.evidence_since,
            first_run_at=from_us(life.first_run_us) if life.first_run_us is not None else None,
            sale_size=size,
            stale=self.syncs.stale(self.syncs.involved(life), self.policy, self.now),
            unconverted=tuple(sorted(life.unconverted)),
            last_action_at=self.deeds.last_step(),
            probing_since=self.probing_since(),
        )

    def _replica_time(self, window: Window, turns: Sequence[Turn]) -> timedelta:
        """Since the first sign of life. Where none ran and something was spent all the same, as if all had."""
        one, step, end = self.deployment, self.deployment.last_step, to_us(window.end)
        start, replicas = max(to_us(window.start), min(self._begun_us(), end)), max(one.replicas, 1)
        if step is not None:
            turns = (*turns, Turn(to_us(step.at), step.from_replicas))
        runs = one.state in ("active", "cooling_down") or one.pause_reason in ("budget", "breaker")
        return (served_us(turns, replicas, runs, start, end) or replicas * (end - start)) * _US


def _with_steps(conn: Any, looks: list[_Look], seen: list[Evidence], currency: str) -> list[Evidence]:
    stepped = [(i, spans) for i, look in enumerate(looks) if (spans := look.step_spans()) is not None]
    windows = read_windows(conn, [span for _, pair in stepped for span in pair], currency)
    result = list(seen)
    for place, (i, _) in enumerate(stepped):
        before, after = windows[2 * place], windows[2 * place + 1]
        step = looks[i].deployment.last_step
        assert step is not None
        evidence = StepEvidence(
            step.at, step.from_replicas, step.to_replicas, before if before.cost.micros > 0 else None, after
        )
        result[i] = replace(seen[i], last_step=evidence)
    return result


def _with_earlier_windows(conn: Any, looks: list[_Look], seen: list[Evidence], currency: str) -> list[Evidence]:
    """Only where the first window is credibly poor: elsewhere they are never asked for."""
    poor = [i for i, evidence in enumerate(seen) if _may_pause(evidence, looks[i].policy)]
    spans = {i: looks[i].earlier_spans() for i in poor}
    windows = iter(read_windows(conn, [span for i in poor for span in spans[i]], currency))
    result = list(seen)
    for i in poor:
        result[i] = replace(seen[i], earlier=tuple(next(windows) for _ in spans[i]))
    return result


def _may_pause(evidence: Evidence, policy: Policy) -> bool:
    roi = evidence.window.roi_bounds(evidence.size_of_a_sale, policy.confidence)
    return roi is not None and roi.high < policy.min_roi


def _with_outliers(conn: Any, looks: list[_Look], seen: list[Evidence]) -> list[Evidence]:
    """More of the largest sales, where one of them hides what the others prove."""
    hidden = [i for i, each in enumerate(seen) if outlier_hides_more(each.window.sales, looks[i].policy.confidence)]
    result = list(seen)
    for i, peaks in zip(hidden, largest_sales(conn, [looks[i].span() for i in hidden]), strict=True):
        window = seen[i].window
        largest = window.sales.peaks[:1]
        known = tuple(sorted(peaks if peaks[:1] == largest else (*largest, *peaks), reverse=True))
        result[i] = replace(seen[i], window=replace(window, sales=replace(window.sales, peaks=known)))
    return result


def _with_traits(one: Deployment, evidence: Evidence, policy: Policy, traits_of: TraitsOf) -> Evidence:
    """An agent's class is loaded only where a verdict could depend on what it says."""
    roi = evidence.window.roi_bounds(evidence.size_of_a_sale, policy.confidence)
    if roi is None or not (roi.low > policy.scale_roi or (roi.high < policy.min_roi and len(evidence.earlier) > 1)):
        return evidence
    traits = traits_of(one)
    return replace(evidence, scalable=traits.scalable, untried=tuple(_untried(one, traits)))


def _untried(one: Deployment, traits: Traits) -> Iterable[Change]:
    for key, values in (traits.tunables or {}).items():
        tried = list(one.tried.get(key, ()))
        if key in one.config:
            tried.append(one.config[key])
        for value in values:
            if not any(value == other and not _is_nan(value) for other in tried):
                yield Change(key, value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
