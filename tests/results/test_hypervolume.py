"""How the area that a front dominates grows over a search."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from results.hypervolume import hypervolume_course
from results.trial import Trial

TrialOf = Callable[..., Trial]


def test_the_course_is_the_share_of_the_plane_after_each_network(trial: TrialOf) -> None:
    # 0.5 x 8, then a failure that is left out, a dominated one, then 0.2 x 6 on top.
    trials = [trial(0, 0.5, 2.0), trial(1, None), trial(2, 0.4, 3.0), trial(3, 0.7, 4.0)]
    course = hypervolume_course(trials, 10.0)
    assert [number for number, _ in course] == [0, 2, 3]
    assert [share for _, share in course] == pytest.approx([0.4, 0.4, 0.52])


def test_a_network_at_the_reference_dominates_nothing(trial: TrialOf) -> None:
    assert hypervolume_course([trial(0, 0.5, 2.0)], 2.0) == [(0, 0.0)]
