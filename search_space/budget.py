"""Counts as people write them, ``150M``, ``1.2G``, ``150e6``, and times as they read them."""

from __future__ import annotations

import math
import re

from search_space.errors import UserError

SUFFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}


def parse_count(text: str, what: str = "budget") -> int:
    """A number of MACs from ``150M``, ``1.2G``, ``150e6`` or ``150000000``.

    Raises:
        UserError: the text is not such a number, or less than 1; the message names ``what``.
    """
    match = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)([KMG]?)", text.strip(), re.I | re.ASCII)
    try:
        value = float(match[1]) * SUFFIXES[match[2].upper()] if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1):
        raise UserError(
            f"{what} {text!r} must be a number of at least 1, such as 150M, 1.2G or 150e6"
        )
    return round(value)


def format_count(value: float) -> str:
    """``140468656`` as ``140.47M``."""
    if value < SUFFIXES["K"]:
        return f"{value:.0f}"
    # The first unit in which the rounded number has at most three digits before the point.
    suffix = next((s for s in "KM" if round(value / SUFFIXES[s], 2) < 1000), "G")
    return f"{value / SUFFIXES[suffix]:.2f}{suffix}"


def format_seconds(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.4 h``"""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def counted(number: int, noun: str) -> str:
    """``1 epoch``, ``3 epochs``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
