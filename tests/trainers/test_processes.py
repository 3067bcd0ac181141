"""Two processes train what one does that accumulates two shards."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("train_processes.py")
ROOT = Path(__file__).parents[2]
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")

Content = dict[str, Any]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Content]:
    """What each of two processes came to."""
    folder = tmp_path_factory.mktemp("both")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    run = subprocess.run(
        [sys.executable, "-m", *TORCHRUN, str(SCRIPT), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """What one process came to."""
    folder = tmp_path_factory.mktemp("alone")
    runpy.run_path(str(SCRIPT))["train"](folder, accumulate=2)
    content: Content = torch.load(folder / "0.pt")
    return content


def test_there_were_two_processes(both: list[Content], alone: Content) -> None:
    assert [content["processes"] for content in (*both, alone)] == [2, 2, 1]


@pytest.mark.parametrize("what", ["weights", "average"])
def test_weights_are_those_of_one_process(both: list[Content], alone: Content, what: str) -> None:
    for name, expected in alone[what].items():
        tolerance = 1e-5 * float(expected.abs().max())
        assert torch.equal(both[0][what][name], both[1][what][name])
        torch.testing.assert_close(both[0][what][name], expected, rtol=0, atol=tolerance)


def test_masks_are_equal_at_every_stage(both: list[Content], alone: Content) -> None:
    for content in both:
        stages = zip(alone["masks"], content["masks"], strict=True)
        for expected, found in (*stages, (alone["finished"], content["finished"])):
            assert expected.keys() == found.keys()
            assert all(torch.equal(mask, found[name]) for name, mask in expected.items())
    kept = [sum(int(mask.sum()) for mask in masks.values()) for masks in alone["masks"]]
    assert kept[0] > kept[1] > kept[2], "nothing was dropped in between"


def test_rows_are_sums_over_all_processes(both: list[Content], alone: Content) -> None:
    for content in both:
        assert content["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert content["val_loss"] == both[0]["val_loss"]


def test_statistics_are_the_same_in_all_processes(both: list[Content]) -> None:
    assert all(map(torch.equal, *(content["statistics"] for content in both)))


def test_the_state_of_any_process_is_that_of_all(both: list[Content]) -> None:
    one, other = (content["left"] for content in both)
    assert any("running_mean" in name for name in one)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_evaluating_together_is_evaluating_alone(both: list[Content], alone: Content) -> None:
    for content in both:
        assert content["before"] == pytest.approx(alone["before"], rel=1e-6)
    assert alone["before"]["images"] == 60
