"""Scores of a network at its initial weights, which promise accuracy without any training.

Each looks at the masked network as its training begins: nothing dropped, norms over the batch. It
works on a copy, so that the network stays as it is, and draws nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.build import build
from search_space.errors import UnknownName
from search_space.modules import ACTIVATIONS, SqueezeExcite
from search_space.network import Network
from search_space.spec import NetworkSpec
from trainers.data import DataSplits
from trainers.evaluate import norms_of
from trainers.order import epoch_order
from trainers.parts import Batch
from trainers.training import training_spec

BATCH = 64
"""Images that scores look at."""

ZeroCost = Callable[[nn.Module, Tensor, Tensor], float]
"""From a network, images ``(N, 3, size, size)`` and labels ``(N,)`` to a score: more is better."""

_ACTIVATIONS = tuple(type(make()) for make in ACTIVATIONS.values())


class ScoreFailed(RuntimeError):
    """A score of this network is no finite number. ``str()`` says which."""


def zero_cost_scores(
    spec: NetworkSpec,
    data: DataSplits,
    *,
    resolution: int,
    seed: int,
    batch: int = BATCH,
    scores: Collection[str] | None = None,
) -> dict[str, float]:
    """What a candidate scores before it is trained, by the names of the scores.

    Args:
        spec: The target network; it is looked at as it would be trained, at ``resolution`` pixels.
        data: Of its ``train`` part one batch is read.
        resolution: That of the data.
        seed: Determines the initial weights and the images, both as a training of this seed would
            begin, but for augmentation.
        batch: How many images.
        scores: Names in ``ZERO_COST``; None for all.

    Raises:
        UnknownName: no such score; the message lists the known ones.
        UserError: ``batch`` is less than 2.
        ScoreFailed: a score is not finite.
    """
    names = tuple(ZERO_COST) if scores is None else tuple(scores)
    for name in names:
        if name not in ZERO_COST:
            raise UnknownName("zero-cost score", name, ZERO_COST)
    network = build(
        training_spec(spec, data.classes, resolution),
        generator=torch.Generator().manual_seed(seed),
    )
    images, labels = first_batch(data, seed=seed, batch=batch)
    return {name: _finite(name, network, images, labels) for name in names}


def first_batch(data: DataSplits, *, seed: int, batch: int) -> Batch:
    """The images and labels of a training's first update, all of them where there are fewer."""
    (indices,) = epoch_order(len(data.train), batch, shards=1, seed=seed, epoch=0)[0]
    return next(data.train.load([indices]))


def _finite(name: str, network: Network, images: Tensor, labels: Tensor) -> float:
    score = ZERO_COST[name](network, images, labels)
    if not math.isfinite(score):
        raise ScoreFailed(f"the zero-cost score {name} of {network.spec} is {score}")
    return score


def _copied(network: nn.Module) -> nn.Module:
    """A copy in training mode."""
    return copy.deepcopy(network).train()


# --- The scores ----------------------------------------------------------------------------------


@torch.no_grad()
def naswot(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The logarithm of the determinant of the kernel of activation codes.

    An image's code says of every unit whether what enters its activation, ReLU or hard-swish, is
    above zero; the kernel counts the units in which two images agree. Equal codes give -inf.
    (Mellor et al., "Neural Architecture Search without Training", 2021, section 3.)
    """
    network = _copied(network)
    agreeing = torch.zeros(len(images), len(images), dtype=torch.float64)

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Signs multiply to 1 where they agree, else to -1. Counts below 2^24 are exact.
        signs = torch.where(inputs[0].flatten(1) > 0, 1.0, -1.0)
        agreeing.add_((signs @ signs.T + signs.shape[1]) / 2)

    for module in network.modules():
        if isinstance(module, _ACTIVATIONS):
            module.register_forward_pre_hook(count)
    network(images)
    return float(torch.linalg.slogdet(agreeing).logabsdet)


def synflow(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The natural logarithm of the synaptic flow: the sum over weights of |weight x gradient|.

    The gradient is that of the summed logits of an image of ones in the network made linear:
    absolute weights, norms and activations that change nothing, squeeze-excite wide open. Labels
    are not looked at, of the images only the shape. (Tanaka et al., "Pruning neural networks
    without any data", 2020, section 5; summed over weights as in Abdelfattah et al., "Zero-Cost
    Proxies for Lightweight NAS", 2021, section 3.2.)
    """
    # Flows through deep networks leave the range of single precision.
    network = _linear(_copied(network).double())
    output = network(torch.ones_like(images[:1], dtype=torch.float64)).sum()
    weights = _weights(network)
    flow = math.fsum(
        float((weight.detach() * gradient).abs().sum())
        for weight, gradient in zip(weights, _gradients(output, weights), strict=True)
    )
    return math.log(flow) if flow > 0 else -math.inf


def gradient_norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The sum over layers of the L2 norm of the gradient that cross-entropy sends to their weights
    (Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", 2021, section 3.2)."""
    network = _copied(network)
    loss = F.cross_entropy(network(images), labels)
    return math.fsum(float(gradient.norm()) for gradient in _gradients(loss, _weights(network)))


def jacobian_covariance(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """How little the images' gradients resemble each other: minus the sum of ``log(e) + 1 / e``
    over the eigenvalues e of their correlation matrix.

    The gradients are those of the summed logits by the image. (Mellor et al., "Neural Architecture
    Search without Training", first version, 2020, section 3; Abdelfattah et al., 2021.)
    """
    network = _copied(network).requires_grad_(False)
    images = images.detach().clone().requires_grad_()
    (jacobian,) = torch.autograd.grad(network(images).sum(), images)
    correlation = torch.corrcoef(jacobian.flatten(1).double())
    if not correlation.isfinite().all():
        return math.nan
    # The first version's code adds 1e-5 to them, too.
    eigenvalues = torch.linalg.eigvalsh(correlation) + 1e-5
    return -float((eigenvalues.log() + 1 / eigenvalues).sum())


ZERO_COST: Mapping[str, ZeroCost] = MappingProxyType(
    {
        "naswot": naswot,
        "synflow": synflow,
        "gradient_norm": gradient_norm,
        "jacobian_covariance": jacobian_covariance,
    }
)
"""Scores by name."""


def _weights(network: nn.Module) -> list[nn.Parameter]:
    """Those of convolutions and linear layers; norms and biases are vectors."""
    return [parameter for parameter in network.parameters() if parameter.dim() > 1]


def _gradients(output: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Zeros for weights that the output does not depend on."""
    return torch.autograd.grad(output, weights, materialize_grads=True)


@torch.no_grad()
def _linear(network: nn.Module) -> nn.Module:
    """Makes a network linear in its images, its weights not negative."""
    network.eval()
    for norm in norms_of(network):
        norm.reset_running_stats()
        nn.init.ones_(norm.weight)
        norm.eps = 0.0
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.abs_()
    for name, module in list(network.named_modules()):
        if isinstance(module, (*_ACTIVATIONS, SqueezeExcite)):
            network.set_submodule(name, nn.Identity())
    for name, bias in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(bias)
    return network
