from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from results.verify import random_network, run_torch
from results.weights import load_weights, save_weights
from search_space import NetworkSpec, UserError, build
from search_space.network import Network

Tiny = Callable[[str], NetworkSpec]


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_both_forms_come_back_bit_by_bit(network: Network, form: str, tmp_path: Path) -> None:
    saved = network if form == "masked" else network.to_inference()
    path = tmp_path / "w.safetensors"
    save_weights(saved, path)
    found = load_weights(network.spec, path)
    assert found.form == form
    assert not found.training
    assert all(torch.equal(t, found.state_dict()[k]) for k, t in saved.state_dict().items())
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"form": form, "format": "1", "spec": network.spec.id}


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_a_file_without_metadata_is_told_by_its_keys(tiny: Tiny, form: str, tmp_path: Path) -> None:
    network = random_network(tiny("reactivating"))
    saved = network if form == "masked" else network.to_inference()
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    assert load_weights(network.spec, tmp_path / "w.safetensors").form == form


def changed(spec: NetworkSpec, path: Path, **changes: torch.Tensor | None) -> None:
    """Writes weights of the condensed form with some tensors replaced or left out."""
    save_weights(random_network(spec).to_inference(), path)
    tensors = load_file(path) | {k.replace("__", "."): t for k, t in changes.items()}
    save_file({k: t for k, t in tensors.items() if t is not None}, path)


GATHER = "steps__stage1_layer1__reduce_gather__index"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps__stem__conv__weight": None}, "lacks steps.stem.conv.weight"),
        ({"more": torch.zeros(1)}, "has the unknown more"),
        ({"steps__stem__conv__weight": torch.zeros(1)}, r"steps.stem.conv.weight \(1,\) instead"),
        ({"steps__stem__conv__weight": torch.full((12, 3, 3, 3), torch.nan)}, "stem.conv.weight"),
        (
            {"steps__stem__conv__weight": torch.zeros(12, 3, 3, 3, dtype=torch.complex64)},
            "complex values in steps.stem.conv.weight",
        ),
        ({GATHER: torch.full((12,), 12)}, "`steps.stage1_layer1.reduce_gather.index` must lie in"),
        ({GATHER: torch.full((12,), -1)}, "in 0 to 11"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tiny: Tiny, changes: dict[str, torch.Tensor | None], message: str, tmp_path: Path
) -> None:
    spec, path = tiny("learned"), tmp_path / "w.safetensors"
    changed(spec, path, **changes)
    with pytest.raises(UserError, match=message):
        load_weights(spec, path)


def test_a_folder_is_no_file_of_weights(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name the"):
        load_weights(tiny("plain"), tmp_path)


def test_weights_of_another_network_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    save_weights(random_network(tiny("learned")), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=f"{tiny('learned').id}, not of {tiny('plain').id}"):
        load_weights(tiny("plain"), tmp_path / "w.safetensors")


def test_an_unfinished_training_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    save_weights(build(tiny("learned")), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="the training was not finished"):
        load_weights(tiny("learned"), tmp_path / "w.safetensors")


def test_what_is_no_safetensors_file_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    pickled = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(1)}, pickled)
    for path in (pickled, tmp_path / "absent.safetensors"):
        with pytest.raises(UserError, match=r"cannot be read as a \.safetensors file"):
            load_weights(tiny("plain"), path)


def test_loaded_weights_compute_the_same(network: Network, tmp_path: Path) -> None:
    images = torch.randn(2, 3, 8, 8).numpy()
    save_weights(network, tmp_path / "w.safetensors")
    found = load_weights(network.spec, tmp_path / "w.safetensors")
    assert (run_torch(network, images) == run_torch(found, images)).all()
