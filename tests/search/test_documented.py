"""Every command that README and docs show, run as it stands there in a folder with what it names.

What needs hours, a network, other machines, an ARM userland or a GPU stands in ``READ`` with the
reason, and is read by the real parser, its values checked; what is not ours stands in ``OTHERS``.
Trainings are short: few images, one epoch, two networks a search.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import itertools
import re
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latency_models import DEFAULT_DEVICE, device, predict
from search import arguments, runner, running
from search.cli import main
from search_space import ZOO
from search_space.variations import SHORT, VARIATIONS
from searchers import SEARCHERS, pool
from trainers.data import DATASETS
from trainers.recipes import RECIPES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(
    r"(search|mkdocs|pre-commit|scp|ssh|ray|torchrun|scripts/\w+|python3? (?:-m )?[\w./]+"
    r"|pytest)(?= |$)"
)
PROSE = re.compile(r"`((?:search|python|scripts/\w+|pip|mkdocs|ray|torchrun) [^`]+)`")
NAME = re.compile(r"search (latency |space |detect )?[\w-]+")
COMPLETE = ("search list", "search models", "search latency devices")
"""Names of commands that need nothing else."""

HOURS = "hours of training"
PHOTOS = "photographs of one's own"
SWEEPS = "many trainings: tests/search/test_sweeping.py sweeps a small network"
RAY = "a Ray cluster: tests/search/test_ray.py has one"
ARM = "an emulated ARM userland"
TABLES = "published tables of measurements, which are not in this repository"
THEIRS = "checkouts of the authors' code"
DETECTORS = "minutes: tests/search/test_detecting.py trains and judges small ones"
MINUTES = "minutes to hours of measuring"
FORM = "a form with a name to fill in"
SWEEP_DIGITS = (
    "search sweep benchmarks/networks/condensenet-digits.yaml --data digits --recipe quick"
    " --epochs 10 --vary C=1,2,4,8 --vary pruning=gradual,traditional --seeds 3 --devices cpu"
)
SWEEP_CIFAR = (
    "search sweep benchmarks/networks/condensenet-5m.yaml benchmarks/networks/condensenetv2-5m.yaml"
    " --data npz:cifar10.npz --recipe condensenetv2-cifar --epochs 12 --validation 0 --seeds 3"
    " --devices cpu --out runs/sfr-cifar10"
)
DETECT_SHAPES = (
    "search detect train shufflenetv2-x0.5 --from-scratch --framework fasterrcnn --data coco:shapes"
    " --short-side 128 --long-side 128 --fpn-channels 64 --box-samples 32 --epochs 4"
    " --batch-size 4 --lr 0.01 --devices cpu --out runs/shapes"
)
SEARCH_PHOTOS = (
    "search run --data folder:photos --classes 12 --budget 150M --latency 40ms"
    " --device raspberry-pi-4/ncnn/4 --trials 100 --out runs/photos"
)
RETRAIN_PHOTOS = (
    "search retrain runs/photos --recipe condensenetv2-imagenet-plain --epochs 100 --batch-size 64"
    " --lr 0.025 --workers 2"
)

READ = {
    "search verify --all": "all of the zoo: tests/results/test_verify.py takes one of each family",
    "search latency bench-kit --out kit": "nine exports: test_bench_kit.py makes a kit of one",
    "search run --budget 150M --executor ray": RAY,
    "search run --budget 150M --executor ray --address auto": RAY,
    "search resume runs/NAME --executor ray --address HOST:6379 --threads 2 --workers 8": RAY,
    "search run --budget 150M --trials 200 --study s --storage postgresql+psycopg://ME@HOST/DB": (
        "a server: tests/search/test_postgresql.py has one"
    ),
    "search run --budget 150M --trials 200 --study s --storage journal:/shared/s.log": (
        "a folder that machines share: tests/search/test_kills.py shares a journal"
    ),
    "search latency emulate NET --arm DIR": ARM,
    "search latency emulate NET --arm DIR --device raspberry-pi-4/ncnn/1": ARM,
    "search sweep condensenet-86 --vary C=1,2,4,8 --seeds 3": SWEEPS,
    "search detect train D --data coco:PATH --framework fasterrcnn": DETECTORS,
    "search detect train condensenetv2-a --weights D/condensed.safetensors --data coco:PATH"
    " --framework retinanet": DETECTORS,
    "search detect evaluate runs/D-fasterrcnn-1 --data coco:PATH": DETECTORS,
    DETECT_SHAPES: DETECTORS,
    "search detect evaluate runs/shapes --data coco:shapes": DETECTORS,
    SEARCH_PHOTOS: PHOTOS,
    RETRAIN_PHOTOS: HOURS,
    SWEEP_DIGITS: SWEEPS,
    SWEEP_CIFAR: HOURS,
    "search sweep NET... --vary NAME=VALUE,VALUE": FORM,
    "search run --searcher NAME": FORM,
    "search cost NET --convention NAME": FORM,
}
"""Commands of ``search`` that are only parsed, and why."""
MODULES = {
    "latency_models.fit": TABLES,
    "latency_models.counting": ARM,
    "benchmarks.latency": TABLES,
    "benchmarks.calibration": TABLES,
    "benchmarks.counters": ARM,
    "benchmarks.arm_instructions": ARM,
    "benchmarks.inference": MINUTES,
    "benchmarks.training": THEIRS,
    "benchmarks.accuracy": THEIRS,
    "benchmarks.recompute": "4 GB of memory and a minute",
    "benchmarks.pricing": MINUTES,
    "benchmarks.tabular": "twenty searches: tests/benchmarks/test_tabular.py has a small table",
    "benchmarks.searches": MINUTES,
    "benchmarks.detection_shapes": "tests/trainers/detection draws fewer images with it",
    "benchmarks.scale": MINUTES,
    "benchmarks.cifar.search": HOURS,
    "benchmarks.cifar.train": HOURS,
    "benchmarks.cifar.agree": HOURS,
    "benchmarks.cifar.table": "tests/benchmarks/test_cifar.py compares it with the page",
    "benchmarks.workers": MINUTES,
}
"""Modules whose commands are only parsed, and why."""
OTHERS = {
    "python -m pip install": "CI does",
    "python -m venv": "CI does",
    "pip install": "CI does",
    "pytest -n auto": "CI runs the tests",
    "pre-commit install": "writes a hook into a clone",
    "mkdocs build": "CI does, and every warning is an error",
    "mkdocs serve": "serves until it is stopped; CI builds the same",
    "scripts/check": "CI does",
    "scripts/setup_arm": "installs a userland",
    "ray start": "another machine",
    "scp -r": "another machine",
    "ssh board": "another machine",
    "scp board:kit/measured.csv": "another machine",
}
"""How commands begin that are not ours, and who runs them."""


def commands(text: str) -> list[str]:
    """The commands of a page: in its blocks of code, and in its prose and tables those that are
    more than the name of a command, and whole: nothing is left open with ``...``."""
    blocks = re.compile(r"^```(\w*)\n(.*?)^```$|^(?: {4} *\S[^\n]*\n)+", re.M | re.S)
    found = []
    for block in blocks.finditer(text):
        if block[1] in ("python", "yaml"):
            continue
        body = re.sub(r"\\\n *", "", block[2] or block[0])
        for line in body.splitlines():
            parts = re.sub(r" +# .*", "", line.strip().removeprefix("$ ")).split(" && ")
            found += [part for part in parts if PROGRAM.match(part)]
    for span in PROSE.findall(blocks.sub("\n\n", text).replace("\n", " ")):
        span = " ".join(span.split())
        named = NAME.fullmatch(span) and span not in COMPLETE
        found += [] if named or "..." in span.split() else [span]
    return [" ".join(command.split()) for command in found]


SHOWN = {
    command: page.relative_to(ROOT).as_posix()
    for page in reversed(PAGES)
    for command in commands(page.read_text("utf-8"))
}


def module(command: str) -> str | None:
    """The module that ``python -m NAME`` or ``python FILE.py`` runs."""
    words = command.split()
    if words[0] != "python":
        return None
    return words[2] if words[1] == "-m" else words[1].removesuffix(".py").replace("/", ".")


OURS = [c for c in SHOWN if not c.startswith(tuple(OTHERS))]
RUN = [c for c in OURS if c not in READ and module(c) is None]


def test_the_lists_name_what_is_shown_and_nothing_else() -> None:
    assert set(READ) <= set(SHOWN)
    assert {module(c) for c in OURS} - {None} == set(MODULES)
    assert [o for o in OTHERS if not any(c.startswith(o) for c in SHOWN)] == []
    assert [c for c in RUN if not c.startswith("search ")] == []
    assert len(RUN) > 50


def test_what_ci_is_said_to_do_it_does() -> None:
    steps = "".join((ROOT / name).read_text("utf-8") for name in (".ci/run", "README.md"))
    for begins, reason in OTHERS.items():
        assert not reason.startswith("CI") or begins.removeprefix("python -m ") in steps, begins
        if begins.startswith("scripts/"):
            assert (ROOT / begins).is_file()


# --- Read ----------------------------------------------------------------------------------------


class _Understood(BaseException):
    """The command line was read, and nothing done."""


def read(monkeypatch: pytest.MonkeyPatch, call: Any) -> argparse.Namespace:
    """What the real parser of a command makes of its arguments, before anything is done."""
    parse, found = argparse.ArgumentParser.parse_args, []

    def stop(parser: argparse.ArgumentParser, *given: Any) -> Any:
        found.append(parse(parser, *given))
        raise _Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(_Understood):
        call()
    return found[0]


@pytest.mark.parametrize("command", [c for c in OURS if c in READ])
def test_what_is_only_read_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    args = read(monkeypatch, lambda: main(shlex.split(command)[1:]))
    if READ[command] != FORM:
        check_values(args)


def check_values(args: argparse.Namespace) -> None:
    """What commands look up later on: names, limits, recipes."""
    given = vars(args)
    if "budget" in given:
        arguments.limits(args)
        arguments.space(args)
        arguments.halving(args)
        assert args.searcher in SEARCHERS
    if "recipe" in given:
        arguments.chosen_recipe(args, RECIPES["quick"])
    if given.get("data"):
        assert args.data.partition(":")[0] in (*DATASETS, "coco")
    named = given.get("networks") or given.get("network") or []
    for name in [named] if isinstance(named, str) else named:
        assert name in ("NET", "D") or name.startswith("runs/") or arguments.find_network(name)
    for varied in given.get("vary", ()):
        name = varied.partition("=")[0]
        name = SHORT.get(name, name)
        assert name in VARIATIONS or name in RECIPES["quick"].to_dict()


@pytest.mark.parametrize("command", [c for c in OURS if module(c)])
def test_a_module_understands_its_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name = str(module(command))
    file = f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name
    found = importlib.import_module(file)
    words = shlex.split(command)
    given = words[words.index("-m") + 2 :] if "-m" in words else words[2:]
    monkeypatch.setattr(sys, "argv", [name, *given])
    read(monkeypatch, found.main)


# --- Run -----------------------------------------------------------------------------------------


class FewImages:
    """Stands in for torchvision's CIFAR-10."""

    base_folder = "cifar"

    def __init__(self, root: Path, *, train: bool, download: bool) -> None:
        n = 80 if train else 40
        self.targets = [i % 10 for i in range(n)]
        self.data = np.random.default_rng(n).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, one epoch unless the command says how many, two networks a search."""
    digits, search = DATASETS["digits"], runner.run

    def few(request: Any) -> Any:
        source = digits(request)
        return dataclasses.replace(source, train=source.train.select(np.arange(100)))

    def short(config: Any, ready: Any, folder: Any, study: Any, *rest: Any, **options: Any) -> Any:
        done = sum(trial.state == "complete" for trial in study.trials())
        config = dataclasses.replace(config, trials=min(config.trials, done + 2))
        return search(config, ready, folder, study, *rest, **options)

    monkeypatch.setitem(DATASETS, "digits", few)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FewImages)
    monkeypatch.setattr(runner, "run", short)
    monkeypatch.setattr(running, "DEFAULT_TRIALS", 2)
    monkeypatch.setattr(pool, "SIZE", 32)
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, recipe.replace(epochs=1))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import shared_study  # type: ignore[import-not-found]

    pretended = {"how": shared_study.pretend, "loading": shared_study.no_data}
    monkeypatch.setattr(runner, "Workers", partial(runner.Workers, **pretended))
    monkeypatch.setattr("optuna_dashboard.run_server", lambda *_, **__: None)


LAYERS = "model,op,cin,hin,cout,hout,k,stride,groups,macs,params,in_elems,out_elems\n" + "".join(
    f"{name},pwconv,16,32,{width},32,1,1,1,{16 * width * 1024},{16 * width},16384,{width * 1024}\n"
    for name, width in (("one", 16), ("two", 64))
)


@pytest.fixture
def folder(scored_run: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes what a command names, where it is run."""
    monkeypatch.chdir(tmp_path)
    weights = trained / "weights.safetensors"
    own = dataclasses.replace(device(DEFAULT_DEVICE), board="my-board")
    times = [f"{n},{2 * predict(ZOO[n]).ms}" for n in ("condensenet-c", "resnet-56")]
    made = {
        "F": lambda at: shutil.copy(weights, at),
        "NET": lambda at: shutil.copytree(trained, at),
        "D": lambda at: shutil.copytree(trained, at),
        "exported": lambda at: shutil.copytree(trained, at),
        "RUN": lambda at: shutil.copytree(scored_run, at),
        "FILE": lambda at: checkpoint(at),
        "L.csv": lambda at: at.write_text(LAYERS),
        "M.csv": lambda at: at.write_text("model,ms\none,1.0\ntwo,2.0\n"),
        "measured.csv": lambda at: at.write_text("\n".join(["network,ms", *times, ""])),
        "npz:colours.npz": lambda at: colours(at.with_name("colours.npz")),
        "my-board.yaml": lambda at: at.write_text(own.to_yaml()),
        "list": lambda at: shutil.copytree(scored_run, "runs/NAME"),
    }

    def make(words: list[str]) -> None:
        outputs = {after for word, after in itertools.pairwise(words) if word == "--out"}
        for word in words:
            if word in outputs:
                continue
            if run := re.match(r"(runs/[\w.-]+)(?:/(retrained/[\w-]+))?", word):
                shutil.copytree(scored_run, run[1], dirs_exist_ok=True)
                if run[2]:
                    shutil.copytree(trained, word)
            elif word in made:
                made[word](Path(word))

    return make


