"""The commands ``run`` and ``resume``: from parsed arguments to an exit code."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from search import arguments
from search.arguments import INTERRUPTED, absolute_data, new_folder, parse_seconds, reserved
from search_space.budget import format_count
from search_space.errors import UnknownName, UserError

if TYPE_CHECKING:
    from results.folder import RunFolder
    from results.study import Study
    from search.config import RunConfig
    from search.runner import Ready

DEFAULT_TRIALS = 16
DEFAULT_TIMEOUT_S = 240.0
"""Without --trials and --timeout no training begins after this: a first look, not a search."""


def run(args: argparse.Namespace) -> int:
    """Searches a space and writes down the best architecture."""
    from results.folder import RunFolder
    from results.storage import open_storage, quiet_optuna
    from results.study import Study
    from results.urls import absolute_url
    from search.config import RunConfig
    from search.runner import prepare
    from searchers import SEARCHERS
    from trainers.data import DATASETS, USAGE
    from trainers.recipes import RECIPES
    from trainers.recipes import recipe as find_recipe

    quiet_optuna()
    _check_workers(args)
    if args.study is not None and args.storage is None:
        raise UserError(f"--study {args.study} needs --storage, where others find it")
    if args.searcher not in SEARCHERS:
        raise UnknownName("searcher", args.searcher, SEARCHERS)
    if args.data.partition(":")[0] not in DATASETS:
        raise UnknownName("data set", args.data.partition(":")[0], USAGE)
    if args.retrain is not None and args.retrain < 1:
        raise UserError(f"--retrain {args.retrain} must be at least 1")
    if args.retrain_recipe is not None:
        find_recipe(args.retrain_recipe)  # hours before it is needed
    space, limits = arguments.space(args), arguments.limits(args)
    config = RunConfig(
        space=space,
        limits=limits,
        searcher=args.searcher,
        data=absolute_data(args.data),
        trials=DEFAULT_TRIALS if args.trials is None else args.trials,
        seed=args.seed,
        recipe=arguments.chosen_recipe(args, RECIPES["proxy"]),
        resolution=args.resolution,
        images=args.images,
        halving=arguments.halving(args),
        least_accuracy=args.least_accuracy,
        aim=args.aim,
        begin_with=arguments.begin_with(args.begin_with, space, limits),
    )
    timeout_s = _timeout(args)
    storage = absolute_url(args.storage) if args.storage is not None else None
    name = _folder_name(config)
    if args.out is not None:
        RunFolder.must_be_new(args.out)
    if storage is not None and args.study is not None:
        open_storage(storage)  # before the data are read, which may take long
    elif storage is not None:
        Study.must_be_new(storage, (args.out or new_folder(name)).resolve().name)
    ready = prepare(config, download=args.download)
    folder = RunFolder.create(
        args.out or reserved(name), storage, config.to_settings(), shared=args.study
    )
    return _run(config, ready, folder, folder.study(), timeout_s, args)


def _check_workers(args: argparse.Namespace) -> None:
    for name in ("workers", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} must be at least 1")
    if args.executor == "ray":
        from search.ray import must_answer  # raises where Ray is not installed

        if args.address is not None:
            must_answer(args.address)
    elif args.address is not None:
        raise UserError(f"--address {args.address} is that of a Ray cluster: add --executor ray")


def _timeout(args: argparse.Namespace) -> float | None:
    if args.timeout is not None:
        return parse_seconds(args.timeout, "--timeout", "s")
    return DEFAULT_TIMEOUT_S if args.trials is None else None


def _folder_name(config: RunConfig) -> str:
    limit = format_count(config.limits.macs) if config.limits.macs else "unlimited"
    return f"{config.space.name}-{limit}".replace(".00", "")


def resume(args: argparse.Namespace) -> int:
    """Goes on with a run where it was left, or beyond."""
    from results.folder import RunFolder
    from results.storage import quiet_optuna
    from search.config import RunConfig
    from search.runner import prepare

    quiet_optuna()
    _check_workers(args)
    folder = RunFolder.open(args.run)
    study = folder.study()
    config = RunConfig.from_settings(study.settings)
    if args.trials is not None:
        config = dataclasses.replace(config, trials=args.trials)
        study.replace_settings(config.to_settings())
    timeout_s = parse_seconds(args.timeout, "--timeout", "s") if args.timeout is not None else None
    return _run(config, prepare(config), folder, study, timeout_s, args)


def _run(
    config: RunConfig,
    ready: Ready,
    folder: RunFolder,
    study: Study,
    timeout_s: float | None,
    args: argparse.Namespace,
) -> int:
    from rich.console import Console

    from search import runner, tables
    from search.progress import RunDisplay
    from search.sessions import session

    ray = args.executor == "ray"
    if args.workers is None and args.threads is not None and not ray:
        import torch

        torch.set_num_threads(args.threads)
    doing = runner.executor(
        config, ready, args.workers, args.threads or 1, ray=ray, address=args.address
    )
    try:
        with folder.locked(), RunDisplay(Console(stderr=True), quiet=args.json) as watch:
            study.record_session(session(config, ready, args.command))
            outcome = runner.run(
                config, ready, folder, study, watch, timeout_s=timeout_s, make_executor=doing
            )
    except KeyboardInterrupt:
        print(f"interrupted; go on with: search resume {folder.path}", file=sys.stderr)
        return INTERRUPTED
    code = 0
    if args.retrain is not None:
        from search.retraining import retrain_run

        code = retrain_run(folder, study, config, args)
        outcome = dataclasses.replace(outcome, trials=tuple(study.trials()))
    if args.json:
        rejected, halving = study.rejected, config.halving
        arguments.print_json(tables.run_json(folder, study.name, outcome, rejected, halving))
    else:
        tables.summary(arguments.out(), config, folder, outcome, study.rejected)
    return code
