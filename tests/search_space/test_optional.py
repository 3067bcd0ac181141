"""Optional libraries: found, or named with what installs them."""

from __future__ import annotations

import json
import sys

import pytest

from search_space import UserError
from search_space.optional import import_optional


def test_a_library_that_is_there_is_imported() -> None:
    assert import_optional("json", extra="export") is json


def test_a_library_that_lacks_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError) as caught:
        import_optional("wandb", extra="tracking")
    assert "the library wandb is needed and not installed" in str(caught.value)
    assert 'pip install "condensed-search[tracking]"' in str(caught.value)
    assert 'pip install -e ".[tracking]"' in str(caught.value)
