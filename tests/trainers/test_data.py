"""Every data set by its name: fixed splits, normalised alike, with a note and a fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from search_space import UnknownName, UserError
from trainers.data import DATASETS, TREES, USAGE, DataSplits, MemoryPart, load_data

WriteTree = Callable[..., Path]


@pytest.fixture(params=DATASETS)
def named(
    request: pytest.FixtureRequest,
    stub_cifar: dict[int, Any],
    write_tree: WriteTree,
    tmp_path: Path,
) -> str:
    """Each data set in turn, as a user names it."""
    counts = {"cat": 30, "dog": 25, "emu": 20}
    if request.param == "folder":
        return f"folder:{write_tree(counts)}"
    if request.param == "imagenet":
        trees = {f"{part}/{name}": n for part in ("train", "val") for name, n in counts.items()}
        return f"imagenet:{write_tree(trees)}"
    if request.param == "npz":
        images = np.random.default_rng(0).integers(0, 256, (75, 9, 8, 3), dtype=np.uint8)
        np.savez(tmp_path / "set.npz", x_train=images, y_train=np.repeat([0, 1, 2], 25))
        return f"npz:{tmp_path / 'set.npz'}"
    return str(request.param)


def parts(data: DataSplits) -> tuple[MemoryPart, ...]:
    found = data.train, data.validation, data.load_test()
    memory = tuple(part for part in found if isinstance(part, MemoryPart))
    assert len(memory) == 3
    return memory


def shares(labels: Tensor, classes: int) -> list[float]:
    return [n / len(labels) for n in torch.bincount(labels, minlength=classes).tolist()]


# --- What every data set keeps ----------------------------------------------------------------


def test_images_are_bytes_at_the_resolution_asked_for(named: str) -> None:
    data = load_data(named, resolution=12)
    for part in parts(data):
        assert part.images.shape == (len(part), 3, 12, 12)
        assert part.images.dtype == torch.uint8
        assert part.labels.shape == (len(part),)
        assert part.labels.dtype == torch.int64


def test_every_class_is_in_every_part_in_its_share(named: str) -> None:
    data = load_data(named, resolution=8)
    together = torch.cat([data.train.labels, data.validation.labels])
    expected = shares(together, data.classes)
    assert data.classes == len(set(together.tolist()))
    for part in (data.train, data.validation):
        counts = torch.bincount(part.labels, minlength=data.classes).tolist()
        for count, share in zip(counts, expected, strict=True):
            assert count > 0
            assert abs(count - share * len(part)) <= 2
    assert set(data.load_test().labels.tolist()) == set(range(data.classes))


def test_the_split_is_the_same_each_time_and_at_each_resolution(named: str) -> None:
    one, again, larger = (load_data(named, resolution=r) for r in (8, 8, 16))
    for a, b, c in zip(parts(one), parts(again), parts(larger), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.labels, c.labels)


def test_training_images_are_normalised_and_all_parts_alike(named: str) -> None:
    data = load_data(named, resolution=8)
    assert data.validation is not None
    loaded = [next(part.load([torch.arange(len(part))])) for part in (data.train, data.validation)]
    images = torch.cat([images for images, _ in loaded])
    assert images.dtype == torch.float32
    assert images.mean((0, 2, 3)).abs().max() < 1e-3
    assert (images.std((0, 2, 3)) - 1).abs().max() < 1e-3
    # Whatever is held out.
    assert torch.equal(load_data(named, resolution=8, validation=0).train.mean, data.train.mean)
    for part in (data.validation, data.load_test()):
        assert torch.equal(part.mean, data.train.mean)
        assert torch.equal(part.std, data.train.std)


def test_the_note_is_a_line(named: str) -> None:
    data = load_data(named, resolution=8)
    assert data.name == named
    assert data.note
    assert "\n" not in data.note


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 8), (0.5, 38)])
def test_the_share_of_validation_images_can_be_chosen(
    write_tree: WriteTree, share: float, held_out: int
) -> None:
    root = write_tree({"train/cat": 38, "train/dog": 38, "val/cat": 2, "val/dog": 2})
    data = load_data(f"folder:{root}", resolution=8, validation=share)
    assert data.validation is not None
    assert (len(data.train), len(data.validation)) == (76 - held_out, held_out)


def test_all_training_images_are_trained_on_where_none_are_held_out(named: str) -> None:
    whole = load_data(named, resolution=8, validation=0)
    split = load_data(named, resolution=8)
    assert whole.validation is None
    assert split.validation is not None
    assert len(whole.train) == len(split.train) + len(split.validation)
    assert whole.unreadable == ()


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_that_is_none_is_named(share: float) -> None:
    with pytest.raises(UserError, match=rf"^`validation` \(={share}\) must be a share"):
        load_data("digits", resolution=8, validation=share)


def test_fewer_images_are_trained_on_and_the_same_held_out() -> None:
    every, fewer = load_data("digits", resolution=8), load_data("digits", resolution=8, images=101)
    assert len(fewer.train) == 101
    assert every.validation is not None
    assert fewer.validation is not None
    assert torch.equal(fewer.validation.labels, every.validation.labels)
    shares = fewer.train.labels.bincount() / 101 - every.train.labels.bincount() / len(every.train)
    assert shares.abs().max() < 1 / 101
    assert fewer.split != every.split
    assert fewer.fingerprint == every.fingerprint
    assert len(load_data("digits", resolution=8, images=10**6).train) == len(every.train)
    with pytest.raises(UserError, match=r"`images` \(=9\) must be at least 10, one for each class"):
        load_data("digits", resolution=8, images=9)


def test_a_limit_below_one_image_is_named() -> None:
    with pytest.raises(UserError, match=r"^`limit` \(=0\) must be at least 1 image"):
        load_data("digits", resolution=8, limit=0)


def test_the_fingerprint_is_of_the_images_and_not_of_their_use(named: str) -> None:
    prints = {
        load_data(named, resolution=8, validation=share).fingerprint for share in (None, 0, 0.4)
    }
    assert len(prints) == 1
    assert all(len(found) == 12 and int(found, 16) >= 0 for found in prints)


def test_other_training_images_have_another_fingerprint(tmp_path: Path) -> None:
    images = np.zeros((40, 8, 8, 3), np.uint8)
    found = set()
    for value in (0, 1):
        images[13, 5, 5, 1] = value
        test = {"x_test": np.zeros((2, 8, 8, 3), np.uint8), "y_test": np.arange(2)}
        np.savez(tmp_path / "set.npz", x_train=images, y_train=np.arange(40) % 2, **test)
        found.add(load_data(f"npz:{tmp_path / 'set.npz'}", resolution=8).fingerprint)
    assert len(found) == 2


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in TREES])
def test_only_trees_of_files_are_read_at_each_use(name: str) -> None:
    with pytest.raises(UserError, match=f"^the data set {name} is kept in memory; only imagenet"):
        load_data(name, resolution=8, lazy=True)


def test_every_data_set_has_its_usage() -> None:
    assert [usage.partition("[")[0].partition(":")[0] for usage in USAGE] == list(DATASETS)


def test_an_unknown_data_set_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        load_data("mnist", resolution=8)
    assert "data set 'mnist'" in str(caught.value)
    assert all(name in str(caught.value) for name in DATASETS)
    assert "folder:PATH" in str(caught.value)
    assert "npz:FILE" in str(caught.value)
