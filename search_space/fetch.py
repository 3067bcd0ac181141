"""Which earlier outputs a layer reads: dense, or at exponentially growing offsets."""

from __future__ import annotations

from functools import lru_cache

FETCH_RULES = ("dense", "exponential")


@lru_cache(maxsize=4096)
def fetched(count: int, rule: str, base: int) -> tuple[int, ...]:
    """Positions, oldest first, that are read out of ``count`` outputs (the stage input is 0).

    ``dense`` reads all. ``exponential`` reads ``count - 1``, ``count - c``, ``count - c**2``, ...
    with ``c = base``; the stage's own output is the same rule applied once more (SparseNet,
    equation 2, with the block input as output 0 as in the authors' code).
    """
    if rule == "dense":
        return tuple(range(count))
    positions = []
    offset = 1
    while offset <= count:
        positions.append(count - offset)
        offset *= base
    return tuple(reversed(positions))


@lru_cache(maxsize=4096)
def updates_read(depth: int, rule: str, base: int) -> tuple[bool, ...]:
    """For each layer of a stage whether anything it fetches is fetched again after it.

    Where nothing is, an update of what it fetched would reach nobody: under exponential fetch
    with a base above 2 that is so for the last layer at least.
    """
    reads = [set(fetched(count, rule, base)) for count in range(1, depth + 2)]
    return tuple(
        any(reads[layer] & later for later in reads[layer + 1 :]) for layer in range(depth)
    )


@lru_cache(maxsize=4096)
def plainest_fetch(depth: int, rule: str, base: int) -> tuple[str, int]:
    """The first of dense, base 2, 3, ... that reads the same outputs at every layer of a stage."""

    def reads(rule: str, base: int) -> list[tuple[int, ...]]:
        return [fetched(n, rule, base) for n in range(1, depth + 2)]

    if rule == "dense":
        return "dense", 2
    mine = reads(rule, base)
    if mine == reads("dense", 2):
        return "dense", 2
    same = (b for b in range(2, base) if reads("exponential", b) == mine)
    return "exponential", next(same, base)
