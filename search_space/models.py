"""The zoo under the names and arguments that users of timm know; torch is imported when called."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from search_space.errors import UnknownName, UserError
from search_space.plan import Form
from search_space.pretrained import fill_pretrained
from search_space.zoo import ZOO, zoo

if TYPE_CHECKING:
    import torch

    from search_space.backbones import FeatureMaps, ImageModel


def list_models(filter: str = "") -> list[str]:
    """The names that :func:`create_model` knows, sorted; ``filter`` may hold wildcards."""
    return sorted(fnmatch.filter(ZOO, filter or "*"))


def create_model(
    name: str,
    pretrained: bool = False,
    num_classes: int | None = None,
    in_chans: int = 3,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    form: Form = "masked",
    image_size: int | None = None,
    generator: torch.Generator | None = None,
) -> ImageModel | FeatureMaps:
    """A network of the zoo as a torch module.

    Args:
        name: One of :func:`list_models`.
        pretrained: Take the trained weights that come with the zoo (``search_space/weights``).
            A classifier of other outputs starts anew.
        num_classes: Outputs; 0 for pooled features without a classifier, None for the paper's.
        in_chans: Channels of the images.
        features_only: Return one feature map per resolution, without pooling and classifier.
        out_indices: Which of these maps, all if None; negative numbers count from the last.
        form: ``masked`` to train and condense, ``condensed`` to load condensed weights into.
        image_size: Pixels that costs are counted at, None for the paper's. The module takes
            images of other sizes, too.
        generator: Where the initial weights come from; torch's default generator if None.

    Raises:
        UserError: the name is not known, weights are asked for, or an argument breaks a rule.
    """
    spec = zoo(name)
    if form not in get_args(Form):
        raise UnknownName("form", form, get_args(Form))
    if pretrained and in_chans != 3:
        raise UserError(
            f"`in_chans` (={in_chans}) must be 3 with `pretrained`: the weights read red, green"
            " and blue"
        )
    if out_indices is not None and not features_only:
        raise UserError("`out_indices` choose among feature maps; set `features_only` to True")
    changes: dict[str, Any] = {"image_channels": in_chans}
    if num_classes and not pretrained:
        changes["classes"] = num_classes
    if image_size is not None:
        changes["image_size"] = image_size
    spec = spec.replace(**changes)

    from search_space.backbones import FeatureMaps, ImageModel

    begun: Form = "masked" if pretrained else form
    model: Any
    if features_only:
        model = FeatureMaps(spec, begun, generator, out_indices)
    else:
        model = ImageModel(spec, begun, generator)
    if pretrained:
        normalisation = fill_pretrained(model, name)
        model = model.to_inference() if form == "condensed" else model
        model.normalisation = normalisation
    if not features_only and num_classes not in (None, model.num_classes):
        model.reset_classifier(num_classes, generator)
    made: ImageModel | FeatureMaps = model
    return made
