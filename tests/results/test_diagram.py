"""Networks as people read them."""

from __future__ import annotations

import pytest

from results.diagram import WIDEST, diagram, parts
from search_space import ZOO, cost, format_count


@pytest.mark.parametrize("name", ["condensenet-86", "condensenetv2-a", "sparsenet-121"])
def test_parts_add_up_to_the_network(name: str) -> None:
    found, price = parts(ZOO[name]), cost(ZOO[name])
    assert sum(part.macs for part in found) == price.macs
    assert sum(part.params for part in found) == price.params
    assert found[0].name == "stem"
    assert found[-1].name == "head"
    assert found[-1].output == f"{ZOO[name].classes}x1x1"


def test_a_diagram_has_a_line_per_part_and_a_full_bar_for_the_dearest() -> None:
    spec = ZOO["condensenet-86"]
    found = parts(spec)
    images, *lines = diagram(spec).splitlines()
    assert images.split() == ["images", "3x32x32"]
    assert [line.split()[:3] for line in lines] == [
        [part.name, part.output, format_count(part.macs)] for part in found
    ]
    bars = {line.split()[0]: line.count("█") for line in lines}
    assert bars["stage3"] == WIDEST == max(bars.values())
    assert bars["transition1"] == 0
    assert "d 14, k 8, G 4, C 4" in lines[1]
