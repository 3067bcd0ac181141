"""The command ``explain``: where a network's costs go, how it is linked, what its weights use."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search import arguments
from search.arguments import NETWORK, WEIGHTS, find_network, out, print_json, weights_file
from search.latency import add_device
from search_space.errors import UserError

if TYPE_CHECKING:
    from latency_models import Device, Latency
    from search.drawing import Drawn
    from search.single_change import SingleChanges
    from search.spending import PricedKernel
    from search_space import Cost, NetworkSpec
    from search_space.topology import Topology

EXPLAINED = "explained"
"""Folder in that of a run, with one for each trial."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search explain``."""
    parser.add_argument("network", metavar="NET_OR_RUN", help=NETWORK)
    parser.add_argument(
        "--trial", type=int, metavar="N", help="of the run NET_OR_RUN (default: its best)"
    )
    parser.add_argument(
        "--weights",
        type=arguments.to_path,
        action="append",
        metavar="FILE|FOLDER",
        help="trained weights to draw; repeated, as of several seeds, side by side (default: those"
        " in the folder NET, or of the trial's full training)",
    )
    parser.add_argument(
        "--out",
        type=arguments.to_path,
        metavar="FOLDER",
        help="where pictures go (default: beside the network, or the weights of one of the zoo;"
        f" RUN/{EXPLAINED}/N of a trial)",
    )
    add_device(parser)
    arguments.add_json(parser)


def explain(args: argparse.Namespace) -> int:
    """Explains a network: where MACs and milliseconds go, what is linked, what its weights use."""
    from latency_models import device

    on = device(args.device)
    subject = _subject(args)
    drawn = _drawn(args, subject)
    explained = _explained(subject, on)
    if args.json:
        print_json({**explained.to_dict(), **drawn.to_dict()})
        return 0
    from search.explained_tables import show, show_drawn

    show(out(), explained)
    show_drawn(out(), drawn)
    return 0


# --- What is explained ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, where pictures of it belong, and where its weights are.

    One of the zoo has no folder; its pictures belong beside the weights.
    """

    name: str
    spec: NetworkSpec
    folder: Path | None
    weights: Path | None


def _subject(args: argparse.Namespace) -> Subject:
    from results.folder import POINTER

    path = Path(args.network)
    if (path / POINTER).is_file() and args.network:
        return _trial(path, args.trial)
    if args.trial is not None:
        raise UserError(
            f"--trial {args.trial} is of a run, and {args.network} is none; name a folder that"
            " `search run` wrote"
        )
    spec = find_network(args.network)
    weights = weights_file(args.network, None)
    folder = path if path.is_dir() else path.parent if path.is_file() else None
    return Subject(name=args.network, spec=spec, folder=folder, weights=weights)


def _trial(path: Path, number: int | None) -> Subject:
    """A trial of a run, by default the one that ``search best`` names."""
    from results.best import best_trials
    from results.folder import RunFolder
    from results.storage import quiet_optuna

    quiet_optuna()
    trials = RunFolder.open(path).study().trials()
    if number is None:
        found = best_trials(trials, "accuracy", 1)
        if not found:
            raise UserError(f"{path} holds no scored network yet; name one of its --trial numbers")
    else:
        found = [t for t in trials if t.number == number]
        if not found:
            known = f"they are 0 to {len(trials) - 1}" if trials else "there are none"
            raise UserError(f"{path} has no trial {number}: {known}")
    (trial,) = found
    weights = path / trial.retrained.folder / WEIGHTS if trial.retrained else None
    return Subject(
        name=f"{path}, trial {trial.number}",
        spec=trial.proposal.spec,
        folder=path / EXPLAINED / str(trial.number),
        weights=weights if weights and weights.is_file() else None,
    )


# --- Without weights ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What is known of a network without its weights, on a device."""

    subject: Subject
    on: Device
    cost: Cost
    latency: Latency
    kernels: Sequence[PricedKernel]
    topologies: Sequence[Topology | None]
    changes: SingleChanges

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for machines."""
        from search.spending import by_kind, by_part

        spec, changes = self.subject.spec, self.changes
        return {
            "network": self.subject.name,
            "id": spec.id,
            "device": self.on.key,
            "macs": self.cost.macs,
            "params": self.cost.params,
            "latency": asdict(self.latency),
            "parts": [asdict(s) for s in by_part(spec, self.kernels)],
            "kinds": [asdict(s) for s in by_kind(self.kernels)],
            "kernels": [k.to_dict() for k in self.kernels],
            "topology": [t and asdict(t) for t in self.topologies],
            "changes": {
                "priced": [c.to_dict() for c in changes.priced],
                "best": [c.to_dict() for c in changes.best],
                "best_paid": [c.to_dict() for c in changes.best_paid],
            },
        }


def _explained(subject: Subject, on: Device) -> Explained:
    from latency_models import predict_on
    from search.single_change import single_changes
    from search.spending import priced_kernels
    from search_space import cost
    from search_space.topology import topology

    spec = subject.spec
    return Explained(
        subject=subject,
        on=on,
        cost=cost(spec),
        latency=predict_on(spec, on),
        kernels=priced_kernels(spec, on),
        topologies=[topology(stage) for stage in spec.stages],
        changes=single_changes(spec, on),
    )


# --- With weights ---------------------------------------------------------------------------------


def _drawn(args: argparse.Namespace, subject: Subject) -> Drawn:
    """What the weights show, if there are any; raises UserError where pictures are asked for that
    cannot be."""
    from search.drawing import Drawn, can_be_drawn, draw

    named = args.weights or [subject.weights] * (subject.weights is not None)
    if named and can_be_drawn(subject.spec):
        beside = named[0] if named[0].is_dir() else named[0].parent
        return draw(subject.spec, named, args.out or subject.folder or beside)
    why = "they are of trained weights, and there are none: name some with --weights FILE"
    if not can_be_drawn(subject.spec):
        why = "outputs that are summed cannot be told apart, and this network sums all of them"
    if args.weights or args.out:
        raise UserError(f"no pictures of {subject.name} can be drawn: {why}")
    return Drawn(missing=f"No pictures: {why}")
