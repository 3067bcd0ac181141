"""Runs the command on bad input, and holds what it says against the one form of all refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.cli import main

Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_file: Path,
    space_file: Path,
) -> Refused:
    """Runs a command line in an empty folder, and asserts that it is refused as it must be.

    That is: its exit code, and one sentence at the end of what it says, with the words. ``NET``
    and ``SPACE`` in the line stand for good files.
    """
    monkeypatch.chdir(tmp_path)
    known = {"NET": str(tiny_file), "SPACE": str(space_file)}

    def run(line: list[str], *words: str, code: int = 2) -> str:
        try:
            found = main([known.get(word, word) for word in line])
        except SystemExit as end:  # argparse's own way
            found = int(end.code or 0)
        said = capsys.readouterr().err
        sentences = [text for text in said.splitlines() if text.startswith("search")]
        assert found == code, said
        assert "Traceback" not in said
        assert len(sentences) == 1, said
        assert said.splitlines()[-1] == sentences[0], "the sentence is one line, and the last"
        for word in words:
            assert word in sentences[0]
        return sentences[0]

    return run
