"""An ONNX file as a list of operations on values of known shapes.

What depends on no image is a constant and no operation. Weights are never read, only their shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_space.errors import UserError
from search_space.optional import import_optional

Array = NDArray[Any]
Dims = tuple[int, ...]

MOST_VALUES = 65_536
"""Constants of more elements are weights: indices and shapes have fewer."""


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


def read_onnx(path: Path, resolution: int | None = None) -> OnnxGraph:
    """Reads a file for one image.

    Args:
        path: The file; weights beside it are not looked for.
        resolution: Pixels of the images, where the file leaves them open.

    Raises:
        UserError: it cannot be read, holds no network, or takes other images.
    """
    onnx = import_optional("onnx", extra="export")
    decode_error = import_optional("google.protobuf.message", extra="export").DecodeError
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, decode_error) as error:
        raise UserError(f"{path}: cannot be read as ONNX: {error}") from None
    if not model.graph.node:
        raise UserError(f"{path} holds no ONNX network; name a file that an exporter wrote")
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    _settle_images(model.graph, str(path), resolution)
    return _graph(model, str(path), _values(model.graph, path))


def _settle_images(graph: Any, file: str, resolution: int | None) -> None:
    """Writes batch 1 and the pixels into the inputs that are no constants."""
    constants = {t.name for t in graph.initializer}
    for image in graph.input:
        if image.name in constants:
            continue
        for axis, dim in enumerate(image.type.tensor_type.shape.dim):
            wanted = 1 if axis == 0 else resolution if axis > 1 else None
            if dim.dim_value > 0 and wanted not in (None, dim.dim_value):
                raise UserError(
                    f"{file}: axis {axis} of the input {image.name!r} (={dim.dim_value}) is fixed"
                    f" and must be {wanted} here; write the file anew with this size"
                )
            if dim.dim_value <= 0 and wanted is None:
                raise UserError(
                    f"{file}: axis {axis} of the input {image.name!r} is left open; give"
                    " --resolution for pixels, and write the file anew with other sizes fixed"
                )
            dim.dim_value = wanted or dim.dim_value


def _values(graph: Any, path: Path) -> dict[str, Array]:
    """Constants small enough to be indices, shapes or settings."""
    import onnx
    from onnx import TensorProto, numpy_helper

    found = {}
    for tensor in graph.initializer:
        external = tensor.data_location == TensorProto.EXTERNAL
        weighs = external and tensor.data_type not in (TensorProto.INT64, TensorProto.INT32)
        if weighs or prod(tensor.dims) > MOST_VALUES:
            continue
        try:
            found[tensor.name] = numpy_helper.to_array(tensor, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise UserError(
                f"{path}: the constant {tensor.name!r} cannot be read: {error}"
            ) from None
    return found


def _graph(model: Any, file: str, values: Mapping[str, Array]) -> OnnxGraph:
    """Node by node, as a shape may depend on the value of an earlier constant."""
    from onnx import defs, helper, shape_inference

    tensors = model.graph.initializer
    constants: dict[str, Array | None] = {t.name: values.get(t.name) for t in tensors}
    types = {image.name: image.type for image in model.graph.input}
    types |= {t.name: helper.make_tensor_type_proto(t.data_type, list(t.dims)) for t in tensors}
    versions = {opset.domain: opset.version for opset in model.opset_import}
    shapes = {name: dims for name in types if (dims := _dims(types[name])) is not None}
    nodes = []
    for proto in model.graph.node:
        try:
            types |= _inferred(proto, types, constants, versions)
        except (defs.SchemaError, shape_inference.InferenceError) as error:
            raise UserError(f"{file}: {proto.op_type} {proto.name!r}: {error}") from None
        shapes |= {n: d for n in proto.output if n in types and (d := _dims(types[n])) is not None}
        if _is_constant(proto, constants, shapes):
            constants |= _computed(proto, constants, shapes)
            continue
        nodes.append(
            OnnxNode(
                op=f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type,
                reads=tuple(n for n in proto.input if n and n not in constants),
                arguments=tuple(proto.input),
                writes=tuple(n for n in proto.output if n),
                attributes={a.name: helper.get_attribute_value(a) for a in proto.attribute},
            )
        )
    outputs = tuple(o.name for o in model.graph.output)
    return OnnxGraph(
        file=file, nodes=tuple(nodes), outputs=outputs, shapes=shapes, constants=constants
    )


def _dims(value: Any) -> Dims | None:
    """The shape in a type, if it is known."""
    tensor = value.tensor_type
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    return tuple(d.dim_value for d in tensor.shape.dim)


def _inferred(
    proto: Any,
    types: Mapping[str, Any],
    constants: Mapping[str, Array | None],
    versions: Mapping[str, int],
) -> dict[str, Any]:
    """The types of what a node writes; none where ONNX has no rule for it."""
    from onnx import defs, numpy_helper, shape_inference

    names = [name for name in proto.input if name]
    nested = any(a.HasField("g") for a in proto.attribute)
    if proto.domain or nested or not types.keys() >= {*names}:
        return {}
    values = {name: constants.get(name) for name in names}
    return shape_inference.infer_node_outputs(
        defs.get_schema(proto.op_type, versions[""], ""),
        proto,
        {name: types[name] for name in names},
        {name: numpy_helper.from_array(v, name) for name, v in values.items() if v is not None},
    )


def _is_constant(proto: Any, constants: Mapping[str, Any], shapes: Mapping[str, Dims]) -> bool:
    if proto.op_type == "Shape":
        return proto.input[0] in shapes
    return all(name in constants for name in proto.input if name) and not (
        proto.op_type.startswith("Random") or any(a.HasField("g") for a in proto.attribute)
    )


def _computed(
    proto: Any, constants: Mapping[str, Array | None], shapes: Mapping[str, Dims]
) -> dict[str, Array | None]:
    """What a constant operation writes; None where it works on weights or is not ONNX's own."""
    from onnx.reference import ReferenceEvaluator

    names: Sequence[str] = [n for n in proto.input if n]
    if proto.op_type == "Shape":
        feeds: dict[str, Any] = {names[0]: np.broadcast_to(0, shapes[names[0]])}
    else:
        feeds = {name: constants[name] for name in names}
    if proto.domain or any(value is None for value in feeds.values()):
        return dict.fromkeys(proto.output)
    return dict(zip(proto.output, ReferenceEvaluator(proto).run(None, feeds), strict=True))
