"""Kernels of condensed plans, written out by hand."""

from collections import Counter

import pytest

from latency_models.kernels import (
    EXPONENTIAL,
    ComputeKind,
    Kernel,
    conv_kind,
    features,
    kernels,
    network_kernels,
)
from latency_models.priors import prior
from search_space.plan import Fragment, Shape, Trace
from search_space.spec import DenseStage, HeadSpec, NetworkSpec, StemSpec
from search_space.zoo import ZOO


def tiny(**changes: object) -> NetworkSpec:
    stage = {"depth": 1, "growth_rate": 4, "bottleneck": 2, "groups_1x1": 2, "condense_factor": 2}
    return NetworkSpec(
        image_size=8,
        classes=10,
        stem=StemSpec(channels=8),
        stages=(DenseStage(**(stage | changes)),),
    )


def move(kind: str, read: int, written: int, pixels: int = 1, **settings: object) -> Kernel:
    """A kernel that moves channels of so many pixels."""
    return Kernel(
        kind=kind,
        in_channels=read,
        out_channels=written,
        in_elements=read * pixels,
        out_elements=written * (1 if kind == "global_pool" else pixels),
        **settings,
    )


def test_every_kernel_of_a_tiny_network() -> None:
    pixels = 8 * 8
    assert list(network_kernels(tiny(groups_3x3=2))) == [
        Kernel(
            kind="conv",
            in_channels=3,
            out_channels=8,
            in_elements=3 * pixels,
            out_elements=8 * pixels,
            macs=8 * 3 * 9 * pixels,
            weights=8 * 3 * 9,
            kernel=3,
        ),
        move("gather", 8, 8, pixels, parts=8),
        move("elementwise", 8, 8, pixels, function="norm"),
        Kernel(
            kind="grouped_pointwise",
            in_channels=8,
            out_channels=8,
            in_elements=8 * pixels,
            out_elements=8 * pixels,
            macs=8 * 4 * pixels,
            weights=8 * 4,
            groups=2,
        ),
        move("shuffle", 8, 8, pixels, groups=2),
        Kernel(
            kind="grouped_conv",
            in_channels=8,
            out_channels=4,
            in_elements=8 * pixels,
            out_elements=4 * pixels,
            macs=4 * 4 * 9 * pixels,
            weights=4 * 4 * 9,
            kernel=3,
            groups=2,
        ),
        move("concat", 12, 12, pixels, parts=2),
        move("elementwise", 12, 12, pixels, function="norm"),
        move("global_pool", 12, 12, pixels),
        Kernel(
            kind="linear",
            in_channels=12,
            out_channels=10,
            in_elements=12,
            out_elements=10,
            macs=120,
            weights=130,
        ),
    ]


@pytest.mark.parametrize(
    ("shuffled", "read_twice", "kinds"),
    [
        (False, False, ["pointwise"]),
        (True, False, ["pointwise", "shuffle"]),
        (False, True, ["pointwise", "elementwise"]),
        (True, True, ["pointwise", "shuffle", "elementwise"]),
    ],
)
def test_norm_and_activation_fold_unless_the_value_between_has_another_reader(
    shuffled: bool, read_twice: bool, kinds: list[str]
) -> None:
    t = Trace("condensed", (Shape(8, 4),))
    x = t.conv("c", t.inputs[0], 8, kernel=1)
    if shuffled:
        x = t.shuffle("s", x, 2)
    y = t.norm_act("n", x, "relu")
    fragment = Fragment(tuple(t.ops), t.inputs, (y, x) if read_twice else (y,))
    assert [k.kind for k in kernels(fragment)] == kinds


def test_an_activation_folds_into_a_linear_layer() -> None:
    def count(features: int) -> int:
        head = HeadSpec(features=features)
        return sum(1 for _ in network_kernels(tiny().replace(head=head)))

    assert count(6) == count(0) + 1


