"""The removal effect: how much less would be sold if a worker were not there. Pure.

E. Anderl, I. Becker, F. von Wangenheim, J. H. Schumann, "Mapping the customer journey: Lessons learned from graph-based
online attribution modeling", International Journal of Research in Marketing 33 (2016) 457–474. A first-order Markov
chain: from the start along the touches to the sale, or to nothing; a worker removed leads to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

START, SALE, NOTHING = "(start)", "(conversion)", "(null)"

Steps = tuple[str, ...]
Transitions = Mapping[tuple[str, str], float]


def removal_effects(sold: Iterable[Sequence[str]], unsold: Iterable[Sequence[str]] = ()) -> dict[str, float]:
    """By worker, from 0 to 1: the part of the sales that are gone without it. Empty where nothing is sold.

    `sold` are the paths that led to a payment, `unsold` those that led to none.
    """
    return effects_of(transitions(Counter(map(tuple, sold)), Counter(map(tuple, unsold))))


def transitions(sold: Mapping[Steps, int], unsold: Mapping[Steps, int]) -> dict[tuple[str, str], float]:
    """The probability of each step, from paths and how often each was walked.

    A touch by the same worker again is no step: it changes no removal effect.
    """
    walked: Counter[tuple[str, str]] = Counter()
    for end, paths in ((SALE, sold), (NOTHING, unsold)):
        for path, times in paths.items():
            before = START
            for worker in (*path, end):
                if worker != before:
                    walked[before, worker] += times
                    before = worker
    leaving: Counter[str] = Counter()
    for (before, _), times in walked.items():
        leaving[before] += times
    return {step: times / leaving[step[0]] for step, times in walked.items()}


def effects_of(steps: Transitions) -> dict[str, float]:
    """Exact, without simulation: with N the inverse of 1 − Q, a walk meets i with (sN)_i / N_ii, and sells from there
    with (Nr)_i; both together are what is gone without i.
    """
    import numpy

    names = sorted({name for step in steps for name in step} - {START, SALE, NOTHING})
    if not names:
        return {}
    place = {name: n for n, name in enumerate(names)}
    inner = numpy.eye(len(names))
    start, sale = numpy.zeros(len(names)), numpy.zeros(len(names))
    for (before, after), chance in steps.items():
        if before == START:
            if after in place:
                start[place[after]] = chance
        elif after in place:
            inner[place[before], place[after]] -= chance
        elif after == SALE:
            sale[place[before]] = chance
    walks = numpy.linalg.inv(inner)
    met, sells = start @ walks, walks @ sale
    total = float(start @ sells)
    if total <= 0:
        return {}
    gone = met * sells / (walks.diagonal() * total)
    return {name: min(1.0, max(0.0, float(gone[n]))) for n, name in enumerate(names)}
