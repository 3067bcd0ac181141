"""The site of the documents: built without a warning, and nothing in it loaded from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*""")
STYLED = re.compile(r"""url\(["']?(?:https?:)?//[^)]*|@import[^;]*//[^;]*""")


def test_the_site_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason='MkDocs is not installed: pip install -e ".[docs]"')
    build = ["mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", *build], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = {page.stem for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= {page.stem for page in tmp_path.rglob("*.html")}
    for page in tmp_path.rglob("*.html"):
        assert LOADED.findall(page.read_text("utf-8")) == [], page
    for style in tmp_path.rglob("*.css"):
        assert STYLED.findall(style.read_text("utf-8")) == [], style


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files_and_headings(name: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)(?:#([^)]*))?\)", (ROOT / name).read_text("utf-8"))
    assert links
    for path, heading in links:
        assert (ROOT / path).is_file(), path
        words = re.findall(r"^#+ (.*)", (ROOT / path).read_text("utf-8"), re.M)
        known = {re.sub(r"[^\w\- ]", "", word).strip().lower().replace(" ", "-") for word in words}
        assert not heading or heading in known, f"{path}#{heading}"
