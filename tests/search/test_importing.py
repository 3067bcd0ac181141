"""``search import``: what it writes, what it says, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from search.cli import main
from search_space import DenseStage, NetworkSpec, StemSpec, TransitionSpec, build

SPEC = NetworkSpec(
    image_size=8,
    classes=3,
    stem=StemSpec(channels=4),
    stages=(DenseStage(depth=1, growth_rate=4, bottleneck=0, fetch="exponential"),),
    transition=TransitionSpec(),
)
THEIRS = {
    "stem.conv": "features.conv0",
    "stage1_layer1.conv_norm": "features.dense-stage-0.block-1.bn1",
    "stage1_layer1.conv": "features.dense-stage-0.block-1.conv1",
    "head.final_norm": "features.norm_last",
    "head.classifier": "classifier.linear",
}


def in_their_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The smallest network in the names of SparseNet's author."""
    split = (name.removeprefix("steps.").rpartition(".") for name in state)
    return {
        f"{THEIRS[module]}.{part}": tensor
        for (module, _, part), tensor in zip(split, state.values(), strict=True)
    }


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.pth"
    torch.save({"state_dict": in_their_names(build(SPEC).state_dict())}, path)
    return path


def test_writes_a_network_that_other_commands_read(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "networks" / "sparse"
    assert main(["import", str(checkpoint), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"sparsenet: {SPEC}")
    assert "exponential fetch" in printed
    assert "assumed: image size 8 (--image-size)" in printed
    assert NetworkSpec.load(out / "architecture.yaml") == SPEC
    with safe_open(out / "weights.safetensors", framework="pt") as file:
        assert file.metadata() == {"form": "masked", "format": "1", "spec": SPEC.id}
        assert set(file.keys()) == set(build(SPEC).state_dict())
    assert printed.endswith(f"Next: search export {out} --format onnx --out {out}-onnx\n")
    assert main(["cost", str(out / "architecture.yaml")]) == 0
    assert main(["cost", str(out)]) == 0
    forms = "condensed,torchscript"
    assert main(["verify", str(out), "--forms", forms]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["architecture.yaml", "weights.safetensors"]


def test_json_tells_inferred_from_assumed(
    checkpoint: Path, tmp_path: Path, search_json: Callable[..., Any]
) -> None:
    found = search_json(
        "import", str(checkpoint), "--out", str(tmp_path / "out"), "--image-size", "16"
    )
    assert (found["family"], found["form"]) == ("sparsenet", "masked")
    assert "stem of 4 channels" in found["inferred"]
    assert "fetch base 2" in found["assumed"]
    assert NetworkSpec.load(tmp_path / "out" / "architecture.yaml").image_size == 16


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image-size", "0"], "--image-size (=0) must be"),
        (["--hard-swish-from-stage", "-1"], "--hard-swish-from-stage (=-1) must be"),
        (["--groups", "4"], "--groups (=4) must be 1"),
        (["--entry", "weights"], "no tensors under `weights`"),
    ],
)
def test_bad_arguments_are_a_sentence_and_exit_code_2(
    arguments: list[str],
    sentence: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["import", str(checkpoint), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "architecture.yaml").write_text("mine", encoding="utf-8")
    assert main(["import", str(checkpoint), "--out", str(tmp_path)]) == 2
    assert "exists already; choose another --out" in capsys.readouterr().err
    assert (tmp_path / "architecture.yaml").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_a_file_is_a_sentence(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(checkpoint), "--out", str(checkpoint)]) == 2
    assert "cannot be written" in capsys.readouterr().err
