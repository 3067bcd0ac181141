"""What the commands are asked for, beside files and numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

EXPORT = ["export", "NET", "--format", "state_dict", "--out", "out"]
IMPORT = ["import", "x.pth", "--out", "out"]
CASES: dict[str, tuple[list[str], str]] = {
    "empty-network": (["cost", ""], "the network '' must be a zoo name"),
    "device-file": (["cost", "/dev/null"], "is not a .yaml or .json file"),
    "path": (["cost", "no/where"], "no/where does not exist"),
    "long": (["cost", "./" + "x" * 5000], "File name too long"),
    "device": (["models", "--device", "toaster"], "unknown device 'toaster'"),
    "no-device": (["latency", "predict", "NET", "--device", ""], "unknown device ''"),
    "convention": (["cost", "NET", "--convention", "moon"], "'moon'; known: "),
    "torchvision": (["latency", "predict", "torchvision:moon"], "moon"),
    "explain-trial": (["explain", "NET", "--trial", "3"], "--trial 3 is of a run, and"),
    "explain-out": (["explain", "NET", "--out", "out"], "name some with --weights FILE"),
    "explain-weights": (["explain", "NET", "--weights", "none"], "none cannot be read as"),
    "explain-empty": (["explain", ""], "the network '' must be a zoo name"),
    "space": (["space", "profile", "--space", "."], "'.'; known: "),
    "searcher": (["run", "--searcher", ""], "unknown searcher ''"),
    "recipe": (["train", "NET", "--out", "out", "--recipe", ""], "''; known: "),
    "resume": (["train", "NET", "--resume"], "--resume needs --out"),
    "format": ([*EXPORT, "--format", "exe"], "unknown format 'exe'"),
    "exporter": ([*EXPORT, "--exporter", "magic"], "invalid choice: 'magic'"),
    "lowering": ([*EXPORT, "--lowering", "magic"], "invalid choice: 'magic'"),
    "weights": ([*EXPORT, "--weights", ""], "must name a file or a folder, and is empty"),
    "no-format": (["export", "NET", "--format", "", "--out", "out"], "--format must name one"),
    "verify": (["verify"], "name one network to verify, or give --all"),
    "verify-both": (["verify", "NET", "--all"], "not both"),
    "form": (["verify", "NET", "--forms", "boiled"], "boiled"),
    "form-alone": (["verify", "NET", "--forms", "masked"], "masked"),
    "form-lowering": (["verify", "NET", "--forms", "onnx:magic"], "magic"),
    "arm": (["verify", "NET", "--forms", "masked", "--arm", "x"], "add onnx to --forms"),
    "emulate": (["latency", "emulate", "NET", "--arm", "nowhere"], "nowhere"),
    "emulate-paper": (
        ["latency", "emulate", "NET", "--arm", "x", "--device", "paper-arm/paper/1"],
        "has no price of an instruction",
    ),
    "kit": (["latency", "bench-kit", "--out", "out", "--networks", ""], "must name one network"),
    "kit-network": (["latency", "bench-kit", "--out", "out", "--networks", "moon"], "'moon'"),
    "kit-runtime": (
        ["latency", "bench-kit", "--out", "o", "--runtime", "x"],
        "invalid choice: 'x'",
    ),
    "calibrate-out": (
        ["latency", "calibrate", "--measured", "x", "--out", "x.txt"],
        "--out x.txt must end in .yaml",
    ),
    "calibrate-base": (
        ["latency", "calibrate", "--measured", "x", "--out", "x.yaml", "--base", "moon"],
        "unknown device 'moon'",
    ),
    "sweep-twice": (
        ["sweep", "NET", "--vary", "groups=1", "--vary", "G=2"],
        "--vary groups is given twice",
    ),
    "sweep-same": (["sweep", "NET", "NET", "--out", "out"], "name networks and values once"),
    "import": (IMPORT, "x.pth"),
    "status-empty": (["status", ""], "must name a file or a folder, and is empty"),
    "dashboard-empty": (["dashboard", ""], "must name a file or a folder, and is empty"),
    "latency": (["latency", "guess"], "invalid choice: 'guess'"),
    "option": (["cost", "NET", "--wings"], "unrecognized arguments: --wings"),
}


@pytest.mark.parametrize("case", CASES)
def test_requests_that_cannot_be_met(case: str, refused: Callable[..., str]) -> None:
    line, words = CASES[case]
    refused(line, words)


@pytest.mark.parametrize("option", ["image-size", "groups", "condense-factor", "sparse-factor"])
def test_numbers_of_imports(option: str, refused: Callable[..., str]) -> None:
    refused([*IMPORT, f"--{option}=many"], "invalid int value: 'many'")


def test_a_budget_that_nothing_keeps(refused: Callable[..., str]) -> None:
    line = ["run", "--space", "SPACE", "--out", "out"]
    refused([*line, "--budget", "1"], "the cheapest", "raise the limit", code=3)
    refused([*line, "--latency", "0.0001ms"], "the cheapest", "raise the limit", code=3)
