"""Trials as they stand in an Optuna storage: what is written of one, and how it is read back.

Every number that a person may want to see stands in a readable user attribute, so that
optuna-dashboard and pandas show it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from results.trial import Estimate, Proposal, Score, State, Trial
from search_space.searchable import Searchable
from search_space.spec import NetworkSpec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RUNGS = "rungs"
OWNER = "owner"
WITHDRAWN = "withdrawn"
FAILURE = "failure"

T = TypeVar("T", bound="DataclassInstance")
_STATES: dict[TrialState, State] = {
    # Releases before 0.1 left trials waiting, which nobody owns.
    TrialState.WAITING: "running",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "failed",
    TrialState.FAIL: "failed",
}


class UnreadableTrial(ValueError):
    """A trial lacks something that every trial of ours has."""


def begun(
    space: Searchable,
    proposal: Proposal,
    estimate: Estimate,
    constraints: Mapping[str, float],
    owner: str | None,
) -> FrozenTrial:
    """A running trial, to be written; parameters are categorical throughout, as the dashboard then
    shows the choices."""
    return create_trial(
        state=TrialState.RUNNING,
        params={d.name: proposal.choices[d.name] for d in space.dimensions},
        distributions={d.name: CategoricalDistribution(d.choices) for d in space.dimensions},
        constraints=dict(constraints),
        user_attrs={
            "architecture": proposal.spec.id,
            **asdict(estimate),
            "constraints": dict(constraints),
            "spec": proposal.spec.to_json(),
            "notes": proposal.notes,
            OWNER: owner,
        },
    )


def read(frozen: FrozenTrial, proposal: Proposal | None = None) -> Trial:
    """A trial of ours.

    Args:
        frozen: As the storage has it.
        proposal: What it was begun with, which never changes, where it has been read before:
            describing a network takes time.

    Raises:
        UnreadableTrial: it is none of ours.
    """
    try:
        return _read(frozen, proposal or _proposal(frozen))
    except KeyError as error:
        raise UnreadableTrial(f"trial {frozen.number} lacks the attribute {error}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UnreadableTrial(f"trial {frozen.number} cannot be read: {reason}") from None


def _proposal(frozen: FrozenTrial) -> Proposal:
    attributes = frozen.user_attrs
    return Proposal(
        choices=frozen.params or frozen.system_attrs.get("fixed_params", {}),
        spec=NetworkSpec.from_dict(json.loads(attributes["spec"])),
        notes=attributes["notes"],
    )


def _read(frozen: FrozenTrial, proposal: Proposal) -> Trial:
    attributes = frozen.user_attrs
    state, failure, score = _STATES[frozen.state], None, None
    if state == "failed":
        failure = attributes.get(FAILURE)
        if WITHDRAWN in attributes:
            state, failure = "withdrawn", attributes[WITHDRAWN]
    if state == "complete":
        # Of two processes that ended it the values are those of the first, attributes may not be.
        score = dataclasses.replace(_part(Score, attributes), accuracy=frozen.values[0])
    return Trial(
        number=frozen.number,
        state=state,
        proposal=proposal,
        estimate=_part(Estimate, attributes),
        score=score,
        failure=failure,
        rungs=tuple(
            _part(Score, attributes, f"rung{number}_")
            for number in range(1, attributes.get(RUNGS, 0) + 1)
        ),
        owner=attributes.get(OWNER),
    )


def _part(kind: type[T], attributes: Mapping[str, Any], prefix: str = "") -> T:
    """A dataclass out of the attributes named like its fields, behind a prefix."""
    values = {f.name: attributes[prefix + f.name] for f in fields(kind)}
    return kind(**values)
