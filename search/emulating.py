"""The command ``latency emulate``: what a network executes on an emulated ARM core, counted."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.arguments import NETWORK, add_json, find_network, print_json, to_path
from search_space.errors import UserError

if TYPE_CHECKING:
    from latency_models import Device
    from latency_models.counting.builds import RuntimeBuild
    from latency_models.emulator import Counts, Emulator
    from search_space import NetworkSpec
    from search_space.graph import Graph


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search latency emulate``."""
    from search.latency import add_device

    parser.add_argument("network", metavar="NET", help=NETWORK)
    parser.add_argument(
        "--arm", type=to_path, required=True, metavar="DIR", help="as scripts/setup_arm makes it"
    )
    add_device(parser)
    add_json(parser)


def emulate(args: argparse.Namespace) -> int:
    """Counts what one image costs on an emulated ARM core, beside what is predicted of it."""
    import numpy as np

    from latency_models import device
    from latency_models.charges import COUNTED, counted
    from latency_models.counting.fitting import observed
    from latency_models.counting.model import COUNTERS
    from latency_models.emulator import Emulator
    from latency_models.executed import executed_kernels

    on, spec = device(args.device), find_network(args.network)
    build = _build(on)
    counts = whole_network(spec, build, Emulator(args.arm))
    amounts = [
        [amount for _, amount in counted(k, build.runtime, build.precision)]
        for k in executed_kernels(spec, build.runtime)
    ]
    found = observed(counts)
    predicted = np.array([row for row in amounts if row]).reshape(-1, len(COUNTED)).sum(axis=0)
    prices_ns = np.array([on.weights[name] for name in COUNTED])
    ms, predicted_ms = (float(prices_ns @ np.array(c)) / 1e6 for c in (found, predicted))
    if args.json:
        print_json(
            {
                "network": args.network,
                "device": on.key,
                "ms": ms,
                "emulated": dict(zip(COUNTERS, found, strict=True)),
                "predicted": dict(zip(COUNTERS, map(float, predicted), strict=True)),
                "predicted_ms": predicted_ms,
            }
        )
        return 0
    print(f"{args.network} under {build.runtime} in {build.precision} on an emulated {build.core}")
    print(f"{'':20}{'emulated':>16}{'predicted':>16}")
    for name, count, guess in zip(COUNTERS, found, predicted, strict=True):
        print(
            f"{name.replace('_', ' '):20}{count:>16,.0f}{guess:>16,.0f}  {guess / count - 1:+.1%}"
        )
    print(f"{on.key}: {ms:.2f} ms by the counts emulated, {predicted_ms:.2f} ms by those predicted")
    return 0


def _build(on: Device) -> RuntimeBuild:
    from latency_models.charges import COUNTED
    from latency_models.counting.builds import BUILDS

    for build in BUILDS:
        same = (build.runtime, build.precision) == (on.runtime, on.precision)
        if same and COUNTED[0] in on.weights:
            return build
    raise UserError(
        f"{on.key} has no price of an instruction; choose a device of"
        f" {' or '.join(sorted({b.runtime for b in BUILDS}))} (`search latency devices`)"
    )


LOWERING = {"ncnn": "ncnn", "onnxruntime": "onnxruntime-arm"}
"""How networks are exported for each runtime."""


def whole_network(
    spec: NetworkSpec, build: RuntimeBuild, emulator: Emulator, lowering: str | None = None
) -> Counts:
    """What one image costs, of the condensed network with random weights.

    Args:
        spec: The network.
        build: The runtime and the core.
        emulator: Where it runs.
        lowering: A key of ``LOWERINGS``; None for that of ``search export``.

    Raises:
        UserError: the emulator fails.
    """
    from latency_models.counting.measure import run_jobs
    from results.verify import random_network
    from search_space.flatten import flatten
    from search_space.lowering import lower

    network = random_network(spec).to_inference()
    graph = lower(flatten(network), lowering or LOWERING[build.runtime])
    with tempfile.TemporaryDirectory() as name:
        return run_jobs(_jobs(graph, build.runtime, Path(name)), build, emulator)[0]


def _jobs(graph: Graph, runtime: str, folder: Path) -> list[dict[str, Any]]:
    from latency_models.counting.onnx_jobs import nothing_job
    from results.ncnn_graph import INPUT, OUTPUT, ncnn_model
    from results.onnx_graph import INPUT as IMAGES
    from results.onnx_graph import write_onnx

    channels, height, width = graph.input.shape
    if runtime == "ncnn":
        inputs = {INPUT: [width, height, channels]}
        return [{"param": ncnn_model(graph)[0], "inputs": inputs, "before": [], "stages": [OUTPUT]}]
    file = folder / "network.onnx"
    write_onnx(graph, file, name="network")
    inputs = {IMAGES: [1, channels, height, width]}
    return [nothing_job(folder / "nothing.onnx"), {"model": str(file), "inputs": inputs}]
