"""Stages whose layers add channels. What they write down is in test_plan, what they refuse in
test_spec; here is what their choices do to costs and outputs."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from search_space import DenseStage, NetworkSpec, SpecError, StemSpec, build, cost
from search_space.dense_block import plainest_reduction, reactivating, sfr_layers
from search_space.modules import LearnedLayer

STAGE = DenseStage(
    depth=3, growth_rate=8, bottleneck=2, groups_1x1=4, condense_factor=4, groups_3x3=2
)
SFR = replace(STAGE, sfr="all", sparse_factor=4, sfr_groups=2)


def network(*stages: DenseStage, stem: int = 16) -> NetworkSpec:
    return NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=stem), stages=stages)


def test_a_stage_by_formula() -> None:
    """Condensed 1x1, grouped 3x3 and reactivation of layers that read 16, 24 and 32 channels."""
    area, inner, k = 8 * 8, 16, 8
    layers = [
        inner * (reads // 4) + k * (inner // 2) * 9 + k * (reads // 4) for reads in (16, 24, 32)
    ]
    stem, classifier = 16 * 3 * 9 * area, 40 * 4
    assert cost(network(SFR)).macs == stem + sum(layers) * area + classifier


@pytest.mark.parametrize("block", [1, 2])
def test_blocks_that_divide_change_no_cost(block: int) -> None:
    assert cost(network(replace(SFR, condense_block=block))).to_dict() == (
        cost(network(SFR)).to_dict()
    )
    assert (network(replace(SFR, condense_block=block)).id == network(SFR).id) == (block == 1)


def test_blocks_round_down_what_is_kept() -> None:
    """Of 24 channels, made of three eights, a half is one eight and not 12 channels."""
    stage = replace(STAGE, condense_factor=2, condense_block=8)
    kept = [
        layer.mask.shape[1] // 2 * layer.block
        for layer in build(network(stage)).learned_layers.values()
    ]
    assert kept == [8, 8, 16]
    one, eight = (cost(network(replace(stage, condense_block=b))) for b in (1, 8))
    assert one.macs - eight.macs == 16 * (12 - 8) * 8 * 8


@torch.no_grad()
@pytest.mark.parametrize("fetch", ["dense", "exponential"])
@pytest.mark.parametrize("block", [2, 4, 8])
def test_blocks_are_gathered_as_runs(block: int, fetch: str) -> None:
    spec = network(
        replace(SFR, condense_factor=2, sparse_factor=2, condense_block=block, fetch=fetch)
    )
    masked = build(spec, generator=torch.Generator().manual_seed(0)).double().eval()
    masked.condense(1.0)
    condensed = masked.to_inference()
    indices = [v for n, v in condensed.state_dict().items() if n.endswith("index")]
    assert len(indices) >= 5
    for index in indices:
        runs = index.view(-1, block)
        assert (runs == runs[:, :1] + torch.arange(block)).all()
        assert (runs[:, 0] % block == 0).all()
    x = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(condensed(x), masked(x))


@torch.no_grad()
def test_post_reactivation_norms_what_it_adds() -> None:
    """CondenseNetV2, section 3.1: convolution, norm, activation; nothing is ever subtracted."""
    spec = network(replace(SFR, sfr_order="post"))
    built = build(spec, generator=torch.Generator().manual_seed(0)).eval()
    built.condense(1.0)
    layer = built.get_submodule("steps.stage1_layer1")
    x = torch.randn((2, 16, 8, 8), generator=torch.Generator().manual_seed(1))
    (y,) = layer(x)
    reactivation, norm = layer.get_submodule("sfr"), layer.get_submodule("sfr_norm")
    assert isinstance(reactivation, LearnedLayer)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.num_features == 16
    torch.testing.assert_close(y[:, :16], x + norm(reactivation(y[:, 16:])).relu())
    assert (y[:, :16] >= x).all()
    # Before training a norm adds nothing to what nobody updates.
    untouched = ~reactivation.mask.any(0)
    assert y[:, :16][:, untouched].equal(x[:, untouched])


def test_stages_that_read_everything_are_executed_alike_however_written() -> None:
    """One layer reads all there is under any rule of base 2: the same plan, the same memory."""
    one = replace(SFR, depth=1)
    written = network(one), network(replace(one, fetch="exponential"))
    assert written[0].id == written[1].id
    plans = [spec.plan("condensed") for spec in written]
    assert plans[0] == plans[1]


def test_a_larger_kernel_multiplies_what_reactivates() -> None:
    one, three = (cost(network(replace(SFR, sfr_kernel=kernel))) for kernel in (1, 3))
    weights = sum(8 * (reads // 4) for reads in (16, 24, 32))
    assert three.params - one.params == 8 * weights
    assert three.macs - one.macs == 8 * weights * 8 * 8


def test_reactivating_layers_are_those_that_somebody_reads_after() -> None:
    assert sfr_layers("all", 3) == {0, 1, 2}
    assert reactivating("all", 3, "dense", 2) == {0, 1, 2}
    assert reactivating("all", 3, "exponential", 2) == {0, 1, 2}
    assert reactivating("all", 3, "exponential", 3) == {0, 1}
    assert reactivating("none", 3, "dense", 2) == frozenset()


@pytest.mark.parametrize(
    ("reduction", "channels", "plainest"), [(0, 8, 0), (1, 8, 1), (3, 8, 3), (5, 8, 5), (7, 8, 5)]
)
def test_the_plainest_reduction_has_as_many_hidden_units(
    reduction: int, channels: int, plainest: int
) -> None:
    assert plainest_reduction(reduction, channels) == plainest


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            replace(STAGE, condense_block=3),
            "stage 1, layer 1: `condense_block` (=3) must divide the inputs of the layer (=16),",
        ),
        (
            replace(STAGE, growth_rate=12, condense_factor=2, condense_block=8),
            "stage 1, layer 2: `condense_block` (=8) must divide the inputs of the layer (=28),",
        ),
        (
            replace(STAGE, condense_block=8),
            "stage 1, layer 1: `condense_factor` (=4) must be at most the inputs of the layer (=16)"
            " in blocks of 8: ",
        ),
        (
            replace(SFR, condense_factor=1, condense_block=8),
            "stage 1, layer 1: `sparse_factor` (=4) must be at most the features that it updates"
            " (=16) in blocks of 8: each group updates floor(features / sparse_factor) of them;",
        ),
    ],
)
def test_blocks_that_do_not_fit_are_named_by_place(stage: DenseStage, message: str) -> None:
    with pytest.raises(SpecError) as error:
        network(stage)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("block", [0, -1, 2.0, True, "4"])
def test_a_block_is_a_whole_number(block: object) -> None:
    with pytest.raises(SpecError, match=r"^`condense_block` \(=.*\) must be a whole number of at"):
        replace(STAGE, condense_block=block)
