"""Randomness as a function of a key, such as (seed, epoch, image), and of nothing else.

What is drawn for one image or one epoch then depends neither on what was drawn before it nor on
which process draws it: a training that is resumed or spread over processes sees the same images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_of(*key: int) -> int:
    """A seed for a key of non-negative integers."""
    # With its length, as trailing zeros would not count.
    return int(np.random.SeedSequence([len(key), *key]).generate_state(1, np.uint64)[0])


def generator_of(*key: int) -> torch.Generator:
    """A generator on the CPU that starts at the key's seed."""
    return torch.Generator().manual_seed(seed_of(*key))


@contextmanager
def default_generator_kept() -> Iterator[None]:
    """Gives torch's default generator back as it was.

    torchvision's transforms can draw from no other one.
    """
    before = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
