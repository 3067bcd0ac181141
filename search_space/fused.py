"""Which operations of a fragment are computed as one while a network is trained on the CPU."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor, nn

from search_space import ops
from search_space.modules import BatchNorm2d, Conv2d, LearnedLayer
from search_space.ops import Op
from search_space.plan import Fragment
from search_space.pointwise import normed_pointwise

Unit = tuple[Op, ...]
"""Operations in the order of execution, of which only the last one's output is read later."""


@lru_cache(maxsize=4096)
def units_of(fragment: Fragment) -> tuple[Unit, ...]:
    """The operations of a fragment, those that may be computed as one taken together."""
    return units(fragment.ops)


def units(operations: Iterable[Op]) -> tuple[Unit, ...]:
    """The same for some of its operations."""
    left = tuple(operations)
    found: list[Unit] = []
    while left:
        length = 3 if _is_normed_pointwise(left[:3]) else 1
        found.append(left[:length])
        left = left[length:]
    return tuple(found)


def _is_normed_pointwise(unit: Unit) -> bool:
    """Whether it is norm, ReLU and 1x1 convolution of one group and stride 1."""
    if [type(op) for op in unit[:2]] != [ops.Norm, ops.Activation] or len(unit) < 3:
        return False
    norm, act, conv = unit
    return (
        isinstance(act, ops.Activation)
        and act.kind == "relu"
        and isinstance(conv, ops.Conv)
        and (conv.kernel, conv.stride) == (1, 1)
        # The groups of learned layers are in their masks.
        and (conv.groups == 1 or isinstance(conv, ops.LearnedConv | ops.LearnedReactivation))
        and (act.input, conv.input) == (norm.output, act.output)
    )


def computed_as_one(unit: Unit, modules: nn.Module, x: Tensor) -> Tensor | None:
    """The output of a unit of several operations; None where they have to run one by one.

    They do when nothing is trained, not on the CPU, in a compiler (which fuses by itself), and
    where somebody has replaced a module or hooked onto one.
    """
    if not _is_training_on_cpu(x):
        return None
    norm, act, conv = (getattr(modules, op.name) for op in unit)
    if not isinstance(norm, BatchNorm2d) or any(_is_hooked(m) for m in (norm, act, conv)):
        return None
    if isinstance(conv, LearnedLayer):
        return normed_pointwise(x, norm, conv.masked_weight())
    return normed_pointwise(x, norm, conv.weight) if isinstance(conv, Conv2d) else None


def _is_training_on_cpu(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _is_hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
