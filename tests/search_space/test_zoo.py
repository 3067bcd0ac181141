"""The papers' networks: what they are made of, and the figures that the papers print."""

from decimal import Decimal

import pytest
import torch
import torchvision

from search_space import ZOO, HeadSpec, NetworkSpec, UnknownName, cost, zoo
from search_space.zoo import condensenet, condensenetv2, resnet, sparsenet


@pytest.mark.parametrize("name", ZOO)
def test_every_network_is_had_by_its_name(name: str) -> None:
    assert zoo(name) is ZOO[name]
    assert isinstance(zoo(name), NetworkSpec)


def test_no_two_names_are_the_same_network() -> None:
    assert len({spec.id for spec in ZOO.values()}) == len(ZOO)


def test_an_unknown_name_says_where_the_known_ones_are() -> None:
    with pytest.raises(UnknownName, match="unknown network 'vgg-16'; `search models` lists all"):
        zoo("vgg-16")


FAMILIES = {
    "condensenet": 11,
    "condensenet-light": 2,
    "condensenetv2": 11,
    "shufflenetv2": 3,
    "shufflenetv2plus": 3,
    "sfr-shufflenetv2": 3,
    "sfr-shufflenetv2plus": 2,
    "sparsenet": 11,
    "sparsenet-bc": 7,
    "sparsenet-sum": 5,
    "densenet": 7,
    "densenet-bc": 5,
    "resnet": 7,
    "found": 5,
}


def test_every_family_is_there() -> None:
    longest_first = sorted(FAMILIES, key=len, reverse=True)
    families = [next(f for f in longest_first if name.startswith(f"{f}-")) for name in ZOO]
    assert {family: families.count(family) for family in FAMILIES} == FAMILIES
    assert sum(FAMILIES.values()) == len(ZOO) >= 50


IDENTIFIERS = {
    "condensenet-86": "1afc39b0eddc",
    "condensenet-light-94": "e0995bb264ea",
    "condensenetv2-b": "f92be7e1ac43",
    "shufflenetv2-x0.5": "f0663f057228",
    "sfr-shufflenetv2plus-s": "c494f24f7588",
    "sparsenet-bc-100-k12": "222bdff07ccf",
    "sparsenet-sum-56": "e528b23eb64f",
    "densenet-121": "05111f7013fd",
    "resnet-50": "724a0c8a9cde",
    "found-cifar-5m-a": "ef860f365e7f",
    "found-cifar-5m-b": "88408b5fb1b1",
    "found-cifar-5m-c": "208fdc189e98",
    "found-cifar-5m-d": "752a312db44f",
    "found-cifar-4ms-a": "6c4ed0cb3a0c",
}


def test_identifiers_last() -> None:
    """Files and runs name networks by these: no version may change them."""
    assert {name: ZOO[name].id for name in IDENTIFIERS} == IDENTIFIERS


# --- What the papers print --------------------------------------------------------------------

PRINTED: dict[str, tuple[str | None, str | None]] = {
    # Millions of parameters and of operations, to as many digits as the papers print.
    "condensenet-50": ("0.22", "28.6"),
    "condensenet-74": ("0.41", "51.9"),
    "condensenet-86": ("0.52", "65.8"),
    "condensenet-98": ("0.65", "81.3"),
    "condensenet-110": ("0.79", "98.2"),
    "condensenet-122": ("0.95", "116.7"),
    "condensenet-182": ("4.2", "513"),
    "condensenet-light-94": ("0.33", "122"),
    "condensenet-c": ("2.9", "274"),
    "condensenet-c4": ("4.8", "529"),
    "condensenetv2-a": ("2.0", "46"),
    "condensenetv2-b": ("3.6", "146"),
    "condensenetv2-c": ("6.1", "309"),
    "shufflenetv2-x0.5": ("1.4", "41"),
    "shufflenetv2-x1.0": ("2.3", "146"),
    "shufflenetv2-x1.5": ("3.5", "299"),
    "shufflenetv2plus-s": ("5.1", "156"),
    "shufflenetv2plus-m": ("5.7", "222"),
    "shufflenetv2plus-l": ("6.8", "360"),
    "sfr-shufflenetv2-x0.5": ("1.4", "43"),
    "sfr-shufflenetv2-x1.0": ("2.3", "150"),
    "sfr-shufflenetv2-x1.5": ("3.5", "306"),
    # Operations of a SparseNet[+], and of any SparseNet on CIFAR, are not printed.
    "sparsenet-40-k24": ("0.76", None),
    "sparsenet-100-k24": ("2.5", None),
    "sparsenet-100-k36": ("5.65", None),
    "sparsenet-100-k16-32-64": ("7.22", None),
    "sparsenet-bc-100-k24": ("1.46", None),
    "sparsenet-bc-100-k36": ("3.3", None),
    "sparsenet-bc-100-k16-32-64": ("4.4", None),
    "sparsenet-bc-400-k12": ("1.70", None),
    "sparsenet-bc-1001-k12": ("4.62", None),
    "sparsenet-121": ("4.51", None),
    "sparsenet-169": ("6.23", None),
    "sparsenet-201": ("7.22", None),
    "sparsenet-201-k48": ("14.91", None),
}
PRINTED_OF_TEN_CLASSES = {
    "sparsenet-sum-56": "0.59",
    "sparsenet-sum-110": "1.15",
    "sparsenet-sum-200": "2.07",
    "sparsenet-sum-1001": "10.33",
    "sparsenet-sum-2000": "20.62",
    "densenet-40-k12": "1.0",
    "densenet-100-k12": "7.0",
    "densenet-100-k24": "27.2",
    "densenet-bc-100-k12": "0.8",
    "densenet-bc-250-k24": "15.3",
    "densenet-bc-190-k40": "25.6",
}


