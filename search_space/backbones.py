"""Networks with the attributes and methods by which timm's models are used in other code.

Names of parameters are those of :class:`~search_space.network.Network`, so that weights of one
load into the other. ``num_classes``, ``forward_features`` and so on are timm's words for them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from search_space import ops
from search_space.errors import UserError
from search_space.network import FragmentModule, Network
from search_space.plan import Form, Plan

if TYPE_CHECKING:
    from search_space.pretrained import Normalisation
    from search_space.spec import NetworkSpec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageModel(Network):
    """A classifier of images ``(N, channels, height, width)``."""

    normalisation: Normalisation | None = None
    """What its weights ask for; None where they do not say."""

    @property
    def num_classes(self) -> int:
        """Outputs; 0 where the classifier was taken off."""
        return 0 if isinstance(self.get_classifier(), nn.Identity) else self.spec.classes

    @property
    def num_features(self) -> int:
        """Channels of the maps that :meth:`forward_features` returns."""
        return self._head.fragment.ops[self._pool].input.channels

    @property
    def head_hidden_size(self) -> int:
        """Features that the classifier reads."""
        return self._head.fragment.ops[self._classifier].input.channels

    @property
    def default_cfg(self) -> dict[str, Any]:
        """How to prepare images: as the weights that come with the zoo ask for, else by ImageNet's
        customary normalisation."""
        grey = (0.5,) * self.spec.image_channels
        usual = (IMAGENET_MEAN, IMAGENET_STD) if self.spec.image_channels == 3 else (grey, grey)
        mean, std = self.normalisation or usual
        return {
            "input_size": (self.spec.image_channels, self.spec.image_size, self.spec.image_size),
            "mean": mean,
            "std": std,
            "num_classes": self.num_classes,
            "first_conv": f"steps.{self.plan.steps[0].name}.conv",
            "classifier": f"steps.{self.plan.steps[-1].name}.classifier",
        }

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The same as ``default_cfg``."""
        return self.default_cfg

    def forward_features(self, images: Tensor) -> Tensor:
        """The last maps before pooling: ``(N, num_features, height, width)``."""
        head = self._head
        inputs = self.compute(images, self.plan.steps[-1].inputs)
        values = {v.name: x for v, x in zip(head.fragment.inputs, inputs, strict=True)}
        head.run(head.fragment.ops[: self._pool], values)
        return values[head.fragment.ops[self._pool].input.name]

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits ``(N, num_classes)``, or ``(N, head_hidden_size)`` with ``pre_logits``."""
        end = self._classifier if pre_logits else None
        rest = self._head.fragment.ops[self._pool : end]
        values = {rest[0].input.name: features}
        self._head.run(rest, values)
        return values[rest[-1].output.name]

    def get_classifier(self) -> nn.Module:
        """The last layer; an identity where the classifier was taken off."""
        return self._head.get_submodule("classifier")

    def reset_classifier(self, num_classes: int, generator: torch.Generator | None = None) -> None:
        """A new classifier, or none for 0; all other weights stay. Its own come from ``generator``,
        torch's default one if None.

        In condensed form the new one reads all features, because nothing was learned yet about
        which to keep.

        Raises:
            SpecError: ``num_classes`` is negative.
        """
        head = self._head
        if num_classes == 0:
            for op in head.fragment.ops[self._classifier :]:
                setattr(head, op.name, nn.Identity())
            return
        spec = self.spec.replace(classes=num_classes)
        if self.form == "condensed":
            spec = spec.replace(head=dataclasses.replace(spec.head, condense_factor=1))
        reference = next(self.parameters())
        new = ImageModel(spec, self.form, generator).to(
            device=reference.device, dtype=reference.dtype
        )
        for op in head.fragment.ops[self._classifier :]:
            delattr(head, op.name)
        for op in new._head.fragment.ops[new._classifier :]:
            head.add_module(op.name, new._head.get_submodule(op.name).train(self.training))
        head.fragment = new._head.fragment
        self.spec, self.plan = new.spec, new.plan

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Sets ``recompute``: less memory in training, for more time."""
        self.recompute = enable

    def _fresh(self, form: Form) -> Network:
        model = ImageModel(self.spec, form, initialised=False)
        if not self.num_classes:
            model.reset_classifier(0)
        return model

    @property
    def _head(self) -> FragmentModule:
        return cast(FragmentModule, self.steps[self.plan.steps[-1].name])

    @property
    def _pool(self) -> int:
        """Position of the head's pooling among its operations."""
        pools = ops.GlobalPool | ops.AvgPool
        return [isinstance(op, pools) for op in self._head.fragment.ops].index(True)

    @property
    def _classifier(self) -> int:
        """Position of the first operation of the classifier, its gather where it has one."""
        return [op.name.startswith("classifier") for op in self._head.fragment.ops].index(True)


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """The last map of one resolution: the values of the plan that make it up."""

    values: tuple[str, ...]
    channels: int
    reduction: int
    module: str
    end: int
    """Position of the step that reads it."""


