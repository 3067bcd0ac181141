"""Whether the forms of a network compute the same: masked, condensed, and each exported file.

A form is compared on random and on real images. A comparison with weights as they are drawn would
prove little: norms that change nothing hide a norm that is folded wrongly, and equal masks hide a
wrong index. :func:`randomise` gives every layer something to get wrong.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from results.formats import ARCHITECTURE, FORMATS, WEIGHTS, ExportOptions, Images
from results.weights import save_weights
from search_space import NetworkSpec, build
from search_space.deployed import FastDeployed
from search_space.errors import Mismatch, UnknownName, UserError
from search_space.flatten import flatten
from search_space.lowering import LOWERINGS, lower
from search_space.modules import LearnedClassifier
from search_space.network import CONVERSION_TOLERANCE, Network

TOLERANCE = CONVERSION_TOLERANCE
TORCH_FORMS = ("masked", "condensed")
EAGER = "eager"
"""The form that torch executes operation by operation, fast."""
DEFAULT_FORMS = (
    *TORCH_FORMS,
    *("onnx", "onnx:canonical", "onnx:onnxruntime-x86"),
    *(f"{EAGER}:{name}" for name in LOWERINGS if name != "canonical" and "onnxruntime" not in name),
)
"""Every lowering once: what each is made for is not always installed."""
REAL_IMAGES = ("china.jpg", "flower.jpg")
"""Photographs that scikit-learn carries with it."""
RANDOM_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two forms of a network. ``difference`` is the largest of any output, relative to the
    largest output of all images; infinite where an output is no number."""

    first: str
    second: str
    difference: float

    @property
    def agrees(self) -> bool:
        return self.difference <= TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was compared, with which weights, and what came of it.

    Args:
        network: Id of the network.
        weights: Where its weights come from.
        exporter: What wrote the ONNX file; empty where there is none.
        images: How many images each form was run on.
        comparisons: The forms, two by two.
        wall_s: Seconds that writing and running all forms took.
    """

    network: str
    weights: str
    exporter: str
    images: int
    comparisons: tuple[Comparison, ...]
    wall_s: float

    @property
    def agrees(self) -> bool:
        return all(c.agrees for c in self.comparisons)

    def check(self) -> None:
        """Raises Mismatch naming the forms that differ, if any do."""
        wrong = [c for c in self.comparisons if not c.agrees]
        if wrong:
            pairs = ", ".join(f"{c.first} and {c.second} by {c.difference:.1e}" for c in wrong)
            raise Mismatch(
                f"forms of {self.network} differ by more than {TOLERANCE:.0e} of the largest"
                f" output: {pairs}; the conversion is at fault, and nothing was exported"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        comparisons = [{**asdict(c), "agrees": c.agrees} for c in self.comparisons]
        return {
            **asdict(self),
            "comparisons": comparisons,
            "tolerance": TOLERANCE,
            "agrees": self.agrees,
        }


def difference(first: Images, second: Images) -> float:
    """The largest difference of two sets of logits ``(N, classes)``, relative to the largest logit
    of all images; infinite where one is no number.

    All images, as in :func:`search_space.network.check_conversion`: the logits of a single image
    may all be near zero, the sums that rounding disturbs are not.
    """
    if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return float("inf")
    return float(np.abs(first - second).max() / max(np.abs(first).max(), 1e-12))


def compare(logits: dict[str, Images]) -> tuple[Comparison, ...]:
    """Every form against those of torch that stand before it, or against the first; further
    lowerings of a form, ``FORM:LOWERING``, only against the first."""
    names = list(logits)
    references = [name for name in names if name in TORCH_FORMS] or names[:1]
    return tuple(
        Comparison(first=a, second=b, difference=difference(logits[a], logits[b]))
        for i, b in enumerate(names)
        for a in (references[:1] if ":" in b else references)
        if a in names[:i]
    )


# --- What goes in ------------------------------------------------------------------------------


def input_images(spec: NetworkSpec, seed: int = 0) -> Images:
    """Random images, then photographs, each normalised by its own mean and deviation."""
    size, channels = spec.image_size, spec.image_channels
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(RANDOM_IMAGES, channels, size, size, generator=generator)
    images: Images = torch.cat([random, _photographs(channels, size)]).numpy()
    return images


def _photographs(channels: int, size: int) -> Tensor:
    from sklearn.datasets import load_sample_image

    pixels = torch.from_numpy(np.stack([load_sample_image(name) for name in REAL_IMAGES]))
    small = F.interpolate(
        pixels.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", antialias=True
    )
    small = small[:, torch.arange(channels) % small.shape[1]]
    std, mean = torch.std_mean(small, dim=(1, 2, 3), correction=0, keepdim=True)
    return (small - mean) / std.clamp_min(1e-3)


def random_network(spec: NetworkSpec, seed: int = 0) -> Network:
    """A masked network at the end of its schedule whose norms and biases all do something."""
    generator = torch.Generator().manual_seed(seed)
    network = build(spec, "masked", generator=generator).eval()
    network.condense_for_conversion()
    randomise(network, torch.from_numpy(input_images(spec, seed)), generator)
    return network


@torch.no_grad()
def randomise(network: nn.Module, images: Tensor, generator: torch.Generator) -> None:
    """Random statistics and affine parameters of norms, random biases.

    The statistics lie around those of the ``images``, layer by layer, so that signals neither
    fade nor explode however deep the network is. Biases lie above 0, so that most of what a ReLU
    reads passes: a network of hundreds of layers that each cut off half would amplify rounding
    until single and double precision of the same form disagree.
    """

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.empty_like(like).uniform_(low, high, generator=generator)

    def settle(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        positions = [dim for dim in range(inputs[0].dim()) if dim != 1]
        variance, mean = torch.var_mean(inputs[0], dim=positions, correction=0)
        shift = uniform(mean, -0.25, 0.25) * variance.sqrt()
        norm.running_mean.copy_(mean + shift)
        norm.running_var.copy_((variance + 1e-3) * uniform(variance, 0.5, 2.0))
        norm.weight.copy_(uniform(norm.weight, 0.5, 1.0))
        norm.bias.copy_(uniform(norm.bias, 0.5, 1.5))

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            hooks.append(module.register_forward_pre_hook(settle))
        elif isinstance(module, nn.Linear | LearnedClassifier) and module.bias is not None:
            module.bias.copy_(uniform(module.bias, -0.1, 0.1))
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()


# --- Running the forms -------------------------------------------------------------------------


@torch.no_grad()
def run_torch(network: nn.Module, images: Images) -> Images:
    """Logits ``(N, classes)``, an image at a time."""
    logits: Images = torch.cat([network(x[None]) for x in torch.from_numpy(images)]).numpy()
    return logits


def known_forms() -> tuple[str, ...]:
    """What ``--forms`` accepts; those that are lowered also as ``FORM:LOWERING``."""
    return (*TORCH_FORMS, *FORMATS, EAGER)


def _check_form(form: str) -> None:
    kind, colon, lowering = form.partition(":")
    if kind not in known_forms():
        raise UnknownName("form", kind, known_forms())
    lowered = kind == EAGER or (kind in FORMATS and FORMATS[kind].lowering is not None)
    if colon and not lowered:
        raise UserError(f"the form {kind} has no lowerings; write it without :{lowering}")
    if colon and lowering not in LOWERINGS:
        raise UnknownName("lowering", lowering, LOWERINGS)


def forms_of(network: Network, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The wanted forms, those of torch first; by default every lowering once.

    Raises:
        UnknownName: no such form or lowering.
        UserError: weights of the condensed form cannot be turned into masked ones; fewer than two
            forms are left.
    """
    forms = dict.fromkeys(DEFAULT_FORMS if wanted is None else wanted)
    for form in forms:
        _check_form(form)
    if network.form == "condensed" and "masked" in forms:
        if wanted is not None:
            raise UserError(
                "the form masked needs masked weights; these are condensed, which masks cannot"
                " be made from: leave it out of --forms"
            )
        del forms["masked"]
    if len(forms) < 2:
        raise UserError(f"--forms {','.join(forms)} must name at least two forms to compare")
    return tuple(sorted(forms, key=lambda form: known_forms().index(form.partition(":")[0])))


