"""What every importer takes besides the tensors, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from results.importers.checkpoint import Checkpoint
from search_space import DenseStage, StemSpec, TransitionSpec, UserError
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


def conv_transition(widths: Sequence[tuple[int, int]]) -> TransitionSpec:
    """The shortest compression that gives every pair of channels in and out of a transition.

    Raises:
        UserError: none does.
    """
    low = max(out / channels for channels, out in widths)
    for digits in range(8):
        compression = math.ceil(low * 10**digits - 1e-6) / 10**digits
        made = (int(channels * compression + 1e-6) for channels, _ in widths)
        if compression <= 1 and all(m == out for m, (_, out) in zip(made, widths, strict=True)):
            return TransitionSpec(kind="conv", compression=compression)
    raise UserError(
        "no single compression gives the transitions' channels "
        + ", ".join(f"{channels} to {out}" for channels, out in widths)
        + "; such a network cannot be described"
    )


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
    assert isinstance(stage, DenseStage)
    swishing = (i for i, s in enumerate(spec.stages, start=1) if s.activation == "hard_swish")
    found = Overrides(
        image_size=spec.image_size,
        stem_stride=spec.stem.stride,
        groups=stage.groups_1x1,
        condense_factor=stage.condense_factor,
        sfr_groups=stage.sfr_groups,
        sparse_factor=stage.sparse_factor,
        hard_swish_from_stage=next(swishing, 0),
        classifier_condense_factor=spec.head.condense_factor,
    )
    for name, said in vars(overrides).items():
        if said not in (None, getattr(found, name)):
            raise UserError(
                f"--{name.replace('_', '-')} (={said}) must be {getattr(found, name)}, which the"
                " tensors and the family of the network leave no choice about"
            )
