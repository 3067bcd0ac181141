"""One function per command: from parsed arguments to an exit code.

Heavy libraries are imported inside the functions, so that ``search --help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.importing import ARCHITECTURE
from search_space.budget import format_count, parse_count
from search_space.errors import UnknownName, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from results.folder import RunFolder
    from results.study import Study
    from search.limits import Limits
    from search.runner import Ready, RunConfig
    from search_space import NetworkSpec, SearchSpace

INTERRUPTED = 4
DEFAULT_TRIALS = 16
DEFAULT_TIMEOUT_S = 240.0
"""Without --trials and --timeout no training begins after this: a first look, not a search."""
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str, what: str, default_unit: str) -> float:
    """Seconds from ``25ms``, ``90s``, ``5m``, ``2h``, or a bare number of the default unit.

    Raises:
        UserError: it is no such time, or not above 0.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(ms|s|m|h)?", text.strip())
    value = float(match[1]) * _SECONDS[match[2] or default_unit] if match else 0.0
    if not value > 0:
        raise UserError(f"{what} {text!r} must be a time above 0, such as 25ms, 90s, 5m or 2h")
    return value


def _out() -> Console:
    from rich.console import Console

    # Tables keep their columns where the output is a file or a pipe.
    return Console(width=None if sys.stdout.isatty() else 120)


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


# --- What several commands need ----------------------------------------------------------------


def _limits(args: argparse.Namespace) -> Limits:
    from latency_models import device
    from search.limits import Limits

    device(args.device)
    return Limits(
        macs=parse_count(args.budget, "--budget") if args.budget is not None else None,
        latency_ms=None
        if args.latency is None
        else 1e3 * parse_seconds(args.latency, "--latency", "ms"),
        device=args.device,
    )


def _space(args: argparse.Namespace) -> SearchSpace:
    from search_space import space

    chosen = space(args.space)
    return chosen.replace(classes=args.classes) if args.classes is not None else chosen


def find_network(name: str) -> NetworkSpec:
    """A network by its name in the zoo, by a ``.yaml`` or ``.json`` file, or by a folder: of a
    run, or one that ``search import`` or ``search export`` wrote.

    Raises:
        UserError: none of these; the message names networks that are called alike.
    """
    from search_space import ZOO, NetworkSpec, zoo

    if name in ZOO:
        return ZOO[name]
    path = Path(name)
    if path.is_dir():
        from results.folder import POINTER, RunFolder

        described = path / ARCHITECTURE
        if not (path / POINTER).is_file():
            if not described.is_file():
                raise UserError(
                    f"{path} holds no run and no {ARCHITECTURE}; name a folder that `search run`,"
                    " `search import` or `search export` wrote"
                )
            return NetworkSpec.load(described)
        best = RunFolder.open(path).best
        if not best.is_file():
            raise UserError(f"{best} was looked for and does not exist: the run has no best yet")
        return NetworkSpec.load(best)
    if path.suffix in (".yaml", ".yml", ".json"):
        return NetworkSpec.load(path)
    if path.exists():
        raise UserError(f"{path} is not a .yaml or .json file; name one that describes a network")
    return zoo(name)


# --- Commands ----------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """Searches a space and writes down the best architecture."""
    from results.folder import RunFolder
    from results.study import Study, absolute_url, quiet_optuna
    from search.runner import RunConfig, prepare
    from searchers import SEARCHERS
    from trainers.data import DATASETS
    from trainers.proxy import TrainConfig

    quiet_optuna()
    if args.searcher not in SEARCHERS:
        raise UnknownName("searcher", args.searcher, SEARCHERS)
    if args.data.partition(":")[0] not in DATASETS:
        raise UnknownName("data set", args.data.partition(":")[0], DATASETS)
    train = {
        "epochs": args.epochs,
        "batch_size": args.batch_size,
        "learning_rate": args.learning_rate,
        "resolution": args.resolution,
    }
    config = RunConfig(
        space=_space(args),
        limits=_limits(args),
        searcher=args.searcher,
        data=_absolute_data(args.data),
        trials=DEFAULT_TRIALS if args.trials is None else args.trials,
        seed=args.seed,
        train=TrainConfig(**{k: v for k, v in train.items() if v is not None}),
    )
    timeout_s = _timeout(args)
    path = args.out or _new_folder(config)
    RunFolder.must_be_new(path)
    storage = absolute_url(args.storage) if args.storage is not None else None
    if storage:
        Study.must_be_new(storage, path.resolve().name)
    ready = prepare(config, download=args.download)
    folder = RunFolder.create(path, storage, config.to_settings())
    return _run(config, ready, folder, folder.study(), timeout_s, args)


def _absolute_data(name: str) -> str:
    """A data set's name that means the same from every folder."""
    kind, colon, path = name.partition(":")
    return f"{kind}:{Path(path).resolve()}" if colon and path else name


def _timeout(args: argparse.Namespace) -> float | None:
    if args.timeout is not None:
        return parse_seconds(args.timeout, "--timeout", "s")
    return DEFAULT_TIMEOUT_S if args.trials is None else None


def _new_folder(config: RunConfig) -> Path:
    limit = format_count(config.limits.macs) if config.limits.macs else "unlimited"
    name = f"{config.space.name}-{limit}".replace(".00", "")
    taken = (Path("runs") / f"{name}-{i}" for i in range(1, 10_000))
    return next(path for path in taken if not path.exists())


def resume(args: argparse.Namespace) -> int:
    """Goes on with a run where it was left, or beyond."""
    import dataclasses

    from results.folder import RunFolder
    from results.study import quiet_optuna
    from search.runner import RunConfig, prepare

    quiet_optuna()
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

    try:
        with folder.locked(), RunDisplay(Console(stderr=True), quiet=args.json) as watch:
            outcome = runner.run(config, ready, folder, study, watch, timeout_s=timeout_s)
    except KeyboardInterrupt:
        print(f"interrupted; go on with: search resume {folder.path}", file=sys.stderr)
        return INTERRUPTED
    if args.json:
        _print_json(tables.run_json(folder, study.name, outcome, study.rejected))
    else:
        tables.summary(_out(), config, folder, outcome, study.rejected)
    return 0


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
        _print_json(
            {"network": args.network, "id": spec.id, **price.to_dict(), "latency": ms, **checked}
        )
        return 0
    from search.tables import cost_table

    cost_table(_out(), args.network, spec, price, latency, args.device)
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
        _print_json(rows)
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
    _out().print(table)
    return 0


def profile(args: argparse.Namespace) -> int:
    """Tells how much of a space a budget leaves."""
    import numpy as np

    from search_space import macs
    from search_space.admission import QUANTILES
    from search_space.admission import profile as measure

    if args.samples < 1:
        raise UserError(f"--samples {args.samples} must be at least 1")
    chosen, limits = _space(args), _limits(args)
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
        _print_json(
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


def dashboard(args: argparse.Namespace) -> int:
    """Serves optuna-dashboard for a run, on this machine only."""
    import optuna_dashboard

    from results.folder import RunFolder
    from results.study import open_storage, quiet_optuna

    quiet_optuna()
    folder = RunFolder.open(args.run)
    study = folder.study()
    storage = open_storage(folder.storage)
    print(f"{study.name}: http://127.0.0.1:{args.port}/{study.page}  (Ctrl-C ends it)", flush=True)
    try:
        optuna_dashboard.run_server(storage, host="127.0.0.1", port=args.port)
    except OSError as error:
        raise UserError(
            f"--port {args.port} cannot be listened on: {error}; choose another"
        ) from None
    except KeyboardInterrupt:
        pass
    return 0
