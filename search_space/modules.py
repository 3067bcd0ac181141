"""How torch computes each operation of a plan, and how learned layers condense.

All modules take and return ``(N, channels, size, size)`` tensors, vectors ``(N, channels)``.
``forward`` is pure: masks change only in :meth:`LearnedLayer.condense`, which the trainer calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space import ops
from search_space.ops import Op
from search_space.statistics import concatenated


def kept_after(drops: int, inputs: int, factor: int) -> int:
    """What a group keeps of ``inputs`` after ``drops`` of its ``factor - 1`` drops.

    The last drop leaves exactly ``floor(inputs / factor)``; the earlier ones share the rest
    evenly, so that for a divisible number each removes ``inputs / factor``.
    """
    if factor == 1:
        return inputs
    return inputs - drops * (inputs - inputs // factor) // (factor - 1)


def drops_at(progress: float, factor: int) -> int:
    """Drops due at a progress in [0, 1]: drop j of ``factor - 1`` at ``j / (2 (factor - 1))``.

    The first half of training condenses, the second optimises (CondenseNet, section 3.1).

    Raises:
        ValueError: progress outside [0, 1].
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"`progress` (={progress}) must be in [0, 1]")
    # The small term keeps an iteration that lies exactly on a drop from missing it by rounding.
    return min(factor - 1, int(2 * progress * (factor - 1) + 1e-9))


T = TypeVar("T")


class _Memo(NamedTuple):
    """A value computed of a mask at one of its versions."""

    mask: Tensor
    version: int
    value: Any


