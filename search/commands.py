"""One function per command: from parsed arguments to an exit code.

Heavy libraries are imported inside the functions, so that ``search --help`` answers at once.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from search import arguments
from search.arguments import find_network, out, print_json
from search_space.budget import format_count
from search_space.errors import UserError

if TYPE_CHECKING:
    from search_space import NetworkSpec


def cost(args: argparse.Namespace) -> int:
    """Prices a network without building it."""
    from dataclasses import asdict

    import search_space
    from latency_models import predict

    spec = find_network(args.network)
    price = search_space.cost(spec, convention=args.convention)
    latency = predict(spec, args.device)
    checked = _check(spec, price) if args.check else {}
    if args.json:
        ms = {"device": args.device, **asdict(latency)}
        print_json(
            {"network": args.network, "id": spec.id, **price.to_dict(), "latency": ms, **checked}
        )
        return 0
    from search.tables import cost_table

    cost_table(out(), args.network, spec, price, latency, args.device)
    if checked:
        print(f"{'built and counted':<22} {checked['fvcore_macs']:,} MACs: equal")
    return 0


def _check(spec: NetworkSpec, price: Any) -> dict[str, int]:
    from search.check import fvcore_macs

    counted = fvcore_macs(spec)
    if counted != price.macs:
        raise AssertionError(f"fvcore counts {counted} MACs, the cost model {price.macs}")
    return {"fvcore_macs": counted}


def models(args: argparse.Namespace) -> int:
    """Lists the networks of the zoo."""
    from latency_models import predict
    from search_space import ZOO
    from search_space import cost as price

    rows: list[dict[str, Any]] = []
    for name, spec in ZOO.items():
        c = price(spec)
        rows.append(
            {
                "name": name,
                "id": spec.id,
                "image_size": spec.image_size,
                "classes": spec.classes,
                "macs": c.macs,
                "params": c.params,
                "paper_flops": c.paper_flops,
                "latency_ms": predict(spec, args.device).ms,
            }
        )
    if args.json:
        print_json(rows)
        return 0
    from rich.table import Table

    table = Table(title="Networks of the papers, condensed")
    for column in ("network", "input", "MACs", "params", "authors' count", f"ms on {args.device}"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        table.add_row(
            str(row["name"]),
            f"{row['image_size']}x{row['image_size']}",
            *(format_count(row[key]) for key in ("macs", "params", "paper_flops")),
            f"{row['latency_ms']:.1f}",
        )
    out().print(table)
    return 0


def profile(args: argparse.Namespace) -> int:
    """Tells how much of a space a budget leaves."""
    import numpy as np

    from search_space import macs
    from search_space.admission import QUANTILES
    from search_space.admission import profile as measure

    if args.samples < 1:
        raise UserError(f"--samples {args.samples} must be at least 1")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed} must be at least 0")
    chosen, limits = arguments.space(args), arguments.limits(args)
    found = measure(
        chosen,
        limits.price,
        macs,
        samples=args.samples,
        rng=np.random.default_rng(args.seed),
    )
    feasible = limits.price(found.cheapest) <= 1
    quantiles = dict(zip([f"{q:.0%}" for q in QUANTILES], found.macs_quantiles, strict=True))
    if args.json:
        print_json(
            {
                "space": chosen.name,
                "combinations": found.volume,
                "limits": str(limits),
                "feasible": feasible,
                "share_inside": found.share_inside,
                "share_inside_95": [found.share_low, found.share_high],
                "samples": found.samples,
                "macs_quantiles": quantiles,
                "cheapest": {"macs": found.cheapest_macs, "spec": found.cheapest.to_dict()},
            }
        )
        return 0
    inside = f"{found.share_low:.2%} to {found.share_high:.2%}"
    if found.share_inside == 0:
        inside = f"under {found.share_high:.2%} (none of {found.samples:,} samples)"
    if not feasible:
        inside = "none"
    else:
        inside += f" of all combinations, about {found.share_inside * found.volume:.1e}"
    lines = {
        "space": f"{chosen.name}, {found.volume:.2e} combinations",
        "limits": f"{limits}: {'can be met' if feasible else 'CANNOT be met'}",
        "inside": inside,
        f"MACs of {found.samples:,} samples": ", ".join(
            f"{q} {format_count(n)}" for q, n in quantiles.items()
        ),
        "cheapest": f"{format_count(found.cheapest_macs)} MACs: {found.cheapest}",
    }
    width = max(map(len, lines))
    print("\n".join(f"{label:<{width}} {text}" for label, text in lines.items()))
    return 0
