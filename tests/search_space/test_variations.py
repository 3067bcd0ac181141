"""One choice changed, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from search_space import ZOO, DenseStage, NetworkSpec, cost, macs
from search_space.errors import SpecError, UnknownName
from search_space.variations import SHORT, VARIATIONS, vary

CONDENSENET, V2, SPARSE, DENSE = (
    *("condensenet-86", "condensenetv2-110"),
    *("sparsenet-bc-100-k12", "densenet-bc-100-k12"),
)


def changed(before: NetworkSpec, after: NetworkSpec) -> dict[str, Any]:
    """The fields that differ: of stages as a list, one value per stage; of the others as they
    are."""
    stages = list(zip(before.stages, after.stages, strict=True))
    assert all(type(one) is type(two) for one, two in stages)
    found = {
        f.name: [getattr(new, f.name) for _, new in stages]
        for f in dataclasses.fields(DenseStage)
        if any(getattr(old, f.name) != getattr(new, f.name) for old, new in stages)
    }
    for f in dataclasses.fields(NetworkSpec):
        if f.name != "stages" and getattr(before, f.name) != getattr(after, f.name):
            found[f.name] = getattr(after, f.name)
    return found


CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    (CONDENSENET, "groups", "8", {"groups_1x1": [8] * 3, "sfr_groups": [8] * 3}),
    (CONDENSENET, "G", "1-2-4", {"groups_1x1": [1, 2, 4], "sfr_groups": [1, 2, 4]}),
    (CONDENSENET, "groups_3x3", "2", {"groups_3x3": [2] * 3}),
    (V2, "sfr_groups", "2", {"sfr_groups": [2] * 3}),
    (CONDENSENET, "C", "8", {"condense_factor": [8] * 3}),
    (V2, "condense_factor", "2-2-4", {"condense_factor": [2, 2, 4]}),
    (V2, "S", "1", {"sparse_factor": [1] * 3}),
    (V2, "sparse_factor", "2", {"sparse_factor": [2] * 3}),
    (V2, "sfr", "off", {"sfr": ["none"] * 3, "sparse_factor": [1] * 3, "sfr_groups": [1] * 3}),
    (V2, "sfr", "on", {}),
    (CONDENSENET, "sfr", "off", {}),
    (
        *(CONDENSENET, "sfr", "on"),
        {"sfr": ["all"] * 3, "sparse_factor": [4] * 3, "sfr_groups": [4] * 3},
    ),
    (CONDENSENET, "se", "4", {"se_reduction": [4] * 3}),
    (CONDENSENET, "activation", "hard_swish", {"activation": ["hard_swish"] * 3}),
    (CONDENSENET, "growth", "16", {"growth_rate": [16] * 3}),
    (CONDENSENET, "growth", "8-8-16", {"growth_rate": [8, 8, 16]}),
    # The mean of 8, 16 and 32 is 18.7; groups of four want a multiple of four.
    (CONDENSENET, "growth", "constant", {"growth_rate": [20] * 3}),
    (CONDENSENET, "growth", "doubling", {}),
    (DENSE, "growth", "doubling", {"growth_rate": [12, 24, 48]}),
    (DENSE, "growth", "constant", {}),
    (CONDENSENET, "depth", "6", {"depth": [6] * 3}),
    (CONDENSENET, "depth", "4-6-8", {"depth": [4, 6, 8]}),
    (CONDENSENET, "fetch", "2", {"fetch": ["exponential"] * 3}),
    (SPARSE, "fetch", "3", {"fetch_base": [3] * 3}),
    (SPARSE, "fetch", "dense", {"fetch": ["dense"] * 3}),
]


@pytest.mark.parametrize(("network", "name", "value", "expected"), CASES)
def test_a_variation_changes_what_it_says_and_nothing_else(
    network: str, name: str, value: str, expected: dict[str, Any]
) -> None:
    assert changed(ZOO[network], vary(ZOO[network], name, value)) == expected


def test_connectivity_changes_the_transition_alone() -> None:
    full = vary(ZOO[DENSE], "connectivity", "full")
    assert changed(ZOO[DENSE], full).keys() == {"transition"}
    assert (full.transition.kind, full.transition.compression) == ("pool", 1.0)
    halved = vary(full, "connectivity", "halved")
    assert halved == ZOO[DENSE]
    assert vary(ZOO[CONDENSENET], "connectivity", "full") == ZOO[CONDENSENET]
    light = vary(ZOO["condensenet-light-94"], "connectivity", "halved")
    assert (light.transition.kind, light.transition.condense_factor) == ("conv", 1)


def test_every_variation_is_tested_here() -> None:
    tested = {SHORT.get(name, name) for _, name, _, _ in CASES} | {"connectivity"}
    assert tested == set(VARIATIONS)
    assert set(SHORT.values()) < set(VARIATIONS)


@pytest.mark.parametrize("name", [n for n in ZOO if n.startswith(("condensenet", "densenet"))])
def test_any_dense_network_of_the_zoo_can_be_varied(name: str) -> None:
    spec = ZOO[name]
    assert changed(spec, vary(spec, "activation", "hard_swish")).keys() <= {"activation"}
    constant = vary(spec, "growth", "constant")
    assert changed(spec, constant).keys() <= {"growth_rate"}
    rates = [stage.growth_rate for stage in spec.stages if isinstance(stage, DenseStage)]
    # As near to the mean as groups allow.
    new = [stage.growth_rate for stage in constant.stages if isinstance(stage, DenseStage)]
    assert len(set(new)) == 1
    assert abs(new[0] - sum(rates) / len(rates)) <= 4


def test_reactivation_costs_and_a_sparse_factor_of_one_is_dense() -> None:
    without, reactivating = (vary(ZOO[CONDENSENET], "sfr", text) for text in ("off", "on"))
    dense = vary(reactivating, "S", "1")
    assert macs(without) < macs(reactivating) < macs(dense)
    # Each new channel then updates all features, at each pixel.
    pixels = {1: 32 * 32, 2: 16 * 16, 3: 8 * 8}
    features, added = 16, 0
    for number, stage in enumerate(dense.stages, start=1):
        assert isinstance(stage, DenseStage)
        for layer in range(stage.depth):
            if layer in stage.reactivating_layers:
                added += stage.growth_rate * features * pixels[number]
            features += stage.growth_rate
    assert cost(dense).macs - cost(without).macs == added


def test_groups_are_those_of_reactivation_too() -> None:
    one = vary(vary(ZOO[CONDENSENET], "sfr", "on"), "G", "1")
    assert {(s.groups_1x1, s.sfr_groups) for s in one.stages if isinstance(s, DenseStage)} == {
        (1, 1)
    }


BAD = {
    "groups=3": ("groups", "3", "`groups_1x1` (=3)"),
    "groups=many": ("groups", "many", r"`groups` (='many') must be a whole number"),
    "C=0": ("C", "0", "`condense_factor` (=0)"),
    "C=2-4": ("C", "2-4", "one number, or one for each of 3 stages"),
    "sfr=yes": ("sfr", "yes", "`sfr` (='yes') must be on or off"),
    "fetch=sparse": ("fetch", "sparse", "`fetch` (='sparse') must be a whole number"),
    "fetch=1": ("fetch", "1", "`fetch_base` (=1)"),
    "activation=gelu": ("activation", "gelu", "`activation` (='gelu') must be one of"),
    "connectivity=half": ("connectivity", "half", "must be full or halved"),
    "growth=7": ("growth", "7", "`growth_rate` (=7) must be divisible by `groups_3x3` (=4)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_value_that_makes_no_network_is_told(case: str) -> None:
    name, value, sentence = BAD[case]
    with pytest.raises(SpecError) as error:
        vary(ZOO[CONDENSENET], name, value)
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", VARIATIONS)
def test_networks_without_dense_stages_have_nothing_to_vary(name: str) -> None:
    with pytest.raises(SpecError, match=f"`{name}` is a choice of dense stages, and the network"):
        vary(ZOO["shufflenetv2-x1.0"], name, "1")


def test_an_unknown_variation_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"unknown variation 'width'; known: .*condense_factor"):
        vary(ZOO[CONDENSENET], "width", "2")


@pytest.mark.parametrize(("name", "value"), [("S", "2"), ("sfr_groups", "2")])
def test_a_variation_without_effect_is_refused(name: str, value: str) -> None:
    with pytest.raises(SpecError, match=rf"\(={value}\) changes nothing of this network"):
        vary(ZOO[CONDENSENET], name, value)
