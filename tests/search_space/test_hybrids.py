"""Random networks of every kind of layer mixed: what holds for them holds for any.

They are priced by counting alone, written down as plans and built as modules; all three must
agree, in both forms, and both forms must compute the same.
"""

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from search_space import (
    DenseStage,
    HeadSpec,
    NetworkSpec,
    ResidualStage,
    ShuffleStage,
    SpecError,
    StemSpec,
    TransitionSpec,
    build,
    cost,
    ops,
)
from search_space.cost import Counts
from search_space.plan import Form

T = TypeVar("T")
ACTIVATIONS = ("relu", "hard_swish")


class Draw:
    """Random choices, of which the first is the plainest."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def one(self, *choices: T) -> T:
        return choices[self.rng.integers(len(choices))]

    def divisor(self, number: int) -> int:
        return self.one(*(n for n in (1, 2, 4, 8) if number % n == 0))


def dense(draw: Draw) -> DenseStage:
    growth_rate = draw.one(4, 8, 16)
    bottleneck = draw.one(4, 2, 1, 0)
    return DenseStage(
        depth=draw.one(1, 2, 3, 5),
        growth_rate=growth_rate,
        bottleneck=bottleneck,
        groups_1x1=draw.divisor(growth_rate),
        condense_factor=draw.one(1, 2, 3, 4) if bottleneck else 1,
        groups_3x3=draw.divisor(growth_rate) if bottleneck else 1,
        sfr=draw.one("none", "all", "last-1", "every-2"),
        sparse_factor=draw.one(1, 2, 3, 4),
        sfr_groups=draw.divisor(growth_rate),
        sfr_kernel=draw.one(1, 3),
        sfr_order=draw.one("pre", "post"),
        fetch=draw.one("dense", "exponential"),
        fetch_base=draw.one(2, 3),
        condense_block=draw.one(1, 2, 4, 8),
        se_reduction=draw.one(0, 1, 2),
        activation=draw.one(*ACTIVATIONS),
    )


def residual(draw: Draw) -> ResidualStage:
    channels, bottleneck = draw.one(16, 32), draw.one(4, 2)
    inner = channels // bottleneck
    return ResidualStage(
        depth=draw.one(1, 2, 4),
        channels=channels,
        bottleneck=bottleneck,
        stride=draw.one(1, 2),
        groups_1x1=draw.divisor(inner),
        condense_factor=draw.one(1, 2, 3, 4),
        groups_3x3=draw.divisor(inner),
        fetch=draw.one("dense", "exponential"),
        fetch_base=draw.one(2, 3),
        condense_block=draw.one(1, 2, 4),
        se_reduction=draw.one(0, 2),
        activation=draw.one(*ACTIVATIONS),
    )


def shuffled(draw: Draw) -> ShuffleStage:
    channels = draw.one(32, 64, 128)
    return ShuffleStage(
        channels=channels,
        units=tuple(draw.one("3", "5", "7", "xception") for _ in range(draw.one(1, 2, 3))),
        stride=draw.one(2, 1),
        sfr=draw.one("none", "all", "last-1"),
        sparse_factor=draw.one(1, 2, 3, channels // 2),
        sfr_groups=draw.one(1, 4, channels // 2),
        sfr_kernel=draw.one(1, 3),
        sfr_order=draw.one("pre", "post"),
        se_reduction=draw.one(0, 4),
        activation=draw.one(*ACTIVATIONS),
    )


def transition(draw: Draw) -> TransitionSpec:
    kind = draw.one("pool", "conv", "learned")
    learned = kind == "learned"
    return TransitionSpec(
        kind=kind,
        compression=1.0 if kind == "pool" else draw.one(1.0, 0.5, 0.3),
        groups_1x1=draw.one(1, 2, 4) if learned else 1,
        condense_factor=draw.one(1, 2, 4) if learned else 1,
    )


def head(draw: Draw) -> HeadSpec:
    return HeadSpec(
        normed=draw.one(True, False),
        conv_features=draw.one(0, 20),
        grid=draw.one(1, 1, 2, 3),
        se_reduction=draw.one(0, 4),
        se_normed=draw.one(False, True),
        features=draw.one(0, 24),
        activation=draw.one(*ACTIVATIONS),
        bias=draw.one(True, False),
        condense_factor=draw.one(1, 2, 3),
        condense_at=draw.one("training", "conversion"),
    )


def hybrid(seed: int) -> NetworkSpec:
    """A network of one to three stages; SpecError where the choices make none."""
    draw = Draw(seed)
    kinds = (dense, residual, shuffled)
    return NetworkSpec(
        image_size=16,
        classes=5,
        image_channels=draw.one(3, 1),
        stem=StemSpec(
            channels=draw.one(8, 16, 24),
            kernel=draw.one(3, 1, 5),
            stride=draw.one(1, 2),
            normed=draw.one(False, True),
            activation=draw.one(*ACTIVATIONS),
            pooled=draw.one(False, False, True),
        ),
        stages=tuple(draw.one(*kinds)(draw) for _ in range(draw.one(1, 2, 3))),
        transition=transition(draw),
        head=head(draw),
    )


def hybrids(count: int) -> list[NetworkSpec]:
    """The first of them that are networks."""
    found: list[NetworkSpec] = []
    for seed in range(20 * count):
        try:
            found.append(hybrid(seed))
        except SpecError:
            continue
        if len(found) == count:
            return found
    raise AssertionError("nearly no choices make a network")


HYBRIDS = hybrids(80)


# --- What they are ----------------------------------------------------------------------------


def test_every_operation_and_setting_occurs() -> None:
    """So that what follows speaks of all of them."""
    found = {
        (type(op), setting, getattr(op, setting, None))
        for spec in HYBRIDS
        for form in ("masked", "condensed")
        for op in spec.plan(form).ops
        for setting in ("block", "kernel", "normed", "at_conversion", "bias")
    }
    kinds = {kind for kind in vars(ops).values() if isinstance(kind, type)}
    known = {kind for kind in kinds if issubclass(kind, ops.Op)} - {ops.Op}
    assert {kind for kind, _, _ in found} == known
    for kind in (ops.LearnedConv, ops.LearnedReactivation, ops.Gather, ops.IndexAdd, ops.Scatter):
        assert {(kind, "block", block) for block in (1, 2, 4)} <= found
    for kernel in (1, 3):
        assert (ops.LearnedReactivation, "kernel", kernel) in found
    for flag in (True, False):
        assert (ops.SqueezeExcite, "normed", flag) in found
        assert (ops.LearnedLinear, "at_conversion", flag) in found
        assert (ops.LearnedLinear, "bias", flag) in found
    mixed = {tuple(sorted({s.kind for s in spec.stages})) for spec in HYBRIDS}
    assert ("dense", "residual", "shuffle") in mixed


def test_what_is_refused_says_where_and_why() -> None:
    """Choices make a network that has both plans, or a sentence about a field of it."""
    sentences = []
    for seed in range(200):
        try:
            spec = hybrid(seed)
        except SpecError as error:
            sentences.append(str(error))
        else:
            assert list(spec.plan("masked").ops)
            assert list(spec.plan("condensed").ops)
    assert 10 < len(sentences) < 190
    assert all("`" in s and ("must" in s or "leaves" in s) for s in sentences)


@pytest.mark.parametrize("spec", HYBRIDS[:40], ids=lambda spec: spec.id)
def test_written_and_canonical_forms_are_the_same_network(spec: NetworkSpec) -> None:
    assert NetworkSpec.from_json(spec.to_json()) == spec
    assert NetworkSpec.from_yaml(spec.to_yaml()) == spec
    canonical = spec.canonical()
    assert (canonical.canonical(), canonical.id) == (canonical, spec.id)
    assert cost(canonical).to_dict() == cost(spec).to_dict()


# --- What they cost ---------------------------------------------------------------------------


def elements(values: Sequence[ops.Value]) -> int:
    return sum(value.elements for value in values)


def moved(op: ops.Op) -> int:
    """Elements that a gather, a shuffle or an addition at an index moves."""
    if isinstance(op, ops.Gather | ops.Shuffle):
        return op.output.elements
    return op.inputs[-1].elements if isinstance(op, ops.IndexAdd | ops.Scatter) else 0


def attended(op: ops.Op) -> int:
    """Pooling, ReLU, and the sigmoid twice unless it is a hard one."""
    if not isinstance(op, ops.SqueezeExcite):
        return 0
    return op.input.elements + op.hidden + (0 if op.normed else 2 * op.input.channels)


def counts_of_plans(spec: NetworkSpec) -> Counts:
    """The counts, summed over the operations."""
    masked, condensed = list(spec.plan("masked").ops), list(spec.plan("condensed").ops)

    def total(operations: list[ops.Op], kinds: Any, of: Any) -> int:
        return sum(of(op) for op in operations if isinstance(op, kinds))

    return Counts(
        macs=sum(op.macs for op in condensed),
        linear_macs=total(condensed, ops.Linear | ops.SqueezeExcite, lambda op: op.macs),
        params=sum(op.params for op in condensed),
        training_macs=sum(op.macs for op in masked),
        training_params=sum(op.params for op in masked),
        gather_elements=sum(map(moved, condensed)),
        activations=total(condensed, ops.Conv | ops.Linear, lambda op: op.output.elements),
        paper_params=sum(getattr(op, "condensed_params", op.params) for op in masked),
        activated_elements=total(masked, ops.Activation, lambda op: op.output.elements),
        pooled_elements=total(masked, ops.AvgPool | ops.GlobalPool, lambda op: op.input.elements),
        biases=total(condensed, ops.Linear, lambda op: op.output.channels * op.bias),
        attention=sum(map(attended, condensed)),
    )


@pytest.mark.parametrize("spec", HYBRIDS, ids=lambda spec: spec.id)
def test_counting_agrees_with_the_plans(spec: NetworkSpec) -> None:
    assert spec.counts == counts_of_plans(spec)


def test_the_most_elements_alive_are_at_least_those_of_any_operation() -> None:
    for spec in HYBRIDS[:40]:
        largest = max(elements(op.outputs) for op in spec.plan("condensed").ops)
        assert cost(spec).peak_activation_mb * 1e6 / 4 >= largest


# --- What they are in torch -------------------------------------------------------------------


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def trained(spec: NetworkSpec) -> Any:
    """A masked network in double precision with any norms, all its drops performed."""
    g = torch.Generator().manual_seed(0)
    network = build(spec, generator=g).double()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor, low in (
                    (module.weight, -1.5),
                    (module.bias, -0.5),
                    (module.running_mean, -0.5),
                    (module.running_var, 0.5),
                ):
                    assert tensor is not None
                    tensor.uniform_(low, 1.5, generator=g)
    network.condense_for_conversion()
    return network.eval()


@pytest.mark.parametrize("spec", HYBRIDS, ids=lambda spec: spec.id)
@torch.no_grad()
def test_both_forms_compute_the_same_and_hold_what_they_cost(spec: NetworkSpec) -> None:
    masked = trained(spec)
    condensed = masked.to_inference()
    assert parameters(masked) == spec.counts.training_params
    assert parameters(condensed) == spec.counts.params
    images = torch.randn(
        (2, spec.image_channels, 16, 16), generator=torch.Generator().manual_seed(1)
    ).double()
    expected = masked(images)
    assert expected.shape == (2, spec.classes)
    assert expected.isfinite().all()
    difference = (condensed(images) - expected).abs().max()
    assert difference <= 1e-9 * expected.abs().max()


def test_groups_keep_different_channels_in_whole_blocks() -> None:
    """The comparison above would not notice an index that were the same for all groups."""
    different = 0
    for spec in HYBRIDS[:40]:
        for layer in trained(spec).learned_layers.values():
            runs = layer.kept_index().view(layer.mask.shape[0], -1, layer.block)
            assert (runs[..., 0] % layer.block == 0).all()
            assert (runs.diff(dim=-1) == 1).all()
            different += len({tuple(row.flatten().tolist()) for row in runs}) > 1
    assert different > 40


def counted_by_fvcore(spec: NetworkSpec, form: Form) -> int:
    network = build(spec, form).eval()
    image = torch.zeros(1, spec.image_channels, spec.image_size, spec.image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        operators = analysis.by_operator()
    return int(operators["conv"] + operators["linear"])


@pytest.mark.parametrize("spec", HYBRIDS[:12], ids=lambda spec: spec.id)
def test_fvcore_counts_the_same_multiply_adds(spec: NetworkSpec) -> None:
    assert counted_by_fvcore(spec, "condensed") == spec.counts.macs
    assert counted_by_fvcore(spec, "masked") == spec.counts.training_macs
