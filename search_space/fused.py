"""Which operations of a fragment are computed as one while a network is trained on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor, nn

from search_space import ops
from search_space.modules import BatchNorm2d, Conv2d, LearnedLayer
from search_space.ops import Op
from search_space.plan import Fragment
from search_space.pointwise import normed_pointwise, reactivated

Unit = tuple[Op, ...]
"""Operations in the order of execution, of which only the last one's output is read later."""


def units_of(fragment: Fragment) -> tuple[Unit, ...]:
    """The operations of a fragment, those that may be computed as one taken together.

    In a compiler, which takes together by itself, each stands alone.
    """
    if torch.compiler.is_compiling():
        return tuple((op,) for op in fragment.ops)
    return _units_of(fragment)


@lru_cache(maxsize=4096)
def _units_of(fragment: Fragment) -> tuple[Unit, ...]:
    return units(fragment.ops, fragment)


def units(operations: Iterable[Op], fragment: Fragment) -> tuple[Unit, ...]:
    """The same for some operations of the fragment."""
    reads = Counter(v.name for op in fragment.ops for v in op.inputs)
    reads.update(v.name for v in fragment.outputs)
    left = tuple(operations)
    found: list[Unit] = []
    while left:
        fitting = (
            n for n, fits in _KINDS.items() if fits(left[:n]) and _is_closed(left[:n], reads)
        )
        length = next(fitting, 1)
        found.append(left[:length])
        left = left[length:]
    return tuple(found)


def _is_closed(unit: Unit, reads: Counter[str]) -> bool:
    """Whether nobody else reads what the operations but the last one write."""
    own = Counter(v.name for op in unit for v in op.inputs)
    return all(own[v.name] == reads[v.name] for op in unit[:-1] for v in op.outputs)


def _is_normed_pointwise(unit: Unit) -> bool:
    """Whether it is norm, ReLU and 1x1 convolution of one group and stride 1."""
    if len(unit) < 3:
        return False
    norm, act, conv = unit
    return (
        isinstance(norm, ops.Norm)
        and isinstance(act, ops.Activation)
        and act.kind == "relu"
        and isinstance(conv, ops.Conv)
        and (conv.kernel, conv.stride) == (1, 1)
        # The groups of learned layers are in their masks.
        and (conv.groups == 1 or isinstance(conv, ops.LearnedConv | ops.LearnedReactivation))
        and (act.input, conv.input) == (norm.output, act.output)
    )


def _is_reactivated(unit: Unit) -> bool:
    """Whether after these three come the sum with what is updated, and what was normed joined
    to it."""
    if len(unit) < 5 or not _is_normed_pointwise(unit[:3]):
        return False
    norm, _, conv, add, concat = unit
    return (
        isinstance(add, ops.Add)
        and isinstance(concat, ops.Concat)
        and add.inputs[1:] == (conv.output,)
        and concat.inputs == (add.output, norm.input)
    )


_KINDS = {5: _is_reactivated, 3: _is_normed_pointwise}


def computed_as_one(unit: Unit, modules: nn.Module, values: dict[str, Tensor]) -> bool:
    """Writes the output of a unit of several operations; False where they have to run one by one.

    They do when nothing is trained, not on the CPU, and where somebody has replaced a module or
    hooked onto one.
    """
    x = values[unit[0].input.name]
    norm, _, conv, *others = members = [getattr(modules, op.name) for op in unit]
    if (
        not _is_training_on_cpu(x)
        or not isinstance(norm, BatchNorm2d)
        or not isinstance(conv, Conv2d | LearnedLayer)
        or any(_is_hooked(m) for m in members)
    ):
        return False
    weight = conv.masked_weight() if isinstance(conv, LearnedLayer) else conv.weight
    if others:
        y = reactivated(values[unit[3].input.name], x, norm, weight)
    else:
        y, values[unit[0].input.name] = normed_pointwise(x, norm, weight)
    values[unit[-1].output.name] = y
    return True


def _is_training_on_cpu(x: Tensor) -> bool:
    """A norm of a single position is left to torch, which refuses it."""
    return torch.is_grad_enabled() and x.device.type == "cpu" and x.numel() > x.shape[1]


def _is_hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
