"""Checkpoints of CondenseNetV2's authors, trained or converted.

The head is ``features.se_last``, ``fc``, hard-swish, ``classifier``; the converted reactivation
adds through a square matrix of zeros and ones, which becomes an index here.
"""

from __future__ import annotations

from results.importers.checkpoint import Checkpoint
from results.importers.dense_blocks import is_dense_blocks, read_body, se_reduction, se_state
from results.importers.imported import Imported, Overrides, under
from search_space import HeadSpec, NetworkSpec

HARD_SWISH_FROM_STAGE = 3
HEAD_SE_REDUCTION = 16
"""Both as in all networks that the authors name."""


def recognises(c: Checkpoint) -> bool:
    return is_dense_blocks(c) and c.has(".sfr.conv.weight")


def read(c: Checkpoint, overrides: Overrides) -> Imported:
    """The network and its weights; raises UserError where the tensors are no such network."""
    first = overrides.hard_swish_from_stage
    first = HARD_SWISH_FROM_STAGE if first is None else first
    body = read_body(c, overrides, first)
    channels = body.channels
    reduction = se_reduction(c, "features.se_last", channels, HEAD_SE_REDUCTION)
    features = c.take("fc.weight", None, channels)
    width = features.shape[0]
    weight = c.take("classifier.weight", None, width)
    classes = weight.shape[0]
    state = {
        **under("final_norm", c.norm("features.norm_last", channels)),
        **(se_state(c, "features.se_last", channels, reduction) if reduction else {}),
        "features.weight": features,
        "features.bias": c.take("fc.bias", width),
        "classifier.weight": weight,
        "classifier.bias": c.take("classifier.bias", classes),
    }
    return Imported(
        spec=NetworkSpec(
            image_size=body.image_size,
            image_channels=body.image_channels,
            classes=classes,
            stem=body.stem,
            stages=body.stages,
            transition=body.transition,
            head=HeadSpec(se_reduction=reduction, features=width),
        ),
        form=body.form,
        state_dict={**body.state_dict, **under("steps.head", state)},
        inferred=(
            *body.inferred,
            f"head of {width} features, SE reduction {reduction}",
            f"{classes} classes",
        ),
        assumed=(
            *body.assumed,
            f"hard-swish from stage {first} (--hard-swish-from-stage) and in the head",
        ),
    )
