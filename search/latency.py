"""The commands ``latency``: what is known of boards, and how long a network takes on one."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_models import DEFAULT_DEVICE
from search.arguments import NETWORK, add_json, find_network, out, print_json, to_path
from search.torchvision_models import DEFAULT_RESOLUTION, PREFIX, export_torchvision
from search_space.errors import UserError

if TYPE_CHECKING:
    from latency_models import Device, Latency
    from latency_models.evaluate import Judged
    from latency_models.kernels import Kernel
    from search_space import NetworkSpec

DEVICE_METAVAR = "BOARD/RUNTIME/THREADS|FILE"
DEVICE_HELP = (
    "where latency is predicted: one of `search latency devices`, or a .yaml file of"
    " `search latency calibrate`"
)


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option that names a device."""
    parser.add_argument(
        "--device",
        default=DEFAULT_DEVICE,
        metavar=DEVICE_METAVAR,
        help=f"{DEVICE_HELP} (default %(default)s)",
    )


# --- devices -----------------------------------------------------------------------------------


def devices(args: argparse.Namespace) -> int:
    """Lists the devices: board, runtime and threads, what each was fitted to, and its error."""
    from latency_models import DEVICES, device

    found = [device(key) for key in DEVICES]
    if args.json:
        print_json(
            [
                {
                    "key": d.key,
                    "core": d.core,
                    "precision": d.precision,
                    "networks": len(d.networks),
                    **asdict(d.error),
                    "source": d.source,
                    "licence": d.licence,
                    "note": d.note,
                    "misfits": dict(d.misfits),
                }
                for d in found
            ]
        )
        return 0
    from rich.table import Table

    table = Table(title="Errors of networks left out of the fit, of the measured time")
    table.add_column("device", no_wrap=True)
    for column in ("core", "computes in"):
        table.add_column(column)
    for column in ("networks", "mean", "median", "in 10 %", "in 20 %"):
        table.add_column(column, justify="right")
    for d in found:
        e = d.error
        shares = (e.mean, e.median, e.within_10_percent, e.within_20_percent)
        figures = [f"{share:.1%}" for share in shares[:2]] + [f"{s:.0%}" for s in shares[2:]]
        table.add_row(d.key, d.core, d.precision, str(len(d.networks)), *figures)
    out().print(table)
    for d in found:
        for network, ratio in d.misfits.items():
            print(f"{d.key} does not hold for {network}: {ratio:.2f} of its measured time")
    return 0


# --- predict -----------------------------------------------------------------------------------


