"""The command ``compare``: networks side by side, and what is printed, predicted and measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_models import DEFAULT_DEVICE
from search.arguments import NETWORK, add_json, find_network, out, print_json
from search.latency import DEVICE_HELP, DEVICE_METAVAR
from search_space.budget import format_count

if TYPE_CHECKING:
    from latency_models import Device, Latency
    from results.published import Published
    from search.measured_accuracy import Accuracy
    from search_space import Cost, NetworkSpec


def add_compare(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search compare``."""
    parser.add_argument("networks", nargs="+", metavar="NET", help=NETWORK)
    parser.add_argument(
        "--device",
        action="append",
        metavar=DEVICE_METAVAR,
        help=f"{DEVICE_HELP}; may be repeated (default {DEFAULT_DEVICE})",
    )
    add_json(parser)


def compare(args: argparse.Namespace) -> int:
    """Sets networks side by side: counts, printed figures, predicted ms, measured accuracy."""
    from latency_models import device

    devices = [device(name) for name in dict.fromkeys(args.device or [DEFAULT_DEVICE])]
    compared = [_compared(name, devices) for name in dict.fromkeys(args.networks)]
    if args.json:
        print_json([one.to_dict() for one in compared])
        return 0
    _show(compared, devices)
    return 0


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A network and all that is known of it.

    Args:
        name: What the user called it.
        spec: The network.
        zoo: Its name in the zoo; None where it is not there.
        cost: Our counts, and those of the papers' counter.
        printed: What the papers print of it.
        latencies: Predictions by the key of the device.
        accuracies: What its folder holds.
    """

    name: str
    spec: NetworkSpec
    zoo: str | None
    cost: Cost
    printed: Sequence[Published]
    latencies: dict[str, Latency]
    accuracies: Sequence[Accuracy]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for machines."""
        return {
            "network": self.name,
            "id": self.spec.id,
            "zoo": self.zoo,
            "image_size": self.spec.image_size,
            "classes": self.spec.classes,
            **self.cost.to_dict(),
            "published": [{**asdict(p), "value": float(p.value)} for p in self.printed],
            "latency": [{"device": key, **asdict(ms)} for key, ms in self.latencies.items()],
            "accuracy": [asdict(accuracy) for accuracy in self.accuracies],
        }


def _compared(name: str, devices: Sequence[Device]) -> Compared:
    from latency_models import predict_on
    from results.published import published_of
    from search.measured_accuracy import measured_accuracies
    from search_space import ZOO, cost

    spec = find_network(name)
    zoo = next((known for known, other in ZOO.items() if other.id == spec.id), None)
    return Compared(
        name=name,
        spec=spec,
        zoo=zoo,
        cost=cost(spec),
        printed=published_of(zoo) if zoo else [],
        latencies={on.key: predict_on(spec, on) for on in devices},
        accuracies=[] if name in ZOO else measured_accuracies(Path(name), spec),
    )


# --- For people ----------------------------------------------------------------------------------


def _show(compared: Sequence[Compared], devices: Sequence[Device]) -> None:
    from rich.table import Table

    table = Table()
    table.add_column("")
    for one in compared:
        table.add_column(one.name, justify="right", overflow="fold")
    for label, cell in _rows(compared, devices).items():
        table.add_row(label, *map(cell, compared))
    console = out()
    console.print(table)
    lines = [line for one in compared for line in _notes(one)]
    lines += [f"{on.key}: {on.caution}" for on in devices if on.caution]
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def _rows(
    compared: Sequence[Compared], devices: Sequence[Device]
) -> dict[str, Callable[[Compared], str]]:
    """What stands in the row of each label; rows that would be empty are left out."""
    printed = dict.fromkeys(_label(p) for one in compared for p in _in_order(one.printed))
    return {
        "input": lambda one: f"{one.spec.image_size}x{one.spec.image_size}",
        "classes": lambda one: f"{one.spec.classes:,}",
        "MACs": lambda one: format_count(one.cost.macs),
        "params": lambda one: format_count(one.cost.params),
        "authors' counter": lambda one: one.cost.paper_convention,
        "its FLOPs": lambda one: format_count(one.cost.paper_flops),
        "its params": lambda one: format_count(one.cost.paper_params),
        **{label: _printed_cell(label) for label in printed},
        **{f"ms on {on.key}": _latency_cell(on.key) for on in devices},
        **({"accuracy": _accuracy_cell} if any(one.accuracies for one in compared) else {}),
    }


def _in_order(printed: Sequence[Published]) -> list[Published]:
    """By metric, those of errors by data set."""
    from results.published import METRICS

    metrics = list(METRICS)
    return sorted(printed, key=lambda p: (metrics.index(p.metric), p.dataset))


def _label(figure: Published) -> str:
    from results.published import METRICS

    of = f", {figure.dataset}" if figure.metric.endswith("_error") else ""
    return METRICS[figure.metric] + of


def _printed_cell(label: str) -> Callable[[Compared], str]:
    """All that the papers print, each figure once."""

    def cell(one: Compared) -> str:
        return ", ".join(dict.fromkeys(str(p) for p in one.printed if _label(p) == label))

    return cell


def _latency_cell(key: str) -> Callable[[Compared], str]:
    def cell(one: Compared) -> str:
        ms = one.latencies[key]
        doubts = "?" * bool(ms.unpriced or ms.extrapolated)
        return f"{ms.ms:.1f} [{ms.low_ms:.1f}, {ms.high_ms:.1f}]{doubts}"

    return cell


def _accuracy_cell(one: Compared) -> str:
    return "\n".join(f"{a.accuracy:.1%} {a.part}" for a in one.accuracies)


def _notes(one: Compared) -> list[str]:
    """Where the figures of a network are from, and what is to be known of them."""
    from results.published import PAPERS

    name = one.name if one.zoo in (None, one.name) else f"{one.name}, which is {one.zoo}"
    notes = []
    for paper, figures in groupby(one.printed, key=lambda p: p.paper):
        rows = dict.fromkeys(f"table {p.table}, row {p.row}" for p in figures)
        notes.append(f"printed in {PAPERS[paper]}: {'; '.join(rows)}")
    for figure in _in_order(one.printed):
        said = f"{_label(figure)} {figure}, table {figure.table}"
        notes += [f"{said}: {figure.note}"] * bool(figure.note)
        notes += [f"{said}, differs from our count: {figure.differs}"] * bool(figure.differs)
    for key, ms in one.latencies.items():
        notes += [f"? {key}, not measured there: {text}" for text in ms.extrapolated]
        notes += [f"? {key}, not priced: {text}" for text in ms.unpriced]
    notes += [f"accuracy {accuracy}" for accuracy in one.accuracies]
    return [name, *(f"  {note}" for note in notes)] if notes else []
