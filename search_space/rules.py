"""The rules that descriptions share, and how a broken one is worded."""

from __future__ import annotations

from collections.abc import Iterable

from search_space.errors import SpecError, shown

ACTIVATIONS = ("relu", "hard_swish")
MOST = 1_000_000
"""The largest number that a description may hold."""
MOST_LAYERS = 1_000
"""The most layers of a network: pricing one takes time in the square of its depth."""


def check_whole(owner: object, *names: str, least: int = 1, most: int = MOST) -> None:
    """Raises SpecError unless the named fields of ``owner`` are whole numbers in a range."""
    for name in names:
        value = getattr(owner, name)
        if type(value) is not int or value < least:
            raise SpecError(
                f"`{name}` (={shown(value)}) must be a whole number of at least {least}"
            )
        if value > most:
            raise SpecError(f"`{name}` (={shown(value)}) must be at most {most:,}")


def check_odd(owner: object, name: str) -> None:
    """Raises SpecError unless a field is an odd whole number."""
    check_whole(owner, name)
    value = getattr(owner, name)
    if value % 2 == 0:
        raise SpecError(f"`{name}` (={value}) must be odd")


def check_one_of(owner: object, name: str, known: Iterable[object]) -> None:
    """Raises SpecError unless a field holds one of the known values."""
    value = getattr(owner, name)
    if value not in known:
        raise SpecError(f"`{name}` (={shown(value)}) must be one of {', '.join(map(str, known))}")


def check_flag(owner: object, *names: str) -> None:
    """Raises SpecError unless the named fields are true or false."""
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, bool):
            raise SpecError(f"`{name}` (={shown(value)}) must be true or false")


def check_divides(product: int, formula: str, owner: object, divisor: str) -> None:
    """Raises SpecError unless the field ``divisor`` divides ``product``."""
    value = getattr(owner, divisor)
    if product % value:
        raise SpecError(f"{formula} (={product}) must be divisible by `{divisor}` (={value})")


def check_hidden(reduction: int, channels: int, formula: str) -> None:
    """Raises SpecError if squeeze-excite would have no hidden unit."""
    if reduction > channels:
        raise SpecError(
            f"`se_reduction` (={reduction}) must be at most {formula} (={channels}): the hidden"
            " layer would be empty"
        )
