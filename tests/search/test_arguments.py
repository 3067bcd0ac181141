"""What is read from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from results import formats
from search import arguments
from search.arguments import (
    chosen_recipe,
    find_network,
    label,
    parse_seconds,
    weights_file,
)
from search_space import ZOO, UserError
from trainers.recipe import Recipe
from trainers.recipes import RECIPES


def test_names_of_files_are_those_of_exports() -> None:
    assert formats.ARCHITECTURE == arguments.ARCHITECTURE
    assert formats.WEIGHTS == arguments.WEIGHTS


@pytest.mark.parametrize(
    ("text", "unit", "seconds"),
    [
        ("25ms", "ms", 0.025),
        ("25", "ms", 0.025),
        ("90", "s", 90),
        ("1.5m", "s", 90),
        ("2h", "s", 7200),
    ],
)
def test_parse_seconds(text: str, unit: str, seconds: float) -> None:
    assert parse_seconds(text, "--timeout", unit) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-1s", "1d", "nan", "1 2s"])
def test_parse_seconds_refuses(text: str) -> None:
    with pytest.raises(UserError, match="must be a time above 0"):
        parse_seconds(text, "--timeout", "s")


# --- Networks ------------------------------------------------------------------------------------


def test_find_network_takes_names_files_and_folders(
    finished_run: Path, trained: Path, tiny_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.json"
    path.write_text(ZOO["condensenet-86"].to_json(), encoding="utf-8")
    assert find_network(str(path)) == find_network("condensenet-86")
    assert find_network(str(finished_run)).image_size == 32
    assert find_network(str(trained)) == find_network(str(tiny_file))


def test_labels_of_networks_differ() -> None:
    assert len({label(name) for name in ZOO}) == len(ZOO), "dots in names do not end them"
    assert label("some/where/tiny.yaml") == label("tiny.json") == label("runs/tiny/") == "tiny"
    assert label("shufflenetv2-x1.0") == "shufflenetv2-x1.0"


def test_weights_lie_beside_a_network(trained: Path) -> None:
    beside = trained / "weights.safetensors"
    assert weights_file(str(trained), None) == beside
    assert weights_file(str(trained), Path("other.onnx")) == Path("other.onnx")
    assert weights_file("condensenet-86", None) is None


# --- Recipes -------------------------------------------------------------------------------------


def chosen(*options: str, default: str = "quick") -> Recipe:
    parser = argparse.ArgumentParser()
    arguments.add_recipe(parser)
    return chosen_recipe(parser.parse_args(options), RECIPES[default])


def test_a_recipe_is_the_default_or_the_one_that_is_named(trained: Path) -> None:
    assert chosen() == RECIPES["quick"]
    assert chosen("--recipe", "sparsenet-cifar") == RECIPES["sparsenet-cifar"]
    written = chosen("--recipe", str(trained / "recipe.yaml"))
    assert written == RECIPES["quick"].replace(epochs=3, batch_size=128)


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (("--epochs", "7"), "epochs", 7),
        (("--batch-size", "32"), "batch_size", 32),
        (("--lr", "1e-2"), "learning_rate", 0.01),
        (("--precision", "bf16"), "precision", "bf16"),
        (("--set", "weight_decay=4e-5"), "weight_decay", 4e-5),
        (("--set", "weight_decay=0"), "weight_decay", 0),
        (("--set", "decay_vectors=false"), "decay_vectors", False),
        (("--set", "milestones=[0.5, 0.75]"), "milestones", (0.5, 0.75)),
        (("--set", "pruning=traditional"), "pruning", "traditional"),
        (("--set", "augment=none"), "augment", "none"),
        (("--set", "precision=32"), "precision", "32"),
    ],
)
def test_options_change_one_setting(options: tuple[str, ...], name: str, value: object) -> None:
    before, after = RECIPES["quick"].to_dict(), chosen(*options).to_dict()
    assert getattr(chosen(*options), name) == value
    assert {key for key in before if before[key] != after[key]} <= {name}


def test_a_shorter_training_warms_up_for_the_same_share() -> None:
    paper = RECIPES["condensenetv2-imagenet"]
    for options in (("--epochs", "3"), ("--set", "epochs=3")):
        short = chosen(*options, default="condensenetv2-imagenet")
        share = short.warmup_epochs / short.epochs
        assert share == pytest.approx(paper.warmup_epochs / paper.epochs)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs=2.5", "`epochs` (=2.5) must be a whole number"),
        ("weight_decay=much", "`weight_decay` (='much') must be at least 0"),
        ("decay_vectors=1", "`decay_vectors` (=1) must be true or false"),
        ("milestones=[0.5", "`milestones` (='[0.5') must be a number, true, false or a list"),
        ("pruning=hard", "`pruning` (='hard') must be one of gradual, traditional"),
        ("widening=2", "a recipe has no setting 'widening'; known: name, epochs,"),
    ],
)
def test_a_setting_that_is_none_is_told(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        chosen("--set", text)
    assert sentence in str(error.value)


def test_a_reserved_folder_is_made_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [arguments.reserved("a") for _ in range(3)] == [Path(f"runs/a-{i}") for i in (1, 2, 3)]
    assert all(Path(f"runs/a-{i}").is_dir() for i in (1, 2, 3))
    asked, original = iter([Path("runs/a-1")]), arguments.new_folder
    monkeypatch.setattr(arguments, "new_folder", lambda name: next(asked, None) or original(name))
    assert arguments.reserved("a") == Path("runs/a-4"), "another process had made the first"


def test_a_folder_that_cannot_be_reserved_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").touch()
    with pytest.raises(UserError, match="the output folder runs/a-1 cannot be written: "):
        arguments.reserved("a")
