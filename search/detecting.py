"""The commands ``detect train`` and ``detect evaluate``: from parsed arguments to an exit code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.arguments import (
    INTERRUPTED,
    NETWORK,
    WEIGHTS,
    absolute_data,
    add_json,
    find_network,
    label,
    new_folder,
    print_json,
    to_path,
    weights_file,
)
from search_space.errors import UserError
from trainers.detection.schedule import BATCH_SIZE, EPOCHS

if TYPE_CHECKING:
    from search.detector_folder import DetectionResult
    from search.full_detection import Detection, FullDetection
    from trainers.detection.evaluate import Precision

# As in trainers.detection.detector, which loads torch; a test holds them equal.
FRAMEWORKS = ("fasterrcnn", "retinanet")
COCO = (
    "coco:PATH, where PATH/annotations/instances_{train2017,val2017}.json name the images in"
    " PATH/train2017 and PATH/val2017"
)
_AROUND = ("short_side", "long_side", "fpn_channels", "anchor", "box_samples")
_ASKED = ("framework", *_AROUND, "weights", "from_scratch")

# --- Arguments ---------------------------------------------------------------------------------


def _add_detector(parser: argparse.ArgumentParser) -> None:
    """The options that say what the detector is."""
    parser.add_argument("--data", required=True, help=COCO)
    parser.add_argument("--framework", choices=FRAMEWORKS, help="what is put around the network")
    parser.add_argument(
        "--weights",
        type=to_path,
        metavar="FILE|FOLDER",
        help="trained weights of the network, masked or condensed .safetensors, or a folder of"
        " `search train` (default: the ones in the folder NET or in the zoo)",
    )
    parser.add_argument(
        "--from-scratch", action="store_true", default=None, help="begin with an untrained network"
    )
    parser.add_argument("--short-side", type=int, metavar="PIXELS", help="of images (default 800)")
    parser.add_argument("--long-side", type=int, metavar="PIXELS", help="at most (default 1333)")
    parser.add_argument(
        "--fpn-channels", type=int, metavar="N", help="of the feature pyramid (default 256)"
    )
    parser.add_argument(
        "--anchor",
        type=float,
        metavar="PIXELS",
        help="side of the smallest anchor (default 32 at a short side of 800, and as much less as"
        " that is shorter, though at least four strides of the finest map)",
    )
    parser.add_argument(
        "--box-samples",
        type=int,
        metavar="N",
        help="boxes of each image that Faster R-CNN's head learns from (default 512)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--devices", default="auto", help="auto, cpu or cuda (default %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that decode images (default %(default)s)"
    )


def detection(args: argparse.Namespace) -> Detection:
    """The detector that the arguments describe.

    Raises:
        UserError: it has neither weights nor leave to begin without.
    """
    from search.full_detection import Detection

    if args.framework is None:
        raise UserError(f"--framework must be given: {' or '.join(FRAMEWORKS)}")
    spec = find_network(args.network)
    named = args.weights
    if named is not None and named.is_dir():
        named = named / WEIGHTS
    weights = weights_file(args.network, named)
    if args.from_scratch and named is not None:
        raise UserError("--weights and --from-scratch say two things; leave one out")
    if weights is None and not args.from_scratch:
        raise UserError(
            f"{args.network} has no trained weights of its own: name them with --weights FILE, or"
            " say --from-scratch"
        )
    around = {name: getattr(args, name) for name in _AROUND}
    return Detection(
        network=label(args.network),
        spec=spec,
        weights=None if args.from_scratch else weights,
        data=absolute_data(args.data),
        framework=args.framework,
        around={name: value for name, value in around.items() if value is not None},
        seed=args.seed,
        devices=args.devices,
    )


# --- train -------------------------------------------------------------------------------------


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search detect train``."""
    parser.add_argument("network", metavar="NET", help=NETWORK)
    _add_detector(parser)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default %(default)s")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        help="images per update (default %(default)s)",
    )
    parser.add_argument(
        "--lr",
        "--learning-rate",
        type=float,
        help="highest learning rate (default 0.02 for 16 images, 0.01 for RetinaNet, in"
        " proportion to the batch)",
    )
    parser.add_argument(
        "--accumulate",
        type=int,
        default=1,
        metavar="N",
        help="run each batch in N shards, in less memory (default %(default)s)",
    )
    parser.add_argument("--out", type=to_path, help="folder to fill (default runs/NET-FRAMEWORK-N)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with what --out holds, if it holds anything"
    )
    add_json(parser)


