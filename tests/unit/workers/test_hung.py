from __future__ import annotations

import pytest

from workers.hung import RESTART_EVERY_S, Cure, cure, told


@pytest.mark.parametrize(
    ("hung", "since", "wanted"),
    [
        (0, None, Cure.NONE),
        (10, None, Cure.NONE),
        (11, None, Cure.RESTART),
        (11, RESTART_EVERY_S, Cure.RESTART),
        (11, RESTART_EVERY_S - 1, Cure.PARK),
        (10, 1.0, Cure.NONE),
    ],
)
def test_more_hanging_threads_than_allowed_are_got_rid_of_but_not_again_and_again(
    hung: int, since: float | None, wanted: Cure
) -> None:
    assert cure(hung, 10, since) is wanted


def test_it_is_told_in_words() -> None:
    assert told(["b#1", "a#1"], 1).endswith("more than WORKER_MAX_HUNG=1: a#1, b#1")
    assert told([f"w#{number}" for number in range(30)], 10).endswith(" …")
