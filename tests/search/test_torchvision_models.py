"""Networks of torchvision: kernels of their export, multiply-adds as fvcore counts them."""

from pathlib import Path

import pytest
from torchvision import models

from latency_models.onnx_kernels import onnx_kernels
from search.check import module_macs
from search.torchvision_models import export_torchvision
from search_space.errors import UnknownName, UserError

SMALL = ("squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf", "resnet18")


@pytest.mark.parametrize("name", SMALL)
def test_multiply_adds_are_those_that_fvcore_counts(name: str, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    export_torchvision(name, path, 64)
    kernels = onnx_kernels(path)
    assert sum(k.macs for k in kernels) == module_macs(models.get_model(name).eval(), 64)
    assert not [k.function for k in kernels if k.is_unknown]


def test_what_folds_is_gone_and_shuffles_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    export_torchvision("shufflenet_v2_x0_5", path, 64)
    kernels = onnx_kernels(path)
    modules = models.shufflenet_v2_x0_5().modules()
    units = sum(isinstance(m, models.shufflenetv2.InvertedResidual) for m in modules)
    assert sum(k.kind == "shuffle" for k in kernels) == units
    assert not [k for k in kernels if k.kind in ("elementwise", "other")]


def test_unknown_names_list_close_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean mobilenet_v2 or"):
        export_torchvision("mobilenetv2", tmp_path / "network.onnx")


def test_sizes_that_a_network_cannot_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vit_b_32 cannot be exported at 33 pixels \("):
        export_torchvision("vit_b_32", tmp_path / "network.onnx", 33)
