"""What a report tells, as plain values, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from results.hypervolume import hypervolume_course
from results.importance import Importance, importances
from results.remaining import Remaining
from results.search_card import SearchCard
from results.tables import pareto_front
from results.trial import Trial, contenders
from search_space.budget import counted, format_count
from search_space.proportion import wilson_interval
from search_space.space import Dimension

CONFIDENCE = 0.9
"""Of the intervals of accuracies, as of predicted milliseconds."""
MARGIN = 1.1
"""How far beyond the slowest network the hypervolume is measured where there is no limit: from the
slowest itself on, it would add nothing however accurate it is."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A network of the papers, under the counter and the predictor of the search.

    Args:
        name: In the zoo.
        macs, latency_ms, latency_low_ms, latency_high_ms: As of a trial's estimate.
        printed: What the papers print of it, in words.
        accuracy: The printed one where it is of the data set searched on, a fraction; else None.
    """

    name: str
    macs: int
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    printed: str
    accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """A search and everything that is told of it.

    Args:
        card: Settings, counts and sessions.
        trials: All of them; one at least has a score.
        remaining: What is left to do.
        dimensions: Those of the space.
        device: Key of the device that the milliseconds are of.
        cautions: Sentences that every reader of the figures must know.
        macs_limit, latency_limit_ms: The budgets; None where there is none.
        references: Networks of the papers for images of the same size, those named first that are
            to be labelled where there is little room.
    """

    card: SearchCard
    trials: Sequence[Trial]
    remaining: Remaining
    dimensions: Sequence[Dimension]
    device: str
    cautions: Sequence[str]
    macs_limit: int | None
    latency_limit_ms: float | None
    references: Sequence[Reference]

    @cached_property
    def contenders(self) -> list[Trial]:
        """The networks whose accuracies can be compared."""
        return contenders(self.trials)

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front, the fastest first."""
        return pareto_front(self.trials)

    @property
    def best(self) -> Trial:
        """The most accurate network."""
        return self.front[-1]

    @cached_property
    def reference_ms(self) -> float:
        """Up to where the hypervolume is measured: the limit, else beyond the slowest contender."""
        slowest = max(t.estimate.latency_ms for t in self.contenders)
        return self.latency_limit_ms or MARGIN * slowest

    @cached_property
    def course(self) -> list[tuple[int, float]]:
        """The hypervolume after each contender."""
        return hypervolume_course(self.trials, self.reference_ms)

    @cached_property
    def importances(self) -> list[Importance]:
        """Of the dimensions for both objectives; none of too few networks."""
        return importances(self.trials, self.dimensions)

    @cached_property
    def varied(self) -> list[Dimension]:
        """The dimensions in which contenders differ; of a single one those that it has."""
        return [d for d in self.dimensions if _varies(d, self.contenders)]

    @property
    def sessions_differ(self) -> bool:
        """Whether processes may have scored networks on different images."""
        seen = {(s.data, s.split, s.validation_images) for s in self.card.sessions}
        return len(seen) > 1

    @property
    def validation_images(self) -> int:
        """How many images accuracies were measured on; 0 where that is not known of all."""
        sessions = self.card.sessions
        return 0 if not sessions or self.sessions_differ else sessions[0].validation_images

    def accuracy_interval(self, trial: Trial) -> tuple[float, float] | None:
        """Where an accuracy on all images of the kind lies, by Wilson's interval of 90 %; None
        where it is not known on how many it was measured. It takes no account of choosing among
        networks: of those chosen for their accuracy on these images it is too high."""
        images = self.validation_images
        if not images:
            return None
        return wilson_interval(round(trial.objectives[0] * images), images, CONFIDENCE)

    @property
    def state(self) -> str:
        """Why the search is not complete, in a sentence; empty where it is."""
        if not self.remaining.networks:
            return ""
        missing = counted(self.remaining.networks, "network")
        if self.card.states.get("running"):
            running = counted(self.card.states["running"], "network")
            return f"This search is not complete: {missing} to be scored yet, {running} begun."
        return f"This search is not complete: {missing} to be scored yet."


def _varies(dimension: Dimension, trials: Sequence[Trial]) -> bool:
    found = {trial.proposal.choices.get(dimension.name) for trial in trials}
    return found <= set(dimension.choices) and (len(found) > 1 or len(trials) == 1)


def words(trial: Trial) -> dict[str, str]:
    """The figures of a scored network, with their units."""
    estimate, score = trial.estimate, trial.scores[-1]
    found = {
        "accuracy": f"{score.accuracy:.1%}",
        "ms": interval(estimate.latency_ms, estimate.latency_low_ms, estimate.latency_high_ms),
        "MACs": format_count(estimate.macs),
        "parameters": format_count(estimate.params),
        "epochs": str(score.epochs),
    }
    if trial.retrained is not None:
        found["trained in full"] = f"{trial.retrained.test_accuracy:.1%} on the test part"
    return found


def interval(ms: float, low_ms: float, high_ms: float) -> str:
    """``76.0 [41.3, 155.1]``"""
    return f"{ms:.1f} [{low_ms:.1f}, {high_ms:.1f}]"


def trial_key(number: int) -> str:
    """What a trial's marks are called in figures and tables."""
    return f"trial-{number}"


def tips(report: Report) -> Mapping[str, list[str]]:
    """What is told of each mark that is pointed at, by its key: a title, then lines."""
    found = {}
    for trial in report.contenders:
        title = f"Network {trial.number}: {trial.proposal.spec.id}"
        lines = [f"{value} {name}" for name, value in words(trial).items()]
        found[trial_key(trial.number)] = [title, *lines]
    for one in report.references:
        ms = interval(one.latency_ms, one.latency_low_ms, one.latency_high_ms)
        lines = [f"{ms} ms", f"{format_count(one.macs)} MACs", one.printed]
        found[f"reference-{one.name}"] = [one.name, *filter(None, lines)]
    return found
