"""What determines a search, and how it is written into its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from search.limits import Limits
from search_space import SearchSpace, UserError
from search_space.errors import shown
from search_space.space import Choices
from searchers.aims import AIMS, Aim
from searchers.rungs import Halving, Rung
from trainers.recipe import Recipe
from trainers.recipes import RECIPES

SETTINGS_VERSION = 6
READABLE_VERSIONS = (2, 3, 4, 5, SETTINGS_VERSION)
"""Version 2 knows no rungs, 3 no least accuracy, 4 neither images nor aim nor a space whose stem
varies, 5 no networks to begin with; they are otherwise the same."""
LARGEST = 2**63 - 1
"""What databases and NumPy hold as an integer."""
_KINDS = {
    "searcher": str,
    "data": str,
    "trials": int,
    "seed": int,
    "resolution": int,
    "data_limit": int,
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a search; written into its study, so that it can go on.

    ``recipe`` is that of the short trainings, at ``resolution`` pixels; with ``halving`` the epochs
    and the pixels are those of its rungs instead. ``data_limit`` is the most training images read
    from a folder tree, ``images`` the most that a short training reads of any data set, None for
    all of them. ``least_accuracy`` is the fraction below which an accuracy is of no use;
    None leaves that to the searcher. ``aim`` is what is sought. Networks to ``begin_with`` keep
    the limits and are trained before any that is suggested.
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
    images: int | None = None
    halving: Halving | None = None
    least_accuracy: float | None = None
    aim: Aim = "front"
    begin_with: tuple[Choices, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise UserError(f"`{name}` (={shown(value)}) must be at least {least}")
            if value > LARGEST:
                raise UserError(f"`{name}` (={shown(value)}) must be at most {LARGEST}")
        if self.images is not None and (type(self.images) is not int or self.images < 1):
            raise UserError(
                f"`images` (={shown(self.images)}) must be a whole number of at least 1"
            )
        if self.aim not in AIMS:
            raise UserError(f"`aim` (={shown(self.aim)}) must be one of {', '.join(AIMS)}")
        if self.resolution < 1:
            raise UserError(f"`resolution` (={self.resolution}) must be at least 1")
        for choices in self.begin_with:
            self.space.decode(choices)
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
        try:
            return cls._read(values)
        except UserError:
            raise
        except KeyError as error:
            raise _damaged(f"they lack {error}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise _damaged(" ".join(str(error).split())[:200]) from None

    @classmethod
    def _read(cls, values: dict[str, Any]) -> RunConfig:
        for field in fields(cls):
            if field.default is MISSING and field.name not in values:
                raise _damaged(f"they lack {field.name!r}")
        if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
            raise _damaged(f"they hold the unknown {unknown[0]!r}")
        for name, kind in _KINDS.items():
            if name in values and type(values[name]) is not kind:
                raise _damaged(f"`{name}` (={shown(values[name])}) must be of type {kind.__name__}")
        values["space"] = SearchSpace.from_dict(values["space"])
        values["limits"] = Limits.from_settings(values["limits"])
        values["recipe"] = Recipe.from_dict(values["recipe"])
        if values.get("halving") is not None:
            values["halving"] = Halving.from_dict(values["halving"])
        values["begin_with"] = tuple(values.get("begin_with", ()))
        return cls(**values)


def _damaged(reason: str) -> UserError:
    return UserError(
        f"the study's settings are damaged: {reason}; take a copy of the study from before, or"
        " begin another"
    )