class LearnedLayer(nn.Module):
    """A layer whose groups each keep a shrinking share of its candidates.

    ``mask`` has shape ``(groups, candidates)``; True is kept. ``factor`` is C or S. A candidate is
    a block of ``block`` neighbouring channels.
    """

    weight: nn.Parameter
    mask: Tensor

    def __init__(self, groups: int, channels: int, factor: int, block: int = 1) -> None:
        super().__init__()
        self.factor = factor
        self.block = block
        self.register_buffer("mask", torch.ones(groups, channels // block, dtype=torch.bool))
        self._memo: dict[str, _Memo] = {}

    @property
    def channel_mask(self) -> Tensor:
        """``(groups, channels)``"""
        return self.mask.repeat_interleave(self.block, 1)

    def importance(self) -> Tensor:
        """``(groups, candidates)``: the L1 norm of the weights that a group would lose."""
        return self._by_candidate(_l1(self.weight))

    def group_lasso(self) -> Tensor:
        """The sum over groups of the L2 norms of the weights that each still reads from, or
        writes to, a candidate (CondenseNet, section 3.1).

        As in the authors' code a square is at least 1e-6, for the sake of the gradient; unlike
        there a dropped candidate adds nothing.
        """
        squares = self.weight.view(*self.weight.shape[:2], -1).square().sum(2)
        squares = self._by_candidate(squares)
        return (squares.clamp_min(1e-6).sqrt() * self.mask).sum()

    def _by_candidate(self, scores: Tensor) -> Tensor:
        """``(groups, candidates)`` sums of the scores ``(outputs, inputs)`` of all weights."""
        raise NotImplementedError

    def expanded_mask(self) -> Tensor:
        """The mask in a shape that multiplies ``weight``; not to be written to."""
        return self._of_mask("expanded", self._expand)

    def _expand(self) -> Tensor:
        raise NotImplementedError

    def masked_weight(self) -> Tensor:
        """The weights of the connections that are left, zeros elsewhere."""
        return self.weight * self.expanded_mask()

    @property
    def kept(self) -> int:
        """How many candidates each group keeps."""
        return self._of_mask("kept", lambda: int(self.mask[0].sum()))

    @property
    def is_condensed(self) -> bool:
        """Whether each group keeps exactly ``floor(candidates / factor)``."""
        target = self.mask.shape[1] // self.factor
        return self._of_mask("condensed", lambda: bool((self.mask.sum(1) == target).all()))

    def _of_mask(self, name: str, compute: Callable[[], T]) -> T:
        """What ``compute`` makes of the mask, remembered until somebody changes the mask.

        Every iteration asks; to look at the mask itself would make it wait for a GPU.
        """
        # A compiled network computes it in its own kernels; such masks do not count changes.
        if torch.compiler.is_compiling() or self.mask.is_inference():
            return compute()
        known = self._memo.get(name)
        if known is None or known.mask is not self.mask or known.version != self.mask._version:
            known = self._memo[name] = _Memo(self.mask, self.mask._version, compute())
        return cast(T, known.value)

    def __getstate__(self) -> dict[str, Any]:
        """A copy's mask counts its changes anew, so what is remembered stays behind."""
        return {**self.__dict__, "_memo": {}}

    @torch.no_grad()
    def condense(self, progress: float) -> None:
        """Performs every drop that is due at ``progress``, however many were missed.

        Kept candidates of least importance go first, equal ones by their position. Nothing ever
        comes back: a lower progress than before changes nothing.
        """
        candidates = self.mask.shape[1]
        keep = kept_after(drops_at(progress, self.factor), candidates, self.factor)
        if keep >= self.kept:
            return
        score = self.importance().masked_fill(~self.mask, -torch.inf)
        order = score.argsort(dim=1, descending=True, stable=True)
        self.mask.zero_()
        self.mask.scatter_(1, order[:, :keep], True)

    def kept_index(self) -> Tensor:
        """``(groups, kept)``: for each group the channels it keeps, ascending.

        Raises:
            ValueError: the groups do not all keep floor(candidates / factor).
        """
        if not self.is_condensed:
            raise ValueError("the layer still has drops to come; call condense(1.0) first")
        return self.channel_mask.nonzero()[:, 1].view(self.mask.shape[0], -1)


def _l1(weight: Tensor) -> Tensor:
    """``(outputs, inputs)`` absolute weights; the maximum over larger kernels (CondenseNetV2,
    footnote 2)."""
    return weight.abs().flatten(2).amax(2) if weight.dim() == 4 else weight.abs()


class LearnedGroupConv(LearnedLayer):
    """A convolution whose output groups learn which inputs to read (CondenseNet, section 3.1).

    Output row ``r`` belongs to group ``r % groups``, which is the channel shuffle.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, groups: int, factor: int, block: int = 1
    ) -> None:
        super().__init__(groups, inputs, factor, block)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.padding = kernel // 2

    def _by_candidate(self, scores: Tensor) -> Tensor:
        return scores.view(-1, *self.mask.shape, self.block).sum((0, 3))

    def _expand(self) -> Tensor:
        rows = self.weight.shape[0] // self.mask.shape[0]
        return self.channel_mask.repeat(rows, 1)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.masked_weight(), padding=self.padding)


class SparseReactivation(LearnedLayer):
    """A convolution whose input groups learn which outputs to update (CondenseNetV2, section 3.1).

    Input column ``c`` belongs to group ``c % groups``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, groups: int, factor: int, block: int = 1
    ) -> None:
        super().__init__(groups, outputs, factor, block)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.padding = kernel // 2

    def _by_candidate(self, scores: Tensor) -> Tensor:
        groups, candidates = self.mask.shape
        return scores.view(candidates, self.block, -1, groups).sum((1, 2)).T

    def _expand(self) -> Tensor:
        columns = self.weight.shape[1] // self.mask.shape[0]
        return self.channel_mask.T.repeat(1, columns)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.masked_weight(), padding=self.padding)


class LearnedClassifier(LearnedLayer):
    """A classifier that learns, as one group, which features to read (CondenseNet, section 4.2).

    One ``at_conversion`` takes no part in training's drops; see ``Network.condense``.
    """

    def __init__(
        self, inputs: int, outputs: int, factor: int, *, bias: bool, at_conversion: bool
    ) -> None:
        super().__init__(1, inputs, factor)
        self.at_conversion = at_conversion
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def _by_candidate(self, scores: Tensor) -> Tensor:
        return scores.sum(0, keepdim=True)

    def _expand(self) -> Tensor:
        return self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked_weight(), self.bias)


class Conv2d(nn.Conv2d):
    """Draws no weights of its own; :func:`search_space.network.initialise` draws them all."""

    def reset_parameters(self) -> None: ...


class Linear(nn.Linear):
    """Draws no weights of its own; :func:`search_space.network.initialise` draws them all."""

    def reset_parameters(self) -> None: ...


class BatchNorm2d(nn.BatchNorm2d):
    """Leaves its tensors as they are; :func:`search_space.network.initialise` fills them."""

    def reset_parameters(self) -> None: ...


