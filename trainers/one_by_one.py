"""Images that are read and augmented one at a time, in this process or in several."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from search_space.errors import UserError
from trainers.augment import Augmentation
from trainers.images import Unreadable, most_unreadable, quiet_decoder
from trainers.keyed import default_generator_kept, seed_of

T = TypeVar("T")


class Images(Protocol):
    """Images by index, as PIL's or as bytes ``(3, H, W)``."""

    def name(self, index: int) -> str:
        """What an image is called."""

    def read(self, index: int) -> Any:
        """The image; raises :class:`Unreadable`."""


class Loaded(NamedTuple):
    """A batch: images ``(n, 3, size, size)``, labels ``(n,)``, and by file why it was replaced.

    There are no images where too many in a row were unreadable.
    """

    images: Tensor | None
    labels: Tensor
    unreadable: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class OneByOne(Dataset[Loaded]):
    """Batches by the indices of their images.

    An unreadable image is replaced by the next readable one, with that one's label.

    Attributes:
        source: What the images are read from.
        labels: ``(N,)``.
        mean, std: ``(3, 1, 1)``, of bytes.
        augmentation: What is done to each.
        key: What is drawn for image i is a function of (\\*key, i); None where nothing is drawn.
    """

    source: Images
    labels: Tensor
    mean: Tensor
    std: Tensor
    augmentation: Augmentation
    key: tuple[int, ...] | None

    def __getitem__(self, indices: Sequence[int]) -> Loaded:
        unreadable: dict[str, str] = {}
        images, labels = [], []
        with quiet_decoder(), default_generator_kept():
            for index in indices:
                found = self._readable(index, unreadable)
                if found is None:
                    return Loaded(None, self.labels[:0], unreadable)
                images.append(self._finished(found[0], index))
                labels.append(found[1])
        batch = torch.stack(images).contiguous(memory_format=torch.channels_last)
        return Loaded(batch, torch.tensor(labels), unreadable)

    def _readable(self, index: int, unreadable: dict[str, str]) -> tuple[Any, int] | None:
        """The first readable image from an index on, and its label; None if it is too far."""
        n = len(self.labels)
        for i in (j % n for j in range(index, index + most_unreadable(n) + 1)):
            try:
                return self.source.read(i), int(self.labels[i])
            except Unreadable as error:
                unreadable[self.source.name(i)] = str(error)
        return None

    def _finished(self, image: Any, index: int) -> Tensor:
        if self.key is not None:
            torch.default_generator.manual_seed(seed_of(*self.key, index))
        pixels = self.augmentation.pixels(image).float().sub_(self.mean).div_(self.std)
        after = self.augmentation.normalised
        return pixels if after is None else after(pixels)


def read_batches(
    dataset: Dataset[T], batches: Sequence[Tensor], *, workers: int = 0
) -> Iterator[T]:
    """Reads batches in order, ahead of their use where ``workers`` processes do it.

    The data set takes the indices of a whole batch at once.

    Raises:
        UserError: one of these processes was killed.
    """
    indices = [batch.tolist() for batch in batches]
    if not workers:
        yield from map(dataset.__getitem__, indices)
        return
    try:
        yield from _loader(dataset, indices, workers)
    except (OSError, EOFError, RuntimeError) as error:
        # Errors of files are caught where they are read; these are of what lies between.
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise UserError(
            f"a process that reads images has ended or cannot be reached ({error}); it may have"
            f" lacked memory: use fewer than `workers` (={workers})"
        ) from None


def _loader(dataset: Dataset[T], indices: list[list[int]], workers: int) -> DataLoader[T]:
    with warnings.catch_warnings():
        # How many processes there are is the user's decision.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        return DataLoader(
            dataset,
            sampler=indices,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            worker_init_fn=_leave_ctrl_c,
            multiprocessing_context=_processes(),
            # Its own, as it would draw from torch's default one.
            generator=torch.Generator(),
        )


def _processes() -> multiprocessing.context.BaseContext:
    """How processes begin: forked, but never from this one, which may run threads or a GPU.

    They come from a server that has imported what they need, so they start in little time.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torchvision.transforms.v2"])
    return context


def _leave_ctrl_c(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; what becomes of it, the training decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(loaded: Any) -> Any:
    return loaded
