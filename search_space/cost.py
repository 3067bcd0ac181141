"""What a network costs: multiply-adds, parameters, traffic and memory; and the papers' counts.

MACs are multiply-adds of convolutions and linear layers per image. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from search_space.errors import UnknownName
from search_space.meter import Counts
from search_space.plan import Fragment, Plan

if TYPE_CHECKING:
    from search_space.spec import NetworkSpec

BYTES_PER_ELEMENT = 4


# --- The papers' counters ---------------------------------------------------------------------


class Convention(NamedTuple):
    """What an authors' counter adds up: how often each of these."""

    macs: int = 1
    activated_elements: int = 0
    pooled_elements: int = 0
    biases: int = 0
    attention: int = 0

    def flops(self, counts: Counts) -> int:
        """The counter's figure."""
        return sum(weight * getattr(counts, name) for name, weight in self._asdict().items())


PAPER_COUNTERS: dict[str, Convention] = {
    # utils.measure_model of the authors' CondenseNet: adds ReLU, pooling and biases.
    "condensenet": Convention(activated_elements=1, pooled_elements=1, biases=1),
    # utils.tools of the authors' CondenseNetV2: the same without biases; functional code (index,
    # residual, scaling) is invisible to it. SFR-ShuffleNetV2's printed counts agree with it.
    "condensenetv2": Convention(activated_elements=1, pooled_elements=1, attention=1),
    # Convolutions and linear layers alone: ShuffleNetV2, ResNet, DenseNet.
    "plain": Convention(),
    # A multiply-add as two operations: SparseNet on ImageNet.
    "twice": Convention(macs=2),
}


def paper_convention(spec: NetworkSpec) -> str:
    """The counter that the nearest paper used.

    Reactivation, hard-swish, a hidden layer or squeeze-excite: CondenseNetV2's (but ShuffleNetV2+
    without reactivation is counted plainly); else learned groups: CondenseNet's; else exponential
    fetch on ImageNet: twice the multiply-adds; else multiply-adds alone.
    """
    stages = spec.stages
    if any(getattr(s, "reactivating_layers", ()) for s in stages):
        return "condensenetv2"
    if all(s.kind == "shuffle" for s in stages):
        return "plain"
    modern = any(s.se_reduction or s.activation != "relu" for s in stages)
    if modern or spec.head.features or spec.head.se_reduction:
        return "condensenetv2"
    if any(s.learns for s in stages):
        return "condensenet"
    sparse = any(getattr(s, "fetch", "dense") != "dense" for s in stages)
    return "twice" if sparse and spec.image_size > 32 else "plain"


# --- The price ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The price of one network per image.

    ``macs`` and ``params`` are those of the condensed network as executed and stored;
    ``training_*`` those of the masked one; ``paper_*`` follow the authors' counter
    (``paper_convention`` names it). ``gather_elements`` are elements that gathers, shuffles and
    index-adds move, ``activations`` elements that convolutions and linear layers write.
    """

    spec: NetworkSpec
    macs: int
    params: int
    training_macs: int
    training_params: int
    paper_flops: int
    paper_params: int
    paper_convention: str
    gather_elements: int
    activations: int

    @cached_property
    def peak_activation_mb(self) -> float:
        """The largest sum of tensors alive at once, in single precision.

        It depends on the order of execution and therefore needs the whole plan, unlike the rest.
        """
        return peak_elements(self.spec.plan("condensed")) * BYTES_PER_ELEMENT / 1e6

    def to_dict(self) -> dict[str, int | float | str]:
        """Every figure by its name."""
        names = [name for name in self.__dataclass_fields__ if name != "spec"]
        return {name: getattr(self, name) for name in [*names, "peak_activation_mb"]}


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
    counts = spec.counts
    return Cost(
        spec=spec,
        macs=counts.macs,
        params=counts.params,
        training_macs=counts.training_macs,
        training_params=counts.training_params,
        paper_flops=PAPER_COUNTERS[convention].flops(counts),
        paper_params=counts.paper_params,
        paper_convention=convention,
        gather_elements=counts.gather_elements,
        activations=counts.activations,
    )


def macs(spec: NetworkSpec) -> int:
    """Multiply-adds of the condensed network alone; what a budget tests thousands of times."""
    return spec.counts.macs


# --- Memory ---------------------------------------------------------------------------------------


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
        peak = max(peak, waiting + _peak(step.fragment))
        for name in step.inputs:
            if last[name] == i:
                alive.pop(name, None)
        for name, value in zip(step.outputs, step.fragment.outputs, strict=True):
            if name in last:
                alive[name] = value.elements
    return peak
