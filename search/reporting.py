"""The command ``report``: what a run has found, as a page that can be taken away."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search import arguments
from search_space.errors import UserError

if TYPE_CHECKING:
    from results.report import Reference, Report
    from results.search_card import SearchCard
    from results.trial import Trial
    from search.config import RunConfig
    from search_space import NetworkSpec

FIRST = ("condensenetv2", "condensenet", "sparsenet", "shufflenetv2", "densenet", "resnet")
"""Whose networks are labelled first where there is little room, by how their names begin."""
ACCURACY_METRIC = "top1_error"


def add_report(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search report``."""
    parser.add_argument(
        "run", type=arguments.to_path, metavar="RUN", help="folder that `search run` wrote"
    )
    parser.add_argument(
        "--out",
        type=arguments.to_path,
        metavar="FOLDER",
        help="where to write it (default: RUN), such as beside a run that cannot be written to",
    )
    arguments.add_json(parser)


def report(args: argparse.Namespace) -> int:
    """Writes a page about a run: front, course, importances, rungs, the best network, origin.

    Beside it stand the run's results and card as of now, which a search under way writes itself.
    """
    from results.folder import RunFolder
    from results.report import write_report
    from results.storage import quiet_optuna
    from search.cards import search_card
    from search.config import RunConfig

    quiet_optuna()
    folder = RunFolder.open(args.run)
    study = folder.study()
    config = RunConfig.from_settings(study.settings)
    to = folder if args.out is None else folder.beside(args.out)
    with to.locked_if_free() as free:
        # Read inside: a search that has just ended must not lose its last networks again.
        trials = study.trials()
        if not any(trial.score for trial in trials):
            raise UserError(
                f"{args.run} holds no scored network yet; wait for it, or search resume {args.run}"
            )
        card = search_card(config, study, trials)
        if free:
            to.write_results(trials)
            to.write_card(card)
    written = write_report(_report(config, card, trials), to.path)
    if args.json:
        arguments.print_json(
            {
                "run": str(folder.path),
                "report": str(written[0]),
                "files": [str(path) for path in written],
            }
        )
        return 0
    print("\n".join(["Written:", *(f"  {path}" for path in written)]))
    return 0


def _report(config: RunConfig, card: SearchCard, trials: Sequence[Trial]) -> Report:
    from results.remaining import remaining
    from results.report import Report

    device = config.limits.device
    return Report(
        card=card,
        trials=trials,
        remaining=remaining(trials, config.trials),
        dimensions=config.space.dimensions,
        device=device.key,
        cautions=[device.caution] if device.caution else [],
        macs_limit=config.limits.macs,
        latency_limit_ms=config.limits.latency_ms,
        references=references(config),
    )


def references(config: RunConfig) -> list[Reference]:
    """The zoo's networks for images of the search's size, the first of each family first."""
    from search_space import ZOO

    fitting = {n: s for n, s in ZOO.items() if s.image_size == config.space.image_size}
    order = sorted(fitting, key=lambda name: (_family(name), list(ZOO).index(name)))
    return [_reference(name, fitting[name], config) for name in order]


def _family(name: str) -> int:
    return next((i for i, begin in enumerate(FIRST) if name.startswith(begin)), len(FIRST))


def _reference(name: str, spec: NetworkSpec, config: RunConfig) -> Reference:
    from results.published import published_of
    from results.report import Reference

    estimate = config.limits.estimate(spec)
    printed = [p for p in published_of(name) if p.metric == ACCURACY_METRIC]
    here = [p for p in printed if p.dataset == config.data.partition(":")[0]]
    said = ", ".join(dict.fromkeys(f"{p} top-1 error on {p.dataset}" for p in printed))
    return Reference(
        name=name,
        macs=estimate.macs,
        latency_ms=estimate.latency_ms,
        latency_low_ms=estimate.latency_low_ms,
        latency_high_ms=estimate.latency_high_ms,
        printed=f"printed: {said}" if said else "",
        accuracy=1 - float(here[0].value) / 100 if here else None,
    )
