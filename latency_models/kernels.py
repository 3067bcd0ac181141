"""From the condensed plan of a network to the kernels that an inference runtime executes.

What a runtime executes apart is one :class:`Kernel`, and :func:`features` says what a kernel is
charged for; what folds, :mod:`latency_models.calls` says. No prices stand here and no torch is
imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from latency_models.calls import Call, Role, executed
from search_space import ops
from search_space.ops import Op
from search_space.plan import Fragment

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

ComputeKind = Literal[
    "conv", "pointwise", "grouped_conv", "grouped_pointwise", "depthwise", "linear"
]
MoveKind = Literal[
    "elementwise",
    "binary",
    "concat",
    "split",
    "shuffle",
    "gather",
    "index_add",
    "pool",
    "global_pool",
    "other",
]

KINDS: tuple[ComputeKind | MoveKind, ...] = (*get_args(ComputeKind), *get_args(MoveKind))
ELEMENTWISE = ("norm", "relu", "hard_swish", "sigmoid", "swish")
"""Functions of elementwise kernels; a norm may have an activation after it. Kernels of kind
``other`` have some more: see ``EXPONENTIAL``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One call of a runtime's kernel on one image.

    Attributes:
        kind: A :data:`ComputeKind`, which multiplies, or a :data:`MoveKind`, which moves data
            (``binary`` adds or scales one tensor by another).
        in_channels: Channels of the first input, of all inputs where they are concatenated.
        out_channels: Channels written, of all outputs together.
        in_elements: Elements of every tensor read except the weights.
        out_elements: Elements of every tensor written.
        macs: Multiply-adds.
        weights: Trained numbers that it reads.
        kernel: Side of the window of a convolution or a pooling.
        stride: Of the window.
        groups: Of a convolution or a shuffle.
        parts: Pieces that channels are moved in: inputs of a concat, outputs of a split, runs of
            neighbouring channels of a gather or an index-add at the worst.
        function: What an elementwise kernel computes: a name of ``ELEMENTWISE`` or
            ``EXPONENTIAL``; ``avg`` or ``max`` of a pooling, where that is known; of a kernel of
            the kind ``other``, the name of an operation that no price is known for.
    """

    kind: ComputeKind | MoveKind
    in_channels: int
    out_channels: int
    in_elements: int
    out_elements: int
    macs: int = 0
    weights: int = 0
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    parts: int = 1
    function: str = ""

    @property
    def is_unknown(self) -> bool:
        """Whether it is an operation that no price is known for."""
        return self.kind == "other" and self.function not in ("", *EXPONENTIAL)

    @property
    def label(self) -> str:
        """The kind, or the operation that no price is known for."""
        return self.function if self.is_unknown else self.kind


EXPONENTIAL = ("sigmoid", "swish", "softmax", "lrn")
"""Functions that take an exponential or a power of every element."""


def features(kernel: Kernel) -> tuple[tuple[str, int], ...]:
    """What a kernel is charged for: pairs of a weight's name and an amount.

    An operation without a price is charged ``ns_per_kernel.<its name>``, all others
    ``ns_per_kernel.call`` once, and

    * where it multiplies: ``ns_per_mac.<kind>`` times multiply-adds (depth-wise ones of more than
      3x3 apart, for which runtimes have no routine of their own), ``ns_per_element.computed`` times
      the elements read and written, ``ns_per_weight.read``, and for windows of many channels
      ``ns_per_element.patches``, each input as often as windows hold it;
    * where it pools: ``ns_per_element.pooled`` times the elements of all windows, those that
      overlap in every position apart (``pooled_densely``: vector loads that skip do not apply), or
      ``ns_per_element.averaged`` times those of the map;
    * otherwise ``ns_per_element.exponential`` times the elements of an exponential function, or
      ``ns_per_element.moved`` times the elements read and written.
    """
    if kernel.is_unknown:
        return ((f"ns_per_kernel.{kernel.function}", 1),)
    call = ("ns_per_kernel.call", 1)
    elements = kernel.in_elements + kernel.out_elements
    if kernel.macs:
        large = kernel.kind == "depthwise" and kernel.kernel > 3
        charges = (
            (f"ns_per_mac.{kernel.kind}{'_large' if large else ''}", kernel.macs),
            ("ns_per_element.computed", elements),
            ("ns_per_weight.read", kernel.weights),
            call,
        )
        if kernel.kind not in ("conv", "grouped_conv"):
            return charges
        patches = kernel.macs * kernel.groups // kernel.out_channels
        return (*charges, ("ns_per_element.patches", patches))
    if kernel.kind == "pool":
        name = "pooled" if kernel.stride > 1 else "pooled_densely"
        return ((f"ns_per_element.{name}", kernel.kernel**2 * kernel.out_elements), call)
    if kernel.kind == "global_pool":
        return (("ns_per_element.averaged", kernel.in_elements), call)
    if kernel.function in EXPONENTIAL:
        return (("ns_per_element.exponential", kernel.in_elements), call)
    return (("ns_per_element.moved", elements), call)


def conv_kind(*, inputs: int, outputs: int, kernel: int, groups: int, out_size: int) -> ComputeKind:
    """The kind of a convolution from ``inputs`` to ``outputs`` channels on a map of ``out_size``.

    A dense 1x1 convolution of a vector is a linear layer.
    """
    if groups > 1:
        if groups == inputs and outputs % inputs == 0:
            return "depthwise"
        return "grouped_pointwise" if kernel == 1 else "grouped_conv"
    if kernel > 1:
        return "conv"
    return "pointwise" if out_size > 1 else "linear"


# --- From operations to kernels ---------------------------------------------------------------

_MOVES: dict[type[Op], MoveKind] = {
    ops.Add: "binary",
    ops.Concat: "concat",
    # Runtimes copy here: an ncnn Slice does, and so must any runtime with channels last.
    ops.Split: "split",
    ops.Shuffle: "shuffle",
    ops.Gather: "gather",
    ops.IndexAdd: "index_add",
    ops.Scatter: "index_add",
    ops.AvgPool: "pool",
    ops.MaxPool: "pool",
    ops.GlobalPool: "global_pool",
    # A normalisation or activation that folds into nothing before it.
    ops.Norm: "elementwise",
    ops.Activation: "elementwise",
}


def _settings(op: Op) -> dict[str, Any]:
    """What is told of a moving kernel beside the tensors it reads and writes."""
    match op:
        case ops.AvgPool() | ops.MaxPool():
            function = "avg" if isinstance(op, ops.AvgPool) else "max"
            return {"kernel": op.kernel, "stride": op.stride, "function": function}
        case ops.Gather():
            return {"parts": op.output.channels // op.block}
        case ops.IndexAdd() | ops.Scatter():
            return {"parts": op.inputs[-1].channels // op.block}
        case ops.Concat():
            channels = sum([v.channels for v in op.inputs])
            return {"in_channels": channels, "parts": len(op.inputs)}
        case ops.Split():
            return {"parts": len(op.outputs)}
        case ops.Shuffle():
            return {"groups": op.groups}
        case ops.Norm():
            return {"function": "norm"}
        case ops.Activation():
            return {"function": op.kind}
        case _:
            return {}


def _move(op: Op) -> Kernel:
    moved: dict[str, Any] = {
        "kind": _MOVES[type(op)],
        "in_channels": op.input.channels,
        "out_channels": sum([v.channels for v in op.outputs]),
        "in_elements": sum([v.elements for v in op.inputs]),
        "out_elements": sum([v.elements for v in op.outputs]),
    }
    return Kernel(**moved | _settings(op))


def _conv(op: ops.Conv) -> Kernel:
    return Kernel(
        kind=conv_kind(
            inputs=op.input.channels,
            outputs=op.output.channels,
            kernel=op.kernel,
            groups=op.groups,
            out_size=op.output.size,
        ),
        in_channels=op.input.channels,
        out_channels=op.output.channels,
        in_elements=op.input.elements,
        out_elements=op.output.elements,
        macs=op.macs,
        weights=op.params,
        kernel=op.kernel,
        stride=op.stride,
        groups=op.groups,
    )


def _linear(inputs: int, outputs: int, weights: int) -> Kernel:
    return Kernel(
        kind="linear",
        in_channels=inputs,
        out_channels=outputs,
        in_elements=inputs,
        out_elements=outputs,
        macs=inputs * outputs,
        weights=weights,
    )


def squeeze_excite(channels: int, size: int, hidden: int) -> Iterator[Kernel]:
    """Pooling (of maps only), two linear layers, multiplication; the activations fold."""
    elements = channels * size * size
    if size > 1:
        yield Kernel(
            kind="global_pool",
            in_channels=channels,
            out_channels=channels,
            in_elements=elements,
            out_elements=channels,
            kernel=size,
        )
    yield _linear(channels, hidden, channels * hidden)
    yield _linear(hidden, channels, channels * hidden)
    yield Kernel(
        kind="binary",
        in_channels=channels,
        out_channels=channels,
        in_elements=elements + channels,
        out_elements=elements,
    )


def _kernels_of(op: Op) -> Iterator[Kernel]:
    if isinstance(op, ops.SqueezeExcite):
        yield from squeeze_excite(op.input.channels, op.input.size, op.hidden)
    elif isinstance(op, ops.Conv):
        yield _conv(op)
    elif isinstance(op, ops.Linear):
        yield _linear(op.input.channels, op.output.channels, op.params)
    elif not isinstance(op, ops.Flatten):  # which only renames
        yield _move(op)


_ROLES: dict[type[Op], Role] = {
    ops.Conv: "conv",
    ops.Linear: "linear",
    ops.Norm: "norm",
    ops.Activation: "activation",
    ops.Shuffle: "shuffle",
}
"""How operations fold; all others do not."""


def kernels(fragment: Fragment) -> tuple[Kernel, ...]:
    """The kernels of a fragment of a condensed plan in the order of execution.

    Not cached: prices are, per fragment and device, and kernels kept too would only cost memory.
    """
    calls = [
        Call(
            _ROLES.get(type(op), "other"),
            tuple([v.name for v in op.inputs]),
            tuple([v.name for v in op.outputs]),
            tuple(_kernels_of(op)),
        )
        for op in fragment.ops
    ]
    return executed(calls, [v.name for v in fragment.outputs])


def network_kernels(spec: NetworkSpec) -> Iterator[Kernel]:
    """Every kernel of the condensed network in the order of execution."""
    return (k for step in spec.plan("condensed").steps for k in kernels(step.fragment))
