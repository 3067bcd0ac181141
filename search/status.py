"""The command ``status``: what the study of a run holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from search import arguments
from search_space.budget import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping


def status(args: argparse.Namespace) -> int:
    """Tells what a run holds, while it goes on or afterwards."""
    from results.folder import RunFolder
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
    if args.json:
        arguments.print_json({**found, "trials": config.trials})
        return 0
    print("\n".join(_lines(found, config.trials)))
    if halving is not None:
        rungs_table(arguments.out(), halving, trials)
    return 0


def _lines(found: Mapping[str, Any], wanted: int) -> list[str]:
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
        "best": told,
        "turned away": turned_away(found["rejected"]),
    }
    return [f"{label:<12} {text}" for label, text in lines.items()]
