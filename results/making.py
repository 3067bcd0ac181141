"""How a study is made, by one of several processes, and found to be the one that was meant."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import optuna

from results.urls import shown_url
from search_space.errors import UserError

DIRECTIONS: tuple[Literal["maximize", "minimize"], ...] = ("maximize", "minimize")
METRICS = ("accuracy", "latency_ms")
SETTINGS = "settings"
REJECTED = "rejected"
MADE_WITHIN_S = 5.0
"""After this whoever began to make a study is taken to have been killed."""


def no_sampler() -> optuna.samplers.BaseSampler:
    """Proposals come from our searchers; this one only keeps Optuna's own from being asked."""
    return optuna.samplers.RandomSampler()


def exists(storage: str, name: str) -> UserError:
    """What is said where a new study has the name of another."""
    return UserError(
        f"the storage {shown_url(storage)} already holds a study named {name!r};"
        " continue it with `search resume`, share it with --study, or choose another --out"
    )


def made(
    opened: optuna.storages.BaseStorage, name: str, settings: Mapping[str, Any]
) -> optuna.Study:
    """A new study; raises DuplicatedStudyError."""
    study = optuna.create_study(
        storage=opened, study_name=name, directions=DIRECTIONS, sampler=no_sampler()
    )
    _equip(study, settings)
    return study


def _equip(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Writes what makes a study ours; the settings come last, and tell that nothing is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(METRICS))
    study.set_user_attr(REJECTED, {})
    study.set_user_attr(SETTINGS, dict(settings))


def await_settings(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Waits while another process makes a study; makes what is missing if it was killed then."""
    deadline = time.monotonic() + MADE_WITHIN_S
    while SETTINGS not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            return  # it is somebody else's
        if time.monotonic() >= deadline:
            _equip(study, settings)
        time.sleep(0.1)


def check_objectives(study: optuna.Study, storage: str) -> None:
    """Raises UserError where a study has other objectives; Optuna would take it, and fail each
    of its trials."""
    directions = tuple(d.name.lower() for d in study.directions)
    names = study.metric_names
    if directions != DIRECTIONS or (names is not None and tuple(names) != METRICS):
        raise UserError(
            f"the study {study.study_name!r} in {shown_url(storage)} has other objectives:"
            f" {_objectives(names, directions)}, needed are {_objectives(METRICS, DIRECTIONS)};"
            " name another study"
        )


def _objectives(names: Any, directions: Any) -> str:
    names = names or ["a value"] * len(directions)
    return " and ".join(f"{d} {name}" for name, d in zip(names, directions, strict=True))


def differences(ours: Any, theirs: Any, name: str = "") -> Iterator[str]:
    """Where JSON values differ: ``space.classes is 10 here, 100 there``."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in dict.fromkeys([*ours, *theirs]):
            yield from differences(ours.get(key), theirs.get(key), f"{name}.{key}".lstrip("."))
    elif ours != theirs:
        yield f"`{name}` is {_shortened(ours)} here, {_shortened(theirs)} there"


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
