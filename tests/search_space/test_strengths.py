"""Mean absolute weights of filter groups, of weights that one can see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from search_space.strengths import strengths

NAN = np.nan


def conv(weight: list[list[float]], groups: int, kernel: int = 1) -> nn.Conv2d:
    """A convolution all of whose window has the same weight."""
    rows = torch.tensor(weight)
    made = nn.Conv2d(
        rows.shape[1] * groups, rows.shape[0], kernel, groups=groups, bias=False
    ).requires_grad_(False)
    made.weight.copy_(rows[:, :, None, None].expand_as(made.weight))
    return made


def test_groups_read_their_own_inputs() -> None:
    found, weights = strengths(conv([[1, -2], [3, 4], [5, 6], [-7, 8]], groups=2), 4, None)
    np.testing.assert_array_equal(found, [[2, 3, NAN, NAN], [NAN, NAN, 6, 7]])
    assert weights == 2


def test_groups_read_what_was_gathered_for_them() -> None:
    gathered = np.array([2, 0, 1, 2])
    found, _ = strengths(conv([[1, -2], [3, 4]], groups=2), 3, gathered)
    np.testing.assert_array_equal(found, [[2, NAN, 1], [NAN, 3, 4]])


@pytest.mark.parametrize("inputs", [2, 3])
def test_one_input_for_each_group_is_no_filter_of_single_channels(inputs: int) -> None:
    filters = conv([[1], [-2]], groups=2, kernel=3)
    found, weights = strengths(filters, inputs, np.array([1, 0]))
    expected = np.full((2, inputs), NAN)
    expected[0, 1], expected[1, 0] = 1, 2
    np.testing.assert_array_equal(found, expected)
    assert weights == 9


def test_filters_of_single_channels_are_one_group() -> None:
    found, weights = strengths(conv([[1], [-2]], groups=2, kernel=3), 2, None)
    np.testing.assert_array_equal(found, [[1, 2]])
    assert weights == 9


def test_a_linear_layer_is_one_group() -> None:
    layer = nn.Linear(2, 2).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
    found, weights = strengths(layer, 3, np.array([2, 0]))
    np.testing.assert_array_equal(found, [[3, NAN, 2]])
    assert weights == 2
