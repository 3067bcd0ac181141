"""The one record of a study: an Optuna storage.

Every number that a person may want to see stands in a readable user attribute, so that
optuna-dashboard and pandas show it. A trial is written once its network is admitted, with all its
known costs, in one transaction; it is *running* until it is told, and a trial that a killed
process left running is handed out again under the same number.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from results.trial import Estimate, Proposal, Retrained, Score, State, Trial, rung_values
from search_space.errors import UserError
from search_space.space import SearchSpace
from search_space.spec import NetworkSpec

DIRECTIONS: tuple[Literal["maximize", "minimize"], ...] = ("maximize", "minimize")
METRICS = ("accuracy", "latency_ms")
SETTINGS = "settings"
REJECTED = "rejected"
RUNGS = "rungs"
RETRAINED = "retrained trial {}"
"""Optuna lets nobody write to a trial that is complete; what comes later is the study's."""

T = TypeVar("T")
_STATES: dict[TrialState, State] = {
    TrialState.WAITING: "running",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "failed",
    TrialState.FAIL: "failed",
}


def sqlite_url(path: Path) -> str:
    """The storage URL of a SQLite file."""
    return URL.create("sqlite", database=str(path.resolve())).render_as_string()


def absolute_url(storage: str) -> str:
    """A storage URL that means the same from every folder; raises UserError where it is none."""
    url = _parse(storage)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return sqlite_url(Path(url.database))
    return storage


def _parse(storage: str) -> URL:
    try:
        return make_url(storage)
    except ArgumentError:
        raise _unopenable(repr(storage), "it is no URL") from None


