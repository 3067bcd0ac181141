"""A small data set in COCO's layout: coloured shapes on photographs, to try detectors with.

::

    python -m benchmarks.detection_shapes DIR [--train 600] [--val 100] [--size 128] [--seed 0]

The photographs are the two that scikit-learn ships. Training images are cut from their left two
thirds, those to judge by from the right third, so that neither has seen the other's background.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

CATEGORIES = {2: "disc", 5: "square", 9: "triangle"}
"""Names by ids with gaps, as COCO's have."""

CUT = 2 / 3
MOST_SHAPES = 3
SIDES = (0.25, 0.5)
"""The smallest and the largest side of a shape as shares of the image's."""

MOST_OVERLAP = 0.2
"""The share of a box that may be hidden by a later shape."""

Box = tuple[float, float, float, float]


def write_shapes(
    root: Path, *, train: int = 600, val: int = 100, size: int = 128, seed: int = 0
) -> Path:
    """Writes a data set; the same arguments give the same files.

    Args:
        root: The folder, made if it does not exist.
        train: Images to train on.
        val: Images to judge by.
        size: Their width and height in pixels.
        seed: Determines backgrounds, shapes, colours and places.
    """
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    parts = (("train2017", train, (0.0, CUT)), ("val2017", val, (CUT, 1.0)))
    for number, (part, count, columns) in enumerate(parts):
        (root / part).mkdir(exist_ok=True)
        rng = np.random.default_rng([seed, number])
        content = _write_part(root / part, count, size, columns, photographs, rng)
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return root


def _write_part(
    folder: Path,
    count: int,
    size: int,
    columns: tuple[float, float],
    photographs: list[Image.Image],
    rng: Generator,
) -> dict[str, Any]:
    images, annotations = [], []
    for image_id in range(1, count + 1):
        image = _background(photographs[rng.integers(len(photographs))], columns, size, rng)
        for category, box in _draw_shapes(image, rng):
            left, top, right, bottom = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
        name = f"{image_id:06}.png"
        image.save(folder / name)
        images.append({"id": image_id, "file_name": name, "width": size, "height": size})
    categories = [{"id": i, "name": name} for i, name in CATEGORIES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _background(
    photograph: Image.Image, columns: tuple[float, float], size: int, rng: Generator
) -> Image.Image:
    """A random square of some columns of a photograph."""
    first, last = (round(share * photograph.width) for share in columns)
    most = min(last - first, photograph.height)
    side = int(rng.integers(min(size, most), most + 1))
    left = int(rng.integers(first, last - side + 1))
    top = int(rng.integers(photograph.height - side + 1))
    return photograph.resize((size, size), box=(left, top, left + side, top + side))


def _draw_shapes(image: Image.Image, rng: Generator) -> list[tuple[int, Box]]:
    """Draws one to three shapes; returns the category and the box of each."""
    pen = ImageDraw.Draw(image)
    drawn: list[tuple[int, Box]] = []
    for _ in range(int(rng.integers(1, MOST_SHAPES + 1))):
        category = int(rng.choice(list(CATEGORIES)))
        width, height = (image.width * rng.uniform(*SIDES, 2)).tolist()
        left, top = (rng.uniform(0, 1, 2) * [image.width - width, image.height - height]).tolist()
        box = (left, top, left + width, top + height)
        if any(_hidden(other, box) > MOST_OVERLAP for _, other in drawn):
            continue
        colour = tuple(int(x) for x in rng.integers(0, 256, 3))
        _draw(pen, CATEGORIES[category], box, colour)
        drawn.append((category, box))
    return drawn


def _draw(pen: ImageDraw.ImageDraw, name: str, box: Box, colour: tuple[int, ...]) -> None:
    left, top, right, bottom = box
    if name == "disc":
        pen.ellipse(box, fill=colour)
    elif name == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=colour)


def _hidden(box: Box, above: Box) -> float:
    """The share of a box that lies under another."""
    width = min(box[2], above[2]) - max(box[0], above[0])
    height = min(box[3], above[3]) - max(box[1], above[1])
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, metavar="DIR")
    for name, default in (("train", 600), ("val", 100), ("size", 128), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    args = parser.parse_args()
    root = write_shapes(args.root, train=args.train, val=args.val, size=args.size, seed=args.seed)
    print(f"Written: {root}")


if __name__ == "__main__":
    main()
