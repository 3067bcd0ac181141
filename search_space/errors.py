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

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

_SHOWN_NAMES = 20


class UserError(ValueError):
    """Input that breaks a rule. ``str(error)`` is the sentence that the user reads."""

    exit_code: ClassVar[int] = 2


class SpecError(UserError):
    """A network, stage or search-space description that breaks a rule."""


class UnknownName(UserError):
    """A name that is not in the registry it was looked up in.

    The message lists the known ones, or those like it where there are too many to read.

    Args:
        kind: What was looked up.
        name: What it was called.
        known: The names in the registry.
        lists_all: A command or function that lists them.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], lists_all: str = "") -> None:
        self._arguments = kind, name, tuple(sorted(known)), lists_all
        super().__init__(f"unknown {kind} {name!r}{_known(*self._arguments[1:])}")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...], str]]:
        return UnknownName, self._arguments  # so that it can cross to another process


def _known(name: str, known: tuple[str, ...], lists_all: str) -> str:
    if len(known) <= _SHOWN_NAMES:
        return f"; known: {', '.join(known)}"
    usual = name.lower().replace("_", "-")
    close = [usual] if usual in known else get_close_matches(usual, known)
    question = f"; did you mean {' or '.join(close)}?" if close else ";"
    where = f" {lists_all} lists all {len(known)}" if lists_all else f" there are {len(known)}"
    return question + where


class InfeasibleBudget(UserError):
    """No network of the space keeps the budget; the message names the cheapest one."""

    exit_code: ClassVar[int] = 3


class Mismatch(UserError):
    """Two forms of one network compute different outputs; the message names them."""

    exit_code: ClassVar[int] = 5


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python writes no number of more than some thousand digits.
        return f"a number of {x.bit_length()} bits" if x.bit_length() > 256 else repr(x)


_SHORT = _Short()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """A value as a message shows it: one line, and short however much it holds.

    A few lines of YAML can describe lists of lists whose whole text would fill the memory.
    """
    return _SHORT.repr(value)
