"""What the command shows when it is done: tables for people, dicts for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from latency_models import Latency
from results.diagram import COLUMNS, parts
from results.tables import most_accurate, pareto_front
from results.trial import Estimate, Trial
from search.rung_tables import compared, rungs_json, rungs_table
from search_space import Cost, NetworkSpec, format_count
from search_space.budget import counted
from searchers.rungs import Halving

if TYPE_CHECKING:
    from results.folder import RunFolder
    from search.config import RunConfig
    from search.runner import Outcome


def interval(estimate: Estimate) -> str:
    """``76.0 [41.3, 155.1]``"""
    low, high = estimate.latency_low_ms, estimate.latency_high_ms
    return f"{estimate.latency_ms:.1f} [{low:.1f}, {high:.1f}]"


def turned_away(rejected: Mapping[str, int]) -> str:
    """Proposals that never became trials, by reason."""
    return ", ".join(f"{reason} {n}" for reason, n in sorted(rejected.items())) or "none"


def _retrained(trial: Trial) -> str:
    """The validation accuracy after full training, else that of the test; empty without one."""
    if trial.retrained is None:
        return ""
    held_out = trial.retrained.accuracy
    return f"{trial.retrained.test_accuracy if held_out is None else held_out:.1%}"


def trials_table(title: str, trials: Sequence[Trial], device: str) -> Table:
    """Complete trials in this order; their latency was predicted on ``device``."""
    full = any(trial.retrained for trial in trials)
    table = Table(title=title)
    columns = ["network", "accuracy", *["retrained"] * full, "MACs", "params"]
    for name in (*columns, f"ms on {device}"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for trial in trials:
        assert trial.score is not None
        e = trial.estimate
        table.add_row(
            f"{trial.number}: {trial.proposal.spec.id}",
            f"{trial.score.accuracy:.1%}",
            *[_retrained(trial)] * full,
            format_count(e.macs),
            format_count(e.params),
            interval(e),
        )
    return table


def summary(
    console: Console,
    config: RunConfig,
    folder: RunFolder,
    outcome: Outcome,
    rejected: dict[str, int],
) -> None:
    """The Pareto front, the best network and what to type next."""
    trials = outcome.trials
    front = pareto_front(trials)
    halving = config.halving
    title = "Pareto front: proxy accuracy against predicted latency"
    console.print(trials_table(title, front[::-1], config.limits.device.key))
    if halving is not None:
        rungs_table(console, halving, trials)
    failed = sum(t.state == "failed" for t in trials)
    done = sum(t.state == "complete" for t in trials)
    lines = [
        f"{counted(done, 'network')} scored, {failed} failed;"
        f" proposals turned away: {turned_away(rejected)}"
    ]
    if halving is not None and front:
        lines.append(compared(halving, trials))
    if outcome.stopped:
        lines.append(f"Stopped before {config.trials} networks: {outcome.stopped}")
    if front:
        lines.append(f"Best architecture: {folder.best}")
    lines += [
        f"Trained in full:   {folder.path / t.retrained.folder}" for t in trials if t.retrained
    ]
    if caution := config.limits.device.caution:
        lines.append(f"Note: {caution}")
    lines += ["Next:", *(f"  {command}" for command in next_commands(folder, config, bool(front)))]
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def retrained_entry(folder: RunFolder, trial: Trial) -> dict[str, Any]:
    """A winner for machines: what it was scored and what it reached."""
    assert trial.score is not None
    assert trial.retrained is not None
    return {
        "number": trial.number,
        "architecture": trial.proposal.spec.id,
        "searched_accuracy": trial.score.accuracy,
        **asdict(trial.retrained),
        "folder": str(folder.path / trial.retrained.folder),
    }


def retrained_table(console: Console, folder: RunFolder, trials: Sequence[Trial]) -> None:
    """The winners, scored briefly and trained in full."""
    table = Table(title="Trained in full: accuracy of the condensed networks")
    for name in ("network", "searched", "retrained", "test", "epochs"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for trial in trials:
        assert trial.score is not None
        assert trial.retrained is not None
        full = trial.retrained
        table.add_row(
            f"{trial.number}: {trial.proposal.spec.id}",
            f"{trial.score.accuracy:.1%}",
            "" if full.accuracy is None else f"{full.accuracy:.1%}",
            f"{full.test_accuracy:.1%}",
            str(full.epochs),
        )
    console.print(table)
    lines = [f"  {folder.path / t.retrained.folder}" for t in trials if t.retrained]
    console.print("Written:", *lines, sep="\n", highlight=False, soft_wrap=True, markup=False)


def next_commands(folder: RunFolder, config: RunConfig, found: bool) -> list[str]:
    """What a user types after a search."""
    more = f"search resume {folder.path} --trials {2 * config.trials}"
    looking = [f"search report {folder.path}", f"search cost {folder.best}"] if found else []
    return [*looking, f"search dashboard {folder.path}", more]


def run_json(
    folder: RunFolder,
    study: str,
    outcome: Outcome,
    rejected: dict[str, int],
    halving: Halving | None = None,
) -> dict[str, Any]:
    """The summary for machines."""
    found = study_json(folder, study, outcome.trials, rejected, halving)
    return {**found, "stopped": outcome.stopped}


def study_json(
    folder: RunFolder,
    study: str,
    trials: Sequence[Trial],
    rejected: dict[str, int],
    halving: Halving | None = None,
) -> dict[str, Any]:
    """What a study holds: trials by state, the best, the front, and rungs where there are any."""

    best = most_accurate(trials)
    states = {s: sum(t.state == s for t in trials) for s in ("complete", "failed", "running")}
    return {
        "run": str(folder.path),
        "study": study,
        "storage": folder.storage,
        **states,
        "rejected": rejected,
        "best": trial_json(best) | {"path": str(folder.best)} if best else None,
        "pareto": [trial_json(t) for t in pareto_front(trials)],
        **(rungs_json(halving, trials) if halving is not None else {}),
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    """A trial that is complete, for machines."""
    assert trial.score is not None
    return {
        "number": trial.number,
        "architecture": trial.proposal.spec.id,
        **asdict(trial.score),
        **asdict(trial.estimate),
        "retrained": trial.retrained and asdict(trial.retrained),
    }


def cost_table(
    console: Console, name: str, spec: NetworkSpec, cost: Cost, latency: Latency, device: str
) -> None:
    """The network by stage, then its totals."""
    console.print(f"{name}: {spec}", highlight=False, soft_wrap=True, markup=False)
    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in parts(spec):
        table.add_row(*part.row)
    console.print(table)
    totals = {
        "condensed": f"{cost.macs:,} MACs, {cost.params:,} parameters",
        "in training": f"{cost.training_macs:,} MACs, {cost.training_params:,} parameters",
        "authors' counter": f"{cost.paper_flops:,} FLOPs, {cost.paper_params:,} parameters"
        f" ({cost.paper_convention})",
        "gathered": f"{cost.gather_elements:,} elements",
        "activations": f"{cost.activations:,} elements, at most {cost.peak_activation_mb:.1f} MB"
        " alive",
        device: f"{latency} {_rests_on(latency)}",
    }
    lines = [f"{label:<22} {text}" for label, text in totals.items()]
    lines += [f"{'not measured there':<22} {text}" for text in latency.extrapolated]
    lines += [f"{'not priced':<22} {text}" for text in latency.unpriced]
    lines += [f"{'note':<22} {latency.note}"] * bool(latency.note)
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def _rests_on(latency: Latency) -> str:
    """What the interval holds for."""
    if latency.note:
        return "for networks like those of the note"
    return "where the parts below are at most twice off" if latency.extrapolated else "90 %"
