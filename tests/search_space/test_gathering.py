"""The rules of where a condensed layer pays, by small cases."""

import pytest

from search_space.gathering import GATHERING, Gathering

WHOLE = Gathering(worth=15, block=4, multiple=4)


@pytest.mark.parametrize(
    ("case", "pays"),
    [
        # 30 * 30 / (30 + 30) = 15, what a layer must be worth.
        ({"inputs": 30, "outputs": 30, "groups": 2, "kept": 8, "block": 4}, True),
        ({"inputs": 29, "outputs": 30, "groups": 2, "kept": 8, "block": 4}, False),
        # Groups that do not divide the outputs.
        ({"inputs": 64, "outputs": 30, "groups": 4, "kept": 8, "block": 4}, False),
        # No channel is kept; every one twice; one more.
        ({"inputs": 64, "outputs": 64, "groups": 2, "kept": 0, "block": 4}, False),
        ({"inputs": 64, "outputs": 64, "groups": 2, "kept": 64, "block": 4}, True),
        ({"inputs": 64, "outputs": 64, "groups": 2, "kept": 65, "block": 4}, False),
        # Blocks of whole fours.
        ({"inputs": 64, "outputs": 64, "groups": 2, "kept": 16, "block": 8}, True),
        ({"inputs": 64, "outputs": 64, "groups": 2, "kept": 16, "block": 2}, False),
        ({"inputs": 64, "outputs": 64, "groups": 2, "kept": 16, "block": 1}, False),
    ],
)
def test_a_layer_pays_where_every_condition_holds(case: dict[str, int], pays: bool) -> None:
    assert WHOLE.pays(**case) is pays


def test_single_channels_are_gathered_where_blocks_are_not_asked_for() -> None:
    assert Gathering(worth=15).pays(64, 64, 2, 16, 1)


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "merged"),
    [
        (64, 64, 8, 8),  # groups of eight channels
        (32, 16, 8, 4),  # outputs of two a group, of four after merging
        (24, 24, 6, 6),
        (24, 24, 12, 6),
        (30, 30, 3, 1),  # no divisor of three has whole fours: one group is always allowed
        (36, 24, 6, 3),  # 6 inputs a group; 12 and 8 by threes
        (6, 6, 2, 1),
    ],
)
def test_groups_merge_until_their_channels_are_whole(
    inputs: int, outputs: int, groups: int, merged: int
) -> None:
    assert WHOLE.merged(inputs, outputs, groups) == merged
    assert Gathering(worth=15).merged(inputs, outputs, groups) == groups


@pytest.mark.parametrize("runtime", GATHERING)
def test_a_large_layer_in_whole_blocks_pays_on_every_runtime(runtime: str) -> None:
    how = GATHERING[runtime]
    assert how.pays(256, 256, 4, 64, 8 * how.block)
    assert not how.pays(4, 4, 1, 4, 8 * how.block)
