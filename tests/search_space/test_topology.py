"""Links between the layers of a stage, against the formulas of SparseNet's section 3.2."""

from __future__ import annotations

import math

import pytest

from search_space import DenseStage, ResidualStage, ShuffleStage
from search_space.topology import Topology, topology, topology_of


def sparse(depth: int, base: int) -> Topology:
    stage = DenseStage(depth=depth, growth_rate=4, fetch="exponential", fetch_base=base)
    found = topology(stage)
    assert found is not None
    return found


def floor_log(value: int, base: int) -> int:
    return next(k for k in range(64) if base ** (k + 1) > value)


def digit_sum(value: int, base: int) -> int:
    return value % base + digit_sum(value // base, base) if value else 0


def test_two_layers_by_hand() -> None:
    # Layer 1 reads the input; layer 2 reads layer 1 and, over it, the input.
    assert topology_of([(0,), (0, 1)]) == Topology(
        depth=2, links=3, skips=1, largest_fan_in=2, gradient_path=1
    )
    # A plain chain (table 1, first row): a path as long as the network, one feature at a time.
    assert topology_of([(0,), (1,), (2,)]) == Topology(
        depth=3, links=3, skips=0, largest_fan_in=1, gradient_path=3
    )


def test_four_layers_of_a_sparsenet_by_hand() -> None:
    # 1: {0}; 2: {1, 0}; 3: {2, 1}; 4: {3, 2, 0}. From 3 to 0 it takes two links.
    assert sparse(4, 2) == Topology(depth=4, links=8, skips=4, largest_fan_in=3, gradient_path=2)


@pytest.mark.parametrize("depth", [1, 12, 32, 100])
@pytest.mark.parametrize("base", [2, 3, 4])
def test_exponential_fetch_is_as_equation_4_and_table_1_have_it(depth: int, base: int) -> None:
    found = sparse(depth, base)
    assert found.skips == sum(floor_log(layer, base) for layer in range(1, depth + 1))
    assert found.links == depth + found.skips
    assert found.largest_fan_in == floor_log(depth, base) + 1
    # An offset is crossed in as many powers of c as it is the sum of.
    assert found.gradient_path == max(digit_sum(offset, base) for offset in range(1, depth + 1))
    assert found.gradient_path <= (base - 1) * (math.log(depth, base) + 1)


@pytest.mark.parametrize("depth", [1, 12, 100])
def test_dense_aggregation_by_concatenation_and_by_sums(depth: int) -> None:
    expected = Topology(
        depth=depth,
        links=depth * (depth + 1) // 2,
        skips=depth * (depth - 1) // 2,
        largest_fan_in=depth,
        gradient_path=1,
    )
    assert topology(DenseStage(depth=depth, growth_rate=4)) == expected
    assert topology(ResidualStage(depth=depth, channels=16)) == expected


def test_shuffled_halves_are_fetched_by_no_rule() -> None:
    assert topology(ShuffleStage(channels=8, units=("3", "3"))) is None
