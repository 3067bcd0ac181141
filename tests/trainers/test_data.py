"""Data sets as the search sees them: fixed splits, bytes in memory, normalised batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from search_space import UnknownName, UserError
from trainers.data import DATASETS, DataSplits, Part, crop_and_flip, load_data

WriteTree = Callable[..., Path]


class StubCifar:
    """Stands in for torchvision's CIFAR, which checks that its files are the published ones."""

    base_folder = "cifar"
    classes = 10
    per_class = 20

    def __init__(self, root: Path, *, train: bool, download: bool) -> None:
        n = self.classes * (self.per_class if train else 4)
        self.targets = [i % self.classes for i in range(n)]
        rng = np.random.default_rng(n)
        self.data = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


class StubCifar100(StubCifar):
    classes = 100


@pytest.fixture(params=DATASETS)
def named(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, write_tree: WriteTree
) -> str:
    """Each data set in turn, as a user names it."""
    monkeypatch.setattr("torchvision.datasets.CIFAR10", StubCifar)
    monkeypatch.setattr("torchvision.datasets.CIFAR100", StubCifar100)
    if request.param == "folder":
        return f"folder:{write_tree({'cat': 30, 'dog': 25, 'emu': 20})}"
    return str(request.param)


def parts(data: DataSplits) -> tuple[Part, Part, Part]:
    return data.train, data.validation, data.load_test()


def shares(labels: Tensor, classes: int) -> list[float]:
    return [n / len(labels) for n in torch.bincount(labels, minlength=classes).tolist()]


def rows(*tensors: Tensor) -> list[bytes]:
    """The images as bytes, sorted: equal lists hold the same images as often."""
    return sorted(bytes(image.flatten().tolist()) for images in tensors for image in images)


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
    (images, _), *more = data.train.batches(10_000)
    assert not more
    assert images.dtype == torch.float32
    assert images.mean((0, 2, 3)).abs().max() < 1e-3
    assert (images.std((0, 2, 3)) - 1).abs().max() < 1e-3
    for part in (data.validation, data.load_test()):
        assert torch.equal(part.mean, data.train.mean)
        assert torch.equal(part.std, data.train.std)


def test_the_note_is_a_line(named: str) -> None:
    data = load_data(named, resolution=8)
    assert data.name == named
    assert data.note
    assert "\n" not in data.note


# --- Digits -----------------------------------------------------------------------------------


def test_digits_are_split_into_1077_360_and_360(digits: DataSplits) -> None:
    assert [len(part) for part in parts(digits)] == [1077, 360, 360]
    assert digits.classes == 10
    assert not digits.train.augment


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
    name: str, classes: int, n: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10", StubCifar)
    monkeypatch.setattr("torchvision.datasets.CIFAR100", StubCifar100)
    data = load_data(f"{name}:{tmp_path}", resolution=32)
    assert data.classes == classes
    assert (len(data.train), len(data.validation)) == (n * 3 // 4, n // 4)
    assert data.train.augment
    kind = {10: StubCifar, 100: StubCifar100}[classes]
    training, testing = (kind(tmp_path, train=t, download=False) for t in (True, False))
    channels_first = torch.from_numpy(testing.data).permute(0, 3, 1, 2)
    assert torch.equal(data.load_test().images, channels_first)
    assert data.load_test().labels.tolist() == testing.targets
    channels_first = torch.from_numpy(training.data).permute(0, 3, 1, 2)
    assert rows(data.train.images, data.validation.images) == rows(channels_first)


def test_a_large_data_set_keeps_nine_tenths_to_train_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StubCifar, "per_class", 500)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", StubCifar)
    data = load_data("cifar10", resolution=4)
    assert (len(data.train), len(data.validation)) == (4500, 500)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_cifar_says_where_it_looked_and_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_data(f"{name}:{tmp_path / 'here'}", resolution=8)
    assert str(tmp_path / "here" / "cifar-") in str(caught.value)
    assert f"--data {name}:PATH" in str(caught.value)
    assert "--download" in str(caught.value)


# --- Folders ----------------------------------------------------------------------------------


def test_a_flat_tree_gives_a_fifth_to_test_and_a_quarter_of_the_rest_to_validation(
    write_tree: WriteTree,
) -> None:
    root = write_tree({"cat": 20, "dog": 20})
    data = load_data(f"folder:{root}", resolution=8)
    assert [len(part) for part in parts(data)] == [24, 8, 8]
    counts = [torch.bincount(part.labels).tolist() for part in parts(data)]
    assert counts == [[12, 12], [4, 4], [4, 4]]
    assert data.train.augment
    assert data.note == f"32 training images of {root}"


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_a_held_out_folder_is_the_test_part(write_tree: WriteTree, held_out: str) -> None:
    root = write_tree({"train/cat": 8, "train/dog": 12, f"{held_out}/cat": 1, f"{held_out}/dog": 2})
    data = load_data(f"folder:{root}", resolution=8)
    assert [len(part) for part in parts(data)] == [15, 5, 3]
    assert data.load_test().labels.tolist() == [0, 1, 1]


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
def test_any_kind_and_shape_of_image_becomes_rgb(
    write_tree: WriteTree, mode: str, colour: object, expected: tuple[int, int, int]
) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/cat": 0, "val/dog": 0})
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new(mode, (9, 30), colour).save(root / "val" / "cat" / f"tall.{suffix}")
    Image.new(mode, (40, 5), colour).save(root / "val" / "dog" / f"wide.{suffix}")
    data = load_data(f"folder:{root}", resolution=8)
    assert data.load_test().images.shape == (2, 3, 8, 8)
    assert data.load_test().images.amin((0, 2, 3)).tolist() == list(expected)
    assert data.load_test().images.amax((0, 2, 3)).tolist() == list(expected)


