"""How many trainings a searcher needs, on tables in which every network has been trained.

The searchers are those of ``search run``, asked and told as there; what is of use, the
reference point, is part of their task. After each training: the
hypervolume of the networks trained so far over that of the table's true front, and with
``--limit`` how far their best accuracy is below the best of the table. Medians over the seeds.

    python -m benchmarks.tabular table.csv --searcher condense --cost c_latency_ms \\
        --reference 55,82 --trainings 100 --seeds 20 --json

A limit is one that the search keeps, as ``search run`` does: what is outside is never trained, and
the true front is that of the rows inside.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, Table, TableSpace
from results.pareto import hypervolume
from results.storage import quiet_optuna
from results.trial import Estimate, Proposal, Score, Trial
from search_space.errors import UserError
from searchers import SEARCHERS, Admission, Known, SpaceExhausted, make_searcher
from searchers.aims import AIMS, Aim, known_for, most_cost, told_for

SHOWN = (20, 50, 100, 200, 500, 1000)
"""Numbers of trainings after which the figures are shown, besides the last."""
SHARES = (0.90, 0.95, 0.99)
"""Of the true front's hypervolume."""
TIMED = (50, 200)
"""Numbers of told trials at which a suggestion is timed: the mean of five from there."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is searched for in a table.

    Args:
        accuracy: Per cent, ``(rows,)``.
        cost: The objective that is minimised, ``(rows,)``.
        reference: Accuracy and cost from which hypervolumes are measured.
        ratios: Cost over limit by the name of the limit, each ``(rows,)``.
        inputs: What searchers know of each row besides its choices.
        aim: What is sought; hypervolumes are of the front all the same.
    """

    space: TableSpace
    accuracy: np.ndarray
    cost: np.ndarray
    reference: tuple[float, float]
    ratios: Mapping[str, np.ndarray]
    inputs: Mapping[str, np.ndarray]
    aim: Aim = "front"

    @property
    def inside(self) -> np.ndarray:
        """Rows within every limit, ``(rows,)``."""
        within = np.ones(len(self.cost), dtype=bool)
        for ratio in self.ratios.values():
            within &= ratio <= 1
        return within

    def admission(self) -> Admission:
        """The gate of a search: the limits, and what is known before a training."""
        price = np.max([*self.ratios.values(), self.cost / self.cost.max() / 1e9], axis=0)
        cheapest = Row(index=int(price.argmin()), id="")

        def ratios(row: Any) -> dict[str, float]:
            return {name: float(ratio[row.index]) for name, ratio in self.ratios.items()}

        def known(row: Any) -> Known:
            inputs = {name: float(values[row.index]) for name, values in self.inputs.items()}
            return known_for(self.aim, Known(cost=float(self.cost[row.index]), inputs=inputs))

        least, most = self.reference
        return Admission(
            ratios,
            self.space.encode(cheapest),
            known,
            least_accuracy=least / 100,
            most_cost=most_cost(self.aim) or most,
        )

    def trained(self, number: int, proposal: Proposal, row: Row) -> Trial:
        """The trial that the table tells of."""
        cost = float(self.cost[row.index])
        trial = Trial(
            number=number,
            state="complete",
            proposal=proposal,
            # Of an estimate, searchers read the objective alone.
            estimate=Estimate(
                macs=0,
                params=0,
                paper_flops=0,
                latency_ms=cost,
                latency_low_ms=cost,
                latency_high_ms=cost,
            ),
            score=Score(
                accuracy=float(self.accuracy[row.index]) / 100, loss=0.0, epochs=0, wall_s=0.0
            ),
        )
        return told_for(self.aim, trial)


@dataclass(frozen=True, kw_only=True)
class Course:
    """One search.

    Args:
        shares: Hypervolume over the true front's after each training, ``(trainings,)``.
        regrets: Best accuracy inside minus the best trained, in points, ``(trainings,)``.
        suggestion_s: Seconds of each ``ask``, ``(trainings,)``.
    """

    shares: np.ndarray
    regrets: np.ndarray
    suggestion_s: np.ndarray


def search(task: Task, name: str, seed: int, trainings: int) -> Course:
    """Searches; where the space is exhausted before, the last figures stay."""
    searcher = make_searcher(name, task.space, task.admission(), seed)
    rows: list[int] = []
    times: list[float] = []
    for number in range(trainings):
        start = time.perf_counter()
        try:
            proposal = searcher.ask(number)
        except SpaceExhausted:
            break
        times.append(time.perf_counter() - start)
        row = task.space.decode(proposal.choices)
        rows.append(row.index)
        searcher.tell(task.trained(number, proposal, row))
    accuracy, cost, inside = task.accuracy, task.cost, task.inside
    whole = hypervolume(accuracy[inside], cost[inside], task.reference)
    areas = [
        hypervolume(accuracy[rows[:n]], cost[rows[:n]], task.reference)
        for n in range(1, len(rows) + 1)
    ]
    best = np.maximum.accumulate(accuracy[rows])
    rest = trainings - len(rows)
    return Course(
        shares=np.pad(np.array(areas) / whole, (0, rest), mode="edge"),
        regrets=np.pad(accuracy[inside].max() - best, (0, rest), mode="edge"),
        suggestion_s=np.array(times),
    )


