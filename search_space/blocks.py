"""The kinds of stages that a network is made of."""

from __future__ import annotations

from search_space.dense_block import DenseStage
from search_space.residual_block import ResidualStage
from search_space.shuffle_block import ShuffleStage

__all__ = ["BLOCKS", "DenseStage", "ResidualStage", "ShuffleStage", "Stage"]

Stage = DenseStage | ResidualStage | ShuffleStage

BLOCKS: dict[str, type[Stage]] = {
    stage.kind: stage for stage in (DenseStage, ResidualStage, ShuffleStage)
}
"""Stages by the name that descriptions give them under ``block``."""
