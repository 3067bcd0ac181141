"""The operations a plan is made of: shapes, multiply-adds and parameters, without torch.

An operation knows what it reads, what it writes, how many multiply-adds it executes and how many
parameters it owns. How torch computes it stands in :mod:`search_space.modules`, what a paper's
counter makes of it in :mod:`search_space.cost`. Feature maps are square; a vector is a map of
size 1.
"""

from __future__ import annotations

from dataclasses import dataclass


def kept_channels(channels: int, factor: int, block: int = 1) -> int:
    """What a group keeps of ``channels``: one ``factor``-th of their blocks, rounded down."""
    return channels // block // factor * block


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of shape ``(N, channels, size, size)`` that one operation writes and others read."""

    name: str
    channels: int
    size: int

    @property
    def elements(self) -> int:
        """Elements per image."""
        return self.channels * self.size * self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation. The base class costs nothing: it moves or adds data."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def input(self) -> Value:
        return self.inputs[0]

    @property
    def output(self) -> Value:
        return self.outputs[0]

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers per image, as executed."""
        return 0

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Op):
    """A convolution without bias, padded so that stride 1 keeps the size."""

    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def params(self) -> int:
        return self.output.channels * (self.input.channels // self.groups) * self.kernel**2

    @property
    def macs(self) -> int:
        return self.params * self.output.size**2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedConv(Conv):
    """A learned group convolution while it is trained: dense weights under a mask.

    Output row ``r`` belongs to group ``r % groups``; at the end of the schedule each group keeps
    ``floor(inputs / condense_factor)`` of its inputs, in blocks of ``block`` neighbours. As
    executed it is dense, whence ``macs`` are those of a dense convolution (CondenseNet, section
    3.1).
    """

    condense_factor: int
    block: int = 1

    @property
    def params(self) -> int:
        return self.output.channels * self.input.channels * self.kernel**2

    @property
    def kept(self) -> int:
        """Inputs that each group keeps."""
        return kept_channels(self.input.channels, self.condense_factor, self.block)

    @property
    def condensed_params(self) -> int:
        return self.output.channels * self.kept * self.kernel**2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedReactivation(Conv):
    """A sparse feature reactivation while it is trained: dense weights under a mask.

    Input column ``c`` belongs to group ``c % groups``; at the end of the schedule each group
    updates ``floor(outputs / sparse_factor)`` outputs, in blocks of ``block`` neighbours
    (CondenseNetV2, section 3.1).
    """

    sparse_factor: int
    block: int = 1

    @property
    def params(self) -> int:
        return self.output.channels * self.input.channels * self.kernel**2

    @property
    def kept(self) -> int:
        """Outputs that each group updates."""
        return kept_channels(self.output.channels, self.sparse_factor, self.block)

    @property
    def condensed_params(self) -> int:
        return self.input.channels * self.kept * self.kernel**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Op):
    """A fully connected layer on a vector."""

    bias: bool = True

    @property
    def params(self) -> int:
        return self.output.channels * (self.input.channels + self.bias)

    @property
    def macs(self) -> int:
        return self.output.channels * self.input.channels


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedLinear(Linear):
    """A classifier while it is condensed: one group, ``floor(inputs / condense_factor)`` kept.

    ``at_conversion`` ones lose their inputs after training (as the authors' CondenseNet code
    does), others while it goes on (as the paper says).
    """

    condense_factor: int
    at_conversion: bool = False

    @property
    def kept(self) -> int:
        """Inputs that the classifier keeps."""
        return self.input.channels // self.condense_factor

    @property
    def condensed_params(self) -> int:
        return self.output.channels * (self.kept + self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm(Op):
    """Batch normalisation with affine parameters."""

    @property
    def params(self) -> int:
        return 2 * self.output.channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(Op):
    """One of the activations of :mod:`search_space.modules`."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SqueezeExcite(Op):
    """Channel attention: pool, two bias-free linear layers, ReLU between, sigmoid, scale.

    ``normed`` ones have a batch norm before the ReLU and a hard sigmoid (ShuffleNetV2+).
    """

    reduction: int
    normed: bool = False

    @property
    def hidden(self) -> int:
        return self.input.channels // self.reduction

    @property
    def params(self) -> int:
        return self.macs + 2 * self.hidden * self.normed

    @property
    def macs(self) -> int:
        return 2 * self.input.channels * self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather(Op):
    """Selects channels by a learned index, ``block`` neighbours at a time; repeats are allowed."""

    block: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle(Op):
    """Reads the channels as a ``(groups, channels / groups)`` matrix and transposes it."""

    groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAdd(Op):
    """Adds the channels of the second input to the channels of the first that an index names."""

    block: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter(Op):
    """Sums its channels into the outputs that an index names; outputs not named are zero."""

    block: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Op):
    """Adds tensors of equal shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(Op):
    """Concatenates along the channels, oldest features first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Op):
    """Takes a concatenation apart again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool(Op):
    """Average pooling without padding."""

    kernel: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Op):
    """Maximum pooling, padded as a convolution is."""

    kernel: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalPool(Op):
    """The mean over all positions: a vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(Op):
    """A map read as one vector, channel by channel."""
