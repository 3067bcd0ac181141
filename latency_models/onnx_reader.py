"""Reads ONNX files.

What depends on no image is a constant and no operation. Weights are never read, only their shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from latency_models.onnx_graph import Array, Dims, OnnxGraph, OnnxNode
from search_space.errors import UserError
from search_space.optional import import_optional

MOST_VALUES = 65_536
"""Constants of more elements are weights: indices and shapes have fewer."""

EVALUATED = (
    *("Constant", "ConstantOfShape", "Identity", "Shape", "Cast", "Range", "Where", "Equal"),
    *("Add", "Sub", "Mul", "Div", "Floor", "Ceil", "Mod", "Min", "Max", "ReduceProd"),
    *("Concat", "Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape", "Transpose"),
    *("Expand", "Pad"),
)
"""What shapes and indices are computed with. Values that others write are not known."""


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
    from onnx import checker, defs, helper, shape_inference

    refused = (defs.SchemaError, shape_inference.InferenceError, checker.ValidationError)
    tensors = model.graph.initializer
    constants: dict[str, Array | None] = {t.name: values.get(t.name) for t in tensors}
    types = {image.name: image.type for image in model.graph.input}
    types |= {t.name: helper.make_tensor_type_proto(t.data_type, list(t.dims)) for t in tensors}
    versions = {_domain(opset): opset.version for opset in model.opset_import}
    if "" not in versions:
        raise UserError(f"{file} says no version of ONNX's operators; write it anew")
    shapes = {name: dims for name in types if (dims := _dims(types[name])) is not None}
    nodes = []
    for proto in model.graph.node:
        try:
            types |= _inferred(proto, types, constants, versions)
        except refused as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{file}: {proto.op_type} {proto.name!r}: {reason}") from None
        shapes |= {n: d for n in proto.output if n in types and (d := _dims(types[n])) is not None}
        if _is_constant(proto, constants, shapes):
            constants |= _computed(proto, constants, shapes)
            continue
        nodes.append(
            OnnxNode(
                op=_name(proto),
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


def _domain(proto: Any) -> str:
    """The domain of a node or a version; empty for ONNX's own operators."""
    return "" if proto.domain == "ai.onnx" else proto.domain


def _name(proto: Any) -> str:
    """The type of a node, after its domain unless that is ONNX's own."""
    return f"{_domain(proto)}.{proto.op_type}".removeprefix(".")


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
    if _name(proto) != proto.op_type or nested or not types.keys() >= {*names}:
        return {}
    values = {name: constants.get(name) for name in names}
    return shape_inference.infer_node_outputs(
        defs.get_schema(proto.op_type, versions[""], ""),
        proto,
        {name: types[name] for name in names},
        {name: numpy_helper.from_array(v, name) for name, v in values.items() if v is not None},
    )


def _is_constant(proto: Any, constants: Mapping[str, Any], shapes: Mapping[str, Dims]) -> bool:
    if _name(proto) == "Shape":
        return proto.input[0] in shapes
    return all(name in constants for name in proto.input if name) and not (
        proto.op_type.startswith("Random") or any(a.HasField("g") for a in proto.attribute)
    )


def _computed(
    proto: Any, constants: Mapping[str, Array | None], shapes: Mapping[str, Dims]
) -> dict[str, Array | None]:
    """What a constant operation writes; None where it works on weights or is not evaluated."""
    from onnx.reference import ReferenceEvaluator

    names: Sequence[str] = [n for n in proto.input if n]
    if proto.op_type == "Shape":
        feeds: dict[str, Any] = {names[0]: np.broadcast_to(0, shapes[names[0]])}
    else:
        feeds = {name: constants[name] for name in names}
    if _name(proto) not in EVALUATED or any(value is None for value in feeds.values()):
        return dict.fromkeys(proto.output)
    return dict(zip(proto.output, ReferenceEvaluator(proto).run(None, feeds), strict=True))
