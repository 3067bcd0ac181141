"""Learned group convolutions and reactivations in the layouts of the CondenseNet authors.

A layer's *members* are the channels that belong to groups, interleaved: outputs of a learned group
convolution, inputs of a reactivation. Its *candidates* are those that groups drop: inputs of the
one, outputs of the other. Groups and factor are the same in all layers of a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from results.importers.checkpoint import Checkpoint
from results.importers.imported import ratio
from search_space.errors import UserError


@dataclass(frozen=True, kw_only=True)
class LearnedNames:
    """How one kind of learned layer is called: in the file, in our modules, to the user."""

    theirs: str
    ours: str
    groups: str
    factor: str
    groups_option: str
    factor_option: str


CONV = LearnedNames(
    theirs="conv_1",
    ours="reduce",
    groups="G",
    factor="C",
    groups_option="--groups",
    factor_option="--condense-factor",
)
REACTIVATION = LearnedNames(
    theirs="sfr",
    ours="sfr",
    groups="groups of the reactivation",
    factor="S",
    groups_option="--sfr-groups",
    factor_option="--sparse-factor",
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One learned layer of the file: its name, outputs and inputs while it is dense."""

    name: str
    outputs: int
    inputs: int


@dataclass(frozen=True, kw_only=True)
class Condensation:
    """Groups and factor of all layers of a kind, and how they became known."""

    groups: int
    factor: int
    inferred: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


def member_mask(c: Checkpoint, layer: Layer, names: LearnedNames) -> Tensor:
    """``(members, candidates)``; True is kept. Raises UserError where it is no mask."""
    mask = c.take(f"{layer.name}._mask", layer.outputs, layer.inputs, 1, 1)[:, :, 0, 0]
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise UserError(f"`{layer.name}._mask` must hold zeros and ones only; it is no mask")
    return (mask.T if names is REACTIVATION else mask) == 1


