"""Keys determine what is drawn, and leave torch's default generator alone."""

from __future__ import annotations

import pytest
import torch

from trainers.keyed import default_generator_kept, generator_of, seed_of


def test_a_key_gives_the_same_seed_each_time_and_others_give_others() -> None:
    keys = [(0,), (1,), (0, 1), (1, 0), (0, 0, 1), (2**40, 3)]
    seeds = [seed_of(*key) for key in keys]
    assert seeds == [seed_of(*key) for key in keys]
    assert len(set(seeds)) == len(keys)


def test_a_generator_starts_at_the_seed_of_its_key() -> None:
    drawn = torch.rand(3, generator=generator_of(4, 2))
    expected = torch.rand(3, generator=torch.Generator().manual_seed(seed_of(4, 2)))
    assert torch.equal(drawn, expected)


def test_the_default_generator_comes_back_even_after_an_error() -> None:
    before = torch.default_generator.get_state()

    @default_generator_kept()
    def draw_and_fail() -> None:
        torch.manual_seed(3)
        torch.rand(5)
        raise KeyError

    with pytest.raises(KeyError):
        draw_and_fail()
    assert torch.equal(torch.default_generator.get_state(), before)
