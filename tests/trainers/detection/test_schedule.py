"""The schedule of 12 epochs."""

import dataclasses
from typing import Any

import pytest

from search_space.errors import UserError
from trainers.detection.schedule import DetectionRecipe, learning_rate, scaled_rate

RECIPE = DetectionRecipe(learning_rate=0.02)
STEPS = 12 * 7330
"""COCO's 117,266 images with boxes, 16 an update."""


def test_the_usual_schedule_has_its_steps_after_epochs_8_and_11() -> None:
    rates = {epoch: learning_rate(RECIPE, epoch * 7330, STEPS) for epoch in range(1, 12)}
    assert rates == {
        **{epoch: pytest.approx(0.02) for epoch in range(1, 8)},
        **{epoch: pytest.approx(0.002) for epoch in (8, 9, 10)},
        11: pytest.approx(0.0002),
    }
    assert learning_rate(RECIPE, 8 * 7330 - 1, STEPS) == pytest.approx(0.02)


def test_it_warms_up_for_500_updates() -> None:
    rates = [learning_rate(RECIPE, step, STEPS) for step in (0, 250, 499, 500)]
    assert rates == pytest.approx([0.02 * s for s in (0.001, 0.5005, 0.998002, 1)])


def test_a_short_training_warms_up_for_a_twelfth() -> None:
    rates = [learning_rate(RECIPE, step, 120) for step in range(12)]
    assert rates == sorted(rates)
    assert rates[9] < 0.02 == rates[10] == rates[11]


@pytest.mark.parametrize(("batch_size", "rate"), [(16, 0.02), (8, 0.01), (64, 0.08)])
def test_the_rate_is_in_proportion_to_the_batch(batch_size: int, rate: float) -> None:
    assert scaled_rate(0.02, batch_size) == pytest.approx(rate)


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0}, {"learning_rate": 1e999}]
)
def test_what_is_no_recipe_is_refused(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(UserError, match=f"`{name}`"):
        dataclasses.replace(RECIPE, **changes)
