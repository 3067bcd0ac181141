"""Costs: golden figures, formulas, and the count of another library on the built modules."""

import dataclasses
import subprocess
import sys
import warnings
from typing import NamedTuple

import pytest
import torch

from search_space import (
    ZOO,
    DenseStage,
    HeadSpec,
    NetworkSpec,
    StemSpec,
    UnknownName,
    build,
    cost,
    macs,
    ops,
)
from search_space.cost import PAPER_COUNTERS, paper_convention
from search_space.plan import Form
from search_space.zoo import condensenet


class Golden(NamedTuple):
    macs: int
    params: int
    paper_flops: int


GOLDEN: dict[str, Golden] = {
    # Counted on the authors' own models, converted by their own code: convolutions and linear
    # layers by fvcore (their dense index matrices left out), parameters by numel, and the figure
    # of their counters, which the papers print (45.87 M as 46 M, ...).
    "condensenetv2-a": Golden(43_143_776, 2_038_444, 45_874_350),
    "condensenetv2-b": Golden(140_468_656, 3_592_662, 146_469_057),
    "condensenetv2-c": Golden(295_787_552, 6_177_512, 309_740_977),
    "condensenet-86": Golden(62_381_888, 520_202, 65_816_394),
    "condensenet-a": Golden(51_013_760, 579_592, 55_715_624),
    "condensenet-b": Golden(125_827_296, 1_521_184, 131_200_264),
    "condensenet-c": Golden(261_545_792, 2_935_416, 274_233_480),
    "condensenet-c4": Golden(516_640_576, 4_773_944, 529_328_264),
    # The authors' model with a stem of 2k channels, by fvcore; the paper prints no count.
    "sparsenet-bc-100-k12": Golden(160_585_584, 373_348, 160_585_584),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_zoo_costs_what_the_authors_models_cost(name: str) -> None:
    priced = cost(ZOO[name])
    assert Golden(priced.macs, priced.params, priced.paper_flops) == GOLDEN[name]
    assert macs(ZOO[name]) == priced.macs


@pytest.mark.parametrize(
    ("name", "training_macs", "training_params"),
    [
        # fvcore and numel on the authors' unconverted models.
        ("condensenetv2-b", 457_518_256, 6_311_412),
        ("condensenet-86", 173_858_624, 1_451_594),
        ("sparsenet-bc-100-k12", 160_585_584, 373_348),
    ],
)
def test_training_costs_what_the_authors_models_cost(
    name: str, training_macs: int, training_params: int
) -> None:
    priced = cost(ZOO[name])
    assert (priced.training_macs, priced.training_params) == (training_macs, training_params)


def test_condensenet_c_with_a_dense_classifier() -> None:
    # The authors' counter before their conversion halves the classifier.
    spec = ZOO["condensenet-c"]
    dense = cost(spec.replace(head=HeadSpec()))
    assert (dense.macs, dense.params) == (262_577_792, 3_967_416)
    assert dense.paper_flops == 275_265_480


def test_condensenet_50() -> None:
    priced = cost(condensenet((8, 8, 8), (8, 16, 32), 4, image_size=32, classes=10))
    assert (priced.training_macs, priced.training_params) == (64_934_432, 522_938)
    assert (priced.paper_flops, priced.paper_params) == (28_641_834, 216_506)


def test_condensenetv2_on_cifar() -> None:
    # The authors' layers in stages of 12; their paper's CIFAR skeleton, which they never released.
    stages = tuple(
        DenseStage(
            depth=12,
            growth_rate=growth_rate,
            groups_1x1=4,
            condense_factor=4,
            groups_3x3=4,
            sfr="all",
            sparse_factor=4,
            sfr_groups=4,
        )
        for growth_rate in (8, 16, 32)
    )
    spec = NetworkSpec(image_size=32, classes=10, stem=StemSpec(channels=16), stages=stages)
    priced = cost(spec)
    assert (priced.macs, priced.params, priced.paper_flops) == (56_089_312, 463_930, 58_950_368)
    assert (priced.training_macs, priced.training_params) == (159_308_512, 1_320_730)


# --- A network by hand ------------------------------------------------------------------------

LAYER = DenseStage(
    depth=1,
    growth_rate=6,
    bottleneck=1,
    groups_1x1=3,
    condense_factor=3,
    groups_3x3=2,
    sfr="all",
    sparse_factor=2,
    sfr_groups=2,
    se_reduction=2,
)
BY_HAND = NetworkSpec(image_size=8, classes=10, stem=StemSpec(channels=6), stages=(LAYER,))


def test_a_network_by_hand() -> None:
    priced = cost(BY_HAND)
    pixels = 8 * 8
    stem = 6 * 3 * 3**2
    reduce = 6 * (6 // 3)
    conv = 6 * (6 // 2) * 3**2
    squeeze_excite = 2 * 6 * 3
    reactivation = (2 * (6 // 2)) * (6 // 2)
    classifier = 12 * 10
    assert priced.macs == (stem + reduce + conv + reactivation) * pixels + (
        squeeze_excite + classifier
    )
    norms = 2 * (6 + 6 + 6 + 12)
    shared = stem + conv + squeeze_excite + norms + classifier + 10
    assert priced.params == shared + reduce + reactivation
    # Masked, the learned layers are dense.
    assert priced.training_params == shared + 6 * 6 + 6 * 6
    assert priced.training_macs == (stem + 6 * 6 + conv + 6 * 6) * pixels + (
        squeeze_excite + classifier
    )
    # Gather 6, two shuffles of 6, index-add 6.
    assert priced.gather_elements == 4 * 6 * pixels
    # Stem, reduce, conv, reactivation, classifier.
    assert priced.activations == 4 * 6 * pixels + 10


def test_the_papers_counters_by_hand() -> None:
    pixels = 8 * 8
    convolutions = (6 * 27 + 6 * 2 + 6 * 3 * 9) * pixels
    activations = (6 + 6) * pixels
    head = 12 * pixels + 12 * pixels  # ReLU and pooling
    reactivation = (6 * 3 + 6) * pixels  # and its ReLU
    # Pooling by its input, two linear layers, ReLU, sigmoid twice.
    squeeze_excite = 6 * pixels + 2 * 6 * 3 + 3 + 2 * 6
    v2 = convolutions + activations + head + reactivation + squeeze_excite + 12 * 10
    assert cost(BY_HAND).paper_convention == "condensenetv2"
    assert cost(BY_HAND).paper_flops == v2
    plain = convolutions + 6 * 3 * pixels + 2 * 6 * 3 + 12 * 10
    assert cost(BY_HAND, convention="plain").paper_flops == plain
    v1 = BY_HAND.replace(stages=(dataclasses.replace(LAYER, sfr="none", se_reduction=0),))
    assert cost(v1).paper_convention == "condensenet"
    assert cost(v1).paper_flops == convolutions + activations + head + 12 * 10 + 10


def test_peak_activation_of_a_dense_network() -> None:
    spec = NetworkSpec(
        image_size=4,
        classes=2,
        image_channels=1,
        stem=StemSpec(channels=2),
        stages=(DenseStage(depth=1, growth_rate=1, bottleneck=0),),
    )
    # Head: its 3 channels, their norm and the ReLU of that, 4 x 4 each, 4 bytes.
    assert cost(spec).peak_activation_mb == pytest.approx(3 * 3 * 16 * 4 / 1e6)


def test_peak_activation_counts_what_waits_for_a_later_layer() -> None:
    spec = NetworkSpec(
        image_size=4,
        classes=2,
        image_channels=1,
        stem=StemSpec(channels=3),
        stages=(DenseStage(depth=2, growth_rate=2, fetch="exponential", fetch_base=3),),
    )
    # Layer 2 reads layer 1's 2 channels, norms 8 inner ones and activates them, while the stem's
    # 3 wait for the head.
    assert cost(spec).peak_activation_mb == pytest.approx((2 + 8 + 8 + 3) * 16 * 4 / 1e6)


# --- The built modules ------------------------------------------------------------------------


def counted(spec: NetworkSpec, form: Form) -> tuple[int, int]:
    """Multiply-adds of convolutions and linear layers by fvcore, parameters by numel."""
    network = build(spec, form).eval()
    image = torch.zeros(1, spec.image_channels, spec.image_size, spec.image_size)
    with warnings.catch_warnings():
        # fvcore scripts a function on import and traces the module; torch calls both old.
        warnings.simplefilter("ignore", FutureWarning)
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        operators = analysis.by_operator()
    params = sum(p.numel() for p in network.parameters())
    return int(operators["conv"] + operators["linear"]), params


def test_both_forms_are_counted_alike_by_fvcore(variant: NetworkSpec) -> None:
    priced = cost(variant)
    assert counted(variant, "condensed") == (priced.macs, priced.params)
    assert counted(variant, "masked") == (priced.training_macs, priced.training_params)


@pytest.mark.parametrize("name", ["condensenet-86", "condensenetv2-a", "sparsenet-bc-100-k12"])
def test_the_zoo_is_counted_alike_by_fvcore(name: str) -> None:
    priced = cost(ZOO[name])
    assert counted(ZOO[name], "condensed") == (priced.macs, priced.params)


# --- Conventions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "convention"),
    [
        ("condensenet-86", "condensenet"),
        ("condensenet-c", "condensenet"),
        ("condensenetv2-a", "condensenetv2"),
        ("sparsenet-bc-100-k12", "plain"),
    ],
)
def test_the_convention_is_that_of_the_nearest_paper(name: str, convention: str) -> None:
    assert paper_convention(ZOO[name]) == convention
    assert cost(ZOO[name]).paper_convention == convention


@pytest.mark.parametrize("convention", PAPER_COUNTERS)
def test_a_convention_changes_the_papers_count_alone(convention: str) -> None:
    spec = ZOO["condensenetv2-a"]
    told = cost(spec, convention=convention)
    assert told.paper_convention == convention
    assert (told.macs, told.params) == (cost(spec).macs, cost(spec).params)
    assert told.paper_flops >= cost(spec, convention="plain").paper_flops


def test_multiply_adds_alone_are_those_of_the_condensed_network(variant: NetworkSpec) -> None:
    assert cost(variant, convention="plain").paper_flops == macs(variant)


@pytest.mark.parametrize("convention", sorted(set(PAPER_COUNTERS) - {"plain"}))
def test_the_other_conventions_add_activations_and_pooling(
    convention: str, variant: NetworkSpec
) -> None:
    told = cost(variant, convention=convention).paper_flops
    pooled = sum(
        op.input.elements
        for op in variant.plan("masked").ops
        if isinstance(op, ops.AvgPool | ops.GlobalPool)
    )
    assert told > macs(variant) + pooled


def test_an_unknown_convention_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownName,
        match="unknown counting convention 'thop'; known: condensenet, condensenetv2, plain",
    ):
        cost(ZOO["condensenet-86"], convention="thop")


PRICING = """
import sys
from search_space import SPACES, ZOO, build, cost

for spec in ZOO.values():
    cost(spec)
for space in SPACES.values():
    spec = space.decode({d.name: d.choices[0] for d in space.dimensions})
    space.encode(spec)
    cost(spec)
assert "torch" not in sys.modules, "pricing imported torch"
build(ZOO["condensenet-86"].replace(stages=ZOO["condensenet-86"].stages[:1]))
assert "torch" in sys.modules
print("done")
"""


def test_pricing_does_not_import_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRICING], capture_output=True, text=True, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_a_gather_counts_what_it_writes() -> None:
    """Eight groups of half of 16 inputs: four times the 16 x 8 x 8 elements that it reads."""
    stage = DenseStage(depth=1, growth_rate=8, groups_1x1=8, condense_factor=2)
    spec = NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=16), stages=(stage,))
    shuffled = 4 * 8 * 8 * 8
    assert cost(spec).gather_elements == 8 * 8 * 8 * 8 + shuffled


def test_a_placement_without_layers_counts_as_none() -> None:
    def net(sfr: str) -> NetworkSpec:
        stage = DenseStage(depth=2, growth_rate=8, groups_1x1=2, condense_factor=2, sfr=sfr)
        return NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=16), stages=(stage,))

    assert cost(net("every-9")).to_dict() == cost(net("none")).to_dict()
