"""What the command shows while a detector is trained."""

from __future__ import annotations

from search.progress import UpdatesDisplay
from search_space import cost, format_count
from search_space.budget import counted
from trainers.detection.cost import CLASSIFIED_SIZE, detection_cost
from trainers.detection.detector import FRAMEWORKS, anchor_sides, pyramid_strides
from trainers.detection.training import DetectionEpoch, DetectionTraining


class DetectDisplay(UpdatesDisplay[DetectionTraining]):
    """A live bar on a terminal, a line per epoch elsewhere; a context manager."""

    def begun(self, training: DetectionTraining) -> None:
        for line in description(training):
            self._say(line)
        self._begin(training)

    def epoch(self, row: DetectionEpoch) -> None:
        figures = (("mAP", row.mean_ap), ("mAP@0.5", row.ap50))
        words = ", ".join(f"{name} {'-' if x is None else f'{x:.3f}'}" for name, x in figures)
        self._say(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, {words}, {row.density:.0%} kept,"
            f" {row.images_per_s:,.1f} images/s"
        )


def description(training: DetectionTraining) -> list[str]:
    """What is trained, how, and what it costs, in lines."""
    config, recipe, spec = training.config, training.recipe, training.network.spec
    framework = FRAMEWORKS[config.framework]
    strides = pyramid_strides(training.network, config)
    sides = anchor_sides(strides, config)
    price = detection_cost(spec, config)
    whole = cost(spec.replace(image_size=CLASSIFIED_SIZE)).macs
    own = training.network.feature_info.reduction()
    lines = [
        f"Detector {framework.title}, pyramid of {config.fpn_channels} channels at strides"
        f" {', '.join(map(str, strides))}; anchors of {sides[0]:g} to {sides[-1]:g} pixels",
        f"Backbone {spec}",
        f"Costs    {format_count(whole)} MACs at 224x224 with its classifier,"
        f" {format_count(price.body)} without; with the pyramid {format_count(price.pyramid)} at"
        f" {price.height}x{price.width}",
        _start(training),
        f"Schedule {counted(recipe.epochs, 'epoch')} of"
        f" {counted(training.steps_per_epoch, 'update')}, {recipe.batch_size} images each,"
        f" learning rate {recipe.learning_rate:g}",
        f"Data     {training.train_part.note}",
        f"         {training.judged.note}",
    ]
    if tuple(own) != framework.strides:
        wanted = ", ".join(map(str, framework.strides))
        lines.insert(
            2,
            f"         has maps of strides {', '.join(map(str, own))} to read, where"
            f" {framework.title} usually reads {wanted}",
        )
    return lines


def _start(training: DetectionTraining) -> str:
    if training.config.trained:
        return (
            f"Weights  trained, {training.network.form}; masks and the statistics of norms stay as"
            " they are"
        )
    learned = "it condenses in the first half, " if training.network.learned_layers else ""
    return f"Weights  Warning: backbone untrained; {learned}norms are trained along"
