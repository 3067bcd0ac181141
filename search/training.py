"""The commands ``train``, ``retrain`` and ``evaluate``: from parsed arguments to an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from search.arguments import (
    DATA,
    INTERRUPTED,
    NETWORK,
    absolute_data,
    add_json,
    add_recipe,
    chosen_recipe,
    find_network,
    label,
    names,
    new_folder,
    print_json,
    to_path,
    weights_file,
)
from search_space.budget import counted
from search_space.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from results.trial import Measured
    from search.full_training import FullTraining
    from search.trained_folder import Result
    from search_space import NetworkSpec
    from trainers.recipe import Recipe

# --- Arguments ---------------------------------------------------------------------------------


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The options that say where and with what a training runs."""
    parser.add_argument(
        "--devices", default="auto", help="auto, cpu, cuda, or KIND:COUNT (default %(default)s)"
    )
    parser.add_argument(
        "--accumulate",
        type=int,
        default=1,
        metavar="N",
        help="run each batch in N shards, in less memory (default %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that decode images (default %(default)s)"
    )
    parser.add_argument(
        "--recompute", action="store_true", help="compute some things twice, in less memory"
    )
    parser.add_argument(
        "--resolution", type=int, help="pixels to train at (default: the network's)"
    )
    parser.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help="of the training images, held out; 0 for none (default: a tenth, or a quarter)",
    )
    parser.add_argument(
        "--format", action="append", default=[], help="also export: onnx, ncnn, torchscript"
    )
    parser.add_argument(
        "--track", default="tensorboard", help="tensorboard, mlflow, wandb, or none"
    )
    parser.add_argument("--download", action="store_true", help="fetch cifar10 or cifar100")


def full_training(
    args: argparse.Namespace,
    network: str,
    spec: NetworkSpec,
    recipe: Recipe,
    data: str,
    *,
    seed: int | None = None,
) -> FullTraining:
    """The training that the arguments describe."""
    from search.full_training import FullTraining

    return FullTraining(
        network=network,
        spec=spec,
        data=data,
        recipe=recipe,
        seed=args.seed if seed is None else seed,
        resolution=args.resolution,
        validation=args.validation,
        devices=args.devices,
        accumulate=args.accumulate,
        workers=args.workers,
        recompute=args.recompute,
        formats=tuple(names(args.format)),
        trackers=tuple(n for n in names([args.track]) if n != "none"),
        download=args.download,
    )


# --- train -------------------------------------------------------------------------------------


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search train``."""
    parser.add_argument("network", metavar="NET", help=NETWORK)
    parser.add_argument("--data", default="digits", help=f"{DATA} (default %(default)s)")
    parser.add_argument("--out", type=to_path, help="folder to fill (default runs/NET-DATA-N)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with what --out holds, if it holds anything"
    )
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    add_recipe(parser)
    add_machine(parser)
    add_json(parser)


def train(args: argparse.Namespace) -> int:
    """Trains a network with its full schedule, condenses, verifies and evaluates it."""
    from trainers.recipes import paper_recipe

    spec = find_network(args.network)
    recipe = chosen_recipe(args, paper_recipe(spec))
    data = absolute_data(args.data)
    config = full_training(args, label(args.network), spec, recipe, data)
    out = _out_folder(args)
    result = train_watched(config, out, args, f"the same command with --out {out} --resume")
    if result is None:
        return INTERRUPTED
    if is_first_process():
        _print_result(result, out, args.json)
    return 0


def _out_folder(args: argparse.Namespace) -> Path:
    if args.out is not None:
        return Path(args.out)
    if args.resume:
        raise UserError("--resume needs --out, the folder to go on with")
    return folder_for_all(args, f"{label(args.network)}-{args.data.partition(':')[0]}")


def folder_for_all(args: argparse.Namespace, name: str) -> Path:
    """A new folder; raises UserError where several processes would each find one of their own."""
    if "WORLD_SIZE" in os.environ or ":" in args.devices:
        raise UserError("several processes need --out, so that they agree on the folder")
    return new_folder(name)


def is_first_process() -> bool:
    """Whether this is the process that speaks and writes for all of a training."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def train_watched(
    config: FullTraining, out: Path, args: argparse.Namespace, again: str
) -> Result | None:
    """The result of a training that a person watches; None where it was interrupted.

    ``again`` are the words for how to go on then.
    """
    from rich.console import Console

    from search import full_training
    from search.progress import TrainDisplay
    from trainers.fit import Interrupted

    display = TrainDisplay(Console(stderr=True), quiet=args.json or not is_first_process())
    try:
        with display:
            return full_training.train(config, out, display, resume=args.resume)
    except (Interrupted, KeyboardInterrupt) as interrupted:
        if is_first_process():
            print(f"{str(interrupted) or 'interrupted'}; go on with: {again}", file=sys.stderr)
        return None


