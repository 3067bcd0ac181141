"""Decoding: any kind of image becomes RGB; the unreadable are named, and too many are an error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search_space import UserError
from trainers.augment import centre
from trainers.images import (
    Unreadable,
    check_unreadable,
    decode,
    most_unreadable,
    quiet_decoder,
    read_rgb,
    shortened,
)

WriteTree = Callable[..., Path]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 40, (40, 40, 40)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 128), (10, 20, 30)),
        ("1", 1, (255, 255, 255)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
    ],
)
def test_any_kind_of_image_becomes_rgb(
    tmp_path: Path, mode: str, colour: object, expected: tuple[int, int, int]
) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new(mode, (9, 30), colour).save(path)
    image = read_rgb(path)
    assert (image.mode, image.size) == ("RGB", (9, 30))
    assert np.unique(np.array(image).reshape(-1, 3), axis=0).tolist() == [list(expected)]


def test_images_of_sixteen_bits_keep_their_greys(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 100 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert np.unique(np.array(read_rgb(tmp_path / "deep.png"))).tolist() == [100]


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "checksum", "absent"])
def test_a_damaged_file_is_unreadable(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "image.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    wrong = bytearray(whole)
    wrong[whole.index(b"IDAT") + 8] ^= 255
    contents = {"cut": whole[: len(whole) // 2], "text": b"no", "empty": b"", "checksum": wrong}
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    with pytest.raises(Unreadable) as caught:
        read_rgb(path)
    assert str(caught.value), "it says why"


def test_a_decompression_bomb_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unreadable, match="bomb"):
        read_rgb(tmp_path / "bomb.png")


def test_what_pillow_warns_of_is_silenced_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (12, 12)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # a warning up to twice as many
    with quiet_decoder():
        assert read_rgb(tmp_path / "large.png").size == (12, 12)
        with pytest.raises(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("n", "most"), [(1, 0), (2, 1), (99, 1), (199, 1), (200, 2), (1_281_167, 12_811)]
)
def test_one_in_a_hundred_may_be_unreadable_and_one_always_if_another_is_not(
    n: int, most: int
) -> None:
    assert most_unreadable(n) == most
    check_unreadable({f"{i}": "damaged" for i in range(most)}, n)
    with pytest.raises(UserError, match=f"^{most + 1} of {n:,} images cannot be read"):
        check_unreadable({f"{i}": "damaged" for i in range(most + 1)}, n)


def test_too_many_unreadable_ones_are_counted_and_the_first_named() -> None:
    with pytest.raises(UserError) as caught:
        check_unreadable({name: f"{name} is odd" for name in "abcde"}, 100)
    assert str(caught.value) == (
        "5 of 100 images cannot be read, at most 1 may be: a (a is odd), b (b is odd),"
        " c (c is odd) and 2 more; mend or remove them"
    )


def test_a_list_of_names_is_shortened_where_it_is_long() -> None:
    assert shortened(["a", "b", "c"]) == "a, b, c"
    assert shortened(["a", "b", "c", "d"]) == "a, b, c and 1 more"


def test_files_are_decoded_in_order_without_the_unreadable(write_tree: WriteTree) -> None:
    root = write_tree({"cat": 5}, size=(8, 8))
    paths = sorted((root / "cat").iterdir())
    paths[1].write_bytes(b"no image")
    images, readable, unreadable = decode(paths, centre(8, share=1), 8)
    assert readable == [0, 2, 3, 4]
    assert list(unreadable) == [str(paths[1])]
    for image, i in zip(images, readable, strict=True):
        expected = torch.from_numpy(np.array(Image.open(paths[i]))).permute(2, 0, 1)
        assert torch.equal(image, expected)
