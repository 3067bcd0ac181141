"""Kernels as runtimes execute them, against the plan and against what is exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from latency_models.counting.model import routine
from latency_models.executed import Lowered, executed_by_step, executed_kernels, pen, sketch
from latency_models.kernels import Kernel, network_kernels
from latency_models.sketch import Notebook, Noted, Sketch
from results.verify import random_network
from search_space import SPACES, ZOO, DenseStage, HeadSpec, NetworkSpec, SpecError, StemSpec, macs
from search_space.flatten import flatten
from search_space.gathering import GATHERING, Gathering
from search_space.graph import Graph
from search_space.lowering import lower
from search_space.plan import Learned, Reactivation, Shape

kernels: Notebook[Kernel] = Notebook(lambda kernel: kernel)
"""Of every kernel it says the kernel."""
LOWERED_AS = {"ncnn": "ncnn", "onnxruntime": "onnxruntime-arm"}


def drawn(name: str, count: int, most_macs: float = float("inf")) -> Iterator[NetworkSpec]:
    """Random networks of a space."""
    space, rng = SPACES[name], np.random.default_rng(5)
    while count:
        try:
            spec = space.decode(space.sample(rng))
        except SpecError:
            continue
        if macs(spec) <= most_macs:
            count -= 1
            yield spec


def network(classifier: int = 1, **stage: Any) -> NetworkSpec:
    stages = (DenseStage(depth=3, growth_rate=16, **stage),)
    head = HeadSpec(condense_factor=classifier)
    return NetworkSpec(
        image_size=32, classes=10, stem=StemSpec(channels=32), stages=stages, head=head
    )


def kinds(spec: NetworkSpec, runtime: str) -> Counter[str]:
    return Counter(k.kind for k in executed_kernels(spec, runtime))


CONDENSED = {"groups_1x1": 4, "condense_factor": 4}


# --- One layer --------------------------------------------------------------------------------


def executed(how: Gathering, write: str, inputs: int, *given: Any) -> list[Kernel]:
    """What is executed of one layer on a map of 8 x 8."""
    lowered = Lowered(kernels, how)
    y = getattr(lowered, write)("y", Noted(inputs, 8), *given)
    return lowered.finish([y])


WORTH_ALL = Gathering(worth=0)


def test_a_learned_layer_that_pays_is_gathered_convolved_and_brought_into_order() -> None:
    found = executed(WORTH_ALL, "learned", 64, 32, Learned(4, 4), 16, "relu")
    assert [k.kind for k in found] == ["elementwise", "gather", "grouped_pointwise", "shuffle"]
    norm, gather, conv, shuffle = found
    assert (norm.in_channels, gather.in_channels, gather.out_channels) == (64, 64, 64)
    assert (conv.groups, conv.macs) == (4, 64 // 4 * 32 * 64)
    assert (gather.parts, shuffle.groups) == (64, 4)
    (_, blocks, *_) = executed(WORTH_ALL, "learned", 64, 32, Learned(4, 4, 8), 16, "relu")
    assert blocks.parts == 8
    gathers_back = Gathering(worth=0, shuffles=False)
    *_, back = executed(gathers_back, "learned", 64, 32, Learned(4, 4), 16, "relu")
    assert (back.kind, back.in_channels, back.out_channels, back.parts) == ("gather", 32, 32, 32)
    *_, last = executed(WORTH_ALL, "learned", 64, 32, Learned(1, 4), 16, "relu")
    assert last.kind == "pointwise"


def pooled(how: Gathering, *, between: bool = False) -> list[Kernel]:
    """A 1x1 convolution of a map of 8 x 8 and what pools it."""
    lowered = Lowered(kernels, how)
    y = lowered.conv("conv", Noted(16, 8), 8, kernel=1)
    if between:
        y = lowered.act("act", y, "relu")
    y = lowered.avg_pool("pool", y, kernel=2, stride=2)
    return lowered.finish([y])


def test_pooling_behind_a_1x1_convolution_runs_before_it() -> None:
    pool, conv = pooled(WORTH_ALL)
    assert (pool.kind, pool.in_channels, pool.out_elements) == ("pool", 16, 16 * 16)
    assert (conv.kind, conv.macs) == ("pointwise", 16 * 8 * 16)
    conv, pool = pooled(WORTH_ALL, between=True)
    assert (pool.kind, pool.in_channels) == ("pool", 8)
    assert conv.macs == 16 * 8 * 64


def test_a_convolution_with_another_reader_is_not_pooled_early() -> None:
    lowered = Lowered(kernels, WORTH_ALL)
    x = lowered.conv("conv", Noted(16, 8), 8, kernel=1)
    first = lowered.avg_pool("one", lowered.conv("3x3", x, 8, kernel=3), kernel=2, stride=2)
    second = lowered.avg_pool("two", x, kernel=2, stride=2)
    found = [k.kind for k in lowered.finish([first, second])]
    assert found == ["pointwise", "conv", "pool", "pool"]


def test_a_learned_layer_that_does_not_pay_is_dense() -> None:
    how = Gathering(worth=1e9)
    found = executed(how, "learned", 64, 32, Learned(4, 4), 16, "relu")
    assert [k.kind for k in found] == ["elementwise", "pointwise"]
    assert found[1].macs == 64 * 32 * 64


@pytest.mark.parametrize("order", ["pre", "post"])
def test_a_reactivation_is_a_dense_convolution_and_a_sum(order: str) -> None:
    lowered = Lowered(kernels, WORTH_ALL)
    x, new = Noted(64, 8), Noted(16, 8)
    y = lowered.sparse(x, new, Reactivation(4, 4, order=order), 16, "relu")
    found = lowered.finish([y])
    # After a convolution norm and activation fold into it.
    assert [k.kind for k in found] == [*["elementwise"] * (order == "pre"), "pointwise", "binary"]
    assert found[-2].macs == 16 * 64 * 64
    assert found[-1].in_elements == 2 * 64 * 64


def test_groups_are_merged_and_those_of_a_depthwise_convolution_are_not() -> None:
    def groups(how: Gathering, channels: int, groups: int) -> tuple[str, int]:
        lowered = Lowered(kernels, how)
        y = lowered.conv("y", Noted(channels, 8), channels, kernel=3, groups=groups)
        (found,) = lowered.finish([y])
        return found.kind, found.groups

    fours = Gathering(worth=0, multiple=4)
    assert groups(WORTH_ALL, 16, 8) == ("grouped_conv", 8)
    assert groups(fours, 16, 8) == ("grouped_conv", 4)
    assert groups(fours, 6, 2) == ("conv", 1)
    assert groups(fours, 16, 16) == ("depthwise", 16)


def test_a_condensed_classifier_reads_all_where_the_runtime_has_it_so() -> None:
    spec = network(classifier=4)
    assert kinds(spec, "ncnn")["gather"] == 0
    assert kinds(spec, "onnxruntime")["gather"] == 1
    dense, condensed = (
        [k for k in executed_kernels(spec, runtime) if k.kind == "linear"]
        for runtime in ("ncnn", "onnxruntime")
    )
    assert dense[0].macs == 4 * condensed[0].macs


# --- Networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", GATHERING)
def test_average_pools_of_networks_are_counted_as_such(runtime: str) -> None:
    pools = [k for k in executed_kernels(ZOO["condensenet-86"], runtime) if k.kind == "pool"]
    assert pools
    assert {routine(k, 4).split()[1] for k in pools} == {"avg"}


def test_each_runtime_has_its_pen_and_others_that_of_the_plan() -> None:
    for runtime in GATHERING:
        assert type(pen(runtime, kernels)) is Lowered
    assert type(pen("tflite", kernels)) is Sketch


def test_what_a_writer_writes_is_told_with_the_shapes_of_its_outputs() -> None:
    def write(pen: Any, inputs: tuple[Any, ...], channels: int) -> tuple[Any, ...]:
        return (pen.conv("y", inputs[0], channels, kernel=3, stride=2),)

    found, outputs = sketch("ncnn", kernels, write, [Shape(8, 9)], (16,))
    assert outputs == (Shape(16, 5),)
    assert [k.kind for k in found] == ["conv"]


@pytest.mark.parametrize("name", ZOO)
def test_a_runtime_that_nothing_is_lowered_for_executes_the_plan(name: str) -> None:
    assert list(executed_kernels(ZOO[name], "tflite")) == list(network_kernels(ZOO[name]))


def test_ncnn_gathers_whole_blocks_alone() -> None:
    single, blocks = (network(**CONDENSED, condense_block=b) for b in (1, 4))
    assert kinds(single, "ncnn")["gather"] == 0
    assert kinds(blocks, "ncnn")["gather"] > 0
    assert kinds(single, "onnxruntime")["gather"] > 0


@pytest.mark.parametrize("runtime", GATHERING)
@pytest.mark.parametrize("name", SPACES)
def test_what_is_executed_of_random_networks(name: str, runtime: str) -> None:
    for spec in drawn(name, 12):
        found = list(executed_kernels(spec, runtime))
        assert all(k.kind not in ("index_add", "other") for k in found)
        if runtime == "ncnn":
            assert all(k.out_channels // k.parts % 4 == 0 for k in found if k.kind == "gather")
        assert found == list(executed_kernels(spec, runtime))


@pytest.mark.parametrize("runtime", GATHERING)
@pytest.mark.parametrize(
    "stage",
    [
        {},
        CONDENSED,
        {"groups_3x3": 8},
        {"sfr": "all", "sparse_factor": 4, "sfr_groups": 4},
        {**CONDENSED, "groups_3x3": 4, "sfr": "all", "condense_block": 4},
    ],
)
def test_where_nothing_is_pooled_no_multiply_add_is_saved(
    stage: dict[str, Any], runtime: str
) -> None:
    spec = network(classifier=2, **stage)
    executed_macs = sum(k.macs for k in executed_kernels(spec, runtime))
    assert executed_macs >= macs(spec)
    if not stage and runtime == "onnxruntime":
        assert executed_macs == macs(spec)


Convs = Counter[tuple[int, ...]]


def exported(graph: Graph) -> tuple[Convs, int, Counter[str]]:
    """Inputs, outputs, groups and window of the convolutions of a graph; their multiply-adds; kinds
    of all nodes."""
    convs: Convs = Counter()
    executed_macs = 0
    for node in graph.nodes:
        if node.kind == "conv":
            weight, shape = node.tensors["weight"], node.shape
            outputs, inputs, *_ = weight.shape
            convs[inputs * node.groups, outputs, node.groups, node.kernel[0]] += 1
            executed_macs += weight.size * shape.height * shape.width
    return convs, executed_macs, Counter(node.kind for node in graph.nodes)


CONVOLUTIONS = ("conv", "pointwise", "grouped_conv", "grouped_pointwise", "depthwise")


@pytest.mark.parametrize("name", SPACES)
def test_what_is_executed_is_what_the_exported_file_holds(name: str) -> None:
    cases = [
        (flatten(random_network(spec).to_inference()), spec, runtime)
        for spec in drawn(name, 1, most_macs=100e6)
        for runtime in GATHERING
    ]
    for graph, spec, runtime in cases:
        convs, conv_macs, rest = exported(lower(graph, LOWERED_AS[runtime]))
        found = list(executed_kernels(spec, runtime))
        computing = [k for k in found if k.kind in CONVOLUTIONS]
        assert convs == Counter(
            (k.in_channels, k.out_channels, k.groups, k.kernel) for k in computing
        )
        # A file pools before the sum of a stage's last reactivation, too.
        assert sum(k.macs for k in computing) == pytest.approx(conv_macs, rel=0.03)
        of_kind = Counter(k.kind for k in found)
        # In a graph what brings groups into order is a gather; ncnn's file has a shuffle for it.
        assert rest["gather"] == of_kind["gather"] + of_kind["shuffle"]
        assert rest["concat"] == of_kind["concat"]
        assert rest["add"] + rest["squeeze_excite"] == of_kind["binary"]


@pytest.mark.parametrize("runtime", ["ncnn", "onnxruntime", "paper"])
def test_kernels_by_step_are_all_kernels_in_order(runtime: str) -> None:
    spec = ZOO["condensenetv2-a"]
    found = executed_by_step(spec, runtime)
    assert list(found) == [step.name for step in spec.plan("condensed").steps]
    every = [kernel for kernels in found.values() for kernel in kernels]
    assert every == list(executed_kernels(spec, runtime))
