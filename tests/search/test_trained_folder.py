"""The folder of a training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from results.trial import Measured
from search.trained_folder import RESULT, Busy, Result, kept, locked, read_result
from search_space import UserError
from trainers.machine import machine

MEASURED = Measured(top1=0.75, top5=1.0, loss=0.5, images=100)
RESULT_OF_ONE = Result(
    network="tiny",
    id="0123456789ab",
    data="digits",
    recipe="quick",
    epochs=5,
    seed=0,
    macs=1000,
    params=100,
    held_out=0.25,
    validation=MEASURED,
    test=dataclasses.replace(MEASURED, top1=0.5),
    wall_s=1.5,
)


@pytest.mark.parametrize("validation", [MEASURED, None])
def test_a_result_comes_back(validation: Measured | None, tmp_path: Path) -> None:
    result = dataclasses.replace(RESULT_OF_ONE, validation=validation)
    assert read_result(tmp_path) is None
    (tmp_path / RESULT).write_text(json.dumps(result.to_dict()), encoding="utf-8")
    assert read_result(tmp_path) == result


def test_a_folder_is_of_one_command_at_a_time(tmp_path: Path) -> None:
    out, fabric = tmp_path / "a" / "b", machine("cpu")
    with kept(out, fabric, resume=False):
        assert out.is_dir()
        sentence = r"another process is training in .*; wait for it"
        with pytest.raises(Busy, match=sentence), kept(out, fabric, resume=False):
            pass
    with kept(out, fabric, resume=False), pytest.raises(Busy), locked(out):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = r"the folder .*file.* cannot be written"
    with pytest.raises(UserError, match=sentence), locked(tmp_path / "file"):
        pass
