"""Training steps of condensed networks against the authors' code, in turns.

    python -m benchmarks.training --reference-condensenet DIR --reference-condensenetv2 DIR

The directories are checkouts of ShichenLiu/CondenseNet and jianghaojun/CondenseNetV2. A step is
forward, backward and SGD with Nesterov momentum on one batch of random images; nothing is dropped
yet. Each contender is a process of its own, whose memory no other one has used. Every round times
one after the other, so that a slow minute of the machine hits all of them; where others use the
machine too, one thread and the seconds of the processor say more. The authors' code runs as they
run it: contiguous memory, single precision.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from torch import nn

from search_space import NetworkSpec, build, zoo

Make = Callable[[], nn.Module]

# --- The authors' networks ------------------------------------------------------------------


@contextlib.contextmanager
def checkout(directory: Path) -> Iterator[None]:
    """Imports from the directory; what was imported is forgotten, as both have a ``utils``."""
    before = set(sys.modules)
    sys.path.insert(0, str(directory))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.path.remove(str(directory))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(directory):
                del sys.modules[name]


def condensenet_86(directory: Path) -> nn.Module:
    """The authors' CondenseNet-86 for CIFAR-10."""
    with checkout(directory):
        from models.condensenet import CondenseNet

        settings = SimpleNamespace(
            **{"stages": [14] * 3, "growth": [8, 16, 32], "data": "cifar10", "num_classes": 10},
            **{"group_1x1": 4, "group_3x3": 4, "condense_factor": 4},
            **{"bottleneck": 4, "dropout_rate": 0},
        )
        network: nn.Module = CondenseNet(settings)
    return network


def condensenetv2_cifar(directory: Path) -> nn.Module:
    """The authors' CondenseNetV2 in the size of CondenseNet-86, with its plain classifier."""
    with checkout(directory):
        from model.condensenetv2 import CondenseNetV2

        settings = SimpleNamespace(
            **{"stages": [14] * 3, "growth": [8, 16, 32], "dataset": "cifar10", "num_classes": 10},
            **{"group_1x1": 4, "group_3x3": 4, "group_trans": 4, "bottleneck": 4},
            **{"condense_factor": 4, "trans_factor": 4, "last_se_reduction": 16},
            **{"HS_start_block": 3, "SE_start_block": 3, "fc_channel": 10},
        )
        network: nn.Module = CondenseNetV2(settings)
    network.features.se_last = nn.Identity()
    network.fc = network.fc_act = nn.Identity()
    network.classifier = nn.Linear(network.num_features, 10)
    return network


def condensenetv2_a(directory: Path) -> nn.Module:
    """The authors' CondenseNetV2-A for ImageNet."""
    with checkout(directory):
        module: ModuleType = __import__("model.condensenetv2", fromlist=["cdnv2_a"])
        settings = SimpleNamespace(dataset="imagenet", num_classes=1000)
        network: nn.Module = module.cdnv2_a(settings)
    return network


def condensenetv2_cifar_spec() -> NetworkSpec:
    """The same as :func:`condensenetv2_cifar`."""
    spec = zoo("condensenetv2-110")
    return spec.replace(stages=tuple(dataclasses.replace(s, depth=14) for s in spec.stages))


# --- What is compared -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, its batch, and the authors' code for it."""

    name: str
    batch: int
    spec: NetworkSpec
    reference: Make


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a network is trained; ``reference`` is the authors' code."""

    name: str
    reference: bool = False
    half: bool = False
    compiled: bool = False
    condensed: bool = False
    channels_last: bool = True


WAYS = {
    way.name: way
    for way in (
        Way(name="reference", reference=True, channels_last=False),
        Way(name="fp32"),
        Way(name="fp32-contiguous", channels_last=False),
        Way(name="bf16", half=True),
        Way(name="fp32-compiled", compiled=True),
        Way(name="bf16-compiled", half=True, compiled=True),
        Way(name="fp32-all-dropped", condensed=True),
        Way(name="bf16-all-dropped", half=True, condensed=True),
    )
}
USUAL_WAYS = {
    "cpu": ("reference", "fp32", "bf16", "fp32-all-dropped"),
    "cuda": ("reference", "fp32", "fp32-contiguous", "bf16", "bf16-compiled"),
}


def cases(device: str, v1: Path, v2: Path) -> list[Case]:
    """The cases of a device."""
    small = [
        Case(
            name="condensenet-86",
            batch=batch,
            spec=zoo("condensenet-86"),
            reference=lambda: condensenet_86(v1),
        )
        for batch in ((64,) if device == "cpu" else (64, 256))
    ]
    cifar = Case(
        name="condensenetv2-14-14-14",
        batch=64,
        spec=condensenetv2_cifar_spec(),
        reference=lambda: condensenetv2_cifar(v2),
    )
    imagenet = Case(
        name="condensenetv2-a",
        batch=128,
        spec=zoo("condensenetv2-a"),
        reference=lambda: condensenetv2_a(v2),
    )
    return [*small, cifar] if device == "cpu" else [*small, cifar, imagenet]


