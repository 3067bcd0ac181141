"""The torch module of a plan, and the conversion from its masked to its condensed form."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from search_space import ops
from search_space.fused import Unit, computed_as_one, units, units_of
from search_space.modules import MODULES, LearnedLayer
from search_space.plan import Form, Fragment
from search_space.recompute import recomputed

if TYPE_CHECKING:
    from search_space.ops import Op
    from search_space.spec import NetworkSpec


class FragmentModule(nn.Module):
    """Runs the operations of one fragment; a submodule per operation, under its name."""

    def __init__(self, fragment: Fragment) -> None:
        super().__init__()
        self.fragment = fragment
        for op in fragment.ops:
            self.add_module(op.name, MODULES[type(op)](op))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = {v.name: x for v, x in zip(self.fragment.inputs, inputs, strict=True)}
        self._run(units_of(self.fragment), values)
        return tuple(values[v.name] for v in self.fragment.outputs)

    def run(self, operations: Iterable[Op], values: dict[str, Tensor]) -> None:
        """Runs some of the operations; they read from ``values`` and write to it."""
        self._run(units(operations, self.fragment), values)

    def _run(self, units: Iterable[Unit], values: dict[str, Tensor]) -> None:
        for unit in units:
            if len(unit) > 1 and computed_as_one(unit, self, values):
                continue
            for op in unit:
                self._run_one(op, values)

    def _run_one(self, op: Op, values: dict[str, Tensor]) -> None:
        result = self.get_submodule(op.name)(*(values[v.name] for v in op.inputs))
        results = result if isinstance(result, tuple) else (result,)
        values.update(zip((v.name for v in op.outputs), results, strict=True))


class Network(nn.Module):
    """A network in masked or condensed form: images ``(N, channels, size, size)`` to logits.

    Args:
        spec: The network.
        form: ``masked`` to train, ``condensed`` to deploy.
        generator: Where the initial weights come from; torch's default generator if None.
        initialised: Whether there are initial weights; without them memory is as it was found.

    ``recompute`` may be set at any time: training then needs less memory and more time, and
    computes the same gradients (see :mod:`search_space.recompute`).
    """

    recompute: bool = False

    def __init__(
        self,
        spec: NetworkSpec,
        form: Form = "masked",
        generator: torch.Generator | None = None,
        *,
        initialised: bool = True,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.form = form
        self.plan = spec.plan(form)
        self.steps = nn.ModuleDict(
            {step.name: FragmentModule(step.fragment) for step in self.plan.steps}
        )
        self._last_reader = self.plan.last_reader()
        if initialised:
            initialise(self, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape ``(N, classes)``."""
        return self.compute(images, (self.plan.output,))[0]

    def compute(self, images: Tensor, names: Collection[str]) -> list[Tensor]:
        """Values of the plan by their names, run no further than the last of them."""
        recompute = self.recompute and torch.is_grad_enabled()
        values = {self.plan.input.name: images}
        for i, step in enumerate(self.plan.steps):
            if all(name in values for name in names):
                break
            inputs = [values[name] for name in step.inputs]
            fragment = self.steps[step.name]
            outputs = recomputed(fragment, *inputs) if recompute else fragment(*inputs)
            values.update(zip(step.outputs, outputs, strict=True))
            # What nobody reads after this step is freed.
            for name in (*step.inputs, *step.outputs):
                if self._last_reader.get(name, -1) <= i and name not in names:
                    values.pop(name, None)
        return [values[name] for name in names]

    @property
    def learned_layers(self) -> dict[str, LearnedLayer]:
        """Every layer that condenses, by its module name."""
        return {n: m for n, m in self.named_modules() if isinstance(m, LearnedLayer)}

    def condense(self, progress: float) -> None:
        """Performs every drop that is due at ``progress`` in [0, 1]; see ``LearnedLayer``.

        A classifier that is condensed at conversion waits for :meth:`condense_for_conversion`.
        """
        for layer in self.learned_layers.values():
            if not getattr(layer, "at_conversion", False):
                layer.condense(progress)

    def condense_for_conversion(self) -> None:
        """Performs every drop that is left, those of training's schedule and those after it.

        This changes the outputs of a network that was not trained with these drops.
        """
        for layer in self.learned_layers.values():
            layer.condense(1.0)

    def to_inference(self) -> Network:
        """The condensed form with the same outputs in evaluation mode.

        Gather, grouped convolution and index-add replace each learned layer; norms in front of a
        gather move behind it.

        Raises:
            ValueError: the network is condensed already, or a layer still has drops to come; the
                message names it.
        """
        if self.form == "condensed":
            raise ValueError("the network is in condensed form already")
        for name, layer in self.learned_layers.items():
            if not layer.is_condensed:
                raise ValueError(
                    f"{name} still has drops to come; call condense(1.0) first, or"
                    " condense_for_conversion() where the classifier is condensed after training"
                )
        condensed = self._fresh("condensed")
        reference, filled = next(self.parameters()), next(condensed.parameters())
        if (filled.device, filled.dtype) != (reference.device, reference.dtype):
            condensed.to(device=reference.device, dtype=reference.dtype)
        with torch.no_grad():
            for name, fragment in self.steps.items():
                _convert(
                    cast(FragmentModule, fragment), cast(FragmentModule, condensed.steps[name])
                )
        return condensed.train(self.training)

    def _fresh(self, form: Form) -> Network:
        """Another of the same kind, its weights to be filled in."""
        return Network(self.spec, form, initialised=False)


