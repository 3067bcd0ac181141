import pickle

import pytest

from search_space.errors import InfeasibleBudget, Mismatch, SpecError, UnknownName, UserError


def test_an_unknown_name_lists_the_known_ones_in_order() -> None:
    assert (
        str(UnknownName("board", "pi9", ["pi4", "pi3"])) == "unknown board 'pi9'; known: pi3, pi4"
    )


def test_among_many_names_only_those_like_it_are_shown() -> None:
    many = [f"board-{i}" for i in range(21)]
    assert str(UnknownName("board", "BOARD_20", many, "`boards`")) == (
        "unknown board 'BOARD_20'; did you mean board-20? `boards` lists all 21"
    )
    assert "did you mean board-9 or board-8" in str(UnknownName("board", "board", many))
    assert str(UnknownName("board", "x", many, "`boards`")) == (
        "unknown board 'x'; `boards` lists all 21"
    )
    assert str(UnknownName("board", "x", many)) == "unknown board 'x'; there are 21"


@pytest.mark.parametrize(
    ("error", "code"),
    [(SpecError("x"), 2), (UnknownName("a", "b", []), 2), (InfeasibleBudget(), 3), (Mismatch(), 5)],
)
def test_every_error_that_input_causes_is_a_user_error_with_an_exit_code(
    error: UserError, code: int
) -> None:
    assert isinstance(error, UserError)
    assert isinstance(error, ValueError)
    assert error.exit_code == code


def test_an_unknown_name_crosses_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(UnknownName("device", "x", ["b", "a"], "ls")))
    assert isinstance(error, UnknownName)
    assert str(error) == "unknown device 'x'; known: a, b"
