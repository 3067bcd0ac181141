"""Checkpoints of CondenseNet's authors, trained or converted, and of their DenseNet baseline.

The converted classifier reads half of the features by an index: ``classifier.{index,linear}``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from results.importers.checkpoint import Checkpoint
from results.importers.dense_blocks import is_dense_blocks, read_body
from results.importers.imported import Imported, Overrides, under
from search_space import HeadSpec, NetworkSpec, UserError


def recognises(c: Checkpoint) -> bool:
    return is_dense_blocks(c) and not c.has(".sfr.conv.weight")


def read(c: Checkpoint, overrides: Overrides) -> Imported:
    """The network and its weights; raises UserError where the tensors are no such network."""
    body = read_body(c, overrides, overrides.hard_swish_from_stage or 0)
    factor, classifier, inferred, assumed = _classifier(c, body.channels, overrides)
    classes = classifier["classifier.weight"].shape[0]
    final = under("final_norm", c.norm("features.norm_last", body.channels))
    return Imported(
        spec=NetworkSpec(
            image_size=body.image_size,
            image_channels=body.image_channels,
            classes=classes,
            stem=body.stem,
            stages=body.stages,
            transition=body.transition,
            head=HeadSpec(condense_factor=factor),
        ),
        form=body.form,
        state_dict={**body.state_dict, **under("steps.head", {**final, **classifier})},
        inferred=(*body.inferred, f"{classes} classes", *inferred),
        assumed=(*body.assumed, *assumed),
    )


def _classifier(
    c: Checkpoint, channels: int, overrides: Overrides
) -> tuple[int, dict[str, Tensor], list[str], list[str]]:
    """Condense factor of the classifier, its tensors under our names, what is known and not."""
    if "classifier.index" not in c:
        factor = overrides.classifier_condense_factor or 1
        if factor > channels:
            raise UserError(
                f"--classifier-condense-factor (={factor}) must be at most the features"
                f" (={channels}) that the classifier chooses from"
            )
        weight = c.take("classifier.weight", None, channels)
        state = {
            "classifier.weight": weight,
            "classifier.bias": c.take("classifier.bias", weight.shape[0]),
        }
        if factor > 1:
            if c.has(".conv_1.index"):
                raise UserError(
                    f"--classifier-condense-factor {factor} needs a network in masked form; this"
                    " one is converted and its classifier reads every feature"
                )
            state["classifier.mask"] = _strongest(state["classifier.weight"], factor)
        part = "every feature" if factor == 1 else f"the strongest 1/{factor} of the features"
        note = f"the classifier reads {part} (--classifier-condense-factor)"
        return factor, state, [], [note]
    if not c.has(".conv_1.index"):
        raise UserError(
            "`classifier.index` belongs to a converted network, and the layers of this one are in"
            " masked form; import the checkpoint from before the conversion"
        )
    index = c.take("classifier.index", None).long()
    factor = channels // max(1, len(index))
    if len(index) != channels // max(1, factor) or factor < 2:
        raise UserError(
            f"`classifier.index` names {len(index)} of {channels} features, which is no whole part"
            " of them"
        )
    if int(index.min()) < 0 or int(index.max()) >= channels:
        raise UserError(f"`classifier.index` must name features from 0 to {channels - 1}")
    weight = c.take("classifier.linear.weight", None, len(index))
    state = {
        "classifier_gather.index": index,
        "classifier.weight": weight,
        "classifier.bias": c.take("classifier.linear.bias", weight.shape[0]),
    }
    return factor, state, [f"the classifier keeps 1/{factor} of the features"], []


def _strongest(weight: Tensor, factor: int) -> Tensor:
    """``(1, features)``; True for the 1/``factor`` of the features with the largest L1 norms.

    As the authors' conversion chooses them, after training.
    """
    features = weight.shape[1]
    kept = weight.abs().sum(0).argsort(descending=True)[: features // factor]
    mask = torch.zeros(1, features, dtype=torch.bool)
    mask[0, kept] = True
    return mask
