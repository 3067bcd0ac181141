"""Every figure that others' code, or arithmetic on it, gives for the papers' networks.

``golden.json`` has one record per network, form and counter. ``config`` is a name of the zoo and
what differs from it. ``masked`` is before and ``condensed`` after the authors' conversion; networks
without either are ``condensed``. Counters: ``plain`` are parameters by numel and multiply-adds of
convolutions and linear layers; the others are the counters of the authors' code (see
``PAPER_COUNTERS``).
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from search_space import ZOO, HeadSpec, NetworkSpec, StemSpec, cost, ops
from search_space.zoo import condensenet_light, condensenetv2_cifar


class Record(NamedTuple):
    config: str
    form: str
    counter: str
    classes: int
    params: int
    macs: int


RECORDS = [
    Record(**record)
    for record in json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
]


def post(spec: NetworkSpec) -> NetworkSpec:
    """The same with norm and activation behind its reactivations."""
    return spec.replace(stages=tuple(replace(s, sfr_order="post") for s in spec.stages))


def network(config: str) -> NetworkSpec:
    """A name of the zoo, and what differs: ``sparsenet-40-k12 stem=12``."""
    name, _, option = config.partition(" ")
    what, _, number = option.partition("=")
    spec = ZOO[name]
    return {
        "": lambda: spec,
        # The authors' conversion halves every classifier, without training after it.
        "halved": lambda: spec.replace(head=HeadSpec(condense_factor=2, condense_at="conversion")),
        # SparseNet's code as committed.
        "stem": lambda: spec.replace(stem=StemSpec(channels=int(number))),
        "grid": lambda: spec.replace(head=HeadSpec(grid=int(number))),
        "post": lambda: post(spec),
        # Other growth rates and depths than those that the zoo has settled for.
        "k": lambda: condensenet_light(160, int(number)),
        "d": lambda: condensenetv2_cifar(int(number)),
    }[what]()


def index_products(spec: NetworkSpec) -> int:
    """Multiply-adds of the square matrices by which the authors' CondenseNetV2 adds at an index."""
    return sum(
        x.channels * y.channels * x.size**2
        for op in spec.plan("condensed").ops
        if isinstance(op, ops.IndexAdd)
        for x, y in [op.inputs]
    )


INDEX_PRODUCTS = "with index products"
"""The one counter that is none of the project's, which has no such matrices."""


def ours(record: Record) -> tuple[int, int]:
    """Parameters and multiply-adds in the record's terms."""
    spec = network(record.config).replace(classes=record.classes)
    if record.form == "masked" and spec.head.condense_factor > 1:
        # Before the authors' conversion nothing of a classifier is gone.
        spec = spec.replace(head=HeadSpec())
    if record.counter == INDEX_PRODUCTS:
        priced = cost(spec)
        return priced.params, priced.macs + index_products(spec)
    priced = cost(spec, convention=record.counter)
    if record.counter == "plain":
        masked = record.form == "masked"
        return (
            (priced.training_params, priced.training_macs)
            if masked
            else (priced.params, priced.macs)
        )
    return priced.paper_params, priced.paper_flops


def identity(record: Record) -> str:
    return f"{record.config}, {record.classes} classes, {record.form}, {record.counter}"


@pytest.mark.parametrize("record", RECORDS, ids=identity)
def test_the_project_counts_what_others_count(record: Record) -> None:
    params, macs = ours(record)
    if "shufflenet" in record.config and record.counter != "plain":
        # Noted to ten thousand.
        macs = round(macs, -4)
    assert (params, macs) == (record.params, record.macs)


def test_the_records_are_all_there_and_differ() -> None:
    assert len(RECORDS) == 171
    assert len({record[:4] for record in RECORDS}) == 171
    assert sum(record.counter == INDEX_PRODUCTS for record in RECORDS) == 7
