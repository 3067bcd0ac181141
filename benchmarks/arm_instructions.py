"""How many instructions an inference takes on an emulated ARM core, by runtime and lowering.

    scripts/setup_arm DIR
    python -m benchmarks.arm_instructions --arm DIR condensenet-86 condensenetv2-a
    python -m benchmarks.arm_instructions --arm DIR condensenetv2-a --build ncnn-fp16

Random weights, batch 1, one thread, the second of two inferences. Instructions are no milliseconds:
what waits for memory counts like what does not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from latency_models.counting.builds import BUILDS
from latency_models.emulator import Emulator
from search.arguments import find_network
from search.emulating import whole_network
from search_space.lowering import LOWERINGS

USUAL = {
    "onnxruntime": ("canonical", "onnxruntime-x86", "onnxruntime-arm"),
    "ncnn": ("dense", "ncnn"),
}
"""Lowerings by runtime, unless others are named."""


def main() -> None:
    """The command; prints a line per network, build and lowering."""
    builds = {build.name: build for build in BUILDS}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="+", metavar="NET", help="a name of the zoo or a file")
    parser.add_argument("--arm", type=Path, required=True, metavar="DIR", help="the userland")
    parser.add_argument(
        "--build", nargs="+", choices=builds, default=["onnxruntime-fp32", "ncnn-fp32"]
    )
    parser.add_argument("--lowerings", nargs="+", choices=LOWERINGS, help="of all runtimes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the counts")
    args = parser.parse_args()
    emulator, found = Emulator(args.arm), []
    for name in args.networks:
        for build in (builds[b] for b in args.build):
            for lowering in args.lowerings or USUAL[build.runtime]:
                counts = whole_network(find_network(name), build, emulator, lowering)
                row = {"network": name, "build": build.name, "lowering": lowering}
                found.append({**row, "instructions": counts.instructions})
                millions = counts.instructions / 1e6
                print(f"{name:<24} {build.name:<18} {lowering:<16} {millions:9.1f} M", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
