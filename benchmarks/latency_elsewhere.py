"""Measurements that nothing of the fits was chosen by: other boards, and phones' other cores.

No device of theirs is shipped: these boards have fewer networks, or did not say which of their
cores ran; and people who deploy use the large core.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from latency_models.layer_table import read_layers, read_rows, times_of
from latency_models.sources import (
    BOARDS,
    FP16_ISA,
    NCNN_LEFT_OUT,
    NCNN_SOURCE,
    PHONE_SOURCE,
    PHONE_TABLES,
    Measurements,
    phone_family,
)

LEAST_NETWORKS = 12
SEEN = ("Banana_Pi_M2_Zero_2", "EAIDK_310")
"""Boards that are not shipped, but were looked at when the constants were chosen."""
CORES = ("1med", "1small")


def other_boards(directory: Path) -> Iterator[Measurements]:
    """One thread of every ARM board of ncnn's benchmark that is neither shipped nor seen."""
    networks = read_layers(directory / "ncnn_layers.csv")
    runs: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for line in read_rows(
        directory / "ncnn_ms.csv", ("run_id", "device", "core", "isa", "threads")
    ):
        # Only ARM's instruction sets are called v7, v8.0 and so on here.
        if line["isa"].startswith("v") and line["threads"] == "1" and line["is_int8"] == "0":
            runs[line["run_id"]].append(line)
    for number, lines in runs.items():
        first = lines[0]
        if first["gpu_device"] not in ("", "-1", "-1.0") or _is_shipped(first):
            continue
        found = Measurements(
            board=f"{first['device']}, run {number}",
            runtime="ncnn",
            threads=1,
            precision="fp16" if first["isa"] >= FP16_ISA else "fp32",
            core=first["core"],
            source=NCNN_SOURCE,
            licence="BSD-3-Clause",
            note="",
            networks=networks,
            measured_ms=times_of(
                [line for line in lines if line["model"] not in NCNN_LEFT_OUT], "min_ms"
            ),
        )
        if len(found.names) >= LEAST_NETWORKS:
            yield found


def _is_shipped(line: Mapping[str, str]) -> bool:
    return line["device"].startswith(SEEN) or any(
        f"{line['device']},".startswith(board.device)
        and line["core"] == board.core
        and line["cluster_ambiguous"] == str(int(board.ambiguous))
        for board in BOARDS
    )


def other_cores(directory: Path) -> Iterator[Measurements]:
    """One medium or small core of every phone, under each runtime."""
    networks = read_layers(directory / "mobile_layers.csv")
    for runtime, table in PHONE_TABLES.items():
        lines = read_rows(directory / table, ("model",))
        for column in lines[0]:
            phone, _, rest = column.partition(".")
            if rest not in [f"{core}.float_ms" for core in CORES]:
                continue
            yield Measurements(
                board=f"{phone}.{rest.split('.')[0]}",
                runtime=runtime,
                threads=1,
                precision="fp32",
                core=rest,
                source=PHONE_SOURCE,
                licence="MIT",
                note="",
                networks=networks,
                measured_ms=times_of(lines, column),
                family=phone_family,
            )
