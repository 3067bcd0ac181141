"""Rules that remove operations: condensed layers made dense, norms and activations fused.

Each is a function from graph to graph with the same outputs up to rounding; what a rule cannot
treat it leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from search_space.graph import Array, Graph, Index, Node, Rule, everywhere, shuffled

# --- Condensed layers -----------------------------------------------------------------------------


ADDING = ("index_add", "scatter")


class _Reading(NamedTuple):
    """What stands in front of a convolution or linear layer: a value, the channels that are read
    of it, and norms and activations on these."""

    source: Node
    channels: Index
    between: tuple[Node, ...]


def _reading(conv: Node, graph: Graph) -> _Reading | None:
    """What a learned layer reads; None for a convolution that is not one.

    A learned group convolution has a gather in front of its norm; a reactivation adds its outputs
    at an index, and has a shuffle in front of it where there are several groups.
    """
    node = graph.makers[conv.input]
    if _writing(conv, graph)[0].kind in ADDING:
        channels = node.shape.channels
        if node.kind == "shuffle":
            return _Reading(graph.makers[node.input], shuffled(node.groups, channels), ())
        return _Reading(node, np.arange(channels), ())
    between: list[Node] = []
    while node.kind in ("affine", "activation") and graph.only_reader(node.name):
        between.insert(0, node)
        node = graph.makers[node.input]
    if node.kind != "gather":
        return None
    return _Reading(graph.makers[node.input], node.tensors["index"], tuple(between))


def _before_selection(reading: _Reading) -> list[Node] | None:
    """The norms and activations on all channels of the source; None where two copies of a channel
    are normed differently. Channels that nobody reads become 0."""
    nodes: list[Node] = []
    source = reading.source
    for node in reading.between:
        tensors = {}
        for name, values in node.tensors.items():
            wide = np.zeros(source.shape.channels)
            wide[reading.channels] = values
            if not np.array_equal(wide[reading.channels], values):
                return None
            tensors[name] = wide
        before = nodes[-1].name if nodes else source.name
        shape = node.shape._replace(channels=source.shape.channels)
        nodes.append(replace(node, inputs=(before,), shape=shape, tensors=tensors))
    return nodes


def _writing(conv: Node, graph: Graph) -> tuple[Node, Index]:
    """The operation behind a convolution that moves or adds its outputs, and where to each goes;
    the convolution itself where none does."""
    own = np.arange(conv.shape.channels)
    after = graph.only_reader(conv.name)
    if after is None:
        return conv, own
    if after.kind == "shuffle" and after.groups == conv.groups:
        return after, np.argsort(shuffled(after.groups, conv.shape.channels))
    # Sums do not commute with an activation.
    if conv.activation is None and after.kind in ADDING and after.inputs[:-1] != (conv.name,):
        return after, after.tensors["index"]
    return conv, own


def _dense_conv(conv: Node, graph: Graph) -> Sequence[Node] | None:
    reading, (after, outputs) = _reading(conv, graph), _writing(conv, graph)
    if reading is None:
        return None
    before = _before_selection(reading)
    if before is None:
        return None
    weight = conv.tensors["weight"]
    rows, columns = weight.shape[0] // conv.groups, weight.shape[1]
    channels = after.shape.channels
    dense: Array = np.zeros((channels, reading.source.shape.channels, *conv.kernel))
    for group in range(conv.groups):
        mine = slice(group * rows, (group + 1) * rows)
        read = reading.channels[group * columns : (group + 1) * columns]
        np.add.at(dense, (outputs[mine, None], read[None, :]), weight[mine])
    tensors = {"weight": dense}
    if "bias" in conv.tensors:
        tensors["bias"] = np.zeros(channels)
        np.add.at(tensors["bias"], outputs, conv.tensors["bias"])
    layer = replace(
        conv,
        inputs=(before[-1].name if before else reading.source.name,),
        shape=conv.shape._replace(channels=channels),
        tensors=tensors,
        groups=1,
        learned_groups=conv.groups if after.kind == "shuffle" or after is conv else 0,
    )
    if after.kind != "index_add":
        return [*before, layer]
    kept = after.inputs[0]
    return [*before, layer, replace(after, kind="add", inputs=(kept, layer.name), tensors={})]


def dense_convs(graph: Graph) -> Graph:
    """A learned layer in its condensed form becomes one dense convolution with zeros in it.

    ``gather, [norm, activation], grouped convolution, shuffle`` is W' act(s' x + t') with
    W'[out(r), in(c)] += W[r, c] over each group's rows r and columns c, and s'[in(c)] = s[c]:
    copies of a channel are normed alike, or the layer stays as it is. ``shuffle, grouped
    convolution, index-add`` is x + W' y likewise, as is a scatter without the x.
    """

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        """Looks at the last operation of a layer, whose value the dense one writes."""
        if node.kind not in ("conv", "shuffle", "index_add", "scatter"):
            return None
        conv = node if node.kind == "conv" else graph.makers[node.inputs[-1]]
        if conv.kind != "conv" or _writing(conv, graph)[0] is not node:
            return None
        return _dense_conv(conv, graph)

    return everywhere(rule)(graph)


def dense_linears(graph: Graph) -> Graph:
    """``gather, linear`` becomes one linear layer with zeros where an input was not read."""

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        gather = graph.makers[node.input] if node.inputs else node
        if node.kind != "linear" or gather.kind != "gather":
            return None
        source = graph.makers[gather.input]
        weight = np.zeros((node.shape.channels, source.shape.channels))
        np.add.at(weight.T, gather.tensors["index"], node.tensors["weight"].T)
        return [replace(node.with_tensors(weight=weight), inputs=(source.name,))]

    return everywhere(rule)(graph)


# --- Norms and activations ------------------------------------------------------------------------


def fold_norms(graph: Graph) -> Graph:
    """``convolution, norm`` becomes one convolution where nothing else reads between them.

    W' = diag(scale) W, b' = scale b + shift; likewise for a norm behind a norm.
    """

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if node.kind != "affine":
            return None
        maker = graph.makers[node.input]
        if maker.activation or graph.only_reader(maker.name) is not node:
            return None
        scale, shift = node.tensors["scale"], node.tensors["shift"]
        t = maker.tensors
        if maker.kind == "conv":
            weight = t["weight"] * scale[:, None, None, None]
            return [maker.with_tensors(weight=weight, bias=t.get("bias", 0.0) * scale + shift)]
        if maker.kind == "affine":
            both = maker.with_tensors(scale=t["scale"] * scale, shift=t["shift"] * scale + shift)
            return [both]
        return None

    return everywhere(rule)(graph)


def fuse_activations(graph: Graph) -> Graph:
    """``convolution | norm | linear, activation`` becomes one operation, where nothing else reads
    between them."""

    def rule(node: Node, graph: Graph) -> Sequence[Node] | None:
        if node.kind != "activation":
            return None
        maker = graph.makers[node.input]
        if maker.kind not in ("conv", "affine", "linear") or maker.activation:
            return None
        if graph.only_reader(maker.name) is not node:
            return None
        return [replace(maker, activation=node.activation)]

    return everywhere(rule)(graph)


FOLDING: tuple[Rule, ...] = (dense_convs, fold_norms, fuse_activations)
"""What every runtime gains from, as far as other rules do not undo it where it does not pay."""
