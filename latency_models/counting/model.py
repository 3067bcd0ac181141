"""Counters of a kernel from its shape: what emulation measured, and what lies between.

Kernels that a runtime computes by one routine bear the name that :func:`routine` gives them; what
their work grows with are their :func:`amounts`. Counters are linear in these, with coefficients of
at least 0 for each routine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import yaml

from latency_models.counting.builds import BUILDS
from latency_models.kernels import Kernel
from search_space.errors import UserError

COUNTERS = ("multiply_adds", "others", "l1_misses", "l3_misses")
"""What a board has a price for: vector multiply-adds, all other instructions, cache misses."""
ROWS = 16
"""Of a product of matrices that read the weights once, about: it depends on the routine."""
ANY = "any"
"""In place of the rest of a routine's name: all kernels of the kind together."""
_LIKE = {"index_add": "gather", "other": "elementwise"}
_MOST_CHANNELS_DIRECTLY = 16
_MOST_CHANNELS_IN_LARGE_TILES = 128

Coefficients = tuple[tuple[float, ...], ...]
"""One row per counter, one column per amount."""


def routine(kernel: Kernel, lanes: int) -> str:
    """The name of the routine that computes a kernel: its kind, then what else tells it apart.

    Args:
        kernel: The kernel.
        lanes: Channels that the runtime stores side by side. Groups and pieces that are no multiple
            of them are ``ragged``, and computed by other routines.
    """
    return " ".join(word for word in (kernel.kind, *_words(kernel, lanes)) if word)