def test_squeeze_excite_is_a_pool_two_linear_layers_and_a_multiplication() -> None:
    plain, excited = (
        Counter(k.kind for k in network_kernels(tiny(se_reduction=reduction)))
        for reduction in (0, 2)
    )
    assert excited - plain == Counter(global_pool=1, linear=2, binary=1)


@pytest.mark.parametrize("name", ZOO)
def test_kernels_multiply_as_often_as_the_plan(name: str) -> None:
    spec = ZOO[name]
    assert sum(k.macs for k in network_kernels(spec)) == sum(
        op.macs for op in spec.plan("condensed").ops
    )


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "groups", "out_size", "kind"),
    [
        (3, 8, 3, 1, 8, "conv"),
        (8, 8, 1, 1, 8, "pointwise"),
        (8, 8, 1, 1, 1, "linear"),
        (8, 8, 1, 4, 8, "grouped_pointwise"),
        (8, 8, 3, 4, 8, "grouped_conv"),
        (8, 16, 3, 8, 8, "depthwise"),
        (8, 8, 1, 8, 8, "depthwise"),
    ],
)
def test_the_kind_of_a_convolution(
    inputs: int, outputs: int, kernel: int, groups: int, out_size: int, kind: str
) -> None:
    assert kind == conv_kind(
        inputs=inputs, outputs=outputs, kernel=kernel, groups=groups, out_size=out_size
    )


def compute(kind: ComputeKind, kernel: int = 1, groups: int = 1) -> Kernel:
    """From 4 channels of 3 x 3 to 4, with nothing at the border."""
    weights = 4 * 4 // groups * kernel**2
    return Kernel(
        kind=kind,
        in_channels=4,
        out_channels=4,
        in_elements=36,
        out_elements=36,
        macs=weights * 9,
        weights=weights,
        kernel=kernel,
        groups=groups,
    )


def test_features_charge_multiply_adds_memory_and_the_call() -> None:
    assert dict(features(compute("pointwise"))) == {
        "ns_per_mac.pointwise": 144,
        "ns_per_weight.read": 16,
        "ns_per_element.computed": 72,
        "ns_per_kernel.call": 1,
    }
    assert dict(features(move("gather", 10, 5))) == {
        "ns_per_element.moved": 15,
        "ns_per_kernel.call": 1,
    }


@pytest.mark.parametrize("groups", [1, 2])
def test_windows_are_charged_for_the_patches_that_they_read(groups: int) -> None:
    kernel = compute("conv" if groups == 1 else "grouped_conv", 3, groups)
    assert dict(features(kernel))["ns_per_element.patches"] == 9 * 36


def test_large_depthwise_windows_have_a_price_of_their_own() -> None:
    names = [dict(features(compute("depthwise", k, 4))).keys() for k in (3, 5)]
    assert "ns_per_mac.depthwise" in names[0]
    assert "ns_per_mac.depthwise_large" in names[1]


def pooling(stride: int) -> Kernel:
    return Kernel(
        kind="pool",
        in_channels=1,
        out_channels=1,
        in_elements=16,
        out_elements=4,
        kernel=3,
        stride=stride,
    )


def test_pooling_is_charged_for_its_windows() -> None:
    assert dict(features(pooling(2)))["ns_per_element.pooled"] == 36
    assert dict(features(pooling(1)))["ns_per_element.pooled_densely"] == 36


@pytest.mark.parametrize("function", EXPONENTIAL)
def test_exponentials_are_charged_apart(function: str) -> None:
    kernel = move("elementwise", 7, 7, function=function)
    assert dict(features(kernel))["ns_per_element.exponential"] == 7


@pytest.mark.parametrize(
    ("runtime", "precision"), [("ncnn", "fp32"), ("ncnn", "fp16"), ("tflite", "fp32"), ("?", "?")]
)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", ZOO)
def test_priors_name_a_price_for_whatever_is_charged(
    name: str, runtime: str, precision: str, threads: int
) -> None:
    known = prior(runtime, precision, threads)
    charged = {price for k in network_kernels(ZOO[name]) for price, _ in features(k)}
    assert charged <= known.keys()
    assert min(known.values()) > 0
