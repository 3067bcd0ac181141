"""What ``search explain`` shows to people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from results.reuse_tables import kept, updated
from search.single_change import LEAST_SAVING, PricedChange, SingleChanges
from search.spending import Spent, by_kind, by_part
from search_space import format_count
from search_space.budget import counted

if TYPE_CHECKING:
    from search.drawing import Drawn
    from search.explaining import Explained
    from search_space.connections import Connections

MOST_KERNELS = 8
"""Single kernels that are named."""
MOST_CHANGES = 5
"""Changes of either sort that are named."""


def show(console: Console, e: Explained) -> None:
    """Parts, kinds of kernels, the slowest kernels, topology, single changes."""
    _say(console, f"{e.subject.name}: {e.subject.spec}")
    _say(
        console,
        f"{e.cost.macs:,} MACs, {e.cost.params:,} parameters, {e.latency} on {e.on.key}",
        *(f"not measured there: {text}" for text in e.latency.extrapolated),
        *(f"not priced: {text}" for text in e.latency.unpriced),
        *[f"note: {e.latency.note}"] * bool(e.latency.note),
    )
    ms = e.latency.ms
    parts, kinds = by_part(e.subject.spec, e.kernels), by_kind(e.kernels)
    _show_table(console, "By part", _parts_table(parts, ms, e.cost.macs, e.cost.params))
    _show_table(console, "By kind of kernel", _kinds_table(kinds, ms))
    rest = ms - sum(kind.ms or 0.0 for kind in kinds)
    if rest > 1e-9 * ms:
        _say(console, f"{rest:.2f} ms are for activations and pooling, as the device's counter has")
    _show_table(console, "The slowest kernels", _kernels_table(e, ms))
    _show_table(console, "Topology of each stage (SparseNet, table 1)", _topology_table(e))
    _show_changes(console, e.changes, e.on.key)


def _table(*columns: str) -> Table:
    """The first column holds words, the others figures."""
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=number == 0)
    return table


def _say(console: Console, *lines: str) -> None:
    if lines:
        console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def _show_table(console: Console, title: str, table: Table) -> None:
    _say(console, title)
    console.print(table)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _time(own_ms: float | None, ms: float) -> tuple[str, str]:
    """Milliseconds and their share; blank where there is no price."""
    return ("", "") if own_ms is None else (f"{own_ms:.2f}", _share(own_ms, ms))


def _parts_table(parts: Sequence[Spent], ms: float, macs: int, params: int) -> Table:
    columns = ("MACs", "", "params", "", "kernels", "executed MACs", "ms", "")
    table = _table("part", *columns)
    for p in parts:
        table.add_row(
            p.name,
            *(format_count(p.macs or 0), _share(p.macs or 0, macs)),
            *(format_count(p.params or 0), _share(p.params or 0, params)),
            *(str(p.kernels), format_count(p.executed_macs), *_time(p.ms, ms)),
        )
    return table


def _kinds_table(kinds: Sequence[Spent], ms: float) -> Table:
    table = _table("kind", "kernels", "executed MACs", "ms", "")
    for k in kinds:
        table.add_row(k.name, str(k.kernels), format_count(k.executed_macs), *_time(k.ms, ms))
    return table


def _kernels_table(e: Explained, ms: float) -> Table:
    table = _table("of", "kernel", "executed MACs", "ms", "")
    table.columns[1].justify = "left"
    for k in sorted(e.kernels, key=lambda k: -(k.ms or 0.0))[:MOST_KERNELS]:
        table.add_row(k.step, str(k), format_count(k.kernel.macs), *_time(k.ms, ms))
    return table


def _topology_table(e: Explained) -> Table:
    columns = ("layers", "links", "that skip layers", "largest fan-in", "shortest gradient path")
    table = _table("stage", *columns)
    for number, t in enumerate(e.topologies, start=1):
        if t is None:
            table.add_row(f"stage{number}", "halves are shuffled: no rule of links")
            continue
        figures = (t.depth, t.links, t.skips, t.largest_fan_in, t.gradient_path)
        table.add_row(f"stage{number}", *map(str, figures))
    return table


# --- Single changes -------------------------------------------------------------------------------


def _show_changes(console: Console, changes: SingleChanges, device: str) -> None:
    _say(
        console,
        f"Single changes: {counted(len(changes.priced), 'network')} that differ in one choice of"
        f" one stage, each priced as this one on {device};",
        f"savings of less than {LEAST_SAVING:.0%} of the time are left out. Accuracy is not known:"
        " what is lost is MACs.",
    )
    if not changes.best:
        _say(console, "None of them saves that much.")
        return
    table = _table("change", "saves ms", "loses MACs", "ms per million MACs")
    shown = (*changes.free[:MOST_CHANGES], *changes.paid[:MOST_CHANGES])
    for change in shown:
        table.add_row(*_cells(change))
    console.print(table)
    _say(
        console,
        *(f"? not measured there: {d}" for d in _ordered(d for c in shown for d in c.doubts)),
    )
    if changes.free:
        _say(console, f"Saves most at no cost in MACs: {_named(changes.best)}")
    if changes.paid:
        _say(console, f"Saves most per MAC that is lost: {_named(changes.best_paid)}")


def _cells(change: PricedChange) -> tuple[str, str, str, str]:
    lost, worth = change.lost_macs, change.worth
    macs = format_count(lost) if lost > 0 else f"adds {format_count(-lost)}" if lost else "none"
    per_macs = "free" if worth is None else f"{worth:.3f}"
    return (
        str(change.neighbour),
        f"{change.saved_ms:.2f}{'?' * bool(change.doubts)}",
        macs,
        per_macs,
    )


def _named(best: Sequence[PricedChange]) -> str:
    first, *tied = [f"{change.neighbour}{' ?' * bool(change.doubts)}" for change in best]
    return f"{first}; tied with {', '.join(tied)}" if tied else first


# --- With weights ---------------------------------------------------------------------------------


def show_drawn(console: Console, drawn: Drawn) -> None:
    """What was kept, what is reactivated, and where the pictures are."""
    if drawn.missing:
        _say(console, drawn.missing)
        return
    for name, found in drawn.connections.items():
        _show_kept(console, name, found)
    if any(found.updates for found in drawn.connections.values()):
        title = "How often each layer is reactivated, and how much of it"
        _show_table(console, title, _updates_table(drawn))
    _say(console, *(f"{name}: these weights were not trained" for name in drawn.untrained))
    _say(console, "Written:", *(f"  {path}" for path in drawn.written))


def _show_kept(console: Console, name: str, found: Connections) -> None:
    rows = kept(found)
    if not rows:
        _say(console, f"{name}: no layer has dropped anything")
        return
    parts = _ordered(part for row in rows for part in row.shares)
    columns = ("groups", "keep", "of", "read by none", *(f"of {part}" for part in parts))
    table = _table("layer", *columns)
    for r in rows:
        shares = [f"{r.shares[p]:.0%}" if p in r.shares else "" for p in parts]
        table.add_row(r.layer, str(r.groups), f"{r.kept:g}", str(r.inputs), str(r.unread), *shares)
    _show_table(console, f"{name}: what each filter group kept, and of which part", table)


def _updates_table(drawn: Drawn) -> Table:
    """Layers that reactivate each layer, of those that might, and the share of its features."""
    found = {name: updated(c) for name, c in drawn.connections.items()}
    table = _table("layer", *found)
    for rows in zip(*found.values(), strict=True):
        cells = (f"{r.updating} of {r.layers}, {r.mean_share:.0%}" for r in rows)
        table.add_row(rows[0].source, *cells)
    return table


def _ordered(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
