"""What a network is worth on images, and the statistics of norms that it is judged with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from results.trial import Measured
from trainers.machine import over_processes
from trainers.order import epoch_order, in_order
from trainers.parts import Part

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@torch.no_grad()
def evaluate(
    logits_of: Callable[[Tensor], Tensor],
    part: Part,
    batch_size: int,
    *,
    fabric: Fabric | None = None,
    workers: int = 0,
) -> Measured:
    """Top-1, top-5 and mean cross-entropy over a part; processes share the images.

    Args:
        logits_of: From images ``(n, 3, size, size)`` to logits ``(n, classes)``: a network in
            evaluation mode, or what runs an exported file.
        part: The images.
        batch_size: Images at once.
        fabric: Whose processes take part; None for this one alone.
        workers: Processes that decode images.
    """
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    sums = torch.zeros(4, dtype=torch.float64)
    for images, labels in part.load(in_order(len(part), batch_size)[rank::world], workers=workers):
        logits = logits_of(fabric.to_device(images) if fabric else images).float()
        labels = labels.to(logits.device)
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack(
            [best[:, 0].sum(), best.sum(), loss, torch.tensor(len(labels), device=loss.device)]
        ).cpu()
    if fabric:
        sums = over_processes(fabric, sums.to(fabric.device), "sum").cpu()
    top1, top5, loss_sum, images_seen = sums.tolist()
    return Measured(
        top1=top1 / images_seen,
        top5=top5 / images_seen,
        loss=loss_sum / images_seen,
        images=int(images_seen),
    )


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d | nn.BatchNorm1d]:
    """Every batch norm."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]


@torch.no_grad()
def recalibrate(
    network: nn.Module, part: Part, batch_size: int, *, batches: int, augment: str = "none"
) -> None:
    """Computes the statistics of all norms anew, as plain means over some random batches.

    Running averages lag behind weights that still change fast: after a short training they
    describe a network that no longer is, and the score would tell more of them than of it.
    Norms alone are in training mode meanwhile, dropout is not; in the end nothing is.
    """
    device = next(network.parameters()).device
    network.eval()
    norms = norms_of(network)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    # Data sets are stored class by class; the order has to be a random one, always the same.
    order = epoch_order(len(part), batch_size, shards=1, seed=0, epoch=0)[:batches]
    for images, _ in part.load([batch for (batch,) in order], augment=augment, seed=(0, 0)):
        network(images.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def average_statistics(network: nn.Module, fabric: Fabric) -> None:
    """Gives the norms of all processes the mean of what each has counted."""
    if fabric.world_size == 1:
        return
    for norm in norms_of(network):
        for statistic in (norm.running_mean, norm.running_var):
            assert statistic is not None
            statistic.copy_(over_processes(fabric, statistic, "mean"))
