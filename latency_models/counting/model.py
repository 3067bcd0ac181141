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
TILES = (2, 4, 6)
"""Outputs a side that Winograd's algorithm computes at once; which one is the runtime's choice."""
ANY = "any"
"""In place of the rest of a routine's name: all kernels of the kind together."""
_LIKE = {"index_add": "gather", "other": "elementwise"}
_MIN_TILED_CHANNELS = 8

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
                return (shape, "image")
            wide = _may_tile(k) and max(inputs, outputs) > _MIN_TILED_CHANNELS
            return (shape, "wide" if wide else "", _ragged(lanes, inputs, outputs))
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


def _may_tile(k: Kernel) -> bool:
    return k.kernel == 3 and k.stride == 1 and k.kind in ("conv", "grouped_conv")


def stand_ins(name: str) -> list[str]:
    """What is asked for a routine's coefficients, the nearest first."""
    kind, *rest = name.split()
    found = [" ".join([kind, *rest[:n]]) for n in range(len(rest), -1, -1)]
    found += [f"{kind} {ANY}"]
    return [*found, *stand_ins(" ".join([_LIKE[kind], *rest]))] if kind in _LIKE else found


def amounts(k: Kernel) -> tuple[float, ...]:
    """What the work of a kernel grows with.

    Where it multiplies: multiply-adds; inputs as often as windows hold them; elements read and
    written; weights; groups; the call; and for what Winograd's algorithm may compute, for each size
    of tile its products and the channels that it transforms. Where it moves: elements read and
    written and those of windows, channels read and written, pieces, the call.
    """
    if not k.macs:
        window = k.kernel**2 * k.out_elements if k.kind == "pool" else 0
        elements = (k.in_elements, k.out_elements, window)
        return (*elements, k.in_channels, k.out_channels, k.parts, 1)
    patches = k.macs * k.groups // k.out_channels
    side = math.isqrt(k.out_elements // k.out_channels)
    tiles = [(-(-side // n)) ** 2 if _may_tile(k) else 0 for n in TILES]
    return (
        *(k.macs, patches, k.in_elements, k.out_elements, k.weights, k.groups, 1),
        *(t * k.weights for t in tiles),
        *(t * k.in_channels for t in tiles),
        *(t * k.out_channels for t in tiles),
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
                given = amounts(kernel)
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
