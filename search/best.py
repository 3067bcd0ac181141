"""The command ``best``: which networks of a run to take."""

from __future__ import annotations

import argparse

from search import arguments
from search_space.errors import UserError

TITLES = {
    "accuracy": "The most accurate first",
    "latency": "The fastest first",
    "knee": "The knee first: the point of the Pareto front that is farthest above the line"
    " between its ends",
}
"""What an order is called; a test holds the keys against those of ``results.best``."""


def add_best(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search best``."""
    parser.add_argument(
        "run", type=arguments.to_path, metavar="RUN", help="folder that `search run` wrote"
    )
    parser.add_argument(
        "--by", default="accuracy", help=f"{', '.join(TITLES)} (default %(default)s)"
    )
    parser.add_argument("-n", type=int, default=1, help="how many (default %(default)s)")
    arguments.add_json(parser)


def best(args: argparse.Namespace) -> int:
    """Names the best networks of a run: the most accurate, the fastest, or the knee."""
    from results.best import best_trials
    from results.folder import RunFolder
    from results.storage import quiet_optuna
    from search.config import RunConfig
    from search.rung_tables import compared
    from search.tables import trial_json, trials_table

    quiet_optuna()
    study = RunFolder.open(args.run).study()
    trials, config = study.trials(), RunConfig.from_settings(study.settings)
    found = best_trials(trials, args.by, args.n)
    if not found:
        raise UserError(
            f"{args.run} holds no scored network yet; wait for it, or search resume {args.run}"
        )
    if args.json:
        arguments.print_json(
            [{**trial_json(trial), "spec": trial.proposal.spec.to_dict()} for trial in found]
        )
        return 0
    console = arguments.out()
    console.print(trials_table(TITLES[args.by], found, config.limits.device.key))
    if config.halving is not None:
        print(compared(config.halving, trials))
    return 0