def assert_printed(count: int, printed: str) -> None:
    """Papers round up as well as down: the printed figure is one of the two neighbours."""
    unit = Decimal(printed).as_tuple().exponent
    assert isinstance(unit, int)
    assert abs(Decimal(count) / 10**6 - Decimal(printed)) < Decimal(1).scaleb(unit)


@pytest.mark.parametrize("name", PRINTED)
def test_the_papers_print_these_figures(name: str) -> None:
    priced = cost(ZOO[name])
    for count, printed in zip(
        (priced.paper_params, priced.paper_flops), PRINTED[name], strict=True
    ):
        if printed:
            assert_printed(count, printed)


@pytest.mark.parametrize("name", PRINTED_OF_TEN_CLASSES)
def test_the_papers_print_these_figures_of_ten_classes(name: str) -> None:
    assert_printed(cost(ZOO[name].replace(classes=10)).params, PRINTED_OF_TEN_CLASSES[name])


@pytest.mark.parametrize(
    ("name", "params", "flops"),
    [("condensenet-a", "0.9", "56"), ("condensenet-b", "2.1", "132")],
)
def test_the_paper_of_condensenetv2_prints_condensenets_before_their_halving(
    name: str, params: str, flops: str
) -> None:
    priced = cost(ZOO[name].replace(head=HeadSpec()))
    assert_printed(priced.paper_params, params)
    assert_printed(priced.paper_flops, flops)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("sparsenet-121", 3.46),
        ("sparsenet-169", 3.74),
        ("sparsenet-201", 4.13),
        ("sparsenet-201-k48", 9.19),
    ],
)
def test_operations_of_sparsenets_on_imagenet_are_nearly_those_printed(
    name: str, billions: float
) -> None:
    assert cost(ZOO[name]).paper_flops / 1e9 == pytest.approx(billions, rel=0.006)


@pytest.mark.parametrize("depth", [121, 169, 201])
def test_densenets_have_the_parameters_of_torchvisions(depth: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"densenet{depth}")()
    assert cost(ZOO[f"densenet-{depth}"]).params == sum(p.numel() for p in theirs.parameters())


# --- What they are made of --------------------------------------------------------------------


def table(spec: NetworkSpec) -> list[tuple[int, int]]:
    return [(stage.depth, stage.growth_rate) for stage in spec.stages]


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        # CondenseNet, table 3.
        ("condensenet-c", [(4, 8), (6, 16), (8, 32), (10, 64), (8, 128)]),
        # CondenseNetV2, tables 1 and 2.
        ("condensenetv2-a", [(1, 8), (1, 8), (4, 16), (6, 32), (8, 64)]),
        ("condensenetv2-b", [(2, 6), (4, 12), (6, 24), (8, 48), (6, 96)]),
        ("condensenetv2-c", [(4, 8), (6, 16), (8, 32), (10, 64), (8, 128)]),
        # CondenseNet, section 4.1: 6 d + 2 weighted layers.
        ("condensenet-86", [(14, 8), (14, 16), (14, 32)]),
        # SparseNet, table 2: 6 d + 4 weighted layers, 3 d + 4 without bottlenecks.
        ("sparsenet-bc-100-k12", [(16, 12), (16, 12), (16, 12)]),
        ("sparsenet-40-k24", [(12, 24), (12, 24), (12, 24)]),
        ("sparsenet-100-k16-32-64", [(32, 16), (32, 32), (32, 64)]),
        # DenseNet, table 1.
        ("densenet-169", [(6, 32), (12, 32), (32, 32), (32, 32)]),
    ],
)
def test_the_stages_are_those_of_the_papers(name: str, stages: list[tuple[int, int]]) -> None:
    assert table(ZOO[name]) == stages


