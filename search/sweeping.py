"""The command ``sweep``: the same training of networks that differ in one choice, with seeds.

Each training has a folder ``OUT/NETWORK/VARIATION/seed-N`` as ``search train`` leaves it. The same
command goes on where it was left; started several times at once, the processes share the work.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from search import arguments
from search.arguments import (
    DATA,
    INTERRUPTED,
    NETWORK,
    absolute_data,
    add_json,
    add_recipe,
    chosen_recipe,
    find_network,
    label,
    setting,
)
from search.training import (
    add_machine,
    folder_for_all,
    full_training,
    is_first_process,
    train_watched,
)
from search_space.budget import counted
from search_space.errors import SpecError, UserError

if TYPE_CHECKING:
    from results.sweep import SweepRow
    from search.full_training import FullTraining
    from search.trained_folder import Result
    from search_space import NetworkSpec
    from trainers.recipe import Recipe

MOST_SEEDS = 1_000
Choice = tuple[str, str]
"""What is varied, and its value as text."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One training of a sweep and where it is kept."""

    choices: tuple[Choice, ...]
    training: FullTraining
    folder: Path


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search sweep``."""
    from search_space.variations import SHORT, VARIATIONS

    parser.add_argument("networks", nargs="+", metavar="NET", help=NETWORK)
    known = ", ".join([*VARIATIONS, *SHORT])
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help=f"{known}, or a setting of the recipe such as pruning; every combination is trained"
        " where it is repeated, and the first is what is drawn along a line",
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first (default %(default)s)")
    parser.add_argument("--data", default="digits", help=f"{DATA} (default %(default)s)")
    parser.add_argument(
        "--out", type=arguments.to_path, help="folder to fill or go on with (default runs/...)"
    )
    add_recipe(parser)
    add_machine(parser)
    parser.add_argument("--resume", action="store_true", help="need not be said: it always does")
    add_json(parser)


def sweep(args: argparse.Namespace) -> int:
    """Trains variations of networks with several seeds; writes a table and draws the errors."""
    from search.trained_folder import Busy, Diverged

    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds} must be at least 1")
    if args.seeds > MOST_SEEDS:
        raise UserError(f"--seeds {args.seeds} must be at most {MOST_SEEDS:,}")
    out = args.out or folder_for_all(args, f"sweep-{label(args.networks[0])}")
    plans = planned(args, out)
    _check_untaken(out)
    args.resume = True
    again = f"the same command with --out {out}"
    diverged: list[str] = []
    for i, plan in enumerate(plans, start=1):
        if not args.json and is_first_process():
            print(f"[{i}/{len(plans)}] {plan.folder}", file=sys.stderr, flush=True)
        try:
            result = train_watched(plan.training, plan.folder, args, again)
        except Busy:
            continue
        except Diverged as error:
            diverged.append(f"{plan.folder}: {error}")
            continue
        if result is None:
            return INTERRUPTED
    if is_first_process():
        _write_and_show(plans, out, args, diverged=len(diverged))
    if diverged:
        count = counted(len(diverged), "training")
        raise UserError(f"{count} of the sweep came to nothing: {'; '.join(diverged)}")
    return 0


def _check_untaken(out: Path) -> None:
    """Raises UserError where the folder holds files that no sweep wrote."""
    from results.sweep import FILES

    for path in sorted(out.iterdir()) if out.is_dir() else ():
        if path.is_file() and path.name[0] != "." and path.name not in FILES:
            raise UserError(f"{out} holds {path.name}, which no sweep wrote; choose another --out")


# --- What is trained ---------------------------------------------------------------------------


def planned(args: argparse.Namespace, out: Path) -> list[Planned]:
    """All trainings, seeds last, so that every variation is seen early.

    Raises:
        UserError: a variation is not known, one of the networks cannot exist, or two trainings
            would have the same folder.
    """
    from search_space.variations import SHORT
    from trainers.recipes import paper_recipe

    axes = [_axis(text) for text in args.vary]
    varied = [SHORT.get(axis[0][0], axis[0][0]) for axis in axes]
    if twice := [name for name in varied if varied.count(name) > 1]:
        raise UserError(f"--vary {twice[0]} is given twice; name all its values at once")
    data = absolute_data(args.data)
    plans: list[Planned] = []
    for seed in range(args.seed, args.seed + args.seeds):
        for name in args.networks:
            spec = find_network(name)
            base = chosen_recipe(args, paper_recipe(spec))
            for choices in product(*axes):
                changed, recipe = _changed(spec, base, choices)
                words = ",".join(f"{key}={value}" for key, value in choices) or "as-it-is"
                training = full_training(args, label(name), changed, recipe, data, seed=seed)
                training.check()
                folder = out / label(name) / words / f"seed-{seed}"
                plans.append(Planned(choices=choices, training=training, folder=folder))
    for folder, times in Counter(plan.folder for plan in plans).items():
        if times > 1:
            raise UserError(f"{folder} would hold {times} trainings; name networks and values once")
    return plans


def _axis(text: str) -> list[Choice]:
    name, equals, values = text.partition("=")
    chosen = arguments.names([values])
    if not equals or not chosen:
        raise UserError(f"--vary {text!r} must be NAME=VALUE,VALUE, such as groups=1,2,4,8")
    return [(name.strip(), value) for value in chosen]


def _changed(
    spec: NetworkSpec, recipe: Recipe, choices: Sequence[Choice]
) -> tuple[NetworkSpec, Recipe]:
    """Network and recipe with every choice made; a name is of the one or of the other."""
    from search_space.variations import SHORT, VARIATIONS, vary

    order, settings = list(VARIATIONS), list(recipe.to_dict())
    of_network: list[Choice] = []
    for name, value in choices:
        if SHORT.get(name, name) in VARIATIONS:
            of_network.append((SHORT.get(name, name), value))
        elif name in settings:
            recipe = recipe.replace(**{name: setting(recipe, name, value)})
        else:
            known = ", ".join([*VARIATIONS, *SHORT])
            raise UserError(
                f"--vary {name}: nothing is called so; known of a network: {known}; of a recipe:"
                f" {', '.join(settings)}"
            )
    for name, value in sorted(of_network, key=lambda choice: order.index(choice[0])):
        try:
            spec = vary(spec, name, value)
        except SpecError as error:
            raise UserError(f"--vary {name}={value} makes no network: {error}") from None
    return spec, recipe


# --- What came of it ---------------------------------------------------------------------------


def _write_and_show(
    plans: Sequence[Planned], out: Path, args: argparse.Namespace, *, diverged: int
) -> None:
    import pandas as pd

    from results.sweep import FIGURES, FILES, summary_frame, summary_markdown, write_sweep
    from results.sweep_figure import draw_sweep
    from search.trained_folder import read_result

    results = [(plan, read_result(plan.folder)) for plan in plans]
    rows = [_row(plan, result) for plan, result in results if result is not None]
    if rows:
        write_sweep(rows, out)
        for x, name in FIGURES.items():
            draw_sweep(rows, out / name, x=x)
    missing = len(plans) - len(rows)
    if args.json:
        # A single seed has no deviation, and JSON no NaN.
        summary = summary_frame(rows).astype(object) if rows else pd.DataFrame()
        lines = summary.where(summary.notna(), None).to_dict("records")
        counts = {"complete": len(rows), "missing": missing, "diverged": diverged}
        arguments.print_json({"out": str(out), **counts, "summary": lines})
        return
    if elsewhere := missing - diverged:
        print(
            f"{counted(elsewhere, 'training')} left to other processes; the last of them writes the"
            " whole table"
        )
    if rows:
        print(summary_markdown(rows))
        print(f"Written: {out} ({', '.join(FILES)})")


def _row(plan: Planned, result: Result) -> SweepRow:
    """The training's line: judged on the images held out, or on the test's if there are none."""
    from results.sweep import SweepRow

    judged = result.validation or result.test
    (name, value), *others = plan.choices or (("as it is", ""),)
    line = ", ".join([name, *(f"{key} {text}" for key, text in others)])
    return SweepRow(
        network=result.network,
        variation=line,
        value=value,
        seed=result.seed,
        macs=result.macs,
        params=result.params,
        top1=judged.top1,
        top5=judged.top5,
        loss=judged.loss,
        epochs=result.epochs,
        wall_s=result.wall_s,
        split="validation" if result.validation else "test",
    )
