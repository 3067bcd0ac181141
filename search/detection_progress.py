"""What the command shows while a detector is trained."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import TaskID

from search.progress import bar
from search_space import cost, format_count
from search_space.budget import counted
from trainers.detection.cost import CLASSIFIED_SIZE, detection_cost
from trainers.detection.detector import FRAMEWORKS, anchor_sides, pyramid_strides
from trainers.detection.training import DetectionEpoch, DetectionTraining


class DetectDisplay:
    """A live bar on a terminal, a line per epoch elsewhere; a context manager."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self._progress = bar(console, "{task.fields[state]}", quiet=quiet)
        self._task: TaskID | None = None
        self._began = (0, 0.0)

    def __enter__(self) -> DetectDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begun(self, training: DetectionTraining) -> None:
        for line in description(training):
            self._say(line)
        if training.step:
            self._say(f"Resumed  after update {training.step:,} of {training.steps:,}")
        self._began = (training.step, time.monotonic())
        self._task = self._progress.add_task(
            "updates", total=training.steps, completed=training.step, state=""
        )

    def updated(self, training: DetectionTraining) -> None:
        if self._task is None or self._progress.disable:
            return
        done, seconds = training.step - self._began[0], time.monotonic() - self._began[1]
        speed = done * training.recipe.batch_size / seconds
        self._progress.update(self._task, completed=training.step, state=f"{speed:,.1f} images/s")

    def epoch(self, row: DetectionEpoch) -> None:
        figures = (("mAP", row.mean_ap), ("mAP@0.5", row.ap50))
        words = ", ".join(f"{name} {'-' if x is None else f'{x:.3f}'}" for name, x in figures)
        self._say(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, {words}, {row.density:.0%} kept,"
            f" {row.images_per_s:,.1f} images/s"
        )

    def _say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True, markup=False)


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
