"""A network as people read it: its parts from the image to the classes, in text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from search_space import NetworkSpec, format_count
from search_space.plan import part as part_of
from search_space.plan import stage_of

COLUMNS = ("part", "output", "steps", "MACs", "params")
"""Of a table with a row for each part."""

WIDEST = 24
"""Characters of the bar of the part with the most multiply-adds."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Stem, stage, transition or head of a condensed network.

    Args:
        name: ``stem``, ``stage1``, ``transition1``, ..., ``head``.
        channels: What the next part reads: after a stage of exponential fetch that is less than
            all of its features.
        size: Height and width of that.
        steps: How many layers.
        macs: Multiply-adds of them.
        params: Parameters of them.
    """

    name: str
    channels: int
    size: int
    steps: int
    macs: int
    params: int

    @property
    def output(self) -> str:
        """Channels, height and width."""
        return f"{self.channels}x{self.size}x{self.size}"

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """What a table shows: :data:`COLUMNS`."""
        counts = (str(self.steps), format_count(self.macs), format_count(self.params))
        return self.name, self.output, *counts


def parts(spec: NetworkSpec) -> list[Part]:
    """The parts of a network in their order."""
    steps = spec.plan("condensed").steps
    groups = [(name, list(part)) for name, part in groupby(steps, lambda step: part_of(step.name))]
    found = []
    for (name, part), following in zip_longest(groups, groups[1:]):
        ops = [op for step in part for op in step.fragment.ops]
        read = following[1][0].fragment.inputs if following else part[-1].fragment.outputs
        found.append(
            Part(
                name=name,
                channels=sum(value.channels for value in read),
                size=read[0].size,
                steps=len(part),
                macs=sum(op.macs for op in ops),
                params=sum(op.params for op in ops),
            )
        )
    return found


def diagram(spec: NetworkSpec) -> str:
    """One line per part: its layers and choices, what it hands on, and a bar of multiply-adds."""
    found = parts(spec)
    most = max(part.macs for part in found)
    rows: list[Sequence[str]] = [
        ("images", f"{spec.image_channels}x{spec.image_size}x{spec.image_size}", "", "", "")
    ]
    for part in found:
        bar = "█" * round(WIDEST * part.macs / most)
        rows.append((part.name, part.output, format_count(part.macs), bar, _choices(spec, part)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}"
        f"  {row[3]:<{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    )


def _choices(spec: NetworkSpec, part: Part) -> str:
    """What was chosen for a stage."""
    number = stage_of(part.name)
    if not number:
        return ""
    stage = spec.stages[number - 1]
    return ", ".join(f"{name} {value}" for name, value in stage.summary.items())
