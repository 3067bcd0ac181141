"""Networks of torchvision as ONNX files, without weights of their own."""

from __future__ import annotations

import warnings
from pathlib import Path

from search_space.errors import UnknownName, UserError
from search_space.optional import import_optional

PREFIX = "torchvision:"
DEFAULT_RESOLUTION = 224

# Their own way to draw weights takes longer than all the rest.
_SETTINGS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def export_torchvision(name: str, path: Path, resolution: int = DEFAULT_RESOLUTION) -> None:
    """Writes one of torchvision's classifiers for one image, with random weights.

    Args:
        name: What ``torchvision.models.get_model`` calls it.
        path: The file.
        resolution: Pixels of the image.

    Raises:
        UnknownName: torchvision has no such network.
        UserError: the network cannot be written, for instance as it takes other images.
    """
    import_optional("onnx", extra="export")
    import torch
    from torchvision import models

    from results.onnx_graph import OPSET

    known = models.list_models(module=models)
    if name not in known:
        raise UnknownName("network of torchvision", name, known, "torchvision.models.list_models()")
    image = torch.zeros(1, 3, resolution, resolution)
    try:
        with warnings.catch_warnings():  # on tracing and on drawing weights: of no concern here
            warnings.simplefilter("ignore")
            model = models.get_model(name, weights=None, **_SETTINGS.get(name, {})).eval()
            torch.onnx.export(model, (image,), path, opset_version=OPSET, dynamo=False)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"torchvision's {name} cannot be exported at {resolution} pixels ({reason:.200});"
            " choose another --resolution"
        ) from None