def _print_result(result: Result, out: Path, as_json: bool) -> None:
    if as_json:
        print_json({"out": str(out), **result.to_dict()})
        return
    parts = {"validation": result.validation, "test": result.test}
    for name, measured in parts.items():
        if measured is not None:
            print(f"{name:<11}{_in_words(measured)}")
    print(
        f"Written: {out} ({', '.join(sorted(p.name for p in out.iterdir() if p.name[0] != '.'))})"
    )
    print(f"Next:\n  search export {out} --format onnx --out DIR\n  search cost {out}")


def _in_words(measured: Measured) -> str:
    return (
        f"top-1 {measured.top1:.2%}, top-5 {measured.top5:.2%}, loss {measured.loss:.4f}"
        f" on {measured.images:,} images"
    )


# --- evaluate ----------------------------------------------------------------------------------


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search evaluate``."""
    parser.add_argument("network", metavar="NET", help=NETWORK)
    parser.add_argument(
        "--weights",
        type=to_path,
        metavar="FILE",
        help=".safetensors, masked or condensed, or .onnx (default: the ones in the folder NET)",
    )
    parser.add_argument("--data", required=True, help=DATA)
    parser.add_argument(
        "--part",
        choices=("validation", "test"),
        default="test",
        help="images to judge by (default %(default)s)",
    )
    parser.add_argument("--batch-size", type=int, default=64, help="default %(default)s")
    parser.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help="as for train (default: as it was trained)",
    )
    parser.add_argument("--resolution", type=int, help="pixels (default: the network's)")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images")
    parser.add_argument("--devices", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--download", action="store_true", help="fetch cifar10 or cifar100")
    add_json(parser)


def evaluate(args: argparse.Namespace) -> int:
    """Measures top-1 and top-5 of trained weights."""
    from dataclasses import asdict

    from trainers.data import load_data
    from trainers.evaluate import evaluate as measure

    spec = find_network(args.network)
    file = weights_file(args.network, args.weights)
    if file is None:
        raise UserError(f"{args.network} has no weights of its own; name them with --weights FILE")
    for option, least in (("batch_size", 1), ("resolution", 1), ("workers", 0)):
        value = getattr(args, option)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')} {value} must be at least {least}")
    if args.resolution is not None:
        spec.replace(image_size=args.resolution)  # is refused where a map would have no pixel
    if ":" in args.devices:
        raise UserError(f"--devices {args.devices!r} must be auto, cpu or cuda: one evaluates")
    data = load_data(
        args.data,
        resolution=args.resolution or spec.image_size,
        limit=None,
        download=args.download,
        validation=_held_out(args, file),
    )
    if data.classes > spec.classes:
        raise UserError(
            f"{args.data} has {data.classes} classes, the network {spec.classes}; name the"
            " network as it was trained, such as the folder that `search train` wrote"
        )
    part = data.load_test() if args.part == "test" else data.validation
    if part is None:
        raise UserError(f"--part validation: {args.data} holds out no images; use --part test")
    form, logits_of = _form(spec, file, args.devices)
    measured = measure(logits_of, part, args.batch_size, workers=args.workers)
    unreadable = part.unreadable
    if args.json:
        found = {**asdict(measured), "unreadable": unreadable}
        print_json({"weights": str(file), "form": form, **found})
        return 0
    print(f"{form} {file}, {args.part} images of {args.data}: {_in_words(measured)}")
    if unreadable:
        names = ", ".join(unreadable)
        print(f"Warning: {counted(len(unreadable), 'image')} could not be read: {names}")
    return 0


def _held_out(args: argparse.Namespace, weights: Path) -> float | None:
    """The share of the training images that the weights have not seen, as far as is known.

    Raises:
        UserError: validation images are asked for, and the weights were trained on other data.
    """
    from search.trained_folder import read_result

    share: float | None = args.validation
    result = read_result(weights.parent) if share is None and args.part == "validation" else None
    if result is None:
        return share
    if result.data != absolute_data(args.data):
        raise UserError(
            f"{weights} was trained on {result.data}, not on {args.data}: which of its images it"
            " has not seen is not known; say what was held out with --validation SHARE"
        )
    return result.held_out


def _form(spec: NetworkSpec, file: Path, devices: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """What the weights are of, and what computes logits with them."""
    import torch

    from results.weights import load_weights
    from trainers.machine import machine

    if file.suffix == ".onnx":
        from results.formats import onnx_runner

        run = onnx_runner(file, spec.classes)
        return "onnx", lambda images: torch.from_numpy(run(images.contiguous().numpy()))
    network = load_weights(spec, file)
    device = machine(devices).device
    network.to(device)
    return network.form, lambda images: network(images.to(device))
