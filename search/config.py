"""What determines a search, and how it is written into its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search.limits import Limits
from search_space import SearchSpace, UserError
from searchers.rungs import Halving, Rung
from trainers.recipe import Recipe
from trainers.recipes import RECIPES

SETTINGS_VERSION = 4
READABLE_VERSIONS = (2, 3, SETTINGS_VERSION)
"""Version 2 knows no rungs, version 3 no least accuracy; they are otherwise the same."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a search; written into its study, so that it can go on.

    ``recipe`` is that of the short trainings, at ``resolution`` pixels; with ``halving`` the epochs
    and the pixels are those of its rungs instead. ``data_limit`` is the most training images read
    from a folder tree. ``least_accuracy`` is the fraction below which an accuracy is of no use;
    None leaves that to the searcher.
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
    least_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UserError(f"`trials` (={self.trials}) must be at least 1")
        if self.seed < 0:
            raise UserError(f"`seed` (={self.seed}) must be at least 0")
        if self.resolution < 1:
            raise UserError(f"`resolution` (={self.resolution}) must be at least 1")
        if self.least_accuracy is not None and not 0 <= self.least_accuracy < 1:
            raise UserError(
                f"`least_accuracy` (={self.least_accuracy:g}) must be a fraction from 0 to below 1"
            )

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
                f" {', '.join(map(str, READABLE_VERSIONS))};"
                " continue it with the release that made it"
            )
        values["space"] = SearchSpace.from_dict(values["space"])
        values["limits"] = Limits.from_settings(values["limits"])
        values["recipe"] = Recipe.from_dict(values["recipe"])
        if values.get("halving") is not None:
            values["halving"] = Halving.from_dict(values["halving"])
        return cls(**values)
