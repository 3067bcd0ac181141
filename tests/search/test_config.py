"""What determines a search, written down and read back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from search.config import LARGEST, RunConfig
from search.limits import Limits
from search_space import SPACES, UserError
from searchers.rungs import Halving

LIMITS = Limits(macs=20_000_000)


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        space=SPACES["cifar-32"],
        limits=LIMITS,
        searcher="random",
        data="digits",
        trials=9,
        images=500,
        aim="accuracy",
        begin_with=(LIMITS.feasible(SPACES["cifar-32"]),),
        halving=Halving.parse("1@8,2@8", resolution=8),
    )


def test_settings_come_back(config: RunConfig) -> None:
    assert RunConfig.from_settings(json.loads(json.dumps(config.to_settings()))) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 1}, "have version 1, read here are 2, 3, 4, 5, 6"),
        ({"more": 1}, "hold the unknown 'more'"),
        ({"seed": "0"}, r"`seed` \(='0'\) must be of type int"),
        ({"images": 0}, r"`images` \(=0\) must be a whole number of at least 1"),
        ({"images": "9"}, r"`images` \(='9'\) must be a whole number of at least 1"),
        ({"aim": "speed"}, r"`aim` \(='speed'\) must be one of front, accuracy"),
        ({"begin_with": 7}, "settings are damaged: 'int' object is not iterable"),
        ({"begin_with": [{"stem_stride": 1}]}, "they lack 'se_from_stage'"),
        ({"data": 7}, r"`data` \(=7\) must be of type str"),
        ({"limits": None}, "settings are damaged"),
        ({"space": []}, "space"),
        ({"recipe": 1}, "the recipe must be a table"),
        ({"halving": {"keep": 2}}, "they lack 'rungs'"),
    ],
)
def test_damaged_settings_are_refused(
    changes: dict[str, Any], words: str, config: RunConfig
) -> None:
    with pytest.raises(UserError, match=words):
        RunConfig.from_settings({**config.to_settings(), **changes})


@pytest.mark.parametrize("name", ["space", "limits", "searcher", "data", "trials"])
def test_missing_settings_are_named(name: str, config: RunConfig) -> None:
    settings = config.to_settings()
    del settings[name]
    with pytest.raises(UserError, match=f"they lack '{name}'"):
        RunConfig.from_settings(settings)


@pytest.mark.parametrize("name", ["trials", "seed"])
def test_numbers_have_bounds(name: str, config: RunConfig) -> None:
    settings = config.to_settings()
    assert RunConfig.from_settings({**settings, name: LARGEST}).to_settings()[name] == LARGEST
    with pytest.raises(UserError, match=rf"`{name}` \(={LARGEST + 1}\) must be at most {LARGEST}"):
        RunConfig.from_settings({**settings, name: LARGEST + 1})
