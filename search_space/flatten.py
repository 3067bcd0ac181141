"""From a network's plan and its torch modules to the graph of its operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from search_space import ops
from search_space.graph import Array, Graph, Node, Shape
from search_space.network import Network
from search_space.ops import Op, Value

VECTORS = (ops.GlobalPool, ops.Flatten, ops.Linear)
"""Operations that write vectors ``(N, channels)``; others keep what they are given."""


def flatten(network: Network) -> Graph:
    """The graph of a network in either form, in evaluation mode.

    Nodes bear the names ``step.operation``; a norm's statistics and parameters become a scale and
    a shift, masks are multiplied into weights.
    """
    plan = network.plan
    image = Node(kind="input", name=plan.input.name, shape=_shape(plan.input))
    nodes = {image.name: image}
    values = {image.name: image.name}  # of the plan, by name: the node that writes it
    for step in plan.steps:
        fragment = step.fragment
        local = {v.name: values[n] for v, n in zip(fragment.inputs, step.inputs, strict=True)}
        for op in fragment.ops:
            module = network.get_submodule(f"steps.{step.name}.{op.name}")
            inputs = [nodes[local[v.name]] for v in op.inputs]
            for node in _nodes(step.name, op, module, inputs):
                nodes[node.name] = node
            local |= {v.name: f"{step.name}.{v.name}" for v in op.outputs}
        values |= {n: local[v.name] for v, n in zip(fragment.outputs, step.outputs, strict=True)}
    output = values[plan.output]
    return Graph(nodes=tuple(nodes.values()), output=output).rewritten({})


def _shape(value: Value, vector: bool = False) -> Shape:
    return Shape(value.channels) if vector else Shape(value.channels, value.size, value.size)


def _nodes(step: str, op: Op, module: nn.Module, inputs: list[Node]) -> list[Node]:
    vector = inputs[0].shape.is_vector or isinstance(op, VECTORS)
    names = tuple(node.name for node in inputs)
    if isinstance(op, ops.Split):
        starts = np.cumsum([0, *(v.channels for v in op.outputs)]).tolist()
        return [
            Node(
                kind="slice",
                name=f"{step}.{v.name}",
                inputs=names,
                shape=_shape(v, vector),
                start=start,
            )
            for v, start in zip(op.outputs, starts, strict=False)
        ]
    settings = _settings(op, module)
    shape = _shape(op.output, vector)
    return [Node(name=f"{step}.{op.output.name}", inputs=names, shape=shape, **settings)]


def _settings(op: Op, module: Any) -> dict[str, Any]:
    t = {k: v.detach().cpu().double().numpy() for k, v in module.state_dict().items()}
    match op:
        case ops.LearnedConv() | ops.LearnedReactivation():
            weight = t["weight"] * module.expanded_mask().cpu().numpy()
            groups = op.groups if isinstance(op, ops.LearnedConv) else 0
            return {**_window(op), "learned_groups": groups, "tensors": {"weight": weight}}
        case ops.Conv():
            return {**_window(op), "groups": op.groups, "tensors": t}
        case ops.LearnedLinear():
            weight = t["weight"] * module.expanded_mask().cpu().numpy()
            bias = {"bias": t["bias"]} if op.bias else {}
            return {"kind": "linear", "tensors": {"weight": weight, **bias}}
        case ops.Linear():
            return {"kind": "linear", "tensors": t}
        case ops.Norm():
            scale, shift = _scale_and_shift(t, module.eps)
            return {"kind": "affine", "tensors": {"scale": scale, "shift": shift}}
        case ops.Activation():
            return {"kind": "activation", "activation": op.kind}
        case ops.SqueezeExcite():
            return _squeeze_excite(op, t, module)
        case ops.Gather() | ops.IndexAdd() | ops.Scatter():
            kind = {ops.Gather: "gather", ops.IndexAdd: "index_add", ops.Scatter: "scatter"}
            return {"kind": kind[type(op)], "tensors": {"index": module.index.cpu().numpy()}}
        case ops.Shuffle():
            return {"kind": "shuffle", "groups": op.groups}
        case ops.AvgPool():
            return {
                "kind": "avg_pool",
                "kernel": (op.kernel,) * 2,
                "stride": (op.stride,) * 2,
            }
        case ops.MaxPool():
            return {**_window(op), "kind": "max_pool"}
    return {"kind": PLAIN[type(op)]}


PLAIN: dict[type[Op], str] = {
    ops.Add: "add",
    ops.Concat: "concat",
    ops.GlobalPool: "global_pool",
    ops.Flatten: "flatten",
}
"""Operations without settings or tensors."""


def _window(op: Any) -> dict[str, Any]:
    return {
        "kind": "conv",
        "kernel": (op.kernel,) * 2,
        "stride": (op.stride,) * 2,
        "padding": (op.kernel // 2,) * 2,
    }


def _scale_and_shift(t: dict[str, Array], eps: float, prefix: str = "") -> tuple[Array, Array]:
    """y = scale x + shift is the norm in evaluation mode."""
    scale = t[f"{prefix}weight"] / np.sqrt(t[f"{prefix}running_var"] + eps)
    return scale, t[f"{prefix}bias"] - t[f"{prefix}running_mean"] * scale


def _squeeze_excite(op: ops.SqueezeExcite, t: dict[str, Array], module: Any) -> dict[str, Any]:
    """The norm between its layers becomes part of the first one."""
    tensors = {"reduce": t["reduce.weight"], "expand": t["expand.weight"]}
    if op.normed:
        scale, shift = _scale_and_shift(t, module.norm.eps, "norm.")
        tensors |= {"reduce": scale[:, None] * tensors["reduce"], "bias": shift}
    gate = "hard_sigmoid" if op.normed else "sigmoid"
    return {"kind": "squeeze_excite", "tensors": tensors, "gate": gate}