def condensed_form(network: Network) -> Network:
    """The network itself if it is condensed, else its conversion."""
    return network if network.form == "condensed" else network.to_inference()


Runner = Callable[[Path, Images], Images]


def verify_folder(
    network: Network,
    folder: Path,
    forms: Iterable[str],
    *,
    weights: str,
    exporter: str = "",
    others: dict[str, Runner] | None = None,
    began: float | None = None,
) -> Verification:
    """Compares torch's forms with files that are written already.

    Args:
        network: In evaluation mode, in the form that its weights are in.
        folder: Where the files are.
        forms: See :func:`known_forms`; torch's own come first.
        weights: Where the weights come from, in words.
        exporter: What wrote the ONNX file.
        others: Further runners of the folder's files by name.
        began: When the writing began (``time.perf_counter``).
    """
    began = time.perf_counter() if began is None else began
    forms = tuple(forms)
    images = input_images(network.spec)
    logits: dict[str, Images] = {}
    if "masked" in forms and network.form == "masked":
        logits["masked"] = run_torch(network, images)
    if "condensed" in forms:
        logits["condensed"] = run_torch(condensed_form(network), images)
    for form in forms:
        kind, _, lowering = form.partition(":")
        if kind in FORMATS:
            logits[form] = FORMATS[kind].run(folder / lowering, images)
        elif kind == EAGER:
            graph = lower(flatten(condensed_form(network)), lowering or "torch")
            logits[form] = run_torch(FastDeployed(graph), images)
    for name, run in (others or {}).items():
        logits[name] = run(folder, images)
    return Verification(
        network=network.spec.id,
        weights=weights,
        exporter=exporter,
        images=len(images),
        comparisons=compare(logits),
        wall_s=round(time.perf_counter() - began, 2),
    )


