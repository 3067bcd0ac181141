from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from results.formats import FORMATS, ONNX, ExportOptions, lowering_of
from results.verify import difference, random_network, run_torch, verify
from search_space import NetworkSpec, UserError
from search_space.network import Network

Tiny = Callable[[str], NetworkSpec]


def write_and_run(format: str, network: Network, folder: Path) -> None:
    FORMATS[format].write(network, folder, ExportOptions())
    FORMATS[format].run(folder, np.zeros((1, 3, 8, 8), np.float32))


def test_files_are_those_that_a_format_names(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    condensed = random_network(tiny("learned")).to_inference()
    for name in ("torchscript", "onnx", "ncnn", "state_dict"):
        folder = tmp_path / name
        folder.mkdir()
        FORMATS[name].write(condensed, folder, ExportOptions(exporter="direct"))
        assert {p.name for p in folder.iterdir()} == set(FORMATS[name].files)


def test_every_format_says_in_a_few_lines_how_to_load_it() -> None:
    for format in FORMATS.values():
        assert max(map(len, format.usage.splitlines())) <= 100
        assert all(file in format.usage for file in format.files)
        compile(format.usage, "usage", "exec")


def test_torchscript_computes_the_same(network: Network) -> None:
    found = verify(network, ["condensed", "torchscript"], weights="random")
    assert found.agrees


def test_torchs_exporter_writes_any_number_of_images_into_one_file(
    tiny: Tiny, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    condensed = random_network(tiny("reactivating")).to_inference()
    FORMATS["onnx"].write(condensed, tmp_path, ExportOptions(dynamic_batch=True))
    assert [p.name for p in tmp_path.iterdir()] == [ONNX]
    images = np.random.default_rng(0).standard_normal((3, 3, 8, 8), np.float32)
    found = FORMATS["onnx"].run(tmp_path, images)
    np.testing.assert_allclose(found, run_torch(condensed, images), atol=1e-5)
    nodes = onnx.load(tmp_path / ONNX).graph.node
    assert not [n for n in nodes if n.metadata_props or n.doc_string], "paths of this machine"
    assert "ScatterND" not in {n.op_type for n in nodes}


@pytest.mark.parametrize("lowering", ["canonical", "torch"])
def test_torchs_exporter_takes_other_lowerings(lowering: str, tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    condensed = random_network(tiny("reactivating")).to_inference()
    FORMATS["onnx"].write(condensed, tmp_path, ExportOptions(lowering=lowering))
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    found = FORMATS["onnx"].run(tmp_path, images)
    assert difference(run_torch(condensed, images), found) < 1e-5


def test_a_lowering_may_be_chosen_where_a_format_has_one() -> None:
    chosen = ExportOptions(lowering="dense")
    assert {lowering_of(name, chosen) for name in FORMATS} == {"dense", None}
    own = {name: lowering_of(name, ExportOptions()) for name in FORMATS}
    assert own == {
        "state_dict": None,
        "torchscript": "torch",
        "onnx": "onnxruntime-arm",
        "ncnn": "ncnn",
    }


@pytest.mark.parametrize(
    ("format", "library", "extra"),
    [("onnx", "onnx", "export"), ("onnx", "onnxscript", "export"), ("ncnn", "ncnn", "ncnn")],
)
def test_a_missing_library_is_named_with_what_installs_it(
    tiny: Tiny,
    format: str,
    library: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # type: ignore[arg-type]
    condensed = random_network(tiny("plain")).to_inference()
    with pytest.raises(UserError) as caught:
        write_and_run(format, condensed, tmp_path)
    assert f"{library} is needed" in str(caught.value)
    assert f'pip install "condensed-search[{extra}]"' in str(caught.value)
    assert f'pip install -e ".[{extra}]"' in str(caught.value)


def test_ncnn_computes_the_same(network: Network) -> None:
    pytest.importorskip("ncnn")
    found = verify(network, ["masked", "condensed", "ncnn"], weights="random")
    assert found.agrees
    assert len(found.comparisons) == 3
