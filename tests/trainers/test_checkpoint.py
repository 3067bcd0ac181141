"""The file of a training: whole or refused. And the signals that ask to leave."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from search_space import UserError
from trainers import checkpoint as module
from trainers.checkpoint import VERSION, load_checkpoint, save_checkpoint, stop_requests
from trainers.training import Training

SETTINGS = {"seed": 0, "recipe": {"epochs": 3, "milestones": [0.5]}, "data": "digits"}


class Standing:
    """A training of which only the state matters."""

    def state(self) -> dict[str, Any]:
        return {"weights": torch.arange(300.0), "step": 7, "rows": [{"loss": 0.5}], "average": None}


TRAINING = cast(Training, Standing())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "run" / "checkpoint.pt"
    found.parent.mkdir()
    save_checkpoint(TRAINING, found, SETTINGS)
    return found


# --- The file ---------------------------------------------------------------------------------


def test_what_is_written_is_read(path: Path) -> None:
    state = load_checkpoint(path, SETTINGS)
    written = TRAINING.state()
    assert torch.equal(state["weights"], written.pop("weights"))
    assert {name: state[name] for name in written} == written


def test_the_file_loads_without_running_code(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    assert content["version"] == VERSION == 1
    assert content["settings"] == SETTINGS


def test_it_is_replaced_in_one_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def killed(content: object, file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(TRAINING, path, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    save_checkpoint(TRAINING, path, {"seed": 1})
    assert load_checkpoint(path, {"seed": 1})["step"] == 7
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_is_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # As where nobody is left to remove it.
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        patched.setattr(torch, "save", lambda content, file: file.write(b"half") / 0)
        with pytest.raises(ZeroDivisionError):
            save_checkpoint(TRAINING, path, SETTINGS)
    (left,) = (file for file in path.parent.iterdir() if file != path)
    assert left.read_bytes() == b"half"
    monkeypatch.setattr(os, "getpid", lambda: 0)
    save_checkpoint(TRAINING, path, SETTINGS)
    assert list(path.parent.iterdir()) == [path]
    assert load_checkpoint(path, SETTINGS)["step"] == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**SETTINGS, "seed": 1}, "`seed` was 0 when {run} was begun and is 1 now; resume with"),
        ({**SETTINGS, "data": "cifar10"}, "`data` was 'digits' when {run} was begun and is 'cif"),
        ({**SETTINGS, "recipe": {"epochs": 4}}, "`recipe` was {recipe} when {run} was begun"),
        ({**SETTINGS, "workers": 2}, "`workers` was None when {run} was begun and is 2 now"),
        ({"recipe": SETTINGS["recipe"], "data": "digits"}, "`seed` was 0 when {run} was begun and"),
    ],
)
def test_other_settings_are_named(path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_checkpoint(path, settings)
    expected = message.format(run=path.parent, recipe=SETTINGS["recipe"])
    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith("or begin anew with another --out")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"^the checkpoint .* cannot be read: .*; begin anew"):
        load_checkpoint(path, SETTINGS)


def test_damaged_numbers_are_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(torch.arange(300.0).numpy().tobytes())
    content[at + 500] ^= 1
    path.write_bytes(content)
    # What torch itself reads without a word.
    assert not torch.equal(torch.load(path)["state"]["weights"], torch.arange(300.0))
    with pytest.raises(UserError, match=r"cannot be read: its part .*data/0 is damaged; begin"):
        load_checkpoint(path, SETTINGS)


def test_wherever_it_is_damaged_no_other_error_is_raised(path: Path) -> None:
    good = path.read_bytes()
    refused = 0
    for at in range(0, len(good), 61):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :])
        try:
            state = load_checkpoint(path, SETTINGS)
        except UserError:
            refused += 1
        else:
            # Some bytes are padding.
            assert torch.equal(state["weights"], torch.arange(300.0))
    assert refused > len(good) // 61 // 4


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path, SETTINGS)


def test_code_is_not_run(path: Path) -> None:
    torch.save({"version": VERSION, "settings": {}, "state": _Bomb()}, path)
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path, {})


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


@pytest.mark.parametrize(
    "content",
    [
        {"version": 2, "settings": SETTINGS, "state": {}},
        {"version": VERSION},
        {"weights": torch.zeros(1)},
        [1],
    ],
)
def test_another_version_is_refused(path: Path, content: object) -> None:
    torch.save(content, path)
    with pytest.raises(UserError, match=r"has no version 1, the one read here; begin anew with"):
        load_checkpoint(path, SETTINGS)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.pt cannot be read: .*No such file"):
        load_checkpoint(tmp_path / "missing.pt", {})


# --- Signals ----------------------------------------------------------------------------------


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted(number: int) -> None:
    before = handlers()
    with stop_requests() as stop:
        assert not stop
        assert handlers() != before
        os.kill(os.getpid(), number)
        assert stop
        # It may be sent again by who has no patience.
        os.kill(os.getpid(), signal.SIGTERM)
    assert handlers() == before


def test_a_second_ctrl_c_is_obeyed() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        _press_twice(stop)
    assert handlers() == before


def _press_twice(stop: module.StopRequest) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    assert stop
    os.kill(os.getpid(), signal.SIGINT)


def test_one_request_says_nothing_of_the_next() -> None:
    with stop_requests() as first:
        os.kill(os.getpid(), signal.SIGTERM)
    with stop_requests() as second:
        assert first
        assert not second
