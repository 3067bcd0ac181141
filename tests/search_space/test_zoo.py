import pytest

from search_space import ZOO, NetworkSpec, UnknownName, zoo
from search_space.zoo import condensenet, condensenetv2, sparsenet


@pytest.mark.parametrize("name", ZOO)
def test_every_network_is_had_by_its_name(name: str) -> None:
    assert zoo(name) is ZOO[name]
    assert isinstance(zoo(name), NetworkSpec)


def test_no_two_names_are_the_same_network() -> None:
    assert len({spec.id for spec in ZOO.values()}) == len(ZOO)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="unknown network 'resnet-50'; known: condensenet-86, "):
        zoo("resnet-50")


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
        # SparseNet, table 2: 6 d + 4 weighted layers.
        ("sparsenet-bc-100-k12", [(16, 12), (16, 12), (16, 12)]),
        ("sparsenet-bc-100-k24", [(16, 24), (16, 24), (16, 24)]),
    ],
)
def test_the_stages_are_those_of_the_papers(name: str, stages: list[tuple[int, int]]) -> None:
    assert table(ZOO[name]) == stages


@pytest.mark.parametrize("name", ZOO)
def test_the_stem_has_twice_the_first_growth_rate(name: str) -> None:
    spec = ZOO[name]
    assert spec.stem.channels == 2 * spec.stages[0].growth_rate
    assert spec.stem.stride == (2 if spec.image_size == 224 else 1)


def test_condensenet_has_one_number_for_its_groups_and_condense_factors() -> None:
    spec = condensenet((2, 3), (8, 16), 4, image_size=32, classes=10)
    for stage in spec.stages:
        assert (stage.groups_1x1, stage.condense_factor, stage.groups_3x3) == (4, 4, 4)
        assert (stage.sfr, stage.fetch, stage.activation) == ("none", "dense", "relu")
    assert spec.transition.kind == "pool"
    assert spec.head.condense_factor == 1


def test_condensenetv2_changes_activation_and_attends_in_late_stages() -> None:
    spec = condensenetv2((1, 1, 1, 1, 1), (8, 8, 16, 32, 64), 8, features=828)
    activations = [stage.activation for stage in spec.stages]
    assert activations == ["relu", "relu", "hard_swish", "hard_swish", "hard_swish"]
    assert [stage.se_reduction for stage in spec.stages] == [0, 0, 0, 1, 1]
    assert {(stage.sfr, stage.sparse_factor, stage.sfr_groups) for stage in spec.stages} == {
        ("all", 8, 8)
    }
    assert (spec.head.features, spec.head.se_reduction) == (828, 16)


def test_sparsenet_bc_fetches_exponentially_and_halves_the_channels() -> None:
    spec = sparsenet_bc(40, 12, classes=10)
    assert table(spec) == [(6, 12)] * 3
    assert {(stage.fetch, stage.fetch_base) for stage in spec.stages} == {("exponential", 2)}
    assert (spec.transition.kind, spec.transition.compression) == ("conv", 0.5)


def test_depths_and_growth_rates_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        condensenet((2, 3), (8,), 4, image_size=32, classes=10)
