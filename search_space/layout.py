"""Rules that arrange what is computed for a runtime: where pooling stands, how many groups a
convolution has, in which multiples channels are stored.

Each is a function from graph to graph with the same outputs up to rounding; rules with settings
are made by a function of these. What a rule cannot treat it leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from search_space.graph import Array, Graph, Index, Node, Rule, Shape, everywhere, selected

# --- Pooling --------------------------------------------------------------------------------------


def pool_early(graph: Graph) -> Graph:
    """Average pooling moves in front of concat, add and 1x1 convolution without activation.

    All three commute with it, and then run on a quarter of the positions.
    """
    return everywhere(_pool_sources)(graph)


def _pool_sources(pool: Node, graph: Graph) -> Sequence[Node] | None:
    if pool.kind != "avg_pool":
        return None
    source = graph.makers[pool.input]
    commutes = source.kind in ("concat", "add") or (source.is_pointwise and not source.activation)
    if not commutes or graph.only_reader(source.name) is not pool:
        return None
    pools: dict[str, Node] = {}
    for value in dict.fromkeys(source.inputs):
        shape = pool.shape._replace(channels=graph.makers[value].shape.channels)
        pools[value] = replace(pool, name=f"{value}.{pool.name}", inputs=(value,), shape=shape)
    inputs = tuple(pools[value].name for value in source.inputs)
    return [*pools.values(), replace(source, inputs=inputs, shape=pool.shape)]


def fold_columns(block: int) -> Rule:
    """A narrow 3x3 convolution that is only pooled writes two columns as channels.

    Of ``c <= block / 2`` outputs a blocked kernel wastes half. Where every reader pools 2x2, at
    once or behind one norm, ``conv 3x3`` becomes ``conv 3x4`` of stride (1, 2) with 2c outputs (the
    taps of the right column moved by one), the norm is repeated, the pool is (2, 1), and a 1x1
    convolution sums the pair, W = [I I] / 2, merged into those that follow: W' = [W W] / 2.
    """

    def apply(graph: Graph) -> Graph:
        written: dict[str, Sequence[Node]] = {}
        for conv in graph.nodes:
            if conv.kind == "conv" and 2 * conv.shape.channels <= block:
                written |= _two_columns(conv, graph)
        return graph.rewritten(written)

    return apply


def _two_columns(conv: Node, graph: Graph) -> dict[str, Sequence[Node]]:
    channels, height, width = conv.shape
    square = (conv.kernel, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
    norms = [r for r in graph.readers[conv.name] if r.kind == "affine"]
    readers = [r for name in (conv.name, *(n.name for n in norms)) for r in graph.readers[name]]
    pools = [r for r in readers if r not in norms]
    halved = all(
        p.kind == "avg_pool" and p.kernel == p.stride == (2, 2) and graph.output != p.name
        for p in pools
    )
    if not square or not pools or not halved or width % 2 or height % 2:
        return {}
    weight = regroup(conv.tensors["weight"], conv.groups, 1)
    wide = np.zeros((2 * channels, weight.shape[1], 3, 4))
    wide[:channels, :, :, :3] = wide[channels:, :, :, 1:] = weight
    rest = {k: np.tile(v, 2) for k, v in conv.tensors.items() if k != "weight"}
    shape = Shape(2 * channels, height, width // 2)
    written: dict[str, Sequence[Node]] = {
        conv.name: [
            replace(
                conv,
                shape=shape,
                tensors={"weight": wide, **rest},
                groups=1,
                kernel=(3, 4),
                stride=(1, 2),
            )
        ]
    }
    for norm in norms:
        twice = {k: np.tile(v, 2) for k, v in norm.tensors.items()}
        written[norm.name] = [replace(norm, shape=shape, tensors=twice)]
    for pool in pools:
        columns = replace(
            pool,
            name=f"{pool.name}.columns",
            shape=pool.shape._replace(channels=2 * channels),
            kernel=(2, 1),
            stride=(2, 1),
        )
        both = np.concatenate([np.eye(channels)] * 2, 1)[:, :, None, None] / 2
        pair = Node(
            kind="conv",
            name=pool.name,
            inputs=(columns.name,),
            shape=pool.shape,
            tensors={"weight": both},
        )
        written[pool.name] = [columns, pair]
        readers = graph.readers[pool.name]
        if all(r.is_pointwise and r.groups == 1 and r.name not in written for r in readers):
            written[pool.name] = [columns]
            for r in readers:
                halves = np.concatenate([r.tensors["weight"]] * 2, 1) / 2
                written[r.name] = [replace(r.with_tensors(weight=halves), inputs=(columns.name,))]
    return written


# --- Groups ---------------------------------------------------------------------------------------


def regroup(weight: Array, groups: int, fewer: int) -> Array:
    """The weight of a convolution in ``groups`` as one in ``fewer`` groups: blocks on a diagonal.

    ``(outputs, inputs / groups, ...)`` to ``(outputs, inputs / fewer, ...)``.
    """
    outputs, inputs = weight.shape[:2]
    merged = groups // fewer
    wide = np.zeros((outputs, inputs * merged, *weight.shape[2:]))
    for row in range(outputs):
        start = (row // (outputs // groups)) % merged * inputs
        wide[row, start : start + inputs] = weight[row]
    return wide


def merge_groups(block: int) -> Rule:
    """Fewer, wider groups: the most whose inputs and outputs are multiples of ``block`` channels,
    else one. Zeros fill the rest. Depth-wise convolutions and 1x1 convolutions that read gathered
    channels keep their groups."""

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if node.kind != "conv" or node.groups == 1 or node.is_depthwise:
            return None
        if node.learned_groups or graph.makers[node.input].kind == "gather":
            return None
        fewer = _merged(node, block)
        if fewer == node.groups:
            return None
        merged = node.with_tensors(weight=regroup(node.tensors["weight"], node.groups, fewer))
        return [replace(merged, groups=fewer)]

    return everywhere(rule)


def _merged(conv: Node, block: int) -> int:
    """The most groups that are whole blocks, else one."""
    outputs, inputs = conv.shape.channels, conv.tensors["weight"].shape[1] * conv.groups
    divisors = (g for g in range(conv.groups, 0, -1) if conv.groups % g == 0)
    whole = (g for g in divisors if not (inputs // g) % block and not (outputs // g) % block)
    return next(whole, 1)


def separate_groups(block: int, depthwise_cost: float) -> Rule:
    """A convolution in many narrow groups as depth-wise convolutions and 1x1 sums of these.

    With m outputs per group, y = sum over j < m of S_j D_j x: D_j filters each input for the j-th
    output of its group, S_j of zeros and ones adds up what belongs to one output. Where merged
    groups would execute k x k x inputs x outputs / groups multiply-adds (``merge_groups``, outputs
    in whole blocks), this executes m x inputs x (k x k x ``depthwise_cost`` + outputs), the factor
    for what a depth-wise multiply-add takes longer; done where that is less.
    """

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if node.kind != "conv" or node.groups == 1 or node.is_depthwise or node.kernel == (1, 1):
            return None
        outputs, inputs = node.shape.channels, node.tensors["weight"].shape[1] * node.groups
        taps, each = node.kernel[0] * node.kernel[1], outputs // node.groups
        stored = -(-outputs // block) * block
        merged = taps * inputs * stored / _merged(node, block)
        if each * inputs * (taps * depthwise_cost + stored) >= merged:
            return None
        return _separated(node, inputs)

    return everywhere(rule)


def _separated(conv: Node, inputs: int) -> list[Node]:
    weight, groups = conv.tensors["weight"], conv.groups
    each, read = weight.shape[0] // groups, weight.shape[1]
    by_group = weight.reshape(groups, each, read, *conv.kernel)
    filters, sums = [], []
    for j in range(each):
        filtered = replace(
            conv,
            name=f"{conv.name}_filter{j}",
            shape=conv.shape._replace(channels=inputs),
            tensors={"weight": by_group[:, j].reshape(inputs, 1, *conv.kernel)},
            groups=inputs,
            activation=None,
        )
        ones = np.zeros((conv.shape.channels, inputs, 1, 1))
        ones[np.repeat(np.arange(groups), read) * each + j, np.arange(inputs)] = 1
        bias = {"bias": conv.tensors["bias"]} if j == 0 and "bias" in conv.tensors else {}
        filters.append(filtered)
        sums.append(
            Node(
                kind="conv",
                name=f"{conv.name}_sum{j}",
                inputs=(filtered.name,),
                shape=conv.shape,
                tensors={"weight": ones, **bias},
            )
        )
    if each == 1:
        return [*filters, replace(sums[0], name=conv.name, activation=conv.activation)]
    inputs_of_sum = tuple(n.name for n in sums)
    total = Node(kind="add", name=f"{conv.name}_total", inputs=inputs_of_sum, shape=conv.shape)
    if conv.activation is None:
        return [*filters, *sums, replace(total, name=conv.name)]
    activation = replace(
        total, kind="activation", name=conv.name, inputs=(total.name,), activation=conv.activation
    )
    return [*filters, *sums, total, activation]


def gather_inputs(worth: float, block: int = 1) -> Rule:
    """A learned 1x1 convolution as gather, grouped convolution and gather where that pays.

    Dense, it executes inputs x outputs multiply-adds per position; condensed, it moves a few times
    inputs + outputs elements. Condensed where inputs x outputs / (inputs + outputs) >= ``worth``,
    the groups together read at most twice the inputs, and each reads whole blocks of ``block``
    channels: ncnn moves these together, others one by one.
    """

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        groups = node.learned_groups
        if not groups or not node.is_pointwise:
            return None
        weight = node.tensors["weight"]
        outputs, inputs = weight.shape[:2]
        if outputs % groups or inputs * outputs / (inputs + outputs) < worth:
            return None
        used = [np.flatnonzero(weight[g::groups].any((0, 2, 3))) for g in range(groups)]
        kept = max(map(len, used))
        if not 0 < groups * kept <= 2 * inputs or not all(_in_blocks(u, block) for u in used):
            return None
        return _gathered(node, [_filled(u, inputs, kept) for u in used])

    return everywhere(rule)


def _in_blocks(used: Index, block: int) -> bool:
    """Whether sorted channels are whole blocks, the first of which starts at channel 0."""
    starts = used[::block]
    return not (starts % block).any() and np.array_equal(
        used, np.add.outer(starts, np.arange(block)).ravel()
    )


def _filled(used: Index, inputs: int, kept: int) -> Index:
    """A group that uses fewer inputs than the others reads some that it multiplies by zero."""
    unused = np.setdiff1d(np.arange(inputs), used)
    return np.concatenate([used, unused[: kept - len(used)]])


def _gathered(node: Node, index: Sequence[Index]) -> list[Node]:
    groups = len(index)
    weight = node.tensors["weight"]
    rows = np.concatenate([np.arange(g, len(weight), groups) for g in range(groups)])
    tensors = {"weight": np.concatenate([weight[g::groups][:, i] for g, i in enumerate(index)])}
    if "bias" in node.tensors:
        tensors["bias"] = node.tensors["bias"][rows]
    shape = node.shape._replace(channels=sum(map(len, index)))
    gather = Node(
        kind="gather",
        name=f"{node.name}_gather",
        inputs=node.inputs,
        shape=shape,
        tensors={"index": np.concatenate(index)},
    )
    grouped = replace(node, inputs=(gather.name,), tensors=tensors, groups=groups, learned_groups=0)
    if groups == 1:
        return [gather, grouped]
    grouped = replace(grouped, name=f"{node.name}_grouped")
    # Row r of group g becomes channel r * groups + g.
    back = Node(
        kind="gather",
        name=node.name,
        inputs=(grouped.name,),
        shape=node.shape,
        tensors={"index": np.argsort(rows)},
    )
    return [gather, grouped, back]


# --- Channels that are only moved -----------------------------------------------------------------


def compose_gathers(graph: Graph) -> Graph:
    """A gather, slice or shuffle of another becomes one gather."""

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if not node.inputs:
            return None
        inner = graph.makers[node.input]
        outer_index = selected(node, inner.shape.channels)
        source = graph.makers[inner.input] if inner.inputs else inner
        inner_index = selected(inner, source.shape.channels)
        if outer_index is None or inner_index is None:
            return None
        tensors = {"index": inner_index[outer_index]}
        return [
            replace(node, kind="gather", inputs=(source.name,), tensors=tensors, groups=1, start=0)
        ]

    return everywhere(rule)(graph)


# --- What keeps onnxruntime in its blocked layout -------------------------------------------------


def norms_as_convs(graph: Graph) -> Graph:
    """A norm on a map becomes a depth-wise 1x1 convolution, which onnxruntime executes in its
    blocked layout and together with the activation."""

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if node.kind != "affine" or node.shape.is_vector:
            return None
        weight = node.tensors["scale"][:, None, None, None]
        tensors = {"weight": weight, "bias": node.tensors["shift"]}
        return [replace(node, kind="conv", tensors=tensors, groups=node.shape.channels)]

    return everywhere(rule)(graph)


def repeat_gates(graph: Graph) -> Graph:
    """The gate of a squeeze-excite is written out at the size of its map: onnxruntime leaves its
    blocked layout for a product with broadcasting, not for one of equal shapes."""

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if node.kind != "squeeze_excite" or node.shape.is_vector or node.repeats_gate:
            return None
        return [replace(node, repeats_gate=True)]

    return everywhere(rule)(graph)
