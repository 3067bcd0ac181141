"""Weights of a network as a ``.safetensors`` file: tensors and three words about them, no code.

The metadata of a file name its ``form`` (masked or condensed), the ``format`` version and the
``spec`` id of the network that the weights belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from search_space import NetworkSpec, build
from search_space import ops as op_kinds
from search_space.errors import UserError
from search_space.plan import Form

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search_space.network import Network

FORMAT = "1"
"""Version of the metadata."""
FORMS: tuple[Form, ...] = ("masked", "condensed")
_SHOWN_KEYS = 3


def save_weights(network: Network, path: Path, *, trained: bool = True) -> None:
    """Writes the tensors of a network, masks and indices included; notes if none were trained."""
    metadata = {"form": network.form, "format": FORMAT, "spec": network.spec.id}
    if not trained:
        metadata["trained"] = "no"
    save_tensors(network, path, metadata)


def save_tensors(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Writes the parameters and buffers of any module."""
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    # Not save_file, whose files nobody but their owner may read.
    path.write_bytes(save(tensors, metadata))


def are_trained(path: Path) -> bool:
    """Whether a readable file of weights does not say that they are as they were drawn."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("trained") != "no"


def load_weights(spec: NetworkSpec, path: Path) -> Network:
    """The network with the weights of a file, in the file's form and in evaluation mode.

    A file without our metadata is taken for the form whose keys it has.

    Raises:
        UserError: the file cannot be read or is a folder, is of another network, lacks or adds
            tensors, holds values that are complex or no numbers, or its masks and indices are not
            those of a condensed network; the message names the keys.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; name the .safetensors file in it")
    tensors, metadata = read_tensors(path)
    check_format(metadata, FORMAT, path)
    if metadata.get("spec", spec.id) != spec.id:
        raise UserError(
            f"{path} holds weights of the network {metadata['spec']}, not of {spec.id}; name the"
            " architecture that they were trained with"
        )
    form = metadata.get("form") or _form_of(tensors, spec)
    if form not in FORMS:
        raise UserError(f"{path}: `form` (={form!r}) must be one of {', '.join(FORMS)}")
    network = build(spec, form)
    fill(network, tensors, path, f"the {network.form} form of {network.spec.id}")
    check_selection(network, path)
    return network.eval()


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path, what: str) -> None:
    """Gives a module the tensors of a file; ``what`` the module is, in words.

    Raises:
        UserError: they lack or add some, or hold values that are complex or no numbers; the message
            names the keys.
    """
    expected = module.state_dict()
    _check_keys(expected, tensors, path, what)
    if wrong := [n for n, t in tensors.items() if _is_real(t) != _is_real(expected[n])]:
        raise UserError(
            f"{path} holds whole numbers for real ones, or the reverse, in {_some(wrong)}"
        )
    if wrong := [name for name, tensor in tensors.items() if tensor.is_complex()]:
        raise UserError(f"{path} holds complex values in {_some(wrong)}; weights must be real")
    if wrong := [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]:
        raise UserError(f"{path} holds infinite values or none at all in {_some(wrong)}")
    module.load_state_dict(tensors)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file; raises UserError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: file.get_tensor(name) for name in sorted(file.keys())
            }, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as a .safetensors file: {error}; pickled weights are not"
            " accepted, write them with safetensors.torch.save_file"
        ) from None


def check_format(metadata: Mapping[str, str], version: str, path: Path) -> None:
    """Raises UserError where the metadata of a file name another version than is read."""
    if (found := metadata.get("format", version)) != version:
        raise UserError(f"{path}: `format` (={found}) must be {version}, the version read here")


def _form_of(tensors: dict[str, Tensor], spec: NetworkSpec) -> Form:
    """The form with more of its keys in the file; condensed where both are the same."""

    def strangers(form: Form) -> int:
        return len(build(spec, form).state_dict().keys() ^ tensors.keys())

    return min(reversed(FORMS), key=strangers)


def _check_keys(
    expected: Mapping[str, Tensor], tensors: dict[str, Tensor], path: Path, what: str
) -> None:
    differently_shaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    faults = {
        "lacks": expected.keys() - tensors.keys(),
        "has the unknown": tensors.keys() - expected.keys(),
        "has shapes that do not fit:": differently_shaped,
    }
    found = [f"{fault} {_some(names)}" for fault, names in faults.items() if names]
    if found:
        raise UserError(f"{path} does not fit {what}: it {'; it '.join(found)}")


def _is_real(tensor: Tensor) -> bool:
    """Whether it holds numbers with a fraction, and not indices or flags."""
    return tensor.is_floating_point() or tensor.is_complex()


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _SHOWN_KEYS
    return ", ".join(ordered[:_SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")


def check_selection(network: Network, path: Path) -> None:
    """Raises UserError unless masks are at the end of their schedule, and indices inside what they
    select from."""
    for name, layer in network.learned_layers.items():
        if not layer.is_condensed:
            late = getattr(layer, "at_conversion", False)
            call = "condense_for_conversion()" if late else "condense(1.0)"
            raise UserError(
                f"{path}: `{name}.mask` keeps more than its layer does in the end: the training"
                f" was not finished; condense it (Network.{call}) before exporting"
            )
    for step in network.plan.steps:
        if step.name not in network.steps:
            continue  # feature maps end before the head
        for op in step.fragment.ops:
            if not isinstance(op, op_kinds.Gather | op_kinds.IndexAdd | op_kinds.Scatter):
                continue
            name = f"steps.{step.name}.{op.name}.index"
            index = network.get_buffer(name)
            # A scatter names the channels that it writes.
            channels = (op.output if isinstance(op, op_kinds.Scatter) else op.input).channels
            if not 0 <= int(index.min()) <= int(index.max()) < channels:
                raise UserError(
                    f"{path}: `{name}` must lie in 0 to {channels - 1}, the channels"
                    f" it can name, not in {int(index.min())} to {int(index.max())}"
                )
