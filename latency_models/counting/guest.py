"""Runs inside the emulated userland, under the counting plugin; knows nothing of this project.

    guest.py ncnn|onnxruntime JOBS.json fp32|fp16

``JOBS.json`` is a list of jobs. ncnn: ``{"param": text, "inputs": {blob: [w, h, c]}, "before":
[blobs], "stages": [blob, ...]}``; what computes each of the stages after the one before it is
counted. onnxruntime: ``{"model": file, "inputs": {name: shape}}``; one inference is counted.
Three markers stand around each of them: the second minus the first is the work and a constant, the
third minus the second the constant alone.
"""

import ctypes
import json
import sys
import types
from typing import Any

_syscall = ctypes.CDLL(None).syscall
_tag = 0
# Twice the last cache: what was read before is gone, as the weights of a layer are when its turn
# comes again. What a layer reads is computed after this, as it is in a network.
_ROOM = ctypes.create_string_buffer(4 << 20)


def forget() -> None:
    ctypes.memset(_ROOM, 1, len(_ROOM))


def mark() -> None:
    global _tag
    _syscall(5555, _tag)
    _tag += 1


def ncnn_jobs(jobs: list[dict[str, Any]], half: bool) -> None:
    # Never used here, and slow to import under emulation.
    for name in ("ncnn.model_zoo", "ncnn.utils"):
        sys.modules[name] = types.ModuleType(name)
    vars(sys.modules["ncnn.utils"])["draw_pose"] = None
    import ncnn

    for job in jobs:
        net = ncnn.Net()
        net.opt.use_vulkan_compute = False
        net.opt.num_threads = 1
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = half
        if net.load_param_mem(job["param"]) or net.load_model(ncnn.DataReaderFromEmpty()):
            raise SystemExit(f"ncnn cannot load {job['param']}")
        inputs = {}
        for blob, shape in job["inputs"].items():
            inputs[blob] = ncnn.Mat(*shape)
            inputs[blob].fill(0.5)
        for counted in (False, True):
            extractor = net.create_extractor()
            for blob, mat in inputs.items():
                extractor.input(blob, mat)
            forget()
            for blob in job["before"]:
                compute(extractor, blob)
            for blob in job["stages"]:
                if counted:
                    mark()
                compute(extractor, blob)
                if counted:
                    mark()
                    compute(extractor, blob)
                    mark()


def compute(extractor: Any, blob: str) -> None:
    code, mat = extractor.extract(blob, 1)
    if code:
        raise SystemExit(f"ncnn cannot compute {blob}")
    # While somebody holds it, an operation in place would copy it.
    del mat


def onnxruntime_jobs(jobs: list[dict[str, Any]]) -> None:
    import numpy
    import onnxruntime

    def prepared(job: dict[str, Any]) -> tuple[Any, Any, list[Any]]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(job["model"], options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        arrays = [numpy.full(shape, 0.5, "float32") for shape in job["inputs"].values()]
        for name, array in zip(job["inputs"], arrays, strict=True):
            binding.bind_cpu_input(name, array)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        session.run_with_iobinding(binding)
        # What a layer writes lies where the network wrote before, not in memory that is new.
        for output, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
            array = numpy.zeros(value.shape(), "float32")
            address = array.ctypes.data
            binding.bind_output(output.name, "cpu", 0, "float32", array.shape, address)
            arrays.append(array)
        session.run_with_iobinding(binding)
        return session, binding, arrays

    nothing = prepared(jobs[0])
    for job in jobs[1:]:
        session, binding, arrays = prepared(job)
        forget()
        for array in arrays:
            array.fill(0.5)
        mark()
        session.run_with_iobinding(binding)
        mark()
        nothing[0].run_with_iobinding(nothing[1])
        mark()


def main(runtime: str, file: str, precision: str) -> None:
    with open(file, encoding="utf-8") as text:
        jobs = json.load(text)
    if runtime == "ncnn":
        ncnn_jobs(jobs, precision == "fp16")
    else:
        onnxruntime_jobs(jobs)


main(*sys.argv[1:])
