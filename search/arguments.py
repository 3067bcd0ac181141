"""What several commands read from the command line, and how they print."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.budget import parse_count
from search_space.errors import SpecError, UserError, shown
from search_space.reading import parse_yaml

if TYPE_CHECKING:
    from rich.console import Console

    from search.limits import Limits
    from search_space import NetworkSpec, SearchSpace
    from search_space.space import Choices
    from searchers.rungs import Halving
    from trainers.recipe import Recipe

# As in results.formats, which loads torch; a test holds them equal.
ARCHITECTURE = "architecture.yaml"
WEIGHTS = "weights.safetensors"
INTERRUPTED = 4
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_seconds(text: str, what: str, default_unit: str) -> float:
    """Seconds from ``25ms``, ``90s``, ``5m``, ``2h``, or a bare number of the default unit.

    Raises:
        UserError: it is no such time, or not above 0.
    """
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(ms|s|m|h)?", text.strip())
    value = float(match[1]) * _SECONDS[match[2] or default_unit] if match else 0.0
    if not 0 < value < math.inf:
        raise UserError(f"{what} {text!r} must be a time above 0, such as 25ms, 90s, 5m or 2h")
    return value


def to_path(text: str) -> Path:
    """A path out of an argument; an unset variable of a shell names no file, and not this folder.

    Raises:
        argparse.ArgumentTypeError: it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("must name a file or a folder, and is empty")
    return Path(text)


NETWORK = "zoo name, .yaml or .json file, or folder of `search run`, `train`, `import`, `export`"
DATA = "digits, cifar10, cifar100, imagenet:PATH, folder:PATH, npz:FILE"

OVERRIDES = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "lr": "learning_rate",
    "precision": "precision",
}
"""Options of their own, and the settings of a recipe that they replace."""


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The options of who trains."""
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that train, one network each (default: this one alone; with ray as many as"
        " there are CPUs for)",
    )
    parser.add_argument(
        "--threads", type=int, metavar="T", help="of each worker (default 1), or of this process"
    )
    parser.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="where workers are: processes of this machine, or of a Ray cluster",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of the Ray cluster, or auto for that of this machine (default: one is begun here)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for machines")


def out() -> Console:
    from rich.console import Console

    # Tables keep their columns where the output is a file or a pipe.
    return Console(width=None if sys.stdout.isatty() else 120)


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


def limits(args: argparse.Namespace) -> Limits:
    from latency_models import device
    from search.limits import Limits

    on = device(args.device)
    if args.latency is None and args.latency_bound != "point":
        raise UserError(f"--latency-bound {args.latency_bound} needs --latency, such as 25ms")
    return Limits(
        macs=parse_count(args.budget, "--budget") if args.budget is not None else None,
        latency_ms=None
        if args.latency is None
        else 1e3 * parse_seconds(args.latency, "--latency", "ms"),
        device=on,
        latency_bound=args.latency_bound,
    )


def space(args: argparse.Namespace) -> SearchSpace:
    from search_space import space as find

    chosen = find(args.space)
    return chosen.replace(classes=args.classes) if args.classes is not None else chosen


def begin_with(networks: Sequence[str], space: SearchSpace, limits: Limits) -> tuple[Choices, ...]:
    """Networks as choices of a space, which sets how many classes they have.

    Raises:
        UserError: one is not known, not of the space, or outside the limits.
    """
    found = []
    for name in names(networks):
        spec = find_network(name).replace(classes=space.classes)
        try:
            found.append(space.encode(spec))
        except SpecError as error:
            raise UserError(
                f"--begin-with {name} must be of the space {space.name}: {error}"
            ) from None
        for limit, ratio in limits.ratios(spec).items():
            if ratio > 1:
                raise UserError(
                    f"--begin-with {name} must be inside the limits: its `{limit}` is {ratio:.4g}"
                    " times what is allowed; raise the limit, or leave the network out"
                )
    return tuple(found)


def halving(args: argparse.Namespace) -> Halving | None:
    """What ``--rungs`` and ``--keep`` say; None without them.

    Raises:
        UserError: they break a rule, or say otherwise than ``--epochs``.
    """
    from searchers.rungs import KEEP, Halving

    if args.rungs is None:
        if args.keep is not None:
            raise UserError(f"--keep {args.keep} needs --rungs, such as 2,6")
        return None
    if args.epochs is not None:
        raise UserError(
            f"--epochs {args.epochs} and --rungs {args.rungs} both set the epochs; leave one out"
        )
    keep = KEEP if args.keep is None else args.keep
    return Halving.parse(args.rungs, resolution=args.resolution, keep=keep)


def find_network(name: str) -> NetworkSpec:
    """A network by its name in the zoo, by a ``.yaml`` or ``.json`` file, or by a folder: of a
    run, or one that ``search train``, ``import`` or ``export`` wrote.

    Raises:
        UserError: none of these; the message names networks that are called alike.
    """
    from search_space import ZOO, NetworkSpec, zoo

    if name in ZOO:
        return ZOO[name]
    if not name:
        raise UserError(f"the network '' must be a {NETWORK}")
    path = Path(name)
    if path.is_dir():
        from results.folder import POINTER, RunFolder

        described = path / ARCHITECTURE
        if not (path / POINTER).is_file():
            if not described.is_file():
                raise UserError(
                    f"{path} holds no run and no {ARCHITECTURE}; name a folder that `search run`,"
                    " `train`, `import` or `export` wrote"
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
    if len(path.parts) > 1:
        raise UserError(f"{path} does not exist; name a folder, a file, or one of `search models`")
    return zoo(name)


def absolute_data(name: str) -> str:
    """A data set's name that means the same from every folder."""
    kind, colon, path = name.partition(":")
    return f"{kind}:{Path(path).resolve()}" if colon and path else name