class SqueezeExcite(nn.Module):
    """Channel attention: mean, linear, ReLU, linear, sigmoid, scale (CondenseNetV2's code).

    With ``normed`` a batch norm stands before the ReLU and the sigmoid is a hard one
    (ShuffleNetV2+'s code).
    """

    def __init__(self, channels: int, hidden: int, *, normed: bool = False) -> None:
        super().__init__()
        self.reduce = Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden) if normed else nn.Identity()
        self.expand = Linear(hidden, channels, bias=False)
        self.gate = nn.Hardsigmoid() if normed else nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)) if x.dim() == 4 else x
        scale: Tensor = self.gate(self.expand(self.norm(self.reduce(pooled)).relu()))
        return x * (scale[:, :, None, None] if x.dim() == 4 else scale)


class Gather(nn.Module):
    """Reads the channels that ``index`` names."""

    index: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.zeros(channels, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.index)


class IndexAdd(nn.Module):
    """``x`` with ``y`` added to the channels that ``index`` names; a channel named twice gets
    both."""

    index: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.zeros(channels, dtype=torch.long))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.index_add(1, self.index, y)


class Scatter(nn.Module):
    """Zeros with ``y`` added to the channels that ``index`` names."""

    index: Tensor

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("index", torch.zeros(channels, dtype=torch.long))

    def forward(self, y: Tensor) -> Tensor:
        x = y.new_zeros(y.shape[0], self.outputs, *y.shape[2:])
        return x.index_add(1, self.index, y)


class Shuffle(nn.Module):
    """The transposed ``(groups, channels / groups)`` matrix of channels."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        grouped: Tensor = x.view(n, self.groups, channels // self.groups, height, width)
        return grouped.transpose(1, 2).reshape(n, channels, height, width)


class Concat(nn.Module):
    """Joins along the channels."""

    def forward(self, *xs: Tensor) -> Tensor:
        return concatenated(*xs)


class Split(nn.Module):
    """Undoes :class:`Concat`."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.split(x, self.sizes, 1)


class Add(nn.Module):
    """The sum of its inputs."""

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        for y in others:
            x = x + y
        return x


class GlobalPool(nn.Module):
    """The mean over all positions: ``(N, channels)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def _conv(op: Any) -> nn.Module:
    return Conv2d(
        op.input.channels,
        op.output.channels,
        op.kernel,
        op.stride,
        op.kernel // 2,
        groups=op.groups,
        bias=False,
    )


def _learned_conv(op: Any) -> nn.Module:
    return LearnedGroupConv(
        op.input.channels,
        op.output.channels,
        op.kernel,
        op.groups,
        op.condense_factor,
        op.block,
    )


def _reactivation(op: Any) -> nn.Module:
    return SparseReactivation(
        op.input.channels,
        op.output.channels,
        op.kernel,
        op.groups,
        op.sparse_factor,
        op.block,
    )


def _linear(op: Any) -> nn.Module:
    return Linear(op.input.channels, op.output.channels, bias=op.bias)


def _learned_linear(op: Any) -> nn.Module:
    return LearnedClassifier(
        op.input.channels,
        op.output.channels,
        op.condense_factor,
        bias=op.bias,
        at_conversion=op.at_conversion,
    )


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    # In place: norms and linear layers, which stand before it, do not need their results again.
    "relu": lambda: nn.ReLU(inplace=True),
    "hard_swish": nn.Hardswish,
}

MODULES: dict[type[Op], Callable[[Any], nn.Module]] = {
    ops.Conv: _conv,
    ops.LearnedConv: _learned_conv,
    ops.LearnedReactivation: _reactivation,
    ops.Linear: _linear,
    ops.LearnedLinear: _learned_linear,
    ops.Norm: lambda op: BatchNorm2d(op.output.channels),
    ops.Activation: lambda op: ACTIVATIONS[op.kind](),
    ops.SqueezeExcite: lambda op: SqueezeExcite(op.input.channels, op.hidden, normed=op.normed),
    ops.Gather: lambda op: Gather(op.output.channels),
    ops.Shuffle: lambda op: Shuffle(op.groups),
    ops.IndexAdd: lambda op: IndexAdd(op.inputs[1].channels),
    ops.Scatter: lambda op: Scatter(op.input.channels, op.output.channels),
    ops.Add: lambda op: Add(),
    ops.Concat: lambda op: Concat(),
    ops.Split: lambda op: Split([v.channels for v in op.outputs]),
    ops.AvgPool: lambda op: nn.AvgPool2d(op.kernel, op.stride),
    ops.MaxPool: lambda op: nn.MaxPool2d(op.kernel, op.stride, op.kernel // 2),
    ops.GlobalPool: lambda op: GlobalPool(),
    ops.Flatten: lambda op: nn.Flatten(),
}
"""How to make the module of an operation. A new operation is one class in ops and one line here."""
