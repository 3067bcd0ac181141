"""Where a condensed layer pays as it is: told from numbers of channels alone, for each runtime.

The rules of :mod:`search_space.layout` that rewrite a trained network, and latency models that
price one nobody has trained, must agree; here they read the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """When a runtime executes a learned 1x1 convolution as gather, grouped convolution, shuffle.

    Attributes:
        worth: Least inputs * outputs / (inputs + outputs): dense, a layer multiplies inputs by
            outputs; condensed, it moves a few times inputs + outputs.
        block: Channels that must be gathered together; 1 where single ones may be.
        multiple: Channels of the groups of other convolutions: groups that are no multiple of so
            many channels are merged; 1 for none.
        dense_classifier: Whether a condensed classifier reads all its inputs.
        shuffles: Whether the groups' outputs are brought into order by a shuffle; else by a gather.
    """

    worth: float
    block: int = 1
    multiple: int = 1
    dense_classifier: bool = False
    shuffles: bool = True

    def pays(self, inputs: int, outputs: int, groups: int, kept: int, block: int) -> bool:
        """Whether a layer is gathered; each of its groups keeps ``kept`` inputs in blocks."""
        return (
            outputs % groups == 0
            and inputs * outputs / (inputs + outputs) >= self.worth
            and 0 < groups * kept <= 2 * inputs
            and block % self.block == 0
        )

    def merged(self, inputs: int, outputs: int, groups: int) -> int:
        """The most groups, of those that divide these, whose channels are whole multiples; else
        one."""
        for g in range(groups, 1, -1):
            whole = inputs // g % self.multiple == outputs // g % self.multiple == 0
            if groups % g == 0 and whole:
                return g
        return 1


GATHERING: Mapping[str, Gathering] = {
    "ncnn": Gathering(worth=15, block=4, multiple=4, dense_classifier=True),
    "onnxruntime": Gathering(worth=10, shuffles=False),
}
"""By runtime, as counted on emulated ARM cores (docs/speed.md)."""
