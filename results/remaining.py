"""How long a study will take yet, reckoned from the trainings that it has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.ownership import Owner
from results.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Remaining:
    """What is left of a study.

    Args:
        networks: Still to be scored.
        seconds_each: Mean of all trainings of a network that is complete, over its rungs; None
            while none is complete.
        training: Networks that a living process has in hand: so many are taken to be trained at
            once. A process of another machine is taken to be alive.
        training_s: Seconds of training that are left, whoever does them; None as ``seconds_each``.
    """

    networks: int
    seconds_each: float | None
    training: int
    training_s: float | None

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last network is scored, if those that train now go on; None where
        nobody trains, or nothing is known of how long that takes."""
        if self.networks == 0:
            return 0.0
        if self.training_s is None or not self.training:
            return None
        return self.training_s / self.training


def remaining(trials: Sequence[Trial], wanted: int) -> Remaining:
    """What is left until ``wanted`` networks are complete.

    The mean training time of complete networks, times the networks that are missing, less what
    running ones have spent in rungs that they were scored in. The training under way counts as not
    begun, and what a search does between trainings as nothing: the one makes it too long, the
    other too short.
    """
    done = [_spent_s(t) for t in trials if t.state == "complete"]
    running = [t for t in trials if t.state == "running"]
    networks = max(wanted - len(done), 0)
    each_s = sum(done) / len(done) if done else None
    left_s = None
    if each_s is not None:
        left_s = max(networks * each_s - sum(map(_spent_s, running)), 0.0)
    return Remaining(
        networks=networks,
        seconds_each=each_s,
        training=sum(_is_in_hand(t) for t in running),
        training_s=left_s,
    )


def _spent_s(trial: Trial) -> float:
    """Seconds of the trainings that a trial was scored in."""
    if trial.rungs:
        return sum(score.wall_s for score in trial.rungs)
    return trial.score.wall_s if trial.score else 0.0


def _is_in_hand(trial: Trial) -> bool:
    owner = Owner.parse(trial.owner) if trial.owner else None
    return owner is not None and not owner.has_ended
