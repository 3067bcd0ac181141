"""What the tables of measurements are called, and which networks are relatives."""

import pytest

from latency_models.kernels import Kernel
from latency_models.sources import BOARDS, PHONE_FAMILIES, Measurements, phone_family


def measurements() -> Measurements:
    kernel = Kernel(kind="other", in_channels=1, out_channels=1, in_elements=1, out_elements=1)
    return Measurements(
        board="b",
        runtime="ncnn",
        threads=2,
        precision="fp32",
        core="c",
        source="s",
        licence="l",
        note="n",
        networks={"a1": [kernel], "a2": [kernel], "b1": [kernel], "empty": []},
        measured_ms={"a1": 1.0, "a2": 2.0, "b1": 3.0, "empty": 4.0, "unknown": 5.0},
        family=lambda name: name[0],
    )


def test_networks_have_kernels_and_a_time() -> None:
    assert measurements().key == "b/ncnn/2"
    assert measurements().names == ["a1", "a2", "b1"]
    assert measurements().families() == {"a": ["a1", "a2"], "b": ["b1"]}
    assert measurements().without({"a1"}).names == ["a2", "b1"]


@pytest.mark.parametrize(
    ("network", "family"),
    [
        ("mobilenet_w1", "mobilenet"),
        ("mobilenetv3_large_w7d20", "mobilenet"),
        ("fdmobilenet_wd2", "fdmobilenet"),
        ("resnetbc26b", "resnet"),
        ("resnext14_32x4d", "resnext"),
        ("sepreresnet10", "sepreresnet"),
        ("squeezenet_v1_0", "squeezenet"),
        ("something_new", "something_new"),
    ],
)
def test_families_are_what_names_begin_with(network: str, family: str) -> None:
    assert phone_family(network) == family


def test_no_family_is_the_beginning_of_another() -> None:
    shadowed = [
        (a, b) for a in PHONE_FAMILIES for b in PHONE_FAMILIES if a != b and b.startswith(a)
    ]
    assert shadowed == []


def test_boards_have_names_of_their_own() -> None:
    assert len({board.name for board in BOARDS}) == len(BOARDS)
