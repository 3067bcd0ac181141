"""The order of an epoch: every image once, the same for any number of shards."""

from __future__ import annotations

import pytest
import torch

from search_space import UserError
from trainers.order import epoch_order, in_order


def sizes(n: int, batch_size: int, shards: int) -> list[list[int]]:
    order = epoch_order(n, batch_size, shards=shards, seed=0, epoch=0)
    return [[len(shard) for shard in update] for update in order]


@pytest.mark.parametrize(
    ("n", "batch_size", "shards", "expected"),
    [
        (12, 4, 1, [[4], [4], [4]]),
        (14, 4, 2, [[2, 2], [2, 2], [3, 3]]),
        (16, 6, 2, [[3, 3], [3, 3], [2, 2]]),
        (9, 4, 1, [[4], [5]]),
        (10, 4, 1, [[4], [4], [2]]),
        (13, 8, 3, [[5, 4, 4]]),
        (3, 8, 1, [[3]]),
        (7, 7, 3, [[3, 2, 2]]),
    ],
)
def test_updates_are_cut_into_shards_and_a_small_rest_joins_the_last(
    n: int, batch_size: int, shards: int, expected: list[list[int]]
) -> None:
    assert sizes(n, batch_size, shards) == expected


@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_an_epoch_reads_each_image_once(shards: int) -> None:
    order = epoch_order(101, 16, shards=shards, seed=1, epoch=2)
    everything = torch.cat([shard for update in order for shard in update])
    assert everything.sort().values.tolist() == list(range(101))
    assert everything.tolist() != list(range(101))


@pytest.mark.parametrize("shards", [2, 4])
def test_all_shards_together_read_what_one_reads(shards: int) -> None:
    alone = epoch_order(104, 16, shards=1, seed=5, epoch=3)
    cut = epoch_order(104, 16, shards=shards, seed=5, epoch=3)
    for (whole,), parts in zip(alone, cut, strict=True):
        assert torch.equal(torch.cat(parts), whole)


def test_the_order_follows_seed_and_epoch_and_nothing_else() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat(
            [shard for (shard,) in epoch_order(50, 8, shards=1, seed=seed, epoch=epoch)]
        ).tolist()

    before = torch.default_generator.get_state()
    first = order(0, 0)
    torch.rand(1)
    assert order(0, 0) == first
    assert order(0, 1) != first
    assert order(1, 0) != first
    torch.default_generator.set_state(before)
    order(0, 0)
    assert torch.equal(torch.default_generator.get_state(), before)


@pytest.mark.parametrize(
    ("n", "batch_size", "shards", "message"),
    [
        (100, 7, 4, r"^`batch_size` \(=7\) must be at least 8: 2 images for each of 4 shards"),
        (100, 1, 1, r"^`batch_size` \(=1\) must be at least 2"),
        (3, 8, 2, r"^the number of training images \(=3\) must be at least 4"),
    ],
)
def test_fewer_than_two_images_for_a_shard_are_refused(
    n: int, batch_size: int, shards: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        epoch_order(n, batch_size, shards=shards, seed=0, epoch=0)


def test_evaluation_reads_in_order() -> None:
    assert [batch.tolist() for batch in in_order(5, 2)] == [[0, 1], [2, 3], [4]]