@pytest.mark.parametrize(
    ("name", "channels", "stride"),
    [
        ("condensenet-86", 16, 1),
        ("condensenet-c", 16, 2),
        ("condensenetv2-b", 12, 2),
        ("sparsenet-bc-100-k24", 48, 1),
        ("sparsenet-121", 32, 2),
        ("densenet-40-k12", 16, 1),
        ("densenet-bc-100-k12", 24, 1),
        ("densenet-121", 64, 2),
        ("resnet-110", 16, 1),
        ("shufflenetv2-x1.0", 24, 2),
        ("shufflenetv2plus-s", 16, 2),
    ],
)
def test_stems(name: str, channels: int, stride: int) -> None:
    stem = ZOO[name].stem
    assert (stem.channels, stem.stride) == (channels, stride)


def test_condensenet_has_one_number_for_its_groups_and_condense_factors() -> None:
    spec = condensenet((2, 3), (8, 16), 4, image_size=32, classes=10)
    for stage in spec.stages:
        assert (stage.groups_1x1, stage.condense_factor, stage.groups_3x3) == (4, 4, 4)
        assert (stage.sfr, stage.fetch, stage.activation) == ("none", "dense", "relu")
    assert spec.transition.kind == "pool"
    assert spec.head.condense_factor == 1


def test_light_condensenets_condense_in_their_transitions() -> None:
    transition = ZOO["condensenet-light-94"].transition
    assert (transition.kind, transition.compression) == ("learned", 0.5)
    assert (transition.groups_1x1, transition.condense_factor) == (4, 4)


def test_condensenetv2_changes_activation_and_attends_in_late_stages() -> None:
    spec = condensenetv2((1, 1, 1, 1, 1), (8, 8, 16, 32, 64), 8, features=828)
    activations = [stage.activation for stage in spec.stages]
    assert activations == ["relu", "relu", "hard_swish", "hard_swish", "hard_swish"]
    assert [stage.se_reduction for stage in spec.stages] == [0, 0, 0, 1, 1]
    assert {(stage.sfr, stage.sparse_factor, stage.sfr_groups) for stage in spec.stages} == {
        ("all", 8, 8)
    }
    assert (spec.head.features, spec.head.se_reduction) == (828, 16)


def test_ablations_leave_out_what_their_names_say() -> None:
    without_sfr = ZOO["condensenetv2-a-without-sfr"].stages
    assert {stage.sfr for stage in without_sfr} == {"none"}
    assert [stage.se_reduction for stage in without_sfr] == [0, 0, 0, 1, 1]
    plain = ZOO["condensenetv2-a-without-se-hs"]
    assert {(s.se_reduction, s.activation, s.sfr) for s in plain.stages} == {(0, "relu", "all")}
    assert (plain.head.se_reduction, plain.head.activation) == (0, "relu")


def test_sparsenet_fetches_exponentially_and_bc_halves_the_channels() -> None:
    for bc, bottleneck, compression in ((False, 0, 1.0), (True, 4, 0.5)):
        spec = sparsenet(40, (12,) * 3, bc=bc)
        assert table(spec) == [(6 if bc else 12, 12)] * 3
        assert {(stage.fetch, stage.fetch_base) for stage in spec.stages} == {("exponential", 2)}
        assert {stage.bottleneck for stage in spec.stages} == {bottleneck}
        assert (spec.transition.kind, spec.transition.compression) == ("conv", compression)
    assert sparsenet(40, (12,) * 3, stem=12).stem.channels == 12


def test_a_sparsenet_of_sums_is_a_resnet_with_less_to_read() -> None:
    sparse, dense = resnet(56, fetch="exponential"), resnet(56)
    assert {stage.fetch for stage in sparse.stages} == {"exponential"}
    assert cost(sparse).params == cost(dense).params
    assert sparse.id != dense.id


def test_depths_and_growth_rates_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        condensenet((2, 3), (8,), 4, image_size=32, classes=10)