def _words(k: Kernel, lanes: int) -> tuple[str, ...]:
    shape = f"{k.kernel}x{k.kernel} s{k.stride}"
    match k.kind:
        case "conv" | "pointwise" | "grouped_conv" | "grouped_pointwise":
            inputs, outputs = k.in_channels // k.groups, k.out_channels // k.groups
            if k.in_channels == 3:
                return (shape, "image", _algorithm(k, lanes), _unfilled(lanes, outputs))
            return (shape, _algorithm(k, lanes), _ragged(lanes, inputs, outputs))
        case "depthwise":
            return (shape, _ragged(lanes, k.in_channels))
        case "pool":
            return (k.function or "max", shape, _ragged(lanes, k.out_channels))
        case "elementwise":
            return (k.function or "relu", _ragged(lanes, k.out_channels))
        case "binary":
            kind = "scale" if k.in_elements < 2 * k.out_elements else "add"
            return (kind, _ragged(lanes, k.out_channels))
        case "linear" | "global_pool":
            return (_ragged(lanes, k.in_channels, k.out_channels),)
        case "gather" | "concat" | "split":
            return (_ragged(lanes, k.out_channels // k.parts),)
        case "shuffle":
            return (_ragged(lanes, k.out_channels // k.groups),)
        case _:
            return ()


def _ragged(lanes: int, *channels: int) -> str:
    """How channels fail to fill registers, those read and those written apart where both are given;
    nothing where they do."""
    words = [_unfilled(lanes, n) for n in channels]
    if len(words) == 1:
        return words[0]
    return " ".join(f"{s}-{word}" for s, word in zip(("in", "out"), words, strict=True) if word)


def _unfilled(lanes: int, channels: int) -> str:
    if channels % lanes == 0:
        return ""
    # Half-filled registers are handled as such where they hold eight.
    return "halves" if lanes == 8 and channels % 4 == 0 else "ragged"


def _algorithm(k: Kernel, lanes: int) -> str:
    """``winograd`` and its tile, ``wide`` where windows are copied for a product of matrices, or
    nothing; runtimes choose by channels of a group."""
    side = tile(k, lanes)
    if side:
        return f"winograd{side}"
    most = max(k.in_channels, k.out_channels) // k.groups
    return "wide" if lanes > 1 and k.kernel > 1 and most > _MOST_CHANNELS_DIRECTLY else ""


def tile(k: Kernel, lanes: int) -> int:
    """Outputs a side that Winograd's algorithm computes at once; 0 where it is not used.

    That is ncnn's choice (``convolution_arm.cpp``, ``convolution_arm_asimdhp.cpp``);
    onnxruntime has no such routine for ARM.
    """
    windows = k.kernel == 3 and k.stride == 1 and k.kind in ("conv", "grouped_conv")
    fewest, most = sorted((k.in_channels // k.groups, k.out_channels // k.groups))
    if lanes == 1 or not windows or most < 2 * lanes:
        return 0
    if most <= _MOST_CHANNELS_IN_LARGE_TILES:
        return 6
    return 4 if fewest >= 2 * lanes else 2


def stand_ins(name: str) -> list[str]:
    """What is asked for a routine's coefficients, the nearest first."""
    kind, *rest = name.split()
    found = [" ".join([kind, *rest[:n]]) for n in range(len(rest), -1, -1)]
    found += [f"{kind} {ANY}"]
    return [*found, *stand_ins(" ".join([_LIKE[kind], *rest]))] if kind in _LIKE else found


def amounts(k: Kernel, lanes: int) -> tuple[float, ...]:
    """What the work of a kernel grows with.

    Where it multiplies, as a product of matrices with a row per output position, or per tile of
    Winograd's algorithm: multiply-adds executed; inputs as often as windows hold them; elements
    read and written; weights; groups; the call; channels read and written, in each tile; weights
    for each block of rows. Where it moves: elements read and written and those of windows, channels
    read and written, pieces, the call.
    """
    if not k.macs:
        window = k.kernel**2 * k.out_elements if k.kind == "pool" else 0
        elements = (k.in_elements, k.out_elements, window)
        return (*elements, k.in_channels, k.out_channels, k.parts, 1)
    patches = k.macs * k.groups // k.out_channels
    positions = k.out_elements // k.out_channels
    side, tiles = tile(k, lanes), 1
    rows, weights = positions, float(k.weights)
    if side:
        rows = tiles = (-(-math.isqrt(positions) // side)) ** 2
        weights *= ((side + 2) / k.kernel) ** 2
    macs = rows * weights if side else k.macs
    return (
        *(macs, patches, k.in_elements, k.out_elements, k.weights, k.groups, 1),
        *(tiles * k.in_channels, tiles * k.out_channels, -(-rows // ROWS) * weights),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Counters:
    """What kernels cost in one build of a runtime on one kind of core.

    Attributes:
        runtime: ``ncnn`` or ``onnxruntime``.
        precision: What it computes in.
        core: The emulated core.
        lanes: Channels that it stores side by side.
        versions: Of what was emulated and of the emulator.
        routines: Coefficients by the name of the routine.
    """

    runtime: str
    precision: str
    core: str
    lanes: int
    versions: Mapping[str, str]
    routines: Mapping[str, Coefficients]

    def counts(self, kernel: Kernel) -> tuple[float, ...] | None:
        """The predicted counters of a kernel, as ``COUNTERS``; None where nothing like it was
        measured."""
        for name in stand_ins(routine(kernel, self.lanes)):
            rows = self.routines.get(name)
            if rows is not None:
                given = amounts(kernel, self.lanes)
                return tuple(
                    [sum([c * a for c, a in zip(row, given, strict=True)]) for row in rows]
                )
        return None

    def to_yaml(self) -> str:
        """The form that :func:`load_counters` reads."""
        data = asdict(self)
        data["routines"] = {
            name: dict(zip(COUNTERS, map(_text, rows), strict=True))
            for name, rows in sorted(self.routines.items())
        }
        return yaml.safe_dump(data, sort_keys=False, width=200)


def _text(row: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in row)


def load_counters(path: Path) -> Counters:
    """Reads what :meth:`Counters.to_yaml` wrote.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        data["routines"] = {
            name: tuple(tuple(map(float, rows[counter].split())) for counter in COUNTERS)
            for name, rows in data["routines"].items()
        }
        return Counters(**data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"counters {path}: cannot be read: {error}; install the package anew"
        ) from None


@cache
def counters(runtime: str, precision: str) -> Counters | None:
    """Those of a runtime that computes in a precision; None where none were measured."""
    for build in BUILDS:
        if (build.runtime, build.precision) == (runtime, precision):
            return load_counters(build.model)
    return None