def test_images_of_sixteen_bits_keep_their_greys(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/dog": 1, "val/cat": 0})
    grey = np.full((8, 8), 100 * 257, np.uint16)
    Image.fromarray(grey).save(root / "val" / "cat" / "deep.png")
    data = load_data(f"folder:{root}", resolution=8)
    assert data.load_test().images[0].unique().tolist() == [100]


def test_the_centre_of_an_oblong_image_is_kept(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 4, "train/dog": 4, "val/dog": 1, "val/cat": 0})
    image = Image.new("L", (24, 8), 0)
    image.paste(200, (8, 0, 16, 8))
    image.save(root / "val" / "cat" / "stripe.png")
    data = load_data(f"folder:{root}", resolution=8)
    assert data.load_test().images[0].unique().tolist() == [200]


def test_a_limit_takes_a_stratified_subset_and_says_so(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 40, "train/dog": 20, "val/cat": 8, "val/dog": 4})
    data = load_data(f"folder:{root}", resolution=8, limit=24)
    together = torch.cat([data.train.labels, data.validation.labels])
    assert torch.bincount(together).tolist() == [16, 8]
    assert len(data.load_test()) == 12
    assert data.note == (
        f"60 training images of {root}, of which a fixed stratified subset of 24 is used"
    )
    again = load_data(f"folder:{root}", resolution=8, limit=24)
    assert torch.equal(again.train.images, data.train.images)


def test_no_more_images_are_read_than_the_limit_says(write_tree: WriteTree) -> None:
    # 14 / 25 * 25 is 14.000000000000002.
    root = write_tree({"train/cat": 13, "train/dog": 12, "val/cat": 1, "val/dog": 1})
    data = load_data(f"folder:{root}", resolution=8, limit=14)
    assert len(data.train) + len(data.validation) == 14


def test_a_limit_just_below_the_number_of_images_is_kept(write_tree: WriteTree) -> None:
    root = write_tree({"train/cat": 8, "train/dog": 8, "val/cat": 1, "val/dog": 1})
    data = load_data(f"folder:{root}", resolution=8, limit=15)
    assert len(data.train) + len(data.validation) == 15


@pytest.mark.parametrize("path", ["", "missing"])
def test_a_missing_folder_says_what_was_looked_for(tmp_path: Path, path: str) -> None:
    where = str(tmp_path / path) if path else ""
    with pytest.raises(UserError, match="does not exist") as caught:
        load_data(f"folder:{where}", resolution=8)
    assert repr(where) in str(caught.value)
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


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_an_unreadable_image_is_named(write_tree: WriteTree, damage: str) -> None:
    root = write_tree({"cat": 8, "dog": 8})
    path = root / "dog" / "003.png"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"no image", "empty": b""}[damage])
    with pytest.raises(UserError, match=r"cannot be read.*mend or remove it") as caught:
        load_data(f"folder:{root}", resolution=8)
    assert str(path) in str(caught.value)


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


def test_an_unknown_data_set_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        load_data("mnist", resolution=8)
    assert "data set 'mnist'" in str(caught.value)
    assert all(name in str(caught.value) for name in DATASETS)
    assert "folder:PATH" in str(caught.value)


# --- Batches ----------------------------------------------------------------------------------


@pytest.fixture
def ten() -> Part:
    """Ten images whose pixels and labels are their number."""
    numbers = torch.arange(10)
    return Part(
        images=numbers.to(torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous(),
        labels=numbers,
        mean=torch.full((3, 1, 1), 1.0),
        std=torch.full((3, 1, 1), 2.0),
        augment=False,
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels_of(part: Part, seed: int) -> list[int]:
    return [n for _, labels in part.batches(4, seeded(seed)) for n in labels.tolist()]


def test_batches_come_in_order_and_normalised(ten: Part) -> None:
    batches = list(ten.batches(4))
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for images, labels in batches:
        expected = ((labels - 1) / 2)[:, None, None, None].expand(-1, 3, 4, 4)
        assert torch.equal(images, expected)
    assert ten.images[3].unique().tolist() == [3], "the bytes themselves stay as they are"


def test_a_generator_permutes_them(ten: Part) -> None:
    assert sorted(labels_of(ten, 0)) == list(range(10))
    assert labels_of(ten, 0) != list(range(10))
    assert labels_of(ten, 0) == labels_of(ten, 0)
    assert labels_of(ten, 0) != labels_of(ten, 1)


def test_images_keep_their_labels_in_any_order(ten: Part) -> None:
    for images, labels in ten.batches(4, seeded(0)):
        assert torch.equal(images[:, 0, 0, 0] * 2 + 1, labels.float())


def test_each_epoch_has_an_order_of_its_own(ten: Part) -> None:
    generator = seeded(0)
    first, second = ([b[1].tolist() for b in ten.batches(4, generator)] for _ in range(2))
    assert first != second


def test_only_shuffled_batches_of_an_augmented_part_are_augmented(ten: Part) -> None:
    augmented = dataclasses.replace(ten, augment=True)
    plain = torch.cat([images for images, _ in augmented.batches(4)])
    assert torch.equal(plain, torch.cat([images for images, _ in ten.batches(4)]))
    shifted = torch.cat([images for images, _ in augmented.batches(4, seeded(0))])
    assert any(len(image.unique()) == 2 for image in shifted), "zeros have moved in"


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