CONVERSION_TOLERANCE = 1e-4
"""Largest difference of two forms, relative to the largest output, that rounding explains."""


@torch.no_grad()
def check_conversion(masked: Network, condensed: Network, images: Tensor) -> None:
    """Compares the outputs of both forms of a network in evaluation mode, be it one or several.

    Raises:
        RuntimeError: some differ by more than ``CONVERSION_TOLERANCE``: the conversion is wrong.
    """
    outputs, others = masked(images), condensed(images)
    if isinstance(outputs, Tensor):
        outputs, others = [outputs], [others]
    for expected, found in zip(outputs, others, strict=True):
        difference = float((expected - found).abs().max() / expected.abs().max().clamp_min(1e-12))
        if not difference <= CONVERSION_TOLERANCE:  # no number is no agreement
            raise RuntimeError(
                f"the condensed form of {masked.spec} differs from the masked one by"
                f" {difference:.1e} of the largest output, more than {CONVERSION_TOLERANCE:.0e}"
            )


def initialise(network: nn.Module, generator: torch.Generator | None) -> None:
    """Nothing dropped, norms that change nothing; He initialisation by fan-out for convolutions,
    as all four papers train; by fan-in uniform for linear layers, zero biases."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            continue
        for name, buffer in module.named_buffers(recurse=False):
            buffer.fill_(name == "mask")
        weight = getattr(module, "weight", None)
        if weight is None:
            continue
        if weight.dim() == 4:
            # The papers' code takes the full number of outputs even of a grouped convolution.
            fan_out = weight.shape[0] * weight.shape[2] * weight.shape[3]
            nn.init.normal_(weight, std=(2.0 / fan_out) ** 0.5, generator=generator)
        else:
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        if isinstance(bias := getattr(module, "bias", None), Tensor):
            nn.init.zeros_(bias)


def _convert(masked: FragmentModule, condensed: FragmentModule) -> None:
    """Fills the condensed fragment's tensors from those of the masked one."""
    sources = dict(masked.named_children())
    targets: dict[str, Any] = dict(condensed.named_children())
    gathered: dict[str, Tensor] = {}
    for op in masked.fragment.ops:
        layer = sources[op.name]
        if not isinstance(layer, LearnedLayer):
            continue
        index = layer.kept_index()
        target = targets[op.name]
        if isinstance(op, ops.LearnedReactivation):
            adding = f"{op.name}_scatter" if f"{op.name}_scatter" in targets else f"{op.name}_add"
            targets[adding].index.copy_(index.flatten())
            target.weight.copy_(_output_groups(layer.weight, index))
            continue
        gathered[f"{op.name}_norm"] = index.flatten()
        targets[f"{op.name}_gather"].index.copy_(index.flatten())
        target.weight.copy_(_input_groups(layer.weight, index))
        if getattr(op, "bias", False):
            target.bias.copy_(layer.bias)
    for name, module in sources.items():
        own = _tensors(module)
        if isinstance(module, LearnedLayer) or not own:
            continue
        for tensor, copy in zip(own, _tensors(targets[name]), strict=True):
            copy.copy_(tensor[gathered[name]] if name in gathered and tensor.dim() else tensor)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers; not by torch's own iterators, which deep networks notice."""
    own = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
    return own + [t for child in module.children() for t in _tensors(child)]


def _input_groups(weight: Tensor, index: Tensor) -> Tensor:
    """Rows ``g::groups`` and columns ``index[g]`` of each group g, one group after the other."""
    groups, kept = index.shape
    rows = weight.shape[0] // groups
    by_group = weight.view(rows, groups, *weight.shape[1:]).transpose(0, 1)
    selector = index.view(groups, 1, kept, *[1] * (weight.dim() - 2))
    selector = selector.expand(groups, rows, kept, *weight.shape[2:])
    return by_group.gather(2, selector).reshape(groups * rows, kept, *weight.shape[2:])


def _output_groups(weight: Tensor, index: Tensor) -> Tensor:
    """Rows ``index[g]`` and columns ``g::groups`` of each group g, one group after the other."""
    groups, kept = index.shape
    columns = weight.shape[1] // groups
    by_group = weight.view(weight.shape[0], columns, groups, *weight.shape[2:])
    by_group = by_group.movedim(2, 0)
    group = torch.arange(groups, device=weight.device)[:, None]
    return by_group[group, index].reshape(groups * kept, columns, *weight.shape[2:])
