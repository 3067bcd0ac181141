"""A network with maps of all strides, and annotated images that can be seen at a glance."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.detection_shapes import write_shapes
from search_space import DenseStage, NetworkSpec, StemSpec, build
from search_space.network import Network

WriteCoco = Callable[..., Path]


@pytest.fixture(scope="session")
def spec(network: NetworkSpec) -> NetworkSpec:
    """Five stages, the maps of which have strides 2, 4, 8, 16, 32; half of what learns is kept."""
    deeper = network.stages[0]
    assert isinstance(deeper, DenseStage)
    stage = dataclasses.replace(deeper, depth=1, condense_factor=2, sparse_factor=2)
    stem = StemSpec(channels=8, stride=2)
    return network.replace(image_size=64, classes=10, stem=stem, stages=(stage,) * 5)


@pytest.fixture(scope="session")
def trained(spec: NetworkSpec) -> Network:
    """The network at the end of its condensing, its norms no longer as they began."""
    network = build(spec, generator=torch.Generator().manual_seed(1))
    network(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2)))
    network.condense(1.0)
    return network.eval()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images to train on and four to judge by."""
    return write_shapes(tmp_path_factory.mktemp("shapes"), train=6, val=4, size=64)


@pytest.fixture
def write_coco(tmp_path: Path) -> WriteCoco:
    """Writes a ``val2017`` of two images, 40 x 20 and 10 x 10, with what a test changes."""

    def write(**changes: Any) -> Path:
        content: dict[str, Any] = {
            "images": [
                {"id": 7, "file_name": "a.png", "width": 40, "height": 20},
                {"id": 3, "file_name": "b.png", "width": 10, "height": 10},
            ],
            "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
            "annotations": [
                {"id": 5, "image_id": 7, "category_id": 90, "bbox": [4, 2, 10, 5], "iscrowd": 0}
            ],
        }
        content.update(changes)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "val2017").mkdir(exist_ok=True)
        for name, size in (("a.png", (40, 20)), ("b.png", (10, 10))):
            pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "val2017" / name)
        file = tmp_path / "annotations" / "instances_val2017.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return write
