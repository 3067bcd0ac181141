"""The published measurements that devices are fitted to, and how their tables name them.

``DIR`` holds ``ncnn_ms.csv`` and ``ncnn_layers.csv`` (ncnn's own benchmark),
``mobile_tflite_ms.csv``, ``mobile_torch_ms.csv`` and ``mobile_layers.csv`` (mobile-ml-benchmark).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latency_models.kernels import Kernel
from latency_models.layer_table import read_layers, read_rows, times_of
from search_space.errors import UserError

Networks = Mapping[str, Sequence[Kernel]]


def itself(network: str) -> str:
    """The family of a network that has no relatives."""
    return network


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """The milliseconds of some networks on one board, under one runtime, on so many threads.

    Attributes:
        networks: Their kernels, by name; names without a time do no harm.
        measured_ms: Their times.
        family: Whose networks are so alike that errors must be estimated without all of them.
    """

    board: str
    runtime: str
    threads: int
    precision: str
    core: str
    source: str
    licence: str
    note: str
    networks: Networks
    measured_ms: Mapping[str, float]
    family: Callable[[str], str] = itself

    @property
    def key(self) -> str:
        """``board/runtime/threads``."""
        return f"{self.board}/{self.runtime}/{self.threads}"

    @property
    def names(self) -> list[str]:
        """The networks that have both kernels and a time."""
        return sorted(name for name in self.measured_ms if self.networks.get(name))

    def families(self) -> dict[str, list[str]]:
        """The networks of each family."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            found.setdefault(self.family(name), []).append(name)
        return found

    def without(self, names: Collection[str]) -> Measurements:
        """All but some networks."""
        left = {name: ms for name, ms in self.measured_ms.items() if name not in names}
        return dataclasses.replace(self, measured_ms=left)


# --- ncnn -------------------------------------------------------------------------------------

