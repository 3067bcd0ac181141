"""The card of an exported network: what it is, what it costs, how to load it, what was verified."""

from __future__ import annotations

from collections.abc import Sequence

from results.formats import FORMATS, ExportOptions, lowering_of
from results.verify import TOLERANCE, Verification
from search_space import NetworkSpec, cost, format_count

_CARD = """\
# Condensed network {id}

{what}

{training}

| figure | per image |
|---|---|
{figures}

Input: `images`, float32, (N, {channels}, {size}, {size}), normalised as in training. Output:
`logits`, (N, {classes}).

## Loading

{usages}

## Verification

Forms of this network compared on {images} images, random ones and photographs. Differences are
relative to the largest output of an image; above {tolerance:.0e} nothing would have been exported.

| forms | largest difference |
|---|---|
{comparisons}
"""


def card(
    spec: NetworkSpec,
    formats: Sequence[str],
    verification: Verification,
    *,
    trained: bool,
    options: ExportOptions,
    latency: dict[str, float] | None = None,
) -> str:
    """Markdown.

    Args:
        spec: The network.
        formats: Keys of ``FORMATS``.
        verification: What was compared.
        trained: Whether weights were given; else the card says that they are untrained.
        options: How the files were written.
        latency: Predicted milliseconds by device, if anyone predicted them.
    """
    price = cost(spec)
    figures = {
        "multiply-adds": f"{price.macs:,}",
        "parameters": f"{price.params:,}",
        f"the authors' count ({price.paper_convention})": f"{price.paper_flops:,}",
        "elements moved by gathers, shuffles and index-adds": f"{price.gather_elements:,}",
        "largest activations alive, single precision": f"{price.peak_activation_mb:.2f} MB",
        **{f"predicted on {on}": f"{ms:.1f} ms" for on, ms in (latency or {}).items()},
    }
    stages = len(spec.stages)
    return _CARD.format(
        id=spec.id,
        what=f"A condensed CNN of {stages} stage{'s' * (stages > 1)} and"
        f" {format_count(price.macs)} multiply-adds: {spec}. `architecture.yaml` describes it in"
        " full.",
        training=f"Weights: {verification.weights}."
        if trained
        else f"**The weights are untrained** ({verification.weights}): they show speed and"
        " conversion, no accuracy.",
        figures="\n".join(f"| {name} | {value} |" for name, value in figures.items()),
        channels=spec.image_channels,
        size=spec.image_size,
        classes=spec.classes,
        usages="\n\n".join(
            f"{_how(name, options)}:\n\n```python\n{FORMATS[name].usage}\n```"
            + f"\n\n{FORMATS[name].note}" * bool(FORMATS[name].note)
            for name in formats
        ),
        images=verification.images,
        tolerance=TOLERANCE,
        comparisons="\n".join(
            f"| {c.first}, {c.second} | {c.difference:.1e} |" for c in verification.comparisons
        ),
    )


def _how(format: str, options: ExportOptions) -> str:
    """A format, its lowering, and what wrote it."""
    lowering = lowering_of(format, options)
    by = f", written by the {options.exporter} exporter" * (format == "onnx")
    return f"{format} (lowering {lowering}{by})" if lowering else format
