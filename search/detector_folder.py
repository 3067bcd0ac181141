"""The folder of one detector: what lies where, and how it is read back.

::

    architecture.yaml        the network inside
    detector.yaml            what is around it, what it looks for, how it was trained
    metrics.csv, steps.csv   its epochs; its updates
    curve.png                learning rate and loss
    checkpoint.pt            only while it is not complete
    detector.safetensors     all weights, the network in condensed form
    result.json              what it is worth; written last
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from results.folder import write_atomically
from results.formats import ARCHITECTURE
from results.weights import check_format, check_selection, fill, read_tensors, save_tensors
from search.trained_folder import DETECTOR, RESULT
from search_space import NetworkSpec
from search_space.backbones import FeatureMaps
from search_space.errors import UserError
from search_space.reading import parse_json, read_yaml
from trainers.detection.backbone import choose_maps
from trainers.detection.detector import FRAMEWORKS, DetectorConfig, build_detector
from trainers.detection.evaluate import Precision

WEIGHTS = "detector.safetensors"
FORMAT = "1"
"""Version of the metadata of the weights."""


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """What a trained detector is worth.

    Args:
        network: What people call the network.
        id: The network's.
        data: The data set.
        settings: What determined the training, in plain values.
        macs: Multiply-adds of the whole network at 224 x 224, which table 7 of CondenseNetV2
            states.
        precision: On the part that is judged by.
        wall_s: The seconds of all updates.
    """

    network: str
    id: str
    data: str
    settings: dict[str, Any]
    macs: int
    precision: Precision
    wall_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of :meth:`from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DetectionResult:
        """What was written down."""
        values = {f.name: data[f.name] for f in fields(cls)}
        return cls(**{**values, "precision": Precision(**data["precision"])})


def is_detector(path: Path) -> bool:
    """Whether ``search detect train`` wrote a folder."""
    return (path / DETECTOR).is_file()


def read_result(out: Path) -> DetectionResult | None:
    """The result in a folder; None where the training is not complete."""
    path = out / RESULT
    if not path.is_file():
        return None
    try:
        return DetectionResult.from_dict(parse_json(path.read_text(encoding="utf-8")))
    except (UserError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no result of a detector ({error!r:.80}); train anew with another --out"
        ) from None


def write_result(result: DetectionResult, out: Path) -> None:
    """Marks the folder as complete."""
    write_atomically(out / RESULT, json.dumps(result.to_dict(), indent=2) + "\n")


def write_description(
    out: Path,
    spec: NetworkSpec,
    config: DetectorConfig,
    categories: Mapping[int, str],
    training: Mapping[str, Any],
) -> None:
    """Writes what the detector is, before it has learned anything."""
    write_atomically(out / ARCHITECTURE, spec.to_yaml())
    content = {
        "detector": config.to_dict(),
        "categories": dict(categories),
        "training": dict(training),
    }
    write_atomically(out / DETECTOR, yaml.safe_dump(content, sort_keys=False))


def write_weights(detector: nn.Module, spec: NetworkSpec, out: Path) -> None:
    """Writes the weights of a condensed detector."""
    save_tensors(detector, out / WEIGHTS, {"format": FORMAT, "spec": spec.id})


def read_detector(out: Path) -> tuple[nn.Module, DetectorConfig, dict[int, str]]:
    """The detector in a folder in evaluation mode, what it is, and what it looks for.

    Raises:
        UserError: the folder's training is not complete, or a file is none of ours.
    """
    if not (out / WEIGHTS).is_file():
        raise UserError(
            f"{out / WEIGHTS} was looked for and does not exist: the training is not complete;"
            f" go on with it by `search detect train ... --out {out} --resume`"
        )
    spec = NetworkSpec.load(out / ARCHITECTURE)
    content = read_yaml(out / DETECTOR)
    try:
        config = DetectorConfig.from_dict(content["detector"])
        categories = {int(i): str(name) for i, name in content["categories"].items()}
    except UserError as error:
        raise UserError(f"{out / DETECTOR}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{out / DETECTOR} describes no detector: {error!r:.80}") from None
    maps = choose_maps(spec, FRAMEWORKS[config.framework].strides)
    body = FeatureMaps(spec, "condensed", out_indices=maps, initialised=False)
    detector = build_detector(body, config)
    tensors, metadata = read_tensors(out / WEIGHTS)
    check_format(metadata, FORMAT, out / WEIGHTS)
    fill(detector, tensors, out / WEIGHTS, f"the {config.framework} around {spec.id}")
    check_selection(body, out / WEIGHTS)
    return detector.eval(), config, categories
