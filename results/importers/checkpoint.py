"""The tensors of a checkpoint, read from its file without running anything that the file holds.

What the tensors mean is the importers' business.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from search_space.errors import UserError

ENTRIES = ("state_dict_ema", "state_dict", "model_state_dict", "model")
"""Where training scripts put the tensors, best first: the averaged ones are those that the
CondenseNetV2 authors test."""
IGNORED = ("num_batches_tracked", "_count", "_stage", "total_ops", "total_params")
"""Last parts of names that networks do without: counters of the schedule and of cost tools."""
NORM = ("weight", "bias", "running_mean", "running_var")


class Checkpoint:
    """Tensors by name, as floats or whole numbers on the CPU; remembers which were read.

    ``entry`` says where in the file they were, empty where they are all that it holds.
    """

    def __init__(self, tensors: Mapping[str, Tensor], entry: str = "") -> None:
        self.tensors = dict(tensors)
        self.entry = entry
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def has(self, ending: str) -> bool:
        """Whether any name ends so."""
        return any(name.endswith(ending) for name in self.tensors)

    def take(self, name: str, *shape: int | None) -> Tensor:
        """The tensor of this name; None stands for a dimension of any size.

        Raises:
            UserError: there is none, or its shape is another.
        """
        if name not in self.tensors:
            raise UserError(
                f"the checkpoint lacks `{name}`; it must hold the whole network's state_dict"
            )
        tensor = self.tensors[name]
        fits = tensor.dim() == len(shape) and all(
            wanted in (None, found) for wanted, found in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise UserError(
                f"`{name}` has the shape {tuple(tensor.shape)} and must have ({wanted}): the"
                " network is not one of those that are read here"
            )
        self._read.add(name)
        return tensor.float() if tensor.is_floating_point() else tensor

    def norm(self, name: str, channels: int) -> dict[str, Tensor]:
        """The four tensors of a batch norm, and the count of batches that old files lack."""
        state = {part: self.take(f"{name}.{part}", channels) for part in NORM}
        counted = self.counter(f"{name}.num_batches_tracked") or 0
        return {**state, "num_batches_tracked": torch.tensor(counted)}

    def counter(self, name: str) -> int | None:
        """A whole number that a schedule or a norm keeps; None where the file lacks it."""
        tensor = self.tensors.get(name)
        return None if tensor is None or tensor.numel() != 1 else round(float(tensor))

    def depths(self, pattern: str) -> list[int]:
        """Layers per stage, from names that begin with ``pattern``: its groups are the numbers of
        stage and layer, which must be without gaps.

        Raises:
            UserError: a number is missing.
        """
        found = {(int(m[1]), int(m[2])) for name in self.tensors if (m := re.match(pattern, name))}
        first = min(stage for stage, _ in found)
        stages = sorted({stage for stage, _ in found})
        depths = [sum(stage == s for s, _ in found) for stage in stages]
        whole = {(first + i, j + 1) for i, depth in enumerate(depths) for j in range(depth)}
        if found != whole:
            stage, layer = min(whole ^ found)
            raise UserError(
                f"the layers of the checkpoint have gaps around stage {stage}, layer {layer};"
                " it must hold the whole network's state_dict"
            )
        return depths

    def check_all_read(self) -> None:
        """Raises UserError where a tensor is left over that a network would need."""
        left = [
            name
            for name in self.tensors
            if name not in self._read and name.rpartition(".")[2] not in IGNORED
        ]
        if left:
            raise UserError(
                f"the checkpoint holds `{left[0]}`"
                + (f" and {len(left) - 1} more tensors" if len(left) > 1 else "")
                + " that this family of networks does not have; it cannot be imported faithfully"
            )


def read_checkpoint(path: Path, entry: str | None = None) -> Checkpoint:
    """The tensors of a ``.safetensors`` file or of one that ``torch.save`` wrote.

    Args:
        path: The file.
        entry: Where in the file the tensors are; found out if None.

    Raises:
        UserError: the file cannot be read, would have to run code to be read, or holds no
            tensors; the message says what to do.
    """
    if not path.is_file():
        raise UserError(f"the checkpoint {path} was looked for and is not a file")
    payload = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    tensors, found = _select(payload, path, entry)
    tensors = {_plain_name(name): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not _is_plain(tensor):
            raise UserError(
                f"{path}: `{name}` is a {tensor.dtype} tensor of layout {tensor.layout} on"
                f" {tensor.device} and must hold real numbers, dense and not quantised; save the"
                " weights before they are quantised or made sparse"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(
                f"{path}: `{name}` holds numbers that are not finite: the training diverged or"
                " the file is damaged; use an earlier checkpoint"
            )
    return Checkpoint(tensors, found)


def _safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a safetensors file that can be read: {error}") from None


def _pickled(path: Path) -> object:
    try:
        # Training scripts save their parsed arguments too; a Namespace is data.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files written by old versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and foreign:
            raise UserError(
                f"{path} holds an object of {foreign[1]}, and objects are not read from files"
                " because making them can run code; if you trust the file, load it in the program"
                " that wrote it and save the tensors alone: torch.save(model.state_dict(), FILE)"
            ) from None
        reason = re.split(r"\n|\. ", str(error))[0] or type(error).__name__
        raise UserError(
            f"{path}: not a checkpoint that torch can read: {reason:.120}; name a file that"
            " torch.save wrote, or a .safetensors file"
        ) from None


def _select(payload: object, path: Path, entry: str | None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a loaded file and the entry that they were in."""
    if not isinstance(payload, Mapping):
        raise UserError(
            f"{path} holds a {type(payload).__name__} and must hold a state_dict, alone or under"
            f" {', '.join(ENTRIES)}"
        )
    if entry is not None and not _tensors(payload.get(entry)):
        raise UserError(f"{path} has no tensors under `{entry}`; its entries: {_names(payload)}")
    for name in ENTRIES if entry is None else (entry,):
        if tensors := _tensors(payload.get(name)):
            return tensors, name
    if tensors := _tensors(payload):
        return tensors, ""
    raise UserError(
        f"{path} holds no tensors under {', '.join(ENTRIES)}; its entries: {_names(payload)};"
        " name the right one with --entry"
    )


def _tensors(value: object) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _names(names: Iterable[object]) -> str:
    shown = [str(name) for name in names]
    return (", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")) or "none"


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_quantized or tensor.is_complex())
    )


def _plain_name(name: str) -> str:
    """A name without what data-parallel wrappers put in front of it."""
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name
