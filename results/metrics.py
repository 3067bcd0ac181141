"""Lists of records as CSV files: ``metrics.csv`` and ``steps.csv`` of a training.

A record is a frozen dataclass of numbers and words such as :class:`results.trial.EpochRow`; its
fields are the columns, in their order.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from results.folder import write_atomically
from search_space.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def columns(kind: type[DataclassInstance]) -> list[str]:
    """The columns of a kind of record."""
    return [field.name for field in dataclasses.fields(kind)]


def write_rows(path: Path, rows: Sequence[DataclassInstance]) -> None:
    """Replaces a CSV file by records of one kind; None becomes an empty cell.

    No records leave a header without columns, for their kind is not known.
    """
    names = columns(type(rows[0])) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    write_atomically(path, text.getvalue())


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The records that :func:`write_rows` wrote.

    Raises:
        UserError: the file cannot be read or holds other columns or values; the message names the
            record, the column and the value.
    """
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from None
    names = columns(kind)
    if lines == [[]]:
        return []
    if not lines or lines[0] != names:
        found = ",".join(lines[0]) if lines else ""
        raise UserError(
            f"{path}: the columns must be {','.join(names)}, not {found!r};"
            f" name a file of {kind.__name__} records"
        )
    types = typing.get_type_hints(kind)
    return [
        kind(**_values(f"{path}, record {number}", cells, types))
        for number, cells in enumerate(lines[1:], start=1)
    ]


def _values(where: str, cells: Sequence[str], types: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of one record by name."""
    if len(cells) != len(types):
        raise UserError(f"{where}: has {len(cells)} cells and must have {len(types)}")
    return {
        name: _value(f"{where}: `{name}`", cell, type)
        for cell, (name, type) in zip(cells, types.items(), strict=True)
    }


def _value(where: str, cell: str, hint: Any) -> object:
    """What a cell says: an int, a float, a str, a Literal of words, or one of these or None."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if cell not in options:
            raise UserError(f"{where} (={cell!r}) must be one of {', '.join(options)}")
        return cell
    if options and cell == "":
        return None
    kind = next((option for option in options if option is not type(None)), hint)
    try:
        value: object = kind(cell)
    except ValueError:
        raise UserError(f"{where} (={cell!r}) must be of type {kind.__name__}") from None
    return value
