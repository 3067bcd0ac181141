"""What every importer takes besides the tensors, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from results.importers.checkpoint import Checkpoint
from search_space import StemSpec, TransitionSpec, UserError
from search_space.network import Network
from search_space.plan import Form
from search_space.spec import NetworkSpec


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the user says about a network instead of what its tensors or its family suggest.

    None leaves a choice to the importer.

    Args:
        image_size: Pixels.
        stem_stride: Stride of the first convolution.
        groups: Groups G of the learned 1x1 convolutions.
        condense_factor: C of the learned 1x1 convolutions.
        sfr_groups: Groups of the reactivations.
        sparse_factor: S of the reactivations.
        hard_swish_from_stage: First stage with hard-swish, from 1; 0 for none.
        classifier_condense_factor: Condense factor of a classifier that reads every feature.
    """

    image_size: int | None = None
    stem_stride: int | None = None
    groups: int | None = None
    condense_factor: int | None = None
    sfr_groups: int | None = None
    sparse_factor: int | None = None
    hard_swish_from_stage: int | None = None
    classifier_condense_factor: int | None = None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A network with its weights, out of another project's checkpoint.

    Args:
        spec: The network.
        form: The form that the weights are in.
        state_dict: The weights under our names; loads strictly into ``build(spec, form)``.
        inferred: What the tensors say, one fact each.
        assumed: What they do not say and the family's convention or the user decided.
    """

    spec: NetworkSpec
    form: Form
    state_dict: dict[str, Tensor]
    inferred: tuple[str, ...]
    assumed: tuple[str, ...]


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with a module's name in front."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def per_stage(name: str, values: Sequence[object]) -> str:
    """A fact of each stage, once where all share it."""
    shown = values if len(set(values)) > 1 else values[:1]
    return f"{name} {'/'.join(map(str, shown))}"


def resolution(
    stem: StemSpec, stages: int, overrides: Overrides
) -> tuple[StemSpec, int, list[str]]:
    """Stem and image size, and the note that they are assumed.

    The authors' networks end in a pool of fixed size, 8 x 8 for CIFAR and 7 x 7 for ImageNet,
    where the stem halves the image: three stages and five give the one and the other.
    """
    stride = overrides.stem_stride or (2 if stages >= 5 else 1)
    size = overrides.image_size or (8 * 2 ** (stages - 1) if stride == 1 else 7 * 2**stages)
    note = f"image size {size} (--image-size) and stem stride {stride} (--stem-stride)"
    return StemSpec(channels=stem.channels, kernel=stem.kernel, stride=stride), size, [note]


def transition_spec(
    widths: Sequence[tuple[int, int]],
    *,
    kind: str = "conv",
    groups_1x1: int = 1,
    condense_factor: int = 1,
) -> TransitionSpec:
    """The transitions that have these channels in and out; pooling alone where there are none.

    Their compression is 0.5, the papers' usual one, if that gives these channels, else the
    shortest that does.

    Raises:
        UserError: none does.
    """
    if not widths:
        return TransitionSpec()
    # Outputs are rounded up to a multiple of the groups, so that fewer may have been meant.
    low = max((out - groups_1x1 + 1) / max(1, channels) for channels, out in widths)
    for compression in (0.5, *(math.ceil(low * 10**d - 1e-6) / 10**d for d in range(8))):
        if 0 < compression <= 1 and all(
            math.ceil(int(channels * compression + 1e-6) / groups_1x1) * groups_1x1 == out
            for channels, out in widths
        ):
            return TransitionSpec(
                kind=kind,
                compression=compression,
                groups_1x1=groups_1x1,
                condense_factor=condense_factor,
            )
    raise UserError(
        "no single compression gives the transitions' channels "
        + ", ".join(f"{channels} to {out}" for channels, out in widths)
        + "; such a network cannot be described"
    )


def renamed_state(
    c: Checkpoint, spec: NetworkSpec, theirs: Callable[[str], str]
) -> dict[str, Tensor]:
    """The weights of a network without learned layers, whose modules the file calls otherwise.

    ``theirs`` turns the name of a module of ours, such as ``stage1_layer2.conv``, into the file's.
    Linear layers may be 1x1 convolutions there.

    Raises:
        UserError: a tensor is missing or of another shape.
    """
    with torch.device("meta"):
        network = Network(spec, "masked", initialised=False)
    state: dict[str, Tensor] = {}
    for ours, module in network.steps.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            state |= under(f"steps.{ours}", c.norm(theirs(ours), module.num_features))
            continue
        for part, wanted in module.named_parameters(recurse=False):
            name = f"{theirs(ours)}.{part}"
            shape = tuple(wanted.shape)
            if len(shape) == 2 and name in c and c.tensors[name].dim() == 4:
                shape = (*shape, 1, 1)
            state[f"steps.{ours}.{part}"] = c.take(name, *shape).reshape(wanted.shape)
    return state


def stem_weight(c: Checkpoint, name: str) -> Tensor:
    """``(channels, image channels, kernel, kernel)``: the first convolution's weight."""
    kernel = c.take(name, None, None, None, None).shape[2]
    return c.take(name, None, None, kernel, kernel)


def ratio(whole: int, part: int, what: str) -> int:
    """``whole / part``; raises UserError where it is no whole number."""
    if part < 1 or whole % part:
        raise UserError(
            f"{what}: {whole} channels are no multiple of {part}; the network is not"
            " one of those that are read here"
        )
    return whole // part


def check_overrides(spec: NetworkSpec, overrides: Overrides) -> None:
    """Raises UserError where a network is not what the user says: its tensors decide otherwise."""
    stage = spec.stages[0]
    swishing = (
        i
        for i, s in enumerate(spec.stages, start=1)
        if getattr(s, "activation", "relu") == "hard_swish"
    )
    found = Overrides(
        image_size=spec.image_size,
        stem_stride=spec.stem.stride,
        groups=getattr(stage, "groups_1x1", 1),
        condense_factor=getattr(stage, "condense_factor", 1),
        sfr_groups=getattr(stage, "sfr_groups", 1),
        sparse_factor=getattr(stage, "sparse_factor", 1),
        hard_swish_from_stage=next(swishing, 0),
        classifier_condense_factor=spec.head.condense_factor,
    )
    for name, said in vars(overrides).items():
        if said not in (None, getattr(found, name)):
            raise UserError(
                f"--{name.replace('_', '-')} (={said}) must be {getattr(found, name)}, which the"
                " tensors and the family of the network leave no choice about"
            )
