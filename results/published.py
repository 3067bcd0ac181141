"""Every figure in the papers' tables of results, as printed: ``published.csv`` beside this file.

One record per figure. Tables of architectures hold no results and are the zoo itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import as_file, files
from typing import Literal

from results.metrics import read_rows
from search_space.budget import SUFFIXES

PAPERS = {
    "condensenet": "CondenseNet (Huang et al. 2018, arXiv:1711.09224)",
    "condensenet-readme": "README of the CondenseNet authors' code",
    "condensenetv2": "CondenseNetV2 (Yang et al. 2021, arXiv:2104.04382)",
    "sparsenet": "SparseNet (Zhu et al. 2018, arXiv:1801.05895)",
}

METRICS = {
    "flops": "printed FLOPs",
    "params": "printed params",
    "top1_error": "printed top-1 error",
    "top5_error": "printed top-5 error",
    "time": "printed time",
    "map_faster_rcnn": "printed mAP, Faster R-CNN",
    "map_retinanet": "printed mAP, RetinaNet",
}
"""What the papers print, and what it is called."""

Metric = Literal[
    "flops",
    "params",
    "top1_error",
    "top5_error",
    "time",
    "map_faster_rcnn",
    "map_retinanet",
]


@dataclass(frozen=True, kw_only=True)
class Published:
    """One figure that a paper prints.

    Args:
        paper: A key of ``PAPERS``.
        table: Its number there.
        row: The row of that table, from 1, headings left out.
        model: What the row calls the network, with the columns that tell rows apart.
        network: Its name in the zoo; empty where the zoo has none.
        dataset: cifar10, cifar100, imagenet or coco; ``cifar`` for a count printed for both.
        metric: A key of ``METRICS``. ``flops`` are counted as the paper counts.
        value: With the digits that are printed.
        unit: M or G (10^6, 10^9), %, s or ms.
        note: Under what condition it holds, or what is misprinted.
        differs: Why our count of the network is another one; empty where it rounds to this.
    """

    paper: str
    table: str
    row: int
    model: str
    network: str
    dataset: str
    metric: Metric
    value: Decimal
    unit: str
    note: str
    differs: str

    def __str__(self) -> str:
        """``28.6M``, ``1.89 s``"""
        return f"{self.value}{'' if self.unit in SUFFIXES else ' '}{self.unit}"

    @property
    def printed_digit(self) -> Decimal:
        """One in the last digit that is printed."""
        return Decimal(1).scaleb(int(self.value.as_tuple().exponent))


@cache
def published() -> tuple[Published, ...]:
    """All figures, in the order of papers, tables and rows."""
    with as_file(files("results") / "published.csv") as path:
        return tuple(read_rows(path, Published))


def published_of(network: str) -> list[Published]:
    """The figures of a network of the zoo, none where the papers print none."""
    return [figure for figure in published() if figure.network == network]
