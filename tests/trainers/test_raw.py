"""Data before it is split: fingerprints tell other data, and images are fitted to a size."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.raw import Files, Pixels

WriteTree = Callable[..., Path]


@pytest.fixture
def pixels() -> Pixels:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 4, 4), generator=generator).to(torch.uint8)
    return Pixels(images=images, labels=np.arange(6) % 2)


@pytest.fixture
def files(write_tree: WriteTree) -> Files:
    root = write_tree({"cat": 3, "dog": 2})
    names = tuple(path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png")))
    return Files(root=root, names=names, labels=np.array([0, 0, 0, 1, 1]))


def test_a_fingerprint_is_twelve_hexadecimal_digits(pixels: Pixels, files: Files) -> None:
    for data in (pixels, files):
        assert len(data.fingerprint()) == 12
        assert int(data.fingerprint(), 16) >= 0


def test_other_pixels_labels_orders_and_shapes_change_the_fingerprint(pixels: Pixels) -> None:
    other = pixels.images.clone()
    other[3, 1, 2, 0] ^= 1
    variants = [
        pixels,
        dataclasses.replace(pixels, images=other),
        dataclasses.replace(pixels, images=pixels.images.reshape(6, 3, 2, 8)),
        dataclasses.replace(pixels, labels=1 - pixels.labels),
        pixels.select(np.array([1, 0, 2, 3, 4, 5])),
        pixels.select(np.arange(5)),
    ]
    assert len({variant.fingerprint() for variant in variants}) == len(variants)


def test_a_fingerprint_does_not_depend_on_how_bytes_lie_in_memory(pixels: Pixels) -> None:
    last = pixels.images.contiguous(memory_format=torch.channels_last)
    assert dataclasses.replace(pixels, images=last).fingerprint() == pixels.fingerprint()


def test_files_are_told_apart_by_name_size_and_label(files: Files, tmp_path: Path) -> None:
    before = files.fingerprint()
    assert dataclasses.replace(files, labels=1 - files.labels).fingerprint() != before
    assert files.select(np.arange(4)).fingerprint() != before
    moved = tmp_path / "elsewhere"
    os.rename(files.root, moved)
    assert dataclasses.replace(files, root=moved).fingerprint() == before
    with open(moved / files.names[2], "ab") as file:
        file.write(b"x")
    assert dataclasses.replace(files, root=moved).fingerprint() != before


def test_a_link_to_nothing_has_a_fingerprint_too(files: Files) -> None:
    before = files.fingerprint()
    path = files.root / files.names[0]
    path.unlink()
    path.symlink_to("nowhere")
    assert files.fingerprint() != before


def test_a_selection_keeps_images_and_labels_together(pixels: Pixels, files: Files) -> None:
    chosen = np.array([4, 1])
    assert torch.equal(pixels.select(chosen).images, pixels.images[[4, 1]])
    assert pixels.select(chosen).labels.tolist() == [0, 1]
    assert files.select(chosen).names == ("dog/001.png", "cat/001.png")
    assert files.select(chosen).labels.tolist() == [1, 0]


def test_images_are_fitted_by_their_shorter_side_around_the_centre() -> None:
    oblong = torch.zeros((2, 3, 8, 24), dtype=torch.uint8)
    oblong[:, :, :, 8:16] = 200
    fitted = Pixels(images=oblong, labels=np.zeros(2, np.int64)).fitted(8)
    assert fitted.images.shape == (2, 3, 8, 8)
    assert fitted.images.unique().tolist() == [200]


def test_images_of_the_size_stay_as_they_are(pixels: Pixels) -> None:
    assert pixels.fitted(4) is pixels
    assert pixels.fitted(6).images.shape == (6, 3, 6, 6)


def test_a_file_is_read_as_rgb_by_its_index(files: Files) -> None:
    assert files.name(3) == str(files.root / "dog" / "000.png")
    assert files.read(3).size == (12, 10)