def masked_condensation(
    c: Checkpoint,
    layers: Sequence[Layer],
    names: LearnedNames,
    groups: int | None,
    factor: int | None,
    convention: int,
) -> Condensation:
    """Groups and factor of layers that are being trained, from their masks and counters.

    ``groups`` and ``factor`` are what the user says, ``convention`` is what the authors would
    choose.

    Raises:
        UserError: masks are not alike within any groups, or fit no factor.
    """
    masks = [member_mask(c, layer, names) for layer in layers]
    inferred, assumed = [], []
    dropped = any(not bool(mask.all()) for mask in masks)
    found = _groups(masks, groups, layers, names)
    if groups is None and not dropped:
        found = math.gcd(convention, *(mask.shape[0] for mask in masks))
    if groups is None and dropped:
        inferred.append(f"{names.groups} {found} from the masks")
    else:
        assumed.append(f"{names.groups} {found} ({names.groups_option})")
    if factor is None:
        drops = [_drops(c, layer, mask) for layer, mask in zip(layers, masks, strict=True)]
        factor, known = _factor(drops, found) if dropped else (found, False)
    else:
        known = False
    if known:
        inferred.append(f"{names.factor} {factor} from the masks")
    else:
        assumed.append(f"{names.factor} {factor} ({names.factor_option})")
    for layer, mask in zip(layers, masks, strict=True):
        least = mask.shape[1] // factor
        if int(mask.sum(1).min()) < least:
            raise UserError(
                f"`{layer.name}._mask` keeps fewer than {least} of {mask.shape[1]} channels, which"
                f" {names.factor} = {factor} does not allow; if the factor is another, give it with"
                f" {names.factor_option}, else this is not the mask of a learned layer"
            )
    coming = sum(bool((m.sum(1) != m.shape[1] // factor).any()) for m in masks)
    if coming:
        inferred.append(f"{coming} of {len(masks)} {names.ours} layers still have drops to come")
    return Condensation(
        groups=found, factor=factor, inferred=tuple(inferred), assumed=tuple(assumed)
    )


def _groups(
    masks: Sequence[Tensor], said: int | None, layers: Sequence[Layer], names: LearnedNames
) -> int:
    """The least number of groups within which all members share a mask, or what the user says."""
    most = math.gcd(*(mask.shape[0] for mask in masks))
    for groups in range(1, most + 1) if said is None else (said,):
        if most % groups == 0 and all(_repeats(mask, groups) for mask in masks):
            return groups
    what = "any number of groups" if said is None else f"{names.groups} = {said}"
    raise UserError(
        f"the masks of `{layers[0].name}` and its like do not fit {what}: every {names.groups}-th"
        " channel must share its mask; this is not a network of learned groups"
    )


def _repeats(mask: Tensor, groups: int) -> bool:
    return torch.equal(mask, mask[:groups].repeat(mask.shape[0] // groups, 1))


def _drops(c: Checkpoint, layer: Layer, mask: Tensor) -> tuple[int, int, int | None]:
    """Candidates, how many of them a group has dropped, and the stage of the schedule."""
    candidates = mask.shape[1]
    count = c.counter(f"{layer.name}._count")
    dropped = candidates - int(mask.sum(1).max()) if count is None else count
    return candidates, dropped, c.counter(f"{layer.name}._stage")


def _factor(drops: Sequence[tuple[int, int, int | None]], convention: int) -> tuple[int, bool]:
    """The factor f that explains the drops, and whether it is the only natural one.

    Each drop takes 1/f of the candidates and the stage counts the drops that were due, so that
    their number tells f, unless some were missed: the authors' code makes one drop where several
    are due. Then the convention decides, where it is possible, or else the least factor.
    Without a stage all f - 1 drops are taken to have happened.
    """
    possible, natural = [], []
    for factor in range(2, min(candidates for candidates, _, _ in drops) + 1):
        made = [(d * factor / n, factor - 1 if s is None else s) for n, d, s in drops]
        divides = all(n % factor == 0 for n, _, _ in drops)
        if divides and all(m.is_integer() and m <= due < factor for m, due in made):
            possible.append(factor)
            if all(m == due for m, due in made):
                natural.append(factor)
    if natural:
        return natural[0], True
    return convention if convention in possible or not possible else possible[0], False


def condensed_condensation(
    c: Checkpoint, layers: Sequence[Layer], names: LearnedNames
) -> Condensation:
    """Groups and factor of layers in their deployed form, from shapes alone.

    Raises:
        UserError: layers differ, or a shape fits no factor.
    """
    found: dict[tuple[int, int], str] = {}
    for layer in layers:
        if names is REACTIVATION:
            weight = c.take(f"{layer.name}.conv.weight", None, None, 1, 1)
            groups = ratio(layer.inputs, weight.shape[1], f"`{layer.name}.conv.weight`")
            kept, candidates = weight.shape[0] // groups, layer.outputs
        else:
            weight = c.take(f"{layer.name}.conv.weight", layer.outputs, None, 1, 1)
            kept, candidates = weight.shape[1], layer.inputs
            gathered = c.take(f"{layer.name}.index", None).shape[0]
            groups = ratio(gathered, kept, f"`{layer.name}.index`")
        factor = ratio(candidates, kept, f"`{layer.name}.conv.weight`")
        if factor == 1:
            raise UserError(
                f"`{layer.name}` keeps every channel: {names.factor} = 1 is read in masked form"
                " only; import the checkpoint that it was converted from"
            )
        found.setdefault((groups, factor), layer.name)
    if len(found) > 1:
        raise UserError(
            f"{names.groups} and {names.factor} must be the same in all layers; found "
            + ", ".join(f"{g} and {f} in `{name}`" for (g, f), name in found.items())
        )
    ((groups, factor),) = found
    inferred = (f"{names.groups} {groups} and {names.factor} {factor} from the shapes",)
    return Condensation(groups=groups, factor=factor, inferred=inferred)


def masked_state(
    c: Checkpoint, layer: Layer, names: LearnedNames, condensation: Condensation
) -> dict[str, Tensor]:
    """Norm, dense weight and, unless the factor is 1, mask under our names."""
    state = {
        f"{names.ours}.weight": c.take(
            f"{layer.name}.conv.weight", layer.outputs, layer.inputs, 1, 1
        )
    }
    if condensation.factor > 1:
        state[f"{names.ours}.mask"] = member_mask(c, layer, names)[: condensation.groups]
    return _with_norm(c, layer, names, layer.inputs, state)


def condensed_state(
    c: Checkpoint, layer: Layer, names: LearnedNames, condensation: Condensation
) -> dict[str, Tensor]:
    """Norm, grouped weight and index under our names."""
    groups, factor = condensation.groups, condensation.factor
    if names is REACTIVATION:
        width = groups * (layer.outputs // factor)
        members, inputs = layer.inputs, layer.inputs // groups
        index = _one_hot(c.take(f"{layer.name}.index", width, width), layer.name)
        weight = c.take(f"{layer.name}.conv.weight", width, inputs, 1, 1)
        state = {f"{names.ours}.weight": weight, f"{names.ours}_add.index": index}
        _check_index(index, layer.outputs, layer.name)
    else:
        kept = layer.inputs // factor
        members = groups * kept
        index = c.take(f"{layer.name}.index", members).long()
        weight = c.take(f"{layer.name}.conv.weight", layer.outputs, kept, 1, 1)
        state = {f"{names.ours}.weight": weight, f"{names.ours}_gather.index": index}
        _check_index(index, layer.inputs, layer.name)
    return _with_norm(c, layer, names, members, state)


def _with_norm(
    c: Checkpoint, layer: Layer, names: LearnedNames, channels: int, state: dict[str, Tensor]
) -> dict[str, Tensor]:
    norm = c.norm(f"{layer.name}.norm", channels)
    return {**{f"{names.ours}_norm.{k}": v for k, v in norm.items()}, **state}


def _one_hot(matrix: Tensor, name: str) -> Tensor:
    """The column of the one in each row, where every row has exactly one."""
    if not bool(((matrix == 0) | (matrix == 1)).all()) or not bool((matrix.sum(1) == 1).all()):
        raise UserError(
            f"`{name}.index` must have a single one in each row: it says to which channel each"
            " output is added"
        )
    return matrix.argmax(1)


def _check_index(index: Tensor, channels: int, name: str) -> None:
    if int(index.min()) < 0 or int(index.max()) >= channels:
        raise UserError(f"`{name}.index` must name channels from 0 to {channels - 1}")
