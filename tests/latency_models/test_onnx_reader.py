"""ONNX files as lists of operations: shapes, constants, sizes of images, broken files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from latency_models.onnx_graph import OnnxGraph
from latency_models.onnx_reader import MOST_VALUES, read_onnx
from search_space.errors import UserError

Write = Callable[..., Path]
Read = Callable[..., OnnxGraph]


def test_operations_shapes_and_constants_are_read(read: Read) -> None:
    weight = np.ones((6, 4, 2, 2), np.float32)
    graph = read("c = Conv<strides=[2, 2]>(x, w) y = Flatten(c)", w=weight)
    conv, flatten = graph.nodes
    assert (conv.op, conv.reads, conv.arguments, conv.writes) == (
        "Conv",
        ("x",),
        ("x", "w"),
        ("c",),
    )
    assert conv.attributes == {"strides": [2, 2]}
    assert graph.shape("c") == (1, 6, 4, 4)
    assert graph.shape("y") == (1, 96)
    assert (flatten.reads, graph.outputs) == (("c",), ("y",))


def test_what_depends_on_no_image_is_a_constant(read: Read) -> None:
    graph = read(
        "s = Shape(x) half = Constant<value_ints=[0, 2]>() n = Gather(s, half)"
        " rest = Constant<value_ints=[-1]>() shape = Concat<axis=0>(n, rest) y = Reshape(x, shape)"
    )
    assert [node.op for node in graph.nodes] == ["Reshape"]
    assert graph.value("shape") is not None
    np.testing.assert_array_equal(graph.value("shape"), [1, 8, -1])
    assert graph.shape("y") == (1, 8, 32)


def test_open_sizes_are_those_asked_for(write: Write) -> None:
    path = write("y = Relu(x)", image="n, 3, h, w")
    assert read_onnx(path, 24).shape("y") == (1, 3, 24, 24)
    with pytest.raises(UserError, match=r"axis 2 of the input 'x' is left open; give --resolution"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("image", "resolution", "message"),
    [
        ("2, 3, 8, 8", None, r"axis 0 of the input 'x' \(=2\) is fixed and must be 1 here"),
        ("1, 3, 8, 8", 16, r"axis 2 of the input 'x' \(=8\) is fixed and must be 16 here"),
        ("1, c, 8, 8", 8, r"axis 1 of the input 'x' is left open"),
    ],
)
def test_images_of_other_sizes_are_refused(
    image: str, resolution: int | None, message: str, write: Write
) -> None:
    with pytest.raises(UserError, match=message):
        read_onnx(write("y = Relu(x)", image=image), resolution)


def test_weights_are_not_needed_and_indices_are(tmp_path: Path, write: Write) -> None:
    path = write(
        "i = Identity(x) c = Conv(i, w) y = Gather<axis=1>(c, index)",
        w=np.ones((6, 4, 1, 1), np.float32),
        index=np.array([1, 5]),
    )
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    graph = read_onnx(path)
    assert graph.value("w") is None
    assert graph.shape("w") == (6, 4, 1, 1)
    np.testing.assert_array_equal(graph.value("index"), [1, 5])
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match="the constant 'index' cannot be read"):
        read_onnx(path)


def test_large_constants_are_not_read(read: Read) -> None:
    weight = np.ones((256, MOST_VALUES // 256 + 1), np.float32)
    graph = read("flat = Flatten(x) y = MatMul(flat, w)", w=weight)
    assert graph.shape("y") == (1, 257)
    assert graph.value("w") is None


def test_a_file_without_a_version_of_its_operators_is_refused(tmp_path: Path, write: Write) -> None:
    path = write("y = Relu(x)")
    model = onnx.load(path)
    del model.opset_import[:]
    onnx.save(model, path)
    with pytest.raises(UserError, match="says no version of ONNX's operators"):
        read_onnx(path)


def test_shapes_that_do_not_go_together_are_told_with_the_operation(read: Read) -> None:
    with pytest.raises(UserError, match="MatMul"):
        read("y = MatMul(x, w)", w=np.ones((5, 5), np.float32))


def test_an_operation_outside_onnx_has_its_domain(read: Read) -> None:
    assert read("y = own.Mystery(x)").nodes[0].op == "own.Mystery"


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        read_onnx(path)
    path.write_bytes(b"\xff not a network")
    with pytest.raises(UserError, match="cannot be read as ONNX"):
        read_onnx(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="holds no ONNX network"):
        read_onnx(path)
