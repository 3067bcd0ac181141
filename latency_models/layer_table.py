"""Tables of networks' layers and of their measured milliseconds, as kernels and times.

A layer table has one row per layer with the columns ``model, op, cin, cout, hout, k, stride,
groups, macs, params, in_elems, out_elems`` (``kh`` may stand for ``k``). A table of measurements
has a column ``model`` and one of milliseconds.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from latency_models.kernels import Kernel, MoveKind, conv_kind
from search_space.errors import UserError

# What ncnn's own layer names become; `reshape` is a view, `det` is constants and box decoding.
_NOT_KERNELS = ("reshape", "det")
_MOVES: dict[str, MoveKind] = {
    "act": "elementwise",
    "bnscale": "elementwise",
    "eltwise": "binary",
    "concat": "concat",
    "slice": "split",
    "shuffle": "shuffle",
    "pool": "pool",
    "gpool": "global_pool",
    "interp": "other",
    "lrn": "other",
    "pad": "other",
    "permute": "other",
    "softmax": "other",
}
_FUNCTIONS = {
    "act": "relu",
    "bnscale": "norm",
    "lrn": "lrn",
    "softmax": "softmax",
    "LRN": "lrn",
    "Softmax": "softmax",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "Swish": "swish",
    "BatchNorm": "norm",
}
"""What layers of a function compute, by ncnn's type or else by the operation."""
_CONVS = ("conv", "pwconv", "dwconv", "gconv", "gpwconv")


def read_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a table with a header; raises UserError where it lacks one of the columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise UserError(f"{path} lacks the columns {', '.join(sorted(missing))}")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _kernel(row: Mapping[str, str]) -> Kernel | None:
    """One row of a layer table; None for what is not executed."""

    def number(name: str) -> int:
        value = int(float(row[name]))
        if value < 0:
            raise UserError(f"`{name}` (={row[name]}) must be at least 0")
        return value

    def setting(name: str) -> int:
        """1 where the cell is empty: what has no window has no stride and no groups."""
        value = int(float(row[name] or 1))
        if value < 1:
            raise UserError(f"`{name}` (={row[name]}) must be at least 1")
        return value

    op = row["op"]
    if op in _NOT_KERNELS:
        return None
    window = setting("kh" if "kh" in row else "k")
    moved: dict[str, Any] = {
        "in_channels": number("cout" if op == "concat" else "cin"),
        "out_channels": number("cout"),
        "in_elements": number("in_elems"),
        "out_elements": number("out_elems"),
    }
    if op in _MOVES:
        # How many tensors are joined is not told; two is what most layers join.
        return Kernel(
            kind=_MOVES[op],
            kernel=window,
            stride=setting("stride"),
            groups=setting("groups"),
            parts=2 if op in ("concat", "slice") else 1,
            function=_FUNCTIONS.get(row.get("ncnn_type") or op, ""),
            **moved,
        )
    if op == "fc":
        return Kernel(kind="linear", macs=number("macs"), weights=number("params"), **moved)
    if op not in _CONVS:
        raise UserError(f"`op` (={op!r}) must be one of {', '.join((*_CONVS, 'fc', *_MOVES))}")
    kind = conv_kind(
        inputs=moved["in_channels"],
        outputs=moved["out_channels"],
        kernel=window,
        groups=setting("groups"),
        out_size=number("hout"),
    )
    return Kernel(
        kind=kind,
        macs=number("macs"),
        weights=number("params"),
        kernel=window,
        stride=setting("stride"),
        groups=setting("groups"),
        **moved,
    )


def read_layers(path: Path) -> dict[str, list[Kernel]]:
    """The kernels of every network of a layer table, by the network's name.

    Raises:
        UserError: the table cannot be read or holds an operation that has no kind.
    """
    shape = ("cin", "cout", "hout", "stride", "groups")
    columns = ("model", "op", *shape, "macs", "params", "in_elems", "out_elems")
    networks: dict[str, list[Kernel]] = defaultdict(list)
    rows = read_rows(path, columns)
    if rows and not rows[0].keys() & {"k", "kh"}:
        raise UserError(f"{path} lacks the column k, the side of the window; add it")
    for line, row in enumerate(rows, start=2):
        try:
            kernel = _kernel(row)
        except UserError as error:
            raise UserError(f"{path}, line {line}: {error}") from None
        except (TypeError, ValueError, OverflowError):
            raise UserError(
                f"{path}, line {line}: a cell is missing or no number; write whole numbers, and"
                " nothing where a layer has no window"
            ) from None
        if kernel:
            networks[row["model"]].append(kernel)
    if not networks:
        raise UserError(f"{path} holds no layer; write one row for each")
    return dict(networks)


def times_of(
    rows: Iterable[Mapping[str, str]], column: str, *, named: str = "model"
) -> dict[str, float]:
    """The milliseconds in a column by network; empty cells were not measured.

    Args:
        rows: Of a table.
        column: That of the milliseconds.
        named: That of the networks' names.

    Raises:
        UserError: a cell is no time above 0, or a network has two.
    """
    found: dict[str, float] = {}
    for row in rows:
        name, cell = row[named], row[column]
        if not cell:
            continue
        try:
            ms = float(cell)
        except ValueError:
            ms = math.nan
        if not 0 < ms < math.inf:
            raise UserError(f"`{column}` (={cell!r}) of {name} must be milliseconds above 0")
        if name in found:
            raise UserError(f"{name} has two rows with `{column}`; leave one")
        found[name] = ms
    return found


def read_times(path: Path, column: str) -> dict[str, float]:
    """As :func:`times_of`, of a table with the columns ``model`` and ``column``."""
    return times_of(read_rows(path, ("model", column)), column)
