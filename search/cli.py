"""The command ``search``: its arguments, and what becomes of errors.

Exit codes: 0 done, 2 bad input, 3 impossible budget, 4 interrupted (resumable), 5 two forms of a
network compute different outputs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from search import (
    arguments,
    bench_kit,
    best,
    commands,
    comparing,
    dashboard,
    detecting,
    emulating,
    explaining,
    exporting,
    importing,
    latency,
    listing,
    reporting,
    retraining,
    running,
    scoring,
    status,
    sweeping,
    training,
)
from search.arguments import DATA, NETWORK, add_json
from search_space import SPACES, UserError
from search_space.cost import PAPER_COUNTERS
from searchers import SEARCHERS
from searchers.aims import AIMS

PROGRAM = "search"
_EXPORTER = (
    "what writes ONNX: dynamo is torch's own exporter, direct ours, which writes the same"
    " operations in a second (default %(default)s{})"
)

_WEIGHTS = (
    ".safetensors of the network (default: the one in the folder NET or in the zoo, else {} ones)"
)


def _add_space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--space",
        default="imagenet-224",
        help=f"{', '.join(SPACES)}, or a .yaml file (default %(default)s)",
    )
    parser.add_argument("--classes", type=int, help="classes of the target network")
    parser.add_argument("--budget", metavar="MACS", help="hard limit: 150M, 1.2G, 150e6")
    parser.add_argument("--latency", metavar="MS", help="hard limit on --device: 25ms")
    parser.add_argument(
        "--latency-bound",
        choices=("point", "high"),
        default="point",
        help="what --latency limits: the estimate, or the upper end of its 90 %% interval"
        " (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    latency.add_device(parser)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Searches condensed CNN architectures for an ARM board, inside hard budgets.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[argparse.Namespace], int], under: Any = subparsers
    ) -> argparse.ArgumentParser:
        summary = (function.__doc__ or "").splitlines()[0]
        made: argparse.ArgumentParser = under.add_parser(name, help=summary, description=summary)
        made.set_defaults(function=function)
        return made

    p = command("run", running.run)
    _add_space(p)
    p.add_argument("--data", default="digits", help=DATA)
    p.add_argument("--download", action="store_true", help="fetch cifar10 or cifar100")
    p.add_argument(
        "--searcher",
        default="condense",
        help=f"{', '.join(SEARCHERS)} (default %(default)s)",
    )
    p.add_argument(
        "--trials", type=int, help=f"networks to score (default {running.DEFAULT_TRIALS})"
    )
    p.add_argument(
        "--timeout",
        help="begin no training after this: 90s, 5m, 2h"
        f" (default none; {running.DEFAULT_TIMEOUT_S:.0f}s where --trials is not given)",
    )
    arguments.add_recipe(p, "proxy")
    p.add_argument(
        "--resolution", type=int, default=32, help="pixels of each training (default %(default)s)"
    )
    p.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="the most images that a short training reads, as many of each class as its share"
        " (default: all but those held out; of folders never more than 18,000)",
    )
    p.add_argument(
        "--rungs",
        metavar="EPOCHS[@PIXELS],...",
        help="short trainings, the cheapest first, such as 2,6 or 1@16,3@32,9@32:"
        " only the best networks of each go on to the next",
    )
    p.add_argument("--keep", type=int, metavar="N", help="one network in N goes on (default 3)")
    p.add_argument(
        "--least-accuracy",
        type=float,
        metavar="A",
        help="networks below this fraction are of no use: spend no training on the lower end of the"
        " front (default: where nine in ten networks are better)",
    )
    p.add_argument(
        "--aim",
        choices=AIMS,
        default="front",
        help="what is sought: all of the front of accuracy and milliseconds, or the best accuracy"
        " inside the limits alone (default %(default)s)",
    )
    p.add_argument(
        "--begin-with",
        action="append",
        default=[],
        metavar="NET,...",
        help="networks of the space and inside the limits to train first, those that you have, say:"
        f" each a {NETWORK}",
    )
    p.add_argument("--retrain", type=int, metavar="K", help="then train K winners in full")
    p.add_argument(
        "--retrain-recipe", metavar="NAME", help="how (default: the space's paper; quick on digits)"
    )
    arguments.add_workers(p)
    p.add_argument("--out", type=arguments.to_path, help="folder of the run (default runs/NAME)")
    p.add_argument(
        "--storage",
        metavar="URL",
        help="where the study is: sqlite:///FILE, journal:FILE, postgresql+psycopg://USER@HOST/DB"
        " (default a SQLite file in the folder)",
    )
    p.add_argument(
        "--study",
        metavar="NAME",
        help="share this study of --storage with other processes, and its --trials; made where"
        " there is none",
    )
    add_json(p)

    p = command("resume", running.resume)
    p.add_argument(
        "run", type=arguments.to_path, metavar="RUN", help="folder that `search run` wrote"
    )
    p.add_argument("--trials", type=int, help="networks to score in all")
    p.add_argument("--timeout", help="begin no training after this: 90s, 5m, 2h")
    arguments.add_workers(p)
    p.set_defaults(retrain=None)
    add_json(p)

    p = command("status", status.status)
    p.add_argument(
        "run", type=arguments.to_path, metavar="RUN", help="folder that `search run` wrote"
    )
    add_json(p)

    best.add_best(command("best", best.best))
    listing.add_list(command("list", listing.list_runs))
    reporting.add_report(command("report", reporting.report))

    training.add_train(command("train", training.train))
    retraining.add_retrain(command("retrain", retraining.retrain))
    training.add_evaluate(command("evaluate", training.evaluate))
    sweeping.add_sweep(command("sweep", sweeping.sweep))
    scoring.add_scores(command("scores", scoring.scores))

    group = subparsers.add_parser("detect", help="Networks as backbones of detectors.")
    under = group.add_subparsers(required=True, metavar="QUESTION")
    detecting.add_train(command("train", detecting.train, under))
    detecting.add_evaluate(command("evaluate", detecting.evaluate, under))

    p = command("cost", commands.cost)
    p.add_argument("network", metavar="NET", help=NETWORK)
    p.add_argument(
        "--convention",
        help=f"the authors' counter: {', '.join(PAPER_COUNTERS)} (default: the nearest paper's)",
    )
    p.add_argument(
        "--check", action="store_true", help="build the network and let fvcore count it too"
    )
    latency.add_device(p)
    add_json(p)

    p = command("export", exporting.export)
    p.add_argument("network", metavar="NET", help=NETWORK)
    p.add_argument(
        "--weights", type=arguments.to_path, metavar="FILE", help=_WEIGHTS.format("untrained")
    )
    p.add_argument(
        "--format",
        action="append",
        required=True,
        help=f"{', '.join(exporting.EXPORT_FORMATS)}; several with commas",
    )
    p.add_argument("--out", type=arguments.to_path, required=True, help="folder to make")
    p.add_argument(
        "--exporter", choices=exporting.EXPORTERS, default="dynamo", help=_EXPORTER.format("")
    )
    p.add_argument(
        "--dynamic-batch", action="store_true", help="ONNX for any number of images, not for one"
    )
    p.add_argument(
        "--lowering",
        choices=exporting.LOWERINGS,
        help="how gathers, groups and norms are rewritten: canonical leaves them, dense makes one"
        " convolution per layer, the others are what a runtime executes fastest (default: that of"
        " the format's runtime)",
    )
    add_json(p)

    p = command("verify", exporting.verify)
    p.add_argument("network", metavar="NET", nargs="?", help="as for export")
    p.add_argument("--all", action="store_true", help="every network of the zoo")
    p.add_argument(
        "--weights", type=arguments.to_path, metavar="FILE", help=_WEIGHTS.format("random")
    )
    p.add_argument(
        "--forms",
        action="append",
        help=f"{', '.join(exporting.FORMS)}; FORM:LOWERING for another lowering than the form's own"
        f" ({', '.join(exporting.LOWERINGS)}); by default every lowering once",
    )
    p.add_argument(
        "--exporter",
        choices=exporting.EXPORTERS,
        default="direct",
        help=_EXPORTER.format(": it takes seconds"),
    )
    p.add_argument(
        "--arm",
        type=arguments.to_path,
        metavar="DIR",
        help="run the ONNX file there too; scripts/setup_arm makes one"
        f" (default ${exporting.ARM_VARIABLE})",
    )
    add_json(p)

    comparing.add_compare(command("compare", comparing.compare))
    explaining.add_arguments(command("explain", explaining.explain))

    p = command("models", commands.models)
    latency.add_device(p)
    add_json(p)

    group = subparsers.add_parser("latency", help="Milliseconds on a board.")
    under = group.add_subparsers(required=True, metavar="QUESTION")
    add_json(command("devices", latency.devices, under))
    latency.add_predict(command("predict", latency.predict, under))
    latency.add_evaluate(command("evaluate", latency.evaluate, under))
    latency.add_calibrate(command("calibrate", latency.calibrate, under))
    emulating.add_arguments(command("emulate", emulating.emulate, under))
    bench_kit.add_arguments(command("bench-kit", bench_kit.bench_kit, under))

    group = subparsers.add_parser("space", help="Questions about a search space.")
    p = command(
        "profile", commands.profile, group.add_subparsers(required=True, metavar="QUESTION")
    )
    _add_space(p)
    p.add_argument("--samples", type=int, default=1000, help="default %(default)s")
    add_json(p)

    importing.add_arguments(command("import", importing.import_network))

    dashboard.add_arguments(command("dashboard", dashboard.dashboard))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    # Before torch is loaded: its threads else spin while they wait for each other, and where
    # another process wants a core, one of two then trains twenty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    args = _parser().parse_args(argv)
    args.command = [PROGRAM, *(sys.argv[1:] if argv is None else argv)]
    try:
        code: int = args.function(args)
    except UserError as error:
        print(f"search: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("search: interrupted before anything was begun", file=sys.stderr)
        return arguments.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        # Names too long, disks that are full: the file system's rules are not ours to foresee.
        print(f"search: {error.filename!r} cannot be used: {error.strerror}", file=sys.stderr)
        return UserError.exit_code
    return code
