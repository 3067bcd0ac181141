"""Weights and checkpoints: what is damaged, of another network, or holds code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MADE = "made-by-code"


class Code:
    """What unpickles as a call of ``os.mkdir``."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (MADE,)


@pytest.fixture
def file(trained: Path, tmp_path: Path) -> Callable[[str], str]:
    """Writes a bad file of weights by its name."""
    good = trained / "weights.safetensors"
    tensors = load_file(good)
    with safe_open(good, framework="pt") as opened:
        about = opened.metadata()
    weight = next(n for n, t in tensors.items() if t.dim() == 4 and t.is_floating_point())
    mask = next(n for n in tensors if n.endswith("mask"))
    kept = {n: t for n, t in tensors.items() if n != weight}

    def save(tensors: dict[str, torch.Tensor], **changed: str) -> Callable[[Path], object]:
        return lambda path: save_file(tensors, path, {**about, **changed})

    def raw(content: bytes) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(content)

    content = good.read_bytes()
    files: dict[str, Callable[[Path], object]] = {
        "empty": raw(b""),
        "junk": raw(bytes(range(256))),
        "cut-header": raw(content[:100]),
        "cut-values": raw(content[:-10]),
        "huge-header": raw(b"\xff" * 8 + b"{}"),
        "code": lambda path: torch.save({"state_dict": Code()}, path),
        "pickle": raw(pickle.dumps(Code())),
        "torch": lambda path: torch.save(tensors, path),
        "folder": lambda path: path.mkdir(),
        "other-network": save(tensors, spec="0123456789ab"),
        "other-form": save(tensors, form="boiled"),
        "later-format": save(tensors, format="9"),
        "condensed": save(tensors, form="condensed"),
        "none": save({}),
        "lacks": save(kept),
        "adds": save({**tensors, "stranger": torch.zeros(1)}),
        "shape": save({**kept, weight: tensors[weight][:1].clone()}),
        "nan": save({**kept, weight: tensors[weight] * float("nan")}),
        "complex": save({**kept, weight: tensors[weight].to(torch.complex64)}),
        "whole": save({**kept, weight: tensors[weight].to(torch.int8)}),
        "unfinished": save({**tensors, mask: torch.ones_like(tensors[mask])}),
    }

    def write(name: str) -> str:
        path = tmp_path / f"{name}.safetensors"
        if name in files:
            files[name](path)
        return path.name

    return write


CASES = {
    "missing": "cannot be read as a .safetensors file",
    "empty": "cannot be read as a .safetensors file",
    "junk": "cannot be read as a .safetensors file",
    "cut-header": "cannot be read as a .safetensors file",
    "cut-values": "cannot be read as a .safetensors file",
    "huge-header": "cannot be read as a .safetensors file",
    "code": "pickled weights are not accepted",
    "pickle": "pickled weights are not accepted",
    "torch": "pickled weights are not accepted",
    "folder": "is a folder; name the .safetensors file in it",
    "other-network": "holds weights of the network 0123456789ab",
    "other-form": "`form` (='boiled') must be one of masked, condensed",
    "later-format": "`format` (=9) must be 1, the version read here",
    "condensed": "does not fit the condensed form",
    "none": "lacks",
    "lacks": "lacks",
    "adds": "has the unknown stranger",
    "shape": "has shapes that do not fit",
    "nan": "holds infinite values or none at all",
    "complex": "holds complex values",
    "whole": "holds whole numbers for real ones",
    "unfinished": "the training was not finished",
}


@pytest.mark.parametrize("command", ["evaluate", "export", "verify"])
@pytest.mark.parametrize("case", CASES)
def test_weights_that_cannot_be_used(
    command: str,
    case: str,
    file: Callable[[str], str],
    trained: Path,
    tmp_path: Path,
    refused: Callable[..., str],
) -> None:
    lines = {
        "evaluate": ["evaluate", str(trained), "--data", "digits"],
        "export": ["export", str(trained), "--format", "state_dict", "--out", "out"],
        "verify": ["verify", str(trained), "--forms", "masked,condensed"],
    }
    name = file(case)
    refused([*lines[command], "--weights", name], name, CASES[case])
    assert not (tmp_path / MADE).exists(), "no code of the file is run"
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network(trained: Path, refused: Callable[..., str]) -> None:
    weights = str(trained / "weights.safetensors")
    line = ["evaluate", "condensenet-86", "--data", "digits", "--weights", weights]
    refused(line, "holds weights of the network")
    refused(["evaluate", "NET", "--data", "digits"], "has no weights of its own; name them")


IMPORTS = {
    "code": (lambda path: torch.save({"state_dict": Code()}, path), "making them can run code"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Code())), "cannot read"),
    "empty": (lambda path: path.write_bytes(b""), "not a checkpoint that torch can read"),
    "junk": (lambda path: path.write_bytes(bytes(range(256))), "not a checkpoint"),
    "folder": (lambda path: path.mkdir(), "bad.pth"),
    "list": (lambda path: torch.save([1], path), "holds a list and must hold a state_dict"),
    "no-tensors": (lambda path: torch.save({"a": 1}, path), "holds no tensors under"),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_checkpoints_that_are_none(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    write, words = IMPORTS[case]
    write(tmp_path / "bad.pth")
    refused(["import", "bad.pth", "--out", "out"], "bad.pth", words if case != "pickle" else "")
    assert not (tmp_path / MADE).exists()


RESULTS = {"cut": "{", "empty": "{}", "list": "[]", "twice": '{"a": 1, "a": 2}'}


@pytest.mark.parametrize("case", RESULTS)
def test_results_that_are_none(
    case: str, train_arguments: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "result.json").write_text(RESULTS[case], encoding="utf-8")
    line = [*train_arguments, "--out", "folder", "--resume"]
    refused(line, "result.json holds no result of a training")


def test_a_training_checkpoint_with_code(
    trained: Path, train_arguments: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "folder").mkdir()
    torch.save({"version": 1, "settings": {}, "state": Code()}, tmp_path / "folder/checkpoint.pt")
    line = [*train_arguments, "--out", "folder", "--resume"]
    refused(line, "checkpoint.pt cannot be read")
    assert not (tmp_path / MADE).exists()
