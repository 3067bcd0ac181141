from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from results.formats import FORMATS
from results.verify import (
    DEFAULT_FORMS,
    TOLERANCE,
    Verification,
    compare,
    difference,
    forms_of,
    input_images,
    known_forms,
    random_network,
    run_torch,
    verify,
)
from search_space import ZOO, NetworkSpec, UserError, build
from search_space.errors import Mismatch, UnknownName
from search_space.lowering import LOWERINGS
from search_space.network import Network

Tiny = Callable[[str], NetworkSpec]


def test_every_form_and_lowering_of_every_network_agrees(network: Network) -> None:
    pytest.importorskip("onnxruntime")
    found = verify(network, weights="random")
    assert found.agrees
    assert [(c.first, c.second) for c in found.comparisons] == [
        ("masked", "condensed"),
        ("masked", "onnx"),
        ("condensed", "onnx"),
        *(("masked", form) for form in DEFAULT_FORMS[3:]),
    ]
    assert max(c.difference for c in found.comparisons) < 1e-5
    assert (found.exporter, found.images) == ("direct", 4)
    found.check()


FAMILIES = (
    *("condensenet-50", "condensenet-light-94", "condensenet-a"),
    *("condensenetv2-a", "condensenetv2-a-without-sfr", "condensenetv2-110"),
    *("shufflenetv2-x0.5", "shufflenetv2plus-s", "sfr-shufflenetv2-x0.5", "sfr-shufflenetv2plus-s"),
    *("sparsenet-40-k12", "sparsenet-bc-100-k12", "sparsenet-sum-56", "sparsenet-121"),
    *("densenet-40-k12", "densenet-121", "resnet-56", "resnet-50"),
)
"""One network of each family; `search verify --all` takes every one."""


@pytest.mark.parametrize("name", FAMILIES)
def test_forms_of_one_network_of_each_family_agree(name: str) -> None:
    pytest.importorskip("onnxruntime")
    found = verify(random_network(ZOO[name]), weights="random")
    assert found.agrees, found.comparisons
    assert {"masked", "condensed", "onnx"} <= {c.second for c in found.comparisons} | {"masked"}


def break_norms(network: Network) -> Network:
    """The condensed form as a conversion makes it that mixes up the channels of norms."""
    condensed = network.to_inference()
    for norm in condensed.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.load_state_dict(
                {k: t.roll(1) if t.dim() else t for k, t in norm.state_dict().items()}
            )
    return condensed


def test_random_norms_show_a_fault_that_fresh_ones_hide(tiny: Tiny) -> None:
    spec = tiny("learned")
    images = input_images(spec)
    fresh = build(spec, generator=torch.Generator().manual_seed(0)).eval()
    fresh.condense(1.0)
    settled = random_network(spec)
    hidden, shown = (
        difference(run_torch(n, images), run_torch(break_norms(n), images))
        for n in (fresh, settled)
    )
    assert hidden < TOLERANCE
    assert shown > 100 * TOLERANCE


def test_groups_select_differently_so_that_a_wrong_index_shows(network: Network) -> None:
    masks = [layer.mask for layer in network.learned_layers.values() if len(layer.mask) > 1]
    assert all(any(not torch.equal(mask[0], row) for row in mask[1:]) for mask in masks)


def test_every_output_depends_on_the_image(network: Network) -> None:
    logits = run_torch(network, input_images(network.spec))
    assert (np.ptp(logits, axis=0) > 100 * TOLERANCE * np.abs(logits).max()).all()


def test_the_same_seed_gives_the_same_network_and_another_another(tiny: Tiny) -> None:
    one, again, other = (random_network(tiny("plain"), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(t, again[k]) for k, t in one.items())
    assert not torch.equal(one["steps.stem.conv.weight"], other["steps.stem.conv.weight"])


def test_images_are_random_ones_and_photographs(tiny: Tiny) -> None:
    images = input_images(tiny("plain").replace(image_channels=4, image_size=16))
    assert images.shape == (4, 4, 16, 16)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[2:].mean((1, 2, 3)), 0, atol=1e-5)


def test_a_difference_is_relative_to_the_largest_output_of_all_images() -> None:
    one = np.array([[1.0, -4.0], [0.1, 0.2]], np.float32)
    two = one + np.array([[0.0, 0.4], [0.0, 0.1]], np.float32)
    assert difference(one, two) == pytest.approx(0.1)
    assert difference(one[1:], two[1:]) == pytest.approx(0.5)
    assert difference(one, np.full_like(one, np.nan)) == np.inf
    assert difference(np.full_like(one, np.nan), one) == np.inf
    assert difference(one, one[:, :1]) == np.inf


def test_forms_are_compared_with_those_of_torch() -> None:
    same = np.ones((1, 2), np.float32)

    def pairs(*names: str) -> list[tuple[str, str]]:
        return [(c.first, c.second) for c in compare(dict.fromkeys(names, same))]

    assert pairs("condensed", "onnx", "arm") == [("condensed", "onnx"), ("condensed", "arm")]
    assert pairs("onnx", "ncnn", "arm") == [("onnx", "ncnn"), ("onnx", "arm")]


def test_a_mismatch_names_the_forms() -> None:
    ones = np.ones((1, 2), np.float32)
    found = Verification(
        network="n",
        weights="w",
        exporter="",
        images=1,
        comparisons=compare({"condensed": ones, "onnx": 1.01 * ones}),
        wall_s=0.0,
    )
    assert not found.agrees
    with pytest.raises(Mismatch, match=r"condensed and onnx by 1\.0e-02") as caught:
        found.check()
    assert caught.value.exit_code == 5


def test_forms_are_checked(tiny: Tiny) -> None:
    masked = random_network(tiny("learned"))
    assert forms_of(masked, None) == DEFAULT_FORMS
    assert forms_of(masked.to_inference(), None) == DEFAULT_FORMS[1:]
    assert forms_of(masked, ["onnx:dense", "masked"]) == ("masked", "onnx:dense")
    with pytest.raises(UnknownName, match="unknown lowering 'tpu'; known: canonical, dense"):
        forms_of(masked, ["masked", "onnx:tpu"])
    with pytest.raises(UserError, match="masked has no lowerings"):
        forms_of(masked, ["masked:dense", "onnx"])
    with pytest.raises(UnknownName, match="known: condensed, eager, masked, ncnn"):
        forms_of(masked, ["masked", "tflite"])
    with pytest.raises(UserError, match="at least two"):
        forms_of(masked, ["onnx"])
    with pytest.raises(UserError, match="masked weights"):
        forms_of(masked.to_inference(), ["masked", "onnx"])
    assert known_forms()[:2] == ("masked", "condensed")


def test_the_default_forms_exercise_every_lowering() -> None:
    lowered = {form.partition(":")[2] for form in DEFAULT_FORMS}
    assert lowered - {""} == LOWERINGS.keys() - {FORMATS["onnx"].lowering}
