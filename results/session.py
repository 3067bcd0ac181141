"""Who has worked on a study, with what, on what: one record for each process of `search run`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process that searched; what was not noted is empty or 0.

    Args:
        begun: When, in UTC, as ISO 8601 has it.
        command: The words that it was begun with; passwords in URLs are left out.
        machine: Its processor and its system.
        cores: That the process may use.
        versions: Of Python and of the packages that decide what a network scores, by name.
        commit: Of this project's code where it runs from a checkout; ``+`` behind it stands for
            changes since. None elsewhere.
        data: Fingerprint of the images that may be trained on.
        split: Fingerprint of which of them are held out.
        training_images, validation_images: How many each part has.
        device: Fingerprint of the device, as ``to_yaml`` writes it.
    """

    begun: str = ""
    command: tuple[str, ...] = ()
    machine: str = ""
    cores: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    data: str = ""
    split: str = ""
    training_images: int = 0
    validation_images: int = 0
    device: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Session:
        """The inverse of ``dataclasses.asdict``, after JSON. Other versions of this code may have
        noted more, which is left out, or less.

        Raises:
            TypeError, AttributeError: it is no session.
        """
        known = {name: values[name] for name in (f.name for f in fields(cls)) if name in values}
        return cls(**{**known, "command": tuple(values.get("command", ()))})

    @property
    def command_line(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(self.command)
