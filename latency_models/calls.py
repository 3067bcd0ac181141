"""What a runtime folds into the operation before it, whatever form a network was given in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from latency_models.kernels import Kernel

Role = Literal["conv", "linear", "norm", "activation", "shuffle", "other"]


class Call(NamedTuple):
    """An operation of a network: how it folds, the values it reads and writes, by name, and the
    kernels that it is where it does not fold."""

    role: Role
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    kernels: tuple[Kernel, ...]


def executed(calls: Sequence[Call], outputs: Iterable[str]) -> tuple[Kernel, ...]:
    """The kernels of what does not fold, in the order of the calls.

    A normalisation folds into the convolution before it, an activation into whatever computes its
    input, if nobody else reads the value between them. A shuffle in between does not hinder: it
    only renames the channels. A normalisation before its convolution folds into nothing; together
    with the activation after it, it is one elementwise kernel.

    Args:
        calls: In the order of execution.
        outputs: Values that are read from outside.
    """
    readers = Counter([name for call in calls for name in call.reads])
    readers.update(outputs)
    takes_norm: set[str] = set()
    takes_activation: set[str] = set()
    found: list[Kernel] = []
    for role, reads, writes, kernels in calls:
        read = reads[0] if reads else ""
        alone = readers[read] == 1
        if role == "conv":
            takes_norm.update(writes)
            takes_activation.update(writes)
        elif role == "linear":
            takes_activation.update(writes)
        elif role == "shuffle":
            for taking in (takes_norm, takes_activation):
                if alone and read in taking:
                    taking.update(writes)
        elif role == "norm":
            takes_activation.update(writes)
            if alone and read in takes_norm:
                continue
        elif role == "activation" and alone and read in takes_activation:
            continue
        found.extend(kernels)
    return tuple(found)
