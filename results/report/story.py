"""What a report says, in its order: for the page and for the Markdown beside it."""

from __future__ import annotations

from collections.abc import Iterator

from results.diagram import COLUMNS, parts
from results.importance import EVALUATOR, LEAST_NETWORKS, SHUFFLES, TREES
from results.report.blocks import Block, Figure, Table, Text
from results.report.charts import shown_dimensions
from results.report.data import MARGIN, Report, trial_key, words
from results.report.origin import origin, rungs
from search_space.budget import counted, format_count, format_seconds

FIGURES = ("front_ms", "front_macs", "course", "importance", "parallel")
"""Their names, which those of their files are, too."""
SESSIONS_DIFFER = (
    "Accuracies may be of different images: not all processes of this search are known to have read"
    " the same ones. They have no intervals, and do not compare."
)


def summary(report: Report) -> str:
    """What was searched, in a sentence."""
    scored = counted(report.card.states["complete"], "network")
    one = len(report.front) == 1
    where = "" if report.device in report.card.limits else f" on {report.device}"
    return (
        f"{scored} of the space {report.card.space} scored on {report.card.settings['data']}"
        f" within {report.card.limits}. {len(report.front)} of them {'stands' if one else 'stand'}"
        f" on the Pareto front of accuracy and predicted milliseconds{where}."
        + (" The best accuracy alone was sought." if _for_accuracy(report) else "")
    )


def _for_accuracy(report: Report) -> bool:
    return report.card.settings.get("aim") == "accuracy"


def key_figures(report: Report) -> list[tuple[str, str, str]]:
    """Name, value and note of what is looked for first."""
    best, estimate = report.best, report.best.estimate
    found = [
        (
            "best accuracy",
            f"{best.objectives[0]:.1%}",
            f"network {best.number}, chosen on the images it is scored on",
        ),
        (
            "its milliseconds",
            f"{estimate.latency_ms:.1f}",
            f"predicted, {estimate.latency_low_ms:.1f} to {estimate.latency_high_ms:.1f}",
        ),
        ("its multiply-adds", format_count(estimate.macs), f"{estimate.params:,} parameters"),
        (
            "turned away",
            f"{sum(report.card.rejected.values()):,}",
            "refusals before any training",
        ),
        ("training", format_seconds(report.card.training_s), "of all networks together"),
    ]
    return found


def story(report: Report) -> Iterator[Block]:
    """All blocks in their order."""
    yield from _front(report)
    yield from _winner(report)
    yield from _course(report)
    yield from _importances(report)
    yield from rungs(report)
    yield from origin(report)


def has_figure(report: Report, name: str) -> bool:
    """Whether a figure is shown: importances need enough networks."""
    return name != "importance" or bool(report.importances)


# --- The parts -----------------------------------------------------------------------------------


def _front(report: Report) -> Iterator[Block]:
    yield Text(
        heading="Accuracy against cost",
        text=" ".join(
            [
                "Accuracies are those of short trainings of the condensed networks on validation"
                " images: they rank networks, and are not what a network reaches when it is"
                " trained in full. That of the most accurate one is rather too high, as it was"
                " chosen on these images.",
                *report.cautions,
                *([SESSIONS_DIFFER] if report.sessions_differ else []),
            ]
        ),
    )
    yield Figure(name="front_ms", caption=_front_caption(report))
    yield Figure(
        name="front_macs",
        caption="The same networks by multiply-adds; in colour those of the front above.",
    )
    # Some may have been trained in full.
    header = ("network", *dict.fromkeys(name for t in report.front for name in words(t)))
    rows = [
        (f"{t.number}: {t.proposal.spec.id}", *(words(t).get(name, "") for name in header[1:]))
        for t in reversed(report.front)
    ]
    keys = [trial_key(t.number) for t in reversed(report.front)]
    yield Table(title="The Pareto front", header=header, rows=rows, keys=keys)


def _front_caption(report: Report) -> str:
    sought = "" if not _for_accuracy(report) else ", which was not sought below its upper end"
    said = [
        f"In colour the Pareto front{sought}. Bars across are 90 % intervals of the predicted"
        " milliseconds"
    ]
    images = report.validation_images
    said[0] += (
        ", bars up and down those of the accuracy on all images of the kind, of which these are"
        f" {images:,}."
        if images
        else "."
    )
    hidden = report.card.states["complete"] - len(report.contenders)
    if hidden:
        said.append(
            f"{counted(hidden, 'network')} of lower rungs cannot be compared, and"
            f" {'is' if hidden == 1 else 'are'} left out."
        )
    if any(r.accuracy is None for r in report.references):
        said.append(
            "Dotted lines and the marks above them are networks of the papers, at their cost by"
            " the same counter and predictor; they have no accuracy on these images."
        )
    if any(r.accuracy is not None for r in report.references):
        said.append(
            "Open marks are networks of the papers at the accuracies that the papers print for"
            " this data set, of test images after full trainings."
        )
    return " ".join(said)


def _winner(report: Report) -> Iterator[Block]:
    spec = report.best.proposal.spec
    yield Text(heading="The most accurate network", text=f"Network {report.best.number}: {spec}")
    yield Table(header=COLUMNS, rows=[part.row for part in parts(spec)])


def _course(report: Report) -> Iterator[Block]:
    yield Text(heading="The course of the search")
    limit = "the limit" if report.latency_limit_ms else f"{MARGIN} times the slowest network"
    yield Figure(
        name="course",
        caption="Hypervolume: the share of the plane from no accuracy to 100 % and from 0 to"
        f" {report.reference_ms:.1f} ms, {limit}, that the networks scored so far dominate. Dots"
        " are networks that raised it.",
    )
    yield Table(
        title="Turned away before any training",
        header=("reason", "proposals"),
        rows=report.card.rejected_rows(),
    )
    yield Text(
        text="A proposal over two limits counts in both rows. Searchers that draw their candidates"
        " inside the limits propose none outside."
    )
    failed = [t for t in report.trials if t.state == "failed"]
    if failed:
        yield Table(
            title="Failed in training",
            header=("network", "reason"),
            rows=[(f"{t.number}: {t.proposal.spec.id}", t.failure or "not noted") for t in failed],
            words=True,
        )


def _importances(report: Report) -> Iterator[Block]:
    yield Text(heading="What decides")
    if report.importances:
        networks = counted(report.importances[0].networks, "network")
        yield Figure(
            name="importance",
            caption=f"Importance of single choices by {EVALUATOR} (Hutter, Hoos and Leyton-Brown"
            f" 2014; Optuna's evaluator, {TREES} trees), from {networks}: the share of the variance"
            " that a choice explains alone; what all of them lack to 100 % is decided by choices"
            " together. Shares left of the dashed line are within the reach of chance: no choice"
            f" had a larger one in {SHUFFLES} shuffles of the objective among the networks. Beside"
            " one choice that decides most, no second one can be judged so.",
        )
    else:
        yield Text(
            text=f"Importances of single choices need {LEAST_NETWORKS} comparable networks that"
            f" differ; there {'is' if len(report.contenders) == 1 else 'are'}"
            f" {len(report.contenders)}."
        )
    yield Figure(
        name="parallel",
        caption="Every network as a line through its choices, its costs and its accuracy; those of"
        f" the front in colour.{_left_out(report)}",
    )


def _left_out(report: Report) -> str:
    shown, varied = len(shown_dimensions(report)), len(report.varied)
    if shown == varied:
        return ""
    which = "that decide most" if report.importances else "that come first"
    return f" Shown are, of {varied} choices, the {shown} {which}."
