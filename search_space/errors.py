"""The exceptions that a user's input can cause.

::

    UserError                 exit code 2: bad input; the message says what to do
    |-- SpecError             a network description breaks a rule
    |-- UnknownName           a name that no registry holds
    |-- InfeasibleBudget      exit code 3: no network of the space keeps the budget
    `-- Mismatch              exit code 5: two forms of a network compute different outputs

Messages follow one form: name, value, rule, next step. Everything else that is raised is a bug
of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class UserError(ValueError):
    """Input that breaks a rule. ``str(error)`` is the sentence that the user reads."""

    exit_code: ClassVar[int] = 2


class SpecError(UserError):
    """A network, stage or search-space description that breaks a rule."""


class UnknownName(UserError):
    """A name that is not in the registry it was looked up in; the message lists the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self._arguments = kind, name, tuple(sorted(known))
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(self._arguments[2])}")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...]]]:
        return UnknownName, self._arguments  # so that it can cross to another process


class InfeasibleBudget(UserError):
    """No network of the space keeps the budget; the message names the cheapest one."""

    exit_code: ClassVar[int] = 3


class Mismatch(UserError):
    """Two forms of one network compute different outputs; the message names them."""

    exit_code: ClassVar[int] = 5
