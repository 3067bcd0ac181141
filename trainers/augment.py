"""What happens to training images at random, by name.

Images are augmented one at a time with torchvision's transforms, which draw once per call; those in
memory by whole batches where :data:`OF_BATCHES` can, in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from search_space.errors import UnknownName

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue between 0 and 1, over ImageNet's training images."""

MEAN_COLOUR = [round(255 * mean) for mean in IMAGENET_MEAN]
"""What moves in where an image is shifted: zero once it is normalised."""

CENTRE = 224 / 256
"""The share of an image's shorter side that is evaluated, as is usual on ImageNet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmentation:
    """What is done to one image.

    Attributes:
        pixels: From an RGB image of PIL or bytes ``(3, H, W)`` to bytes ``(3, size, size)``.
        normalised: What follows once it is normalised; None if nothing.
    """

    pixels: Callable[[Any], Tensor]
    normalised: Callable[[Tensor], Tensor] | None = None


def centre(size: int, share: float = CENTRE) -> Callable[[Any], Tensor]:
    """The centred square of ``share`` of the shorter side, as bytes ``(..., 3, size, size)``."""
    from torchvision.transforms import v2

    resize = v2.Resize(round(size / share), antialias=True)
    transform: Callable[[Any], Tensor] = v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])
    return transform


def none(size: int) -> Augmentation:
    """Each image as it is evaluated."""
    return Augmentation(pixels=centre(size))


def crop_flip(size: int) -> Augmentation:
    """Shifted by up to an eighth, and mirrored: CIFAR's augmentation (CondenseNet, section 4.1)."""
    from torchvision.transforms import v2

    shift = v2.RandomCrop(size, padding=max(1, size // 8), fill=MEAN_COLOUR)
    return Augmentation(pixels=v2.Compose([centre(size), shift, v2.RandomHorizontalFlip()]))


def imagenet(size: int) -> Augmentation:
    """A crop of 8 to 100 per cent of the area, and mirrored (CondenseNet, section 4.2)."""
    return Augmentation(pixels=_crop_and(size))


def imagenet_colour(size: int) -> Augmentation:
    """A crop, brightness, contrast and saturation changed by up to 40 per cent, and mirrored.

    As the authors of ShuffleNetV2+ train.
    """
    from torchvision.transforms import v2

    return Augmentation(pixels=_crop_and(size, v2.ColorJitter(0.4, 0.4, 0.4)))


def imagenet_strong(size: int) -> Augmentation:
    """A crop, mirrored, RandAugment and random erasing with noise (CondenseNetV2's train.py).

    Its authors use timm's ``rand-m9-mstd0.5`` and ``reprob 0.2, remode pixel``. As there, two
    operations are drawn, each is applied with probability 0.5, and the magnitude is 9 of 10, so
    that shear, shift, rotation and the colour operations reach equally far. torchvision differs
    in this: the magnitude does not vary; identity stands in for inversion and solarize-add;
    colour, contrast, brightness and sharpness are lowered as often as raised; solarising takes
    nearly all pixels, where timm at 9 takes only the brightest; 4 bits are left by posterising,
    there 3; interpolation is always bilinear.
    """
    from torchvision.transforms import v2

    operation = v2.RandAugment(
        num_ops=1,
        magnitude=9,
        num_magnitude_bins=11,
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=MEAN_COLOUR,
    )
    return Augmentation(
        pixels=_crop_and(size, *[v2.RandomApply([operation], p=0.5)] * 2),
        normalised=v2.RandomErasing(p=0.2, value="random"),
    )


def _crop_and(size: int, *more: Any) -> Callable[[Any], Tensor]:
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True)
    transform: Callable[[Any], Tensor] = v2.Compose(
        [crop, v2.RandomHorizontalFlip(), *more, v2.PILToTensor()]
    )
    return transform


AUGMENTATIONS: dict[str, Callable[[int], Augmentation]] = {
    "none": none,
    "crop-flip": crop_flip,
    "imagenet": imagenet,
    "imagenet-strong": imagenet_strong,
    "imagenet-colour": imagenet_colour,
}
"""For images one at a time, by name, given the size that they are trained at in pixels."""


def check_augmentation(name: str) -> None:
    """Raises UnknownName where there is no such augmentation; the message lists the known ones."""
    if name not in AUGMENTATIONS:
        raise UnknownName("augmentation", name, AUGMENTATIONS)


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of its size (zeros move in) and mirrored at random,
    as the papers train on CIFAR.

    Args:
        images: Normalised, ``(N, C, size, size)``, on any device.
        generator: On the CPU.
    """
    n, _, size, _ = images.shape
    pad = max(1, size // 8)
    padded = F.pad(images, (pad,) * 4)
    start = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    rows, columns = start + torch.arange(size)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    image, rows, columns = (
        index.to(images.device)
        for index in (torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :])
    )
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)


OF_BATCHES: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "none": lambda images, _: images,
    "crop-flip": crop_and_flip,
}
"""For whole normalised batches of images in memory, by name; the others go one at a time."""
