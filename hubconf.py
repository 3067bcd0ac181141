"""What ``torch.hub.load`` offers: ``create_model``, ``list_models`` and each network by its name.

    torch.hub.load("PATH", "condensenet_86", source="local", num_classes=100)

In the names of the entry points ``_`` stands for ``-`` and ``.``; arguments are those of
``create_model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from search_space import ZOO, create_model, list_models

if _TYPE_CHECKING:  # whatever can be called here would be listed as an entry point
    from collections.abc import Callable
    from typing import Any

__all__ = ["create_model", "list_models"]

dependencies = ["numpy", "torch", "yaml"]


def _entry_point(name: str) -> Callable[..., Any]:
    def create(*arguments: Any, **settings: Any) -> Any:
        return create_model(name, *arguments, **settings)

    create.__doc__ = f"The network {name} of the zoo; arguments as of ``create_model``."
    return create


for _name in ZOO:
    globals()[_name.replace("-", "_").replace(".", "_")] = _entry_point(_name)
