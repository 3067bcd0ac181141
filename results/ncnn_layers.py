"""Layers of an ncnn network, as the lines of a ``.param`` file have them.

A line names a layer's kind and name, how many blobs it reads and writes, these, and its parameters
by number (ncnn's wiki, "param and model file structure").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

MAGIC = 7767517
"""What a file begins with."""

Parameter = int | float | Sequence[int] | Sequence[float]
Parameters = dict[int, Parameter]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One line of ``.param``.

    Args:
        kind: Of ncnn's layers.
        name: Its own, without spaces.
        inputs: Names of the blobs that it reads.
        outputs: Names of those that it writes.
        parameters: By ncnn's numbers.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Parameters = field(default_factory=dict)

    def __str__(self) -> str:
        counts = (str(len(self.inputs)), str(len(self.outputs)))
        parameters = (_parameter(*p) for p in self.parameters.items())
        return " ".join((self.kind, self.name, *counts, *self.inputs, *self.outputs, *parameters))


def _parameter(number: int, value: Parameter) -> str:
    if isinstance(value, Sequence):  # a list has a number of its own, and its length in front
        return ",".join((f"{-23300 - number}={len(value)}", *map(_number, value)))
    return f"{number}={_number(value)}"


def _number(value: float) -> str:
    """At most the 15 characters that ncnn reads; one with a point is no integer."""
    return str(value) if isinstance(value, int) else f"{value:.7e}"


def param_text(layers: Sequence[Layer]) -> str:
    """The file: a mark, the numbers of layers and blobs, a line per layer."""
    blobs = sum(len(layer.outputs) for layer in layers)
    return "\n".join((str(MAGIC), f"{len(layers)} {blobs}", *map(str, layers))) + "\n"


def renamed(layers: Sequence[Layer], names: Mapping[str, str]) -> list[Layer]:
    """The layers with other names for some of the blobs."""
    return [
        replace(
            layer,
            inputs=tuple(names.get(blob, blob) for blob in layer.inputs),
            outputs=tuple(names.get(blob, blob) for blob in layer.outputs),
        )
        for layer in layers
    ]


def split(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with a copy of each blob for each that reads it: ncnn allows one reader."""
    readers = Counter(blob for layer in layers for blob in layer.inputs)
    copies: dict[str, list[str]] = {}
    result: list[Layer] = []
    for layer in layers:
        inputs = tuple(copies[b].pop(0) if b in copies else b for b in layer.inputs)
        result.append(replace(layer, inputs=inputs))
        for blob in layer.outputs:
            if readers[blob] > 1:
                copies[blob] = [f"{blob}_copy{i}" for i in range(readers[blob])]
                result.append(
                    Layer(
                        kind="Split",
                        name=f"{blob}_split",
                        inputs=(blob,),
                        outputs=tuple(copies[blob]),
                    )
                )
    return result
