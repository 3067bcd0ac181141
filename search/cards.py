"""The search card of a run, out of its study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from results.rungs import correlate_rungs
from results.search_card import SearchCard
from results.study import Study
from results.trial import Trial

if TYPE_CHECKING:
    from search.config import RunConfig


def search_card(config: RunConfig, study: Study, trials: Sequence[Trial]) -> SearchCard:
    """What a search is and has come to; the trials are those of its study."""
    states = Counter(trial.state for trial in trials)
    return SearchCard(
        study=study.name,
        settings=config.to_settings(),
        space=config.space.name,
        limits=str(config.limits),
        trainings=[str(rung) for rung in config.rungs],
        states={state: states[state] for state in ("complete", "running", "failed")},
        rejected=study.rejected,
        correlations=correlate_rungs(trials),
        training_s=sum(score.wall_s for trial in trials for score in trial.scores),
        sessions=study.sessions,
    )
