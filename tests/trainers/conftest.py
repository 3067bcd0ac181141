"""A network of two stages and the digits, as they are and cut down to a few batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image

from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec
from trainers.data import DataSplits, load_data
from trainers.machine import machine
from trainers.training import training_spec


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tensors this small are computed faster by one thread than by several that wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> DataSplits:
    return load_data("digits", resolution=8)


@pytest.fixture(scope="session")
def few(digits: DataSplits) -> DataSplits:
    """The first 96 digits to train on, 60 to validate on."""

    return dataclasses.replace(
        digits,
        train=digits.train.select(torch.arange(96)),
        validation=digits.validation.select(torch.arange(60)),
    )


STAGE = DenseStage(
    depth=2,
    growth_rate=8,
    groups_1x1=4,
    condense_factor=4,
    groups_3x3=4,
    sfr="all",
    sparse_factor=4,
    sfr_groups=4,
)


@pytest.fixture(scope="session")
def network() -> NetworkSpec:
    """Every kind of layer that learns, for 32 x 32 images."""
    return NetworkSpec(
        image_size=32,
        classes=100,
        stem=StemSpec(channels=16),
        stages=(STAGE, STAGE),
        head=HeadSpec(condense_factor=2),
    )


@pytest.fixture(scope="session")
def small(network: NetworkSpec) -> NetworkSpec:
    """The same for the digits."""
    return training_spec(network, 10, 8)


@pytest.fixture(scope="session")
def fabric() -> Fabric:
    """This process and its CPU."""
    return machine("cpu")


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


@pytest.fixture
def stub_cifar(monkeypatch: pytest.MonkeyPatch) -> dict[int, type[StubCifar]]:
    """torchvision's two CIFARs, replaced by a few images of noise."""
    stubs: dict[int, type[StubCifar]] = {10: StubCifar, 100: StubCifar100}
    for classes, stub in stubs.items():
        monkeypatch.setattr(f"torchvision.datasets.CIFAR{classes}", stub)
    return stubs


WriteTree = Callable[..., Path]


@pytest.fixture
def write_tree(tmp_path: Path) -> WriteTree:
    """Writes so many grey-noise images per folder below a root."""

    def write(
        counts: dict[str, int], *, size: tuple[int, int] = (12, 10), low: int = 0, high: int = 256
    ) -> Path:
        rng = np.random.default_rng(0)
        for folder, count in counts.items():
            path = tmp_path / "images" / folder
            path.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = rng.integers(low, high, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / f"{i:03}.png")
        return tmp_path / "images"

    return write