def new_folder(name: str) -> Path:
    """The first of ``runs/NAME-1``, ``runs/NAME-2``... that does not exist."""
    taken = (Path("runs") / f"{name}-{i}" for i in range(1, 10_000))
    return next(path for path in taken if not path.exists())


def reserved(name: str) -> Path:
    """As :func:`new_folder`, and made: of several processes each gets one of its own.

    Raises:
        UserError: it cannot be made.
    """
    while True:
        path = new_folder(name)
        try:
            path.parent.mkdir(exist_ok=True)
            path.mkdir()
        except OSError as error:
            if path.exists():
                continue  # another process was faster
            raise UserError(f"the output folder {path} cannot be written: {error}") from None
        return path


def label(network: str) -> str:
    """What a network is called in the names of folders: in the zoo names have dots, too."""
    path = Path(network)
    return path.stem if path.suffix in (".yaml", ".yml", ".json") else path.resolve().name


def names(texts: Sequence[str]) -> list[str]:
    """Names out of options that may be repeated and hold several separated by commas."""
    return list(dict.fromkeys(n for text in texts for n in text.replace(" ", "").split(",") if n))


def weights_file(network: str, named: Path | None) -> Path | None:
    """The file that was named, else the one beside the network in its folder or in the zoo, if
    there is one."""
    from search_space import ZOO
    from search_space.pretrained import pretrained_file

    if named is not None:
        return named
    if network in ZOO:
        return pretrained_file(network)
    beside = Path(network) / WEIGHTS
    return beside if beside.is_file() else None


# --- Recipes -----------------------------------------------------------------------------------


def add_recipe(parser: argparse.ArgumentParser, default: str = "the paper's") -> None:
    """The options that choose a recipe and change it."""
    from trainers.recipe import PRECISIONS

    parser.add_argument(
        "--recipe", metavar="NAME", help=f"recipe, or .yaml file of one (default: {default})"
    )
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--batch-size", type=int, help="images per update, over all processes")
    parser.add_argument("--lr", "--learning-rate", type=float, help="highest learning rate")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), help="of activations")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="any other setting of the recipe, such as weight_decay=4e-5; may be repeated",
    )


def chosen_recipe(args: argparse.Namespace, default: Recipe) -> Recipe:
    """The recipe that was named, else the default, with what the options change.

    Raises:
        UserError: a value or a setting is none.
    """
    from trainers.recipes import recipe

    base = recipe(args.recipe) if args.recipe is not None else default
    changes: dict[str, Any] = {
        replaced: getattr(args, option)
        for option, replaced in OVERRIDES.items()
        if getattr(args, option) is not None
    }
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text!r} must be SETTING=VALUE, such as weight_decay=4e-5")
        changes[name.strip()] = setting(base, name.strip(), value)
    return base.replace(**changes) if changes else base


def setting(recipe: Recipe, name: str, text: str) -> Any:
    """The value of a recipe's setting out of what a person writes.

    Raises:
        UserError: no such setting, or the text is no value; the recipe itself tests its range.
    """
    known = recipe.to_dict()
    if name not in known:
        raise UserError(f"a recipe has no setting {name!r}; known: {', '.join(known)}")
    if isinstance(known[name], str):
        return text.strip()
    if isinstance(known[name], list) and not text.strip().startswith("["):
        text = f"[{text}]"
    return _plain_value(name, text)


def _plain_value(name: str, text: str) -> Any:
    """A number, a truth value or a list; 4e-5 is a number, which YAML denies."""
    for kind in (int, float, parse_yaml):
        try:
            return kind(text)
        except ValueError:  # as a UserError is, too
            continue
    raise UserError(
        f"`{name}` (={shown(text)}) must be a number, true, false or a list in brackets"
    )
