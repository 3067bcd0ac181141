"""How strongly layers use the features of earlier ones: the numbers that the papers draw.

Plain arrays made of :class:`~search_space.connections.Connections`; how they are drawn stands in
:mod:`results.reuse_figure`. Weights that were dropped count for nothing, and nan is where there is
no connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_space.plan import stage_of

if TYPE_CHECKING:
    from search_space.connections import Connections, Reading

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]


def strengths_per_group(found: Connections) -> Matrix:
    """``(features, groups of all readings)``: mean absolute weight that is kept between a feature
    and a filter group (CondenseNet, figure 8, top; CondenseNetV2, figure 6)."""
    columns = [
        _per_feature(group, r, len(found.owner)) for r in found.readings for group in r.strength
    ]
    return np.stack(columns, axis=1)


def linked_features(found: Connections) -> Flags:
    """``(features, groups of all readings)``: whether the group might read the feature."""
    return np.repeat(
        np.stack([_flags(r.features, len(found.owner)) for r in found.readings], axis=1),
        [len(r.strength) for r in found.readings],
        axis=1,
    )


def linked_sources(found: Connections) -> Flags:
    """``(sources, readings)``: whether the layer might read any feature of the other."""
    count = len(found.sources)
    return np.stack([_flags(found.owner[r.features], count) for r in found.readings], axis=1)


def strengths_between(found: Connections) -> Matrix:
    """``(sources, readings)``: L1 norm of the weights that are kept between two layers, over the
    number of feature maps that the reading one might read of the other (CondenseNet, figure 8,
    bottom, after DenseNet, figure 5; CondenseNetV2, figure 7)."""
    return np.stack([_between(found, r) for r in found.readings], axis=1)


def feature_reuse(found: Connections, stage: int) -> tuple[Matrix, list[str]]:
    """How much each layer of a stage relies on each it reads, 1 where it does most.

    Mean absolute weight that is kept between two layers, over the largest such mean of the layer
    that reads (SparseNet, section 4.6 and figure 3, which rescales to between 0 and 1). Rows are
    what the stage reads, all in one, and its layers; columns its layers and what reads them next.

    Returns:
        ``(1 + depth, readings)`` and the names of the readings' steps.
    """
    layers = [name for name in found.sources if stage_of(name) == stage]
    row_of = np.array([1 + layers.index(n) if n in layers else 0 for n in found.sources])
    own = [i for i, r in enumerate(found.readings) if stage_of(r.layer) == stage]
    readings = [found.readings[i] for i in (*own, *_next(found, own[-1]))]
    columns = []
    for reading in readings:
        rows = row_of[found.owner[reading.features]]
        means = [_mean(reading.strength[:, rows == row]) for row in range(1 + len(layers))]
        columns.append(np.array(means) / np.nanmax(means))
    return np.stack(columns, axis=1), [r.layer for r in readings]


def _next(found: Connections, last: int) -> list[int]:
    """What reads the outputs of a stage, whose last reading is given: a transition or the head."""
    following = found.readings[last + 1 : last + 2]
    return [last + 1] if following and not stage_of(following[0].layer) else []


def updated_shares(found: Connections) -> Matrix:
    """``(sources, reactivations)``: share of a layer's features that a reactivation updates; nan
    where it has none of them to update (CondenseNetV2, section 3.1)."""
    count = len(found.sources)
    columns = []
    for update in found.updates:
        owners = found.owner[update.features]
        updated = np.bincount(owners[update.kept.any(axis=0)], minlength=count)
        columns.append(_ratios(updated, np.bincount(owners, minlength=count)))
    return np.stack(columns, axis=1)


def _flags(positions: NDArray[np.intp], count: int) -> Flags:
    """Which of ``count`` positions are named."""
    flags = np.zeros(count, dtype=bool)
    flags[positions] = True
    return flags


def _between(found: Connections, reading: Reading) -> Matrix:
    count = len(found.sources)
    owners = found.owner[reading.features]
    # A classifier of several positions reads each of its feature maps several times.
    maps = np.bincount(found.owner[np.unique(reading.features)], minlength=count)
    norms = np.nansum(reading.strength, axis=0) * reading.weights
    kept = np.bincount(owners[~np.isnan(reading.strength).all(axis=0)], minlength=count)
    return _ratios(np.bincount(owners, norms, count), np.where(kept > 0, maps, 0))


def _per_feature(group: Matrix, reading: Reading, features: int) -> Matrix:
    """A group's strengths by the number of the feature; the mean where one is read several times,
    as a classifier of several positions does."""
    read = reading.features[~np.isnan(group)]
    sums = np.bincount(read, group[~np.isnan(group)], features)
    return _ratios(sums, np.bincount(read, minlength=features))


def _ratios(over: NDArray[Any], under: NDArray[Any]) -> Matrix:
    """Quotients, nan where nothing is divided by."""
    ratios: Matrix = np.full(len(under), np.nan)
    np.divide(over, under, out=ratios, where=under > 0)
    return ratios


def _mean(strengths: Matrix) -> float:
    kept = strengths[~np.isnan(strengths)]
    return float(kept.mean()) if kept.size else np.nan
