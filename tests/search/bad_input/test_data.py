"""Images: arrays, trees of files, and names of data sets."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

X = np.zeros((20, 8, 8, 3), np.uint8)
Y = np.arange(20) % 2
ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no-labels": ({"x_train": X}, "holds no y_train"),
    "floats": ({"x_train": X / 255, "y_train": Y}, "x_train must be of uint8"),
    "objects": ({"x_train": np.array([{}, 1], object), "y_train": Y}, "cannot be read as arrays"),
    "fewer-labels": ({"x_train": X, "y_train": Y[:5]}, "one label for each image"),
    "two-axes": ({"x_train": X, "y_train": Y[:, None]}, "y_train must be of shape (N,)"),
    "real-labels": ({"x_train": X, "y_train": Y / 2}, "y_train must be of integers"),
    "word-labels": ({"x_train": X, "y_train": Y.astype(str)}, "y_train must be of integers"),
    "gap": ({"x_train": X, "y_train": Y * 2}, "without gaps"),
    "negative": ({"x_train": X, "y_train": Y - 1}, "count the classes from 0"),
    "one-class": ({"x_train": X, "y_train": Y * 0}, "has one class"),
    "no-image": ({"x_train": X[:0], "y_train": Y[:0]}, "y_train must be of shape (N,)"),
    "no-pixel": ({"x_train": X[:, :0], "y_train": Y}, "x_train must have pixels"),
    "channels": ({"x_train": X[..., :2], "y_train": Y}, "must be of shape (N, H, W, 3)"),
    "test-classes": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 5},
        "y_test holds class 6",
    ),
    "half-a-test": ({"x_train": X, "y_train": Y, "x_test": X}, "holds no y_test"),
    "two-tests": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, "x_val": X, "y_val": Y},
        "holds both a test and a val part",
    ),
}
TRAIN = ["train", "NET", "--recipe", "quick", "--epochs", "1", "--batch-size", "4", "--out", "out"]


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_no_images(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    arrays, words = ARRAYS[case]
    np.savez(tmp_path / "x.npz", **arrays)
    refused([*TRAIN, "--data", "npz:x.npz"], "x.npz", words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", ["missing", "folder", "junk", "cut", "huge"])
def test_files_that_are_no_arrays(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    path, whole = tmp_path / "x.npz", io.BytesIO()
    np.savez(whole, x_train=X, y_train=Y)
    contents = {"junk": bytes(range(256)), "cut": whole.getvalue()[:500]}
    if case == "folder":
        path.mkdir()
    elif case == "huge":
        header = io.BytesIO()
        shape = {"descr": "|u1", "fortran_order": False, "shape": (10**13, 8, 8, 3)}
        np.lib.format.write_array_header_1_0(header, shape)
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x_train.npy", header.getvalue())
    elif case in contents:
        path.write_bytes(contents[case])
    words = "does not exist" if case in ("missing", "folder") else "cannot be read as arrays"
    refused([*TRAIN, "--data", "npz:x.npz"], "x.npz", words)


def _png() -> bytes:
    written = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(written, "PNG")
    return written.getvalue()


FILES = {"empty": b"", "text": b"hello", "cut": _png()[:200], "header": _png()[:8]}


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_images(
    command: str, case: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    for name in "ab":
        (tmp_path / "bïlder" / name).mkdir(parents=True)
        for i in range(10):
            (tmp_path / "bïlder" / name / f"{i}.png").write_bytes(FILES[case])
    run = ["run", "--space", "SPACE", "--trials", "1", "--out", "out", "--resolution", "16"]
    line = run if command == "run" else TRAIN
    refused([*line, "--data", "folder:bïlder"], "images cannot be read", "bïlder", "mend or remove")


TREES: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "holds no tree of images"),
    "no-class": (["1.png"], "holds no tree of images"),
    "one-class": ([f"a/{i}.png" for i in range(9)], "has one class"),
    "empty-class": ([*(f"{c}/{i}.png" for c in "ab" for i in range(9)), "c/"], "c"),
    "few": (["a/1.png", "b/1.png"], "tree"),
    "other-classes": (
        [*(f"train/{c}/{i}.png" for c in "ab" for i in range(9)), "val/a/1.png"],
        "must hold the same classes; only in one of them: b",
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_trees_without_classes(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    names, words = TREES[case]
    (tmp_path / "tree").mkdir()
    for name in names:
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            Image.new("RGB", (8, 8)).save(path)
    refused([*TRAIN, "--data", "folder:tree"], words)


NAMES = {
    "": "unknown data set ''",
    "moon": "unknown data set 'moon'; known: ",
    "digits:/somewhere": "the digits come without a path",
    "folder:": "folder needs a path",
    "imagenet:": "imagenet needs a path",
    "folder:nowhere": "nowhere' does not exist",
    "imagenet:nowhere": "nowhere' does not exist",
    "cifar10:nowhere": "cifar10:PATH, or add --download",
    "cifar100:nowhere": "cifar100:PATH, or add --download",
    f"folder:{'x' * 300}": "File name too long",
}


@pytest.mark.parametrize("command", ["run", "train", "evaluate"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_names_of_no_data(
    command: str, name: str, trained: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    lines = {"run": ["run", "--out", "out"], "train": TRAIN, "evaluate": ["evaluate", str(trained)]}
    refused([*lines[command], "--data", name], NAMES[name])
    assert not (tmp_path / "out").exists()


EVALUATE = {
    "batch": (["--batch-size=0"], "--batch-size 0 must be at least 1"),
    "resolution": (["--resolution=-1"], "--resolution -1 must be at least 1"),
    "pixel": (["--resolution=1"], "`image_size` (=1) leaves"),
    "memory": (["--resolution=900000"], "more than the"),
    "workers": (["--workers=-1"], "--workers -1 must be at least 0"),
    "devices": (["--devices=cpu:2"], "--devices 'cpu:2' must be auto, cpu or cuda"),
    "part": (["--part=train"], "invalid choice: 'train'"),
    "none-held-out": (["--part=validation", "--validation=0"], "holds out no images"),
    "share": (["--validation=2"], "`validation` (=2.0) must be a share"),
}


@pytest.mark.parametrize("case", EVALUATE)
def test_evaluations_that_cannot_be(case: str, trained: Path, refused: Callable[..., str]) -> None:
    options, words = EVALUATE[case]
    refused(["evaluate", str(trained), "--data", "digits", *options], words)
