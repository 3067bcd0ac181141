"""Parts: batches that depend on their seed and indices alone, from memory and from files."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search_space import UnknownName, UserError
from trainers.augment import AUGMENTATIONS, IMAGENET_MEAN, IMAGENET_STD, OF_BATCHES, centre
from trainers.order import epoch_order, in_order
from trainers.parts import FilePart, MemoryPart, Part
from trainers.raw import Files

WriteTree = Callable[..., Path]
SIZE = 16


@pytest.fixture(scope="module")
def memory() -> MemoryPart:
    """Thirty images of noise, whose labels are their number."""
    generator = torch.Generator().manual_seed(0)
    return MemoryPart(
        images=torch.randint(0, 256, (30, 3, SIZE, SIZE), generator=generator).to(torch.uint8),
        labels=torch.arange(30),
        mean=torch.full((3, 1, 1), 100.0),
        std=torch.full((3, 1, 1), 50.0),
        augmentable=True,
    )


@pytest.fixture
def files(write_tree: WriteTree) -> FilePart:
    """Thirty files, whose labels are their number."""
    root = write_tree({"noise": 30}, size=(24, 20))
    names = tuple(f"noise/{i:03}.png" for i in range(30))
    return FilePart(files=Files(root=root, names=names, labels=np.arange(30)), size=SIZE)


@pytest.fixture(params=["memory", "files"])
def part(request: pytest.FixtureRequest) -> Part:
    found: Part = request.getfixturevalue(request.param)
    return found


def path(part: FilePart, index: int) -> Path:
    return part.files.root / part.files.names[index]


def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return all(
        torch.equal(a, b)
        for pair, twin in zip(one, other, strict=True)
        for a, b in zip(pair, twin, strict=True)
    )


def unnormalised(images: Tensor) -> Tensor:
    """Bytes, of images that ImageNet's constants have normalised."""
    mean, std = (torch.tensor(c).view(3, 1, 1) for c in (IMAGENET_MEAN, IMAGENET_STD))
    return (255 * (images * std + mean)).round().to(torch.uint8)


# --- What every part keeps --------------------------------------------------------------------


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_batches_have_the_form_that_networks_take(part: Part, augment: str) -> None:
    assert len(part) == 30
    assert part.labels.dtype == torch.int64
    batches = [torch.tensor([3, 7, 1, 9]), torch.tensor([29, 0])]
    loaded = list(part.load(batches, augment=augment, seed=(0, 0)))
    assert [labels.tolist() for _, labels in loaded] == [[3, 7, 1, 9], [29, 0]]
    for images, labels in loaded:
        assert images.shape == (len(labels), 3, SIZE, SIZE)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_skipped_batches_and_the_default_generator_do_not_matter(part: Part, augment: str) -> None:
    batches = [shard for (shard,) in epoch_order(30, 8, shards=1, seed=0, epoch=0)]
    whole = list(part.load(batches, augment=augment, seed=(1, 2)))
    before = torch.default_generator.get_state()
    torch.rand(1)
    state = torch.default_generator.get_state()
    resumed = list(part.load(batches[2:], augment=augment, seed=(1, 2)))
    assert torch.equal(torch.default_generator.get_state(), state)
    torch.default_generator.set_state(before)
    assert equal(resumed, whole[2:])


@pytest.mark.parametrize("augment", [name for name in AUGMENTATIONS if name != "none"])
def test_another_epoch_draws_anew(part: Part, augment: str) -> None:
    batches = in_order(8, 8)
    ((one, _),) = part.load(batches, augment=augment, seed=(0, 0))
    ((same, _),) = part.load(batches, augment=augment, seed=(0, 0))
    ((other, _),) = part.load(batches, augment=augment, seed=(0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "augment"),
    [("memory", "imagenet-strong"), ("files", "imagenet-strong"), ("files", "none")],
)
def test_processes_read_the_same_bit_by_bit_and_end(
    kind: str, augment: str, request: pytest.FixtureRequest
) -> None:
    part: Part = request.getfixturevalue(kind)
    batches = [shard for (shard,) in epoch_order(30, 8, shards=1, seed=0, epoch=0)]
    here = list(part.load(batches, augment=augment, seed=(3,)))
    state = torch.default_generator.get_state()
    there = list(part.load(batches, augment=augment, seed=(3,), workers=2))
    assert equal(here, there)
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images, _ in there)
    assert torch.equal(torch.default_generator.get_state(), state)
    assert multiprocessing.active_children() == []


def test_processes_end_when_their_batches_are_not_all_read(files: FilePart) -> None:
    batches = files.load(in_order(30, 2), workers=1)
    next(batches)
    assert multiprocessing.active_children()
    del batches
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_an_error_that_says_so(files: FilePart) -> None:
    batches = files.load(in_order(30, 1), workers=1)
    next(batches)
    (process,) = multiprocessing.active_children()
    process.kill()
    with pytest.raises(UserError, match=r"a process that reads images has ended.*`workers` \(=1\)"):
        list(batches)