def summarise(courses: Sequence[Course], *, limited: bool) -> dict[str, Any]:
    """Medians over the searches; None where the median search did not get there."""
    shares = np.array([course.shares for course in courses])
    regrets = np.array([course.regrets for course in courses])
    trainings = shares.shape[1]
    shown = sorted({n for n in SHOWN if n <= trainings} | {trainings})
    return {
        "hypervolume": {str(n): float(np.median(shares[:, n - 1])) for n in shown},
        "trainings_to": {f"{share:.2f}": _median_first(shares >= share) for share in SHARES},
        "regret": {str(n): float(np.median(regrets[:, n - 1])) for n in shown} if limited else {},
        "seconds_per_suggestion": {
            str(n): float(np.median(times))
            for n in TIMED
            if (
                times := [
                    c.suggestion_s[n : n + 5].mean() for c in courses if len(c.suggestion_s) > n
                ]
            )
        },
    }


def _median_first(reached: np.ndarray) -> float | None:
    """The median over rows of the 1-based position of the first true value."""
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
    # The middle two of an even number may be a number and infinity.
    median = float(np.mean(np.sort(first)[[(len(first) - 1) // 2, len(first) // 2]]))
    return None if math.isinf(median) else median


# --- The command ------------------------------------------------------------------------------


def make_task(args: argparse.Namespace) -> Task:
    """What the arguments ask for; raises UserError where they or the table do not allow it."""
    table = Table(args.table)
    limits = dict(_limit(text) for text in args.limit)
    ratios = {name: table.column(name) / value for name, value in limits.items()}
    side = [] if args.no_side else table.named("p_")
    task = Task(
        space=TableSpace(table),
        accuracy=table.column(args.accuracy),
        cost=table.column(args.cost),
        reference=_reference(args.reference),
        ratios=ratios,
        inputs={name: table.columns[name] for name in [*table.named("c_"), *side]},
        aim=args.aim,
    )
    inside = task.inside
    if not inside.any():
        raise UserError(f"--limit {' --limit '.join(args.limit)}: no row is inside")
    if hypervolume(task.accuracy[inside], task.cost[inside], task.reference) == 0:
        raise UserError(f"--reference {args.reference}: no row inside is better than this")
    return task


def _number(text: str, argument: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{argument}: {text!r} must be a number")
    return value


def _reference(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise UserError(f"--reference {text!r} must be an accuracy and a cost, such as 55,82")
    accuracy, cost = (_number(part, f"--reference {text}") for part in parts)
    return accuracy, cost


def _limit(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    value = _number(number, f"--limit {text}") if equals else 0.0
    if value <= 0:
        raise UserError(f"--limit {text!r} must be a column and a positive number: c_macs_m=50")
    return name, value


def _whole(text: str, argument: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{argument} {text!r} must be a whole number of at least 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tabular", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("table", type=Path, metavar="TABLE.csv")
    add("--searcher", default="condense", help=", ".join(SEARCHERS))
    add("--cost", required=True, metavar="c_COLUMN", help="the objective besides accuracy")
    add("--accuracy", default="acc", metavar="COLUMN", help="default %(default)s")
    add("--reference", required=True, metavar="ACC,COST", help="where hypervolumes begin")
    add("--limit", action="append", default=[], metavar="c_COLUMN=VALUE", help="a hard limit")
    add("--aim", default="front", choices=AIMS, help="what is sought (default %(default)s)")
    add("--trainings", default="100", metavar="N", help="of each search (default %(default)s)")
    add("--seeds", default="20", metavar="K", help="searches (default %(default)s)")
    add("--no-side", action="store_true", help="hide the columns p_*")
    add("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Searches and prints; 2 where the arguments or the table are not usable."""
    args = _parser().parse_args(arguments)
    quiet_optuna()
    try:
        trainings = _whole(args.trainings, "--trainings")
        seeds = _whole(args.seeds, "--seeds")
        task = make_task(args)
        courses = [search(task, args.searcher, seed, trainings) for seed in range(seeds)]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    summary = summarise(courses, limited=bool(args.limit))
    print(json.dumps(summary) if args.json else _text(summary))
    return 0


def _text(summary: Mapping[str, Mapping[str, float | None]]) -> str:
    lines = []
    for name, figures in summary.items():
        values = (f"{key}: {'-' if v is None else f'{v:.4g}'}" for key, v in figures.items())
        if figures:
            lines.append(f"{name.replace('_', ' '):24}" + "   ".join(values))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
