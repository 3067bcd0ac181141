"""Puts trained weights beside the zoo, where ``create_model(..., pretrained=True)`` finds them.

    python -m benchmarks.cifar.publish NAME FOLDER --data npz:cifar10.npz

NAME is a network of the zoo, FOLDER one that ``search train`` or ``search sweep`` left of it, on
these data.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from results.export import VERIFICATION
from results.weights import FORMAT, load_weights, save_tensors
from search.trained_folder import RESULT, read_result
from search_space import zoo
from search_space.pretrained import FILE, FOLDER
from trainers.data import load_data

LARGEST = 255.0
MOST_BYTES = 5_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--data", required=True)
    parser.add_argument(
        "--called", default="cifar10", help="what the data are (default %(default)s)"
    )
    args = parser.parse_args()
    spec = zoo(args.name)
    network = load_weights(spec, args.folder / FILE)
    result = read_result(args.folder)
    if result is None or network.form != "masked":
        raise SystemExit(f"{args.folder} holds no complete training")
    if (size_bytes := sum(x.nbytes for x in network.state_dict().values())) > MOST_BYTES:
        raise SystemExit(f"the weights take {size_bytes:,} bytes, at most {MOST_BYTES:,} are meant")
    data = load_data(args.data, resolution=spec.image_size)
    mean, std = (
        " ".join(f"{x / LARGEST:.4f}" for x in colours.flatten().tolist())
        for colours in data.train.mean_and_std
    )
    out = FOLDER / args.name
    out.mkdir(parents=True, exist_ok=True)
    metadata = {"form": "masked", "format": FORMAT, "spec": spec.id, "mean": mean, "std": std}
    save_tensors(network, out / FILE, metadata)
    verification = (args.folder / VERIFICATION).read_text(encoding="utf-8")
    (out / VERIFICATION).write_text(
        verification.replace(result.data, args.called), encoding="utf-8"
    )
    told = replace(result, network=args.name, data=args.called).to_dict()
    (out / RESULT).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
