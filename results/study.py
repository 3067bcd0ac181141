"""The one record of a study: an Optuna storage.

A trial is written once its network is admitted, with all its known costs, in one transaction; it
is *running* until it is told, whoever runs it then: a trial of a process that has ended is handed
out again under the same number (:mod:`results.ownership`).
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from results import records
from results.changes import Changes
from results.making import (
    REJECTED,
    SETTINGS,
    await_settings,
    check_objectives,
    differences,
    exists,
    made,
    no_sampler,
)
from results.patience import damaged
from results.records import FAILURE, OWNER, RUNGS, WITHDRAWN, begun
from results.session import Session
from results.storage import exclusively, open_storage
from results.trial import Estimate, Proposal, Retrained, Score, Trial, rung_values
from results.urls import shown_url
from search_space.errors import UserError, shown
from search_space.searchable import Searchable

HEARTBEAT = "heartbeat {}"
"""Of an owner; the study's, as one that runs many trials is as much alive as one that runs few."""
RETRAINED = "retrained trial {}"
"""Optuna lets nobody write to a trial that is complete; what comes later is the study's."""

SESSION = "session {}"
"""One attribute each, so that processes which begin at once do not overwrite each other."""


class Study:
    """A study in a storage. Make one with :meth:`create`, :meth:`load` or :meth:`join`."""

    def __init__(self, study: optuna.Study, storage: str) -> None:
        self._study = study
        self._url = storage
        self._storage = study._storage
        self._id = study._study_id
        self._changes = Changes(self._storage, self._id)
        self._ended: dict[int, Trial] = {}
        self._running: dict[int, Trial] = {}
        self._proposals: dict[int, Proposal] = {}

    @classmethod
    def create(cls, storage: str, name: str, settings: Mapping[str, Any]) -> Study:
        """A new study.

        Args:
            storage: The URL of a storage.
            name: The study's name; must be new in that storage.
            settings: JSON values, enough to go on with the study from the storage alone.

        Raises:
            UserError: the storage cannot be opened, or has a study of this name.
        """
        try:
            return cls(made(open_storage(storage), name, settings), storage)
        except DuplicatedStudyError:
            raise exists(storage, name) from None

    @staticmethod
    def must_be_new(storage: str, name: str) -> None:
        """Raises UserError where a storage cannot be opened or holds a study of this name."""
        if name in optuna.get_all_study_names(open_storage(storage)):
            raise exists(storage, name)

    @classmethod
    def load(cls, storage: str, name: str) -> Study:
        """A study that exists.

        Raises:
            UserError: the storage cannot be opened, has no such study, or one that is not ours.
        """
        opened = open_storage(storage)
        try:
            study = optuna.load_study(storage=opened, study_name=name, sampler=no_sampler())
        except KeyError:
            known = ", ".join(repr(s) for s in optuna.get_all_study_names(opened)) or "none"
            raise UserError(
                f"the storage {shown_url(storage)} has no study named {name!r}; it has: {known}"
            ) from None
        if SETTINGS not in study.user_attrs:
            raise UserError(
                f"the study {name!r} in {shown_url(storage)} lacks the attribute `{SETTINGS}`:"
                " it was not made by `search run`"
            )
        check_objectives(study, storage)
        return cls(study, storage)

    @classmethod
    def join(cls, storage: str, name: str, settings: Mapping[str, Any]) -> Study:
        """A study that other processes may be working on; it is made where there is none.

        Raises:
            UserError: the storage cannot be opened, or the study there has other objectives or
                other settings; the message names the differences.
        """
        opened = open_storage(storage)
        try:
            return cls(made(opened, name, settings), storage)
        except DuplicatedStudyError:
            study = optuna.load_study(storage=opened, study_name=name, sampler=no_sampler())
        check_objectives(study, storage)
        await_settings(study, settings)
        joined = cls.load(storage, name)
        found = list(differences(json.loads(json.dumps(settings)), joined.settings))
        if found:
            raise UserError(
                f"the study {name!r} in {shown_url(storage)} has other settings: "
                + "; ".join(found)
                + "; use the same, or another --study"
            )
        return joined

    @property
    def name(self) -> str:
        return str(self._study.study_name)

    @property
    def page(self) -> str:
        """The study's page in optuna-dashboard, below the server's address."""
        return f"dashboard/studies/{self._id}"

    @property
    def settings(self) -> dict[str, Any]:
        """What :meth:`create` was given."""
        return self._table(SETTINGS)

    def replace_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes the settings anew, where a resumed run is to go further."""
        self._study.set_user_attr(SETTINGS, dict(settings))

    @property
    def rejected(self) -> dict[str, int]:
        """Proposals that never became trials, by reason."""
        return self._table(REJECTED)

    def _table(self, name: str) -> dict[str, Any]:
        found = self._study.user_attrs.get(name, {})
        if not isinstance(found, dict):
            raise damaged(self._url, f"its attribute `{name}` is {shown(found)}")
        return dict(found)

    def count_rejected(self, more: Mapping[str, int]) -> None:
        """Adds to the counts by reason; of two processes that do so at once one may be lost."""
        if more:
            before = self.rejected
            counts = {reason: before.get(reason, 0) + n for reason, n in more.items()}
            self._study.set_user_attr(REJECTED, before | counts)

    def record_session(self, session: Session) -> None:
        """Writes who works on the study from now on."""
        self._study.set_user_attr(SESSION.format(secrets.token_hex(6)), asdict(session))

    @property
    def sessions(self) -> list[Session]:
        """Who has worked on it, in the order of their beginning; none in studies of before."""
        prefix = SESSION.format("")
        found = [v for name, v in self._study.user_attrs.items() if name.startswith(prefix)]
        try:
            return sorted((Session.from_dict(v) for v in found), key=lambda s: s.begun)
        except (TypeError, AttributeError) as error:
            raise damaged(self._url, f"a session cannot be read: {error}") from None

    # --- Trials ---------------------------------------------------------------------------------

    def start(
        self,
        space: Searchable,
        proposal: Proposal,
        estimate: Estimate,
        constraints: Mapping[str, float],
        owner: str | None = None,
    ) -> Trial:
        """Writes an admitted network as a running trial, in one transaction.

        Args:
            space: What it is a network of.
            proposal: The network.
            estimate: What it costs.
            constraints: Cost minus limit for each limit, at most 0.
            owner: Who trains it.
        """
        template = begun(space, proposal, estimate, constraints, owner)
        trial_id = self._storage.create_new_trial(self._id, template)
        return self._read(self._storage.get_trial(trial_id))

    def record_rung(self, trial: Trial, score: Score) -> Trial:
        """Writes the score of a running trial's next rung, unless another process has.

        Attributes are a commit each: how many ``rungs`` there are comes last, so that of a rung
        whose score a killed process left in part none is read.
        """
        number = len(trial.rungs) + 1
        if len(self.trial(trial.number).rungs) < number:
            self._annotate(trial, {**rung_values(number, score), RUNGS: number})
        return self.trial(trial.number)

    def complete(self, trial: Trial, score: Score) -> Trial:
        """Ends a trial with its score, unless it has ended; returns it as it stands then."""
        values = (score.accuracy, trial.estimate.latency_ms)
        return self._end(trial, TrialState.COMPLETE, asdict(score), values)

    def fail(self, trial: Trial, reason: str) -> Trial:
        """Ends a trial that could not be trained, unless it has ended."""
        return self._end(trial, TrialState.FAIL, {FAILURE: reason})

    def withdraw(self, trial: Trial, reason: str) -> Trial:
        """Ends a trial that is not to be trained, unless it has ended."""
        return self._end(trial, TrialState.FAIL, {WITHDRAWN: reason})

    def _end(
        self,
        trial: Trial,
        state: TrialState,
        attributes: Mapping[str, Any],
        values: tuple[float, ...] | None = None,
    ) -> Trial:
        """Of several ends of one trial, by a process that was taken for dead and by the one that
        took its trial, the first stands and the others are dropped.

        That rests on ``set_trial_state_values``, which refuses where the trial has ended, and on
        nobody writing between its reading and its writing: see ``exclusively``.
        """
        self._annotate(trial, attributes)
        with suppress(UpdateFinishedTrialError), exclusively():
            self._storage.set_trial_state_values(self._trial_id(trial.number), state, values)
        return self.trial(trial.number)

    def _annotate(self, trial: Trial, attributes: Mapping[str, Any]) -> None:
        """Writes attributes of a trial, unless it has ended."""
        with suppress(UpdateFinishedTrialError):
            for name, value in attributes.items():
                self._storage.set_trial_user_attr(self._trial_id(trial.number), name, value)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    # --- Who trains them --------------------------------------------------------------------------

    def take_over(self, trial: Trial, owner: str) -> Trial:
        """Writes another owner into a running trial, unless it has ended; returns it as it is."""
        self._annotate(trial, {OWNER: owner})
        return self.trial(trial.number)

    def release(self, trial: Trial) -> None:
        """Leaves a running trial to whoever wants it, at once, unless another has taken it."""
        if self.trial(trial.number).owner == trial.owner:
            self._annotate(trial, {OWNER: None})

    def beat(self, owner: str, count: int) -> None:
        """Writes that an owner of running trials is there."""
        self._study.set_user_attr(HEARTBEAT.format(owner), count)

    # --- Reading ----------------------------------------------------------------------------------

    def record_retrained(self, number: int, retrained: Retrained) -> Trial:
        """Writes what the full training of a trial's network showed."""
        self._study.set_user_attr(RETRAINED.format(number), asdict(retrained))
        return self.trial(number)

    def trial(self, number: int) -> Trial:
        """One trial by its number."""
        frozen = self._storage.get_trial(self._trial_id(number))
        return self._with_later(frozen, self._study.user_attrs)

    def trials(self) -> list[Trial]:
        """All trials in the order of their numbers; those that have ended are read once."""
        later = self._study.user_attrs
        frozen = self._storage.get_all_trials(self._id, deepcopy=False)
        return [self._with_later(t, later) for t in frozen]

    def changed(self) -> list[Trial]:
        """Trials that have begun, changed hands, moved on or ended since this was last called,
        and those whose owners are still there; all trials at first."""
        later = self._study.user_attrs
        found = {t.number: self._with_later(t, later) for t in self._changes.read()}
        for number, trial in self._running.items():
            beat = self._heartbeat(trial.owner, later)
            if number not in found and beat != trial.heartbeat:
                found[number] = dataclasses.replace(trial, heartbeat=beat)
        for number, trial in found.items():
            if trial.state == "running":
                self._running[number] = trial
            else:
                self._running.pop(number, None)
        return [found[number] for number in sorted(found)]

    def _with_later(self, frozen: FrozenTrial, of_study: Mapping[str, Any]) -> Trial:
        trial = self._ended.get(frozen.number) or self._read(frozen)
        if trial.state == "running":
            return dataclasses.replace(trial, heartbeat=self._heartbeat(trial.owner, of_study))
        self._ended[trial.number] = trial
        later = of_study.get(RETRAINED.format(trial.number))
        return dataclasses.replace(trial, retrained=self._retrained(later)) if later else trial

    def _retrained(self, values: Mapping[str, Any]) -> Retrained:
        try:
            return Retrained(**values)
        except TypeError as error:
            raise damaged(self._url, f"a full training cannot be read: {error}") from None

    def _heartbeat(self, owner: str | None, of_study: Mapping[str, Any]) -> int:
        name = HEARTBEAT.format(owner)
        found = of_study.get(name, 0)
        if not isinstance(found, int):
            raise damaged(self._url, f"its attribute `{name}` is {shown(found)}")
        return found

    def _read(self, frozen: FrozenTrial) -> Trial:
        try:
            trial = records.read(frozen, self._proposals.get(frozen.number))
        except records.UnreadableTrial as error:
            raise damaged(self._url, str(error)) from None
        self._proposals[trial.number] = trial.proposal
        return trial