def _unopenable(shown: str, reason: str) -> UserError:
    return UserError(
        f"the storage {shown} cannot be opened: {reason}; it must be a URL such as"
        " sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    )


def _shown(storage: str) -> str:
    """A storage URL in quotes, without its password."""
    return repr(_parse(storage).render_as_string(hide_password=True))


def quiet_optuna() -> None:
    """Leaves the terminal to the command; failures still raise."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """A study in a storage. Make one with :meth:`create` or :meth:`load`."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    @classmethod
    def create(cls, storage: str, name: str, settings: Mapping[str, Any]) -> Study:
        """A new study.

        Args:
            storage: Any Optuna storage URL.
            name: The study's name; must be new in that storage.
            settings: JSON values, enough to go on with the study from the storage alone.

        Raises:
            UserError: the storage cannot be opened, or has a study of this name.
        """
        cls.must_be_new(storage, name)
        study = optuna.create_study(
            storage=open_storage(storage),
            study_name=name,
            directions=DIRECTIONS,
            sampler=_no_sampler(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(METRICS))
        study.set_user_attr(SETTINGS, dict(settings))
        study.set_user_attr(REJECTED, {})
        return cls(study)

    @staticmethod
    def must_be_new(storage: str, name: str) -> None:
        """Raises UserError where a storage cannot be opened or holds a study of this name."""
        if name in optuna.get_all_study_names(open_storage(storage)):
            raise UserError(
                f"the storage {_shown(storage)} already holds a study named {name!r};"
                " continue it with `search resume`, or choose another --out"
            )

    @classmethod
    def load(cls, storage: str, name: str) -> Study:
        """A study that exists.

        Raises:
            UserError: the storage cannot be opened, has no such study, or one that is not ours.
        """
        opened = open_storage(storage)
        try:
            study = optuna.load_study(storage=opened, study_name=name, sampler=_no_sampler())
        except KeyError:
            known = ", ".join(repr(s) for s in optuna.get_all_study_names(opened)) or "none"
            raise UserError(
                f"the storage {_shown(storage)} has no study named {name!r}; it has: {known}"
            ) from None
        if SETTINGS not in study.user_attrs:
            raise UserError(
                f"the study {name!r} in {_shown(storage)} lacks the attribute `{SETTINGS}`:"
                " it was not made by `search run`"
            )
        return cls(study)

    @property
    def name(self) -> str:
        return str(self._study.study_name)

    @property
    def page(self) -> str:
        """The study's page in optuna-dashboard, below the server's address."""
        return f"dashboard/studies/{self._study._study_id}"

    @property
    def settings(self) -> dict[str, Any]:
        """What :meth:`create` was given."""
        return dict(self._study.user_attrs[SETTINGS])

    def replace_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes the settings anew, where a resumed run is to go further."""
        self._study.set_user_attr(SETTINGS, dict(settings))

    @property
    def rejected(self) -> dict[str, int]:
        """Proposals that never became trials, by reason."""
        return dict(self._study.user_attrs.get(REJECTED, {}))

    def count_rejected(self, counts: Mapping[str, int]) -> None:
        """Writes the counts by reason if they have changed."""
        if dict(counts) != self.rejected:
            self._study.set_user_attr(REJECTED, dict(counts))

    @property
    def next_number(self) -> int:
        """The number that the next trial to start will have."""
        return len(self._study.get_trials(deepcopy=False))

    def start(
        self,
        space: SearchSpace,
        proposal: Proposal,
        estimate: Estimate,
        constraints: Mapping[str, float],
    ) -> Trial:
        """Writes an admitted network as a running trial.

        ``constraints`` are cost minus limit for each limit, at most 0.
        """
        attributes = {
            "architecture": proposal.spec.id,
            **asdict(estimate),
            "constraints": dict(constraints),
            "spec": proposal.spec.to_json(),
            "notes": proposal.notes,
        }
        self._study.enqueue_trial(dict(proposal.choices), user_attrs=attributes)
        return self._begin(self._study.ask(), space)

    def _begin(self, live: optuna.trial.Trial, space: SearchSpace) -> Trial:
        """Writes what is missing of a running trial: choices and constraints are a commit each,
        and a process may have been killed between two of them."""
        for d in space.dimensions:
            # Categorical throughout: the dashboard then shows the choices themselves.
            live.suggest_categorical(d.name, d.choices)
        written = self._frozen(live.number).constraints
        for name, excess in live.user_attrs["constraints"].items():
            if name not in written:
                live.set_constraint(name, excess)
        return self.trial(live.number)

    def _live(self, frozen: FrozenTrial) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, frozen._trial_id)

    def unfinished(self, space: SearchSpace) -> list[Trial]:
        """Trials that a process started and did not end, ready to be trained again."""
        frozen = self._study.get_trials(deepcopy=False)
        live = [self._live(t) for t in frozen if t.state == TrialState.RUNNING]
        live += [self._study.ask() for t in frozen if t.state == TrialState.WAITING]
        return sorted((self._begin(t, space) for t in live), key=lambda t: t.number)

    def record_rung(self, trial: Trial, score: Score) -> Trial:
        """Writes the score of a running trial's next rung.

        Attributes are a commit each: how many ``rungs`` there are comes last, so that of a rung
        whose score a killed process left in part none is read.
        """
        number = len(trial.rungs) + 1
        self._annotate(trial.number, {**rung_values(number, score), RUNGS: number})
        return self.trial(trial.number)

    def complete(self, trial: Trial, score: Score) -> Trial:
        """Ends a trial with its score."""
        self._annotate(trial.number, asdict(score))
        self._study.tell(trial.number, (score.accuracy, trial.estimate.latency_ms))
        return self.trial(trial.number)

    def fail(self, trial: Trial, reason: str) -> Trial:
        """Ends a trial that could not be trained."""
        self._annotate(trial.number, {"failure": reason})
        self._study.tell(trial.number, state=TrialState.FAIL)
        return self.trial(trial.number)

    def _annotate(self, number: int, attributes: Mapping[str, Any]) -> None:
        live = self._live(self._frozen(number))
        for name, value in attributes.items():
            live.set_user_attr(name, value)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def record_retrained(self, number: int, retrained: Retrained) -> Trial:
        """Writes what the full training of a trial's network showed."""
        self._study.set_user_attr(RETRAINED.format(number), asdict(retrained))
        return self.trial(number)

    def trial(self, number: int) -> Trial:
        """One trial by its number."""
        return _to_trial(self._frozen(number), self._study.user_attrs)

    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers."""
        attributes = self._study.user_attrs
        return [_to_trial(t, attributes) for t in self._study.get_trials(deepcopy=False)]


def _no_sampler() -> optuna.samplers.BaseSampler:
    """Proposals come from our searchers; this one only keeps Optuna's own from being asked."""
    return optuna.samplers.RandomSampler()


def open_storage(storage: str) -> optuna.storages.BaseStorage:
    """Optuna's storage behind a URL; raises UserError where it cannot be opened."""
    _parse(storage)
    try:
        return optuna.storages.get_storage(storage)
    except (ArgumentError, SQLAlchemyError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _unopenable(_shown(storage), reason) from None


def _to_trial(frozen: FrozenTrial, of_study: Mapping[str, Any]) -> Trial:
    attributes = frozen.user_attrs
    state = _STATES[frozen.state]
    # A trial that has just begun has its choices only where `enqueue_trial` left them.
    choices = {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
    score = _part(Score, attributes) if state == "complete" else None
    later = of_study.get(RETRAINED.format(frozen.number))
    return Trial(
        number=frozen.number,
        state=state,
        proposal=Proposal(
            choices=choices,
            spec=NetworkSpec.from_dict(json.loads(attributes["spec"])),
            notes=attributes["notes"],
        ),
        estimate=_part(Estimate, attributes),
        score=score,
        failure=attributes.get("failure"),
        retrained=Retrained(**later) if later else None,
        rungs=tuple(
            _part(Score, attributes, f"rung{number}_")
            for number in range(1, attributes.get(RUNGS, 0) + 1)
        ),
    )


def _part(kind: type[T], attributes: Mapping[str, Any], prefix: str = "") -> T:
    """A dataclass out of the attributes named like its fields, behind a prefix."""
    values = {f.name: attributes[prefix + f.name] for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**values)
