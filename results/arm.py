"""ONNX files run by an emulated 64-bit ARM userland, as ``scripts/setup_arm`` makes one."""

from __future__ import annotations

import subprocess
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from results.formats import ONNX, Images
from results.verify import Runner
from search_space.errors import UserError

_SCRIPT = """\
import sys
import numpy as np
import onnxruntime
model, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
images = np.load(source)
name = session.get_inputs()[0].name
np.save(target, np.concatenate([session.run(None, {name: image[None]})[0] for image in images]))
"""
_STARTER = "ra.sh"
"""Runs Python inside the userland: ``ra.sh SCRIPT ARGUMENTS``."""


def arm_runner(userland: Path) -> Runner:
    """A runner of ``model.onnx`` in the userland.

    Args:
        userland: The folder that ``scripts/setup_arm`` made.

    Raises:
        UserError: it is none.
    """
    missing = [name for name in ("rootfs", "sp", _STARTER) if not (userland / name).exists()]
    if missing:
        raise UserError(
            f"{userland} is no emulated ARM userland: it lacks {', '.join(missing)}; make one with"
            f" scripts/setup_arm {userland}"
        )
    return partial(_run, userland.resolve())


def _run(userland: Path, folder: Path, images: Images) -> Images:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        script, source, target = work / "run.py", work / "images.npy", work / "logits.npy"
        script.write_text(_SCRIPT, encoding="utf-8")
        # Not made again from a seed: the same seed draws other numbers on ARM.
        np.save(source, images)
        done = subprocess.run(
            [userland / _STARTER, script, folder.resolve() / ONNX, source, target],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not target.is_file():
            raise UserError(
                f"onnxruntime in {userland} failed: {done.stderr.strip()[-500:]!r}; try"
                f" {userland / _STARTER} -c 'import onnxruntime'"
            )
        logits: Images = np.load(target)
        return logits