def feature_maps(plan: Plan) -> list[FeatureMap]:
    """What each step that lowers the resolution reads, and what the head reads."""
    maps = []
    for i, step in enumerate(plan.steps):
        inputs, outputs = step.fragment.inputs, step.fragment.outputs
        lowers = inputs[0].size > outputs[0].size and i > 0  # the stem reads no features
        if lowers or i == len(plan.steps) - 1:
            maps.append(
                FeatureMap(
                    values=step.inputs,
                    channels=sum(v.channels for v in inputs),
                    # Halving rounds odd sizes up or down.
                    reduction=1 << round(math.log2(plan.input.size / inputs[0].size)),
                    module=f"steps.{step.inputs[-1].split(':')[0]}",
                    end=i,
                )
            )
    return maps


class FeatureInfo:
    """Describes feature maps, by default those that are returned, in their order."""

    def __init__(self, maps: Sequence[FeatureMap], out_indices: tuple[int, ...]) -> None:
        self.out_indices = out_indices
        self.info = [
            {"num_chs": m.channels, "reduction": m.reduction, "module": m.module, "index": i}
            for i, m in enumerate(maps)
        ]

    def __len__(self) -> int:
        return len(self.info)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.info[index]

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """A property of the maps ``idx`` of all maps, or of the returned ones if None."""
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[i][key] for i in (self.out_indices if idx is None else idx)]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Channels of a map."""
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Pixels of the image per pixel of a map, in each direction."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """The module that writes a map, or the newest part of it."""
        return self.get("module", idx)

    def get_dicts(
        self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None
    ) -> Any:
        """Several properties at once, all if None."""
        several = self.out_indices if idx is None else (idx,) if isinstance(idx, int) else idx
        found = [{k: self.info[i][k] for k in keys or self.info[i]} for i in several]
        return found[0] if isinstance(idx, int) else found


class FeatureMaps(Network):
    """Images ``(N, channels, height, width)`` to a list of maps, one per resolution.

    A map is what the transition after its stage would read; under exponential fetch the outputs
    that it would fetch, one after the other. Steps behind the last map do not exist.

    Args:
        spec: The network; its head has no part in this.
        form: ``masked`` to train, ``condensed`` to deploy.
        generator: Where the initial weights come from; torch's default generator if None.
        out_indices: Which maps, in this order; all if None; negative from the last.
        initialised: Whether there are initial weights.

    Raises:
        UserError: there is no such map.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        form: Form = "masked",
        generator: torch.Generator | None = None,
        out_indices: Sequence[int] | None = None,
        *,
        initialised: bool = True,
    ) -> None:
        maps = feature_maps(spec.plan(form))
        indices = tuple(range(len(maps)) if out_indices is None else out_indices)
        for index in indices:
            if not -len(maps) <= index < len(maps):
                raise UserError(
                    f"`out_indices` (={indices}) must lie in 0 ... {len(maps) - 1}: the network"
                    f" has {len(maps)} resolutions"
                )
        if not indices:
            raise UserError("`out_indices` (=()) must name at least one feature map")
        super().__init__(spec, form, generator, initialised=initialised)
        self.feature_info = FeatureInfo(maps, tuple(i % len(maps) for i in indices))
        self._maps = [maps[i] for i in indices]
        for step in self.plan.steps[max(m.end for m in self._maps) :]:
            del self.steps[step.name]

    def forward(self, images: Tensor) -> list[Tensor]:  # type: ignore[override]
        """The maps, each of shape ``(N, channels, height / reduction, width / reduction)``."""
        names = dict.fromkeys(name for m in self._maps for name in m.values)
        values = dict(zip(names, self.compute(images, names), strict=True))
        return [torch.cat([values[name] for name in m.values], 1) for m in self._maps]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Sets ``recompute``: less memory in training, for more time."""
        self.recompute = enable

    def _fresh(self, form: Form) -> Network:
        indices = self.feature_info.out_indices
        return FeatureMaps(self.spec, form, out_indices=indices, initialised=False)