def cases_of(args: argparse.Namespace) -> list[Case]:
    """The cases that are compared."""
    found = cases(args.device, args.reference_condensenet, args.reference_condensenetv2)
    return [case for case in found if not args.networks or case.name in args.networks]


def training_step(case: Case, way: Way, device: str) -> Callable[[], None]:
    """One step of training, images and labels included."""
    torch.manual_seed(0)
    if way.reference:
        network = case.reference()
    else:
        network = build(case.spec)
        network.condense(1.0 if way.condensed else 0.0)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    network = network.to(device=device, memory_format=layout).train()
    size = case.spec.image_size
    images = torch.randn(case.batch, 3, size, size, device=device).contiguous(memory_format=layout)
    labels = torch.randint(case.spec.classes, (case.batch,), device=device)
    optimiser = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    forward = torch.compile(network) if way.compiled else network

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=way.half):
            loss = nn.functional.cross_entropy(forward(images), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()

    return step


def timed(step: Callable[[], None], steps: int, device: str) -> tuple[float, float]:
    """Seconds a step, the device's work included, and of these the processor's own."""
    if device == "cuda":
        torch.cuda.synchronize()
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps, (time.process_time() - cpu_start) / steps


def contend(number: int, way: Way, args: argparse.Namespace, turns: Connection) -> None:
    """A process that trains the case of a number, a round whenever it is asked to."""
    torch.set_num_threads(args.threads)
    step = training_step(cases_of(args)[number], way, args.device)
    for _ in range(args.warmup):
        step()
    turns.send(None)
    while turns.recv():
        turns.send(timed(step, args.steps, args.device))


def compare(number: int, ways: list[Way], args: argparse.Namespace) -> dict[str, object]:
    """Times all ways of a case in turns; prints a line for each."""
    case = cases_of(args)[number]
    spawn = multiprocessing.get_context("spawn")
    contenders: dict[str, Connection] = {}
    for way in ways:
        contenders[way.name], theirs = spawn.Pipe()
        spawn.Process(target=contend, args=(number, way, args, theirs), daemon=True).start()
        contenders[way.name].recv()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, turns in contenders.items():
            turns.send(True)
            wall_s, cpu_s = turns.recv()
            seconds[name].append(wall_s)
            cpu_seconds[name].append(cpu_s)
    for turns in contenders.values():
        turns.send(False)
    base = seconds["reference"] if "reference" in seconds else next(iter(seconds.values()))
    print(f"{case.name}, {case.spec.image_size}x{case.spec.image_size}, batch {case.batch}")
    results: dict[str, object] = {}
    for name, times in seconds.items():
        entry = {
            "median_s": statistics.median(times),
            "least_s": min(times),
            "images_per_s": case.batch / statistics.median(times),
            "median_ratio": statistics.median(b / t for b, t in zip(base, times, strict=True)),
            "ratio_of_least": min(base) / min(times),
            "least_cpu_s": min(cpu_seconds[name]),
            "seconds": times,
            "cpu_seconds": cpu_seconds[name],
        }
        results[name] = entry
        print(
            f"  {name:18} {entry['median_s']:7.3f} s (least {entry['least_s']:.3f}),"
            f" {entry['images_per_s']:7.1f} images/s, {entry['median_ratio']:.2f} times the"
            f" reference (of the least {entry['ratio_of_least']:.2f}); processor"
            f" {entry['least_cpu_s']:.2f} s",
            flush=True,
        )
    return {"batch": case.batch, "image_size": case.spec.image_size, "ways": results}


def machine(device: str) -> dict[str, object]:
    """What the figures hold for."""
    if device == "cuda":
        return {"processor": torch.cuda.get_device_name(), "torch": torch.__version__}
    return {
        "processor": platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "multiplies_bf16": torch.cpu._is_avx512_bf16_supported(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference-condensenet", type=Path, required=True)
    parser.add_argument("--reference-condensenetv2", type=Path, required=True)
    parser.add_argument("--device", choices=USUAL_WAYS, default="cpu")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="default: those of the device")
    parser.add_argument("--networks", nargs="+", help="default: those of the device")
    parser.add_argument("--compile", action="store_true", help="also compiled, in both precisions")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, help="a round; default 1 on the CPU, 5 on a GPU")
    parser.add_argument("--warmup", type=int, default=2, help="steps that are not timed")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    args = parser.parse_args()
    args.steps = args.steps or (1 if args.device == "cpu" else 5)
    torch.set_num_threads(args.threads)
    names = list(args.ways or USUAL_WAYS[args.device])
    if args.compile:
        names += [n for n in ("fp32-compiled", "bf16-compiled") if n not in names]
    ways = [WAYS[name] for name in names]
    results: dict[str, object] = {}
    for number, case in enumerate(cases_of(args)):
        results[f"{case.name}-batch-{case.batch}"] = compare(number, ways, args)
        if args.json:
            report = {"machine": machine(args.device), "rounds": args.rounds, "networks": results}
            args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
