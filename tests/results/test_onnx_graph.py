from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from results.formats import ONNX, ExportOptions
from results.lowered import GatheredAdd, lowered_for
from results.onnx_graph import OPSET, WRITERS, write_onnx
from results.verify import difference, input_images, run_torch
from search_space import ZOO, NetworkSpec, UserError
from search_space.modules import MODULES, IndexAdd
from search_space.network import Network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("form", ["masked", "condensed"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_onnxruntime_computes_what_torch_does(
    network: Network, form: str, dynamic: bool, tmp_path: Path
) -> None:
    model = network if form == "masked" else lowered_for("onnx", network.to_inference())
    assert isinstance(model, Network)
    write_onnx(model, tmp_path / ONNX, dynamic_batch=dynamic)
    onnx.checker.check_model(str(tmp_path / ONNX), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / ONNX)
    images = input_images(network.spec)[: None if dynamic else 1]
    (found,) = session.run(None, {"images": images})
    assert difference(run_torch(network, images), found) < 1e-5
    assert onnx.load(tmp_path / ONNX).opset_import[0].version == OPSET


@pytest.mark.parametrize("form", ["masked", "condensed"])
@pytest.mark.parametrize("name", ZOO)
def test_every_operation_of_the_zoo_has_a_writer(name: str, form: str) -> None:
    plan = ZOO[name].plan(form)  # type: ignore[arg-type]
    one_of_each = {type(op): op for op in plan.ops}
    modules = {type(MODULES[kind](op)) for kind, op in one_of_each.items()}
    if IndexAdd in modules:
        modules = modules - {IndexAdd} | {GatheredAdd}
    assert modules <= WRITERS.keys()


def test_a_module_without_a_writer_is_named(
    tiny: Callable[[str], NetworkSpec], tmp_path: Path
) -> None:
    network = Network(tiny("plain"), "condensed").eval()
    network.set_submodule("steps.stage1_layer1.conv_act", nn.Tanh())
    with pytest.raises(UserError, match=r"Tanh \(stage1_layer1\.conv_act\)"):
        write_onnx(network, tmp_path / ONNX)
    assert not (tmp_path / ONNX).exists()


def test_the_default_exporter_is_torchs_own() -> None:
    assert ExportOptions().exporter == "dynamo"


def test_a_scatter_is_refused(network: Network, tmp_path: Path) -> None:
    condensed = network.to_inference()
    if not any(isinstance(m, IndexAdd) for m in condensed.modules()):
        write_onnx(condensed, tmp_path / ONNX)
        return
    with pytest.raises(UserError, match="IndexAdd"):
        write_onnx(condensed, tmp_path / ONNX)


def test_pools_are_written_as_they_are_set(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from results.onnx_graph import Graph

    x = torch.randn(1, 2, 7, 7)
    pools = (
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1),
    )
    for pool in pools:
        graph = Graph()
        output = WRITERS[type(pool)](graph, None, pool, "x")
        proto = helper.make_graph(
            graph.nodes,
            "pool",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        )
        model = helper.make_model(
            proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10
        )
        (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(
            None, {"x": x.numpy()}
        )
        torch.testing.assert_close(torch.from_numpy(found), pool(x))