def test_ctrl_c_does_not_end_processes(files: FilePart) -> None:
    batches = files.load(in_order(30, 1), workers=1)
    next(batches)
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert len(list(batches)) == 29


def test_an_unknown_augmentation_lists_the_known_ones(part: Part) -> None:
    with pytest.raises(UnknownName, match=r"augmentation 'crop'; known: crop-flip, imagenet,"):
        part.load(in_order(30, 4), augment="crop", seed=(0,))


def test_what_draws_needs_a_seed(part: Part) -> None:
    with pytest.raises(ValueError, match="'imagenet' draws: it needs a seed"):
        part.load(in_order(30, 4), augment="imagenet")


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_what_must_not_be_augmented_is_not(part: Part, augment: str) -> None:
    assert dataclasses.is_dataclass(part)
    fixed = dataclasses.replace(part, augmentable=False)
    (plain,) = fixed.load(in_order(4, 4))
    (same,) = fixed.load(in_order(4, 4), augment=augment)
    assert equal([plain], [same])


def test_a_selection_is_a_part_of_its_own(part: Part) -> None:
    chosen = part.select(torch.tensor([5, 2, 8]))
    assert chosen.labels.tolist() == [5, 2, 8]
    assert equal(list(chosen.load(in_order(3, 3))), list(part.load([torch.tensor([5, 2, 8])])))


# --- In memory --------------------------------------------------------------------------------


def test_bytes_are_normalised_and_stay_as_they_are(memory: MemoryPart) -> None:
    before = memory.images.clone()
    ((images, _),) = memory.load([torch.arange(30)])
    assert torch.equal(images, (before.float() - 100) / 50)
    assert torch.equal(memory.images, before)


def test_whole_batches_are_shifted_with_zeros(memory: MemoryPart) -> None:
    even = dataclasses.replace(memory, images=torch.full_like(memory.images, 200))
    ((images, _),) = even.load([torch.arange(30)], augment="crop-flip", seed=(0,))
    assert images.unique().tolist() == [0.0, 2.0]


def test_moving_to_a_device_moves_all_of_it(memory: MemoryPart) -> None:
    moved = memory.to("meta")
    assert {t.device.type for t in (moved.images, moved.labels, moved.mean, moved.std)} == {"meta"}
    for augment in OF_BATCHES:
        ((images, labels),) = moved.load(in_order(4, 4), augment=augment, seed=(0,))
        assert images.device.type == labels.device.type == "meta"
        assert images.shape == (4, 3, SIZE, SIZE)
    assert equal(list(memory.to("cpu").load(in_order(30, 8))), list(memory.load(in_order(30, 8))))


# --- Files ------------------------------------------------------------------------------------


def test_files_are_evaluated_at_their_centre_by_the_constants_of_imagenet(files: FilePart) -> None:
    ((images, _),) = files.load([torch.tensor([4])])
    assert torch.equal(unnormalised(images[0]), centre(SIZE)(files.files.read(4)))
    assert files.to("meta") is files


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_replaced_by_the_next_one_and_named(
    files: FilePart, workers: int
) -> None:
    path(files, 29).write_bytes(b"no image")
    ((images, labels), _) = files.load([torch.tensor([5, 29]), torch.tensor([29])], workers=workers)
    assert labels.tolist() == [5, 0]
    ((first, _),) = files.load([torch.tensor([0])])
    assert torch.equal(images[1], first[0])
    assert files.unreadable == (str(path(files, 29)),)


def test_a_file_that_appears_in_many_batches_counts_once(files: FilePart) -> None:
    path(files, 3).write_bytes(b"")
    for _ in range(3):
        assert len(list(files.load(in_order(30, 8)))) == 4
    assert len(files.unreadable) == 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("indices", [(3, 4), (3, 20)])
def test_too_many_unreadable_files_end_the_reading(
    files: FilePart, workers: int, indices: tuple[int, int]
) -> None:
    for i in indices:
        path(files, i).write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^2 of 30 images cannot be read") as caught:
        list(files.load(in_order(30, 8), workers=workers))
    assert all(str(path(files, i)) in str(caught.value) for i in indices)
    assert set(files.unreadable) == {str(path(files, i)) for i in indices}


def test_a_replaced_image_leaves_the_others_as_they_were(files: FilePart) -> None:
    batches = [torch.tensor([1, 2, 3, 4])]
    ((before, _),) = files.load(batches, augment="imagenet-strong", seed=(0,))
    path(files, 2).write_bytes(b"no image")
    ((after, _),) = files.load(batches, augment="imagenet-strong", seed=(0,))
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [1, 0, 1, 1]
