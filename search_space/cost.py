"""What a network costs: multiply-adds, parameters, traffic and memory; and the papers' counts.

MACs are multiply-adds of convolutions and linear layers per image. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from search_space import ops
from search_space.errors import UnknownName
from search_space.ops import Op
from search_space.plan import FRAGMENT_CACHE_SIZE, Fragment, Plan

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

BYTES_PER_ELEMENT = 4


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of one network per image.

    ``macs`` and ``params`` are those of the condensed network as executed and stored;
    ``training_*`` those of the masked one; ``paper_*`` follow the authors' counter
    (``paper_convention`` names it). ``gather_elements`` are elements that gathers, shuffles and
    index-adds move, ``activations`` elements that convolutions and linear layers write,
    ``peak_activation_mb`` the largest sum of tensors alive at once in single precision.
    """

    macs: int
    params: int
    training_macs: int
    training_params: int
    paper_flops: int
    paper_params: int
    paper_convention: str
    gather_elements: int
    activations: int
    peak_activation_mb: float


class _Sums(NamedTuple):
    macs: int
    params: int
    gather_elements: int
    activations: int
    peak_elements: int


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def _sums(fragment: Fragment) -> _Sums:
    computed = (ops.Conv, ops.Linear)
    return _Sums(
        macs=sum(op.macs for op in fragment.ops),
        params=sum(op.params for op in fragment.ops),
        gather_elements=sum(_moved(op) for op in fragment.ops),
        activations=sum(op.output.elements for op in fragment.ops if isinstance(op, computed)),
        peak_elements=_peak(fragment),
    )


def _moved(op: Op) -> int:
    """Elements that an operation reads or writes at places that an index or a shuffle names."""
    if isinstance(op, ops.IndexAdd):
        return op.inputs[1].elements
    return op.output.elements if isinstance(op, ops.Gather | ops.Shuffle) else 0


def _peak(fragment: Fragment) -> int:
    """The most elements alive at once inside a fragment, its inputs alive throughout."""
    last = {value.name: i for i, op in enumerate(fragment.ops) for value in op.inputs}
    kept = {v.name for v in (*fragment.inputs, *fragment.outputs)}
    alive = {v.name: v.elements for v in fragment.inputs}
    peak = sum(alive.values())
    for i, op in enumerate(fragment.ops):
        alive |= {v.name: v.elements for v in op.outputs}
        peak = max(peak, sum(alive.values()))
        for value in op.inputs:
            if last[value.name] == i and value.name not in kept:
                alive.pop(value.name, None)
    return peak


def peak_elements(plan: Plan) -> int:
    """The most elements alive at once, each tensor freed after its last reader."""
    last = plan.last_reader()
    alive = {plan.input.name: plan.input.elements}
    peak = 0
    for i, step in enumerate(plan.steps):
        waiting = sum(n for name, n in alive.items() if name not in step.inputs)
        peak = max(peak, waiting + _sums(step.fragment).peak_elements)
        for name in step.inputs:
            if last[name] == i:
                alive.pop(name, None)
        for name, value in zip(step.outputs, step.fragment.outputs, strict=True):
            if name in last:
                alive[name] = value.elements
    return peak


# --- The papers' counters ---------------------------------------------------------------------


def _learned(op: Op) -> int:
    """Multiply-adds of a learned layer after condensing."""
    assert isinstance(op, ops.LearnedConv | ops.LearnedReactivation)
    return op.condensed_params * op.output.size**2


def _linear_with_bias(op: Op) -> int:
    return op.params


def _condensed_linear_with_bias(op: Op) -> int:
    assert isinstance(op, ops.LearnedLinear)
    return op.condensed_params


def _condensed_linear(op: Op) -> int:
    assert isinstance(op, ops.LearnedLinear)
    return op.condensed_params - op.output.channels


def _output(op: Op) -> int:
    return op.output.elements


def _input(op: Op) -> int:
    return op.input.elements


