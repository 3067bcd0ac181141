"""On what a training runs: processes, devices and precision, by Lightning Fabric."""

from __future__ import annotations

import logging
import os
import re
import warnings
from typing import TYPE_CHECKING

from search_space.errors import UserError
from trainers.recipe import PRECISIONS

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor


def machine(devices: str = "auto", precision: str = "32") -> Fabric:
    """The processes and devices of a training, launched.

    Under ``torchrun`` its processes are taken; else this one starts as many others as it needs.

    Args:
        devices: ``auto`` for one, the best there is; ``cpu`` or ``cuda`` for one of a kind;
            ``cpu:2`` or ``cuda:2`` for several, each trained by a process of its own.
        precision: A key of :data:`trainers.recipe.PRECISIONS`.

    Raises:
        UserError: there is no such device, or not so many.
    """
    import torch

    match = re.fullmatch(r"(auto|cpu|cuda)(?::(\d+))?", devices)
    if not match or (match[2] and int(match[2]) == 0):
        raise UserError(f"--devices {devices!r} must be auto, cpu, cuda, cpu:COUNT or cuda:COUNT")
    there = torch.cuda.device_count()
    kind = ("cuda" if there else "cpu") if match[1] == "auto" else match[1]
    count = int(os.environ.get("WORLD_SIZE", match[2] or 1))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if kind == "cuda" and here > there:
        raise UserError(
            f"--devices {devices} asks for {here} GPUs; this machine has {there}: ask for fewer,"
            " or for cpu"
        )
    return _fabric(kind, here, count // here, precision)


def _fabric(kind: str, here: int, nodes: int, precision: str) -> Fabric:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other libraries' versions
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

    for name in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    several = here * nodes > 1
    fabric = Fabric(
        accelerator=kind,
        devices=here,
        num_nodes=nodes,
        # Norms see the images of their own process alone; what they counted is averaged where it
        # is read, and masks are equal because weights are.
        strategy=DDPStrategy(broadcast_buffers=False) if several else "auto",
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def over_processes(fabric: Fabric, tensor: Tensor, how: str) -> Tensor:
    """The ``sum`` or ``mean`` of every process's tensor; it itself where there is one process."""
    if fabric.world_size == 1:
        return tensor
    reduced: Tensor = fabric.all_reduce(tensor.clone(), reduce_op=how)  # type: ignore[assignment]
    return reduced
