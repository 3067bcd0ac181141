"""How many instructions an inference takes on an emulated ARM core, by runtime and lowering.

    scripts/setup_arm DIR
    python -m benchmarks.arm_instructions --arm DIR condensenet-86 condensenetv2-a
    python -m benchmarks.arm_instructions --arm DIR condensenetv2-a \\
        --runtime ncnn-fp16 --cpu cortex-a76

Random weights, batch 1, one thread, the second of two inferences. Instructions are no milliseconds:
what waits for memory counts like what does not. ``DIR/ra.sh`` must count (its ``PLUGIN``), and for
ncnn the userland must hold it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from results.formats import FORMATS, ExportOptions
from results.verify import random_network
from search.arguments import find_network
from search_space.lowering import LOWERINGS
from search_space.network import Network

RUNTIMES = {
    "onnxruntime": ("onnx", ("canonical", "onnxruntime-x86", "onnxruntime-arm")),
    "ncnn": ("ncnn", ("dense", "ncnn")),
    "ncnn-fp16": ("ncnn", ("dense", "ncnn")),
}
"""The format that each runtime reads, and its lowerings unless others are named."""

GUEST = """\
import ctypes, sys, types
import numpy as np
folder, runtime, shape = sys.argv[1], sys.argv[2], [int(n) for n in sys.argv[3:]]
images = np.random.default_rng(0).standard_normal(shape, np.float32)
if runtime == "onnxruntime":
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder + "/model.onnx", options)
    run = lambda: session.run(None, {session.get_inputs()[0].name: images[None]})
else:
    # What ncnn imports for its examples is not in the userland.
    for name in ("ncnn.model_zoo", "ncnn.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["ncnn.utils"].draw_pose = None
    import ncnn
    net = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, 1
    for option in ("packed", "storage", "arithmetic"):
        setattr(net.opt, "use_fp16_" + option, runtime == "ncnn-fp16")
    assert net.load_param(folder + "/model.ncnn.param") == 0
    assert net.load_model(folder + "/model.ncnn.bin") == 0
    def run():
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(images).clone())
        assert extractor.extract("out0")[0] == 0
mark = ctypes.CDLL(None).syscall  # the plugin writes its counters at a call of this number
run()
mark(5555, 0)
run()
mark(5555, 1)
"""


def instructions(userland: Path, runtime: str, folder: Path, image: Sequence[int], cpu: str) -> int:
    """Instructions of one inference of the files in a folder."""
    with tempfile.TemporaryDirectory() as name:
        script, counts = Path(name) / "guest.py", Path(name) / "counts"
        script.write_text(GUEST, encoding="utf-8")
        done = subprocess.run(
            [userland / "ra.sh", script, folder, runtime, *map(str, image)],
            env={**os.environ, "CPU": cpu, "PLUGIN": f"mem=1,out={counts}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not counts.is_file():
            code, said = done.returncode, done.stderr.strip()[-500:]
            raise SystemExit(f"{userland / 'ra.sh'} failed with code {code}: {said}")
        lines = [json.loads(line) for line in counts.read_text(encoding="utf-8").splitlines()]
    before, after = (line["insn"] for line in lines if line["tag"] in (0, 1))
    return int(after - before)


def counted(network: Network, userland: Path, runtime: str, lowering: str, cpu: str) -> int:
    """Instructions of a network exported for a runtime in a lowering."""
    spec, (format, _) = network.spec, RUNTIMES[runtime]
    with tempfile.TemporaryDirectory() as name:
        options = ExportOptions(exporter="direct", lowering=lowering)
        FORMATS[format].write(network, Path(name), options)
        image = (spec.image_channels, spec.image_size, spec.image_size)
        return instructions(userland, runtime, Path(name), image, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions of an inference on emulated ARM.")
    parser.add_argument("networks", nargs="+", metavar="NET", help="a name of the zoo or a file")
    parser.add_argument("--arm", type=Path, required=True, metavar="DIR", help="the userland")
    parser.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=["onnxruntime", "ncnn"])
    parser.add_argument("--lowerings", nargs="+", choices=LOWERINGS, help="of all runtimes")
    parser.add_argument("--cpu", default="cortex-a72", help="a core that qemu knows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the counts")
    args = parser.parse_args()
    found = []
    for name in args.networks:
        network = random_network(find_network(name)).to_inference()
        for runtime in args.runtime:
            for lowering in args.lowerings or RUNTIMES[runtime][1]:
                count = counted(network, args.arm.resolve(), runtime, lowering, args.cpu)
                found.append(
                    {"network": name, "runtime": runtime, "lowering": lowering, "count": count}
                )
                print(f"{name:<24} {runtime:<12} {lowering:<16} {count / 1e6:9.1f} M", flush=True)
    if args.json:
        text = json.dumps({"cpu": args.cpu, "instructions": found}, indent=2)
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
