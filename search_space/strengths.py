"""How strongly the filter groups of one layer read its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from search_space.modules import LearnedLayer


def strengths(
    module: Any, inputs: int, gathered: NDArray[np.intp] | None
) -> tuple[NDArray[np.float64], int]:
    """Mean absolute weight of each filter group on each input, over the group's outputs and window.

    Args:
        module: A convolution or linear layer, learned or not.
        inputs: Channels that it may read.
        gathered: Which of them its weight has columns for, group by group; None where nothing is
            gathered before it: then filters of single channels are one group.

    Returns:
        ``(groups, inputs)``, nan where the group does not read the input; how many weights each
        mean is of.
    """
    weight = module.weight.detach().abs().double()
    magnitudes: Tensor = weight.flatten(2).mean(2) if weight.dim() == 4 else weight
    rows, columns = magnitudes.shape
    learned = isinstance(module, LearnedLayer)
    groups = module.mask.shape[0] if learned else getattr(module, "groups", 1)
    weights = rows // groups * int(weight[0, 0].numel())
    if learned:
        # Output row r belongs to group r % groups.
        means = magnitudes.view(-1, groups, columns).mean(0)
        return _numpy(means.masked_fill(~module.channel_mask, float("nan"))), weights
    means = magnitudes.view(groups, -1, columns).mean(1)
    if gathered is None and columns == 1:
        return _numpy(means.T), weights
    read = np.arange(inputs) if gathered is None else gathered
    found = np.full((groups, inputs), np.nan)
    np.put_along_axis(found, read.reshape(groups, -1), _numpy(means), axis=1)
    return found, weights


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.cpu().numpy()
    return array
