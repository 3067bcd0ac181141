"""Less memory while training, paid in time: a module keeps only what it read.

The intermediate results of the module are computed a second time when the backward pass needs
them ("Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174, and for dense networks
"Memory-Efficient Implementation of DenseNets", arXiv:1707.06990).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *inputs: Tensor) -> Any:
    """``module(*inputs)``, of which nothing but the inputs is kept for the backward pass.

    The second computation stops at the last result that the backward pass reads, so a final
    convolution runs once only. It leaves no trace in the module's buffers: running statistics
    count each batch once. It draws the random numbers of the first one, as dropout must.
    """
    return checkpoint(
        module,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), scratch_buffers(module)),
    )


@contextmanager
def scratch_buffers(module: nn.Module) -> Iterator[None]:
    """Lets the module's norms write into copies of their statistics, dropped at the end."""
    norms = [m for m in module.modules() if isinstance(m, _NormBase)]
    owned = [(m, n, b) for m in norms for n, b in m.named_buffers(recurse=False)]
    try:
        for owner, name, buffer in owned:
            setattr(owner, name, buffer.clone())
        yield
    finally:
        for owner, name, buffer in owned:
            setattr(owner, name, buffer)
