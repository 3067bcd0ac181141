"""The command ``latency bench-kit``: what one copies to one's own board to time it."""

from __future__ import annotations

import argparse
from pathlib import Path

from search.arguments import NETWORK, add_json, find_network, names, print_json, to_path
from search_space.errors import UserError

NETWORKS = (
    "condensenet-86",
    "condensenet-a",
    "condensenetv2-a",
    "condensenetv2-b",
    "shufflenetv2-x1.0",
    "sfr-shufflenetv2-x0.5",
    "shufflenetv2plus-s",
    "sparsenet-bc-100-k12",
    "resnet-56",
)
"""Every kind of kernel in three of them at least, and less than 250 M multiply-adds in each."""

# As in results.bench_kit, which loads torch; a test holds them equal.
RUNTIMES = ("onnxruntime", "ncnn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search latency bench-kit``."""
    parser.add_argument("--out", type=to_path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--runtime",
        choices=(*RUNTIMES, "both"),
        default="both",
        help="whose files it holds; onnxruntime's need the extra `export` (default %(default)s)",
    )
    parser.add_argument(
        "--networks",
        action="append",
        metavar="NET",
        help=f"{NETWORK}; several with commas (default: {', '.join(NETWORKS)})",
    )
    add_json(parser)


def bench_kit(args: argparse.Namespace) -> int:
    """Writes networks and a script, to be timed on one's own board."""
    chosen = {_absolute(n): find_network(n) for n in names(args.networks or NETWORKS)}
    if not chosen:
        raise UserError("--networks '' must name one network at least")
    runtimes = RUNTIMES if args.runtime == "both" else (args.runtime,)
    from results.bench_kit import write_kit

    write_kit(chosen, args.out, runtimes)
    if args.json:
        print_json({"out": str(args.out), "networks": list(chosen), "runtimes": list(runtimes)})
        return 0
    print(
        f"Written: {args.out}, {len(chosen)} networks with random weights for"
        f" {' and '.join(runtimes)}\nCopy it to your board, and follow its README.txt"
    )
    return 0


def _absolute(network: str) -> str:
    """A network's name that means the same from every folder."""
    from search_space import ZOO

    return network if network in ZOO else str(Path(network).resolve())