def add_predict(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search latency predict``."""
    parser.add_argument(
        "network",
        metavar="NET",
        help=f"{NETWORK}; or {PREFIX}NAME, an .onnx file, or a .csv table of layers of networks",
    )
    parser.add_argument(
        "--resolution",
        type=int,
        metavar="PIXELS",
        help=f"of the image (default: the network's own; torchvision's {DEFAULT_RESOLUTION})",
    )
    add_device(parser)
    add_json(parser)


def predict(args: argparse.Namespace) -> int:
    """Predicts the milliseconds of one image, what they go into, and how sure that is."""
    from latency_models import device
    from latency_models.predict import breakdown_ms, network_macs, predict_network

    on = device(args.device)
    rows: list[dict[str, Any]] = []
    for name, network in _networks(args.network, args.resolution).items():
        predicted = predict_network(network, on)
        macs, parts_ms = network_macs(network), breakdown_ms(network, on)
        row = {"network": name, "macs": macs, "device": on.key, **asdict(predicted)}
        rows.append({**row, "breakdown_ms": parts_ms})
        if not args.json:
            print(f"{name:<22} {predicted} on {on.key}, {macs:,} MACs")
            _show(predicted, parts_ms)
    if args.json:
        print_json(rows if args.network.endswith(".csv") else rows[0])
    return 0


def _networks(name: str, resolution: int | None) -> dict[str, NetworkSpec | Sequence[Kernel]]:
    """What is predicted, by name: several networks of a layer table, else one."""
    if resolution is not None and resolution < 1:
        raise UserError(f"--resolution {resolution} must be at least 1 pixel")
    if name.endswith(".csv"):
        from latency_models.layer_table import read_layers

        if resolution is not None:
            raise UserError(f"--resolution {resolution} is for networks, not for a table of layers")
        return dict(read_layers(Path(name)))
    if name.endswith(".onnx"):
        from latency_models.onnx_kernels import onnx_kernels

        return {name: onnx_kernels(Path(name), resolution)}
    if name.startswith(PREFIX):
        return {name: _torchvision(name.removeprefix(PREFIX), resolution or DEFAULT_RESOLUTION)}
    spec = find_network(name)
    return {name: spec if resolution is None else spec.replace(image_size=resolution)}


def _torchvision(name: str, resolution: int) -> Sequence[Kernel]:
    from latency_models.onnx_kernels import onnx_kernels

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        export_torchvision(name, path, resolution)
        return onnx_kernels(path)


def _show(predicted: Latency, parts_ms: dict[str, float]) -> None:
    for kind, ms in parts_ms.items():
        print(f"  {kind:<20} {ms:8.2f} ms  {ms / predicted.ms:6.1%}")
    _doubts(predicted)
    if predicted.note:
        print(f"  {'note':<20} {predicted.note}")


def _show_judged(judged: Iterable[Judged]) -> None:
    for j in sorted(judged, key=lambda j: j.error):
        print(f"{j.network:<28} {j.measured_ms:9.2f} ms measured, {j.predicted}  {j.error:+7.1%}")
        _doubts(j.predicted)


def _doubts(predicted: Latency) -> None:
    for text in predicted.extrapolated:
        print(f"  {'not measured there':<20} {text}")
    for text in predicted.unpriced:
        print(f"  {'not priced':<20} {text}")


# --- calibrate ---------------------------------------------------------------------------------


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search latency calibrate``."""
    parser.add_argument(
        "--measured",
        type=to_path,
        required=True,
        metavar="FILE",
        help="times of a few networks, .csv: a column `network`, whatever names one to"
        " `search latency predict`, and `ms`; bench.py of `search latency bench-kit` writes one",
    )
    parser.add_argument(
        "--base",
        default=DEFAULT_DEVICE,
        metavar=DEVICE_METAVAR,
        help="the device most like the board (default %(default)s)",
    )
    parser.add_argument("--out", type=to_path, required=True, metavar="FILE", help="a .yaml file")
    parser.add_argument(
        "--board", metavar="NAME", help="what it is called (default: the name of the file)"
    )
    parser.add_argument(
        "--layers", type=to_path, metavar="FILE", help="layers of networks in --measured, .csv"
    )
    parser.add_argument("--runtime", help="the rows to read, where there are several runtimes")
    parser.add_argument("--threads", type=int, help="the rows to read, where numbers differ")
    add_json(parser)


def calibrate(args: argparse.Namespace) -> int:
    """Fits a device to a few times that were measured on one's own board."""
    from latency_models import device
    from latency_models.calibrate import calibrated
    from latency_models.evaluate import judge
    from latency_models.measured import read_measured

    if args.out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {args.out} must end in .yaml, as --device expects it")
    base = device(args.base)
    measured = read_measured(args.measured, base, runtime=args.runtime, threads=args.threads)
    networks = _measured_networks(measured.ms, args.layers, measured.runtime or base.runtime)
    on = calibrated(
        base,
        networks,
        measured.ms,
        board=args.out.stem if args.board is None else args.board,
        runtime=measured.runtime,
        threads=measured.threads,
        core=measured.core,
    )
    _write(args.out, on)
    if args.json:
        print_json({"out": str(args.out), "device": on.key, **on.to_dict()})
        return 0
    _show_judged(judge(networks, measured.ms, on))
    print(
        f"{on.note}\nErrors of networks not among them: mean {on.error.mean:.1%}, median"
        f" {on.error.median:.1%}; nine in ten within a factor of"
        f" {math.exp(on.error.log_residual_90):.2f}\nWritten: {args.out}, {on.key}; use it with"
        f" --device {args.out}"
    )
    return 0


def _measured_networks(
    names: Iterable[str], layers: Path | None, runtime: str
) -> dict[str, Sequence[Kernel]]:
    """The kernels of each network, out of the table of layers if it is there."""
    from latency_models.layer_table import read_layers
    from latency_models.predict import described_kernels

    found: dict[str, Sequence[Kernel]] = dict(read_layers(layers)) if layers else {}
    for name in names:
        if name not in found:
            read = _networks(name, None)
            found |= {name: described_kernels(network, runtime) for name, network in read.items()}
    return found


def _write(path: Path, on: Device) -> None:
    try:
        path.write_text(on.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {path} cannot be written: {error}") from None


# --- evaluate ----------------------------------------------------------------------------------


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``search latency evaluate``."""
    parser.add_argument(
        "--layers", type=to_path, required=True, metavar="FILE", help="layers of the networks, .csv"
    )
    parser.add_argument(
        "--measured",
        type=to_path,
        required=True,
        metavar="FILE",
        help="their times, .csv: a column `model` and one of milliseconds",
    )
    parser.add_argument(
        "--column", default="ms", help="the column of milliseconds (default %(default)s)"
    )
    add_device(parser)
    add_json(parser)


def evaluate(args: argparse.Namespace) -> int:
    """Compares predictions with times that were measured, of networks given by their layers."""
    from latency_models import device
    from latency_models.evaluate import evaluation, judge
    from latency_models.layer_table import read_layers, read_times

    on = device(args.device)
    measured_ms = read_times(args.measured, args.column)
    judged = judge(read_layers(args.layers), measured_ms, on)
    left_out = sorted(measured_ms.keys() - {j.network for j in judged})
    found = evaluation(judged)
    if args.json:
        networks = [
            {"network": j.network, "measured_ms": j.measured_ms, **asdict(j.predicted)}
            for j in judged
        ]
        rest = {"without_layers": left_out, "predictions": networks}
        print_json({"device": on.key, **asdict(found), **rest})
        return 0
    _show_judged(judged)
    if left_out:
        print(f"Left out, for {args.layers} has no layers of them: {', '.join(left_out)}")
    ranks = "" if found.spearman is None else f", Spearman {found.spearman:.3f}"
    print(
        f"{on.key}, {found.networks} networks: mean error {found.mean:.1%}, median"
        f" {found.median:.1%}, within 10 % {found.within_10_percent:.0%}, within 20 %"
        f" {found.within_20_percent:.0%}{ranks}; {found.covered:.0%} inside their interval"
    )
    return 0
