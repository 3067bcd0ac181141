"""The record of a trial."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from results.trial import Trial


def test_the_objectives_are_accuracy_and_latency(trial: Callable[..., Trial]) -> None:
    assert trial(0, 0.75, 20.0).objectives == (0.75, 20.0)


@pytest.mark.parametrize("state", ["running", "failed"])
def test_there_are_none_without_a_score(trial: Callable[..., Trial], state: str) -> None:
    with pytest.raises(ValueError, match=f"trial 4 is {state} and has no score"):
        _ = trial(4, None, state=state).objectives
