"""Which features the filter groups of each layer kept, and how often each layer is reactivated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from search_space.plan import part

if TYPE_CHECKING:
    from search_space.connections import Connections, Reading


@dataclass(frozen=True, kw_only=True)
class Updated:
    """How often one layer is reactivated.

    Attributes:
        source: The layer.
        layers: Layers that might update it.
        updating: Those of them that update any of its features.
        mean_share: Share of its features that one of the former updates, on average.
        mean_groups: Groups that update one of its features, on average over features and layers.
    """

    source: str
    layers: int
    updating: int
    mean_share: float
    mean_groups: float


def updated(found: Connections) -> list[Updated]:
    """One entry per layer that might be reactivated (CondenseNetV2, section 3.1)."""
    rows = []
    for position, source in enumerate(found.sources):
        kept = [u.kept[:, found.owner[u.features] == position] for u in found.updates]
        kept = [k for k in kept if k.size]
        if kept:
            rows.append(
                Updated(
                    source=source,
                    layers=len(kept),
                    updating=sum(bool(k.any()) for k in kept),
                    mean_share=float(np.mean([k.any(axis=0).mean() for k in kept])),
                    mean_groups=float(np.mean([k.sum(axis=0).mean() for k in kept])),
                )
            )
    return rows


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the filter groups of one layer kept of what they might read.

    Attributes:
        layer: Its step.
        op: Its name in the step.
        groups: Filter groups.
        inputs: Features that each might read.
        kept: Features that each kept, on average.
        unread: Features that none kept.
        shares: Of the features of a part (the stem, a stage), the share that a group kept.
    """

    layer: str
    op: str
    groups: int
    inputs: int
    kept: float
    unread: int
    shares: Mapping[str, float]


def kept(found: Connections) -> list[Kept]:
    """One entry per layer that has dropped any of its inputs."""
    parts = np.array([part(name) for name in found.sources])
    rows = []
    for r in found.readings:
        left = ~np.isnan(r.strength)
        if left.all():
            continue
        part_of = parts[found.owner[r.features]]
        shares = {p: float(left[:, part_of == p].mean()) for p in dict.fromkeys(part_of.tolist())}
        rows.append(
            Kept(
                layer=r.layer,
                op=r.op,
                groups=len(left),
                inputs=left.shape[1],
                kept=float(left.sum(axis=1).mean()),
                unread=int((~left.any(axis=0)).sum()),
                shares=shares,
            )
        )
    return rows


def kept_frame(weights: Mapping[str, Connections]) -> pd.DataFrame:
    """Which features each filter group kept: one row per group and feature.

    Columns: ``weights``, what they are called; ``layer`` and ``op`` that read; ``group`` and
    ``input`` of it from 0; ``source``, the layer that made the feature, and ``channel`` of its
    features from 0; ``mean_weight``, the absolute one over the group.
    """
    frames = [_kept_by(r, found, name) for name, found in weights.items() for r in found.readings]
    return pd.concat(frames, ignore_index=True)


def _kept_by(reading: Reading, found: Connections, name: str) -> pd.DataFrame:
    groups, inputs = np.nonzero(~np.isnan(reading.strength))
    features = reading.features[inputs]
    owners = found.owner[features]
    return pd.DataFrame(
        {
            "weights": name,
            "layer": reading.layer,
            "op": reading.op,
            "group": groups,
            "input": inputs,
            "source": np.array(found.sources)[owners],
            "channel": features - np.searchsorted(found.owner, owners),
            "mean_weight": reading.strength[groups, inputs],
        }
    )
