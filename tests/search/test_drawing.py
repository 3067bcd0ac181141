"""From files of weights to pictures: names, files, refusals."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from results.weights import save_weights
from search.drawing import KEPT, can_be_drawn, draw
from search_space import ZOO, DenseStage, NetworkSpec, StemSpec, UserError, build

SPEC = NetworkSpec(
    image_size=8,
    classes=4,
    stem=StemSpec(channels=8),
    stages=(DenseStage(depth=2, growth_rate=4, groups_1x1=2, condense_factor=2),),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights of the network, as they were drawn, in a folder of their own."""
    network = build(SPEC)
    network.condense_for_conversion()
    path = tmp_path / "net" / "weights.safetensors"
    path.parent.mkdir()
    save_weights(network, path, trained=False)
    return path


def test_files_and_folders_by_short_names(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "seed-1.safetensors"
    other.write_bytes(file.read_bytes())
    drawn = draw(SPEC, [file.parent, other, file], tmp_path / "out")
    assert drawn.files == {"net": file, "seed-1": other}, "what is named twice is drawn once"
    assert list(drawn.untrained) == ["net", "seed-1"]
    names = ["explain-connections.png", "explain-reuse.png", KEPT]
    assert [path.name for path in drawn.written] == names, "nothing here is reactivated"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(names)
    frame = pd.read_csv(tmp_path / "out" / KEPT)
    learned = frame[frame["op"] == "reduce"].groupby(["weights", "layer", "group"]).size()
    # Of 8 and of 12 features each group kept half.
    assert learned.tolist() == [4, 4, 6, 6] * 2


def test_equal_names_are_told_apart_by_their_paths(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again" / "net" / file.name
    again.parent.mkdir(parents=True)
    again.write_bytes(file.read_bytes())
    assert list(draw(SPEC, [file, again], tmp_path).files) == [str(file), str(again)]


def test_weights_of_another_network(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds weights of the network"):
        draw(SPEC.replace(classes=5), [file], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_networks_that_concatenate_can_be_drawn() -> None:
    names = (
        "condensenet-86",
        "sparsenet-121",
        "shufflenetv2-x1.0",
        "resnet-56",
        "sparsenet-sum-56",
    )
    assert [can_be_drawn(ZOO[name]) for name in names] == [True, True, True, False, False]
