"""Data sets that are trees of files: in memory or lazily, with their odd and damaged images."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from search_space import UserError
from trainers.augment import centre
from trainers.data import DataSplits, FilePart, MemoryPart, Part, load_data
from trainers.order import in_order

WriteTree = Callable[..., Path]
HELD_OUT = {"train/cat": 40, "train/dog": 40, "val/cat": 4, "val/dog": 4}


def parts(data: DataSplits) -> tuple[Part, Part, Part]:
    assert data.validation is not None
    return data.train, data.validation, data.load_test()


def memory(part: Part | None) -> MemoryPart:
    assert isinstance(part, MemoryPart)
    return part


def lazy(part: Part | None) -> FilePart:
    assert isinstance(part, FilePart)
    return part


def test_a_flat_tree_gives_a_fifth_to_test_and_a_quarter_of_the_rest_to_validation(
    write_tree: WriteTree,
) -> None:
    root = write_tree({"cat": 20, "dog": 20})
    data = load_data(f"folder:{root}", resolution=8)
    assert [len(part) for part in parts(data)] == [24, 8, 8]
    counts = [torch.bincount(part.labels).tolist() for part in parts(data)]
    assert counts == [[12, 12], [4, 4], [4, 4]]
    assert data.train.augmentable
    assert data.note == f"32 training images of {root}"


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_a_held_out_folder_is_the_test_part(write_tree: WriteTree, held_out: str) -> None:
    root = write_tree({"train/cat": 8, "train/dog": 12, f"{held_out}/cat": 1, f"{held_out}/dog": 2})
    data = load_data(f"folder:{root}", resolution=8)
    assert [len(part) for part in parts(data)] == [15, 5, 3]
    assert data.load_test().labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_any_kind_and_shape_of_image_is_fitted(write_tree: WriteTree, mode: str) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/cat": 0, "val/dog": 0})
    Image.new(mode, (9, 30), 1).save(root / "val" / "cat" / "tall.png")
    Image.new(mode, (40, 5), 1).save(root / "val" / "dog" / "wide.png")
    data = load_data(f"folder:{root}", resolution=8)
    assert memory(data.load_test()).images.shape == (2, 3, 8, 8)


def test_the_centre_of_an_oblong_image_is_kept(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/dog": 1, "val/cat": 0})
    image = Image.new("L", (24, 8), 0)
    image.paste(200, (8, 0, 16, 8))
    image.save(root / "val" / "cat" / "stripe.png")
    data = load_data(f"folder:{root}", resolution=8)
    assert memory(data.load_test()).images[0].unique().tolist() == [200]


def test_a_limit_takes_a_stratified_subset_and_says_so(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 40, "train/dog": 20, "val/cat": 8, "val/dog": 4})
    data = load_data(f"folder:{root}", resolution=8, limit=24)
    together = torch.cat([part.labels for part in parts(data)[:2]])
    assert torch.bincount(together).tolist() == [16, 8]
    assert len(data.load_test()) == 12
    assert data.note == (
        f"60 training images of {root}, of which a fixed stratified subset of 24 is used"
    )
    again = load_data(f"folder:{root}", resolution=8, limit=24)
    assert torch.equal(memory(again.train).images, memory(data.train).images)


def test_no_more_images_are_read_than_the_limit_says(write_tree: WriteTree) -> None:
    # 14 / 25 * 25 is 14.000000000000002.
    root = write_tree({"train/cat": 13, "train/dog": 12, "val/cat": 1, "val/dog": 1})
    data = load_data(f"folder:{root}", resolution=8, limit=14)
    assert sum(map(len, parts(data)[:2])) == 14


def test_a_limit_just_below_the_number_of_images_is_kept(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 8, "train/dog": 8, "val/cat": 1, "val/dog": 1})
    data = load_data(f"folder:{root}", resolution=8, limit=15)
    assert sum(map(len, parts(data)[:2])) == 15


@pytest.mark.parametrize("path", ["", "missing"])
def test_a_missing_folder_says_what_was_looked_for(tmp_path: Path, path: str) -> None:
    where = str(tmp_path / path) if path else ""
    sentence = f"the data folder {where!r} does not exist" if path else "folder needs a path"
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        load_data(f"folder:{where}", resolution=8)
    assert "PATH/train/CLASS/IMAGE" in str(caught.value)


@pytest.mark.parametrize("counts", [{}, {"cat": 0}, {"train/cat": 4, "val/cat": 0}])
def test_an_empty_folder_says_what_it_must_hold(
    write_tree: WriteTree, counts: dict[str, int]
) -> None:
    root = write_tree(counts)
    root.mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"holds no tree of images.*PATH/CLASS/IMAGE") as caught:
        load_data(f"folder:{root}", resolution=8)
    assert str(root) in str(caught.value)


def test_parts_with_different_classes_name_the_odd_ones(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/cat": 1, "val/emu": 1})
    with pytest.raises(UserError, match=r"must hold the same classes.*: dog, emu$"):
        load_data(f"folder:{root}", resolution=8)


def test_a_training_folder_without_a_held_out_one_is_not_a_class(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 8, "train/dog": 8})
    try:
        data = load_data(f"folder:{root}", resolution=8)
    except UserError:
        return
    assert data.classes == 2


def test_an_unreadable_image_in_memory_is_left_out_and_named(write_tree: WriteTree) -> None:
    root = write_tree(HELD_OUT)
    path = root / "train" / "dog" / "003.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    data = load_data(f"folder:{root}", resolution=8)
    assert sum(map(len, parts(data)[:2])) == 79
    assert data.unreadable == (str(path),)
    assert data.note == (
        f"80 training images of {root}; 1 could not be read and are left out: {path}"
    )
    path.write_bytes(whole)
    mended = load_data(f"folder:{root}", resolution=8)
    assert mended.unreadable == ()
    assert mended.fingerprint != data.fingerprint


def test_an_unreadable_test_image_is_found_when_the_test_is_read(write_tree: WriteTree) -> None:
    root = write_tree(HELD_OUT)
    path = root / "val" / "cat" / "003.png"
    path.write_bytes(b"no image")
    data = load_data(f"folder:{root}", resolution=8)
    assert data.unreadable == ()
    test = data.load_test()
    assert test.unreadable == (str(path),)
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_more_unreadable_images_than_one_in_a_hundred_are_an_error(write_tree: WriteTree) -> None:
    root = write_tree(HELD_OUT)
    paths = [root / "train" / "dog" / f"{i:03}.png" for i in (3, 5)]
    for path in paths:
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^2 of 80 images cannot be read, at most 1 may") as caught:
        load_data(f"folder:{root}", resolution=8)
    assert all(str(path) in str(caught.value) for path in paths)


@pytest.mark.parametrize(
    "counts",
    [{"cat": 1, "dog": 1}, {"train/cat": 1, "train/dog": 1, "val/cat": 1, "val/dog": 1}],
    ids=["flat", "held out"],
)
def test_one_image_per_class_cannot_be_split(write_tree: WriteTree, counts: dict[str, int]) -> None:
    root = write_tree(counts)
    with pytest.raises(UserError, match="cannot be split into training and validation") as caught:
        load_data(f"folder:{root}", resolution=8)
    assert str(root) in str(caught.value)


# --- ImageNet, and trees read at each use -----------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "imagenet"])
@pytest.mark.parametrize(
    ("limit", "asked", "is_lazy"),
    [(None, None, True), (100, None, False), (None, False, False), (100, True, True)],
)
def test_files_are_read_at_each_use_where_there_is_no_limit_or_as_asked(
    write_tree: WriteTree, kind: str, limit: int | None, asked: bool | None, is_lazy: bool
) -> None:
    root = write_tree(HELD_OUT)
    data = load_data(f"{kind}:{root}", resolution=8, limit=limit, lazy=asked)
    assert [len(part) for part in parts(data)] == [60, 20, 8]
    expected = FilePart if is_lazy else MemoryPart
    assert all(isinstance(part, expected) for part in parts(data))
    assert all(part.augmentable for part in parts(data))


def test_lazily_the_same_images_are_in_the_same_parts(write_tree: WriteTree) -> None:
    root = write_tree(HELD_OUT, size=(9, 9))
    files = load_data(f"imagenet:{root}", resolution=8, limit=40, lazy=True)
    kept = load_data(f"imagenet:{root}", resolution=8, limit=40, lazy=False)
    for one, other in zip(parts(files), parts(kept), strict=True):
        assert torch.equal(one.labels, other.labels)
        read = torch.stack([centre(8)(lazy(one).files.read(i)) for i in range(len(one))])
        assert torch.equal(read, memory(other).images)
    assert files.note == (
        f"80 training images of {root}, of which a fixed stratified subset of 40 is used"
    )


def test_imagenet_in_memory_keeps_seven_eighths_and_a_folder_everything(
    write_tree: WriteTree,
) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/cat": 0, "val/dog": 0})
    image = Image.new("L", (64, 64), 0)
    image.paste(200, (4, 4, 60, 60))
    for name in ("cat", "dog"):
        image.save(root / "val" / name / "framed.png")
    framed = memory(load_data(f"folder:{root}", resolution=56).load_test()).images
    filled = memory(load_data(f"imagenet:{root}", resolution=56).load_test()).images
    assert framed[:, :, 0].max() < 150
    assert filled.unique().tolist() == [200]


@pytest.mark.parametrize("counts", [{"train/cat": 4}, {"val/cat": 4}, {"cat": 4}])
def test_imagenet_needs_both_of_its_trees(write_tree: WriteTree, counts: dict[str, int]) -> None:
    root = write_tree(counts)
    with pytest.raises(UserError, match=r"holds no tree of images.*PATH/train and PATH/val$"):
        load_data(f"imagenet:{root}", resolution=8)


def test_a_lazy_set_finds_its_unreadable_files_when_they_are_read(write_tree: WriteTree) -> None:
    root = write_tree(HELD_OUT)
    data = load_data(f"folder:{root}", resolution=8, limit=None)
    files = lazy(data.train).files
    (root / "train" / files.names[7]).write_bytes(b"no image")
    assert data.unreadable == ()
    list(data.train.load(in_order(len(data.train), 16)))
    assert data.unreadable == (files.name(7),)


def test_the_fingerprint_of_a_lazy_set_is_of_all_training_images(write_tree: WriteTree) -> None:
    root = write_tree(HELD_OUT)

    def fingerprint(share: float | None = None) -> str:
        return load_data(f"folder:{root}", resolution=8, limit=None, validation=share).fingerprint

    before = fingerprint()
    assert fingerprint(0) == fingerprint(0.5) == before
    (root / "train" / "cat" / "000.png").rename(root / "train" / "cat" / "new.png")
    assert fingerprint() != before
