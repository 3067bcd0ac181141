from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from results.formats import FORMATS, NCNN_BIN, NCNN_PARAM
from results.ncnn_graph import INPUT, OUTPUT, WRITERS, ncnn_model, write_ncnn
from results.verify import difference, input_images, random_network, run_torch
from search_space import ZOO, NetworkSpec
from search_space.deployed import RUN, Deployed
from search_space.flatten import flatten
from search_space.graph import Graph, Node, Shape
from search_space.lowering import LOWERINGS, lower
from search_space.network import Network

Tiny = Callable[[str], NetworkSpec]


def computed(graph: Graph, folder: Path, images: np.ndarray) -> np.ndarray:
    """What ncnn makes of images."""
    pytest.importorskip("ncnn")
    write_ncnn(graph, folder / NCNN_PARAM, folder / NCNN_BIN)
    return FORMATS["ncnn"].run(folder, images)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_ncnn_computes_what_torch_does(network: Network, lowering: str, tmp_path: Path) -> None:
    graph = lower(flatten(network.to_inference()), lowering)
    images = input_images(network.spec)
    assert difference(run_torch(network, images), computed(graph, tmp_path, images)) < 1e-5


@pytest.mark.parametrize("name", ["condensenetv2-a", "sfr-shufflenetv2plus-s", "sparsenet-40-k12"])
def test_ncnn_computes_networks_of_the_zoo(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    spec = dataclasses.replace(ZOO[name], image_size=64)
    network = random_network(spec).to_inference()
    graph = lower(flatten(network), "ncnn")
    images = input_images(spec)[:1]
    assert difference(run_torch(network, images), computed(graph, tmp_path, images)) < 1e-5


MAP = Shape(4, 8, 8)


def single(shape: Shape = MAP, after: Shape | None = None, **settings: object) -> Graph:
    """One operation on the images, whose positions are a vector in the end."""
    inputs = settings.pop("inputs", ("x",))
    x = Node(kind="input", name="x", shape=shape)
    y = Node(name="y", inputs=inputs, shape=after or shape, **settings)  # type: ignore[arg-type]
    z = Node(kind="flatten", name="z", inputs=("y",), shape=Shape(int(np.prod(y.shape))))
    return Graph(nodes=(x, y, z), output="z")


SE = {"reduce": np.eye(2, 8), "expand": np.arange(16.0).reshape(8, 2) - 8}
INDEX = {"index": np.array([1, 2, 0, 1, 2])}

OPERATIONS: dict[str, Graph] = {
    "a gate whose channels are as many as columns": single(
        Shape(8, 8, 8), kind="squeeze_excite", tensors=SE
    ),
    "pooling that leaves a column out": single(
        Shape(4, 7, 9), Shape(4, 3, 4), kind="avg_pool", kernel=(2, 2), stride=(2, 2)
    ),
    "pooling with a border": single(
        after=Shape(4, 4, 4), kind="max_pool", kernel=(3, 3), stride=(2, 2), padding=(1, 1)
    ),
    "an oblong window": single(
        after=Shape(3, 8, 4),
        kind="conv",
        kernel=(3, 4),
        stride=(1, 2),
        padding=(1, 1),
        tensors={"weight": np.arange(144.0).reshape(3, 4, 3, 4) - 70},
    ),
    "runs that overlap": single(after=Shape(5, 8, 8), kind="gather", tensors=INDEX),
    "one run": single(after=Shape(2, 8, 8), kind="gather", tensors={"index": np.array([1, 2])}),
    "a gather that is a shuffle": single(kind="gather", tensors={"index": np.array([0, 2, 1, 3])}),
    "a gather that is nearly a shuffle": single(
        kind="gather", tensors={"index": np.array([0, 2, 3, 1])}
    ),
    "all channels": single(kind="gather", tensors={"index": np.arange(4)}),
    "a value twice": single(kind="add", inputs=("x", "x", "x")),
    "increments of one channel": single(
        inputs=("x", "x"), kind="index_add", tensors={"index": np.array([1, 1, 3, 1])}
    ),
    "increments of zeros": single(kind="scatter", tensors={"index": np.array([3, 1, 0, 1])}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_ncnn_computes_each_operation(name: str, tmp_path: Path) -> None:
    graph = OPERATIONS[name]
    images = np.random.default_rng(0).standard_normal((1, *graph.input.shape), np.float32)
    expected = Deployed(graph)(torch.from_numpy(images)).numpy()
    assert difference(expected, computed(graph, tmp_path, images)) < 1e-5


def test_files_hold_the_layers_in_order_and_nothing_but_their_weights(tiny: Tiny) -> None:
    graph = lower(flatten(random_network(tiny("plain")).to_inference()), "ncnn")
    text, weights = ncnn_model(graph)
    magic, counts, *lines = text.splitlines()
    rows = [line.split() for line in lines]
    written = [blob for row in rows for blob in row[4 + int(row[2]) :][: int(row[3])]]
    read = [blob for row in rows for blob in row[4:][: int(row[2])]]
    assert magic == "7767517"
    assert counts == f"{len(rows)} {len(written)}"
    assert (written[0], written[-1]) == (INPUT, OUTPUT)
    assert sorted(read) == sorted(written[:-1]), "each blob is read once"
    assert len(set(written)) == len(written)
    values = sum(t.size for node in graph.nodes for t in node.tensors.values())
    # A norm has a mean and a variance too, which say nothing.
    values += sum(2 * node.shape.channels for node in graph.nodes if node.kind == "affine")
    marks = sum(node.kind in ("conv", "linear") for node in graph.nodes)
    assert len(weights) == 4 * (values + marks)


def test_no_layer_is_written_that_ncnn_computes_in_single_precision_only(tiny: Tiny) -> None:
    graph = lower(flatten(random_network(tiny("plain")).to_inference()), "ncnn")
    layers = [line.split()[0] for line in ncnn_model(graph)[0].splitlines()[2:]]
    assert layers.count("BatchNorm") == sum(node.kind == "affine" for node in graph.nodes) > 0
    assert "Scale" not in layers


def test_every_kind_of_node_has_a_writer() -> None:
    assert WRITERS.keys() == RUN.keys()