def train(args: argparse.Namespace) -> int:
    """Trains Faster R-CNN or RetinaNet around a network on images in COCO's layout."""
    from search.full_detection import FullDetection

    full = FullDetection(
        detection=detection(args),
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.lr,
        accumulate=args.accumulate,
        workers=args.workers,
    )
    if args.out is None and args.resume:
        raise UserError("--resume needs --out, the folder to go on with")
    out = args.out or new_folder(f"{label(args.network)}-{args.framework}")
    result = _train_watched(full, out, args)
    if result is None:
        return INTERRUPTED
    if args.json:
        print_json({"out": str(out), **result.to_dict()})
        return 0
    print(f"val2017    {in_words(result.precision)}")
    print(
        f"Written: {out} ({', '.join(sorted(p.name for p in out.iterdir() if p.name[0] != '.'))})"
    )
    print(f"Next:\n  search detect evaluate {out} --data {args.data}")
    return 0


def _train_watched(
    full: FullDetection, out: Path, args: argparse.Namespace
) -> DetectionResult | None:
    """The result of a training that a person watches; None where it was interrupted."""
    from rich.console import Console

    from search import full_detection
    from search.detection_progress import DetectDisplay
    from trainers.fit import Interrupted

    display = DetectDisplay(Console(stderr=True), quiet=args.json)
    try:
        with display:
            return full_detection.train(full, out, display, resume=args.resume)
    except (Interrupted, KeyboardInterrupt) as interrupted:
        again = f"the same command with --out {out} --resume"
        print(f"{str(interrupted) or 'interrupted'}; go on with: {again}", file=sys.stderr)
        return None


def in_words(precision: Precision) -> str:
    """COCO's figures in a line."""
    figures = {
        "mAP": precision.mean_ap,
        "mAP@0.5": precision.ap50,
        "mAP@0.75": precision.ap75,
        "small": precision.small,
        "medium": precision.medium,
        "large": precision.large,
    }
    words = [f"{name} {'-' if x is None else f'{x:.3f}'}" for name, x in figures.items()]
    return f"{', '.join(words)} on {precision.images:,} images"


# --- evaluate ----------------------------------------------------------------------------------


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search detect evaluate``."""
    parser.add_argument(
        "network",
        metavar="FOLDER|NET",
        help="folder of `search detect train`; or a network as for it, before any training",
    )
    _add_detector(parser)
    parser.add_argument(
        "--part",
        choices=("train2017", "val2017"),
        default="val2017",
        help="images to judge by (default %(default)s)",
    )
    parser.add_argument("--batch-size", type=int, default=8, help="default %(default)s")
    add_json(parser)


def evaluate(args: argparse.Namespace) -> int:
    """Measures COCO's mean average precision of a detector."""
    from dataclasses import asdict

    from trainers.detection.coco import coco_path, load_coco
    from trainers.detection.evaluate import evaluate as measure
    from trainers.detection.evaluate import require_pycocotools

    require_pycocotools()
    for option, least in (("batch_size", 1), ("workers", 0), ("seed", 0)):
        if (value := getattr(args, option)) < least:
            raise UserError(f"--{option.replace('_', '-')} {value} must be at least {least}")
    part = load_coco(coco_path(args.data), args.part)
    detector, device = _detector(args, dict(part.categories))
    found = measure(
        detector.to(device), part, batch_size=args.batch_size, device=device, workers=args.workers
    )
    if args.json:
        print_json({"detector": args.network, "part": args.part, **asdict(found)})
    else:
        print(f"{args.network} on {args.part} of {args.data}: {in_words(found)}")
    return 0


def _detector(args: argparse.Namespace, categories: dict[int, str]) -> tuple[Any, Any]:
    """The detector that is named, and the device that it is to run on.

    Raises:
        UserError: a trained one is asked for otherwise, or looks for other things.
    """
    from search.detector_folder import is_detector, read_detector
    from search.full_detection import one_device, untaught

    device = one_device(args.devices).device
    folder = Path(args.network)
    if not is_detector(folder):
        print("Warning: this detector has learned nothing yet", file=sys.stderr)
        return untaught(detection(args), len(categories)), device
    asked = [name for name in _ASKED if getattr(args, name) is not None]
    if asked:
        option = asked[0].replace("_", "-")
        raise UserError(f"{folder} is a trained detector and says itself what --{option} would")
    detector, _, known = read_detector(folder)
    if known != categories:
        raise UserError(
            f"{args.data} has the categories {sorted(categories.values())[:5]}, {folder} was"
            f" trained on {sorted(known.values())[:5]} or gives them other ids; judge it by data"
            " like those"
        )
    return detector, device
