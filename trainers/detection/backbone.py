"""A network's feature maps as the backbone of a detector, in a feature pyramid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from search_space.backbones import FeatureMaps, feature_maps
from search_space.errors import UserError
from search_space.network import Network
from search_space.spec import NetworkSpec
from trainers.evaluate import norms_of

LEAST_MAPS = 2


def choose_maps(spec: NetworkSpec, strides: Sequence[int]) -> tuple[int, ...]:
    """Which of a network's feature maps have the wanted strides.

    Where fewer than two have, as in networks for 32 x 32 images, the two coarsest.

    Raises:
        UserError: the network has one resolution, or takes other than colour images.
    """
    if spec.image_channels != 3:
        raise UserError(
            f"`image_channels` (={spec.image_channels}) must be 3: detectors here read photographs"
        )
    reductions = [found.reduction for found in feature_maps(spec.plan("condensed"))]
    if len(reductions) < LEAST_MAPS:
        raise UserError(
            f"{spec} has feature maps of one resolution, and a feature pyramid needs at least"
            f" {LEAST_MAPS}; choose a network with more stages"
        )
    wanted = tuple(i for i, reduction in enumerate(reductions) if reduction in strides)
    return wanted if len(wanted) >= LEAST_MAPS else tuple(range(len(reductions)))[-LEAST_MAPS:]


def with_weights_of(trained: Network, maps: Sequence[int]) -> FeatureMaps:
    """The feature maps of a trained network, in its form and with its weights.

    What its masks have dropped is set to zero, which neither gradient nor decay changes.
    """
    body = FeatureMaps(trained.spec, trained.form, out_indices=maps, initialised=False)
    state = trained.state_dict()
    body.load_state_dict({name: state[name] for name in body.state_dict()})
    with torch.no_grad():
        for layer in body.learned_layers.values():
            layer.weight.mul_(layer.expanded_mask())
    return body


class Pyramid(nn.Module):
    """Images ``(N, 3, height, width)`` to maps of equal channels, the finest first.

    Args:
        body: The network.
        channels: Of every map.
        extra: What adds coarser maps.
        fixed_norms: Whether the statistics of the network's norms stay as they are.
    """

    def __init__(
        self, body: FeatureMaps, channels: int, extra: ExtraFPNBlock, *, fixed_norms: bool
    ) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(body.feature_info.channels(), channels, extra)
        self.out_channels = channels  # the name under which torchvision's detectors look for it
        self.fixed_norms = fixed_norms

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps ``(N, channels, height / stride, width / stride)`` by name."""
        maps = OrderedDict((str(i), x) for i, x in enumerate(self.body(images)))
        pyramid: OrderedDict[str, Tensor] = self.fpn(maps)
        return pyramid

    def train(self, mode: bool = True) -> Pyramid:
        """As any module; fixed norms stay in evaluation mode."""
        super().train(mode)
        if self.fixed_norms:
            for norm in norms_of(self.body):
                norm.eval()
        return self
