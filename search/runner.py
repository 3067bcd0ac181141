"""The study loop: ask, admit, write, train, tell, until enough networks are scored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from results.folder import RunFolder
from results.study import Study
from results.trial import Score, Trial
from search.limits import Limits
from search_space import SearchSpace, SpecError, UserError
from search_space.space import Choices
from searchers import Admission, Searcher, SpaceExhausted, make_searcher
from searchers.rungs import Halving, Rung
from trainers.augment import check_augmentation
from trainers.data import DataSplits, load_data
from trainers.proxy import train_proxy
from trainers.recipe import Recipe
from trainers.recipes import RECIPES
from trainers.training import TrainingFailed, training_spec

SETTINGS_VERSION = 3
READABLE_VERSIONS = (2, SETTINGS_VERSION)
"""Version 2 knows no rungs, and is otherwise the same."""
MOST_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a search; written into its study, so that it can go on.

    ``recipe`` is that of the short trainings, at ``resolution`` pixels; with ``halving`` the epochs
    and the pixels are those of its rungs instead. ``data_limit`` is the most training images read
    from a folder tree.
    """

    space: SearchSpace
    limits: Limits
    searcher: str
    data: str
    trials: int
    seed: int = 0
    recipe: Recipe = RECIPES["proxy"]
    resolution: int = 32
    data_limit: int = 20_000
    halving: Halving | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UserError(f"`trials` (={self.trials}) must be at least 1")
        if self.seed < 0:
            raise UserError(f"`seed` (={self.seed}) must be at least 0")
        if self.resolution < 1:
            raise UserError(f"`resolution` (={self.resolution}) must be at least 1")
        check_augmentation(self.recipe.augment)

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The short trainings, the cheapest first; a single one where nothing is halved."""
        if self.halving is not None:
            return self.halving.rungs
        return (Rung(epochs=self.recipe.epochs, resolution=self.resolution),)

    def to_settings(self) -> dict[str, Any]:
        """JSON values, the inverse of :meth:`from_settings`."""
        return {
            "version": SETTINGS_VERSION,
            **asdict(self),
            "space": self.space.to_dict(),
            "limits": self.limits.to_settings(),
            "recipe": self.recipe.to_dict(),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RunConfig:
        """The configuration that a study was made with; raises UserError where it is not ours."""
        values = dict(settings)
        version = values.pop("version", None)
        if version not in READABLE_VERSIONS:
            raise UserError(
                f"the study's settings have version {version}, read here are"
                f" {' and '.join(map(str, READABLE_VERSIONS))};"
                " continue it with the release that made it"
            )
        values["space"] = SearchSpace.from_dict(values["space"])
        values["limits"] = Limits.from_settings(values["limits"])
        values["recipe"] = Recipe.from_dict(values["recipe"])
        if values.get("halving") is not None:
            values["halving"] = Halving.from_dict(values["halving"])
        return cls(**values)


class Display(Protocol):
    """Who watches a run; every method may do nothing."""

    def started(self, config: RunConfig, data: DataSplits, trials: Sequence[Trial]) -> None:
        """The run begins, with these trials written already."""

    def training_begun(self, trial: Trial) -> None:
        """It is trained, in the rung after those that it has been scored in."""

    def trial_step(self, step: int, steps: int) -> None:
        """An iteration of that training is done."""

    def trial_ended(self, trial: Trial) -> None:
        """It is complete or failed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All trials of a study, and what ended the run early, None if nothing did."""

    trials: tuple[Trial, ...]
    stopped: str | None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a run needs before anything is written: a network inside the limits, and the data at
    each resolution that is trained at."""

    inside: Choices
    data: Mapping[int, DataSplits]


def prepare(config: RunConfig, *, download: bool = False) -> Ready:
    """Finds the cheapest network and loads the data.

    Raises:
        InfeasibleBudget: no network of the space keeps the limits.
        UserError: data or candidates cannot be used as configured.
    """
    inside = config.limits.feasible(config.space)
    data = {}
    for resolution in sorted({rung.resolution for rung in config.rungs}):
        data[resolution] = load_data(
            config.data, resolution=resolution, limit=config.data_limit, download=download
        )
        try:
            training_spec(config.space.decode(inside), data[resolution].classes, resolution)
        except SpecError as error:
            raise UserError(
                f"`resolution` (={resolution}) is too small to train this space at: {error}"
            ) from None
    return Ready(inside=inside, data=data)


