"""A small space, a small network and short trainings, so that whole runs take seconds."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from results.folder import RunFolder
from results.trial import Proposal, Score
from results.weights import load_weights
from search.cli import main
from search.config import RunConfig
from search.limits import Limits
from search.progress import TrainDisplay
from search_space import DenseStage, HeadSpec, NetworkSpec, StemSpec, space
from search_space.modules import SparseReactivation

SPACE = {
    "name": "tiny",
    "image_size": 32,
    "classes": 10,
    "stem_strides": [1],
    "depths": [[1, 2], [1, 2, 3]],
    "growth_rates": [[4, 8], [4, 8, 12]],
    "groups": [1, 2, 4],
    "condense_factors": [1, 2, 4],
    "sparse_factors": [1, 2, 4],
    "sfr": ["none", "all"],
    "fetches": ["dense", "exponential-2"],
}
QUICK = ("--epochs", "1", "--resolution", "8", "--batch-size", "128", "--seed", "0")


@pytest.fixture(scope="session")
def space_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(yaml.safe_dump(SPACE), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def search_arguments(space_file: Path) -> list[str]:
    """``search run`` in the tiny space under 1 M MACs."""
    return ["run", "--space", str(space_file), "--budget", "1M", *QUICK]


@pytest.fixture(scope="session")
def finished_run(search_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with four networks."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert main([*search_arguments, "--trials", "4", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def rung_run(space_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with five networks over two rungs."""
    out = tmp_path_factory.mktemp("runs") / "rungs"
    space = ("--space", str(space_file), "--budget", "1M", "--batch-size", "128")
    rungs = ("--rungs", "1@8,2@8", "--trials", "5", "--searcher", "random")
    assert main(["run", *space, *rungs, "--out", str(out)]) == 0
    return out


@pytest.fixture
def search_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command with ``--json`` and returns what it printed, parsed."""

    def call(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


# --- Trainings -----------------------------------------------------------------------------------

STAGE = DenseStage(
    depth=2,
    growth_rate=8,
    groups_1x1=4,
    condense_factor=4,
    groups_3x3=4,
    sfr="all",
    sparse_factor=2,
    sfr_groups=4,
)
TINY = NetworkSpec(
    image_size=8,
    classes=10,
    stem=StemSpec(channels=16),
    stages=(STAGE, STAGE),
    head=HeadSpec(condense_factor=2),
)
SHORT = ("--data", "digits", "--recipe", "quick", "--epochs", "3", "--batch-size", "128")
"""Nine updates an epoch."""

STOPPED_AT_UPDATE = """
import os, signal, sys
from search.cli import main
from search.progress import TrainDisplay
number, stop = int(sys.argv.pop(1)), signal.Signals[sys.argv.pop(1)]
updates = 0
def updated(self, training):
    global updates
    updates += 1
    if updates == number:
        os.kill(os.getpid(), stop)
TrainDisplay.updated = updated
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tensors this small are computed faster by one thread than by several that wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def python() -> Run:
    """A Python process of its own, with as many threads as this one."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def stopped(python: Run) -> Run:
    """The command in a process that gets a signal after so many updates."""

    def run(name: str, update: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        return python("-c", STOPPED_AT_UPDATE, str(update), name, *arguments)

    return run


@pytest.fixture
def terminate_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sends this process, after so many more updates, what ends a training."""

    def arm(update: int) -> None:
        left = iter(range(update, 0, -1))

        def updated(display: TrainDisplay, training: object) -> None:
            if next(left, None) == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(TrainDisplay, "updated", updated)

    return arm


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with all layers that learn, for 8 x 8 images."""
    path = tmp_path_factory.mktemp("networks") / "tiny.yaml"
    path.write_text(TINY.to_yaml(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def train_arguments(tiny_file: Path) -> list[str]:
    """``search train`` of the small network, without ``--out``."""
    return ["train", str(tiny_file), *SHORT]


@pytest.fixture(scope="session")
def _trained(
    train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    folder, printed = tmp_path_factory.mktemp("trained") / "whole", io.StringIO()
    with redirect_stdout(printed):
        assert main([*train_arguments, "--out", str(folder)]) == 0
    return folder, printed.getvalue()


@pytest.fixture(scope="session")
def trained(_trained: tuple[Path, str]) -> Path:
    """The folder of the small network, trained without an interruption; to be left as it is."""
    return _trained[0]


@pytest.fixture(scope="session")
def trained_printed(_trained: tuple[Path, str]) -> str:
    """What was printed at the end of that training."""
    return _trained[1]


@pytest.fixture(scope="session")
def _unfinished(
    stopped: Run, train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("unfinished") / "part"
    return folder, stopped("SIGTERM", 12, *train_arguments, "--out", str(folder))


@pytest.fixture
def unfinished(_unfinished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    """A folder of the small network whose training was terminated in its second epoch of three."""
    return Path(shutil.copytree(_unfinished[0], tmp_path / "unfinished"))


@pytest.fixture(scope="session")
def terminated(
    _unfinished: tuple[Path, subprocess.CompletedProcess[str]],
) -> subprocess.CompletedProcess[str]:
    """How that process ended."""
    return _unfinished[1]


@pytest.fixture(scope="session")
def check_kept() -> Callable[[Path], None]:
    """Holds the masks of trained weights against the factors that the network's stages name."""

    def check(folder: Path) -> None:
        spec = NetworkSpec.load(folder / "architecture.yaml")
        network = load_weights(spec, folder / "weights.safetensors")
        assert network.form == "masked"
        for name, layer in network.learned_layers.items():
            part: Any = getattr(spec, name.split(".")[1].rstrip("0123456789"), None)
            if part is None:  # of a stage's layer
                part = spec.stages[int(name.partition("stage")[2][0]) - 1]
            reactivates = isinstance(layer, SparseReactivation)
            factor = part.sparse_factor if reactivates else part.condense_factor
            candidates = layer.mask.shape[1]
            assert (layer.mask.sum(1) == candidates // factor).all(), name

    return check


# --- Runs that nothing was trained for -----------------------------------------------------------

POINTS = ((0.5, 10.0), (0.8, 14.0), (0.85, 30.0), (0.9, 50.0), (0.7, 40.0))


@pytest.fixture(scope="session")
def scored_run(space_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of five networks with accuracies and latencies out of ``POINTS``, of
    which the first four are the front and the second is its knee; a sixth is wanted."""
    config = RunConfig(
        space=space(str(space_file)),
        limits=Limits(macs=1_000_000),
        searcher="random",
        data="digits",
        trials=len(POINTS) + 1,
    )
    path = tmp_path_factory.mktemp("scored") / "run"
    folder = RunFolder.create(path, None, config.to_settings())
    study, rng = folder.study(), np.random.default_rng(0)
    for accuracy, latency_ms in POINTS:
        choices = config.space.sample(rng)
        proposal = Proposal(choices=choices, spec=config.space.decode(choices))
        priced = config.limits.estimate(proposal.spec)
        estimate = dataclasses.replace(priced, latency_ms=latency_ms)
        begun = study.start(config.space, proposal, estimate, {})
        study.complete(begun, Score(accuracy=accuracy, loss=1.0, epochs=3, wall_s=20.0))
    folder.write_results(study.trials())
    return path
