"""Which images each update of an epoch reads."""

from __future__ import annotations

import torch
from torch import Tensor

from search_space.errors import UserError
from trainers.keyed import generator_of

LEAST_IMAGES = 2
"""Batch norm can make nothing of fewer images than these at once."""


def epoch_order(
    n: int, batch_size: int, *, shards: int, seed: int, epoch: int
) -> list[tuple[Tensor, ...]]:
    """The shuffled indices of one epoch: for each update one tensor of them per shard.

    Shards are processes times the micro-batches that each of them accumulates: four processes
    read exactly what one reads that accumulates four micro-batches. A rest of too few images for
    each shard joins the update before it.

    Args:
        n: How many images there are.
        batch_size: How many of them an update reads, all shards together.
        shards: Into how many parts an update is cut, as equal as can be.
        seed: With ``epoch`` determines the order, and nothing else does.
        epoch: The number of the epoch, from 0.

    Raises:
        UserError: a shard would get fewer than ``LEAST_IMAGES``.
    """
    least = LEAST_IMAGES * shards
    for what, value in (("`batch_size`", batch_size), ("the number of training images", n)):
        if value < least:
            raise UserError(
                f"{what} (={value}) must be at least {least}: {LEAST_IMAGES} images for each of"
                f" {shards} shards, which are processes times accumulated micro-batches"
            )
    order = torch.randperm(n, generator=generator_of(seed, epoch))
    updates = list(torch.split(order, batch_size))
    if len(updates) > 1 and len(updates[-1]) < least:
        updates[-2:] = [torch.cat(updates[-2:])]
    return [update.tensor_split(shards) for update in updates]


def in_order(n: int, batch_size: int) -> list[Tensor]:
    """The indices of ``n`` images as they are stored, in batches: for evaluation."""
    return list(torch.split(torch.arange(n), batch_size))