def checkpoint(path: Path) -> None:
    """torchvision's smallest DenseNet."""
    from torchvision.models import densenet121

    torch.save(densenet121(num_classes=10).state_dict(), path)


def colours(path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(path, x_train=images, y_train=np.arange(60) % 3)


@pytest.mark.parametrize("command", RUN)
def test_what_is_shown_works(
    command: str, hurried: None, folder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)
    for library, needed in NEEDS.items():
        if needed.search(command):
            pytest.importorskip(library)
    folder(words)
    capsys.readouterr()
    assert main(words[1:]) == 0
    assert capsys.readouterr().out


NEEDS = {
    "onnxruntime": re.compile("export |verify |torchvision:"),
    "ncnn": re.compile("--format onnx,ncnn"),
}
"""Libraries of extras, and the commands that need them."""


def test_the_comparison_is_the_one_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """But for milliseconds and what is said of them, which change with the devices."""

    def steady(text: str) -> list[str]:
        cells = (
            re.split(" *[│┃] *", line) for line in text.splitlines() if line.startswith(("│", "┃"))
        )
        return [" | ".join(row) for row in cells if not row[1].startswith("ms on")]

    _, shown = (ROOT / "docs/results.md").read_text("utf-8").split("## `search compare`")
    shown, _ = shown.split("## `search explain`")
    assert main(["compare", "condensenetv2-b", "shufflenetv2-x1.0", "sparsenet-121"]) == 0
    assert steady(capsys.readouterr().out) == steady(shown)
