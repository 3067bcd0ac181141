"""The folder for a board: written, run there, and read back."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from results import bench, bench_kit
from results.bench_kit import write_kit
from search_space import NetworkSpec
from search_space.errors import UnknownName, UserError

Tiny = Callable[[str], NetworkSpec]


def run_bench(kit: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the kit's script where nothing of ours can be imported."""
    return subprocess.run(
        [sys.executable, kit / "bench.py", *arguments],
        cwd=kit,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_kit_times_its_networks(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    kit = tmp_path / "kit"
    write_kit({"learned": tiny("learned"), "a/plain.yaml": tiny("plain")}, kit, ["onnxruntime"])
    assert {path.name for path in kit.iterdir()} == {
        *("README.txt", "bench.py", "kit.json"),
        *("1-learned", "2-plain.yaml"),
    }
    assert "pip install numpy onnxruntime\n" in (kit / "README.txt").read_text(encoding="utf-8")
    done = run_bench(kit, "--repetitions", "3", "--warm-up", "1")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "ncnn is left out: the kit has no files for it" in done.stderr
    with (kit / "measured.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["learned", "a/plain.yaml"]
    for row in rows:
        assert tuple(row) == bench.COLUMNS
        assert 0 < float(row["min_ms"]) <= float(row["ms"]) <= float(row["p90_ms"])
        assert (row["runtime"], row["threads"], row["repetitions"]) == ("onnxruntime", "1", "3")
        assert row["runtime_version"]
        assert row["machine"]


def test_a_runtime_that_the_kit_has_no_files_for_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    write_kit({"plain": tiny("plain")}, tmp_path / "kit", ["onnxruntime"])
    done = run_bench(tmp_path / "kit", "--runtime", "ncnn")
    assert done.returncode == 1
    assert "no runtime to time" in done.stderr
    (tmp_path / "kit" / "kit.json").unlink()
    done = run_bench(tmp_path / "kit")
    assert "copy the whole folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_library_is_named_and_nothing_is_written(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"onnx is needed and not installed.*\[export\]"):
        write_kit({"plain": tiny("plain")}, tmp_path / "kit", ["onnxruntime"])
    assert list(tmp_path.iterdir()) == []


def test_ncnn_files_are_written_without_ncnn(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    write_kit({"plain": tiny("plain")}, tmp_path / "kit", ["ncnn"])
    names = {path.name for path in (tmp_path / "kit" / "1-plain").iterdir()}
    assert names == {bench.NCNN_PARAM, bench.NCNN_BIN}


def test_an_unknown_runtime_and_a_folder_in_the_way_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown runtime 'tflite'; known: ncnn, onnxruntime"):
        write_kit({"plain": tiny("plain")}, tmp_path / "kit", ["tflite"])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not an empty folder"):
        write_kit({"plain": tiny("plain")}, tmp_path, ["onnxruntime"])


def test_ncnn_files_are_timed(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    kit = tmp_path / "kit"
    write_kit({"learned": tiny("learned")}, kit, ["ncnn"])
    assert json.loads((kit / "kit.json").read_text())[0]["image"] == [3, 8, 8]
    done = run_bench(kit, "--runtime", "ncnn", "--repetitions", "2", "--out", "times.csv")
    assert done.returncode == 0, done.stderr
    assert (kit / "times.csv").read_text(encoding="utf-8").count("\n") == 2


def test_every_runtime_has_a_format() -> None:
    from results.formats import FORMATS

    assert set(bench_kit.FORMAT_OF.values()) <= set(FORMATS)
