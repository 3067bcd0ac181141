"""What kernels cost relative to each other, before anything is measured on a device.

Prices in units of one multiply-add of a 1x1 convolution, by the names that
:func:`latency_models.kernels.features` charges. A fit is drawn towards them where the networks
measured decide little: only few of them hold grouped convolutions or exponentials.
"""

from __future__ import annotations

NCNN = {
    "ns_per_mac.pointwise": 1.0,
    "ns_per_mac.grouped_pointwise": 1.0,
    "ns_per_mac.conv": 0.45,
    "ns_per_mac.grouped_conv": 0.6,
    "ns_per_mac.depthwise": 2.5,
    "ns_per_mac.depthwise_large": 3.0,
    "ns_per_mac.linear": 2.5,
    "ns_per_weight.read": 4.0,
    "ns_per_element.computed": 4.0,
    "ns_per_element.patches": 0.3,
    "ns_per_element.pooled": 0.5,
    "ns_per_element.pooled_densely": 20.0,
    "ns_per_element.averaged": 1.0,
    "ns_per_element.exponential": 40.0,
    "ns_per_element.moved": 6.0,
    "ns_per_kernel.call": 20_000.0,
}
"""Least squares of the instructions that ncnn executes for its 20 benchmark networks on an emulated
Cortex-A72, rounded. Two cost more than their instructions: elements computed (1) come from memory;
exponentials (26) divide. Dense 3x3 are cheap by Winograd's algorithm, whose gain groups undo."""

NCNN_FP16 = NCNN | {
    "ns_per_mac.grouped_pointwise": 0.8,
    "ns_per_mac.depthwise": 3.0,
    "ns_per_mac.linear": 3.0,
    "ns_per_element.moved": 12.0,
}
"""The same on an emulated Cortex-A76, which multiplies twice as many half-precision numbers at
once, whereas what moves data gains little."""

TFLITE = {
    "ns_per_mac.pointwise": 1.0,
    "ns_per_mac.grouped_pointwise": 10.0,
    "ns_per_mac.conv": 1.1,
    "ns_per_mac.grouped_conv": 10.0,
    "ns_per_mac.depthwise": 4.0,
    "ns_per_mac.depthwise_large": 6.0,
    "ns_per_mac.linear": 1.0,
    "ns_per_weight.read": 10.0,
    "ns_per_element.computed": 5.0,
    "ns_per_element.patches": 8.0,
    "ns_per_element.pooled": 5.0,
    "ns_per_element.pooled_densely": 5.0,
    "ns_per_element.averaged": 2.0,
    "ns_per_element.exponential": 40.0,
    "ns_per_element.moved": 8.0,
    "ns_per_kernel.call": 20_000.0,
}
"""Of no measurement: no Winograd; grouped convolutions are left to a routine without vector
instructions; patches are copied and weights packed anew for every image."""

OTHER = TFLITE | {
    "ns_per_mac.grouped_pointwise": 1.0,
    "ns_per_mac.grouped_conv": 1.0,
    "ns_per_weight.read": 2.0,
    "ns_per_element.computed": 15.0,
    "ns_per_element.patches": 2.0,
    "ns_per_element.pooled": 10.0,
    "ns_per_element.pooled_densely": 10.0,
    "ns_per_element.averaged": 4.0,
    "ns_per_element.moved": 16.0,
}
"""PyTorch Mobile, and whatever else is not known better: groups multiply as fast as the rest, norms
and activations pass over each map once more, and every tensor is allocated anew."""

_FROM_MEMORY = ("ns_per_element.computed", "ns_per_element.moved", "ns_per_weight.read")
SHARED_MEMORY = 3.0
"""How much dearer, relative to multiply-adds, memory is for several threads, which share it."""


def prior(runtime: str, precision: str, threads: int) -> dict[str, float]:
    """The relative prices for a runtime that computes in ``fp32`` or ``fp16``."""
    if runtime == "ncnn":
        found = NCNN_FP16 if precision == "fp16" else NCNN
    else:
        found = TFLITE if runtime == "tflite" else OTHER
    if threads == 1:
        return dict(found)
    return found | {name: SHARED_MEMORY * found[name] for name in _FROM_MEMORY}
