"""What is searched, trained and compared, and where it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from latency_models import device
from search.limits import Limits

SPACE = "cifar-32-fast"
DEVICE = "raspberry-pi-4/ncnn/1"
SEED = 0

# The budget that the hand-designed networks are scaled to, and condensenetv2-20's milliseconds.
LIMITS = Limits(macs=5_000_000, latency_ms=4.1, device=device(DEVICE))

SEARCHES: Mapping[str, Limits] = {
    "found-cifar-5m-c": LIMITS,
    "found-cifar-5m-d": LIMITS,
    "found-cifar-4ms-a": replace(LIMITS, macs=None),
}
"""The limits of each search, by the name of the network that it finds. The settings of the searches
before these are in their cards."""

BEGIN_WITH = "found-cifar-5m-a"
"""What a search trains first."""

RUNGS, KEEP, PRECISION = (1, 3), 8, "bf16"
"""Epochs of the short trainings, which read all images that are not held out, of how many networks
one goes on, and the precision."""

EPOCHS = 12
RECIPE = ("--recipe", "condensenetv2-cifar", "--epochs", str(EPOCHS), "--devices", "cpu")
"""How every network is trained in the end."""

SEEDS: Mapping[str, int] = {
    "found-cifar-5m-a": 3,
    "found-cifar-5m-b": 1,
    "found-cifar-5m-c": 3,
    "found-cifar-5m-d": 3,
    "found-cifar-4ms-a": 3,
    "condensenetv2-20": 3,
    "condensenet-14": 1,
    "condensenet-5m": 3,
    "condensenetv2-5m": 3,
    "sfr-shufflenetv2-5m": 1,
    "sparsenet-5m": 1,
}
"""How often each network is trained."""

HERE = Path(__file__).parents[1]
NETWORKS = HERE / "networks"
RESULTS = HERE / "results/cifar-5m"
TRAINED = RESULTS / "trained.csv"
AGREEMENT = RESULTS / "agreement.csv"
