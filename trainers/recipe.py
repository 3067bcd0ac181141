"""How a network is trained, as a value; what the numbers mean lives here, the papers' in recipes.

Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from search_space.errors import UserError, shown
from search_space.rules import MOST

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}
"""What ``precision`` may be, and the name that Lightning Fabric has for it."""
PRUNING = ("gradual", "traditional")
CLASSIFIER = ("spec", "training", "conversion")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about a training but network, data and seed: SGD with Nesterov momentum.

    Args:
        name: What people call it.
        epochs: Passes over the training images. Traditional pruning takes as many again.
        batch_size: Images of one update, over all processes and accumulated shards.
        learning_rate: The highest.
        schedule: How it falls, a key of :data:`trainers.schedules.SHAPES`.
        milestones: Where ``steps`` divides it by ten, as shares of the training.
        warmup_epochs: Before that it rises linearly, update by update,
        warmup_start: from this share of ``learning_rate``.
        momentum: Nesterov's, without dampening.
        weight_decay: L2 penalty inside SGD's gradient.
        decay_vectors: Whether biases, and scales and shifts of norms, are decayed too.
        group_lasso: Weight of the penalty on the groups of weights of each layer that is not yet
            fully condensed (CondenseNet, section 3.1).
        label_smoothing: Share of the target that is spread over all classes.
        dropout: Of single values in front of each 1x1 convolution that learns its groups.
        classifier_dropout: Of features in front of the classifier.
        augment: A key of :data:`trainers.augment.AUGMENTATIONS`.
        ema_decay: Of an exponential moving average of the weights, which is what is kept; 0 for
            the weights themselves.
        pruning: ``gradual`` drops over the first half of the training (CondenseNet, section 3.1);
            ``traditional`` trains to the end without a drop, drops all at once and trains as long
            again, the learning rate starting anew (CondenseNet, section 4.3).
        condense_classifier: When a classifier with a condense factor is condensed: as its ``spec``
            says, in ``training`` (a factor of 2 at half time), or at ``conversion``.
        recalibration_batches: From how many batches the statistics of norms are computed anew at
            the end; 0 keeps the running averages. Short trainings need it.
        precision: ``32``, or ``bf16`` for activations; weights always have 32 bits.

    Raises:
        UserError: a value is out of its range.
    """

    name: str
    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.1
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    warmup_epochs: float = 0
    warmup_start: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_vectors: bool = True
    group_lasso: float = 0.0
    label_smoothing: float = 0.0
    dropout: float = 0.0
    classifier_dropout: float = 0.0
    augment: str = "crop-flip"
    ema_decay: float = 0.0
    pruning: str = "gradual"
    condense_classifier: str = "spec"
    recalibration_batches: int = 0
    precision: str = "32"

    def __post_init__(self) -> None:
        for name, accepts, rule in _RULES:
            value = getattr(self, name)
            if not accepts(value):
                raise UserError(f"`{name}` (={shown(value)}) must be {rule}")
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"`warmup_epochs` (={self.warmup_epochs}) must be less than `epochs`"
                f" (={self.epochs})"
            )
        object.__setattr__(self, "milestones", tuple(self.milestones))

    @property
    def epochs_in_all(self) -> int:
        """Passes over the training images, those after traditional pruning included."""
        return self.epochs * (2 if self.pruning == "traditional" else 1)

    def replace(self, **changes: Any) -> Recipe:
        """The same but for some values, which are read and checked as :meth:`from_dict` does.

        A shorter training keeps the share that warms up; so do all schedules.
        """
        epochs = changes.get("epochs")
        if isinstance(epochs, int) and "warmup_epochs" not in changes and self.warmup_epochs:
            changes["warmup_epochs"] = self.warmup_epochs * epochs / self.epochs
        return Recipe.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of :meth:`from_dict`."""
        return {**dataclasses.asdict(self), "milestones": list(self.milestones)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], what: str = "the recipe") -> Recipe:
        """A recipe out of plain values; raises UserError where they are none."""
        if not isinstance(data, Mapping):
            raise UserError(f"{what} must be a table of settings, not {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(map(str, data)) - set(known)):
            raise UserError(f"{what} has the unknown setting {unknown[0]!r}; known: {known}")
        if missing := [name for name in ("name", "epochs") if name not in data]:
            raise UserError(f"{what} lacks `{missing[0]}`")
        return cls(**{f.name: _read(f.type, data[f.name]) for f in fields(cls) if f.name in data})


def _read(kind: object, value: Any) -> Any:
    """YAML takes ``1e-4`` for a word and ``32`` for a number, whatever the setting is."""
    if kind == "float" and isinstance(value, str):
        with suppress(ValueError):
            return float(value)
    if kind == "str" and _whole(value):
        return str(value)
    return value


def _number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_RULES: tuple[tuple[str, Any, str], ...] = (
    ("name", lambda v: isinstance(v, str) and v != "", "a word"),
    (
        "epochs",
        lambda v: _whole(v) and 1 <= v <= MOST,
        f"a whole number of at least 1, at most {MOST:,}",
    ),
    (
        "batch_size",
        lambda v: _whole(v) and 2 <= v <= MOST,
        f"a whole number of at least 2: batch norm needs a batch; at most {MOST:,}",
    ),
    ("learning_rate", lambda v: _number(v) and v > 0, "positive and finite"),
    ("schedule", lambda v: v in ("cosine", "linear", "steps"), "one of cosine, linear, steps"),
    (
        "milestones",
        lambda v: isinstance(v, tuple | list) and all(_number(m) and 0 < m < 1 for m in v),
        "shares of the training, each between 0 and 1",
    ),
    ("warmup_epochs", lambda v: _number(v) and v >= 0, "at least 0"),
    ("warmup_start", lambda v: _number(v) and 0 <= v <= 1, "a share, from 0 to 1"),
    ("momentum", lambda v: _number(v) and 0 < v < 1, "between 0 and 1"),
    ("weight_decay", lambda v: _number(v) and v >= 0, "at least 0 and finite"),
    ("decay_vectors", lambda v: isinstance(v, bool), "true or false"),
    ("group_lasso", lambda v: _number(v) and v >= 0, "at least 0 and finite"),
    ("label_smoothing", lambda v: _number(v) and 0 <= v < 1, "in [0, 1)"),
    ("dropout", lambda v: _number(v) and 0 <= v < 1, "in [0, 1)"),
    ("classifier_dropout", lambda v: _number(v) and 0 <= v < 1, "in [0, 1)"),
    ("augment", lambda v: isinstance(v, str) and v != "", "the name of an augmentation"),
    ("ema_decay", lambda v: _number(v) and 0 <= v < 1, "in [0, 1)"),
    ("pruning", lambda v: v in PRUNING, f"one of {', '.join(PRUNING)}"),
    ("condense_classifier", lambda v: v in CLASSIFIER, f"one of {', '.join(CLASSIFIER)}"),
    (
        "recalibration_batches",
        lambda v: _whole(v) and 0 <= v <= MOST,
        "a whole number of at least 0",
    ),
    ("precision", lambda v: v in tuple(PRECISIONS), f"one of {', '.join(PRECISIONS)}"),
)
"""Setting, what it accepts, and the rule in words."""
