"""Fingerprints: short enough to read out, long enough to tell things apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

DIGITS = 12


def short_hash(parts: Iterable[bytes]) -> str:
    """The first twelve hexadecimal digits of the SHA-256 of parts, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:DIGITS]
