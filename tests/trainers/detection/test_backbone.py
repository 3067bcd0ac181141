"""Feature maps as backbones: which, with what weights, and what stays fixed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from search_space import NetworkSpec, zoo
from search_space.backbones import FeatureMaps
from search_space.errors import UserError
from search_space.network import Network
from trainers.detection.backbone import Pyramid, choose_maps, with_weights_of
from trainers.evaluate import norms_of

MAPS = (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("name", "strides", "expected"),
    [
        ("condensenetv2-a", (4, 8, 16, 32), (1, 2, 3, 4)),
        ("condensenetv2-a", (8, 16, 32), (2, 3, 4)),
        ("shufflenetv2-x0.5", (4, 8, 16, 32), (0, 1, 2, 3)),
        ("sparsenet-121", (8, 16, 32), (1, 2, 3)),
        # Of strides 1, 2 and 4: networks for 32 x 32 images.
        ("condensenet-86", (4, 8, 16, 32), (1, 2)),
        ("condensenet-86", (8, 16, 32), (1, 2)),
    ],
)
def test_maps_are_chosen_by_their_strides(
    name: str, strides: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert choose_maps(zoo(name), strides) == expected


def test_a_network_of_one_resolution_is_no_backbone(spec: NetworkSpec) -> None:
    flat = spec.replace(stages=spec.stages[:1])
    with pytest.raises(UserError, match="one resolution"):
        choose_maps(flat, (4, 8))


def test_grey_images_are_refused(spec: NetworkSpec) -> None:
    with pytest.raises(UserError, match=r"`image_channels` \(=1\) must be 3"):
        choose_maps(spec.replace(image_channels=1), (4, 8))


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_weights_are_taken_in_their_form(trained: Network, form: str) -> None:
    source = trained if form == "masked" else trained.to_inference()
    body = with_weights_of(source, MAPS).eval()
    assert body.form == form
    images = torch.randn(2, 3, 64, 96)
    whole = FeatureMaps(trained.spec, "masked", out_indices=MAPS).eval()
    state = trained.state_dict()
    whole.load_state_dict({name: state[name] for name in whole.state_dict()})
    for expected, found in zip(whole(images), body(images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_was_dropped_is_zero(trained: Network) -> None:
    body = with_weights_of(trained, MAPS)
    assert len(body.learned_layers) == 10
    for layer in body.learned_layers.values():
        dropped = layer.weight[~layer.expanded_mask().expand_as(layer.weight).bool()]
        assert dropped.numel() == layer.weight.numel() // 2
        assert bool((dropped == 0).all())


@pytest.mark.parametrize("fixed", [True, False])
def test_the_statistics_of_norms_stay_where_they_are_fixed(trained: Network, fixed: bool) -> None:
    body = with_weights_of(trained, MAPS)
    pyramid = Pyramid(body, 16, LastLevelMaxPool(), fixed_norms=fixed).train()
    before = [norm.running_mean.clone() for norm in norms_of(body)]
    maps = pyramid(torch.randn(2, 3, 64, 96))
    assert {name: tuple(x.shape) for name, x in maps.items()} == {
        "0": (2, 16, 16, 24),
        "1": (2, 16, 8, 12),
        "2": (2, 16, 4, 6),
        "3": (2, 16, 2, 3),
        "pool": (2, 16, 1, 2),
    }
    sum(x.sum() for x in maps.values()).backward()
    after = [norm.running_mean for norm in norms_of(body)]
    same = [torch.equal(x, y) for x, y in zip(after, before, strict=True)]
    assert all(same) if fixed else not any(same)
    assert all(norm.weight.grad is not None for norm in norms_of(body)), "scales are trained"


def test_a_hybrid_of_sums_is_a_backbone_too() -> None:
    spec = zoo("resnet-50")
    assert dataclasses.replace(spec, image_size=64).id != spec.id
    body = FeatureMaps(spec, "condensed", out_indices=choose_maps(spec, (4, 8, 16, 32)))
    assert [tuple(x.shape[2:]) for x in body.eval()(torch.zeros(1, 3, 64, 64))] == [
        (16, 16), (8, 8), (4, 4), (2, 2),
    ]  # fmt: skip
