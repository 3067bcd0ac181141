from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from results.formats import ONNX, ExportOptions
from results.onnx_graph import OPSET, WRITERS, write_onnx
from results.verify import difference, input_images, run_torch
from search_space import NetworkSpec, UserError
from search_space.deployed import RUN
from search_space.flatten import flatten
from search_space.graph import Graph, Node, Shape
from search_space.lowering import LOWERINGS, lower
from search_space.network import Network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_onnxruntime_computes_what_torch_does(
    network: Network, lowering: str, dynamic: bool, tmp_path: Path
) -> None:
    graph = lower(flatten(network.to_inference()), lowering)
    write_onnx(graph, tmp_path / ONNX, name="net", dynamic_batch=dynamic)
    onnx.checker.check_model(str(tmp_path / ONNX), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / ONNX)
    images = input_images(network.spec)[: 3 if dynamic else 1]
    (found,) = session.run(None, {"images": images})
    assert difference(run_torch(network, images), found) < 1e-5
    assert onnx.load(tmp_path / ONNX).opset_import[0].version == OPSET


def test_the_masked_form_can_be_written_too(network: Network, tmp_path: Path) -> None:
    write_onnx(flatten(network), tmp_path / ONNX, name="net", dynamic_batch=True)
    images = input_images(network.spec)
    (found,) = onnxruntime.InferenceSession(tmp_path / ONNX).run(None, {"images": images})
    assert difference(run_torch(network, images), found) < 1e-5


def test_every_kind_of_node_has_a_writer() -> None:
    assert WRITERS.keys() == RUN.keys()


@pytest.mark.parametrize("adding", ["index_add", "scatter"])
def test_repeated_increments_are_all_added(adding: str) -> None:
    import numpy as np

    from results.onnx_graph import onnx_model

    x = Node(kind="input", name="x", shape=Shape(3, 2, 2))
    index = {"index": np.array([1, 1, 1])}
    inputs = ("x", "x") if adding == "index_add" else ("x",)
    y = Node(kind=adding, name="y", inputs=inputs, shape=Shape(3, 2, 2), tensors=index)
    model = onnx_model(Graph(nodes=(x, y), output="y")).SerializeToString()
    images = np.ones((1, 3, 2, 2), np.float32)
    model = onnx.load_from_string(model)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    for _ in range(4):
        model.graph.output[0].type.tensor_type.shape.dim.add()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"images": images})
    expected = [1, 4, 1] if adding == "index_add" else [0, 3, 0]
    assert found[0, :, 0, 0].tolist() == expected


def test_a_graph_beyond_one_file_says_what_to_do(
    tiny: Callable[[str], NetworkSpec], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def too_large(model: object, path: Path) -> None:
        raise ValueError("exceeds 2GB")

    monkeypatch.setattr(onnx, "save", too_large)
    graph = flatten(Network(tiny("plain"), "condensed").eval())
    with pytest.raises(UserError, match=r"exceeds 2GB.*--exporter dynamo"):
        write_onnx(graph, tmp_path / ONNX, name="net")


def test_the_default_exporter_is_torchs_own() -> None:
    assert ExportOptions().exporter == "dynamo"
