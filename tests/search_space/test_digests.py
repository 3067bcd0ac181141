"""Fingerprints of bytes."""

from __future__ import annotations

import hashlib

from search_space.digests import short_hash


def test_it_is_what_sha256sum_begins_with_however_the_bytes_are_cut() -> None:
    whole = hashlib.sha256(b"one two").hexdigest()
    assert short_hash([b"one two"]) == short_hash(iter([b"one", b" ", b"two"])) == whole[:12]
    assert short_hash([]) != short_hash([b"one"])
