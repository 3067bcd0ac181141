"""ONNX networks written as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from numpy.typing import NDArray

from latency_models.onnx_graph import OnnxGraph
from latency_models.onnx_reader import read_onnx

Write = Callable[..., Path]
Read = Callable[..., OnnxGraph]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a network of the image ``x``, 4 channels of 8 x 8 pixels, and the output ``y``."""

    def written(body: str, image: str = "1, 4, 8, 8", **constants: NDArray[Any]) -> Path:
        path = tmp_path / "network.onnx"
        text = (
            '<ir_version: 10, opset_import: ["": 18, "own": 1]>'
            f"network (float[{image}] x) => (float[n, m] y) {{ {body} }}"
        )
        model = onnx.parser.parse_model(text)
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(values, name) for name, values in constants.items()
        )
        onnx.save(model, path)
        return path

    return written


@pytest.fixture
def read(write: Write) -> Read:
    """The same, read again."""
    return lambda body, **given: read_onnx(write(body, **given))
