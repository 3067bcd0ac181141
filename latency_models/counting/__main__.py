"""Counts the designed kernels under emulation and fits what lies between them.

    scripts/setup_arm DIR
    python -m latency_models.counting --arm DIR     # measures, minutes for each build
    python -m latency_models.counting               # fits the shipped tables anew

The same wheels give the same tables to within one part in ten thousand.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.counting.designed import designed
from latency_models.counting.fitting import fitted, left_out_error
from latency_models.counting.measure import count_kernels, read_table, write_table
from latency_models.emulator import Emulator
from search_space.errors import UserError

VERSIONS = "versions.json"
"""Beside the tables: what was emulated, and by what."""
_TOLD = ("qemu", "libc", "numpy", "ncnn", "onnxruntime")


def _measure(build: RuntimeBuild, arm: Path, folder: Path) -> None:
    kernels = list(designed())
    counts = count_kernels(kernels, build, Emulator(arm))
    write_table(zip(kernels, counts, strict=True), folder / build.counts.name)
    made = json.loads((arm / VERSIONS).read_text(encoding="utf-8"))
    told = {name: made[name] for name in _TOLD if name in made}
    (folder / VERSIONS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; prints one row per build."""
    parser = argparse.ArgumentParser(
        prog="python -m latency_models.counting", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--arm", type=Path, metavar="DIR", help="measure with this emulator")
    parser.add_argument("--out", type=Path, default=BUILDS[0].counts.parent, help="of the tables")
    parser.add_argument("--build", choices=[b.name for b in BUILDS], help="default: all")
    options = parser.parse_args(arguments)
    try:
        for build in BUILDS:
            if options.build in (None, build.name):
                if options.arm:
                    _measure(build, options.arm, options.out)
                versions = json.loads((options.out / VERSIONS).read_text(encoding="utf-8"))
                counted = read_table(options.out / build.counts.name)
                model = fitted(build, counted, versions)
                (options.out / build.model.name).write_text(model.to_yaml(), encoding="utf-8")
                mean, median = left_out_error(build, counted)
                print(
                    f"{build.name:20} {len(counted)} kernels, instructions of kernels left out:"
                    f" mean error {mean:.1%}, median {median:.1%}",
                    flush=True,
                )
    except (UserError, OSError, ValueError) as error:  # the last: of a broken versions.json
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
