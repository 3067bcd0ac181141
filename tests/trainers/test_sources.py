"""Data sets in memory: the digits, CIFAR, and arrays of one's own with all their mistakes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from search_space import UserError
from trainers.data import DataSplits, MemoryPart, load_data


def parts(data: DataSplits) -> tuple[MemoryPart, ...]:
    found = data.train, data.validation, data.load_test()
    return tuple(part for part in found if isinstance(part, MemoryPart))


def rows(*tensors: Tensor) -> list[bytes]:
    """The images as bytes, sorted: equal lists hold the same images as often."""
    return sorted(bytes(image.flatten().tolist()) for images in tensors for image in images)


# --- Digits -----------------------------------------------------------------------------------


def test_digits_are_split_into_1077_360_and_360(digits: DataSplits) -> None:
    assert [len(part) for part in parts(digits)] == [1077, 360, 360]
    assert digits.classes == 10
    assert not digits.train.augmentable


def test_each_digit_is_in_exactly_one_part(digits: DataSplits) -> None:
    from sklearn.datasets import load_digits

    grey = torch.from_numpy(np.round(load_digits().images * 255 / 16).astype(np.uint8))
    everything = grey[:, None].expand(-1, 3, -1, -1)
    assert rows(*(part.images for part in parts(digits))) == rows(everything)


def test_digits_keep_their_labels(digits: DataSplits) -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    label = {
        bytes(np.round(image * 255 / 16).astype(np.uint8).flatten()): target
        for image, target in zip(bunch.images, bunch.target, strict=True)
    }
    for part in parts(digits):
        found = [label[bytes(image[0].flatten().tolist())] for image in part.images]
        assert found == part.labels.tolist()


# --- CIFAR ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "classes", "n"), [("cifar10", 10, 200), ("cifar100", 100, 2000)])
def test_cifar_keeps_its_test_images_and_splits_the_training_images(
    name: str, classes: int, n: int, stub_cifar: dict[int, Any], tmp_path: Path
) -> None:
    data = load_data(f"{name}:{tmp_path}", resolution=32)
    assert data.classes == classes
    train, validation, test = parts(data)
    assert (len(train), len(validation)) == (n * 3 // 4, n // 4)
    assert data.train.augmentable
    kind = stub_cifar[classes]
    training, testing = (kind(tmp_path, train=t, download=False) for t in (True, False))
    channels_first = torch.from_numpy(testing.data).permute(0, 3, 1, 2)
    assert torch.equal(test.images, channels_first)
    assert test.labels.tolist() == testing.targets
    channels_first = torch.from_numpy(training.data).permute(0, 3, 1, 2)
    assert rows(train.images, validation.images) == rows(channels_first)


def test_a_large_data_set_keeps_nine_tenths_to_train_on(
    stub_cifar: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub_cifar[10], "per_class", 500)
    data = load_data("cifar10", resolution=4)
    assert [len(part) for part in parts(data)][:2] == [4500, 500]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_cifar_says_where_it_looked_and_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_data(f"{name}:{tmp_path / 'here'}", resolution=8)
    assert str(tmp_path / "here" / "cifar-") in str(caught.value)
    assert f"--data {name}:PATH" in str(caught.value)
    assert "--download" in str(caught.value)


# --- Arrays -----------------------------------------------------------------------------------

WriteArrays = Callable[..., str]


@pytest.fixture
def write_arrays(tmp_path: Path) -> WriteArrays:
    """Writes arrays to a file, and returns what a user calls it."""

    def write(**arrays: Any) -> str:
        np.savez(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    return write


def images(n: int, *shape: int, dtype: type = np.uint8) -> Any:
    return np.random.default_rng(n).integers(0, 256, (n, *shape)).astype(dtype)


LABELS = np.arange(40) % 4


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((8, 6, 3), (0, 3, 1, 2)), ((3, 8, 6), (0, 1, 2, 3))],
    ids=["channels last", "channels first"],
)
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_arrays_of_a_train_and_a_held_out_part_are_read(
    write_arrays: WriteArrays,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    held_out: str,
) -> None:
    train, test = images(40, *shape), images(8, *shape)
    name = write_arrays(
        x_train=train,
        y_train=LABELS.astype(np.uint8),
        **{f"x_{held_out}": test, f"y_{held_out}": LABELS[:8]},
    )
    data = load_data(name, resolution=6)
    assert data.classes == 4
    assert data.train.augmentable
    assert [len(part) for part in parts(data)] == [30, 10, 8]
    assert data.load_test().labels.tolist() == LABELS[:8].tolist()
    expected = torch.from_numpy(test.transpose(axes))[:, :, 1:-1]
    assert torch.equal(parts(data)[2].images, expected), "the centre of 8 x 6 pixels"
    assert data.note == f"40 training images of {name[4:]}"


def test_grey_arrays_get_three_channels_and_a_fifth_is_cut_off_to_test(
    write_arrays: WriteArrays,
) -> None:
    grey = images(40, 8, 8)
    name = write_arrays(x_train=grey, y_train=LABELS)
    data = load_data(name, resolution=8)
    assert [len(part) for part in parts(data)] == [24, 8, 8]
    expected = torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1)
    assert rows(*(part.images for part in parts(data))) == rows(expected)
    assert data.note == f"32 training images of {name[4:]}, 8 others to test on"
    again = load_data(name, resolution=8)
    for one, same in zip(parts(data), parts(again), strict=True):
        assert torch.equal(one.images, same.images)


GOOD = {"x_train": images(40, 8, 8, 3), "y_train": LABELS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": None}, r"holds no y_train, of the arrays known here only x_train; x_train an"),
        ({"x_train": None, "y_train": None}, r"holds no x_train and no y_train, .* only none;"),
        ({"x_test": images(4, 8, 8, 3)}, r"holds no y_test, .* only x_train, y_train, x_test"),
        ({"x_train": images(40, 8, 8, 3, dtype=np.float32)}, r"x_train must be of uint8.*float32$"),
        ({"x_train": images(40, 8)}, r"x_train must be of shape \(N, H, W, 3\).*\(40, 8\)$"),
        ({"x_train": images(40, 8, 8, 4)}, r"x_train must be of shape.*\(40, 8, 8, 4\)$"),
        ({"y_train": LABELS[:39]}, r"y_train must be of shape \(N,\).*\(39,\).*\(40, 8, 8, 3\)$"),
        ({"y_train": LABELS[:, None]}, r"y_train must be of shape \(N,\).*\(40, 1\)"),
        ({"y_train": LABELS.astype(float)}, r"y_train must be of integers and is of float64$"),
        ({"y_train": np.array(["a"] * 40)}, r"y_train must be of integers and is of <U1$"),
        ({"y_train": LABELS > 1}, r"y_train must be of integers and is of bool$"),
        ({"y_train": LABELS + 1}, r"without gaps; they go from 1 to 4, and no image has 0$"),
        ({"y_train": LABELS * 2}, r"without gaps; they go from 0 to 6, and no image has 1$"),
        ({"y_train": LABELS - 1}, r"without gaps; they go from -1 to 2, and no image has 3$"),
        ({"y_train": LABELS * 0}, r"has one class; at least two are needed$"),
        (
            {"x_test": images(4, 8, 8, 3), "y_test": np.array([0, 1, 2, 4])},
            r"y_test holds class 4, y_train only classes up to 3",
        ),
        (
            {"x_test": images(2, 8, 8, 3), "y_test": np.array([-1, 1])},
            r"y_test holds class -1, y_train only classes up to 3",
        ),
        (
            {f"{x}_{part}": GOOD[f"{x}_train"] for x in "xy" for part in ("test", "val")},
            r"holds both a test and a val part; keep one",
        ),
        ({"x_train": images(0, 8, 8, 3), "y_train": LABELS[:0]}, r"y_train must be of shape"),
        ({"y_train": np.array([{}] * 40)}, r"cannot be read as arrays: Object arrays"),
    ],
)
def test_arrays_that_break_a_rule_are_named(
    write_arrays: WriteArrays, change: dict[str, Any], message: str
) -> None:
    arrays = {name: array for name, array in {**GOOD, **change}.items() if array is not None}
    with pytest.raises(UserError, match=message) as caught:
        load_data(write_arrays(**arrays), resolution=8)
    assert "set.npz" in str(caught.value)


@pytest.mark.parametrize("path", ["", "missing.npz", "."])
def test_a_missing_file_says_what_is_read(tmp_path: Path, path: str) -> None:
    name = str(tmp_path / path) if path else ""
    with pytest.raises(UserError, match=r"does not exist; --data npz:FILE reads arrays x_train"):
        load_data(f"npz:{name}", resolution=8)


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "one array", "a zip of text", "bytes"])
def test_a_file_that_holds_no_arrays_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    if damage == "one array":
        with open(path, "wb") as file:
            np.save(file, LABELS)
    elif damage == "a zip of text":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train.npy", "text")
    else:
        at = len(whole) // 2
        path.write_bytes(
            {
                "text": b"text",
                "empty": b"",
                "cut": whole[:at],
                "bytes": whole[:at] + b"12345" + whole[at + 5 :],
            }[damage]
        )
    with pytest.raises(UserError, match=r"set\.npz cannot be read as arrays: .+; write it with"):
        load_data(f"npz:{path}", resolution=8)
