"""The card of an exported network: what it is, what it costs, how to load it, what was verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from results.formats import FORMATS, ExportOptions, executed_macs, lowering_of
from results.markdown import markdown_table
from results.verify import TOLERANCE, Verification, condensed_form
from search_space import NetworkSpec, cost, format_count, ops

if TYPE_CHECKING:
    from search_space.network import Network

_CARD = """\
# Network {id}

{what}

{training}

{figures}

Input: `images`, float32, (N, {channels}, {size}, {size}), normalised as in training. Output:
`logits`, (N, {classes}).{labels} {batch}

## Loading

Run in this folder, each after these lines:

```python
import numpy
images = numpy.zeros((1, {channels}, {size}, {size}), numpy.float32)
```

{usages}

## Verification

Forms of this network compared on {images} images, random ones and photographs. Differences are
relative to the largest output of all images; above {tolerance:.0e} nothing would have been
exported.

{comparisons}
"""


def card(
    network: Network,
    formats: Sequence[str],
    verification: Verification,
    *,
    trained: bool,
    labels: str | None,
    options: ExportOptions,
) -> str:
    """Markdown.

    Args:
        network: In the form that its weights are in.
        formats: Keys of ``FORMATS``.
        verification: What was compared.
        trained: Whether weights were given; else the card says that they are untrained.
        labels: The file that names the classes, if there is one.
        options: How the files were written.
    """
    spec = network.spec
    price = cost(spec)
    condensed = condensed_form(network)
    executed = {name: executed_macs(name, condensed, options) for name in formats}
    figures = {
        "multiply-adds": f"{price.macs:,}",
        "parameters": f"{price.params:,}",
        f"the authors' count ({price.paper_convention})": f"{price.paper_flops:,}",
        "elements moved by gathers, shuffles and index-adds": f"{price.gather_elements:,}",
        "largest activations alive, single precision": f"{price.peak_activation_mb:.2f} MB",
        **{
            f"multiply-adds executed by {FORMATS[name].files[0]}"
            f" (lowering {lowering_of(name, options)})": f"{macs:,}"
            for name, macs in executed.items()
            if macs is not None
        },
    }
    stages = len(spec.stages)
    return _CARD.format(
        id=spec.id,
        what=f"A {'condensed ' * _learns(spec)}CNN of {stages} stage{'s' * (stages > 1)} and"
        f" {format_count(price.macs)} multiply-adds: {spec}. `architecture.yaml` describes it in"
        " full.",
        training=f"Weights: {verification.weights}."
        if trained
        else f"**The weights are untrained** ({verification.weights}): they show speed and"
        " conversion, no accuracy.",
        figures=markdown_table(("figure", "per image"), figures.items()),
        channels=spec.image_channels,
        size=spec.image_size,
        classes=spec.classes,
        labels=f" `{labels}` names the classes in this order, a line each." if labels else "",
        batch="The ONNX file takes any N."
        if options.dynamic_batch and "onnx" in formats
        else "N is 1; an ONNX file exported with `--dynamic-batch` takes any.",
        usages="\n\n".join(
            f"{_how(name, options)}:\n\n```python\n{FORMATS[name].usage}\n```"
            + f"\n\n{FORMATS[name].note}" * bool(FORMATS[name].note)
            for name in dict.fromkeys((*formats, "state_dict"))
        ),
        images=verification.images,
        tolerance=TOLERANCE,
        comparisons=markdown_table(
            ("forms", "largest difference"),
            ((f"{c.first}, {c.second}", f"{c.difference:.1e}") for c in verification.comparisons),
        ),
    )


_LEARNED = (ops.LearnedConv, ops.LearnedReactivation, ops.LearnedLinear)


def _learns(spec: NetworkSpec) -> bool:
    """Whether any layer learns in training which inputs to keep."""
    found = (op for step in spec.plan("masked").steps for op in step.fragment.ops)
    return any(isinstance(op, _LEARNED) for op in found)


def _how(format: str, options: ExportOptions) -> str:
    """A format, its lowering, and what wrote it."""
    lowering = lowering_of(format, options)
    by = f", written by the {options.exporter} exporter" * (format == "onnx")
    return f"{format} (lowering {lowering}{by})" if lowering else format
