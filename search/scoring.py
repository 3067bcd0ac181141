"""The command ``scores``: how well networks are ordered by what is known without training them.

It reads a run, whose short trainings are what the scores are held against. They are written to a
CSV file as they are computed; the same command goes on with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from search import arguments
from search.arguments import INTERRUPTED
from search_space.budget import counted
from search_space.errors import UserError

if TYPE_CHECKING:
    from results.trial import Trial
    from results.zero_cost import RankedScore, ZeroCostRow
    from search.config import RunConfig
    from trainers.data import DataSplits

SCORES = "scores.csv"
DEFAULT_BATCH = 64


def add_scores(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search scores``."""
    parser.add_argument(
        "run",
        type=arguments.to_path,
        metavar="RUN",
        help="folder that `search run` wrote; --searcher random makes one without preferences",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of initial weights and images (default %(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=DEFAULT_BATCH, help="images (default %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=arguments.to_path,
        metavar="FILE",
        help=f"CSV file to write or go on with (RUN/{SCORES})",
    )
    arguments.add_json(parser)


def scores(args: argparse.Namespace) -> int:
    """Tells how zero-cost scores rank a run's networks, against their short training."""
    from results.folder import RunFolder
    from results.storage import quiet_optuna
    from results.trial import contenders
    from results.zero_cost import LEAST_NETWORKS, ranked_scores, rows_to_go_on_from
    from search.config import RunConfig
    from search.executors import load
    from search.full_training import MOST_SEED

    if args.seed < 0:
        raise UserError(f"--seed {args.seed} must be at least 0")
    if args.seed > MOST_SEED:
        raise UserError(f"--seed {args.seed} must be at most {MOST_SEED:,}")
    quiet_optuna()
    folder = RunFolder.open(args.run)
    study = folder.study()
    config = RunConfig.from_settings(study.settings)
    trials = contenders(study.trials())
    if len(trials) < LEAST_NETWORKS:
        raise UserError(
            f"{folder.path} holds {counted(len(trials), 'trained network')}; an order needs at"
            f" least {LEAST_NETWORKS}: search resume {folder.path} --trials 40"
        )
    rung = config.rungs[len(trials[0].rungs) - 1]
    recipe = config.recipe.replace(epochs=rung.epochs)
    config = dataclasses.replace(config, recipe=recipe, resolution=rung.resolution)
    out = args.out or folder.path / SCORES
    rows = rows_to_go_on_from(out, trials, seed=args.seed, batch=args.batch)
    (data,) = load(dataclasses.replace(config, halving=None)).values()
    try:
        _complete(rows, trials, data, config, out, args)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    _show(config, trials, ranked_scores(trials, rows), out, args)
    return 0


def _complete(
    rows: list[ZeroCostRow],
    trials: Sequence[Trial],
    data: DataSplits,
    config: RunConfig,
    out: Path,
    args: argparse.Namespace,
) -> None:
    """Appends every score that is missing, and writes the file after each."""
    from results.metrics import write_rows
    from trainers.zero_cost import ZERO_COST

    known = {(row.trial, row.score) for row in rows}
    for i, trial in enumerate(trials, start=1):
        missing = [name for name in ZERO_COST if (trial.number, name) not in known]
        for name in missing:
            rows.append(_row(trial, name, data, config.resolution, args))
            write_rows(out, rows)
        if missing and not args.json:
            print(f"[{i}/{len(trials)}] network {trial.number}", file=sys.stderr, flush=True)


def _row(
    trial: Trial, name: str, data: DataSplits, resolution: int, args: argparse.Namespace
) -> ZeroCostRow:
    from results.zero_cost import ZeroCostRow
    from trainers.zero_cost import ScoreFailed, zero_cost_scores

    spec, start = trial.proposal.spec, time.perf_counter()
    try:
        value: float | None = zero_cost_scores(
            spec, data, resolution=resolution, seed=args.seed, batch=args.batch, scores=[name]
        )[name]
    except ScoreFailed as failure:
        print(f"network {trial.number}: {failure}", file=sys.stderr)
        value = None
    return ZeroCostRow(
        trial=trial.number,
        network=spec.id,
        score=name,
        value=value,
        wall_s=time.perf_counter() - start,
        seed=args.seed,
        batch=args.batch,
    )


def _show(
    config: RunConfig,
    trials: Sequence[Trial],
    ranked: Sequence[RankedScore],
    out: Path,
    args: argparse.Namespace,
) -> None:
    trained = [trial.score for trial in trials if trial.score is not None]
    wall_s = sum(score.wall_s for score in trained) / len(trained)
    if args.json:
        arguments.print_json(
            {
                "run": str(args.run),
                "out": str(out),
                "networks": len(trained),
                "searcher": config.searcher,
                "epochs": config.recipe.epochs_in_all,
                "resolution": config.resolution,
                "training_wall_s": wall_s,
                "scores": [asdict(row) for row in ranked],
            }
        )
        return
    from rich.table import Table

    epochs = counted(config.recipe.epochs_in_all, "epoch")
    table = Table(
        title=f"Rank correlation to the accuracy of {len(trained)} networks after {epochs} at"
        f" {config.resolution}x{config.resolution}, 95 % intervals"
    )
    for column in ("score", "networks", "Spearman", "Kendall", "Spearman at like MACs", "s each"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for row in ranked:
        found = (row.spearman, row.kendall, row.given_macs)
        seconds = "" if row.wall_s is None else f"{row.wall_s:.2f}"
        texts = ("undefined" if c is None else str(c) for c in found)
        table.add_row(row.score, str(row.networks), *texts, seconds)
    arguments.out().print(table)
    print(f"Training took {wall_s:.1f} s a network. Scores: {out}")
    if config.searcher != "random":
        print(
            f"The networks were chosen by {config.searcher}: their order tells less of the space"
            " than that of a run with --searcher random"
        )
