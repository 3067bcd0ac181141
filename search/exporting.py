"""The commands ``export`` and ``verify``: from parsed arguments to an exit code."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from search.arguments import find_network, names, weights_file
from search_space.errors import Mismatch, UnknownName, UserError

if TYPE_CHECKING:
    from results.verify import Runner, Verification
    from search_space import NetworkSpec
    from search_space.network import Network

# As in results.formats and results.verify, which load torch, and in search_space.lowering; a test
# holds them equal.
EXPORT_FORMATS = ("state_dict", "torchscript", "onnx", "ncnn")
FORMS = ("masked", "condensed", *EXPORT_FORMATS, "eager")
EXPORTERS = ("dynamo", "direct")
LOWERINGS = ("canonical", "dense", "onnxruntime-arm", "onnxruntime-x86", "torch", "ncnn")

ARM_VARIABLE = "SEARCH_ARM"
"""Environment variable that names an emulated ARM userland."""
SEED = 0


def _weights(spec: NetworkSpec, path: Path | None) -> tuple[Network, str]:
    """A network and in words where its weights come from; random ones if no file is given."""
    from results.verify import random_network
    from results.weights import load_weights

    if path is None:
        return random_network(spec, SEED), f"random norms and weights, seed {SEED}"
    return load_weights(spec, path), str(path)


def _initial_network(spec: NetworkSpec) -> Network:
    """As training begins, but with every drop performed."""
    import torch

    from search_space import build

    network = build(spec, "masked", generator=torch.Generator().manual_seed(SEED)).eval()
    network.condense_for_conversion()
    return network


def _arm(args: argparse.Namespace, forms: list[str] | None) -> dict[str, Runner]:
    """The ONNX file's runner on ARM, if a userland is named and the file is among the forms."""
    named = args.arm or os.environ.get(ARM_VARIABLE)
    if not named:
        return {}
    if forms is not None and "onnx" not in forms:
        if args.arm is None:
            return {}
        raise UserError(f"--arm {args.arm} runs the ONNX file; add onnx to --forms")
    userland = Path(named)
    from results.arm import arm_runner

    return {"arm": arm_runner(userland)}


def export(args: argparse.Namespace) -> int:
    """Writes a network for a runtime, verified, with a card."""
    from results.export import Origin, must_be_empty
    from results.export import export as write
    from results.formats import ExportOptions
    from results.weights import load_weights
    from search.trained_folder import DETECTOR

    formats = names(args.format)
    if unknown := [name for name in formats if name not in EXPORT_FORMATS]:
        raise UnknownName("format", unknown[0], EXPORT_FORMATS)
    if not formats:
        raise UserError(f"--format must name one or more of {', '.join(EXPORT_FORMATS)}")
    must_be_empty(args.out)
    if (Path(args.network) / DETECTOR).is_file():
        raise UserError(
            f"{args.network} holds a detector, and networks that classify are exported; name the"
            " folder that its backbone was trained in"
        )
    spec = find_network(args.network)
    file = weights_file(args.network, args.weights)
    if file is None:
        network = _initial_network(spec)
        origin = Origin(words=f"initial ones, seed {SEED}", trained=False)
    else:
        network, origin = load_weights(spec, file), Origin.of(file)
    verification = write(
        network,
        args.out,
        formats,
        origin=origin,
        options=ExportOptions(
            exporter=args.exporter,
            dynamic_batch=args.dynamic_batch,
            lowering=args.lowering,
        ),
    )
    if args.json:
        print(json.dumps({"out": str(args.out), **verification.to_dict()}, indent=2))
        return 0
    print(line(args.network, verification))
    print(f"Exported: {args.out} ({', '.join(sorted(p.name for p in args.out.iterdir()))})")
    if not origin.trained:
        print("The weights are untrained: name trained ones with --weights FILE.safetensors")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Compares the masked, condensed and exported forms of networks."""
    from results.verify import TOLERANCE

    done: list[dict[str, object]] = []
    wrong: list[str] = []
    for name, verification in _verifications(args):
        wrong += [] if verification.agrees else [name]
        done.append({"name": name, **verification.to_dict()})
        if not args.json:
            print(line(name, verification), flush=True)
    if args.json:
        print(json.dumps(done, indent=2))
    if wrong:
        raise Mismatch(
            f"forms of {', '.join(wrong)} differ by more than {TOLERANCE:.0e} of the largest output"
        )
    return 0


def _verifications(args: argparse.Namespace) -> Iterator[tuple[str, Verification]]:
    from results.formats import ExportOptions
    from results.verify import verify as compare
    from search_space import ZOO

    if (args.network is None) != args.all:
        both = ", not both" * args.all
        raise UserError(f"name one network to verify, or give --all for the whole zoo{both}")
    if args.all and args.weights is not None:
        raise UserError(f"--weights {args.weights} belong to one network, not to --all; name it")
    forms = names(args.forms) if args.forms else None
    others = _arm(args, forms)
    for name in ZOO if args.all else (args.network,):
        network, weights = _weights(find_network(name), weights_file(name, args.weights))
        yield (
            name,
            compare(
                network,
                forms,
                weights=weights,
                options=ExportOptions(exporter=args.exporter),
                others=others,
            ),
        )


def line(name: str, verification: Verification) -> str:
    """One line: the largest difference per pair of forms, and seconds, the verdict."""
    from results.verify import TOLERANCE

    pairs = "  ".join(
        f"{c.first}-{c.second} {c.difference:.1e}{'' if c.agrees else ' DIFFERS'}"
        for c in verification.comparisons
    )
    by = f"  onnx by {verification.exporter}" if verification.exporter else ""
    largest = max(c.difference for c in verification.comparisons)
    return (
        f"{name:<22} {pairs}  {verification.wall_s:.1f} s{by}"
        f"  {'equal' if verification.agrees else 'NOT EQUAL'}"
        f" (largest {largest:.1e}, {TOLERANCE:.0e} allowed)"
    )
