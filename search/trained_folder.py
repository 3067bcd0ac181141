"""The folder of one training: what lies where, what it came to, and whose it is for now.

::

    recipe.yaml              how it was trained, everything resolved
    metrics.csv, steps.csv   its epochs; its updates
    curve.png                learning rate and loss, the drops marked
    tensorboard/             the same for TensorBoard
    checkpoint.pt            only while it is not complete
    architecture.yaml, weights.safetensors, model.*, verification.json, card.md, labels.txt
                             the network with its masks, exported and verified
    condensed.safetensors    the weights that are left
    result.json              what it is worth; written last

A folder with ``result.json`` is complete; one with ``checkpoint.pt`` can be taken up again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.trial import Measured
from search_space.errors import UserError
from search_space.reading import parse_json

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT = "checkpoint.pt"
RESULT = "result.json"
RECIPE = "recipe.yaml"
CONDENSED = "condensed.safetensors"
DETECTOR = "detector.yaml"
"""What only a training of a detector leaves."""

_OWN = (
    *(CHECKPOINT, RESULT, RECIPE, "architecture.yaml", "verification.json", "card.md", "model*"),
    *("labels.txt", DETECTOR),
    *("*.safetensors", "*.csv", "*.png", "tensorboard", "mlflow", "wandb", ".*"),
)
"""Patterns of the names in such a folder."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a trained and condensed network is worth.

    ``validation`` is None where no images were held out, ``held_out`` the share that was asked for,
    None for the data set's rule. ``wall_s`` are the seconds of all updates; ``unreadable`` the
    files in whose place others were taken.
    """

    network: str
    id: str
    data: str
    recipe: str
    epochs: int
    seed: int
    macs: int
    params: int
    held_out: float | None
    validation: Measured | None
    test: Measured
    wall_s: float
    unreadable: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, numbers and strings, the inverse of :meth:`from_dict`."""
        return {**asdict(self), "unreadable": list(self.unreadable)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        """What was written down."""
        validation = data["validation"]
        return cls(
            **{
                **data,
                "validation": validation and Measured(**validation),
                "test": Measured(**data["test"]),
                "unreadable": tuple(data.get("unreadable", ())),
            }
        )


class Busy(UserError):
    """Another process is training in the folder."""


class Diverged(UserError):
    """A training whose loss is no number any more."""


def read_result(out: Path) -> Result | None:
    """The result in a folder; None where the training is not complete."""
    path = out / RESULT
    if not path.is_file():
        return None
    try:
        return Result.from_dict(parse_json(path.read_text(encoding="utf-8")))
    except (UserError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no result of a training ({error!r:.80}); train anew with another --out"
        ) from None


def check_untaken(out: Path, *, resume: bool) -> None:
    """Raises UserError where a training in the folder would mix with, or replace, other files."""
    found = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if resume:
        foreign = [n for n in found if not any(fnmatch(n, pattern) for pattern in _OWN)]
    else:
        foreign = [n for n in found if n[0] != "."]
    if foreign:
        raise UserError(
            f"{out} holds {', '.join(foreign[:3])}{' and more' * (len(foreign) > 3)} already;"
            " choose another --out"
            + ("" if resume else ", or add --resume to go on with a training")
        )


@contextmanager
def kept(out: Path, fabric: Fabric, *, resume: bool) -> Iterator[None]:
    """The folder, made and kept from other commands by the first process.

    Raises:
        UserError: it cannot be, or is taken; all processes raise it, so that none waits for the
            others.
    """
    with ExitStack() as stack:
        refusal: UserError | None = None
        if fabric.global_rank == 0:
            try:
                stack.enter_context(locked(out))
                check_untaken(out, resume=resume)
            except UserError as error:
                refusal = error
        if (refusal := fabric.broadcast(refusal)) is not None:
            raise refusal
        yield


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The folder, made, with a lock on it; raises Busy where another process has it, UserError
    where it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("w")
    except OSError as error:
        raise UserError(f"the folder {out} cannot be written: {error}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(f"another process is training in {out}; wait for it") from None
        yield
