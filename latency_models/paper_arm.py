"""The ARM processor that CondenseNet's authors timed networks on, as far as their table tells it.

::

    python -m latency_models.paper_arm [--out latency_models/data]

Their times are proportional to FLOPs for the networks of few FLOPs, and for no other: an ARM
processor that is not named, with a runtime and a number of threads that are not named either. It
is what the papers' comparisons rest on, not a board to search for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from latency_models.devices import DATA, PER_FLOP, Device
from latency_models.fit import WEIGHT_DIGITS, fit_error, leave_out, solve

COUNTER = "condensenet"


class Row(NamedTuple):
    """A row of CondenseNet's table 5: its FLOPs and the seconds of one image of 224 x 224."""

    flops: int
    wall_s: float
    fits: bool = True


# ResNet-18 takes 1.3 times, VGG-16 6.5 times what the others' price says.
TABLE_5 = {
    "vgg-16": Row(15_300_000_000, 354, fits=False),
    "resnet-18": Row(1_818_000_000, 8.14, fits=False),
    "mobilenet-224": Row(569_000_000, 1.96),
    "condensenet-c4": Row(529_000_000, 1.89),
    "condensenet-c": Row(274_000_000, 0.99),
}
"""By network; CondenseNet's G=C=4 and G=C=8 are called as in the zoo."""


def paper_arm() -> Device:
    """The device: one price per FLOP, fitted to the rows that it holds for."""
    fitted = {name: row for name, row in TABLE_5.items() if row.fits}
    flops = np.array([[float(row.flops)] for row in fitted.values()])
    measured_ms = np.array([1e3 * row.wall_s for row in fitted.values()])
    scale = np.ones(1)
    ns = round(float(solve(flops, measured_ms, scale)[0]) * 1e6, WEIGHT_DIGITS)
    misfits = {
        name: round(ns * 1e-9 * row.flops / row.wall_s, 4)
        for name, row in TABLE_5.items()
        if not row.fits
    }
    apart = " and ".join(f"{name} (predicted {r:.2f} of the time)" for name, r in misfits.items())
    return Device(
        board="paper-arm",
        runtime="paper",
        threads=1,
        precision="not told",
        core="ARM processor, not named",
        source="arXiv 1711.09224, table 5; ShichenLiu/CondenseNet @ 833a91d5, README.md",
        licence="MIT",
        note=f"In proportion to FLOPs as CondenseNet's authors count them, {ns:.3f} ns each, fitted"
        f" to {len(fitted)} rows of their table: {', '.join(fitted)}. It does not hold for {apart}."
        " The interval is that of the rows fitted. Processor, runtime and threads are not told, and"
        " no kernel is priced.",
        weights={f"{PER_FLOP}{COUNTER}": ns},
        measured_kinds={},
        networks=tuple(fitted),
        macs_range=(min(r.flops for r in fitted.values()), max(r.flops for r in fitted.values())),
        error=fit_error(leave_out(flops, measured_ms, scale, list(fitted))),
        misfits=misfits,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m latency_models.paper_arm", description=__doc__)
    parser.add_argument("--out", type=Path, default=DATA, help="where the device file goes")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    found = paper_arm()
    (options.out / found.file_name).write_text(found.to_yaml(), encoding="utf-8")


if __name__ == "__main__":
    main()
