"""The device files: those shipped, and broken ones."""

import dataclasses
from pathlib import Path

import pytest

from latency_models import DEVICES, device, load_device
from latency_models.charges import COUNTED
from latency_models.counting.builds import BUILDS
from latency_models.devices import DATA
from latency_models.kernels import KINDS
from search_space.errors import UnknownName, UserError


@pytest.mark.parametrize("key", DEVICES)
def test_shipped_devices_are_what_their_file_says_and_name_source_and_error(key: str) -> None:
    found = device(key)
    assert found.key == key
    assert (DATA / found.file_name).read_text(encoding="utf-8") == found.to_yaml()
    assert "@" in found.source
    assert found.licence
    assert 0 < found.error.median <= found.error.log_residual_90
    assert max(found.measured_kinds.values(), default=0) <= len(found.networks)
    assert min(found.weights.values()) > 0, "a kind that costs nothing is not measured but missed"


@pytest.mark.parametrize(
    "key",
    [
        "raspberry-pi-4/ncnn/1",
        "raspberry-pi-3/ncnn/1",
        "jetson-tx2/ncnn/1",
        "pixel-4/tflite/1",
        "pixel-4/pytorch/1",
    ],
)
def test_the_boards_that_people_ask_for_are_there(key: str) -> None:
    assert key in DEVICES


def test_the_ambiguous_core_of_the_jetson_tx2_is_told() -> None:
    assert "Denver2 or Cortex-A57" in device("jetson-tx2/ncnn/1").note


def test_an_unknown_device_names_those_like_it() -> None:
    with pytest.raises(UnknownName, match=r"did you mean raspberry-pi-4/ncnn/1 .*latency devices"):
        device("raspberrypi-4/ncnn/1")


def test_only_a_device_that_prices_flops_has_a_counter_and_a_caution() -> None:
    counted = [key for key in DEVICES if device(key).counter is not None]
    assert counted == ["paper-arm/paper/1"]
    assert [key for key in DEVICES if device(key).caution] == counted
    on = device(*counted)
    assert (on.counter, on.caution) == ("condensenet", on.note)
    assert on.ns_per_flop == on.weights["ns_per_flop.condensenet"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("board: raspberry-pi-4\n", "", "mapping with the fields board, core"),
        ("threads: 1", "threads: one", r"`threads` \(='one'\) must be a whole number above 0"),
        ("ns_per_mac.conv: ", "ns_per_mac.conv: -", "`weights`.* numbers of at least 0"),
        ("mean: ", "average: ", "`error` must be a mapping with the fields"),
        ("networks:", "networks: none\nold:", "mapping with the fields"),
        ("board: ", "board: [", "cannot be read"),
        ("board: ", "misfits: 3\nboard: ", r"`misfits` \(=3\) must be a mapping"),
        ("counted_kinds:\n", "counted_kinds: none\nold:\n", "mapping with the fields"),
        (
            "counted_kinds:\n",
            "counted_kinds:\n  old: x\n",
            "`counted_kinds` .*numbers of at least 0",
        ),
    ],
)
def test_a_broken_device_file_is_told_in_a_sentence(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    on = dataclasses.replace(device("raspberry-pi-4/ncnn/1"), counted_kinds={"gather": 1.5})
    text = on.to_yaml()
    assert old in text
    path = tmp_path / "broken.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        load_device(path)
    assert str(caught.value).startswith(f"device file {path}: ")


@pytest.mark.parametrize("kinds", [{}, {"gather": 1.5}, {"gather": 1.0, "index_add": 2.0}])
def test_kinds_priced_by_their_counts_are_read_as_written(
    tmp_path: Path, kinds: dict[str, float]
) -> None:
    on = dataclasses.replace(device("raspberry-pi-4/ncnn/1"), counted_kinds=kinds)
    path = tmp_path / "mine.yaml"
    path.write_text(on.to_yaml(), encoding="utf-8")
    assert load_device(path).counted_kinds == kinds
    assert load_device(path).to_yaml() == on.to_yaml()
    # Files from before there were any, and those of devices without, lack the field.
    assert ("counted_kinds" in on.to_yaml()) is bool(kinds)


@pytest.mark.parametrize("key", DEVICES)
def test_kinds_priced_by_their_counts_are_kinds_with_prices_of_counts(key: str) -> None:
    on = device(key)
    assert set(on.counted_kinds) <= set(KINDS)
    if on.counted_kinds:
        assert set(COUNTED) <= set(on.weights)
        assert (on.runtime, on.precision) in {(b.runtime, b.precision) for b in BUILDS}


def test_a_missing_device_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_device(tmp_path / "none.yaml")
