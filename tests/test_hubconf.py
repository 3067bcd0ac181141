"""The repository as a source of torch.hub."""

import runpy
from pathlib import Path

import torch

from search_space import ZOO, list_models

ROOT = str(Path(__file__).parents[1])


def entry_point(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")


def test_the_entry_points_are_the_zoo_and_two_functions() -> None:
    entry_points = {
        name: value
        for name, value in runpy.run_path(f"{ROOT}/hubconf.py").items()
        if callable(value) and not name.startswith("_")  # as torch.hub.list takes them
    }
    expected = {entry_point(name): name for name in ZOO}
    assert len(expected) == len(ZOO)
    assert set(entry_points) == {*expected, "create_model", "list_models"}
    assert [e for e, name in expected.items() if f"{name} " not in entry_points[e].__doc__] == []


def test_a_network_is_loaded_by_its_name() -> None:
    model = torch.hub.load(ROOT, "condensenet_86", source="local", num_classes=7)
    assert model.eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 7)


def test_the_functions_are_loaded_too() -> None:
    names = torch.hub.load(ROOT, "list_models", source="local")
    assert names == list_models()
    maps = torch.hub.load(
        ROOT, "create_model", "condensenet-86", source="local", features_only=True
    )
    assert len(maps(torch.zeros(2, 3, 16, 16))) == 3
