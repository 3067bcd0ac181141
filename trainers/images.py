"""Image files: how one is decoded, and what becomes of those that cannot be."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from search_space.errors import UserError

MOST_UNREADABLE = 0.01
"""The share of a set's images that may be unreadable; a single one always may."""

_SHOWN_NAMES = 3

_DECODING_ERRORS = (
    *(OSError, EOFError, SyntaxError, ValueError, OverflowError, struct.error),
    Image.DecompressionBombError,
)
"""What Pillow raises on damaged files of one format or another."""


class Unreadable(Exception):
    """A file that holds no whole image; ``str()`` says why."""


def read_rgb(path: Path) -> Image.Image:
    """Decodes a file to eight bits each of red, green and blue.

    Raises:
        Unreadable: it holds no whole image.
    """
    try:
        with Image.open(path) as image:
            return _rgb(image)
    except _DECODING_ERRORS as error:
        raise Unreadable(str(error)) from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # grey of 16 bits, which Pillow would clip
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "P":  # a palette, perhaps with transparency
        image = image.convert("RGBA")
    return image.convert("RGB")


@contextmanager
def quiet_decoder() -> Iterator[None]:
    """Silences Pillow on metadata: a damaged EXIF block says nothing about the pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def most_unreadable(n: int) -> int:
    """How many of ``n`` images may be unreadable; one always remains."""
    return min(max(1, int(n * MOST_UNREADABLE)), n - 1)


def check_unreadable(reasons: Mapping[str, str], n: int) -> None:
    """Checks that of ``n`` images not too many are unreadable.

    Args:
        reasons: By file, why it cannot be read.
        n: How many images there are, readable or not.

    Raises:
        UserError: they are more than :func:`most_unreadable`.
    """
    if len(reasons) <= most_unreadable(n):
        return
    raise UserError(
        f"{len(reasons)} of {n:,} images cannot be read, at most {most_unreadable(n)} may be:"
        f" {shortened([f'{name} ({reason})' for name, reason in reasons.items()])};"
        " mend or remove them"
    )


def shortened(names: Sequence[str]) -> str:
    """The first few names, and how many there are besides."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def check_memory(n: int, size: int) -> None:
    """Raises UserError where ``n`` images of ``size`` x ``size`` bytes fill this machine."""
    needed, there = 3 * n * size**2, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise UserError(
            f"`resolution` (={size}) makes {n:,} images of {needed / 1e9:,.0f} GB, more than the"
            f" {there / 1e9:,.0f} GB of this machine's memory; lower it"
        )


def decode(
    paths: Sequence[Path], transform: Callable[[Any], Tensor], size: int
) -> tuple[Tensor, list[int], dict[str, str]]:
    """Decodes files into memory.

    Returns:
        The readable images as bytes ``(N, 3, size, size)``, where they stand in ``paths``, and
        by file why it cannot be read.

    Raises:
        UserError: too many cannot be read, or all do not fit into memory.
    """
    check_memory(len(paths), size)
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)

    def read(i: int) -> str | None:
        try:
            images[i] = transform(read_rgb(paths[i]))
        except Unreadable as unreadable:
            return str(unreadable)
        return None

    with quiet_decoder(), ThreadPoolExecutor() as pool:
        reasons = list(pool.map(read, range(len(paths))))
    unreadable = {str(paths[i]): reason for i, reason in enumerate(reasons) if reason is not None}
    check_unreadable(unreadable, len(paths))
    readable = [i for i, reason in enumerate(reasons) if reason is None]
    return (images[readable] if unreadable else images), readable, unreadable
