"""The cost model held against a count of the built module by another library."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from search_space import NetworkSpec, build


def fvcore_macs(spec: NetworkSpec) -> int:
    """Multiply-adds of convolutions and linear layers that fvcore sees in the condensed module."""
    network = build(spec, "condensed").eval()
    return module_macs(network, spec.image_size, spec.image_channels)


def module_macs(network: nn.Module, image_size: int, image_channels: int = 3) -> int:
    """Multiply-adds of convolutions and linear layers that fvcore sees for one image."""
    image = torch.zeros(1, image_channels, image_size, image_size)
    with warnings.catch_warnings():
        # fvcore scripts a function on import and traces the module; torch calls both old.
        warnings.simplefilter("ignore", FutureWarning)
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = analysis.by_operator()
    return int(counts["conv"] + counts["linear"])
