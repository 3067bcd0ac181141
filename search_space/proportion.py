"""How far a share of a sample is from that of everything it was drawn from."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """Where the share of everything lies, given ``hits`` in ``count`` draws from it.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
