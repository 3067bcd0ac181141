"""A benchmark in which every network has been trained, as a space that searchers search.

A table has columns ``x_*`` (the choices, whole numbers), ``acc`` (per cent, what a training
reveals; ``acc_*`` are other such figures), ``c_*`` (costs that are known before training) and
``p_*`` (scores at initialisation, which may be infinite).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from search_space.errors import SpecError, UnknownName, UserError
from search_space.space import Choice, Choices, Dimension


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network of a table."""

    index: int
    id: str


class Table:
    """The columns of a file as numbers.

    Raises:
        UserError: the file cannot be read, holds no networks or the same one twice, or a value is
            no number where there must be one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header, rows = _read(path)
        if not rows:
            raise UserError(f"{path}: holds no networks")
        self.columns = {
            name: _numbers(path, name, [row[i] for row in rows]) for i, name in enumerate(header)
        }
        if not self.named("x_"):
            raise UserError(f"{path}: has no column of choices, whose names begin with x_")

    def named(self, prefix: str) -> list[str]:
        """The columns whose names begin so."""
        return [name for name in self.columns if name.startswith(prefix)]

    def column(self, name: str) -> np.ndarray:
        """The numbers of a column, which are finite, ``(rows,)``.

        Raises:
            UnknownName: there is no such column.
            UserError: one of its numbers is infinite.
        """
        if name not in self.columns:
            raise UnknownName(f"column of {self.path}", name, self.columns)
        values = self.columns[name]
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise UserError(f"{self.path}: `{name}` (={values[row]}) of row {row + 1} is infinite")
        return values


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from None
    rows = [row for row in rows if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} values, the header {len(header)}")
    return header, rows


_KINDS = ("x_", "acc", "c_", "p_")


def _numbers(path: Path, name: str, texts: Sequence[str]) -> np.ndarray:
    """A column as numbers; those of other kinds may hold anything and are not read."""
    if not name.startswith(_KINDS):
        return np.full(len(texts), np.nan)
    values = np.empty(len(texts))
    for i, text in enumerate(texts):
        try:
            values[i] = float(text)
        except ValueError:
            values[i] = np.nan
        if np.isnan(values[i]) or (name.startswith("x_") and values[i] != round(values[i])):
            kind = "whole number" if name.startswith("x_") else "number"
            raise UserError(f"{path}: `{name}` (={text!r}) of row {i + 1} must be a {kind}")
    return values


class TableSpace:
    """The networks of a table: a :class:`~search_space.searchable.Searchable`.

    Raises:
        UserError: two rows have the same choices.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        names = table.named("x_")
        self._names = [name for name in names if len(np.unique(table.columns[name])) > 1]
        choices = np.stack([table.column(name) for name in names], axis=1).astype(int)
        varying = [names.index(name) for name in self._names]
        self._choices = choices[:, varying]
        self._rows: dict[tuple[int, ...], Row] = {}
        for index, values in enumerate(self._choices.tolist()):
            row = Row(index=index, id="-".join(map(str, values)))
            first = self._rows.setdefault(tuple(values), row)
            if first is not row:
                raise UserError(
                    f"{table.path}: rows {first.index + 1} and {index + 1} have the same choices"
                )

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The columns of choices, without those that hold one number only."""
        return tuple(
            Dimension(
                name=name,
                choices=tuple(int(v) for v in np.unique(self.table.columns[name])),
                ordered=self._is_ordered(name),
            )
            for name in self._names
        )

    def _is_ordered(self, name: str) -> bool:
        """Whether no cost falls, in the mean over all rows, from one choice to the next: then
        the numbers are sizes; else they are taken for mere labels."""
        column = self.table.columns[name]
        rises = [
            np.diff([self.table.columns[cost][column == v].mean() for v in np.unique(column)])
            for cost in self.table.named("c_")
        ]
        # Sums of the same numbers in another order differ by rounding.
        return bool(rises) and all(np.all(rise > -1e-9 * np.abs(rise).max()) for rise in rises)

    def sample(self, rng: np.random.Generator) -> Choices:
        """The choices of a row, each with equal probability."""
        return self._written(self._choices[rng.integers(len(self._choices))])

    def decode(self, choices: Mapping[str, Choice]) -> Row:
        """The row with these choices; raises SpecError where there is none."""
        values = tuple(int(choices[name]) for name in self._names)
        if values not in self._rows:
            raise SpecError(f"{self.table.path}: no row has the choices {values}")
        return self._rows[values]

    def encode(self, spec: Row) -> Choices:
        """The choices of a row."""
        return self._written(self._choices[spec.index])

    def _written(self, values: np.ndarray) -> Choices:
        return dict(zip(self._names, values.tolist(), strict=True))
