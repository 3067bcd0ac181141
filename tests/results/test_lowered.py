from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from results.lowered import LOWERINGS, GatheredAdd, SplitGather, lowered_for
from results.verify import difference, input_images, random_network, run_torch
from search_space import NetworkSpec
from search_space.modules import Gather, IndexAdd
from search_space.network import Network


def test_a_gathered_add_is_an_index_add_bit_by_bit() -> None:
    add = IndexAdd(6)
    add.index.copy_(torch.tensor([3, 0, 3, 1, 0, 3]))  # 2 and 4 are given nothing
    x, y = torch.randn(2, 5, 3, 3), torch.randn(2, 6, 3, 3)
    gathered = GatheredAdd(add.index, 5)
    assert len(gathered.tables) == 3
    assert torch.equal(add(x, y), gathered(x, y))


def test_a_split_gather_is_a_gather_on_maps_and_vectors() -> None:
    gather = Gather(4)
    gather.index.copy_(torch.tensor([2, 0, 2, 1]))
    for x in (torch.randn(2, 3, 4, 4), torch.randn(2, 3)):
        assert torch.equal(gather(x), SplitGather(gather.index)(x))


def test_lowered_networks_compute_the_same_without_what_the_runtime_lacks(
    network: Network,
) -> None:
    condensed = network.to_inference()
    images = input_images(network.spec)
    expected = run_torch(condensed, images)
    for format in LOWERINGS:
        lowered = lowered_for(format, condensed)
        assert difference(expected, run_torch(lowered, images)) < 1e-6
        lacking = (IndexAdd,) if format == "onnx" else (IndexAdd, Gather)
        assert not [m for m in lowered.modules() if isinstance(m, (*lacking, SplitGather))]
    assert (run_torch(condensed, images) == expected).all(), "the network itself is left alone"


@torch.no_grad()
def test_norms_that_were_trained_apart_keep_the_gather_exact(
    tiny: Callable[[str], NetworkSpec],
) -> None:
    condensed = random_network(tiny("reactivating")).to_inference()
    images = input_images(condensed.spec)
    for name, norm in condensed.named_modules():
        if name.endswith("reduce_norm"):
            norm.weight.add_(torch.rand_like(norm.weight))
    lowered = lowered_for("ncnn", condensed)
    assert any(isinstance(m, SplitGather) for m in lowered.modules())
    assert difference(run_torch(condensed, images), run_torch(lowered, images)) < 1e-6


def test_other_modules_and_formats_stay_as_they_are() -> None:
    other = nn.Sequential(nn.Linear(2, 2))
    assert lowered_for("torchscript", other) is other
    assert torch.equal(lowered_for("ncnn", other)(torch.ones(1, 2)), other(torch.ones(1, 2)))
