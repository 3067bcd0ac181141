"""Augmentations: what they may do to an image, and that nothing but the generator matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from trainers.augment import AUGMENTATIONS, MEAN_COLOUR, centre, crop_and_flip
from trainers.keyed import default_generator_kept


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def apply(name: str, image: object, size: int, seed: int) -> Tensor:
    with default_generator_kept():
        torch.manual_seed(seed)
        return AUGMENTATIONS[name](size).pixels(image)


# --- One image at a time ----------------------------------------------------------------------


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("kind", ["PIL", "bytes"])
def test_any_image_becomes_bytes_of_the_size(name: str, kind: str) -> None:
    image: object = noise(40, 30)
    if kind == "bytes":
        image = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for seed in range(8):
        result = apply(name, image, 24, seed)
        assert result.shape == (3, 24, 24)
        assert result.dtype == torch.uint8
        assert torch.equal(result, apply(name, image, 24, seed))


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_another_seed_gives_another_image(name: str) -> None:
    results = {bytes(apply(name, noise(40, 30), 24, seed).flatten().tolist()) for seed in range(9)}
    assert len(results) > 4


def test_without_augmentation_seven_eighths_of_the_centre_are_left() -> None:
    image = Image.new("L", (256, 512), 0).convert("RGB")
    image.paste((200, 200, 200), (16, 144, 240, 368))
    result = apply("none", image, 224, 0)
    assert result.unique().tolist() == [200]
    assert torch.equal(result, centre(224)(image))


def test_a_whole_centre_loses_nothing_of_a_square() -> None:
    image = noise(16, 16)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(centre(16, share=1)(image), expected)


def test_a_shifted_file_is_filled_with_the_mean_colour() -> None:
    white = Image.new("RGB", (64, 64), (255, 255, 255))
    colours = {
        tuple(pixel)
        for seed in range(10)
        for pixel in apply("crop-flip", white, 32, seed).flatten(1).T.tolist()
    }
    assert colours == {(255, 255, 255), tuple(MEAN_COLOUR)}


def test_imagenet_crops_keep_colours_and_imagenet_colour_changes_them() -> None:
    grey = Image.new("RGB", (64, 64), (100, 100, 100))
    assert apply("imagenet", grey, 32, 0).unique().tolist() == [100]
    values = {int(apply("imagenet-colour", grey, 32, seed)[0, 0, 0]) for seed in range(40)}
    # Brightness is changed by 40 per cent at the most; nothing else changes an even grey.
    assert 58 <= min(values) < 75
    assert 125 < max(values) <= 142


def test_a_strong_augmentation_applies_no_operation_to_a_quarter_of_the_images() -> None:
    black = Image.new("RGB", (32, 32), (0, 0, 0))
    white = Image.new("RGB", (32, 32), (255, 255, 255))
    seeds = range(300)
    unchanged = sum(
        apply("imagenet-strong", black, 16, seed).unique().tolist() == [0]
        and apply("imagenet-strong", white, 16, seed).unique().tolist() == [255]
        for seed in seeds
    )
    # Both draws may be idle (1/4), or of operations that do nothing to an even image.
    assert 0.25 < unchanged / len(seeds) < 0.7


def test_a_fifth_of_the_strong_images_is_erased_with_noise() -> None:
    erase = AUGMENTATIONS["imagenet-strong"](32).normalised
    assert erase is not None
    image = torch.full((3, 32, 32), 9.0)
    with default_generator_kept():
        torch.manual_seed(0)
        results = torch.stack([erase(image) for _ in range(1000)])
    changed = results != 9
    erased = changed.any(3).any(2).any(1)
    assert erased.float().mean() == pytest.approx(0.2, abs=0.04)
    assert changed[erased].float().mean((1, 2, 3)).max() < 0.4
    noise_pixels = results[changed]
    assert noise_pixels.mean() == pytest.approx(0, abs=0.05)
    assert noise_pixels.std() == pytest.approx(1, abs=0.05)


def test_only_the_strong_augmentation_goes_on_after_normalising() -> None:
    assert [name for name in AUGMENTATIONS if AUGMENTATIONS[name](8).normalised is not None] == [
        "imagenet-strong"
    ]


# --- crop_and_flip ----------------------------------------------------------------------------


def test_augmented_images_keep_their_shape_and_follow_the_seed() -> None:
    images = torch.rand(6, 3, 16, 16, generator=seeded(0))
    one, same, other = (crop_and_flip(images, seeded(s)) for s in (1, 1, 2))
    assert one.shape == images.shape
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_constant_image_keeps_its_value_or_turns_zero() -> None:
    images = torch.full((50, 3, 16, 16), 7.0)
    result = crop_and_flip(images, seeded(0))
    assert set(result.unique().tolist()) == {0.0, 7.0}
    # Shifted by two pixels at the most, each image keeps its inner 12 x 12.
    assert (result[:, :, 2:-2, 2:-2] == 7).all()


def test_every_result_is_a_shift_that_may_be_mirrored() -> None:
    image = torch.arange(64.0).view(1, 1, 8, 8) + 1
    padded = torch.nn.functional.pad(image, (1,) * 4)
    crops = [padded[0, 0, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    possible = {tuple(c.flatten().tolist()) for crop in crops for c in (crop, crop.flip(1))}
    assert len(possible) == 18
    results = crop_and_flip(image.expand(400, 1, 8, 8), seeded(0))
    assert {tuple(r.flatten().tolist()) for r in results} == possible


def test_channels_move_together() -> None:
    image = torch.rand(8, 1, 8, 8, generator=seeded(0)).expand(8, 3, 8, 8)
    result = crop_and_flip(image, seeded(1))
    assert torch.equal(result[:, 0], result[:, 1])
    assert torch.equal(result[:, 0], result[:, 2])