def verify(
    network: Network,
    forms: Sequence[str] | None = None,
    *,
    weights: str,
    options: ExportOptions | None = None,
    others: dict[str, Runner] | None = None,
) -> Verification:
    """Compares forms of a network; files are written to a folder that is removed afterwards.

    Args:
        network: Masked at the end of its schedule, or condensed; in evaluation mode.
        forms: See :func:`forms_of`.
        weights: Where the weights come from, in words.
        options: How files are written; the direct exporter by default, which takes seconds.
        others: Further runners of the files, such as ONNX on another machine.

    Raises:
        UserError: see :func:`forms_of`; or a library is missing that a form needs.
    """
    began = time.perf_counter()
    options = options or ExportOptions(exporter="direct")
    chosen = forms_of(network, forms)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [form for form in chosen if form in FORMATS]
        write_files(network, folder, files, options)
        for form in chosen:
            kind, _, lowering = form.partition(":")
            if kind in FORMATS and lowering:
                (folder / lowering).mkdir(exist_ok=True)
                lowered = replace(options, lowering=lowering)
                FORMATS[kind].write(condensed_form(network), folder / lowering, lowered)
        return verify_folder(
            network,
            folder,
            chosen,
            weights=weights,
            exporter=options.exporter if any(f.startswith("onnx") for f in chosen) else "",
            others=others,
            began=began,
        )


def write_files(
    network: Network,
    folder: Path,
    formats: Iterable[str],
    options: ExportOptions,
    *,
    trained: bool = True,
) -> None:
    """Writes architecture, weights and the files of the formats into a folder; weights that are
    not trained have nothing that a mask would keep, and are written condensed."""
    (folder / ARCHITECTURE).write_text(network.spec.to_yaml(), encoding="utf-8")
    condensed = condensed_form(network)
    save_weights(network if trained else condensed, folder / WEIGHTS, trained=trained)
    for format in formats:
        FORMATS[format].write(condensed, folder, options)
