"""The command that writes a kit; its table calibrates a device."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from latency_models.kernels import ComputeKind, MoveKind, network_kernels
from latency_models.predict import MEASURED_FROM_NETWORKS
from results.bench_kit import FORMAT_OF
from search import bench_kit
from search.cli import main
from search_space import ZOO

Json = Callable[..., Any]


def test_the_command_offers_what_there_is() -> None:
    assert tuple(FORMAT_OF) == bench_kit.RUNTIMES


def test_the_networks_hold_every_kind_of_kernel_often_enough() -> None:
    kinds = Counter(
        kind for name in bench_kit.NETWORKS for kind in {k.kind for k in network_kernels(ZOO[name])}
    )
    every = {*get_args(ComputeKind), *get_args(MoveKind)} - {"other"}
    assert {kind for kind, n in kinds.items() if n >= MEASURED_FROM_NETWORKS} == every


def test_a_kit_is_written_timed_and_calibrates(
    tiny_file: Path, tmp_path: Path, search_json: Json
) -> None:
    pytest.importorskip("onnxruntime")
    kit, table = tmp_path / "kit", tmp_path / "measured.csv"
    chosen = ("--networks", str(tiny_file), "--runtime", "onnxruntime")
    found = search_json("latency", "bench-kit", "--out", str(kit), *chosen)
    assert found["networks"] == [str(tiny_file)]
    subprocess.run(
        [sys.executable, kit / "bench.py", "--repetitions", "2", "--out", table], check=True
    )
    own = tmp_path / "mine.yaml"
    device = search_json("latency", "calibrate", "--measured", str(table), "--out", str(own))
    assert device["device"] == "mine/onnxruntime/1"
    again = search_json("latency", "predict", str(tiny_file), "--device", str(own))
    measured_ms = float(table.read_text(encoding="utf-8").splitlines()[1].split(",")[3])
    assert again["ms"] == pytest.approx(measured_ms, rel=1e-5)


def test_unknown_networks_and_folders_in_the_way_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for arguments, sentence in (
        (["--networks", "condensenet-87"], "did you mean"),
        (["--networks", "resnet-56"], "is not an empty folder"),
    ):
        assert main(["latency", "bench-kit", "--out", str(tmp_path), *arguments]) == 2
        assert sentence in capsys.readouterr().err
