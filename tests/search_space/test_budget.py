import pytest

from search_space import UserError, format_count, parse_count
from search_space.budget import counted, format_seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("150M", 150_000_000),
        ("150m", 150_000_000),
        ("1.2G", 1_200_000_000),
        ("2k", 2_000),
        (".5K", 500),
        ("150e6", 150_000_000),
        ("1.5E+8", 150_000_000),
        ("1e-3G", 1_000_000),
        ("150000000", 150_000_000),
        (" 150M\n", 150_000_000),
        ("1", 1),
        ("1.4", 1),
    ],
)
def test_counts_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "M", ".", "e6", "1e", "0", "0.9", "-1", "-0", "+5", "nan", "inf", "Infinity"),
        *("1e400", "150 M", "1.2.3M", "150MM", "150T", "1_000", "0x10", "1,000", "15\uff10M"),
    ],
)
def test_other_texts_are_refused_by_name_and_value(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_count(text, "--max-macs")
    message = str(error.value)
    assert message.startswith(f"--max-macs {text!r} must be a number of at least 1")
    assert "150M" in message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00K"),
        (520_202, "520.20K"),
        (140_468_656, "140.47M"),
        (1.5e9, "1.50G"),
        (1e12, "1000.00G"),
    ],
)
def test_counts_are_shown_in_the_largest_unit_that_fits(value: float, text: str) -> None:
    assert format_count(value) == text


@pytest.mark.parametrize("value", [1, 2_000, 45_870_000, 1_200_000_000])
def test_what_is_shown_can_be_read(value: int) -> None:
    assert parse_count(format_count(value)) == value


def test_a_letter_that_only_looks_like_a_suffix_is_refused() -> None:
    with pytest.raises(UserError, match="must be a number"):
        parse_count("2\u212a")


def test_rounding_moves_on_to_the_next_unit() -> None:
    assert format_count(999_999) == "1.00M"
    assert format_count(999_999_999) == "1.00G"


def test_nouns_are_counted() -> None:
    assert [counted(n, "epoch") for n in (0, 1, 1234)] == ["0 epochs", "1 epoch", "1,234 epochs"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (9e5, "250.0 h"),
    ],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
