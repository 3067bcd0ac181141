#!/usr/bin/env python3
"""Times the networks of the folder that this file lies in, on the board that it runs on.

    python3 bench.py [--runtime onnxruntime] [--threads 1] [--cores 3] [--out measured.csv]

It needs Python 3.8 or newer, numpy, and onnxruntime or ncnn. Threads are pinned to cores, all
networks run in turn, and governor, clock and temperature stand beside each time. One image at a
time, milliseconds of wall time. `search latency calibrate --measured measured.csv` reads the table.
"""

from __future__ import annotations

import argparse
import csv
import gc
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

KIT = "kit.json"
ONNX, NCNN_PARAM, NCNN_BIN = "model.onnx", "model.ncnn.param", "model.ncnn.bin"
COLUMNS = (
    *("network", "runtime", "threads", "ms", "min_ms", "p90_ms", "repetitions", "cores"),
    *("governor", "mhz_before", "mhz_after", "temperature_before_c", "temperature_after_c"),
    *("machine", "runtime_version"),
)
FALLEN_CLOCK = 0.95
"""A clock below this share of what it was at the beginning has been throttled."""
SYS = Path("/sys")


def read(path: Path) -> str:
    """The text of a file of the system; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


# --- The board ------------------------------------------------------------------------------------


class State(NamedTuple):
    """What a board's cores do; empty or None where the system does not tell."""

    governor: str
    mhz: float | None
    temperature_c: float | None


def state(cores: Sequence[int], system: Path = SYS) -> State:
    """Governors of some cores, the least of their clocks, and the hottest sensor."""
    folders = [system / f"devices/system/cpu/cpu{core}/cpufreq" for core in cores]
    governors = sorted({read(folder / "scaling_governor") for folder in folders} - {""})
    mhz = thousandths(folder / "scaling_cur_freq" for folder in folders)
    degrees = thousandths((system / "class/thermal").glob("thermal_zone*/temp"))
    return State("+".join(governors), min(mhz, default=None), max(degrees, default=None))


def thousandths(paths: Iterable[Path]) -> list[float]:
    """The numbers in some files over 1000; those without a number are left out."""
    texts = [read(path) for path in paths]
    return [int(text) / 1e3 for text in texts if text.lstrip("-").isdigit()]


def fastest_cores(threads: int, allowed: Iterable[int], system: Path = SYS) -> list[int]:
    """As many cores as threads, those of the highest clock; of equals the last, for the first
    serves the system's interrupts.
    """

    def speed(core: int) -> tuple[float, int]:
        file = system / f"devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq"
        return max(thousandths([file]), default=0.0), core

    return sorted(sorted(allowed, key=speed)[-threads:])


def pin(threads: int, named: list[int] | None) -> list[int]:
    """Binds this process to cores and returns them; before any library starts its threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if not hasattr(os, "sched_setaffinity"):
        print("bench.py: this system cannot pin threads to cores; times vary more", file=sys.stderr)
        return []
    allowed = os.sched_getaffinity(0)
    cores = named or fastest_cores(threads, allowed)
    if len(set(cores)) < threads or not set(cores) <= allowed:
        raise SystemExit(
            f"bench.py: {threads} threads need as many cores of"
            f" {','.join(map(str, sorted(allowed)))}, not {','.join(map(str, cores))}"
        )
    os.sched_setaffinity(0, cores)
    return cores


def machine() -> str:
    """The board's own name, else the processor's, and its instruction set."""
    name = read(Path("/proc/device-tree/model"))
    for line in read(Path("/proc/cpuinfo")).splitlines() if not name else ():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware", "Model"):
            name = value.strip()
    return f"{name or platform.node()} ({platform.machine()})"


# --- Runtimes -------------------------------------------------------------------------------------

Run = Any
"""Runs a network once: called without arguments."""


def onnxruntime_run(folder: Path, image: Any, threads: int) -> Run:
    """A network's ONNX file."""
    # It reports what it runs to its makers unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    # Threads that are counted inherit the cores of this process; onnxruntime pins others itself.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / ONNX), options, providers=["CPUExecutionProvider"]
    )
    feed = {session.get_inputs()[0].name: image[None]}
    return lambda: session.run(None, feed)


def ncnn_run(folder: Path, image: Any, threads: int) -> Run:
    """A network's ncnn files; in half precision where ncnn computes so by default."""
    ncnn = importlib.import_module("ncnn")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = threads
    for load, file in ((net.load_param, NCNN_PARAM), (net.load_model, NCNN_BIN)):
        if load(str(folder / file)) != 0:
            raise SystemExit(f"bench.py: ncnn cannot load {folder / file}")
    source = ncnn.Mat(image).clone()

    def run() -> None:
        extractor = net.create_extractor()
        extractor.input("in0", source)
        code, _ = extractor.extract("out0")
        if code != 0:
            raise SystemExit(f"bench.py: ncnn cannot run {folder / NCNN_PARAM} (code {code})")

    return run


RUNTIMES: dict[str, tuple[str, Callable[[Path, Any, int], Run]]] = {
    "onnxruntime": (ONNX, onnxruntime_run),
    "ncnn": (NCNN_PARAM, ncnn_run),
}
"""By the name of the library: the file that it needs, and what runs it."""


def usable_runtimes(wanted: str | None, folders: Sequence[Path]) -> list[str]:
    """The runtime that was named, else all that the kit has files for and that are installed."""
    found = []
    for name in [wanted] if wanted else RUNTIMES:
        problem = ""
        if not all((folder / RUNTIMES[name][0]).is_file() for folder in folders):
            problem = "the kit has no files for it"
        else:
            try:
                importlib.import_module(name)
            except ImportError as error:
                problem = f"cannot be imported: {error}"
        if problem:
            print(f"bench.py: {name} is left out: {problem}", file=sys.stderr)
        else:
            found.append(name)
    if not found:
        raise SystemExit("bench.py: no runtime to time; install onnxruntime or ncnn with pip")
    return found


