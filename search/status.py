"""The command ``status``: what the study of a run holds."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from search import arguments
from search_space.budget import counted, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.remaining import Remaining


def status(args: argparse.Namespace) -> int:
    """Tells what a run holds, while it goes on or afterwards."""
    from results.folder import RunFolder
    from results.remaining import remaining
    from results.storage import quiet_optuna
    from search.config import RunConfig
    from search.rung_tables import rungs_table
    from search.tables import study_json

    quiet_optuna()
    folder = RunFolder.open(args.run)
    study = folder.study()
    trials, config = study.trials(), RunConfig.from_settings(study.settings)
    halving = config.halving
    found = study_json(folder, study.name, trials, study.rejected, halving)
    left = remaining(trials, config.trials)
    if args.json:
        eta = {**asdict(left), "eta_s": left.eta_s}
        arguments.print_json({**found, "trials": config.trials, "remaining": eta})
        return 0
    print("\n".join(_lines(found, config.trials, left)))
    if halving is not None:
        rungs_table(arguments.out(), halving, trials)
    return 0


def _lines(found: Mapping[str, Any], wanted: int, left: Remaining) -> list[str]:
    from search.tables import turned_away

    states = ", ".join(f"{found[state]} {state}" for state in ("complete", "running", "failed"))
    best = found["best"]
    told = "none yet"
    if best:
        told = (
            f"{best['number']}: {best['architecture']}, {best['accuracy']:.1%},"
            f" {format_count(best['macs'])} MACs, {best['latency_ms']:.1f} ms"
        )
    lines = {
        "run": f"{found['run']}, study {found['study']}",
        "networks": f"{states}; {wanted} to be scored",
        "time left": _time_left(left, found["run"]),
        "best": told,
        "turned away": turned_away(found["rejected"]),
    }
    return [f"{label:<12} {text}" for label, text in lines.items()]


def _time_left(left: Remaining, run: str) -> str:
    """The time until all are scored, and what it is reckoned from."""
    if not left.networks:
        return "none, all are scored"
    if left.seconds_each is None or left.training_s is None:
        return "not known before the first network is scored"
    each = format_seconds(left.seconds_each)
    reckoned = f"{counted(left.networks, 'network')}, {each} of training each in the mean"
    if left.eta_s is None:
        one = format_seconds(left.training_s)
        return f"nobody trains; {one} for one worker ({reckoned}): search resume {run}"
    eta = format_seconds(left.eta_s)
    return f"about {eta} ({reckoned}, {left.training} at once)"
