"""Libraries that an installation may lack."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

from search_space.errors import UserError

# onnxruntime from 1.29 on reports what it runs to its makers, on Linux too, unless told not to
# before it is loaded (microsoft/onnxruntime, pull request 27379).
# Ray counts its users likewise, and is told in the same way.
QUIET = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def import_optional(name: str, *, extra: str) -> Any:
    """An optional library.

    Args:
        name: What is imported.
        extra: The optional dependencies of this project that bring it.

    Raises:
        UserError: it is not installed; the message says how to install it.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError:
        raise UserError(
            f"the library {name} is needed and not installed:"
            f' pip install "condensed-search[{extra}]", or in a clone pip install -e ".[{extra}]"'
        ) from None