# --- Timing ---------------------------------------------------------------------------------------


class Timed(NamedTuple):
    """The times of one network and the board's state around them."""

    times_ms: list[float]
    before: State
    after: State


def time_in_turn(
    runs: Mapping[str, Run], cores: Sequence[int], warm_up: int, repetitions: int
) -> dict[str, Timed]:
    """Runs all networks one after the other, again and again: a board that slows down slows all."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    before, after = {}, {}
    for round in range(-warm_up, repetitions):
        for name, run in runs.items():
            if round == 0:
                before[name] = state(cores)
            began = time.perf_counter()
            run()
            ms = (time.perf_counter() - began) * 1e3
            if round >= 0:
                times[name].append(ms)
            if round == repetitions - 1:
                after[name] = state(cores)
    return {name: Timed(times[name], before[name], after[name]) for name in runs}


def figures(timed: Timed) -> dict[str, Any]:
    """The cells of a row that come from a measurement."""
    times, before, after = sorted(timed.times_ms), timed.before, timed.after
    return {
        "ms": f"{statistics.median(times):.4f}",
        "min_ms": f"{times[0]:.4f}",
        "p90_ms": f"{times[math.ceil(0.9 * len(times)) - 1]:.4f}",
        "repetitions": len(times),
        "governor": after.governor,
        "mhz_before": before.mhz,
        "mhz_after": after.mhz,
        "temperature_before_c": before.temperature_c,
        "temperature_after_c": after.temperature_c,
    }


def doubts(timed: Mapping[str, Timed]) -> list[str]:
    """Sentences on what makes the times doubtful."""
    found = []
    governors = {t.after.governor for t in timed.values()} - {"", "performance"}
    if not any(t.after.governor or t.after.mhz for t in timed.values()):
        found.append(
            "neither governor nor clock can be read here: nobody sees it if the clock falls"
        )
    if governors:
        found.append(
            f"the governor is {'+'.join(sorted(governors))}, so that the clock may have changed;"
            " set it: sudo cpupower frequency-set -g performance"
        )
    for name, t in timed.items():
        if t.before.mhz and t.after.mhz and t.after.mhz < FALLEN_CLOCK * t.before.mhz:
            found.append(
                f"{name}: the clock fell from {t.before.mhz:.0f} to {t.after.mhz:.0f} MHz;"
                " the board is hot or short of power: cool it and measure again"
            )
    return found


# --- The command ----------------------------------------------------------------------------------


def networks(kit: Path) -> list[dict[str, Any]]:
    """Name, folder and shape of image of each network of the kit."""
    try:
        found: list[dict[str, Any]] = json.loads((kit / KIT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"bench.py: {kit / KIT} cannot be read: {error}; copy the whole folder that"
            " `search latency bench-kit` wrote"
        ) from None
    return found


def bench(options: argparse.Namespace, kit: Path) -> list[dict[str, Any]]:
    """The rows of the table, of all runtimes."""
    found = networks(kit)
    cores = pin(options.threads, options.cores)
    about = {
        "threads": options.threads,
        "cores": " ".join(map(str, cores)),
        "machine": machine(),
    }
    print(f"{about['machine']}: threads {options.threads}, cores {about['cores'] or 'any'}")
    runtimes = usable_runtimes(options.runtime, [kit / n["folder"] for n in found])
    return [
        {**row, **about}
        for runtime in runtimes
        for row in bench_runtime(runtime, kit, found, cores, options)
    ]


def bench_runtime(
    runtime: str,
    kit: Path,
    found: Sequence[Mapping[str, Any]],
    cores: Sequence[int],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """The rows of one runtime; prints them, too."""
    import numpy

    random = numpy.random.RandomState(0)
    _, make = RUNTIMES[runtime]
    runs = {
        n["network"]: make(
            kit / n["folder"], random.randn(*n["image"]).astype("float32"), options.threads
        )
        for n in found
    }
    timed = time_in_turn(runs, cores, options.warm_up, options.repetitions)
    version = importlib.import_module(runtime).__version__
    rows = []
    for name, of_network in timed.items():
        row = {"network": name, "runtime": runtime, "runtime_version": version}
        row.update(figures(of_network))
        rows.append(row)
        spread = f"(min {row['min_ms']}, p90 {row['p90_ms']})"
        print(f"{name:<32} {runtime:<12} {row['ms']:>10} ms {spread}", flush=True)
    for text in doubts(timed):
        print(f"bench.py: {runtime}: {text}", file=sys.stderr)
    return rows


def count(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return number


def core_numbers(text: str) -> list[int]:
    """Numbers of cores between commas."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runtime", choices=RUNTIMES, help="default: all that are installed")
    parser.add_argument("--threads", type=count, default=1, help="default %(default)s")
    parser.add_argument("--cores", type=core_numbers, help="such as 2,3 (default: the fastest)")
    parser.add_argument("--repetitions", type=count, default=30, help="default %(default)s")
    parser.add_argument("--warm-up", type=count, default=3, help="runs before (default 3)")
    parser.add_argument("--out", type=Path, default=Path("measured.csv"), help="the table")
    options = parser.parse_args()
    gc.disable()  # which else runs within a repetition
    try:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(bench(options, Path(__file__).resolve().parent))
    except OSError as error:
        raise SystemExit(f"bench.py: {options.out} cannot be written: {error}") from None
    print(f"Written: {options.out}")


if __name__ == "__main__":
    main()
