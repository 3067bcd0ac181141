"""Rules that descriptions share: what passes, and how a broken one is worded."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from search_space import SpecError
from search_space.rules import (
    check_divides,
    check_flag,
    check_hidden,
    check_odd,
    check_one_of,
    check_whole,
)

OWNER = SimpleNamespace(four=4, three=3, minus=-1, half=0.5, yes=True, text="dense", none=None)

KEPT: list[Callable[[], None]] = [
    lambda: check_whole(OWNER, "four", "three"),
    lambda: check_whole(OWNER, "minus", least=-1),
    lambda: check_odd(OWNER, "three"),
    lambda: check_one_of(OWNER, "text", ("dense", "sparse")),
    lambda: check_flag(OWNER, "yes"),
    lambda: check_divides(12, "`width`", OWNER, "four"),
    lambda: check_hidden(8, 8, "`width`"),
]
BROKEN: list[tuple[Callable[[], None], str]] = [
    (lambda: check_whole(OWNER, "four", "half"), "`half` (=0.5) must be a whole number of at"),
    (lambda: check_whole(OWNER, "yes"), "`yes` (=True) must be a whole number of at least 1"),
    (
        lambda: check_whole(OWNER, "four", least=5),
        "`four` (=4) must be a whole number of at least 5",
    ),
    (lambda: check_odd(OWNER, "four"), "`four` (=4) must be odd"),
    (lambda: check_odd(OWNER, "none"), "`none` (=None) must be a whole number of at least 1"),
    (lambda: check_one_of(OWNER, "text", (1, 2)), "`text` (='dense') must be one of 1, 2"),
    (lambda: check_flag(OWNER, "yes", "four"), "`four` (=4) must be true or false"),
    (
        lambda: check_divides(13, "`width` / 2", OWNER, "four"),
        "`width` / 2 (=13) must be divisible by `four` (=4)",
    ),
    (
        lambda: check_hidden(9, 8, "`width`"),
        "`se_reduction` (=9) must be at most `width` (=8): the hidden layer would be empty",
    ),
]


@pytest.mark.parametrize("check", KEPT)
def test_a_kept_rule_says_nothing(check: Callable[[], None]) -> None:
    assert check() is None


@pytest.mark.parametrize(("check", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_a_broken_rule_says_name_value_and_rule(check: Callable[[], None], message: str) -> None:
    with pytest.raises(SpecError) as error:
        check()
    assert str(error.value).startswith(message)
