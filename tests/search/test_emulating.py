"""The command ``latency emulate``: what it refuses, what it prints, and one network for real."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from latency_models import device
from latency_models.charges import COUNTED, counted
from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.counting.measure import GUEST
from latency_models.emulator import Counts
from latency_models.executed import executed_kernels
from search import emulating
from search.cli import main
from search.emulating import whole_network
from search_space import NetworkSpec

Json = Callable[..., Any]
NCNN = BUILDS[0]
PRICES_NS = dict(zip(COUNTED, (0.5, 0.25, 4.0, 100.0), strict=True))
ENDS = Counts(**{f.name: 4 * i for i, f in enumerate(fields(Counts))})
"""Counts of each kind, a multiple of four that tells it apart."""


@pytest.fixture
def arm(tmp_path: Path) -> Path:
    """A folder that looks like an emulator."""
    folder = tmp_path / "arm"
    folder.mkdir()
    for name in ("ra.sh", "libarm_counts.so"):
        (folder / name).touch()
    return folder


def device_file(folder: Path, **prices_ns: float) -> Path:
    """A device of ncnn in single precision with prices of counts, or none."""
    base = device("raspberry-pi-4/ncnn/1")
    weights = {n: ns for n, ns in base.weights.items() if n not in COUNTED} | prices_ns
    path = folder / "mine.yaml"
    on = dataclasses.replace(base, board="mine", weights=weights, counted_kinds={})
    path.write_text(on.to_yaml(), encoding="utf-8")
    return path


@pytest.fixture
def emulate(tiny_file: Path, arm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arguments of the command where an emulator counts ``ENDS`` of every network, and of each
    kernel one, two, three and four is predicted."""
    monkeypatch.setattr(emulating, "whole_network", lambda *given: ENDS)
    told = tuple(zip(COUNTED, (1.0, 2.0, 3.0, 4.0), strict=True))
    monkeypatch.setattr("latency_models.charges.counted", lambda *given: told)
    on = device_file(tmp_path, **PRICES_NS)
    return ("latency", "emulate", str(tiny_file), "--arm", str(arm), "--device", str(on))


def test_a_folder_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["latency", "emulate", "condensenet-86"])
    assert caught.value.code == 2
    assert "the following arguments are required: --arm" in capsys.readouterr().err


def test_a_folder_without_an_emulator_is_refused(
    tmp_path: Path, tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = device_file(tmp_path, **PRICES_NS)
    none = tmp_path / "none"
    arguments = [str(tiny_file), "--arm", str(none), "--device", str(on)]
    assert main(["latency", "emulate", *arguments]) == 2
    assert f"make one with scripts/setup_arm {none}" in capsys.readouterr().err


@pytest.mark.parametrize("key", [None, "pixel-4/tflite/1", "paper-arm/paper/1"])
def test_a_device_without_prices_of_counts_is_refused(
    key: str | None, arm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = key or str(device_file(tmp_path))
    assert main(["latency", "emulate", "condensenet-86", "--arm", str(arm), "--device", on]) == 2
    assert "has no price of an instruction; choose a device" in capsys.readouterr().err


def test_an_unknown_network_is_refused(arm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", "emulate", "condensenet-87", "--arm", str(arm)]) == 2
    assert "unknown network 'condensenet-87'" in capsys.readouterr().err


def test_counts_are_told_beside_those_predicted(
    emulate: tuple[str, ...], search_json: Json, tiny_file: Path
) -> None:
    found = search_json(*emulate)
    kernels = len(list(executed_kernels(NetworkSpec.load(tiny_file), "ncnn")))
    assert found["device"] == "mine/ncnn/1"
    assert list(found["predicted"].values()) == [n * kernels for n in (1, 2, 3, 4)]
    multiply_adds = ENDS.fma32 + ENDS.fma16
    others = ENDS.instructions - multiply_adds
    counts = (multiply_adds, others, ENDS.l1_misses, ENDS.l3_misses)
    assert tuple(found["emulated"].values()) == counts
    expected_ns = [ns * n for ns, n in zip(PRICES_NS.values(), counts, strict=True)]
    assert found["ms"] == pytest.approx(sum(expected_ns) / 1e6)
    predicted_ns = [ns * n for ns, n in zip(PRICES_NS.values(), (1, 2, 3, 4), strict=True)]
    assert found["predicted_ms"] == pytest.approx(kernels * sum(predicted_ns) / 1e6)


def test_counts_are_shown_with_their_errors(
    emulate: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*emulate]) == 0
    shown = capsys.readouterr().out
    assert "under ncnn in fp32 on an emulated cortex-a72" in shown
    for name in ("multiply adds", "others", "l1 misses", "l3 misses"):
        assert name in shown
    assert "ms by the counts emulated" in shown


@pytest.mark.parametrize("build", [BUILDS[0], BUILDS[-1]], ids=lambda b: b.name)
def test_a_network_is_run_as_it_is_exported(
    build: RuntimeBuild, tiny_file: Path, tmp_path: Path, python: Any
) -> None:
    pytest.importorskip(build.runtime)

    class Here:
        """Runs the guest's script on this machine, where marks count nothing."""

        def run(
            self, script: Path, *arguments: Any, core: str, folder: Path
        ) -> list[tuple[int, Counts]]:
            assert (script.name, arguments[0], core) == (GUEST.name, build.runtime, build.core)
            assert (folder / script).read_bytes() == GUEST.read_bytes()
            done = python(folder / script, arguments[0], folder / arguments[1], arguments[2])
            assert (done.returncode, done.stderr) == (0, "")
            zero = ENDS - ENDS
            return [(0, zero), (1, ENDS + ENDS), (2, ENDS + ENDS + ENDS)]

    counts = whole_network(NetworkSpec.load(tiny_file), build, Here())  # type: ignore[arg-type]
    assert counts == ENDS


@pytest.mark.skipif("SEARCH_ARM" not in os.environ, reason="no emulated ARM userland is named")
def test_a_network_is_counted_under_emulation(
    search_json: Json, tiny_file: Path, tmp_path: Path
) -> None:
    on = device_file(tmp_path, **PRICES_NS)
    arguments = (str(tiny_file), "--arm", os.environ["SEARCH_ARM"], "--device", str(on))
    found = search_json("latency", "emulate", *arguments)
    kernels = list(executed_kernels(NetworkSpec.load(tiny_file), "ncnn"))
    assert found == search_json("latency", "emulate", *arguments)
    assert all(counted(k, NCNN.runtime, NCNN.precision) for k in kernels)
    # Four to an instruction where channels are stored by four; the rest is computed one by one.
    assert found["emulated"]["multiply_adds"] >= sum(k.macs for k in kernels) / 4 / 2
    assert found["emulated"]["others"] > found["emulated"]["multiply_adds"]
    assert found["ms"] > 0