def _se_v2(op: Op) -> int:
    """Pooling by its input, ReLU by its output, sigmoid twice its output, two linear layers."""
    assert isinstance(op, ops.SqueezeExcite)
    return op.input.elements + op.macs + op.hidden + 2 * op.input.channels


Counter = dict[type[Op], Callable[[Op], int]]
"""An operation's count by its class; an operation that is not listed counts its ``macs``."""

PAPER_COUNTERS: dict[str, Counter] = {
    # utils.measure_model of the authors' CondenseNet: adds ReLU, pooling and biases.
    "condensenet": {
        ops.LearnedConv: _learned,
        ops.LearnedLinear: _condensed_linear_with_bias,
        ops.Linear: _linear_with_bias,
        ops.Activation: _output,
        ops.AvgPool: _input,
        ops.GlobalPool: _input,
    },
    # utils.tools of the authors' CondenseNetV2: the same without biases; additions of functional
    # code (index, residual, scaling) are invisible to it.
    "condensenetv2": {
        ops.LearnedConv: _learned,
        ops.LearnedReactivation: _learned,
        ops.LearnedLinear: _condensed_linear,
        ops.Activation: _output,
        ops.AvgPool: _input,
        ops.GlobalPool: _input,
        ops.SqueezeExcite: _se_v2,
    },
    # SparseNet prints no CIFAR counts; convolutions and linear layers alone.
    "plain": {
        ops.LearnedConv: _learned,
        ops.LearnedReactivation: _learned,
        ops.LearnedLinear: _condensed_linear,
    },
}


@lru_cache(maxsize=FRAGMENT_CACHE_SIZE)
def _paper_sums(fragment: Fragment, convention: str) -> tuple[int, int]:
    """Operations and parameters that an authors' counter sees in a masked fragment."""
    counter = PAPER_COUNTERS[convention]
    flops = 0
    params = 0
    for op in fragment.ops:
        handler = counter.get(type(op))
        flops += op.macs if handler is None else handler(op)
        params += getattr(op, "condensed_params", op.params)
    return flops, params


def paper_convention(spec: NetworkSpec) -> str:
    """The counter that the nearest paper used.

    Reactivation, squeeze-excite or hard-swish: CondenseNetV2's; else learned groups:
    CondenseNet's; else multiply-adds alone.
    """
    modern = any(
        s.reactivating_layers or s.se_reduction or s.activation != "relu" for s in spec.stages
    )
    if modern or spec.head.features or spec.head.se_reduction:
        return "condensenetv2"
    if any(s.condense_factor > 1 for s in spec.stages):
        return "condensenet"
    return "plain"


def cost(spec: NetworkSpec, *, convention: str | None = None) -> Cost:
    """Prices a network.

    Args:
        spec: The network.
        convention: A key of ``PAPER_COUNTERS``; by default that of the nearest paper.

    Raises:
        UnknownName: no such convention.
    """
    convention = convention or paper_convention(spec)
    if convention not in PAPER_COUNTERS:
        raise UnknownName("counting convention", convention, PAPER_COUNTERS)
    condensed = spec.plan("condensed")
    executed = [_sums(step.fragment) for step in condensed.steps]
    masked = [step.fragment for step in spec.plan("masked").steps]
    trained = [_sums(fragment) for fragment in masked]
    printed = [_paper_sums(fragment, convention) for fragment in masked]
    return Cost(
        macs=sum(s.macs for s in executed),
        params=sum(s.params for s in executed),
        training_macs=sum(s.macs for s in trained),
        training_params=sum(s.params for s in trained),
        paper_flops=sum(flops for flops, _ in printed),
        paper_params=sum(params for _, params in printed),
        paper_convention=convention,
        gather_elements=sum(s.gather_elements for s in executed),
        activations=sum(s.activations for s in executed),
        peak_activation_mb=peak_elements(condensed) * BYTES_PER_ELEMENT / 1e6,
    )


def macs(spec: NetworkSpec) -> int:
    """Multiply-adds of the condensed network alone; what a budget tests thousands of times."""
    return sum(_sums(step.fragment).macs for step in spec.plan("condensed").steps)