NCNN_SOURCE = "Tencent/ncnn @ a4d2ea1d, benchmark/README.md and benchmark/models"
# Their fully connected layers read 240 and 490 MB of weights; nothing searched here does.
NCNN_LEFT_OUT = ("alexnet", "vgg16")
# From here on (v8.2, ..., v9.2) cores multiply in half precision, and ncnn makes use of it.
FP16_ISA = "v8.2"


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and core of ncnn's table; ``device`` and ``core`` select its rows.

    ``ambiguous`` boards have cores of two kinds and did not say which one ran.
    """

    name: str
    device: str
    core: str
    threads: tuple[int, ...] = (1,)
    ambiguous: bool = False


def _board(name: str, device: str, core: str, *threads: int, ambiguous: bool = False) -> Board:
    return Board(name=name, device=device, core=core, threads=threads or (1,), ambiguous=ambiguous)


BOARDS = (
    _board("raspberry-pi-3", "Raspberry_Pi_3_", "Cortex-A53", 1, 4),
    _board("raspberry-pi-4", "Raspberry_Pi_4_", "Cortex-A72", 1, 4),
    _board("raspberry-pi-5", "Raspberry_Pi_5_Broadcom_BCM2712,", "Cortex-A76", 1, 4),
    _board("raspberry-pi-zero-2w", "Raspberry_Pi_Zero_2_", "Cortex-A53", 1, 4),
    _board("arduino-uno-q", "Arduino_UNO_Q", "Cortex-A53"),
    _board("azure-cobalt-100", "Microsoft_Azure_Standard_D64ps", "Neoverse-N2"),
    _board("jetson-agx-orin", "NVIDIA_Jetson_AGX_Orin", "Cortex-A78AE"),
    _board("jetson-agx-xavier", "NVIDIA_Jetson_AGX_Xavier", "Carmel"),
    _board("jetson-nano", "NVIDIA_Jetson_Nano", "Cortex-A57"),
    _board("jetson-orin-nano", "NVIDIA_Jetson_Orin_Nano", "Cortex-A78AE"),
    _board("jetson-tx2", "NVIDIA_Jetson_TX2_NX", "Denver2+Cortex-A57", ambiguous=True),
    _board("kunpeng-920-2251k", "HUAWEI_KunPeng_920_2251K", "TSV110"),
    _board("kunpeng-920-3211k", "HUAWEI_KunPeng_920_3211K", "TSV110"),
    _board("kunpeng-920-7260", "HUAWEI_Kunpeng_920_7260", "TSV110"),
    _board("phytium-ft-2000-4", "Phytium_FT_2000_4", "FTC663"),
    _board("radxa-orion-o6", "Radxa_Orion_O6", "Cortex-A720"),
    _board("rk3288", "Rockchip_RK3288", "Cortex-A17"),
    _board("rk3399", "Rockchip_RK3399", "Cortex-A72"),
    _board("rk3399-a53", "Rockchip_RK3399", "Cortex-A53"),
    _board("rk3588", "Rockchip_RK3588", "Cortex-A76"),
    _board("rk3588-a55", "Rockchip_RK3588", "Cortex-A55"),
    _board("snapdragon-8-gen-2", "Qualcomm_SM8550", "Cortex-X3"),
    _board("snapdragon-810", "Qualcomm_MSM8994", "Cortex-A57"),
    _board("snapdragon-855", "Qualcomm_SM8150", "Kryo485Gold(A76)"),
)
"""ARM boards with at least 20 float networks timed on one thread, and the Zero 2W with 19. The
cores of one kind of a chip with two are a board each: the smaller ones have a suffix."""


def _is_run(row: Mapping[str, str], board: Board, threads: int) -> bool:
    return (
        f"{row['device']},".startswith(board.device)
        and row["core"] == board.core
        and row["cluster_ambiguous"] == str(int(board.ambiguous))
        and row["threads"] == str(threads)
        and row["is_int8"] == "0"
        and row["gpu_device"] in ("", "-1", "-1.0")
        and row["model"] not in NCNN_LEFT_OUT
    )


def _ncnn_note(rows: Sequence[Mapping[str, str]], board: Board) -> str:
    notes = [f"{rows[0]['heading']}; least of the timed runs of ncnn's benchmark."]
    if board.ambiguous:
        notes.append("Which kind of core ran is not recorded: Denver2 or Cortex-A57.")
    if rows[0]["isa"] >= FP16_ISA:
        notes.append("ncnn computes float networks in half precision on this core.")
    notes.append(f"Left out for their fully connected layers: {', '.join(NCNN_LEFT_OUT)}.")
    return " ".join(notes)


def ncnn_measurements(directory: Path) -> Iterator[Measurements]:
    """Every board of ``BOARDS`` at every number of threads. Raises UserError."""
    networks = read_layers(directory / "ncnn_layers.csv")
    columns = ("device", "core", "cluster_ambiguous", "threads", "is_int8", "gpu_device", "min_ms")
    table = read_rows(directory / "ncnn_ms.csv", (*columns, "model", "isa", "heading", "run_id"))
    for board in BOARDS:
        for threads in board.threads:
            rows = [row for row in table if _is_run(row, board, threads)]
            runs = {row["run_id"] for row in rows}
            if len(runs) != 1:
                raise UserError(
                    f"{board.name}: {len(runs)} runs of ncnn_ms.csv match with {threads} threads;"
                    " it must be one"
                )
            yield Measurements(
                board=board.name,
                runtime="ncnn",
                threads=threads,
                precision="fp16" if rows[0]["isa"] >= FP16_ISA else "fp32",
                core=board.core,
                source=NCNN_SOURCE,
                licence="BSD-3-Clause",
                note=_ncnn_note(rows, board),
                networks=networks,
                # The least of a run's times is what other programs on the board disturb least.
                measured_ms=times_of(rows, "min_ms"),
            )


# --- Phones -----------------------------------------------------------------------------------

PHONE_SOURCE = "qed-usc/mobile-ml-benchmark @ c864a331"
PHONE_TABLES = {"tflite": "mobile_tflite_ms.csv", "pytorch": "mobile_torch_ms.csv"}
PHONE_COLUMN = "{}.1large.float_ms"
PHONES = (
    ("pixel-4", "pixel4", "Kryo 485 Gold Prime (Cortex-A76)", ("tflite", "pytorch")),
    ("iphone-xs", "iphonexs", "Vortex", ("tflite", "pytorch")),
    ("mi-8-se", "mi8se", "Kryo 360 Gold (Cortex-A75)", ("tflite",)),
    ("motorola-one-fusion", "onefusion", "Kryo 360 Gold (Cortex-A75)", ("pytorch",)),
)
"""Phones by their name here and in the tables, the large core, and the runtimes measured."""

PHONE_FAMILIES = (
    *("bagnet", "bninception", "densenet", "diracnet", "dla", "efficientnet", "fdmobilenet"),
    *("hrnet", "mnasnet", "mobilenet", "preresnet", "proxylessnas", "regnet", "resnet", "resnext"),
    *("sepreresnet", "seresnet", "spnasnet", "squeezenet", "squeezeresnet", "vovnet"),
)


def phone_family(network: str) -> str:
    """What the network's name begins with: one of ``PHONE_FAMILIES``, or else all of it.

    All versions and widths of MobileNet are one family, all depths and widths of ResNet another.
    """
    return next((f for f in PHONE_FAMILIES if network.startswith(f)), network)


def phone_measurements(directory: Path) -> Iterator[Measurements]:
    """The large core of each phone under each of its runtimes. Raises UserError."""
    networks = read_layers(directory / "mobile_layers.csv")
    columns = {
        runtime: [PHONE_COLUMN.format(name) for _, name, _, on in PHONES if runtime in on]
        for runtime in PHONE_TABLES
    }
    tables = {
        runtime: read_rows(directory / table, ("model", *columns[runtime]))
        for runtime, table in PHONE_TABLES.items()
    }
    for board, name, core, runtimes in PHONES:
        for runtime in runtimes:
            column = PHONE_COLUMN.format(name)
            yield Measurements(
                board=board,
                runtime=runtime,
                threads=1,
                precision="fp32",
                core=core,
                source=f"{PHONE_SOURCE}, {column} of {PHONE_TABLES[runtime]}",
                licence="MIT",
                note="One large core. The layer tables list no additions and activations, so that"
                " their cost is in that of the layers around them.",
                networks=networks,
                measured_ms=times_of(tables[runtime], column),
                family=phone_family,
            )
