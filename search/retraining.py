"""The winners of a study trained in full: the command ``retrain``, and what ``run`` does after it.

Each winner's folder is ``RUN/retrained/TRIAL-RECIPE-SEED``, or another folder's
``TRIAL-RECIPE-SEED``; what it reached is written into the study.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from search import arguments
from search.arguments import INTERRUPTED, add_json, add_recipe, chosen_recipe
from search.training import add_machine, full_training, is_first_process, train_watched
from search_space.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from results.folder import RunFolder
    from results.study import Study
    from results.trial import Retrained, Trial
    from search.config import RunConfig
    from search.full_training import FullTraining
    from search.trained_folder import Result
    from search_space import NetworkSpec
    from trainers.recipe import Recipe

RETRAINED = "retrained"
EXPORTED = "torchscript"
"""What winners are exported to unless told otherwise; it needs no further library."""


def add_retrain(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search retrain``."""
    parser.add_argument(
        "run", type=arguments.to_path, metavar="RUN", help="folder that `search run` wrote"
    )
    parser.add_argument(
        "--top", type=int, default=1, metavar="K", help="winners to train (default %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=arguments.to_path,
        help=f"where a folder for each is made (default RUN/{RETRAINED})",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where winners were begun or are complete"
    )
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    add_recipe(parser)
    add_machine(parser)
    parser.set_defaults(format=[EXPORTED])
    add_json(parser)


def retrain(args: argparse.Namespace) -> int:
    """Trains the winners of a study with the full schedule of their space's paper."""
    from results.folder import RunFolder
    from results.storage import quiet_optuna
    from search.config import RunConfig

    quiet_optuna()
    if args.top < 1:
        raise UserError(f"--top {args.top} must be at least 1")
    folder = RunFolder.open(args.run)
    study = folder.study()
    config = RunConfig.from_settings(study.settings)
    recipe = chosen_recipe(args, default_recipe(config))
    if args.resolution is None:
        args.resolution = default_resolution(config)

    def training(name: str, spec: NetworkSpec) -> FullTraining:
        return full_training(args, name, spec, recipe, config.data)

    again = f"search retrain {folder.path} --top {args.top} --resume, with the same options"
    out = args.out or folder.path / RETRAINED
    done = retrain_winners(folder, study, args.top, training, args, again, out)
    if done is None:
        return INTERRUPTED
    _show(folder, done, args.json)
    return 0


def default_recipe(config: RunConfig) -> Recipe:
    """The paper's of the run's space; for the digits, which are a demonstration, a quick one."""
    from trainers.recipes import CIFAR_PIXELS, RECIPES

    if config.data == "digits":
        return RECIPES["quick"]
    # The spaces are CondenseNetV2's, and what is near it.
    small = config.space.image_size <= CIFAR_PIXELS
    return RECIPES["condensenetv2-cifar" if small else "condensenetv2-imagenet"]


def default_resolution(config: RunConfig) -> int:
    """The space's, but for the digits, of 8 x 8 pixels, that of the search's longest trainings."""
    return config.rungs[-1].resolution if config.data == "digits" else config.space.image_size


def retrain_run(
    folder: RunFolder, study: Study, config: RunConfig, args: argparse.Namespace
) -> int:
    """What ``search run --retrain K`` does at its end."""
    from search.full_training import FullTraining
    from trainers.recipes import recipe

    chosen = recipe(args.retrain_recipe) if args.retrain_recipe else default_recipe(config)

    def training(name: str, spec: NetworkSpec) -> FullTraining:
        return FullTraining(
            network=name,
            spec=spec,
            data=config.data,
            recipe=chosen,
            seed=config.seed,
            resolution=default_resolution(config),
            formats=(EXPORTED,),
        )

    args.resume = True
    again = f"search retrain {folder.path} --top {args.retrain} --resume --seed {config.seed}"
    if args.retrain_recipe:
        again += f" --recipe {args.retrain_recipe}"
    out = folder.path / RETRAINED
    done = retrain_winners(folder, study, args.retrain, training, args, again, out)
    return INTERRUPTED if done is None else 0


def retrain_winners(
    folder: RunFolder,
    study: Study,
    top: int,
    training: Callable[[str, NetworkSpec], FullTraining],
    args: argparse.Namespace,
    again: str,
    out: Path,
) -> list[Trial] | None:
    """Trains the winners one after the other and writes what they reached into the study.

    ``training`` makes one of what to call a network and the network; ``again`` are the words for
    how to go on where it is interrupted; in ``out`` each winner has a folder.

    Returns:
        Their trials; None where it was interrupted.

    Raises:
        UserError: the study has no complete trial, or a training cannot be done.
    """
    from results.tables import winners
    from search.config import RunConfig

    of_front = RunConfig.from_settings(study.settings).aim == "front"
    chosen = winners(study.trials(), top, of_front=of_front)
    if not chosen:
        raise UserError(f"{folder.path} has no scored network yet; search first")
    done: list[Trial] = []
    for trial in chosen:
        config = training(f"trial {trial.number} of {study.name}", trial.proposal.spec)
        name = f"{trial.number}-{config.recipe.name}-{config.seed}"
        result = train_watched(config, out / name, args, again)
        if result is None:
            return None
        if is_first_process():
            path = (out / name).resolve()
            of_run = path.is_relative_to(folder.path.resolve())
            kept = path.relative_to(folder.path.resolve()) if of_run else path
            done.append(study.record_retrained(trial.number, _retrained(result, str(kept))))
            folder.write_results(study.trials())
    return done


def _retrained(result: Result, folder: str) -> Retrained:
    from results.trial import Retrained

    return Retrained(
        accuracy=None if result.validation is None else result.validation.top1,
        test_accuracy=result.test.top1,
        recipe=result.recipe,
        epochs=result.epochs,
        folder=folder,
    )


def _show(folder: RunFolder, done: Sequence[Trial], as_json: bool) -> None:
    from search.tables import retrained_entry, retrained_table

    if as_json:
        arguments.print_json([retrained_entry(folder, trial) for trial in done])
    elif done:
        retrained_table(arguments.out(), folder, done)
