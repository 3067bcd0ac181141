"""The benchmark of counters, on an emulator that the tests make up."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import counters
from benchmarks.counters import MOST_MACS, drawn, main
from latency_models.charges import COUNTED
from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.emulator import Counts, Emulator
from latency_models.executed import executed_kernels
from search_space import NetworkSpec, macs


def test_networks_are_different_small_and_the_same_for_a_seed() -> None:
    found = list(drawn("cifar-32", 4, seed=1))
    assert len({spec.id for spec in found}) == 4
    assert all(macs(spec) <= MOST_MACS for spec in found)
    assert [s.id for s in drawn("cifar-32", 4, seed=1)] == [s.id for s in found]
    assert [s.id for s in drawn("cifar-32", 4, seed=2)] != [s.id for s in found]


def test_errors_are_those_of_the_sums_over_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ra.sh", "libarm_counts.so"):
        (tmp_path / name).touch()

    def emulated(spec: NetworkSpec, build: RuntimeBuild, emulator: Emulator) -> Counts:
        """As many as predicted, but half the instructions that are no multiply-adds."""
        kernels = len(list(executed_kernels(spec, build.runtime)))
        told = {"fma32": 10 * kernels, "load": 15 * kernels, "l1_misses": 2 * kernels}
        told["l3_misses"] = kernels
        return Counts(**{f.name: told.get(f.name, 0) for f in fields(Counts)})

    predicted = tuple(zip(COUNTED, (10.0, 30.0, 2.0, 1.0), strict=True))
    monkeypatch.setattr(counters, "whole_network", emulated)
    monkeypatch.setattr(counters, "counted", lambda *given: predicted)
    out = tmp_path / "found.json"
    arguments = ["--arm", str(tmp_path), "--networks", "2", "--spaces", "cifar-32"]
    build = BUILDS[0].name
    monkeypatch.setattr(sys, "argv", ["counters", *arguments, "--builds", build, "--out", str(out)])
    main()
    found = json.loads(out.read_text(encoding="utf-8"))
    assert list(found) == [build]
    assert found[build]["networks"] == 2
    errors = {n: e["median"] for n, e in found[build].items() if n != "networks"}
    expected = {"multiply_adds": 0, "others": 1, "l1_misses": 0, "l3_misses": 0}
    assert errors == pytest.approx({"instructions": 40 / 25 - 1, **expected})
    shown = capsys.readouterr().out
    assert shown.count("unknown 0") == 2
