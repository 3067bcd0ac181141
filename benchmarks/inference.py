"""How fast networks run on this machine, as multiples of torchvision's mobilenet_v2.

::

    python -m benchmarks.inference condensenetv2-a condensenet-c benchmarks/specs/*.yaml
    python -m benchmarks.inference condensenetv2-a --lowerings canonical onnxruntime-x86 --breakdown

Every network is lowered, compared with its masked form, and timed: batch 1, one thread, in turn
with mobilenet_v2 run by run, so that a machine that slows down slows both and neither depends on
what else is timed. Times are medians over the rounds of the thread's processor time; ratios are of
medians. mobilenet_v2 has its norms folded and is executed by the same runtime. Weights are random;
they do not change the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

from results.onnx_graph import INPUT, onnx_model
from results.verify import difference, random_network
from search_space import ZOO, NetworkSpec, UserError, macs, zoo
from search_space.deployed import FastDeployed
from search_space.flatten import flatten
from search_space.graph import Graph
from search_space.lowering import LOWERINGS, lower

BASE = "mobilenet_v2"
RUNTIMES = {"onnxruntime": ("onnxruntime-x86",), "eager": ("torch",)}
"""The lowerings that each runtime is timed with unless others are named."""
LARGEST_DIFFERENCE = 1e-4
WARM_UP_ROUNDS = 3
Run = Callable[[], Any]


# --- What is run ----------------------------------------------------------------------------------


def mobilenet() -> nn.Module:
    """torchvision's mobilenet_v2 with its norms folded into its convolutions."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval
    from torchvision.models import mobilenet_v2

    network: nn.Module = mobilenet_v2(weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i in range(len(module) - 1):
                conv, norm = module[i], module[i + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network


def session(model: bytes, *, profile: Path | None = None) -> Any:
    """An onnxruntime session of one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_bytes(module: nn.Module, images: Tensor) -> bytes:
    """A torch module as ONNX, by torch's exporter."""
    from results.formats import ONNX, ExportOptions, write_by_dynamo

    with tempfile.TemporaryDirectory() as folder:
        write_by_dynamo(module, images, Path(folder), ExportOptions())
        return (Path(folder) / ONNX).read_bytes()


def runner(runtime: str, model: bytes | nn.Module, images: Tensor) -> Run:
    """What runs a model once and returns its logits."""
    if isinstance(model, nn.Module):
        return lambda: model(images).numpy()
    running, feed = session(model), {INPUT: images.numpy()}
    return lambda: running.run(None, feed)[0]


def find(name: str) -> NetworkSpec:
    """A network of the zoo or of a file."""
    return NetworkSpec.load(Path(name)) if Path(name).suffix in (".yaml", ".json") else zoo(name)


# --- Timing ---------------------------------------------------------------------------------------


def medians_ms(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time of each, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(WARM_UP_ROUNDS + rounds):
        for name, run in runs.items():
            began = time.thread_time()
            run()
            if i >= WARM_UP_ROUNDS:
                times[name].append((time.thread_time() - began) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def breakdown(graph: Graph, images: Tensor, runs: int = 10) -> str:
    """Milliseconds by operation of onnxruntime and stage, as a table."""
    with tempfile.TemporaryDirectory() as folder:
        running = session(onnx_model(graph).SerializeToString(), profile=Path(folder) / "profile")
        for _ in range(runs):
            running.run(None, {INPUT: images.numpy()})
        events = json.loads(Path(running.end_profiling()).read_text(encoding="utf-8"))
    # The first run of a session allocates.
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"], event["args"]["op_name"]].append(event["dur"] / 1e3)
    table: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (name, op), durations in times.items():
        place = re.search(r"(stage\d+|stem|transition|head)", name)
        part = re.search(r"_layer\d+\.([a-z0-9]+(_norm)?)", name)
        kind = op + (f" {part[1]}" if part else "")
        table[kind][place[1] if place else "-"] += statistics.median(durations)
    stages = sorted({stage for row in table.values() for stage in row})
    rows = sorted(table.items(), key=lambda item: -sum(item[1].values()))
    lines = [f"{'ms':<24}" + "".join(f"{s:>11}" for s in stages) + f"{'all':>9}"]
    for kind, row in rows:
        cells = "".join(f"{row.get(s, 0.0):>11.3f}" for s in stages)
        lines.append(f"{kind:<24}{cells}{sum(row.values()):>9.3f}")
    total = sum(sum(row.values()) for row in table.values())
    return "\n".join([*lines, f"{'all':<{24 + 11 * len(stages)}}{total:>9.3f}"])


def machine() -> str:
    """This machine in general words."""
    flags = ""
    if Path("/proc/cpuinfo").is_file():
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    vector = next((n for f, n in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if f in flags), "")
    return ", ".join(filter(None, (platform.machine(), vector, "1 thread")))


# --- The command ----------------------------------------------------------------------------------


def prepare(
    name: str, runtimes: dict[str, tuple[str, ...]], *, show: bool
) -> tuple[dict[str, Any], dict[str, dict[str, Run]]]:
    """What is known of a network, and its runs by runtime and lowering, each compared first."""
    spec = find(name)
    network = random_network(spec)
    shape = (1, spec.image_channels, spec.image_size, spec.image_size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = network(images).numpy()
    condensed = flatten(network.to_inference())
    known: dict[str, Any] = {"macs": macs(spec), "executed_macs": {}}
    runs: dict[str, dict[str, Run]] = {runtime: {} for runtime in runtimes}
    for runtime, lowerings in runtimes.items():
        for lowering in lowerings:
            graph = lower(condensed, lowering)
            known["executed_macs"][lowering] = graph.macs
            eager = runtime == "eager"
            model = FastDeployed(graph) if eager else onnx_model(graph).SerializeToString()
            run = runner(runtime, model, images)
            if (found := difference(expected, run())) > LARGEST_DIFFERENCE:
                raise SystemExit(f"{name}, {lowering}, {runtime}: outputs differ by {found:.1e}")
            runs[runtime][lowering] = run
            if show and not eager:
                print(f"\n{name}, {lowering}\n{breakdown(graph, images)}\n", flush=True)
    return known, runs


def base_runs(runtimes: dict[str, tuple[str, ...]]) -> dict[str, Run]:
    """mobilenet_v2 by runtime."""
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    module = mobilenet()
    runs: dict[str, Run] = {}
    for runtime in runtimes:
        eager = runtime == "eager"
        runs[runtime] = runner(runtime, module if eager else onnx_bytes(module, images), images)
    return runs


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.inference", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("networks", nargs="+", metavar="NET", help="zoo name or .yaml file")
    parser.add_argument("--lowerings", nargs="+", choices=LOWERINGS, help="of both runtimes")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--breakdown", action="store_true", help="onnxruntime's own profile")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    return parser.parse_args()


@torch.inference_mode()
def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    runtimes = {r: tuple(args.lowerings or RUNTIMES[r]) for r in args.runtimes}
    try:
        prepared = {n: prepare(n, runtimes, show=args.breakdown) for n in args.networks}
    except UserError as error:
        print(f"benchmarks.inference: {error}; known networks: {', '.join(ZOO)}", file=sys.stderr)
        return 2
    bases = base_runs(runtimes)
    results: dict[str, dict[str, Any]] = {
        Path(n).stem if n.endswith(".yaml") else n: {**known, "times": []}
        for n, (known, _) in prepared.items()
    }
    for runtime in runtimes:
        print(runtime)
        for name, (_, by_runtime) in zip(results, prepared.values(), strict=True):
            for lowering, run in by_runtime[runtime].items():
                times = medians_ms({BASE: bases[runtime], name: run}, args.rounds)
                ms, base = times[name], times[BASE]
                executed = results[name]["executed_macs"][lowering] / 1e6
                print(
                    f"  {name + ', ' + lowering:<52}{executed:8.1f}M executed {ms:8.2f} ms,"
                    f" {BASE} {base:.2f}: {ms / base:.3f}",
                    flush=True,
                )
                entry = {"runtime": runtime, "lowering": lowering, "ratio": round(ms / base, 3)}
                results[name]["times"].append(
                    {**entry, "ms": round(ms, 3), "base_ms": round(base, 3)}
                )
    if args.out:
        import onnxruntime

        text = {
            "machine": machine(),
            "versions": {
                "torch": torch.__version__.partition("+")[0],
                "onnxruntime": onnxruntime.__version__,
                "numpy": np.__version__,
            },
            "rounds": args.rounds,
            "ratios_to": BASE,
            "networks": results,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
