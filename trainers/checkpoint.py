"""Taking a training up where it was left: its file, and the signal to leave it."""

from __future__ import annotations

import os
import signal
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch

from search_space.errors import UserError

VERSION = 1
_KEYS = ("version", "settings", "state")


class Stateful(Protocol):
    """What has a state that can be written down."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, enough to go on."""


def save_checkpoint(training: Stateful, path: Path, settings: Mapping[str, Any]) -> None:
    """Replaces the file in one step: a killed process leaves the old or the new one.

    Args:
        training: Between two updates.
        path: The file.
        settings: Plain values that must be the same when the training is taken up again.
    """
    # One name for all processes, of which one at a time trains: what a killed one left is replaced.
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        with temporary.open("wb") as file:
            content = (VERSION, dict(settings), training.state())
            torch.save(dict(zip(_KEYS, content, strict=True)), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state that was saved; no code of the file is run.

    Raises:
        UserError: the file cannot be read, or was written with other settings; the message names
            the first that differs.
    """
    content = _read(path)
    complete = isinstance(content, dict) and content.keys() == set(_KEYS)
    if not complete or content["version"] != VERSION:
        raise UserError(
            f"the checkpoint {path} has no version {VERSION}, the one read here; begin anew with"
            " another --out"
        )
    check_same(content["settings"], settings, path.parent)
    state: Mapping[str, Any] = content["state"]
    return state


def check_same(written: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    """Raises UserError naming the first setting of a folder's training that is another one now."""
    for name in {**written, **asked}:
        if written.get(name) != asked.get(name):
            raise UserError(
                f"`{name}` was {written.get(name)!r} when {folder} was begun and is"
                f" {asked.get(name)!r} now; resume with the same settings, or begin anew with"
                " another --out"
            )


def _read(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            # torch writes checksums and reads over them.
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"its part {damaged} is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Bytes that torch did not write can raise anything.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"the checkpoint {path} cannot be read: {reason}; begin anew with another --out"
        ) from None


class StopRequest:
    """Whether somebody has asked this process to end; see :func:`stop_requests`."""

    made: bool = False

    def __bool__(self) -> bool:
        return self.made


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Inside, SIGTERM and a first Ctrl-C are noted instead of obeyed; a second Ctrl-C is not."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.made = True

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
