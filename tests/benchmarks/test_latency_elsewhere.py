"""Which measurements nothing was chosen by, from a table written here."""

import csv
from pathlib import Path

from benchmarks.latency_elsewhere import LEAST_NETWORKS, other_boards
from latency_models.sources import BOARDS

LAYER = {
    "op": "pwconv",
    "cin": 8,
    "cout": 8,
    "hout": 4,
    "kh": 1,
    "stride": 1,
    "groups": 1,
    "macs": 1024,
    "params": 64,
    "in_elems": 128,
    "out_elems": 128,
}
MODELS = [f"net{i}" for i in range(LEAST_NETWORKS)]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def run(number: int, **changes: object) -> list[dict[str, object]]:
    row = {
        "run_id": number,
        "device": "Toaster",
        "core": "Cortex-A53",
        "isa": "v8.0",
        "cluster_ambiguous": 1,
        "threads": 1,
        "gpu_device": "-1.0",
        "is_int8": 0,
        "min_ms": 2.0,
    }
    return [row | {"model": model} | changes for model in MODELS]


def test_boards_that_are_shipped_or_no_arm_are_not_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "ncnn_layers.csv", [{"model": m} | LAYER for m in MODELS])
    shipped = next(b for b in BOARDS if not b.ambiguous)
    of_shipped = {"core": shipped.core, "cluster_ambiguous": 0}
    rows = [
        *run(1),
        *run(2, device=shipped.device.rstrip(","), **of_shipped),
        *run(3, isa="rv64gc"),
        *run(4, threads=4),
        *run(5, gpu_device="0.0"),
        *run(6, is_int8=1),
        *run(7)[:-1],
        *run(8, isa="v8.2"),
    ]
    write(tmp_path / "ncnn_ms.csv", rows)
    found = list(other_boards(tmp_path))
    assert [m.board for m in found] == ["Toaster, run 1", "Toaster, run 8"]
    assert [m.precision for m in found] == ["fp32", "fp16"]
    assert found[0].names == sorted(MODELS)
