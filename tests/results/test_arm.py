from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from results.arm import arm_runner
from results.verify import random_network, verify
from search_space import NetworkSpec, UserError

Tiny = Callable[[str], NetworkSpec]


def userland(folder: Path, starter: str) -> Path:
    """A folder that looks like one, whose programs this machine runs itself."""
    (folder / "rootfs").mkdir()
    (folder / "sp").mkdir()
    (folder / "ra.sh").write_text(f"#!/bin/sh\n{starter}\n", encoding="utf-8")
    (folder / "ra.sh").chmod(0o755)
    return folder


def test_the_onnx_file_is_run_where_the_starter_says(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = arm_runner(userland(tmp_path, f'exec {sys.executable} "$@"'))
    found = verify(random_network(tiny("learned")), weights="random", others={"arm": run})
    assert found.agrees
    assert ("condensed", "arm") in {(c.first, c.second) for c in found.comparisons}


def test_a_crash_is_told(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = arm_runner(userland(tmp_path, "echo illegal instruction >&2; exit 132"))
    with pytest.raises(UserError, match="illegal instruction"):
        verify(random_network(tiny("plain")), weights="random", others={"arm": run})


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks rootfs, sp, ra\.sh; make one with scripts/setup_"):
        arm_runner(tmp_path)


@pytest.mark.skipif("SEARCH_ARM" not in os.environ, reason="no emulated ARM userland is named")
def test_arm_computes_the_same(tiny: Tiny) -> None:
    run = arm_runner(Path(os.environ["SEARCH_ARM"]))
    network = random_network(tiny("reactivating"))
    assert verify(network, weights="random", others={"arm": run}).agrees
