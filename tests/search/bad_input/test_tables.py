"""Layer tables, tables of measurements and ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HEAD = "model,op,cin,cout,hout,stride,groups,k,macs,params,in_elems,out_elems\n"
ROW = "a,conv,3,8,8,1,1,3,100,20,192,512\n"
LAYERS = {
    "empty": ("", "lacks the columns"),
    "head": (HEAD, "holds no layer"),
    "columns": ("model,op\na,conv\n", "lacks the columns cin"),
    "operation": (HEAD + ROW.replace("conv", "magic"), "`op` (='magic') must be one of"),
    "text": (HEAD + ROW.replace("100", "many"), "line 2: a cell is missing or no number"),
    "nan": (HEAD + ROW.replace("100", "nan"), "line 2: a cell is missing or no number"),
    "infinite": (HEAD + ROW.replace("100", "1e400"), "line 2: a cell is missing or no number"),
    "short": (HEAD + "a,conv\n", "line 2: a cell is missing or no number"),
    "negative": (HEAD + ROW.replace("100", "-100"), "line 2: `macs` (=-100) must be at least 0"),
    "channels": (HEAD + ROW.replace(",3,8", ",-3,8"), "`cin` (=-3) must be at least 0"),
    "groups": (HEAD + ROW.replace(",1,1,", ",1,0,"), "`groups` (=0) must be at least 1"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_tables(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    text, words = LAYERS[case]
    (tmp_path / "layers.csv").write_text(text, encoding="utf-8")
    (tmp_path / "times.csv").write_text("model,ms\na,5\n", encoding="utf-8")
    refused(["latency", "predict", "layers.csv"], "layers.csv", words)
    times = ["--layers", "layers.csv", "--measured", "times.csv"]
    refused(["latency", "evaluate", *times], "layers.csv", words)


TIMES = "network,ms\ncondensenet-86,5\nresnet-56,30\n"
MEASURED = {
    "empty": ("", "lacks the columns ms, network"),
    "head": ("network,ms\n", "holds no time"),
    "columns": ("1,2\n3,4\n", "lacks the columns ms, network"),
    "negative": (TIMES + "condensenet-a,-1\n", "`ms` (='-1') of condensenet-a must be"),
    "zero": (TIMES + "condensenet-a,0\n", "`ms` (='0') of condensenet-a must be"),
    "nan": (TIMES + "condensenet-a,nan\n", "`ms` (='nan') of condensenet-a must be"),
    "infinite": (TIMES + "condensenet-a,1e400\n", "`ms` (='1e400') of condensenet-a must be"),
    "text": (TIMES + "condensenet-a,fast\n", "`ms` (='fast') of condensenet-a must be"),
    "twice": (TIMES + "resnet-56,6\n", "resnet-56 has two rows"),
    "unknown": (TIMES + "resnet-57,6\n", "'resnet-57'"),
    "no-name": (TIMES + ",6\n", "the network '' must be"),
    "threads": ("network,ms,threads\nresnet-56,5,0\n", "`threads` (='0') must be a whole number"),
    "threads-text": ("network,ms,threads\nresnet-56,5,x\n", "`threads` (='x') must be"),
}


@pytest.mark.parametrize("case", MEASURED)
def test_tables_of_measurements(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    text, words = MEASURED[case]
    (tmp_path / "times.csv").write_text(text, encoding="utf-8")
    refused(["latency", "calibrate", "--measured", "times.csv", "--out", "mine.yaml"], words)
    assert not (tmp_path / "mine.yaml").exists()


LINES = [
    ["latency", "predict"],
    ["latency", "evaluate", "--measured", "times.csv", "--layers"],
    ["latency", "calibrate", "--out", "mine.yaml", "--measured"],
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[1])
@pytest.mark.parametrize("case", ["missing", "folder", "binary", "utf-16"])
def test_files_that_are_no_tables(
    line: list[str], case: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "times.csv").write_text("model,ms\na,5\n", encoding="utf-8")
    path = tmp_path / "x.csv"
    if case == "folder":
        path.mkdir()
    elif case != "missing":
        path.write_bytes(bytes(range(256)) if case == "binary" else TIMES.encode("utf-16"))
    refused([*line, "x.csv"], "x.csv: cannot be read")


@pytest.mark.parametrize("case", ["missing", "folder", "empty", "text", "cut"])
def test_files_that_are_no_onnx(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    contents = {"empty": b"", "text": b"hello", "cut": b"\x08\x07\x12\x07pytorch:\xff"}
    if case == "folder":
        (tmp_path / "x.onnx").mkdir()
    elif case in contents:
        (tmp_path / "x.onnx").write_bytes(contents[case])
    refused(["latency", "predict", "x.onnx"], "x.onnx")


NODES = {"Gather": "Gather", "MaxPool": "kernel_shape"}


@pytest.mark.parametrize("kind", NODES)
def test_onnx_operations_that_lack_something(
    kind: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    onnx = pytest.importorskip("onnx")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    images = helper.make_tensor_value_info("x", real, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("y", real, [1, 3, 8, 8])
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "g", [images], [logits])
    onnx.save(helper.make_model(graph), tmp_path / "x.onnx")
    refused(["latency", "predict", "x.onnx"], f"x.onnx: {kind} ''", NODES[kind])
