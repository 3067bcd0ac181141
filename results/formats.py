"""The files a network is exported to: how each is written, run again, and loaded by others.

Every format takes the condensed network, lowered for its runtime; none holds a pickled module.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from results import ncnn_graph
from results.onnx_graph import INPUT, OPSET, OUTPUT, write_onnx
from results.weights import load_weights
from search_space import NetworkSpec
from search_space.deployed import Deployed
from search_space.errors import UserError
from search_space.flatten import flatten
from search_space.graph import Graph
from search_space.lowering import lower
from search_space.optional import import_optional

if TYPE_CHECKING:
    from search_space.network import Network

Images = NDArray[np.float32]
"""``(N, channels, size, size)``, normalised as in training."""

ARCHITECTURE = "architecture.yaml"
WEIGHTS = "weights.safetensors"
EXPORTERS = ("dynamo", "direct")
ONE_FILE_BYTES = 2_000_000_000
"""ONNX keeps weights beyond two gigabytes in a second file."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How files are written.

    Args:
        exporter: Of ONNX: ``dynamo`` is torch's own, ``direct`` writes the graph's operations and
            takes a second where torch takes many.
        dynamic_batch: Whether the ONNX file takes any number of images instead of one.
        lowering: A key of :data:`search_space.lowering.LOWERINGS`; None for each format's own.
    """

    exporter: str = "dynamo"
    dynamic_batch: bool = False
    lowering: str | None = None


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to write a network down.

    Args:
        files: What ``write`` leaves in its folder; empty where the export's own files suffice.
        lowering: What its runtime executes best; None where the network is not lowered.
        write: Writes the files of a condensed network.
        run: Logits ``(N, classes)`` of the written files, computed by the format's own runtime.
        extra: The optional dependencies it needs; None if none.
        usage: Lines of Python that load it and run ``images``, an array of NumPy.
        note: What else its users should know.
    """

    files: tuple[str, ...]
    lowering: str | None
    write: Callable[[Network, Path, ExportOptions], None]
    run: Callable[[Path, Images], Images]
    extra: str | None
    usage: str
    note: str = ""


def lowering_of(format: str, options: ExportOptions) -> str | None:
    """The lowering that a format is written in; None where the network is not lowered."""
    own = FORMATS[format].lowering
    return None if own is None else options.lowering or own


def _lowered(format: str, network: Network, options: ExportOptions) -> Graph:
    lowering = lowering_of(format, options)
    assert lowering is not None
    return lower(flatten(network), lowering)


def executed_macs(format: str, network: Network, options: ExportOptions) -> int | None:
    """Multiply-adds per image of the written file; None where the network is not lowered.

    They may be more than the network's own, where a runtime is faster with padded channels or
    whole convolutions.
    """
    return None if lowering_of(format, options) is None else _lowered(format, network, options).macs


def _example(network: Network, images: int = 1) -> Tensor:
    source = network.plan.input
    return torch.zeros(images, source.channels, source.size, source.size)


# --- ONNX --------------------------------------------------------------------------------------

ONNX = "model.onnx"


def _write_onnx(network: Network, folder: Path, options: ExportOptions) -> None:
    import_optional("onnx", extra="export")
    graph, dynamic = _lowered("onnx", network, options), options.dynamic_batch
    if options.exporter == "direct":
        write_onnx(graph, folder / ONNX, name=network.spec.id, dynamic_batch=dynamic)
    else:
        write_by_dynamo(Deployed(graph), _example(network, 2), folder, options)


def write_by_dynamo(
    network: nn.Module, example: Tensor, folder: Path, options: ExportOptions
) -> None:
    """Writes ``model.onnx`` by torch's exporter.

    Args:
        network: Any module in evaluation mode that maps images to logits.
        example: Two images; an example of one would fix the number of images at one.
        folder: Where to write.
        options: Only ``dynamic_batch`` matters.

    Raises:
        UserError: onnxscript is not installed.
    """
    onnx = import_optional("onnx", extra="export")
    import_optional("onnxscript", extra="export")
    batch = {0: torch.export.Dim("batch")} if options.dynamic_batch else None
    weight_bytes = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own
        torch.onnx.export(
            network,
            (example if options.dynamic_batch else example[:1],),
            folder / ONNX,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(batch,) if batch else None,
            external_data=weight_bytes > ONE_FILE_BYTES,
            verbose=False,
        )
    # torch notes down for each node in which files of this machine it was defined.
    model = onnx.load(folder / ONNX, load_external_data=False)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.save(model, folder / ONNX)


def onnx_runner(path: Path, classes: int | None = None) -> Callable[[Images], Images]:
    """What computes logits ``(N, classes)`` of images by an ONNX file, with onnxruntime.

    Args:
        path: The file.
        classes: How many logits it must have; None for any number.

    Raises:
        UserError: onnxruntime is not installed, or cannot load the file, which may have another
            number of logits; what is returned raises it for images of another size.
    """
    runtime = import_optional("onnxruntime", extra="export")
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has one class of error per code of its own
        raise UserError(f"{path} cannot be loaded as an ONNX file: {error}") from None
    source, logits = session.get_inputs()[0], session.get_outputs()[0]
    if classes is not None and logits.shape[-1] != classes:
        raise UserError(
            f"{path} computes {logits.shape[-1]} logits, the network has {classes} classes; name"
            " the network that it was exported from"
        )

    def run(images: Images) -> Images:
        if list(images.shape[1:]) != list(source.shape[1:]):
            raise UserError(
                f"{path} takes images of {source.shape[1:]} (channels, height, width), not"
                f" {list(images.shape[1:])}; choose --resolution accordingly"
            )
        at_once = 1 if source.shape[0] == 1 else len(images)
        chunks = [images[i : i + at_once] for i in range(0, len(images), at_once)]
        return np.concatenate([session.run(None, {source.name: chunk})[0] for chunk in chunks])

    return run


