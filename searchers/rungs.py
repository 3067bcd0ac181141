"""Which networks are worth a longer training: asynchronous halving over rungs, for two objectives.

A rung is a whole short training, from scratch, with its whole condensing schedule. Whether a
network is trained in the next rung is decided as soon as it is scored in one, from the trials that
are known then: nothing waits for a rung to fill (ASHA: Li et al. 2020, arXiv:1810.05934). Networks
of one rung are ranked as in MO-ASHA (Schmucker et al. 2021, arXiv:2106.12639).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.trial import Trial
from search_space.budget import counted
from search_space.errors import UserError, shown
from searchers.dominance import Losses, front_ranks

KEEP = 3


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A short training of so many epochs at so many pixels; raises UserError below 1."""

    epochs: int
    resolution: int

    def __post_init__(self) -> None:
        for name in ("epochs", "resolution"):
            if getattr(self, name) < 1:
                raise UserError(f"`{name}` (={getattr(self, name)}) of a rung must be at least 1")

    @property
    def cost(self) -> int:
        """Proportional to the multiply-adds of a training: epochs times pixels."""
        return self.epochs * self.resolution**2

    def __str__(self) -> str:
        return f"{counted(self.epochs, 'epoch')} at {self.resolution}x{self.resolution}"


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Rungs, the cheapest first, and in how many networks of a rung one goes on to the next.

    Raises:
        UserError: there are fewer than two rungs, one costs no more than the one before it, or
            ``keep`` is less than 2.
    """

    rungs: tuple[Rung, ...]
    keep: int = KEEP

    def __post_init__(self) -> None:
        written = ",".join(f"{rung.epochs}@{rung.resolution}" for rung in self.rungs)
        if len(self.rungs) < 2:
            raise UserError(
                f"`rungs` (={written}) must be at least two; --epochs sets a single one"
            )
        for before, after in pairwise(self.rungs):
            if after.cost <= before.cost:
                raise UserError(
                    f"`rungs` (={written}) must begin with the cheapest: {after} costs no more than"
                    f" {before} (epochs times pixels); order them, or leave one out"
                )
        if self.keep < 2:
            raise UserError(
                f"`keep` (={self.keep}) must be at least 2: one network in `keep` goes on"
            )

    @classmethod
    def parse(cls, text: str, *, resolution: int, keep: int = KEEP) -> Halving:
        """``2,6`` or ``1@16,3@32``: epochs, and pixels where they are not ``resolution``.

        Raises:
            UserError: the text is no such list, or breaks a rule of the class.
        """
        found = [
            re.fullmatch(r"(\d{1,9})(?:@(\d{1,9}))?", part.strip()) for part in text.split(",")
        ]
        rungs = [
            Rung(epochs=int(match[1]), resolution=int(match[2] or resolution))
            for match in found
            if match
        ]
        if len(rungs) < len(found):
            raise UserError(
                f"--rungs {shown(text)} must be epochs of each rung, the cheapest first, each with"
                " @PIXELS or without: 2,6 or 1@16,3@32,9@32"
            )
        return cls(rungs=tuple(rungs), keep=keep)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Halving:
        """The inverse of ``dataclasses.asdict``."""
        return cls(rungs=tuple(Rung(**rung) for rung in data["rungs"]), keep=data["keep"])

    def goes_on(self, trial: Trial, trials: Iterable[Trial]) -> bool:
        """Whether a trial is to be trained in the next rung.

        Of the n networks scored in the trial's last rung so far, itself included, the first
        ``n // keep`` in the order of :func:`ranked` go on; the very first always does, so that the
        next rung, too, is known of from the beginning.

        Args:
            trial: It has been scored in one rung at least.
            trials: Others, in any order; those not scored in that rung do not count. The trial
                itself may be among them.
        """
        number = len(trial.rungs)
        if number == len(self.rungs):
            return False
        known = {t.number: t for t in trials if len(t.rungs) >= number} | {trial.number: trial}
        peers = sorted(known.values(), key=lambda t: t.number)
        points = [(-t.rungs[number - 1].accuracy, t.estimate.latency_ms) for t in peers]
        first = ranked(np.array(points), max(1, len(peers) // self.keep))
        return any(peers[i].number == trial.number for i in first)


def ranked(points: Losses, count: int | None = None) -> list[int]:
    """Indices from the best to the worst point, of all or of the first ``count``.

    By non-dominated sorting; the points of a front so that the first few of them cover it: after
    the one smallest in the first column always the one farthest from all before it, measured with
    both columns scaled to the range of all points (epsilon-net, as MO-ASHA has it).
    Of equal points the first is better.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    ranks = front_ranks(points)
    fronts = (np.flatnonzero(ranks == rank) for rank in range(ranks.max() + 1))
    order = (i for front in fronts for i in _covering(front, scaled))
    return list(itertools.islice(order, count))


def _covering(front: NDArray[np.intp], scaled: Losses) -> list[int]:
    left = np.array(sorted(front.tolist(), key=lambda i: (*scaled[i], i)))
    order = [int(left[0])]
    left = left[1:]
    distances = np.full(len(left), np.inf)
    while len(left):
        distances = np.minimum(distances, np.abs(scaled[left] - scaled[order[-1]]).sum(axis=1))
        farthest = distances.argmax()
        order.append(int(left[farthest]))
        left, distances = np.delete(left, farthest), np.delete(distances, farthest)
    return order
