"""Networks out of the checkpoints of other projects: a module and a line here per family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from results.importers import condensenet, condensenetv2, densenet, shufflenet, sparsenet
from results.importers.checkpoint import Checkpoint, read_checkpoint
from results.importers.imported import Imported, Overrides, check_overrides
from search_space.errors import UserError

__all__ = ["IMPORTERS", "Imported", "Importer", "Overrides", "import_checkpoint"]


class Importer(NamedTuple):
    """How one family is told by its names, and how it is read."""

    recognises: Callable[[Checkpoint], bool]
    read: Callable[[Checkpoint, Overrides], Imported]


IMPORTERS: dict[str, Importer] = {
    "condensenet": Importer(condensenet.recognises, condensenet.read),
    "condensenetv2": Importer(condensenetv2.recognises, condensenetv2.read),
    "sparsenet": Importer(sparsenet.recognises, sparsenet.read),
    "densenet": Importer(densenet.recognises, densenet.read),
    "shufflenetv2": Importer(shufflenet.recognises, shufflenet.read),
    "shufflenetv2plus": Importer(shufflenet.recognises_plus, shufflenet.read),
}


def import_checkpoint(
    path: Path, overrides: Overrides | None = None, *, entry: str | None = None
) -> tuple[str, Imported]:
    """The family of a checkpoint, and its network with weights.

    Args:
        path: A file that ``torch.save`` wrote, or a ``.safetensors`` file.
        overrides: What the user says of the network.
        entry: Where in the file the tensors are; found out if None.

    Raises:
        UserError: the file cannot be read or is of no family in ``IMPORTERS``.
    """
    checkpoint = read_checkpoint(path, entry)
    for family, importer in IMPORTERS.items():
        if importer.recognises(checkpoint):
            try:
                imported = importer.read(checkpoint, overrides or Overrides())
                checkpoint.check_all_read()
                check_overrides(imported.spec, overrides or Overrides())
            except UserError as error:
                raise UserError(f"{path}, read as {family}: {error}") from None
            return family, imported
    names = ", ".join(list(checkpoint.tensors)[:3])
    raise UserError(
        f"{path}: its tensors ({names}, ...) are not named as in the public code of any of"
        f" {', '.join(IMPORTERS)}; only these are read"
    )