def _run_onnx(folder: Path, images: Images) -> Images:
    return onnx_runner(folder / ONNX)(images)


# --- TorchScript -------------------------------------------------------------------------------

TORCHSCRIPT = "model.torchscript.pt"


def trace(network: nn.Module, example: Tensor, path: Path) -> None:
    """Writes the TorchScript of a module as traced with an example."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own, about its own
        traced: Any = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        traced.save(str(path))


def _write_torchscript(network: Network, folder: Path, options: ExportOptions) -> None:
    deployed = Deployed(_lowered("torchscript", network, options))
    trace(deployed, _example(network), folder / TORCHSCRIPT)


@torch.no_grad()
def _run_torchscript(folder: Path, images: Images) -> Images:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.load(str(folder / TORCHSCRIPT))  # type: ignore[no-untyped-call]
    logits: Images = torch.cat([model(image[None]) for image in torch.from_numpy(images)]).numpy()
    return logits


# --- ncnn --------------------------------------------------------------------------------------

NCNN_PARAM, NCNN_BIN = "model.ncnn.param", "model.ncnn.bin"


def _write_ncnn(network: Network, folder: Path, options: ExportOptions) -> None:
    graph = _lowered("ncnn", network, options)
    ncnn_graph.write_ncnn(graph, folder / NCNN_PARAM, folder / NCNN_BIN)


def _run_ncnn(folder: Path, images: Images) -> Images:
    ncnn = import_optional("ncnn", extra="ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1  # several wait for each other where others use the machine, too
    for option in ("packed", "storage", "arithmetic"):
        setattr(net.opt, f"use_fp16_{option}", False)
    for load, file in ((net.load_param, NCNN_PARAM), (net.load_model, NCNN_BIN)):
        if load(str(folder / file)) != 0:
            raise UserError(f"ncnn {ncnn.__version__} cannot load {file}")
    logits = []
    for image in images:
        extractor = net.create_extractor()
        extractor.input(ncnn_graph.INPUT, ncnn.Mat(np.ascontiguousarray(image)).clone())
        code, output = extractor.extract(ncnn_graph.OUTPUT)
        if code != 0:
            raise UserError(f"ncnn {ncnn.__version__} cannot run {NCNN_PARAM} (code {code})")
        logits.append(np.array(output).reshape(-1))
    return np.stack(logits)


# --- Weights and architecture alone --------------------------------------------------------------


@torch.no_grad()
def _run_state_dict(folder: Path, images: Images) -> Images:
    network = load_weights(NetworkSpec.load(folder / ARCHITECTURE), folder / WEIGHTS)
    logits: Images = torch.cat([network(image[None]) for image in torch.from_numpy(images)]).numpy()
    return logits


FORMATS: dict[str, Format] = {
    "state_dict": Format(
        files=(),
        lowering=None,
        write=lambda network, folder, options: None,  # every export holds the weights
        run=_run_state_dict,
        extra=None,
        usage=f"""\
from pathlib import Path
import torch
from results.weights import load_weights
from search_space import NetworkSpec
network = load_weights(NetworkSpec.load(Path("{ARCHITECTURE}")), Path("{WEIGHTS}"))
with torch.no_grad():
    logits = network(torch.from_numpy(images)).numpy()""",
        note="This one needs this project installed.",
    ),
    "torchscript": Format(
        files=(TORCHSCRIPT,),
        lowering="torch",
        write=_write_torchscript,
        run=_run_torchscript,
        extra=None,
        usage=f"""\
import torch
model = torch.jit.load("{TORCHSCRIPT}")
with torch.no_grad():
    logits = model(torch.from_numpy(images)).numpy()""",
    ),
    "onnx": Format(
        files=(ONNX,),
        lowering="onnxruntime-arm",
        write=_write_onnx,
        run=_run_onnx,
        extra="export",
        usage=f"""\
import onnxruntime
session = onnxruntime.InferenceSession("{ONNX}")
(logits,) = session.run(None, {{"{INPUT}": images}})""",
        note="It is arranged for ARM; for x86 with AVX-512 export with --lowering onnxruntime-x86.",
    ),
    "ncnn": Format(
        files=(NCNN_PARAM, NCNN_BIN),
        lowering="ncnn",
        write=_write_ncnn,
        run=_run_ncnn,
        extra="ncnn",
        usage=f"""\
import ncnn
net = ncnn.Net()
net.load_param("{NCNN_PARAM}")
net.load_model("{NCNN_BIN}")
extractor = net.create_extractor()
extractor.input("{ncnn_graph.INPUT}", ncnn.Mat(images[0]).clone())
code, logits = extractor.extract("{ncnn_graph.OUTPUT}")""",
        note="ncnn gathers channels slowly: this file holds dense 1x1 convolutions, with more"
        " weights than the network, where channels are not kept in whole blocks of four.",
    ),
}
"""What ``--format`` accepts."""