def run(
    config: RunConfig,
    ready: Ready,
    folder: RunFolder,
    study: Study,
    display: Display,
    *,
    timeout_s: float | None = None,
) -> Outcome:
    """Runs a study until ``config.trials`` are complete; goes on where one was left.

    No new training begins after ``timeout_s`` seconds; a network that was to go on to another rung
    then waits for the run to be resumed. The folder's files are written anew after each training.

    Raises:
        UserError: too many trainings in a row have failed.
    """
    started = time.monotonic()
    admission = Admission(config.limits.ratios, ready.inside, config.limits.known)
    admission.rejected = Counter(study.rejected)
    searcher = make_searcher(config.searcher, config.space, admission, config.seed)
    loop = _Loop(config, study, searcher, ready.data, display)
    loop.catch_up()
    # A process may have been killed between the end of a trial and the writing of its files.
    folder.write_results(list(loop.trials.values()))
    data = ready.data[config.rungs[-1].resolution]
    display.started(config, data, list(loop.trials.values()))
    stopped = None
    while loop.complete < config.trials and stopped is None:
        if timeout_s is not None and time.monotonic() - started >= timeout_s:
            stopped = f"the time limit of {timeout_s:g} s is over"
            break
        try:
            loop.train_next()
        except SpaceExhausted as exhausted:
            stopped = str(exhausted)
        finally:
            folder.write_results(list(loop.trials.values()))
    return Outcome(trials=tuple(loop.trials.values()), stopped=stopped)


class _Loop:
    """One candidate at a time through admission, store, training and back to the searcher."""

    def __init__(
        self,
        config: RunConfig,
        study: Study,
        searcher: Searcher,
        data: Mapping[int, DataSplits],
        display: Display,
    ) -> None:
        self.config = config
        self.study = study
        self.searcher = searcher
        self.data = data
        self.display = display
        self.trials: dict[int, Trial] = {}
        self._unfinished: list[Trial] = []

    @property
    def complete(self) -> int:
        """How many networks have a score."""
        return sum(trial.state == "complete" for trial in self.trials.values())

    def catch_up(self) -> None:
        """Tells the searcher what the study holds, and takes back what a dead process left."""
        self._unfinished = self.study.unfinished(self.config.space)
        self.trials = {trial.number: trial for trial in self.study.trials()}
        for trial in self.trials.values():
            if trial.state == "running":
                self.searcher.admission.remember(trial.proposal.spec)
            else:
                self.searcher.tell(trial)

    def train_next(self) -> None:
        """Trains an unfinished or a new candidate once, writes and tells what became of it.

        A trial that goes on to another rung is not told yet, and is the next to be trained.

        Raises:
            SpaceExhausted: no network inside the budget is left.
            UserError: too many trainings in a row have failed.
        """
        trial = self._unfinished.pop(0) if self._unfinished else self._start()
        try:
            trial = self._train(trial)
        except TrainingFailed as failure:
            trial = self.study.fail(trial, str(failure))
        self.trials[trial.number] = trial
        if trial.state == "running":
            self._unfinished.insert(0, trial)
            return
        self.searcher.tell(trial)
        self.display.trial_ended(trial)
        self._give_up_on_failures()

    def _train(self, trial: Trial) -> Trial:
        """Trains a network in its next rung, and ends its trial unless it goes on to another."""
        if self.config.halving is None:
            return self.study.complete(trial, self._score(trial))
        # A process may have been killed between the score of a rung and what follows from it.
        if self._goes_on(self.config.halving, trial):
            trial = self.study.record_rung(trial, self._score(trial))
        if self._goes_on(self.config.halving, trial):
            return trial
        return self.study.complete(trial, trial.rungs[-1])

    def _goes_on(self, halving: Halving, trial: Trial) -> bool:
        return not trial.rungs or halving.goes_on(trial, self.trials.values())

    def _score(self, trial: Trial) -> Score:
        """What the training of the next rung shows."""
        self.display.training_begun(trial)
        rung = self.config.rungs[len(trial.rungs)]
        return train_proxy(
            trial.proposal.spec,
            self.data[rung.resolution],
            self.config.recipe.replace(epochs=rung.epochs),
            resolution=rung.resolution,
            seed=self._seed(trial.number),
            on_step=self.display.trial_step,
        )

    def _start(self) -> Trial:
        """Asks the searcher for a network and writes it as running."""
        limits = self.config.limits
        proposal = self.searcher.ask(self.study.next_number)
        self.study.count_rejected(self.searcher.admission.rejected)
        estimate = limits.estimate(proposal.spec)
        return self.study.start(self.config.space, proposal, estimate, limits.constraints(estimate))

    def _give_up_on_failures(self) -> None:
        last = list(self.trials.values())[-MOST_FAILURES_IN_A_ROW:]
        if len(last) == MOST_FAILURES_IN_A_ROW and all(t.state == "failed" for t in last):
            raise UserError(
                f"the last {MOST_FAILURES_IN_A_ROW} trainings failed, the last because"
                f" {last[-1].failure}; lower --learning-rate or look at the data"
            )

    def _seed(self, number: int) -> int:
        """The seed of a trial's training, from (seed, trial number) alone."""
        return int(np.random.SeedSequence([self.config.seed, number]).generate_state(1)[0])
