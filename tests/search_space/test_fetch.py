import pytest

from search_space.fetch import fetched


@pytest.mark.parametrize(
    ("layer", "positions"),
    [
        # SparseNet's code (denselink.py), newest first there; the block input is output 0.
        (1, (0,)),
        (2, (0, 1)),
        (3, (1, 2)),
        (4, (0, 2, 3)),
        (5, (1, 3, 4)),
        (8, (0, 4, 6, 7)),
        (9, (1, 5, 7, 8)),
        (16, (0, 8, 12, 14, 15)),
        (17, (1, 9, 13, 15, 16)),
    ],
)
def test_base_2_reads_what_the_authors_code_reads(layer: int, positions: tuple[int, ...]) -> None:
    assert fetched(layer, "exponential", 2) == positions


@pytest.mark.parametrize(
    ("layer", "positions"),
    [
        # Offsets 1, 3, 9 (equation 2 with c = 3).
        (1, (0,)),
        (2, (1,)),
        (3, (0, 2)),
        (4, (1, 3)),
        (8, (5, 7)),
        (9, (0, 6, 8)),
        (10, (1, 7, 9)),
    ],
)
def test_base_3_reads_at_powers_of_3(layer: int, positions: tuple[int, ...]) -> None:
    assert fetched(layer, "exponential", 3) == positions


def test_dense_reads_everything_whatever_the_base() -> None:
    assert fetched(4, "dense", 2) == fetched(4, "dense", 3) == (0, 1, 2, 3)


@pytest.mark.parametrize("base", [2, 3, 4, 10])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 33])
def test_offsets_are_the_powers_of_the_base(count: int, base: int) -> None:
    offsets = [count - position for position in reversed(fetched(count, "exponential", base))]
    assert offsets == [base**i for i in range(len(offsets))]
    assert offsets[-1] <= count < offsets[-1] * base
