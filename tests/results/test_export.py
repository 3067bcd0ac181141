from __future__ import annotations

import dataclasses
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from results.export import Origin, export, export_into
from results.formats import FORMATS, ExportOptions, executed_macs
from results.verify import condensed_form, random_network, run_torch
from results.weights import load_weights, save_weights
from search_space import NetworkSpec, UserError
from search_space.errors import Mismatch, UnknownName
from search_space.network import Network

Tiny = Callable[[str], NetworkSpec]
DIRECT = ExportOptions(exporter="direct")
TRAINED = Origin(words="w", trained=True)


def test_where_weights_come_from_is_read_beside_them(tiny: Tiny, tmp_path: Path) -> None:
    network, out = random_network(tiny("reactivating")), tmp_path / "out"
    names = [f"kind {n}" for n in range(network.spec.classes)]
    origin = Origin(words="trained on x", trained=True, class_names=tuple(names))
    export(network, out, ["torchscript"], origin=origin)
    assert Origin.of(out / "weights.safetensors") == origin
    alone = tmp_path / "alone.safetensors"
    save_weights(network, alone, trained=False)
    unknown = Origin(words="alone.safetensors", trained=False)
    assert Origin.of(alone) == unknown
    (tmp_path / "verification.json").write_text("[]", encoding="utf-8")
    assert Origin.of(alone) == unknown


def export_tiny(network: Network, out: Path, trained: bool = True) -> None:
    export(
        network,
        out,
        ["onnx", "torchscript"],
        origin=Origin(words="w.safetensors", trained=trained),
        options=DIRECT,
    )


@pytest.mark.parametrize("trained", [True, False])
def test_a_folder_holds_all_that_a_user_takes_away(
    tiny: Tiny, trained: bool, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    network, out = random_network(tiny("reactivating")), tmp_path / "a" / "b"
    export_tiny(network, out, trained)
    files = {p.name for p in out.iterdir()}
    assert files == {
        *("architecture.yaml", "weights.safetensors", "model.onnx", "model.torchscript.pt"),
        *("card.md", "verification.json"),
    }
    assert [p.name for p in out.parent.iterdir()] == ["b"]
    spec = NetworkSpec.load(out / "architecture.yaml")
    assert spec == network.spec
    form = "masked" if trained else "condensed"
    assert load_weights(spec, out / "weights.safetensors").form == form
    verification = json.loads((out / "verification.json").read_text(encoding="utf-8"))
    assert verification["agrees"] is True
    seconds = {c["second"] for c in verification["comparisons"]}
    assert seconds == {"condensed", "state_dict", "onnx", "torchscript"}
    text = (out / "card.md").read_text(encoding="utf-8")
    assert ("untrained" in text) is not trained
    macs = executed_macs("onnx", condensed_form(network), DIRECT)
    assert f"| multiply-adds executed by model.onnx (lowering onnxruntime-arm) | {macs:,} |" in text
    assert "A condensed CNN" in text
    assert FORMATS["onnx"].usage in text
    assert spec.id in text


def test_each_snippet_of_the_card_runs_as_printed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    network = random_network(tiny("plain"))
    export_tiny(network, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    text = Path("card.md").read_text(encoding="utf-8")
    assert "A CNN of" in text
    first, *snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == 3
    expected = run_torch(network, np.zeros((1, 3, 8, 8), np.float32))
    for snippet in snippets:
        names: dict[str, np.ndarray] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated
            exec(first + snippet, names)
        np.testing.assert_allclose(names["logits"], expected, rtol=1e-3, atol=1e-4)


def test_condensed_weights_stay_condensed(tiny: Tiny, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export_tiny(random_network(tiny("learned")).to_inference(), tmp_path / "out")
    with safe_open(tmp_path / "out" / "weights.safetensors", framework="pt") as file:
        assert file.metadata()["form"] == "condensed"


def test_a_mismatch_leaves_nothing_behind(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = FORMATS["torchscript"]

    def write(network: Network, folder: Path, options: ExportOptions) -> None:
        network.get_parameter("steps.stem.conv.weight").data *= 1.01
        good.write(network, folder, options)

    monkeypatch.setitem(FORMATS, "torchscript", dataclasses.replace(good, write=write))
    network = random_network(tiny("learned"))
    with pytest.raises(Mismatch, match="masked and torchscript"):
        export(network, tmp_path / "out", ["torchscript"], origin=TRAINED)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tiny: Tiny, tmp_path: Path) -> None:
    network = random_network(tiny("plain"))
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="not an empty folder"):
            export(network, out, ["state_dict"], origin=TRAINED)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    (tmp_path / "empty").mkdir()
    export(network, tmp_path / "empty", ["state_dict"], origin=TRAINED)
    assert (tmp_path / "empty" / "card.md").is_file()


def test_an_export_joins_what_a_folder_holds(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "card.md").write_text("old", encoding="utf-8")
    network = random_network(tiny("learned"))
    verification = export_into(network, tmp_path, ["torchscript"], origin=TRAINED)
    assert verification.agrees
    assert {p.name for p in tmp_path.iterdir()} == {
        *("notes.txt", "architecture.yaml", "weights.safetensors", "model.torchscript.pt"),
        *("card.md", "verification.json"),
    }
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert network.spec.id in (tmp_path / "card.md").read_text(encoding="utf-8")


def test_a_mismatch_leaves_a_folder_as_it_was(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = FORMATS["torchscript"]

    def write(network: Network, folder: Path, options: ExportOptions) -> None:
        network.get_parameter("steps.stem.conv.weight").data *= 1.01
        good.write(network, folder, options)

    monkeypatch.setitem(FORMATS, "torchscript", dataclasses.replace(good, write=write))
    out = tmp_path / "out"
    out.mkdir()
    (out / "card.md").write_text("old", encoding="utf-8")
    network = random_network(tiny("learned"))
    with pytest.raises(Mismatch, match="masked and torchscript"):
        export_into(network, out, ["torchscript"], origin=TRAINED)
    with pytest.raises(UnknownName, match="known: ncnn, onnx"):
        export_into(network, out, ["tflite"], origin=TRAINED)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "card.md"]
    assert (out / "card.md").read_text(encoding="utf-8") == "old"


def test_an_unknown_format_or_a_folder_that_cannot_be_made_is_named(
    tiny: Tiny, tmp_path: Path
) -> None:
    network = random_network(tiny("plain"))
    with pytest.raises(UnknownName, match="known: ncnn, onnx"):
        export(network, tmp_path / "o", ["tflite"], origin=TRAINED)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        export(network, tmp_path / "file" / "o", ["state_dict"], origin=TRAINED)
