"""Processes, devices and precision: what is asked for, what there is, what is refused."""

from __future__ import annotations

import pytest
import torch

from search_space import UserError
from trainers import machine as module
from trainers.machine import machine, over_processes
from trainers.recipe import PRECISIONS


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, str]]:
    """What Fabric is asked for: kind, devices here, machines, precision."""
    calls: list[tuple[str, int, int, str]] = []
    monkeypatch.setattr(module, "_fabric", lambda *call: calls.append(call))
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.mark.parametrize(
    ("devices", "gpus", "expected"),
    [
        ("auto", 0, ("cpu", 1)),
        ("auto", 2, ("cuda", 1)),
        ("cpu", 2, ("cpu", 1)),
        ("cpu:3", 0, ("cpu", 3)),
        ("cuda", 1, ("cuda", 1)),
        ("cuda:2", 2, ("cuda", 2)),
        ("auto:2", 4, ("cuda", 2)),
    ],
)
def test_devices_are_what_is_asked_for(
    asked: list[tuple[str, int, int, str]],
    monkeypatch: pytest.MonkeyPatch,
    devices: str,
    gpus: int,
    expected: tuple[str, int],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    machine(devices, "bf16")
    assert asked == [(*expected, 1, "bf16")]


@pytest.mark.parametrize(
    ("world", "local", "expected"), [("4", "2", (2, 2)), ("2", "2", (2, 1)), ("3", None, (3, 1))]
)
def test_the_processes_of_torchrun_are_taken(
    asked: list[tuple[str, int, int, str]],
    monkeypatch: pytest.MonkeyPatch,
    world: str,
    local: str | None,
    expected: tuple[int, int],
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world)
    if local is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    machine("cpu")
    assert asked == [("cpu", *expected, "32")]


@pytest.mark.parametrize("devices", ["", "tpu", "cpu:", "cpu:0", "cpu:00", "cuda:-1", "cpu:two"])
def test_what_is_no_device_is_said(devices: str) -> None:
    with pytest.raises(UserError, match=f"^--devices '{devices}' must be auto, cpu, cuda, cpu:COU"):
        machine(devices)


@pytest.mark.parametrize(("devices", "wanted"), [("cuda", 1), ("cuda:3", 3), ("auto:3", 3)])
def test_more_gpus_than_there_are_is_said(
    monkeypatch: pytest.MonkeyPatch, devices: str, wanted: int
) -> None:
    there = 0 if wanted == 1 else 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    message = f"^--devices {devices} asks for {wanted} GPUs; this machine has {there}: ask for"
    with pytest.raises(UserError, match=message):
        machine(devices)


@pytest.mark.parametrize(("precision", "dtype"), [("32", torch.float32), ("bf16", torch.bfloat16)])
def test_one_process_of_either_precision(precision: str, dtype: torch.dtype) -> None:
    assert set(PRECISIONS) == {"32", "bf16"}
    fabric = machine("cpu", precision)
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
    with fabric.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    tensor = torch.arange(3.0)
    assert over_processes(fabric, tensor, "sum") is tensor
