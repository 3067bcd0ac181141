"""An ONNX network as a list of operations on values of known shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

from numpy.typing import NDArray

from search_space.errors import UserError

Array = NDArray[Any]
Dims = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxNode:
    """One operation.

    Attributes:
        op: Its ONNX type, or a name of :mod:`latency_models.onnx_patterns`.
        reads: The computed values that it reads.
        arguments: All that it reads by position, constants too; empty where one is left out.
        writes: Names of its values.
        attributes: By name; what is not set is absent.
    """

    op: str
    reads: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    writes: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxGraph:
    """Operations in the order of execution, for one image.

    Attributes:
        file: Where it was read.
        nodes: The operations.
        outputs: Values that the network returns.
        shapes: Of values and constants.
        constants: Values of constants; None of those that were not read.
    """

    file: str
    nodes: tuple[OnnxNode, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Dims]
    constants: Mapping[str, Array | None]

    @cached_property
    def makers(self) -> dict[str, OnnxNode]:
        """The node that writes a value."""
        return {name: node for node in self.nodes for name in node.writes}

    @cached_property
    def readers(self) -> dict[str, list[OnnxNode]]:
        """The nodes that read a value, as often as they do."""
        found: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in node.reads:
                found.setdefault(name, []).append(node)
        return found

    def read_once(self, name: str) -> bool:
        """Whether one operation alone reads a value."""
        return name not in self.outputs and len(self.readers.get(name, ())) == 1

    def shape(self, name: str) -> Dims:
        """The shape of a value or constant. Raises UserError where it is not known."""
        if name not in self.shapes:
            by = self.makers[name].op if name in self.makers else "the network"
            raise UserError(
                f"{self.file}: the shape of {name!r}, which {by} writes or reads, is not known;"
                " write the file with shapes that depend on no value and on ONNX's own operators"
            )
        return self.shapes[name]

    def elements(self, name: str) -> int:
        """Elements of a value or constant."""
        return prod(self.shape(name))

    def value(self, name: str) -> Array | None:
        """A constant's value, where it was read."""
        return self.constants.get(name)

    def with_nodes(self, nodes: Iterable[OnnxNode]) -> OnnxGraph:
        """The graph of other nodes on the same values."""
        return replace(self, nodes=tuple(nodes))
